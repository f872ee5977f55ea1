//! What precedes an instruction in new code, for prediction.

use crate::code::hash;
use crate::machine::Machine;

/// The instructions that came before.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// Hashes of the last instructions' leading bytes, newest first.
    pub heads: [u32; 4],
    /// Hashes of the last instructions' bytes, newest first.
    pub full: [u32; 4],
    /// Hashes of the last instructions' opcodes, newest first.
    pub opcodes: [u32; 4],
    /// The last eight blanked bytes, newest lowest.
    pub bytes: u64,
    /// Tells units apart.
    pub unit: u32,
}

impl History {
    /// Goes past an instruction.
    pub fn pass(&mut self, machine: Machine, masked: &[u8]) {
        let insn = machine.decode(masked);
        let from = usize::from(insn.opcode_at);
        let mut opcode = match machine {
            Machine::AArch64 => masked.get(3).copied().unwrap_or(0).into(),
            _ => masked.get(from).copied().map_or(0, u32::from),
        };
        if opcode == 0x0f && machine != Machine::AArch64 {
            opcode |= masked.get(from + 1).copied().map_or(0, |b| u32::from(b) << 8);
        }
        self.opcodes = [opcode, self.opcodes[0], self.opcodes[1], self.opcodes[2]];
        let mut head = masked.len() as u32;
        for &b in masked.iter().take(3) {
            head = hash(head, u32::from(b));
        }
        let mut full = head;
        for &b in masked.iter().skip(3) {
            full = hash(full, u32::from(b));
        }
        self.heads = [head, self.heads[0], self.heads[1], self.heads[2]];
        self.full = [full, self.full[0], self.full[1], self.full[2]];
        for &b in masked {
            self.bytes = self.bytes << 8 | u64::from(b);
        }
    }
}
