//! Pairs the LoongArch instructions that make the higher part of an address with those that add the rest.
//!
//! As with [`super::super::aarch64::Pages`], the rules are small and frozen with the format; where they are wrong
//! about an instruction, a patch is larger.
//!
//! 1. `pcalau12i`, `pcaddu12i` and `pcaddu18i` set the base of their register, unless that is the zero register.
//! 2. A [`super::LOW12`] or [`super::JUMP16`] through a register that has a base makes a reference. Afterwards what
//!    the instruction writes has none.
//! 3. Calls clear ra, a0 to a7 and t0 to t8 (psABI, "Register Convention"); any other instruction what it may write,
//!    as listed in [`written`].
//!
//! Jumps clear nothing. The target of a higher part is that of the first reference through its register among the
//! next few instructions, none of which writes the register, jumps for good, or calls.

use super::super::Flow;
use super::super::bases::{Bases, Registers};
use super::super::bits::word_of;
use super::super::words::low_part as low_part_of;
use super::decode::{base_of, flow_of, kind_of, result_of};
use super::field::{origin, value};
use super::{CALL20, HIGH20, PAGE20, is_low};

/// ra, a0 to a7, t0 to t8.
const CALL: Registers = 0x001f_fff2;

/// The bases that registers hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Bases);

impl Pairs {
    /// The base from which the field of an instruction counts.
    #[inline]
    pub fn base(&self, bytes: &[u8]) -> Option<u64> {
        self.0.get(base_of(word_of(bytes)?))
    }

    /// Goes past an instruction whose fields are final.
    #[inline]
    pub fn step(&mut self, bytes: &[u8], address: u64) {
        let Some(word) = word_of(bytes) else { return };
        match kind_of(word) {
            Some(kind @ (PAGE20 | HIGH20 | CALL20)) if result_of(word) != 0 => {
                let base = origin(kind, address).wrapping_add_signed(value(kind, word));
                self.0.set(result_of(word), base);
            }
            _ if self.0.is_empty() => {}
            _ => self.0.clear(written(word)),
        }
    }
}

/// What the other part adds, by what stands behind; 0 where none is found.
pub fn low_part(high: u32, rest: &[u8]) -> i64 {
    let register = result_of(high);
    if register == 0 {
        return 0;
    }
    let completes = |word| {
        let kind = kind_of(word).filter(|&kind| is_low(kind) && base_of(word) == register)?;
        Some(value(kind, word))
    };
    low_part_of(rest, completes, flow_of, |word| {
        written(word) >> register & 1 == 1
    })
}

/// The registers that an instruction may write; generous for those of floating-point numbers.
fn written(word: u32) -> Registers {
    if flow_of(word) == Flow::Call {
        return CALL;
    }
    let result = 1 << result_of(word);
    match (word >> 26, word >> 24, word >> 22) {
        // Branches.
        (0x10..=0x1b, _, _) => 0,
        // Stores, prefetches, and what has to do with numbers of other registers.
        (_, _, 0xa4..=0xa7 | 0xab..=0xb3) | (_, 0x25 | 0x27, _) => 0,
        // Vectors.
        (0x1c.., _, _) => 0,
        _ => result,
    }
}
