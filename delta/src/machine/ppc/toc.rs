//! Follows the registers of PowerPC code that addresses count from: the table of contents, and higher halves.
//!
//! As with [`super::super::aarch64::Pages`], the rules are small and frozen with the format; where they are wrong
//! about an instruction, a patch is larger.
//!
//! 1. Register 12 holds the address of the function at its first instruction, until it is written or a call comes.
//! 2. `addis` through a register that has a base, or through none (register 0), is a reference and gives its result
//!    a base. `addi` through a base is a reference; into register 2 it gives that the sum as a base.
//! 3. Register 2 keeps its base whatever writes it: code saves it and loads it again. Of others, calls end what 0
//!    and 3 to 12 hold, and any other instruction what it may write, as listed in [`written`].
//! 4. Any other load or store through a base is a reference.
//!
//! The target of an `addis` is that of the first reference through its result among the next few instructions,
//! none of which writes the register, jumps for good, or calls.

use super::super::bases::{Bases, Registers};
use super::super::bits::word_of;
use super::super::words::low_part as low_part_of;
use super::super::{Flow, Insn};
use super::decode::{base_of, flow_of, kind_of, result_of};
use super::field::value;
use super::{HIGH16, LOW16, is_counted};

/// The table of contents.
const TOC: u32 = 2;
/// The address of the function, where it begins.
const ENTRY: u32 = 12;

/// 0 and 3 to 12.
const CALL: Registers = 0x1ff9;

/// The bases that registers hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toc {
    begun: bool,
    bases: Bases,
}

impl Toc {
    /// What the field of an instruction at `address` counts from, of a kind that counts from a register.
    #[inline]
    pub fn base(&self, bytes: &[u8], address: u64) -> Option<u64> {
        let word = word_of(bytes)?;
        let register = base_of(word);
        if !self.begun && register == ENTRY {
            return Some(address);
        }
        if kind_of(word) == Some(HIGH16) && register == 0 {
            return Some(0);
        }
        self.bases.get(register)
    }

    /// Goes past an instruction whose fields are final.
    #[inline]
    pub fn step(&mut self, insn: &Insn, bytes: &[u8], address: u64) {
        if !self.begun {
            self.begun = true;
            self.bases.set(ENTRY, address);
        }
        let Some(word) = word_of(bytes) else { return };
        let kind = kind_of(word);
        let to = result_of(word);
        let sum = match kind {
            Some(HIGH16) => self.base(bytes, address),
            Some(LOW16) if word >> 26 == 14 && to == TOC => self.base(bytes, address),
            _ => None,
        };
        if let (Some(kind), Some(base)) = (kind, sum) {
            self.bases.set(to, base.wrapping_add_signed(value(kind, word)));
            // Register 0 reads as zero where addresses count from it.
            self.bases.clear(1);
        } else if !self.bases.is_empty() {
            let ended = if insn.flow() == Flow::Call {
                CALL
            } else {
                written(word)
            };
            self.bases.clear(ended & !(1 << TOC));
        }
    }
}

/// What the other half adds to an `addis`, by what stands behind it; 0 where none is found.
pub fn low_part(high: u32, rest: &[u8]) -> i64 {
    let register = result_of(high);
    let completes = |word| {
        let kind = kind_of(word).filter(|&kind| is_counted(kind) && kind != HIGH16)?;
        (base_of(word) == register).then(|| value(kind, word))
    };
    low_part_of(rest, completes, flow_of, |word| {
        written(word) >> register & 1 == 1
    })
}

/// The registers that an instruction may write; generous for the rarer ones.
fn written(word: u32) -> Registers {
    let (to, from) = (1 << result_of(word), 1 << base_of(word));
    match word >> 26 {
        // Arithmetic with a constant; loads, those with update last.
        7 | 8 | 12..=15 | 32 | 34 | 40 | 42 => to,
        33 | 35 | 41 | 43 | 58 => to | from,
        // Rotations and logic with a constant.
        20..=30 => from,
        // Stores with update, and loads of floating-point numbers with it.
        37 | 39 | 45 | 49 | 51 | 53 | 55 => from,
        62 if word & 3 == 1 => from,
        // Compares write none; all else either of the two.
        31 if matches!(word >> 1 & 0x3ff, 0 | 32) => 0,
        31 => to | from,
        4 => to,
        46 | 56 => Registers::MAX,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Machine, Scanner};

    const SETUP: [u32; 2] = [0x3c4c_0002, 0x3842_8000]; // addis r2, r12, 2; addi r2, r2, -0x8000
    const HIGH: u32 = 0x3d22_ffff; // addis r9, r2, -1
    const LOAD: u32 = 0xe929_0010; // ld r9, 16(r9)
    const ADD: u32 = 0x3869_fff8; // addi r3, r9, -8
    const BRANCH_LINK: u32 = 0x4800_0001;
    const RESTORE: u32 = 0xe841_0018; // ld r2, 24(r1)

    /// The target of each reference, the code standing at 0x10_0000.
    fn run(words: &[u32]) -> Vec<Option<u64>> {
        let code: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let machine = Machine::Ppc64;
        let (mut scanner, mut found) = (Scanner::new(machine), Vec::new());
        for p in (0..code.len()).step_by(4) {
            let (bytes, here) = (&code[p..], 0x10_0000 + p as u64);
            let (insn, field) = scanner.look(bytes, here);
            found.push(field.map(|(f, from)| machine.read(f.kind, bytes, f.at, insn.len(), from)));
            scanner.pass(&insn, bytes, here);
        }
        found
    }

    #[test]
    fn addresses_count_from_the_table_that_the_function_finds() {
        let [a, b] = SETUP;
        let toc = 0x11_8000;
        let whole = Some(toc - 0x1_0000 + 16);
        assert_eq!(
            run(&[a, b, HIGH, LOAD, ADD]),
            [Some(toc), Some(toc), whole, whole, None]
        );
        let called = run(&[a, b, BRANCH_LINK, RESTORE, HIGH, ADD]);
        assert_eq!(called[4..], [Some(toc - 0x1_0000 - 8); 2]);
    }

    #[test]
    fn without_a_base_there_is_no_reference() {
        assert_eq!(run(&[HIGH, LOAD]), [None, None]);
        // lis r9, 16
        assert_eq!(run(&[0x3d20_0010, LOAD]), [Some(0x10_0010); 2]);
        assert_eq!(run(&[0x6000_0000, BRANCH_LINK, SETUP[0]])[2], None);
    }
}
