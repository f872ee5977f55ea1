//! RISC-V of 64 bits, with compressed instructions.
//!
//! Addresses are made of two instructions: `auipc` adds the higher part to its own address, an addition, load, store
//! or jump through the register that it wrote adds the lower twelve bits. Each of the two is coded as a reference to
//! the whole address: that of the `auipc` comes first, and then that of the other is known.
//!
//! Linkers make calls and addresses shorter where what they lead to is near ("linker relaxation"): which instructions
//! there are may then change with the layout alone. That is left to the text, where one replaces the other.
//!
//! Sources: RISC-V Instruction Set Manual, volume I, chapters 2, 16 and 24; relocations: RISC-V ELF psABI, table 3.

mod decode;
mod field;
mod pairs;
mod role;

pub use pairs::Pairs;

use super::set::{InstructionSet, Use, counterpart_by_length, fits, part_by_length};
use super::{Field, FieldKind, Insn};
use decode::code_of;

/// `jal`: 20 bits, in halfwords.
pub const JUMP20: FieldKind = FieldKind::new(0);
/// Conditional branch: 12 bits, in halfwords.
pub const BRANCH12: FieldKind = FieldKind::new(1);
/// `c.j`: 11 bits, in halfwords.
pub const JUMP11: FieldKind = FieldKind::new(2);
/// `c.beqz` and `c.bnez`: 8 bits, in halfwords.
pub const BRANCH8: FieldKind = FieldKind::new(3);
/// `auipc`: 20 bits, in pages of 4 KiB. Its target is that of the instruction that completes it, if one of the next
/// few does.
pub const HIGH20: FieldKind = FieldKind::new(4);
/// Lower 12 bits of an addition, a load or a jump behind `auipc`. Only [`Pairs`] knows what it counts from.
pub const LOW12: FieldKind = FieldKind::new(5);
/// The same of a store.
pub const STORE12: FieldKind = FieldKind::new(6);

/// RISC-V of 64 bits.
pub struct RiscV;

const _: () = fits::<RiscV>();

/// Whether a kind is completed by an `auipc` before it.
pub fn is_low(kind: FieldKind) -> bool {
    matches!(kind, LOW12 | STORE12)
}

impl InstructionSet for RiscV {
    const KINDS: u8 = 7;
    const RELATIVE: u64 = 3;
    const LEAD_IN: usize = 16;
    const SMALLEST: u8 = 2;
    const PAD: u8 = 0;

    /// Out of line, as the decoders of other machines share the place where it is called.
    #[inline(never)]
    fn decode(bytes: &[u8]) -> Insn {
        decode::decode(bytes)
    }

    fn uses(kind: FieldKind) -> Use {
        match kind {
            HIGH20 | LOW12 | STORE12 => Use {
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
        field::store(kind, insn, at, 0);
    }

    /// Lowest byte first: it has the opcode, and registers stand before most constants.
    fn place(n: usize, _: usize, _: u8) -> usize {
        n
    }

    /// Byte of a short, or of a long instruction.
    fn part(insn: &Insn, n: usize) -> u32 {
        part_by_length(insn, n)
    }

    fn counterpart(other: &[u8], shape: &Insn, part: u32, at: usize, insn: &Insn) -> Option<u8> {
        counterpart_by_length(other, shape, part, at, insn)
    }

    /// Opcode and function, by length.
    fn opcode(masked: &[u8], _: &Insn) -> u32 {
        role::opcode(masked)
    }

    fn written(masked: &[u8], _: &Insn) -> u32 {
        code_of(masked).map_or(0, |(code, len)| {
            if len == 4 {
                1 + (code >> 7 & 31)
            } else if code & 3 == 0 {
                9 + (code >> 2 & 7)
            } else {
                1 + (code >> 7 & 31)
            }
        })
    }

    fn site(bytes: &[u8], field: Field) -> u32 {
        role::opcode(bytes) | u32::from(field.kind.number()) << 16
    }

    fn role(_: &Insn, bytes: &[u8]) -> u8 {
        role::role(bytes)
    }

    fn head(_: &Insn, bytes: &[u8]) -> u32 {
        role::head(bytes)
    }
}
