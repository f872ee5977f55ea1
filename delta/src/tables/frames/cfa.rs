//! Call frame instructions: bytes to instructions and back.
//!
//! Source of the format: DWARF 5, 6.4.2.

use crate::elf::Numbers;
use crate::elf::encoded::{uleb, uleb_len};

/// Longest program that is taken apart, in bytes.
pub const LONGEST: usize = 1 << 16;
/// `DW_CFA_def_cfa_offset`.
pub const CFA_OFFSET: u8 = 0x0e;
/// `DW_CFA_advance_loc`, which stands for all its forms.
pub const ADVANCE: u8 = 0x40;

/// How a program says distances.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distances {
    /// Code alignment factor.
    pub factor: u32,
    /// How its file writes numbers.
    pub numbers: Numbers,
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Where it advances to, from the start of the function; `None` if it is no advance.
    pub place: Option<u32>,
    /// Bytes of the distance, where more than it needs; else 0.
    pub wide: u8,
    /// Its bytes in the program.
    pub bytes: (u32, u32),
}

/// How many numbers follow an opcode, and whether a block does; `None` for those that are not modelled.
pub fn operands(opcode: u8) -> Option<(u32, bool)> {
    Some(match opcode {
        0x00 | 0x0a | 0x0b | 0x2d | 0xc0..=0xff => (0, false),
        0x06..=0x08 | 0x0d | 0x0e | 0x13 | 0x2e | 0x80..=0xbf => (1, false),
        0x05 | 0x09 | 0x0c | 0x11 | 0x12 | 0x14 | 0x15 | 0x2f => (2, false),
        0x0f => (0, true),
        0x10 | 0x16 => (1, true),
        _ => return None,
    })
}

fn width_of(distance: u32) -> u8 {
    match distance {
        0..0x40 => 0,
        0x40..0x100 => 1,
        0x100..0x1_0000 => 2,
        _ => 4,
    }
}

/// Reads a program; `None` where it would not come out again byte for byte. The `nop`s at its end are left
/// out.
fn parse(program: &[u8], distances: Distances, ops: &mut Vec<Op>) -> Option<usize> {
    ops.clear();
    let (mut at, mut here, mut end, mut count) = (0usize, 0u32, 0, 0);
    while at < program.len() {
        let from = at;
        let opcode = program[at];
        at += 1;
        let mut op = Op {
            place: None,
            wide: 0,
            bytes: (0, 0),
        };
        let width = match opcode {
            0x40..0x80 => Some(0),
            0x02 => Some(1),
            0x03 => Some(2),
            0x04 => Some(4),
            _ => None,
        };
        if let Some(width) = width {
            let mut distance = u32::from(opcode & 0x3f);
            if width > 0 {
                let field = program.get(at..at + width)?;
                distance = distances.numbers.get(field) as u32;
                at += width;
            }
            here = here.checked_add(distance.checked_mul(distances.factor)?)?;
            op.place = Some(here);
            op.wide = if width_of(distance) as usize == width {
                0
            } else {
                width as u8
            };
        } else {
            let (numbers, block) = operands(opcode)?;
            for k in 0..numbers + u32::from(block) {
                let (value, next) = uleb(program, at)?;
                // Signed operands may end in a byte that an unsigned one would do without.
                if (next - at) as u32 != uleb_len(value) {
                    return None;
                }
                at = next;
                if k == numbers {
                    at = at.checked_add(value as usize).filter(|&a| a <= program.len())?;
                }
            }
        }
        op.bytes = (from as u32, at as u32);
        ops.push(op);
        if opcode != 0 {
            (end, count) = (at, ops.len());
        }
    }
    ops.truncate(count);
    Some(end)
}

/// Writes an advance in its shortest form, or in `wide` bytes if that is longer.
pub fn put_advance(out: &mut Vec<u8>, numbers: Numbers, distance: u32, wide: u8) {
    match width_of(distance).max(wide) {
        0 => out.push(ADVANCE | distance as u8),
        1 => out.extend_from_slice(&[0x02, distance as u8]),
        2 => {
            out.push(0x03);
            numbers.push(out, distance.into(), 2);
        }
        _ => {
            out.push(0x04);
            numbers.push(out, distance.into(), 4);
        }
    }
}

/// A program without the `nop`s at its end, and whether it was understood; if not, without zeros at its end.
pub fn strip<'p>(program: &'p [u8], distances: Distances, ops: &mut Vec<Op>) -> (&'p [u8], bool) {
    if let Some(end) = parse(program, distances, ops).filter(|_| program.len() <= LONGEST) {
        return (&program[..end], true);
    }
    ops.clear();
    let zeros = program.iter().rev().take_while(|&&b| b == 0).count();
    (&program[..program.len() - zeros], false)
}
