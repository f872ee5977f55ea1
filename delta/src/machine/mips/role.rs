//! What MIPS instructions do to the frame, and what they look like without their operands.

use super::super::NOP;
use super::super::bits::word_of;
use super::decode::{base_of, result_of};
use crate::hashing::hash;

const STACK_POINTER: u32 = 29;

/// Opcode, and the function of instructions with three registers, as far as it is known.
pub fn opcode(bytes: &[u8]) -> u32 {
    let byte = |at: usize| bytes.get(at).copied().map_or(0, u32::from);
    let primary = byte(3) >> 2;
    match primary {
        0 | 17 | 28 | 31 => primary | (byte(0) & 0x3f) << 6,
        1 => primary | (byte(2) & 0x1f) << 6,
        _ => primary,
    }
}

/// As [`super::InstructionSet::role`].
pub fn role(bytes: &[u8]) -> u8 {
    let Some(word) = word_of(bytes) else { return 0 };
    let on_stack = base_of(word) == STACK_POINTER;
    match word >> 26 {
        0 if word == 0 => NOP,
        // daddiu of the stack pointer, with its sign.
        25 if on_stack && result_of(word) == STACK_POINTER => 4 + (word >> 15 & 1) as u8,
        63 if on_stack => 6,
        55 if on_stack => 7,
        61 if on_stack => 8,
        53 if on_stack => 9,
        _ => 0,
    }
}

/// Hash of an instruction without registers and constants; the register that it writes counts.
pub fn head(bytes: &[u8]) -> u32 {
    let Some(word) = word_of(bytes) else { return 0 };
    let three = matches!(word >> 26, 0 | 17 | 28 | 31);
    hash(6, word & if three { 0xfc00_f83f } else { 0xfc1f_0000 })
}
