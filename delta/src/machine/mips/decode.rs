//! Finds the flow and the reference field of one MIPS instruction, each a little-endian word.
//!
//! An instruction behind a branch is done before the branch is; that makes no difference here.

use super::super::{FieldKind, Flow};
use super::{BRANCH16, HIGH16, JUMP26, LOW16};

/// The register that an instruction with a constant writes, or stores.
#[inline]
pub fn result_of(word: u32) -> u32 {
    word >> 16 & 31
}

/// The register that most instructions count from.
#[inline]
pub fn base_of(word: u32) -> u32 {
    word >> 21 & 31
}

/// The reference field that a word may have.
#[inline]
pub fn kind_of(word: u32) -> Option<FieldKind> {
    match word >> 26 {
        2 | 3 => Some(JUMP26),
        // beq, bne, blez, bgtz, and those that are likely.
        4..=7 | 20..=23 => Some(BRANCH16),
        // bltz, bgez, and those that link.
        1 if result_of(word) & 0xc == 0 => Some(BRANCH16),
        // bc1f, bc1t.
        17 if base_of(word) == 8 => Some(BRANCH16),
        15 => Some(HIGH16),
        // addiu, daddiu; loads and stores.
        9 | 25 | 32..=37 | 39..=41 | 43 | 49 | 53 | 55 | 57 | 61 | 63 => Some(LOW16),
        _ => None,
    }
}

/// Where control goes.
pub fn flow_of(word: u32) -> Flow {
    match word >> 26 {
        2 => Flow::Jump,
        3 => Flow::Call,
        // b: beq of the zero register with itself.
        4 if word >> 16 & 0x3ff == 0 => Flow::Jump,
        1 if result_of(word) & 0x1c == 0x10 => Flow::Call,
        0 => match word & 0x3f {
            8 if base_of(word) == 31 => Flow::Return,
            8 => Flow::Jump,
            9 => Flow::Call,
            13 => Flow::Trap,
            _ => Flow::Next,
        },
        _ if kind_of(word) == Some(BRANCH16) => Flow::CondJump,
        // eret.
        16 if word == 0x4200_0018 => Flow::Return,
        _ => Flow::Next,
    }
}
