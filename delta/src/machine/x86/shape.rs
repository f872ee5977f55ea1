//! What part of an instruction a byte is, known before the rest of it.

use super::super::{ABSENT, Insn};

/// Parts of an instruction.
mod part {
    /// A prefix.
    pub const PREFIX: u32 = 0;
    /// The first byte, or the first of the opcode.
    pub const OPCODE: u32 = 1;
    /// More of the opcode.
    pub const ESCAPED: u32 = 2;
    /// The ModRM byte.
    pub const MODRM: u32 = 3;
    /// The SIB byte.
    pub const SIB: u32 = 4;
    /// A displacement of one byte.
    pub const SHORT_DISP: u32 = 5;
    /// The first of the four bytes of a displacement.
    pub const DISP: u32 = 6;
    /// An immediate of one byte.
    pub const SHORT_IMM: u32 = 10;
    /// The first byte of an immediate; the fifth and later ones are one part.
    pub const IMM: u32 = 11;
}

/// The part that byte `n` is, going by the bytes before it (in `insn`, those from `n` on were zero).
pub fn part(insn: &Insn, n: usize) -> u32 {
    let n = n as u8;
    let within = |at: u8, len: u8| at != ABSENT && n >= at && n < at + len;
    if n < insn.opcode_at() {
        part::PREFIX
    } else if n == insn.opcode_at() {
        part::OPCODE
    } else if n == insn.modrm_at() {
        part::MODRM
    } else if within(insn.disp_at(), insn.disp_len()) {
        if insn.disp_len() == 1 {
            part::SHORT_DISP
        } else {
            part::DISP + u32::from(n - insn.disp_at()).min(3)
        }
    } else if within(insn.imm_at(), insn.imm_len()) {
        if insn.imm_len() == 1 {
            part::SHORT_IMM
        } else {
            part::IMM + u32::from(n - insn.imm_at()).min(4)
        }
    } else if insn.modrm_at() != ABSENT && n == insn.modrm_at() + 1 {
        part::SIB
    } else {
        part::ESCAPED
    }
}

/// The byte of another instruction, of shape `shape`, that is the same part as byte `at` of `insn`.
pub fn counterpart(other: &[u8], shape: &Insn, part: u32, at: usize, insn: &Insn) -> Option<u8> {
    let from = |start: u8, len: u8, k: u32| {
        let there = start != ABSENT && k < u32::from(len);
        there
            .then(|| other.get(usize::from(start) + k as usize).copied())
            .flatten()
    };
    match part {
        part::PREFIX => other.get(at).copied(),
        part::OPCODE => from(shape.opcode_at(), 1, 0),
        part::ESCAPED => from(
            shape.opcode_at(),
            4,
            (at as u32).saturating_sub(u32::from(insn.opcode_at())),
        ),
        part::MODRM => from(shape.modrm_at(), 1, 0),
        part::SIB => from(shape.modrm_at(), 2, 1),
        part::SHORT_DISP => from(shape.disp_at(), shape.disp_len(), 0),
        part::SHORT_IMM => from(shape.imm_at(), shape.imm_len(), 0),
        _ if part < part::SHORT_IMM => from(shape.disp_at(), shape.disp_len(), part - part::DISP),
        _ => from(shape.imm_at(), shape.imm_len(), part - part::IMM),
    }
}

/// The opcode of an instruction, registers and operands left out.
pub fn opcode(masked: &[u8], insn: &Insn) -> u32 {
    let byte = |at: usize| masked.get(at).copied().map_or(0, u32::from);
    let from = usize::from(insn.opcode_at());
    if byte(from) == 0x0f {
        0x0f | byte(from + 1) << 8
    } else {
        byte(from)
    }
}

/// The register that an instruction seems to write, plus one; plus 17 if it is the base of a memory operand.
pub fn written(masked: &[u8], insn: &Insn) -> u32 {
    let Some(&modrm) = masked.get(usize::from(insn.modrm_at())) else {
        return 0;
    };
    let opcode = masked.get(usize::from(insn.opcode_at())).copied().unwrap_or(0);
    let before = usize::from(insn.opcode_at())
        .checked_sub(1)
        .and_then(|at| masked.get(at));
    let rex = before.copied().filter(|b| b & 0xf0 == 0x40).map_or(0, u32::from);
    // Bit 1 of the older opcodes says that the register is the destination.
    if opcode & 2 != 0 && opcode < 0x40 || matches!(opcode, 0x0f | 0x63 | 0x8b | 0x8d) {
        1 + (u32::from(modrm >> 3 & 7) | (rex & 4) << 1)
    } else {
        let memory = if modrm < 0xc0 { 16 } else { 0 };
        1 + memory + (u32::from(modrm & 7) | (rex & 1) << 3)
    }
}
