//! What AArch64 instructions do to the frame, and what they look like without their operands.

use super::super::NOP;
use super::super::bits::word_of;
use crate::hashing::hash;

/// As [`super::InstructionSet::role`].
pub fn role(bytes: &[u8]) -> u8 {
    let Some(word) = word_of(bytes) else {
        return 0;
    };
    let (to, from) = (word & 31, word >> 5 & 31);
    match word >> 22 {
        // add, sub with an immediate
        0b10_0100_0100 | 0b10_0100_0101 if to == 31 || from == 31 && to == 29 => 4,
        0b11_0100_0100 | 0b11_0100_0101 if to == 31 => 5,
        // stp, ldp with write-back
        0b10_1010_0110 if from == 31 => 6,
        0b10_1010_0011 if from == 31 => 7,
        0b01_1011_0110 if from == 31 => 8,
        0b01_1011_0011 if from == 31 => 9,
        // stp, ldp of saved registers
        0b10_1010_0100 if from == 31 => 10,
        0b10_1010_0101 if from == 31 => 11,
        // str, ldr with write-back
        0b11_1110_0000 if from == 31 && word >> 10 & 3 == 3 => 12,
        0b11_1110_0001 if from == 31 && word >> 10 & 3 == 1 => 13,
        // paciasp, autiasp
        0b11_0101_0100 if word == 0xd503_201f => NOP,
        0b11_0101_0100 if word == 0xd503_233f || word == 0xd503_23bf => 14,
        _ => 0,
    }
}

/// As [`super::InstructionSet::head`].
pub fn head(bytes: &[u8]) -> u32 {
    let word = word_of(bytes).unwrap_or(0);
    let registers = word >> 25 & 7 == 5;
    hash(6, word & if registers { 0xffff_03ff } else { 0xffc0_03ff })
}

/// Hash of a word without its registers' and immediates' lower bits; 0 for less than a word.
pub fn look(bytes: &[u8]) -> u32 {
    let word = word_of(bytes);
    word.map_or(0, |word| hash(6, word & 0xffc0_001f))
}
