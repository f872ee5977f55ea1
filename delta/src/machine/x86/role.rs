//! What x86 instructions do to the frame, and what they look like without their operands.

use super::super::{ABSENT, Insn, NOP};
use crate::hashing::digest;

/// As [`super::InstructionSet::role`].
pub fn role(insn: &Insn, bytes: &[u8]) -> u8 {
    let opcode = bytes.get(usize::from(insn.opcode_at())).copied().unwrap_or(0);
    let modrm = bytes.get(usize::from(insn.modrm_at())).copied().unwrap_or(0);
    match (opcode, modrm) {
        (0x50..=0x57, _) => 4,
        (0x58..=0x5f, _) => 5,
        (0x81 | 0x83, 0xec) => 6,
        (0x81 | 0x83, 0xc4) => 7,
        (0x8d, 0x64 | 0x65 | 0xa4 | 0xa5) => 8,
        (0x89, 0xe5) | (0x8b, 0xec) => 9,
        (0x89, 0xec) | (0x8b, 0xe5) => 10,
        (0xc9, _) => 11,
        (0x68 | 0x6a, _) => 12,
        (0xff, 0x30..=0x37 | 0x70..=0x77 | 0xb0..=0xb7) => 13,
        (0x81 | 0x83, 0xe4) => 14,
        (0x90, _) => NOP,
        (0x0f, _) if bytes.get(usize::from(insn.opcode_at()) + 1) == Some(&0x1f) => NOP,
        _ => 0,
    }
}

/// As [`super::InstructionSet::head`].
pub fn head(insn: &Insn, bytes: &[u8]) -> u32 {
    let last = if insn.modrm_at() == ABSENT {
        insn.opcode_at()
    } else {
        insn.modrm_at()
    };
    digest(&bytes[..bytes.len().min(usize::from(last) + 1)])
}

/// Hash of opcode and ModRM.
pub fn look(insn: &Insn, bytes: &[u8]) -> u32 {
    let from = usize::from(insn.opcode_at());
    let to = match insn.modrm_at() {
        ABSENT => from + 1,
        at => usize::from(at) + 1,
    };
    digest(bytes.get(from..to.min(bytes.len())).unwrap_or(&[]))
}
