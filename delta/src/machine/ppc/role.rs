//! What PowerPC instructions do to the frame, and what they look like without their operands.

use super::super::NOP;
use super::super::bits::word_of;
use super::decode::{base_of, result_of};
use crate::hashing::hash;

const STACK_POINTER: u32 = 1;

/// Primary opcode, and the extended one where there is one and it is known.
pub fn opcode(bytes: &[u8]) -> u32 {
    let byte = |at: usize| bytes.get(at).copied().map_or(0, u32::from);
    let primary = byte(3) >> 2;
    match primary {
        4 | 19 | 31 | 59 | 60 | 63 => primary | (byte(0) >> 1 | (byte(1) & 7) << 7) << 6,
        30 => primary | (byte(0) >> 2 & 7) << 6,
        58 | 62 => primary | (byte(0) & 3) << 6,
        _ => primary,
    }
}

/// As [`super::InstructionSet::role`].
pub fn role(bytes: &[u8]) -> u8 {
    let Some(word) = word_of(bytes) else { return 0 };
    let on_stack = base_of(word) == STACK_POINTER;
    match word >> 26 {
        24 if word == 0x6000_0000 => NOP,
        // stdu, addi of the stack pointer.
        62 if on_stack && word & 3 == 1 => 4,
        14 if on_stack && result_of(word) == STACK_POINTER => 5,
        62 if on_stack => 6,
        58 if on_stack => 7,
        54 if on_stack => 8,
        50 if on_stack => 9,
        // mflr, mtlr; mfcr, mtcrf.
        31 => match word & 0x001f_ffff {
            0x0008_02a6 => 10,
            0x0008_03a6 => 11,
            _ => 0,
        },
        _ => 0,
    }
}

/// Hash of an instruction without registers and constants; the register that it writes counts.
pub fn head(bytes: &[u8]) -> u32 {
    let Some(word) = word_of(bytes) else { return 0 };
    let extended = matches!(word >> 26, 4 | 19 | 31 | 59 | 60 | 63);
    hash(6, word & if extended { 0xffe0_07ff } else { 0xffe0_0000 })
}
