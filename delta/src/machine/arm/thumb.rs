//! The Thumb-2 instruction set.
//!
//! Instructions are one or two little-endian halfwords; two are read here as one word with the first one high, as
//! the manual prints them.

use super::super::set::{InstructionSet, Use, counterpart_by_length, part_by_length};
use super::super::{Field, FieldKind, Flow, Insn, Shape};
use super::field;
use super::{
    ADR12, COND8, COND20, EXCHANGE24, JUMP11, JUMP24, KINDS, RELATIVE, WIDE8, WIDE12, WORD8, ZERO6, data,
    uses,
};
use crate::hashing::hash;

/// The Thumb-2 instruction set.
pub struct Thumb;

/// The first instruction as a number, and its length in bytes.
#[inline]
pub fn code_of(bytes: &[u8]) -> Option<(u32, u8)> {
    let first = u16::from_le_bytes(*bytes.first_chunk()?);
    if first >> 11 < 0b11101 {
        return Some((u32::from(first), 2));
    }
    let second = u16::from_le_bytes(*bytes.get(2..)?.first_chunk()?);
    Some((u32::from(first) << 16 | u32::from(second), 4))
}

fn narrow(code: u32) -> (Option<FieldKind>, Flow) {
    match code >> 8 {
        // b with a condition: 14 and 15 are udf and svc.
        0xd0..=0xdd => (Some(COND8), Flow::CondJump),
        0xde => (None, Flow::Trap),
        0xe0..=0xe7 => (Some(JUMP11), Flow::Jump),
        // cbz, cbnz
        0xb1 | 0xb3 | 0xb9 | 0xbb => (Some(ZERO6), Flow::CondJump),
        // ldr and adr of a low register
        0x48..=0x4f | 0xa0..=0xa7 => (Some(WORD8), Flow::Next),
        // bx, blx of a register
        0x47 if code & 0x80 != 0 => (None, Flow::Call),
        0x47 if code >> 3 & 15 == 14 => (None, Flow::Return),
        0x47 => (None, Flow::Jump),
        // mov pc, register
        0x46 if code & 0x87 == 0x87 => (None, Flow::Jump),
        // pop with pc
        0xbd => (None, Flow::Return),
        0xbe => (None, Flow::Trap),
        _ => (None, Flow::Next),
    }
}

fn wide(code: u32) -> (Option<FieldKind>, Flow) {
    // Branches and miscellaneous control: 11110 and a second halfword with bit 15.
    if code >> 27 == 0b11110 && code & 0x8000 != 0 {
        return match code >> 12 & 5 {
            0 if code >> 23 & 7 != 7 => (Some(COND20), Flow::CondJump),
            0 if code >> 20 == 0xf7f => (None, Flow::Trap),
            1 => (Some(JUMP24), Flow::Jump),
            5 => (Some(JUMP24), Flow::Call),
            4 if code & 1 == 0 => (Some(EXCHANGE24), Flow::Call),
            _ => (None, Flow::Next),
        };
    }
    let (load, to) = (code >> 16, code >> 12 & 15);
    match load {
        // ldr pc
        0xf85f | 0xf8df if to == 15 => (Some(WIDE12), Flow::Jump),
        // ldrb, ldrh, ldr, ldrsb, ldrsh, and the hints pld and pli
        0xf81f | 0xf89f | 0xf83f | 0xf8bf | 0xf85f | 0xf8df | 0xf91f | 0xf99f | 0xf93f | 0xf9bf => {
            (Some(WIDE12), Flow::Next)
        }
        // adr, on and back
        0xf20f | 0xf60f | 0xf2af | 0xf6af if code & 0x8000 == 0 => (Some(ADR12), Flow::Next),
        // ldrd
        0xe95f | 0xe9df => (Some(WIDE8), Flow::Next),
        // vldr
        0xed1f | 0xed9f | 0xed5f | 0xeddf if matches!(code >> 8 & 15, 10 | 11) => (Some(WIDE8), Flow::Next),
        // tbb, tbh
        0xe8d0..=0xe8df if code & 0xffe0 == 0xf000 => (None, Flow::Jump),
        // pop with pc, ldm with pc
        _ if load & 0xffd0 == 0xe890 && code & 0x8000 != 0 => (None, Flow::Return),
        // ldr pc from the stack returns
        0xf85d if code & 0xffff == 0xfb04 => (None, Flow::Return),
        0xf850..=0xf85f | 0xf8d0..=0xf8df if to == 15 => (None, Flow::Jump),
        _ => (None, Flow::Next),
    }
}

impl InstructionSet for Thumb {
    const KINDS: u8 = KINDS;
    const RELATIVE: u64 = RELATIVE;
    const LEAD_IN: usize = usize::MAX;
    const SMALLEST: u8 = 2;
    const PAD: u8 = 0;
    const DATA: bool = true;

    /// Out of line, as the decoders of other machines share the place where it is called.
    #[inline(never)]
    fn decode(bytes: &[u8]) -> Insn {
        let Some((code, len)) = code_of(bytes) else {
            return Insn::raw(bytes.len().min(3) as u8);
        };
        let (kind, flow) = if len == 2 { narrow(code) } else { wide(code) };
        let shape = Shape {
            field: kind.map(|kind| Field { kind, at: 0 }),
            flow,
            known: true,
            ..Shape::raw(len)
        };
        shape.pack()
    }

    fn data(class: u8) -> Option<Insn> {
        data(class)
    }

    fn uses(kind: FieldKind) -> Use {
        uses(kind)
    }

    fn address(value: u64) -> u64 {
        value & 0xffff_ffff
    }

    fn read(kind: FieldKind, insn: &[u8], at: u8, _: u8, address: u64) -> u64 {
        field::read(kind, insn, at, address)
    }

    fn write(field: Field, insn: &mut [u8], _: u8, address: u64, target: u64) -> bool {
        field::write(field, insn, address, target)
    }

    fn blank(kind: FieldKind, insn: &mut [u8], at: u8) {
        field::blank(kind, insn, at);
    }

    /// Halfwords are coded one after the other, the higher byte first: it has the length and the opcode.
    fn place(n: usize, room: usize, _: u8) -> usize {
        let other = n ^ 1;
        if other < room { other } else { n }
    }

    fn stray(room: usize) -> usize {
        usize::from(room < 2)
    }

    /// Byte of a short, or of a long instruction.
    fn part(insn: &Insn, n: usize) -> u32 {
        part_by_length(insn, n)
    }

    fn counterpart(other: &[u8], shape: &Insn, part: u32, at: usize, insn: &Insn) -> Option<u8> {
        counterpart_by_length(other, shape, part, at, insn)
    }

    /// The higher byte of a short instruction; most of the first halfword of a long one.
    fn opcode(masked: &[u8], insn: &Insn) -> u32 {
        if insn.data_class() > 0 {
            return 0xf000 | u32::from(insn.data_class());
        }
        let byte = |at: usize| masked.get(at).copied().map_or(0, u32::from);
        if byte(1) < 0xe8 {
            byte(1)
        } else {
            byte(1) << 4 | byte(0) >> 4
        }
    }

    fn written(masked: &[u8], _: &Insn) -> u32 {
        let byte = |at: usize| masked.get(at).copied().map_or(0, u32::from);
        match byte(1) {
            0x20..=0x3f | 0x48..=0x4f | 0x90..=0xaf => 1 + (byte(1) & 7),
            0..0xe8 => 1 + (byte(0) & 7),
            // Loads have the register in the highest bits, sums in the middle.
            0xe8 | 0xe9 | 0xf8..=0xfa => 1 + (byte(3) >> 4),
            _ => 1 + (byte(3) & 15),
        }
    }

    fn site(bytes: &[u8], field: Field) -> u32 {
        let byte = |at: usize| bytes.get(at).copied().map_or(0, u32::from);
        match field.kind {
            COND8 => byte(1),
            WORD8 => byte(1),
            ZERO6 => byte(1) & 0xfd,
            // The condition.
            COND20 => 0x100 | (byte(1) & 3) << 2 | byte(0) >> 6,
            JUMP11 => 0x200,
            JUMP24 | EXCHANGE24 => 0x300 | byte(3) >> 6 << 4 | byte(3) & 0x10,
            WIDE12 | WIDE8 | ADR12 => 0x400 | byte(3) >> 4,
            _ => 0,
        }
    }

    fn role(_: &Insn, _: &[u8]) -> u8 {
        0
    }

    fn head(insn: &Insn, bytes: &[u8]) -> u32 {
        hash(7, Thumb::opcode(bytes, insn))
    }
}
