//! Finds the flow and the reference field of one PowerPC instruction.
//!
//! Every instruction is a little-endian word; prefixes of longer ones count as words of their own. Which field there
//! is follows from the primary opcode alone, which is coded before the field: so absolute branches are taken for
//! relative ones, and loads with update for those without.

use super::super::{FieldKind, Flow};
use super::{BRANCH14, BRANCH24, HIGH16, LOW12, LOW14, LOW16};

/// The register that most instructions write, or store.
#[inline]
pub fn result_of(word: u32) -> u32 {
    word >> 21 & 31
}

/// The register that most instructions count from.
#[inline]
pub fn base_of(word: u32) -> u32 {
    word >> 16 & 31
}

/// The reference field that a word may have.
#[inline]
pub fn kind_of(word: u32) -> Option<FieldKind> {
    match word >> 26 {
        18 => Some(BRANCH24),
        16 => Some(BRANCH14),
        15 => Some(HIGH16),
        // addi; loads and stores of integers and floating-point numbers; lq.
        14 | 32..=55 => Some(LOW16),
        // ld, lwa, std; lxsd, lxssp.
        57 | 58 | 62 => Some(LOW14),
        // lxv, stxv, stxsd, stxssp.
        61 => Some(LOW12),
        _ => None,
    }
}

pub fn flow_of(word: u32) -> Flow {
    let links = word & 1 == 1;
    // Branch always, whatever the hint.
    let always = result_of(word) & 0x14 == 0x14;
    match word >> 26 {
        18 if links => Flow::Call,
        18 => Flow::Jump,
        16 if links => Flow::Call,
        16 if always => Flow::Jump,
        16 => Flow::CondJump,
        19 => match word >> 1 & 0x3ff {
            // bclr; bcctr, bctar.
            16 | 528 | 560 if links => Flow::Call,
            16 | 528 | 560 if !always => Flow::CondJump,
            16 => Flow::Return,
            528 | 560 => Flow::Jump,
            // rfid, rfscv, hrfid.
            18 | 82 | 274 => Flow::Return,
            _ => Flow::Next,
        },
        // tw, td that always trap; attn.
        31 if matches!(word >> 1 & 0x3ff, 4 | 68) && result_of(word) == 31 => Flow::Trap,
        0 => Flow::Trap,
        _ => Flow::Next,
    }
}
