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
    /// Registers that the last instructions seem to write, newest lowest.
    pub written: u32,
    /// Tells units apart.
    pub unit: u32,
}

impl History {
    /// Goes past an instruction.
    pub fn pass(&mut self, machine: Machine, masked: &[u8]) {
        let opcode = opcode(machine, masked);
        self.opcodes = [opcode, self.opcodes[0], self.opcodes[1], self.opcodes[2]];
        let written = written(machine, masked);
        self.written = self.written << 8 | written;
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

/// The opcode of an instruction, registers and operands left out.
pub fn opcode(machine: Machine, masked: &[u8]) -> u32 {
    if machine == Machine::AArch64 {
        return masked.get(3).copied().unwrap_or(0).into();
    }
    let from = usize::from(machine.decode(masked).opcode_at);
    let byte = |at: usize| masked.get(at).copied().map_or(0, u32::from);
    if byte(from) == 0x0f { 0x0f | byte(from + 1) << 8 } else { byte(from) }
}

/// The register that an instruction seems to write, plus one.
fn written(machine: Machine, masked: &[u8]) -> u32 {
    if machine == Machine::AArch64 {
        return masked.first().map_or(0, |b| u32::from(b & 31) + 1);
    }
    let insn = machine.decode(masked);
    let Some(&modrm) = masked.get(usize::from(insn.modrm_at)) else { return 0 };
    let opcode = masked[usize::from(insn.opcode_at)];
    let rex = if insn.opcode_at > 0 { u32::from(masked[usize::from(insn.opcode_at) - 1]) } else { 0 };
    let rex = if rex & 0xf0 == 0x40 { rex } else { 0 };
    if opcode & 2 != 0 && opcode < 0x40 || matches!(opcode, 0x8b | 0x8d | 0x0f | 0x63) {
        1 + (u32::from(modrm >> 3 & 7) | (rex & 4) << 1)
    } else if modrm >= 0xc0 {
        1 + (u32::from(modrm & 7) | (rex & 1) << 3)
    } else {
        17 + (u32::from(modrm & 7) | (rex & 1) << 3)
    }
}
