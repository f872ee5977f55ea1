//! Finds the length, the flow and the reference field of one z instruction.

use super::super::{Field, FieldKind, Flow, Insn, Shape};
use super::{ADDRESS32, BRANCH16, BRANCH32, CALL32, DATA32};

/// The register that holds return addresses.
const LINK: u8 = 14;

/// Length of an instruction, by its first byte.
#[inline]
pub fn len_of(first: u8) -> u8 {
    match first >> 6 {
        0 => 2,
        1 | 2 => 4,
        _ => 6,
    }
}

/// Whether the last of six bytes is half of the opcode.
#[inline]
pub fn ends_in_opcode(first: u8) -> bool {
    matches!(first, 0xe3 | 0xe6 | 0xe7 | 0xeb..=0xed)
}

/// The opcode, as far as it is known: the first byte, and above it the byte or half byte that goes on with it.
pub fn opcode(bytes: &[u8]) -> u32 {
    let byte = |at: usize| bytes.get(at).copied().map_or(0, u32::from);
    let first = byte(0);
    match first as u8 {
        byte_0 if ends_in_opcode(byte_0) => first | byte(5) << 8,
        0x01 | 0xb2 | 0xb3 | 0xb9 | 0xe5 => first | byte(1) << 8,
        0xa5 | 0xa7 | 0xc0 | 0xc2 | 0xc4 | 0xc6 | 0xc8 | 0xcc => first | (byte(1) & 15) << 8,
        _ => first,
    }
}

/// Decodes one instruction. What is whole is known.
pub fn decode(bytes: &[u8]) -> Insn {
    let len = bytes.first().map_or(0, |&first| len_of(first));
    let Some(insn) = bytes.get(..usize::from(len)).filter(|_| len > 0) else {
        return Insn::raw(bytes.len() as u8);
    };
    let last_too = len == 6 && ends_in_opcode(insn[0]);
    let shape = Shape {
        field: kind_of(insn).map(|kind| Field { kind, at: 2 }),
        flow: flow_of(insn),
        known: true,
        opcode_at: if last_too { 5 } else { 0 },
        ..Shape::raw(len)
    };
    shape.pack()
}

/// The reference field of a whole instruction.
fn kind_of(insn: &[u8]) -> Option<FieldKind> {
    match (insn[0], insn[1] & 15) {
        // brxh, brxle; brc, bras, brct, brctg.
        (0x84 | 0x85, _) | (0xa7, 4..=7) => Some(BRANCH16),
        (0xc0, 0) => Some(ADDRESS32),
        (0xc0, 4) => Some(BRANCH32),
        (0xc0, 5) => Some(CALL32),
        // exrl; brcth.
        (0xc6, 0) | (0xcc, 6) => Some(BRANCH32),
        // Loads and stores; pfdrl and compares.
        (0xc4, 2 | 4..=8 | 0xb..=0xf) | (0xc6, 2 | 4..=8 | 0xa | 0xc..=0xf) => Some(DATA32),
        // brxhg, brxlg; compares of registers, and of a register with a constant, that branch.
        (0xec, _) => {
            matches!(insn[5], 0x44 | 0x45 | 0x64 | 0x65 | 0x76 | 0x77 | 0x7c..=0x7f).then_some(BRANCH16)
        }
        _ => None,
    }
}

/// Where control goes.
fn flow_of(insn: &[u8]) -> Flow {
    let (upper, lower) = (insn[1] >> 4, insn[1] & 15);
    let by_mask = |always: Flow| match upper {
        0 => Flow::Next,
        15 => always,
        _ => Flow::CondJump,
    };
    match insn[0] {
        0x00 => Flow::Trap,
        // bcr.
        0x07 if lower == 0 => Flow::Next,
        0x07 => by_mask(if lower == LINK { Flow::Return } else { Flow::Jump }),
        // bctr; balr, bassm, basr; bsm.
        0x06 if lower != 0 => Flow::CondJump,
        0x05 | 0x0c | 0x0d if lower != 0 => Flow::Call,
        0x0b if lower != 0 => Flow::Jump,
        // bal, bas; bct, bxh, bxle; bc; brxh, brxle; lpsw.
        0x45 | 0x4d => Flow::Call,
        0x46 | 0x84..=0x87 => Flow::CondJump,
        0x47 => by_mask(Flow::Jump),
        0x82 => Flow::Return,
        0xa7 => match lower {
            4 => by_mask(Flow::Jump),
            5 => Flow::Call,
            6 | 7 => Flow::CondJump,
            _ => Flow::Next,
        },
        // lpswe; bctgr.
        0xb2 if insn[1] == 0xb2 => Flow::Return,
        0xb9 if insn[1] == 0x46 && insn[3] & 15 != 0 => Flow::CondJump,
        0xc0 => match lower {
            4 => by_mask(Flow::Jump),
            5 => Flow::Call,
            _ => Flow::Next,
        },
        0xcc if lower == 6 => Flow::CondJump,
        // bctg, bic; bxhg, bxleg.
        0xe3 if insn[5] == 0x46 => Flow::CondJump,
        0xe3 if insn[5] == 0x47 => by_mask(Flow::Jump),
        0xeb if matches!(insn[5], 0x44 | 0x45) => Flow::CondJump,
        // Those that compare and branch, to a distance or to where a register says.
        0xec => match insn[5] {
            0x44 | 0x45 | 0x64 | 0x65 | 0x76 | 0x77 | 0x7c..=0x7f => Flow::CondJump,
            0xe4 | 0xe5 | 0xf6 | 0xf7 | 0xfc..=0xff => Flow::CondJump,
            _ => Flow::Next,
        },
        _ => Flow::Next,
    }
}
