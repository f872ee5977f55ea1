//! What LoongArch instructions do to the frame, and what they look like without their operands.

use super::super::NOP;
use super::super::bits::word_of;
use super::decode::{base_of, result_of};
use crate::hashing::hash;

const STACK_POINTER: u32 = 3;

/// Opcode as far as it is known: the highest byte, and two bits more where constants of twelve bits follow.
pub fn opcode(bytes: &[u8]) -> u32 {
    let byte = |at: usize| bytes.get(at).copied().map_or(0, u32::from);
    match byte(3) {
        // Branches and sums with the program counter.
        high @ 0x40.. => high >> 2 << 2,
        high @ 0x18..=0x1f => high & 0xfe,
        // Three registers.
        high @ (0x00 | 0x01 | 0x38) => high | byte(2) << 8 | byte(1) >> 7 << 16,
        high => high | (byte(2) >> 6) << 8,
    }
}

/// As [`super::InstructionSet::role`].
pub fn role(bytes: &[u8]) -> u8 {
    let Some(word) = word_of(bytes) else { return 0 };
    let on_stack = base_of(word) == STACK_POINTER;
    match word >> 22 {
        0x0d if word == 0x0340_0000 => NOP,
        // addi.d of the stack pointer, with its sign; of a frame pointer.
        0x0b if on_stack && result_of(word) == STACK_POINTER => 4 + (word >> 21 & 1) as u8,
        0x0b if on_stack && result_of(word) == 22 => 6,
        0xa7 if on_stack => 7,
        0xa3 if on_stack => 8,
        0xaf if on_stack => 9,
        0xae if on_stack => 10,
        _ => 0,
    }
}

/// Hash of an instruction without registers and constants; the register that it writes counts.
pub fn head(bytes: &[u8]) -> u32 {
    hash(
        hash(6, opcode(bytes)),
        bytes.first().map_or(0, |b| u32::from(b & 31)),
    )
}
