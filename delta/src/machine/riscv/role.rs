//! What RISC-V instructions do to the frame, and what they look like without their operands.

use super::super::NOP;
use super::decode::code_of;
use crate::hashing::hash;

const STACK_POINTER: u32 = 2;

/// Opcode and function of an instruction as far as it is known, the length in bit 15.
pub fn opcode(bytes: &[u8]) -> u32 {
    let byte = |at: usize| bytes.get(at).copied().map_or(0, u32::from);
    if byte(0) & 3 == 3 {
        byte(0) & 0x7f | (byte(1) >> 4 & 7) << 7 | 0x8000
    } else {
        byte(0) & 3 | (byte(1) >> 5) << 2
    }
}

/// As [`super::InstructionSet::role`].
pub fn role(bytes: &[u8]) -> u8 {
    let Some((code, len)) = code_of(bytes) else {
        return 0;
    };
    let (to, from) = (code >> 7 & 31, code >> 15 & 31);
    if len == 4 {
        return match (code & 0x7f, code >> 12 & 7) {
            (0x13, 0) if code == 0x13 => NOP,
            // addi of the stack pointer; a frame pointer from it.
            (0x13, 0) if to == STACK_POINTER => 4 + (code >> 31) as u8,
            (0x13, 0) if to == 8 && from == STACK_POINTER => 6,
            // Stores and loads of the frame.
            (0x23, 3) if from == STACK_POINTER => 7,
            (0x03, 3) if from == STACK_POINTER => 8,
            (0x27, _) if from == STACK_POINTER => 9,
            (0x07, _) if from == STACK_POINTER => 10,
            _ => 0,
        };
    }
    match (code & 3, code >> 13) {
        (1, 0) if to == 0 => NOP,
        // c.addi and c.addi16sp, both with the sign in bit 12; c.addi4spn into s0.
        (1, 0 | 3) if to == STACK_POINTER => 4 + (code >> 12 & 1) as u8,
        (0, 0) if code >> 2 & 7 == 0 => 6,
        // c.sdsp, c.ldsp, and those of floating-point numbers.
        (2, 7) => 7,
        (2, 3) => 8,
        (2, 5) => 9,
        (2, 1) => 10,
        _ => 0,
    }
}

/// Hash of an instruction without registers and constants; the register that it writes counts in long ones.
pub fn head(bytes: &[u8]) -> u32 {
    match code_of(bytes) {
        Some((code, 4)) => hash(6, code & 0x7fff),
        Some((code, _)) => hash(7, code & 0xef83),
        None => 0,
    }
}
