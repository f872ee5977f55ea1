//! MIPS of 64 bits, little-endian.
//!
//! Addresses are made of two instructions, as on PowerPC: `lui` gives the higher half, an addition, load or store
//! through the register the lower one. They count from zero; position-independent code adds the distance from a
//! function (register 25) to the global pointer (register 28), from which entries of its table are loaded.
//!
//! Sources: MIPS64 Architecture for Programmers, volume II-A, appendix A; 64-bit MIPS ELF supplement ("N64").

mod decode;
mod field;
mod globals;
mod role;

pub use globals::Globals;

use super::bits::{put, word_of};
use super::set::{InstructionSet, Use, fits};
use super::{Field, FieldKind, Insn, words};

/// `j` and `jal`: 26 bits, in words, in the region of the instruction behind.
pub const JUMP26: FieldKind = FieldKind::new(0);
/// Branches: 16 bits, in words, from the instruction behind.
pub const BRANCH16: FieldKind = FieldKind::new(1);
/// `lui`: 16 bits, in units of 64 KiB. Its target is that of the instruction that completes it, if one of the next few
/// does. Only [`Globals`] knows what it counts from.
pub const HIGH16: FieldKind = FieldKind::new(2);
/// Lower 16 bits of an addition, a load or a store. Only [`Globals`] knows what they count from.
pub const LOW16: FieldKind = FieldKind::new(3);

/// MIPS of 64 bits.
pub struct Mips64;

const _: () = fits::<Mips64>();

/// Whether a kind counts from a register.
pub fn is_counted(kind: FieldKind) -> bool {
    matches!(kind, HIGH16 | LOW16)
}

impl InstructionSet for Mips64 {
    const KINDS: u8 = 4;
    const RELATIVE: u64 = 3;
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
            HIGH16 | LOW16 => Use {
                direct: false,
                ..Use::DATA
            },
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

    fn opcode(masked: &[u8], _: &Insn) -> u32 {
        role::opcode(masked)
    }

    fn written(masked: &[u8], _: &Insn) -> u32 {
        word_of(masked).map_or(0, |word| 1 + (word >> 16 & 31))
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
