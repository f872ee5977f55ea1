//! Follows the registers of MIPS code that addresses count from: the global pointer, and higher halves.
//!
//! As with [`super::super::aarch64::Pages`], the rules are small and frozen with the format; where they are wrong
//! about an instruction, a patch is larger.
//!
//! 1. `lui` gives its register a base that counts from zero; into register 28 one that counts from the first
//!    instruction walked, to which code adds register 25, the address of its function. Both are references.
//! 2. An addition, load or store through a register that has a base is a reference; an addition into register 28
//!    gives that the sum as a base.
//! 3. Register 28 keeps its base whatever else writes it: code saves it and loads it again. Of others, calls end what
//!    1 to 15, 24, 25 and 31 hold, and any other instruction what it may write, as listed in [`written`].
//!
//! The target of a `lui` is that of the first reference through its register among the next few instructions,
//! none of which writes the register (28 aside), jumps for good, or calls.

use super::super::bases::{Bases, Registers};
use super::super::bits::word_of;
use super::super::words::low_part as low_part_of;
use super::super::{Flow, Insn};
use super::decode::{base_of, flow_of, kind_of, result_of};
use super::field::value;
use super::{HIGH16, LOW16};

/// The global pointer.
const GLOBAL: u32 = 28;
/// at, v0, v1, a0 to a7, t0 to t3, t8, t9, ra.
const CALL: Registers = 0x8300_fffe;

/// The bases that registers hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    entry: Option<u64>,
    bases: Bases,
}

impl Globals {
    /// What the field of an instruction at `address` counts from, of a kind that counts from a register.
    #[inline]
    pub fn base(&self, bytes: &[u8], address: u64) -> Option<u64> {
        let word = word_of(bytes)?;
        match kind_of(word) {
            Some(HIGH16) if result_of(word) == GLOBAL => Some(self.entry.unwrap_or(address)),
            Some(HIGH16) => Some(0),
            _ => self.bases.get(base_of(word)),
        }
    }

    /// Goes past an instruction whose fields are final.
    #[inline]
    pub fn step(&mut self, insn: &Insn, bytes: &[u8], address: u64) {
        self.entry.get_or_insert(address);
        let Some(word) = word_of(bytes) else { return };
        let (kind, to) = (kind_of(word), result_of(word));
        let sum = match kind {
            Some(HIGH16) => self.base(bytes, address),
            Some(LOW16) if matches!(word >> 26, 9 | 25) && to == GLOBAL => self.base(bytes, address),
            _ => None,
        };
        if let (Some(kind), Some(base)) = (kind, sum) {
            if to != 0 {
                self.bases.set(to, base.wrapping_add_signed(value(kind, word)));
            }
        } else if !self.bases.is_empty() {
            let ended = if insn.flow() == Flow::Call {
                CALL
            } else {
                written(word)
            };
            self.bases.clear(ended & !(1 << GLOBAL));
        }
    }
}

/// What the other half adds to a `lui`, by what stands behind it; 0 where none is found.
pub fn low_part(high: u32, rest: &[u8]) -> i64 {
    let register = result_of(high);
    if register == 0 {
        return 0;
    }
    let completes = |word| {
        let is_low = kind_of(word) == Some(LOW16) && base_of(word) == register;
        is_low.then(|| value(LOW16, word))
    };
    let ends = |word| written(word) >> register & 1 == 1 && register != GLOBAL;
    low_part_of(rest, completes, flow_of, ends)
}

/// The registers that an instruction may write.
fn written(word: u32) -> Registers {
    let result = 1 << result_of(word);
    match word >> 26 {
        // Three registers, the result in the middle; some with it where constants have it.
        0 | 28 => 1 << (word >> 11 & 31),
        31 => result | 1 << (word >> 11 & 31),
        // Arithmetic with a constant; loads; store conditional.
        8..=15 | 24..=27 | 32..=39 | 48 | 52 | 55 | 56 | 60 => result,
        // Moves from coprocessors.
        16..=18 if base_of(word) < 4 => result,
        _ => 0,
    }
}
