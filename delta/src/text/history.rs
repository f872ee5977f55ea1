//! What precedes an instruction in new code, for prediction.

use crate::code::{digest, hash};
use crate::machine::{Insn, Machine};
use crate::place::Off;

/// The instructions that came before.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// Hashes of the last instructions' leading bytes, newest first.
    pub heads: [u32; 4],
    /// Hashes of the last instructions' bytes, newest first.
    pub full: [u32; 2],
    /// The last instructions' opcodes, newest first.
    pub opcodes: [u32; 4],
    /// Registers that the last instructions seem to write, newest in the lowest byte.
    pub written: u32,
    /// The last eight blanked bytes, newest lowest.
    pub bytes: u64,
    /// Tells units apart.
    pub unit: u32,
}

impl History {
    /// Before the first instruction of a unit.
    pub fn of_unit(unit: Off) -> Self {
        History {
            unit: unit.0,
            ..History::default()
        }
    }

    /// Goes past an instruction of the given shape.
    pub fn pass(&mut self, machine: Machine, masked: &[u8], shape: &Insn) {
        self.written = self.written << 8 | machine.written(masked, shape);
        let [a, b, c, _] = self.opcodes;
        self.opcodes = [machine.opcode(masked, shape), a, b, c];
        self.heads = [head(masked), self.heads[0], self.heads[1], self.heads[2]];
        self.full = [digest(masked), self.full[0]];
        for &b in masked {
            self.bytes = self.bytes << 8 | u64::from(b);
        }
    }
}

/// A hash of the length of an instruction and its leading bytes, at most three.
fn head(bytes: &[u8]) -> u32 {
    let leading = bytes.iter().take(3).fold(0, |w, &b| w << 8 | u32::from(b));
    hash(bytes.len() as u32, leading)
}
