//! PowerPC of 64 bits, little-endian.
//!
//! Addresses are made of two instructions: `addis` adds the higher half to a register, an addition, load or store
//! through the one that it wrote the lower half. They count from the table of contents (register 2), which a function
//! finds from its own address (register 12), or from zero. As on RISC-V both halves are references to the whole.
//!
//! Sources: Power ISA 3.1, books I and appendix F; relocations and the table of contents: 64-Bit ELF V2 ABI
//! Specification, sections 2.3 and 3.5.

mod decode;
mod field;
mod role;
mod toc;

pub use toc::Toc;

use super::bits::{put, word_of};
use super::set::{InstructionSet, Use, fits};
use super::{Field, FieldKind, Insn, words};

/// `b` and `bl`: 24 bits, in words.
pub const BRANCH24: FieldKind = FieldKind::new(0);
/// `bc` and its like: 14 bits, in words.
pub const BRANCH14: FieldKind = FieldKind::new(1);
/// `addis`: 16 bits, in units of 64 KiB. Its target is that of the instruction that completes it, if one of the next
/// few does. Only [`Toc`] knows what it counts from.
pub const HIGH16: FieldKind = FieldKind::new(2);
/// Lower 16 bits of an addition, a load or a store. Only [`Toc`] knows what they count from.
pub const LOW16: FieldKind = FieldKind::new(3);
/// The same without the lowest two bits.
pub const LOW14: FieldKind = FieldKind::new(4);
/// The same without the lowest four bits.
pub const LOW12: FieldKind = FieldKind::new(5);

/// PowerPC of 64 bits.
pub struct Ppc64;

const _: () = fits::<Ppc64>();

/// Whether a kind counts from a register.
pub fn is_counted(kind: FieldKind) -> bool {
    matches!(kind, HIGH16 | LOW16 | LOW14 | LOW12)
}

impl InstructionSet for Ppc64 {
    const KINDS: u8 = 6;
    const RELATIVE: u64 = 22;
    const LEAD_IN: usize = usize::MAX;
    const SMALLEST: u8 = 4;
    const PAD: u8 = 0;

    /// Out of line, as the decoders of other machines share the place where it is called.
    #[inline(never)]
    fn decode(bytes: &[u8]) -> Insn {
        words::decode(bytes, decode::kind_of, decode::flow_of)
    }

    fn uses(kind: FieldKind) -> Use {
        match kind {
            BRANCH24 | BRANCH14 => Use::BRANCH,
            _ => Use {
                direct: false,
                ..Use::DATA
            },
        }
    }

    fn read(kind: FieldKind, insn: &[u8], at: u8, _: u8, address: u64) -> u64 {
        field::read(kind, insn, at, address)
    }

    fn write(field: Field, insn: &mut [u8], _: u8, address: u64, target: u64) -> bool {
        field::write(field, insn, address, target)
    }

    fn blank(kind: FieldKind, insn: &mut [u8], at: u8) {
        put(insn, at, field::mask(kind), 0);
    }

    fn opcode(masked: &[u8], _: &Insn) -> u32 {
        role::opcode(masked)
    }

    fn written(masked: &[u8], _: &Insn) -> u32 {
        word_of(masked).map_or(0, |word| 1 + decode::result_of(word))
    }

    fn site(bytes: &[u8], _: Field) -> u32 {
        word_of(bytes).map_or(0, |word| word >> 26)
    }

    fn role(_: &Insn, bytes: &[u8]) -> u8 {
        role::role(bytes)
    }

    fn head(_: &Insn, bytes: &[u8]) -> u32 {
        role::head(bytes)
    }
}
