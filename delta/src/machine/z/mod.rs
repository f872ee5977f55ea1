//! z/Architecture (s390x), big-endian.
//!
//! Instructions have two, four or six bytes, as the two highest bits of the first one say. Everything relative counts
//! from the instruction itself, in halfwords. The opcode is the first byte, and for many the lower half of the second
//! or, of six, the last one; so that is coded early.
//!
//! Sources: z/Architecture Principles of Operation (SA22-7832), chapter 5 and appendix B; relocations: ELF Application
//! Binary Interface s390x Supplement, section 2.5.

mod decode;
mod field;
mod role;

use super::set::{InstructionSet, Use, fits};
use super::{Field, FieldKind, Insn};

/// Branches of four bytes, and those of six that compare and branch: 16 bits.
pub const BRANCH16: FieldKind = FieldKind::new(0);
/// `brasl`: 32 bits.
pub const CALL32: FieldKind = FieldKind::new(1);
/// `brcl` and `exrl`: 32 bits.
pub const BRANCH32: FieldKind = FieldKind::new(2);
/// `larl`: 32 bits.
pub const ADDRESS32: FieldKind = FieldKind::new(3);
/// Loads, stores, compares and prefetches of what stands at a distance: 32 bits.
pub const DATA32: FieldKind = FieldKind::new(4);

/// z/Architecture.
pub struct Z;

const _: () = fits::<Z>();

impl InstructionSet for Z {
    const KINDS: u8 = 5;
    const RELATIVE: u64 = 12;
    const LEAD_IN: usize = 0;
    const SMALLEST: u8 = 2;
    const PAD: u8 = 0x07;

    /// Out of line, as the decoders of other machines share the place where it is called.
    #[inline(never)]
    fn decode(bytes: &[u8]) -> Insn {
        decode::decode(bytes)
    }

    fn uses(kind: FieldKind) -> Use {
        match kind {
            ADDRESS32 | DATA32 => Use::DATA,
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

    /// As they stand, but where the last byte is half of the opcode, it comes second.
    fn place(n: usize, room: usize, first: u8) -> usize {
        match n {
            1 if room >= 6 && decode::ends_in_opcode(first) => 5,
            2..6 if room >= 6 && decode::ends_in_opcode(first) => n - 1,
            _ => n,
        }
    }

    fn stray(room: usize) -> usize {
        if room < 6 { room } else { 0 }
    }

    /// A byte of an instruction of two, four or six bytes; of six, the opcode at the end apart.
    fn part(insn: &Insn, n: usize) -> u32 {
        let n = n as u32;
        match (n, insn.len()) {
            (0, _) => 0,
            (_, 2) => 1,
            (_, 4) => 1 + n.min(3),
            _ if insn.opcode_at() > 0 => 9 + n.min(5),
            _ => 4 + n.min(5),
        }
    }

    fn counterpart(other: &[u8], shape: &Insn, part: u32, at: usize, insn: &Insn) -> Option<u8> {
        let alike = (shape.len(), shape.opcode_at()) == (insn.len(), insn.opcode_at());
        other.get(at).copied().filter(|_| part == 0 || alike)
    }

    fn opcode(masked: &[u8], _: &Insn) -> u32 {
        decode::opcode(masked)
    }

    fn written(masked: &[u8], _: &Insn) -> u32 {
        role::written(masked)
    }

    fn site(bytes: &[u8], field: Field) -> u32 {
        decode::opcode(bytes) | u32::from(field.kind.number()) << 16
    }

    fn role(_: &Insn, bytes: &[u8]) -> u8 {
        role::role(bytes)
    }

    fn head(_: &Insn, bytes: &[u8]) -> u32 {
        role::head(bytes)
    }
}
