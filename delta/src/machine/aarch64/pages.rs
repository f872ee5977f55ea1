//! Pairs each AArch64 `adrp` with the instructions that add the low twelve bits of the address.
//!
//! The rules below are deliberately small and are frozen with the format. They needn't be right about every
//! instruction: a page kept too long or dropped too early costs bytes in a patch, never correctness, as long
//! as both sides follow them.
//!
//! 1. `adrp` sets the page of its register.
//! 2. A [`LO12`] word whose base register holds a page makes a reference, unless the register is
//!    31. Afterwards the register that it writes is cleared; the base keeps its page otherwise.
//! 3. `bl` and `blr` clear x0 to x18 and x30 (AAPCS64, section 6.1.1).
//! 4. Any other word clears the general registers that it may write, as listed in [`written`].
//!
//! Jumps clear nothing: compilers place a page before a branch and use it on either way. Callers start afresh
//! where a function does.

use super::super::Machine;
use super::super::bits::word_of;
use super::decode::{base_of, kind_of};
use super::{ADR_PAGE21, LO12};

/// Registers as bits; bit 31, the zero register or the stack pointer, is never tracked.
type Registers = u32;
const TRACKED: Registers = 0x7fff_ffff;
/// x0 to x18 and x30.
const CALL: Registers = 0x4007_ffff;

/// The pages that the general registers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    held: Registers,
    pages: [u64; 32],
}

/// An instruction that completes an `adrp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowPart {
    /// The base register, 0 to 30.
    pub base: u8,
    /// The page it holds: the `address` to give to [`Machine::read`] and [`Machine::write`].
    pub page: u64,
    /// The page plus the scaled immediate.
    pub target: u64,
}

impl Default for Pages {
    fn default() -> Self {
        Pages::new()
    }
}

impl Pages {
    /// No register holds a page, as at the start of a function.
    pub fn new() -> Pages {
        Pages {
            held: 0,
            pages: [0; 32],
        }
    }

    /// The page that a register holds.
    pub fn page(&self, register: u8) -> Option<u64> {
        let held = register < 31 && self.held >> register & 1 == 1;
        held.then(|| self.pages[usize::from(register & 31)])
    }

    /// Goes past the instruction of `bytes` at `address`, and says if it completes an `adrp`.
    #[inline]
    pub fn step(&mut self, bytes: &[u8], address: u64) -> Option<LowPart> {
        let word = word_of(bytes)?;
        let kind = kind_of(word);
        if kind == Some(ADR_PAGE21) {
            let register = word & 31;
            self.pages[register as usize] = Machine::AArch64.read(ADR_PAGE21, bytes, 0, 4, address);
            self.held = (self.held | 1 << register) & TRACKED;
            return None;
        }
        if self.held == 0 {
            return None;
        }
        let mut low_part = None;
        if kind == Some(LO12) {
            let base = base_of(word);
            low_part = self.page(base).map(|page| LowPart {
                base,
                page,
                target: Machine::AArch64.read(LO12, bytes, 0, 4, page),
            });
        }
        self.held &= !written(word);
        low_part
    }
}

/// The general registers that a word may write, by the main groups of the Arm ARM, table C4-1. Generous for
/// the rare groups, exact for the ones that stand between an `adrp` and its other half.
fn written(word: u32) -> Registers {
    let register = |at: u32| 1 << (word >> at & 31);
    match word >> 25 & 15 {
        // Data processing with an immediate: Rd.
        8 | 9 => register(0),
        // Branches and system: calls; mrs and sysl (bit 21) write Rt.
        10 | 11 => match word >> 24 {
            0x94..=0x97 => CALL,
            0xd6 | 0xd7 if word >> 21 & 7 == 1 => CALL,
            0xd5 if word >> 21 & 1 == 1 => register(0),
            _ => 0,
        },
        // Data processing of registers: Rd; conditional compares have flags there.
        5 | 13 => {
            let compare = word & 0x3fe0_0000 == 0x3a40_0000;
            if compare { 0 } else { register(0) }
        }
        4 | 6 | 12 | 14 => written_by_memory(word),
        // Scalar and vector: conversions to, and moves to, a general register.
        7 | 15 => {
            let element = word & 0xbfe0_ec00 == 0x0e00_2c00;
            let conversion = word & 0x5f00_0000 == 0x1e00_0000 && (word >> 21 & 1 == 0 || word & 0xfc00 == 0);
            let to_float = matches!(word >> 16 & 7, 2 | 3 | 7);
            if element || conversion && !to_float {
                register(0)
            } else {
                0
            }
        }
        // Reserved, SME, SVE.
        _ => register(0),
    }
}

/// The part of [`written`] for loads and stores.
fn written_by_memory(word: u32) -> Registers {
    let register = |at: u32| 1 << (word >> at & 31);
    let vector = word >> 26 & 1 == 1;
    match word >> 28 & 3 {
        // Vector structures: the base, by writeback.
        0 if vector => register(5),
        // Exclusives and compare-and-swap: data, pair and status registers.
        0 => register(0) | register(10) | register(16) | register(16) << 1,
        // Literals, tags and memory copies (bit 24 set), and ordered loads and stores.
        1 if word >> 24 & 1 == 0 => {
            if vector {
                0
            } else {
                register(0)
            }
        }
        1 => register(0) | register(5) | register(16),
        // Pairs: a load writes both, a form with writeback (bit 23) the base.
        2 => {
            let data = if vector || word >> 22 & 1 == 0 {
                0
            } else {
                register(0) | register(10)
            };
            data | if word >> 23 & 1 == 1 { register(5) } else { 0 }
        }
        // Single registers: a load (opc not 0, no prefetch) writes Rt; post- and pre-index write the base.
        _ => {
            let opc = word >> 22 & 3;
            let prefetch = word >> 30 == 3 && opc == 2;
            let atomic = word >> 24 & 1 == 0 && word >> 21 & 1 == 1 && word >> 10 & 3 != 2;
            let load = !vector && !prefetch && opc != 0;
            let writeback = word >> 24 & 1 == 0 && word >> 10 & 1 == 1;
            let data = if load || atomic && !vector { register(0) } else { 0 };
            data | if writeback { register(5) } else { 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADRP_X0: u32 = 0xb000_0000; // adrp x0, +1 page
    const ADD_X0: u32 = 0x9100_4000; // add x0, x0, #16
    const ADD_X1: u32 = 0x9100_4001; // add x1, x0, #16
    const LDR_X2: u32 = 0xf940_0402; // ldr x2, [x0, #8]

    fn run(words: &[u32]) -> Vec<Option<u64>> {
        let mut pages = Pages::new();
        let steps = words
            .iter()
            .map(|word| pages.step(&word.to_le_bytes(), 0x40_0ffc));
        steps.map(|low| low.map(|low| low.target)).collect()
    }

    #[test]
    fn a_page_lasts_until_its_register_is_written() {
        let full = Some(0x40_1010);
        assert_eq!(run(&[ADRP_X0, ADD_X0, ADD_X0]), [None, full, None]);
        assert_eq!(
            run(&[ADRP_X0, ADD_X1, LDR_X2, ADD_X0]),
            [None, full, Some(0x40_1008), full]
        );
        assert_eq!(run(&[ADD_X0, LDR_X2]), [None, None]);
    }

    #[test]
    fn words_that_write_x0_clear_it() {
        let clearing = [
            (0x9400_0000, "bl ."),
            (0xd63f_0100, "blr x8"),
            (0xaa01_03e0, "mov x0, x1"),
            (0xd280_0000, "mov x0, #0"),
            (0xf940_0420, "ldr x0, [x1, #8]"),
            (0xf840_8420, "ldr x0, [x1], #8"),
            (0xf840_8401, "ldr x1, [x0], #8"),
            (0xf800_8c01, "str x1, [x0, #8]!"),
            (0xf862_6820, "ldr x0, [x1, x2]"),
            (0xa940_0420, "ldp x0, x1, [x1]"),
            (0xa940_0021, "ldp x1, x0, [x1]"),
            (0xa8c1_0801, "ldp x1, x2, [x0], #16"),
            (0xc85f_7c20, "ldxr x0, [x1]"),
            (0xc800_7c22, "stxr w0, x2, [x1]"),
            (0xf822_0020, "ldadd x2, x0, [x1]"),
            (0x5800_0040, "ldr x0, +8"),
            (0xd53b_d040, "mrs x0, tpidr_el0"),
            (0x9e66_0020, "fmov x0, d1"),
            (0x9e78_0020, "fcvtzs x0, d1"),
            (0x4e08_3c20, "mov x0, v1.d[0]"),
            (0x9a82_0020, "csel x0, x1, x2, eq"),
        ];
        for (word, assembly) in clearing {
            assert_eq!(run(&[ADRP_X0, word, ADD_X1])[2], None, "{assembly}");
        }
    }

    #[test]
    fn words_that_only_read_x0_keep_it() {
        let keeping = [
            (0xf900_0420, "str x0, [x1, #8]"),
            (0xf820_6820, "str x0, [x1, x0]"),
            (0xa900_0420, "stp x0, x1, [x1]"),
            (0xb400_0040, "cbz x0, +8"),
            (0x1400_0001, "b +4"),
            (0xd65f_03c0, "ret"),
            (0xf100_041f, "cmp x0, #1"),
            (0xfa41_0800, "ccmp x0, #1, #0, eq"),
            (0x9e67_0000, "fmov d0, x0"),
            (0x9e62_0000, "scvtf d0, x0"),
            (0x1e62_2820, "fadd d0, d1, d2"),
            (0x4e08_1c20, "mov v0.d[0], x1"),
            (0x3dc0_0420, "ldr q0, [x1, #16]"),
            (0xfc40_8420, "ldr d0, [x1], #8"),
            (0x5c00_0040, "ldr d0, +8"),
            (0xd503_201f, "nop"),
            (0xd51b_d040, "msr tpidr_el0, x0"),
            (0xf980_0420, "prfm pldl1keep, [x1, #8]"),
        ];
        for (word, assembly) in keeping {
            assert_eq!(run(&[ADRP_X0, word, ADD_X1])[2], Some(0x40_1010), "{assembly}");
        }
    }

    #[test]
    fn the_last_register_is_never_tracked() {
        // adrp xzr, +1 page; add x0, sp, #16
        assert_eq!(run(&[0xb000_001f, 0x9100_43e0]), [None, None]);
    }
}
