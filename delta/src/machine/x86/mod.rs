//! x86 in 64-bit and in 32-bit mode.
//!
//! Sources: Intel SDM volume 2 (chapter 2 and appendix A), AMD64 manual volume 3; relocations: x86-64 psABI table
//! 4.9, i386 psABI table 4.4.

mod decode;
mod field;
mod got;
mod role;
mod shape;
mod tables;

pub use got::GotBase;

use super::set::{InstructionSet, Use, fits};
use super::{Field, FieldKind, Insn};
use crate::hashing::digest;

/// Short jump, `loop` or `jrcxz`: one signed byte, counted from the end of the instruction.
pub const REL8: FieldKind = FieldKind::new(0);
/// `call`, `jmp`, `jcc` or `xbegin`: four signed bytes, counted from the end of the instruction.
pub const REL32: FieldKind = FieldKind::new(1);
/// Memory operand relative to the end of the instruction, immediates included; 64-bit mode only.
pub const RIP32: FieldKind = FieldKind::new(2);
/// Constant of 32-bit code that gives the address of the global offset table once the address of its instruction
/// was added. Only a [`super::Scanner`] knows it.
pub const GOT_ADD32: FieldKind = FieldKind::new(10);
/// Displacement from the global offset table in 32-bit code. Only a [`super::Scanner`] knows it, and where the
/// table is.
pub const GOT_DISP32: FieldKind = FieldKind::new(11);

/// x86; in 64-bit mode if `WIDE`.
pub struct X86<const WIDE: bool>;

const _: () = fits::<X86<true>>();
const _: () = fits::<X86<false>>();

impl<const WIDE: bool> InstructionSet for X86<WIDE> {
    const KINDS: u8 = 12;
    const RELATIVE: u64 = 8;
    const LEAD_IN: usize = if WIDE { 0 } else { usize::MAX };
    const SMALLEST: u8 = 1;
    const PAD: u8 = 0xcc;

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Insn {
        decode::decode::<WIDE>(bytes)
    }

    #[inline]
    fn uses(kind: FieldKind) -> Use {
        match kind {
            RIP32 => Use::DATA,
            GOT_DISP32 => Use {
                counted: true,
                ..Use::DATA
            },
            REL32 => Use {
                long_form: true,
                ..Use::BRANCH
            },
            _ => Use::BRANCH,
        }
    }

    #[inline]
    fn address(value: u64) -> u64 {
        if WIDE { value } else { value & 0xffff_ffff }
    }

    #[inline]
    fn read(kind: FieldKind, insn: &[u8], at: u8, len: u8, address: u64) -> u64 {
        field::read::<WIDE>(kind, insn, at, len, address)
    }

    #[inline]
    fn write(field: Field, insn: &mut [u8], len: u8, address: u64, target: u64) -> bool {
        field::write::<WIDE>(field, insn, len, address, target)
    }

    #[inline]
    fn blank(kind: FieldKind, insn: &mut [u8], at: u8) {
        field::blank(kind, insn, at);
    }

    #[inline]
    fn place(n: usize, _: usize, _: u8) -> usize {
        n
    }

    #[inline]
    fn stray(_: usize) -> usize {
        1
    }

    #[inline]
    fn part(insn: &Insn, n: usize) -> u32 {
        shape::part(insn, n)
    }

    #[inline]
    fn counterpart(other: &[u8], shape: &Insn, part: u32, at: usize, insn: &Insn) -> Option<u8> {
        shape::counterpart(other, shape, part, at, insn)
    }

    #[inline]
    fn opcode(masked: &[u8], insn: &Insn) -> u32 {
        shape::opcode(masked, insn)
    }

    #[inline]
    fn written(masked: &[u8], insn: &Insn) -> u32 {
        shape::written(masked, insn)
    }

    /// The bytes before the field.
    #[inline]
    fn site(bytes: &[u8], field: Field) -> u32 {
        digest(&bytes[..usize::from(field.at).max(1).min(bytes.len())])
    }

    fn role(insn: &Insn, bytes: &[u8]) -> u8 {
        role::role(insn, bytes)
    }

    fn head(insn: &Insn, bytes: &[u8]) -> u32 {
        role::head(insn, bytes)
    }

    fn look(insn: &Insn, bytes: &[u8]) -> u32 {
        role::look(insn, bytes)
    }
}
