//! The ARM instruction set: words, each with a condition.

use super::super::bits::word_of;
use super::super::set::{InstructionSet, Use};
use super::super::{Field, FieldKind, Flow, Insn, words};
use super::field;
use super::{ADR8, BRANCH24, EXCHANGE25, KINDS, LIT8, LIT12, LIT44, RELATIVE, data, uses};
use crate::hashing::hash;

/// The ARM instruction set.
pub struct Arm;

/// The reference field that a word holds. The bits of the field itself do not count.
fn kind_of(word: u32) -> Option<FieldKind> {
    let always = word >> 28 == 15;
    match word >> 24 & 15 {
        0xa | 0xb if always => Some(EXCHANGE25),
        0xa | 0xb => Some(BRANCH24),
        // vldr of s and d registers.
        0xd if !always && word & 0x003f_0e00 == 0x001f_0a00 => Some(LIT8),
        _ if always => None,
        // ldr and ldrb.
        5 if word & 0x003f_0000 == 0x001f_0000 => Some(LIT12),
        // ldrh, ldrsb, ldrsh; ldrd.
        1 if word & 0x007f_0090 == 0x005f_0090 && word & 0x60 != 0 => Some(LIT44),
        1 if word & 0x007f_00f0 == 0x004f_00d0 => Some(LIT44),
        // add, sub of the program counter and a constant.
        2 if matches!(word >> 16 & 0xff, 0x8f | 0x4f) => Some(ADR8),
        _ => None,
    }
}

fn flow_of(word: u32) -> Flow {
    let always = word >> 28 == 15;
    let conditional = word >> 28 < 14;
    let either = |flow| if conditional { Flow::CondJump } else { flow };
    let to_pc = word >> 12 & 15 == 15;
    match word >> 24 & 15 {
        0xa if always => Flow::Call,
        0xb => Flow::Call,
        0xa => either(Flow::Jump),
        _ if always => Flow::Next,
        // bx, blx of a register.
        1 if word & 0x0fff_fff0 == 0x012f_ff10 => {
            let returns = word & 15 == 14;
            either(if returns { Flow::Return } else { Flow::Jump })
        }
        1 if word & 0x0fff_fff0 == 0x012f_ff30 => Flow::Call,
        1 if word & 0x0ff0_00f0 == 0x0120_0070 => Flow::Trap,
        // Arithmetic into the program counter, compares aside.
        0..=3 if to_pc && word & 0x0190_0000 != 0x0110_0000 && word & 0x90 != 0x90 => {
            let returns = word & 0x0fff_ffff == 0x01a0_f00e;
            either(if returns { Flow::Return } else { Flow::Jump })
        }
        // ldr pc.
        4..=7 if to_pc && word >> 20 & 1 == 1 && word & 0x0200_0010 != 0x0200_0010 => {
            either(if word >> 16 & 15 == 13 {
                Flow::Return
            } else {
                Flow::Jump
            })
        }
        // ldm with pc.
        8 | 9 if word & 0x0010_8000 == 0x0010_8000 => either(Flow::Return),
        7 if word & 0x0ff0_00f0 == 0x07f0_00f0 => Flow::Trap,
        _ => Flow::Next,
    }
}

impl InstructionSet for Arm {
    const KINDS: u8 = KINDS;
    const RELATIVE: u64 = RELATIVE;
    const LEAD_IN: usize = usize::MAX;
    const SMALLEST: u8 = 4;
    const PAD: u8 = 0;
    const DATA: bool = true;

    /// Out of line, as the decoders of other machines share the place where it is called.
    #[inline(never)]
    fn decode(bytes: &[u8]) -> Insn {
        words::decode(bytes, kind_of, flow_of)
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

    /// Condition, opcode and flags.
    fn opcode(masked: &[u8], insn: &Insn) -> u32 {
        if insn.data_class() > 0 {
            return 0xf000 | u32::from(insn.data_class());
        }
        word_of(masked).map_or(0, |word| word >> 20)
    }

    fn written(masked: &[u8], _: &Insn) -> u32 {
        masked.get(1).map_or(0, |b| u32::from(b >> 4) + 1)
    }

    fn site(bytes: &[u8], field: Field) -> u32 {
        let byte = |at: usize| bytes.get(at).copied().map_or(0, u32::from);
        match field.kind {
            BRANCH24 | EXCHANGE25 => byte(3),
            LIT12 | LIT8 | LIT44 | ADR8 => byte(3) | byte(1) >> 4 << 8,
            _ => 0,
        }
    }

    fn role(_: &Insn, _: &[u8]) -> u8 {
        0
    }

    fn head(_: &Insn, bytes: &[u8]) -> u32 {
        hash(6, word_of(bytes).unwrap_or(0) >> 20)
    }
}
