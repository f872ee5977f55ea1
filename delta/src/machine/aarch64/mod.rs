//! AArch64.
//!
//! Sources: Arm ARM chapter C4; relocations: AArch64 ELF ABI, table 5-14.

mod decode;
mod field;
mod pages;
mod role;

pub use pages::{LowPart, Pages};

use super::bits::{put, word_of};
use super::set::{InstructionSet, Use, fits};
use super::{Field, FieldKind, Insn, words};
use decode::base_of;

/// `b` and `bl`: 26 bits, in words.
pub const BRANCH26: FieldKind = FieldKind::new(3);
/// `b.cond`, `cbz` and `cbnz`: 19 bits, in words.
pub const BRANCH19: FieldKind = FieldKind::new(4);
/// `tbz` and `tbnz`: 14 bits, in words.
pub const BRANCH14: FieldKind = FieldKind::new(5);
/// Load of a literal: 19 bits, in words.
pub const LIT19: FieldKind = FieldKind::new(6);
/// `adr`: 21 bits, in bytes.
pub const ADR21: FieldKind = FieldKind::new(7);
/// `adrp`: 21 bits, in pages of 4 KiB. Its target is a page.
pub const ADR_PAGE21: FieldKind = FieldKind::new(8);
/// Unsigned twelve-bit immediate that may complete an `adrp`, in units that the instruction sets. Only [`Pages`]
/// knows whether it does, and which page it counts from.
pub const LO12: FieldKind = FieldKind::new(9);

/// AArch64.
pub struct AArch64;

const _: () = fits::<AArch64>();

/// Words before the first one of a stretch that are walked for the pages they load.
const LEAD_IN: usize = 16;

/// The page that the base register of a [`LO12`] instruction holds.
#[inline]
pub fn page_of(pages: &Pages, bytes: &[u8]) -> Option<u64> {
    word_of(bytes).and_then(|word| pages.page(base_of(word)))
}

impl InstructionSet for AArch64 {
    const KINDS: u8 = 10;
    const RELATIVE: u64 = 1027;
    const LEAD_IN: usize = LEAD_IN;
    const SMALLEST: u8 = 4;
    const PAD: u8 = 0xcc;

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Insn {
        words::decode(bytes, decode::kind_of, decode::flow_of)
    }

    #[inline]
    fn uses(kind: FieldKind) -> Use {
        match kind {
            ADR21 => Use::DATA,
            LO12 => Use {
                direct: false,
                ..Use::DATA
            },
            ADR_PAGE21 => Use {
                direct: false,
                ..Use::BRANCH
            },
            _ => Use::BRANCH,
        }
    }

    #[inline]
    fn read(kind: FieldKind, insn: &[u8], at: u8, _: u8, address: u64) -> u64 {
        field::read(kind, insn, at, address)
    }

    #[inline]
    fn write(field: Field, insn: &mut [u8], _: u8, address: u64, target: u64) -> bool {
        field::write(field, insn, address, target)
    }

    #[inline]
    fn blank(kind: FieldKind, insn: &mut [u8], at: u8) {
        put(insn, at, field::word_mask(kind), 0);
    }

    /// Told highest byte first, a word's base register is not known before its immediate.
    fn hidden_bits(field: Field, at: usize) -> u8 {
        if field.kind == LO12 || at >= 4 {
            return 0;
        }
        field::word_mask(field.kind).to_le_bytes()[at]
    }

    #[inline]
    fn opcode(masked: &[u8], _: &Insn) -> u32 {
        masked.get(3).copied().map_or(0, u32::from)
    }

    #[inline]
    fn written(masked: &[u8], _: &Insn) -> u32 {
        masked.first().map_or(0, |b| u32::from(b & 31) + 1)
    }

    #[inline]
    fn site(bytes: &[u8], _: Field) -> u32 {
        bytes.get(3).copied().map_or(0, u32::from)
    }

    fn role(_: &Insn, bytes: &[u8]) -> u8 {
        role::role(bytes)
    }

    fn head(_: &Insn, bytes: &[u8]) -> u32 {
        role::head(bytes)
    }

    fn look(_: &Insn, bytes: &[u8]) -> u32 {
        role::look(bytes)
    }
}
