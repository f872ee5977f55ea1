//! Turns RISC-V fields into target addresses and back.

use super::super::bits::{fits, half, put, put_half, signed, word};
use super::pairs::low_part;
use super::{BRANCH8, BRANCH12, Field, FieldKind, HIGH20, JUMP11, JUMP20, LOW12, STORE12};

/// Where the bits of a value lie in an instruction: lowest bit of each run in the instruction, in the value, and how
/// many there are. The value of a distance begins at bit 1, as the lowest is always zero.
type Runs = &'static [(u32, u32, u32)];

const fn runs(kind: FieldKind) -> Runs {
    match kind {
        JUMP20 => &[(12, 12, 8), (20, 11, 1), (21, 1, 10), (31, 20, 1)],
        BRANCH12 => &[(7, 11, 1), (8, 1, 4), (25, 5, 6), (31, 12, 1)],
        JUMP11 => &[
            (2, 5, 1),
            (3, 1, 3),
            (6, 7, 1),
            (7, 6, 1),
            (8, 10, 1),
            (9, 8, 2),
            (11, 4, 1),
            (12, 11, 1),
        ],
        BRANCH8 => &[(2, 5, 1), (3, 1, 2), (5, 6, 2), (10, 3, 2), (12, 8, 1)],
        HIGH20 => &[(12, 12, 20)],
        LOW12 => &[(20, 0, 12)],
        STORE12 => &[(7, 0, 5), (25, 5, 7)],
        _ => &[],
    }
}

/// Bits of the value, the lowest one that is always zero included.
const fn width(kind: FieldKind) -> u32 {
    match kind {
        JUMP20 => 21,
        BRANCH12 => 13,
        JUMP11 => 12,
        BRANCH8 => 9,
        HIGH20 => 32,
        _ => 12,
    }
}

const fn is_short(kind: FieldKind) -> bool {
    matches!(kind, JUMP11 | BRANCH8)
}

/// The value of a field.
pub fn value(kind: FieldKind, code: u32) -> i64 {
    let gathered = runs(kind)
        .iter()
        .fold(0, |v, &(at, to, bits)| v | (code >> at & ((1 << bits) - 1)) << to);
    signed(gathered, width(kind))
}

/// Replaces the bits of a field by a value; false if it isn't inside `insn`.
pub fn store(kind: FieldKind, insn: &mut [u8], at: u8, value: u32) -> bool {
    let (mut mask, mut bits) = (0, 0);
    for &(at, from, count) in runs(kind) {
        let ones = (1 << count) - 1;
        mask |= ones << at;
        bits |= (value >> from & ones) << at;
    }
    if is_short(kind) {
        put_half(insn, at, mask as u16, bits as u16)
    } else {
        put(insn, at, mask, bits)
    }
}

/// As [`super::super::Machine::read`]; what completes a [`HIGH20`] is looked for behind it in `insn`.
pub fn read(kind: FieldKind, insn: &[u8], at: u8, address: u64) -> u64 {
    let code = if is_short(kind) {
        half(insn, at).map(u32::from)
    } else {
        word(insn, at)
    };
    let Some(code) = code.filter(|_| !runs(kind).is_empty()) else {
        return 0;
    };
    let mut away = value(kind, code);
    if kind == HIGH20 {
        away += low_part(code, insn.get(usize::from(at) + 4..).unwrap_or_default());
    }
    address.wrapping_add_signed(away)
}

/// As [`super::super::Machine::write`].
pub fn write(field: Field, insn: &mut [u8], address: u64, target: u64) -> bool {
    let Field { kind, at } = field;
    let away = target.wrapping_sub(address) as i64;
    match kind {
        // The other half counts on or back from the middle of a page.
        HIGH20 => {
            let high = away.wrapping_add(0x800) >> 12 << 12;
            fits(high, 32) && store(kind, insn, at, high as u32)
        }
        LOW12 | STORE12 => fits(away, 12) && store(kind, insn, at, away as u32),
        JUMP20 | BRANCH12 | JUMP11 | BRANCH8 => {
            away & 1 == 0 && fits(away, width(kind)) && store(kind, insn, at, away as u32)
        }
        _ => false,
    }
}
