//! Finds the length, the flow and the reference field of one RISC-V instruction.
//!
//! The two lowest bits of the first halfword are set in an instruction of four bytes, and are the quadrant of one of
//! two. Longer ones are in the manual as room for extensions only.

use super::super::{Field, FieldKind, Flow, Insn, Shape};
use super::{BRANCH8, BRANCH12, HIGH20, JUMP11, JUMP20, LOW12, STORE12};

/// The registers that hold return addresses: ra and t0.
const LINKS: [u32; 2] = [1, 5];

/// The instruction at the start of `bytes` and its length; `None` where the bytes end.
#[inline]
pub fn code_of(bytes: &[u8]) -> Option<(u32, u8)> {
    let half = bytes.first_chunk().map(|b| u16::from_le_bytes(*b))?;
    if half & 3 != 3 {
        return Some((half.into(), 2));
    }
    bytes.first_chunk().map(|b| (u32::from_le_bytes(*b), 4))
}

/// The register that a long instruction names as its result.
#[inline]
pub fn result_of(code: u32) -> u32 {
    code >> 7 & 31
}

/// The register that a long instruction counts from.
#[inline]
pub fn base_of(code: u32) -> u32 {
    code >> 15 & 31
}

/// Decodes one instruction. What is whole is known.
pub fn decode(bytes: &[u8]) -> Insn {
    let Some((code, len)) = code_of(bytes) else {
        return Insn::raw(bytes.len().min(3) as u8);
    };
    let flow = if len == 4 {
        long_flow(code)
    } else {
        short_flow(code)
    };
    let shape = Shape {
        field: kind_of(code, len).map(|kind| Field { kind, at: 0 }),
        flow,
        known: true,
        ..Shape::raw(len)
    };
    shape.pack()
}

/// The reference field of an instruction; its bits themselves do not count.
#[inline]
pub fn kind_of(code: u32, len: u8) -> Option<FieldKind> {
    if len == 2 {
        return match code & 0xe003 {
            0xa001 => Some(JUMP11),
            0xc001 | 0xe001 => Some(BRANCH8),
            _ => None,
        };
    }
    let function = code >> 12 & 7;
    match code & 0x7f {
        0x6f => Some(JUMP20),
        0x63 => Some(BRANCH12),
        0x17 => Some(HIGH20),
        // addi; jalr.
        0x13 | 0x67 if function == 0 => Some(LOW12),
        // Loads of integers and of floating-point numbers.
        0x03 => Some(LOW12),
        0x07 if matches!(function, 2..=4) => Some(LOW12),
        0x23 => Some(STORE12),
        0x27 if matches!(function, 2..=4) => Some(STORE12),
        _ => None,
    }
}

fn long_flow(code: u32) -> Flow {
    let links = LINKS.contains(&result_of(code));
    match code & 0x7f {
        0x6f if links => Flow::Call,
        0x6f => Flow::Jump,
        0x67 if links => Flow::Call,
        0x67 if LINKS.contains(&base_of(code)) => Flow::Return,
        0x67 => Flow::Jump,
        0x63 => Flow::CondJump,
        0x73 => match code {
            // ebreak, and the write to a counter that stands for what is undefined.
            0x0010_0073 | 0xc000_1073 => Flow::Trap,
            // sret, mret.
            0x1020_0073 | 0x3020_0073 => Flow::Return,
            _ => Flow::Next,
        },
        _ => Flow::Next,
    }
}

fn short_flow(code: u32) -> Flow {
    let register = result_of(code);
    match code & 0xe003 {
        0xa001 => Flow::Jump,
        0xc001 | 0xe001 => Flow::CondJump,
        0x0000 if code == 0 => Flow::Trap,
        // c.jr, c.jalr and c.ebreak, where no second register stands.
        0x8002 if code & 0x7c == 0 => match (code >> 12 & 1, register) {
            (0, 0) => Flow::Next,
            (0, r) if LINKS.contains(&r) => Flow::Return,
            (0, _) => Flow::Jump,
            (_, 0) => Flow::Trap,
            _ => Flow::Call,
        },
        _ => Flow::Next,
    }
}
