//! One unit disassembled: instruction bounds, and bytes with their references blanked.

use crate::error::Result;
use crate::file_view::FileView;
use crate::layout::Unit;
use crate::machine::{Insn, Machine, Scanner};
use crate::place::{Off, UnitId};

/// The instructions of one unit, or of a stretch of it.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The unit, once there is one.
    pub unit: Option<UnitId>,
    /// File offset of the first instruction.
    pub at: Off,
    /// Its index in the unit.
    pub first: usize,
    size: usize,
    /// Start of each instruction counted from there, and the end of the last.
    pub starts: Vec<u32>,
    /// Bytes with reference fields zero, as far as scanned, and then some as they are in the file.
    pub masked: Vec<u8>,
    /// For each instruction one more than the number of its field's kind, or 0 without a field; the class of data
    /// stands in the three bits above.
    pub kinds: Vec<u8>,
    /// The shape of each instruction.
    pub shapes: Vec<Insn>,
    machine: Machine,
    scanner: Scanner,
}

/// Bytes read at a time.
const CHUNK: usize = 1024;

impl Listing {
    /// Of nothing yet.
    pub fn new(machine: Machine) -> Self {
        Listing {
            unit: None,
            at: Off(0),
            first: 0,
            size: 0,
            starts: vec![0],
            masked: Vec::new(),
            kinds: Vec::new(),
            shapes: Vec::new(),
            machine,
            scanner: Scanner::new(machine),
        }
    }

    /// Turns to a unit, nothing scanned; reuses the buffers.
    pub fn open(&mut self, machine: Machine, number: UnitId, unit: Unit) {
        self.open_at(machine, number, unit, 0, 0);
    }

    /// Turns to the instruction of a unit with index `first`, which starts at `offset`.
    pub fn open_at(&mut self, machine: Machine, number: UnitId, unit: Unit, first: usize, offset: u32) {
        (self.unit, self.first) = (Some(number), first);
        (self.at, self.size) = (unit.at + offset, (unit.size - offset) as usize);
        self.starts.clear();
        self.starts.push(0);
        self.masked.clear();
        self.kinds.clear();
        self.shapes.clear();
        self.machine = machine.in_mode(unit.other_mode);
        self.scanner = Scanner::in_place(self.machine);
    }

    /// Reads and scans a whole unit.
    pub fn load(&mut self, machine: Machine, file: &FileView, number: UnitId, unit: Unit) -> Result<()> {
        self.open(machine, number, unit);
        self.reach(file, usize::MAX).map(drop)
    }

    /// Scans on until there are more than `index` instructions; false if the unit has not so many.
    pub fn reach(&mut self, file: &FileView, index: usize) -> Result<bool> {
        while self.kinds.len() <= index {
            let p = self.starts[self.kinds.len()] as usize;
            if p >= self.size {
                return Ok(false);
            }
            if self.masked.len() < (p + 16).min(self.size) {
                let from = self.masked.len();
                self.masked.resize((from + CHUNK).min(self.size), 0);
                file.read(u64::from(self.at) + from as u64, &mut self.masked[from..])?;
            }
            let here = u64::from(self.at) + p as u64;
            let (insn, field) = self.scanner.look(&self.masked[p..], here);
            self.scanner.pass(&insn, &self.masked[p..], here);
            let end = p + usize::from(insn.len());
            if let Some((field, _)) = field {
                self.machine.blank(field.kind, &mut self.masked[p..end], field.at);
            }
            self.starts.push(end as u32);
            self.shapes.push(insn);
            let kind = field.map_or(0, |(f, _)| 1 + f.kind.number());
            self.kinds.push(kind | insn.data_class() << 5);
        }
        Ok(true)
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.starts.len() * 4 + self.masked.len() + self.kinds.len() * 9) as u64
    }

    /// Number of instructions.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Blanked bytes of an instruction.
    pub fn token(&self, index: usize) -> &[u8] {
        &self.masked[self.starts[index] as usize..self.starts[index + 1] as usize]
    }

    /// Whether an instruction has these blanked bytes. Of many, few are as long and begin alike, so that is looked
    /// at first.
    pub fn is(&self, index: usize, bytes: &[u8]) -> bool {
        let token = self.token(index);
        token.len() == bytes.len() && token.first() == bytes.first() && token == bytes
    }
}
