//! LoongArch of 64 bits.
//!
//! Addresses are made of two instructions, as on RISC-V: `pcalau12i` gives a page, `pcaddu12i` and `pcaddu18i` add a
//! higher part to their own address, and an addition, load, store or jump through the register adds the rest.
//!
//! Sources: LoongArch Reference Manual, volume 1; LoongArch ELF psABI, relocations.

mod decode;
mod field;
mod pairs;
mod role;

pub use pairs::Pairs;

use super::bits::put;
use super::set::{InstructionSet, Use, fits};
use super::{Field, FieldKind, Insn, words};

/// `b` and `bl`: 26 bits, in words.
pub const BRANCH26: FieldKind = FieldKind::new(0);
/// `beqz`, `bnez`, `bceqz`, `bcnez`: 21 bits, in words.
pub const BRANCH21: FieldKind = FieldKind::new(1);
/// Branches that compare two registers: 16 bits, in words.
pub const BRANCH16: FieldKind = FieldKind::new(2);
/// `pcaddi`: 20 bits, in words.
pub const NEAR20: FieldKind = FieldKind::new(3);
/// `pcalau12i`: 20 bits, in pages of 4 KiB. Its target, as those of the next two, is that of the instruction that
/// completes it, if one of the next few does.
pub const PAGE20: FieldKind = FieldKind::new(4);
/// `pcaddu12i`: 20 bits, in units of 4 KiB.
pub const HIGH20: FieldKind = FieldKind::new(5);
/// `pcaddu18i`: 20 bits, in units of 256 KiB.
pub const CALL20: FieldKind = FieldKind::new(6);
/// Lower 12 bits of an addition, a load or a store. Only [`Pairs`] knows what they count from.
pub const LOW12: FieldKind = FieldKind::new(7);
/// `jirl` behind one of these: 16 bits, in words.
pub const JUMP16: FieldKind = FieldKind::new(8);

/// LoongArch of 64 bits.
pub struct Loong;

const _: () = fits::<Loong>();

/// Whether a kind counts from a register.
pub fn is_low(kind: FieldKind) -> bool {
    matches!(kind, LOW12 | JUMP16)
}

impl InstructionSet for Loong {
    const KINDS: u8 = 9;
    const RELATIVE: u64 = 3;
    const LEAD_IN: usize = 16;
    const SMALLEST: u8 = 4;
    const PAD: u8 = 0;

    /// Out of line, as the decoders of other machines share the place where it is called.
    #[inline(never)]
    fn decode(bytes: &[u8]) -> Insn {
        words::decode(bytes, decode::kind_of, decode::flow_of)
    }

    fn uses(kind: FieldKind) -> Use {
        match kind {
            PAGE20 | HIGH20 | CALL20 | LOW12 | JUMP16 => Use {
                direct: false,
                ..Use::DATA
            },
            NEAR20 => Use::DATA,
            _ => Use::BRANCH,
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

    /// The opcode, then the registers, then what stands between them.
    fn place(n: usize, room: usize, _: u8) -> usize {
        if room >= 4 && n < 4 { (n + 3) & 3 } else { n }
    }

    fn opcode(masked: &[u8], _: &Insn) -> u32 {
        role::opcode(masked)
    }

    fn written(masked: &[u8], _: &Insn) -> u32 {
        masked.first().map_or(0, |b| u32::from(b & 31) + 1)
    }

    fn site(bytes: &[u8], _: Field) -> u32 {
        role::opcode(bytes)
    }

    fn role(_: &Insn, bytes: &[u8]) -> u8 {
        role::role(bytes)
    }

    fn head(_: &Insn, bytes: &[u8]) -> u32 {
        role::head(bytes)
    }
}
