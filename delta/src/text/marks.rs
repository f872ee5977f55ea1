//! Where the instructions of old units start, for jumps into the middle of one.

use crate::error::Result;
use crate::file_view::FileView;
use crate::layout::Unit;
use crate::machine::{Machine, Scanner};
use crate::maps::HashMap;
use crate::place::UnitId;

/// Instructions from one mark to the next.
const STRIDE: usize = 64;
/// Bytes read at a time.
const CHUNK: usize = 1024;
/// Bytes that hold any instruction.
const LONGEST: usize = 16;

/// Every so many instructions of the units visited so far, where one starts; a unit is walked once.
#[derive(Debug, Default)]
pub struct Marks {
    units: HashMap<UnitId, Vec<u32>>,
    /// Marks of all units.
    count: usize,
}

impl Marks {
    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.units.len() * 64 + self.count * 4) as u64
    }

    /// The offset of instruction `index` of a unit; `None` if it has not so many.
    pub fn offset(
        &mut self,
        machine: Machine,
        file: &FileView,
        (number, unit): (UnitId, Unit),
        index: usize,
    ) -> Result<Option<u32>> {
        let marks = self.units.entry(number).or_insert_with(|| vec![0]);
        // Where data stands among instructions, what comes before tells.
        let known = if machine.has_data() {
            0
        } else {
            (index / STRIDE).min(marks.len() - 1)
        };
        let mut at = known * STRIDE;
        let mut offset = marks[known];
        let mut buffer = Vec::new();
        let mut start = offset;
        let mut scanner = Scanner::in_place(machine);
        while at < index {
            if offset >= unit.size {
                return Ok(None);
            }
            let rest = (unit.size - offset) as usize;
            let mut within = (offset - start) as usize;
            if buffer.len() < within + rest.min(LONGEST) {
                buffer.resize(rest.min(CHUNK), 0);
                file.read(u64::from(unit.at + offset), &mut buffer)?;
                (start, within) = (offset, 0);
            }
            let bytes = &buffer[within..];
            let insn = if machine.has_data() {
                let here = u64::from(unit.at + offset);
                let insn = scanner.look(bytes, here).0;
                scanner.pass(&insn, bytes, here);
                insn
            } else {
                machine.decode(bytes)
            };
            offset += u32::from(insn.len());
            at += 1;
            if at == marks.len() * STRIDE {
                marks.push(offset);
                self.count += 1;
            }
        }
        Ok((offset < unit.size).then_some(offset))
    }
}
