//! Finds the flow and the reference field of one LoongArch instruction, each a little-endian word.

use super::super::{FieldKind, Flow};
use super::{BRANCH16, BRANCH21, BRANCH26, CALL20, HIGH20, JUMP16, LOW12, NEAR20, PAGE20};

/// The register that most instructions write, or store.
#[inline]
pub fn result_of(word: u32) -> u32 {
    word & 31
}

/// The register that most instructions count from.
#[inline]
pub fn base_of(word: u32) -> u32 {
    word >> 5 & 31
}

/// The reference field that a word may have.
#[inline]
pub fn kind_of(word: u32) -> Option<FieldKind> {
    match word >> 26 {
        0x14 | 0x15 => Some(BRANCH26),
        0x10..=0x12 => Some(BRANCH21),
        0x16..=0x1b => Some(BRANCH16),
        0x13 => Some(JUMP16),
        _ => match (word >> 25, word >> 22) {
            (0x0c, _) => Some(NEAR20),
            (0x0d, _) => Some(PAGE20),
            (0x0e, _) => Some(HIGH20),
            (0x0f, _) => Some(CALL20),
            // addi.d; loads and stores of integers, floating-point numbers, vectors.
            (_, 0x0b | 0xa0..=0xaa | 0xac..=0xb3) => Some(LOW12),
            _ => None,
        },
    }
}

/// Where control goes.
pub fn flow_of(word: u32) -> Flow {
    match word >> 26 {
        0x14 => Flow::Jump,
        0x15 => Flow::Call,
        0x10..=0x12 | 0x16..=0x1b => Flow::CondJump,
        0x13 => match (result_of(word), base_of(word)) {
            (0, 1) => Flow::Return,
            (0, _) => Flow::Jump,
            _ => Flow::Call,
        },
        // break; ertn.
        _ if word >> 15 == 0x54 || word == 0 => Flow::Trap,
        _ if word == 0x0648_3800 => Flow::Return,
        _ => Flow::Next,
    }
}
