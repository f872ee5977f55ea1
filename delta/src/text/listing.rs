//! One unit disassembled: instruction bounds, and bytes with their references blanked.

use crate::error::Result;
use crate::file_view::FileView;
use crate::layout::Unit;
use crate::machine::{Machine, Scanner};

/// The instructions of one unit.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Unit index in its file.
    pub unit: u32,
    /// File offset of the unit.
    pub at: u32,
    /// Start of each instruction in the unit, and the unit's length at the end.
    pub starts: Vec<u32>,
    /// Bytes as they are in the file.
    pub bytes: Vec<u8>,
    /// Bytes with reference fields zero.
    pub masked: Vec<u8>,
    /// For each instruction one more than its [`crate::machine::FieldKind`], or 0 without a field.
    pub kinds: Vec<u8>,
}

impl Listing {
    /// Reads and scans a unit, reusing the buffers.
    pub fn load(&mut self, machine: Machine, file: &FileView, index: u32, unit: Unit) -> Result<()> {
        self.bytes.resize(unit.size as usize, 0);
        file.read(u64::from(unit.at), &mut self.bytes)?;
        (self.unit, self.at) = (index, unit.at);
        self.masked.clone_from(&self.bytes);
        self.starts.clear();
        self.kinds.clear();
        let mut scanner = Scanner::new(machine);
        let mut p = 0;
        while p < self.bytes.len() {
            let (insn, field) = scanner.look(&self.bytes[p..], p as u64);
            scanner.pass(&self.bytes[p..], p as u64);
            let end = p + usize::from(insn.len);
            if let Some((field, _)) = field {
                machine.blank(field.kind, &mut self.masked[p..end], field.at);
            }
            self.starts.push(p as u32);
            self.kinds.push(field.map_or(0, |(f, _)| 1 + f.kind as u8));
            p = end;
        }
        self.starts.push(p as u32);
        Ok(())
    }

    /// Number of instructions.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Blanked bytes of an instruction.
    pub fn token(&self, index: usize) -> &[u8] {
        &self.masked[self.starts[index] as usize..self.starts[index + 1] as usize]
    }
}
