//! Turns ARM and Thumb fields into target addresses and back.
//!
//! Of a field that only counts on or only back the instruction says which, so that all of its bits are the distance:
//! blanked or not, it is the same instruction.

use super::super::bits::{fits, half, put, put_half, signed, word};
use super::{
    ADDRESS, ADR8, ADR12, BRANCH24, COND8, COND20, DISTANCE, EXCHANGE24, EXCHANGE25, Field, FieldKind,
    JUMP11, JUMP24, LIT8, LIT12, LIT44, WIDE8, WIDE12, WORD8, ZERO6,
};

/// The bits of a field, in the instruction as the manual prints it.
const fn mask(kind: FieldKind) -> u32 {
    match kind {
        BRANCH24 => 0x00ff_ffff,
        EXCHANGE25 => 0x01ff_ffff,
        LIT12 | WIDE12 => 0x0fff,
        LIT8 | ADR8 | WIDE8 | COND8 | WORD8 => 0xff,
        LIT44 => 0x0f0f,
        JUMP11 => 0x07ff,
        ZERO6 => 0x02f8,
        COND20 => 0x043f_2fff,
        JUMP24 => 0x07ff_2fff,
        EXCHANGE24 => 0x07ff_2ffe,
        ADR12 => 0x0400_70ff,
        DISTANCE | ADDRESS => u32::MAX,
        _ => 0,
    }
}

/// Bytes of the instructions that have a kind, and whether they are halfwords of Thumb.
const fn form(kind: FieldKind) -> (usize, bool) {
    match kind {
        COND8 | JUMP11 | ZERO6 | WORD8 => (2, true),
        COND20 | JUMP24 | EXCHANGE24 | WIDE12 | ADR12 | WIDE8 => (4, true),
        _ => (4, false),
    }
}

/// The instruction as the manual prints it.
fn load(kind: FieldKind, insn: &[u8], at: u8) -> Option<u32> {
    match form(kind) {
        (2, _) => half(insn, at).map(u32::from),
        (_, true) => word(insn, at).map(|word| word.rotate_left(16)),
        _ => word(insn, at),
    }
}

/// Replaces the bits of a field; false if it isn't inside `insn`.
fn store(kind: FieldKind, insn: &mut [u8], at: u8, value: u32) -> bool {
    let mask = mask(kind);
    match form(kind) {
        (2, _) => put_half(insn, at, mask as u16, value as u16),
        (_, true) => put(insn, at, mask.rotate_left(16), value.rotate_left(16)),
        _ => put(insn, at, mask, value),
    }
}

/// Sets a field's bits to zero.
pub fn blank(kind: FieldKind, insn: &mut [u8], at: u8) {
    store(kind, insn, at, 0);
}

/// Where the distance of an instruction at `address` counts from.
fn origin(kind: FieldKind, address: u64) -> u64 {
    match kind {
        BRANCH24 | EXCHANGE25 | LIT12 | LIT8 | LIT44 | ADR8 => address.wrapping_add(8),
        COND8 | JUMP11 | ZERO6 | COND20 | JUMP24 => address.wrapping_add(4),
        DISTANCE | ADDRESS => address,
        _ => address.wrapping_add(4) & !3,
    }
}

/// How the distance of an instruction is written.
enum Distance {
    /// Signed: bits and unit shift.
    Signed(u32, u32),
    /// Only on, or only back: bits, unit shift, whether back.
    OneWay(u32, u32, bool),
    /// A rotated constant: how far to the right, whether back.
    Rotated(u32, bool),
    /// All of a word.
    Word,
}

fn distance(kind: FieldKind, code: u32) -> Distance {
    let up = code >> 23 & 1 == 1;
    match kind {
        BRANCH24 => Distance::Signed(24, 2),
        EXCHANGE25 => Distance::Signed(25, 1),
        COND8 => Distance::Signed(8, 1),
        JUMP11 => Distance::Signed(11, 1),
        COND20 => Distance::Signed(20, 1),
        JUMP24 => Distance::Signed(24, 1),
        EXCHANGE24 => Distance::Signed(23, 2),
        ZERO6 => Distance::OneWay(6, 1, false),
        WORD8 => Distance::OneWay(8, 2, false),
        LIT12 | WIDE12 => Distance::OneWay(12, 0, !up),
        LIT44 => Distance::OneWay(8, 0, !up),
        LIT8 | WIDE8 => Distance::OneWay(8, 2, !up),
        ADR12 => Distance::OneWay(12, 0, up),
        // add is opcode 4, sub opcode 2.
        ADR8 => Distance::Rotated(2 * (code >> 8 & 15), !up),
        _ => Distance::Word,
    }
}

/// The value in the bits of a field.
fn gather(kind: FieldKind, code: u32) -> u32 {
    let sign = code >> 26 & 1;
    match kind {
        EXCHANGE25 => (code & 0x00ff_ffff) << 1 | code >> 24 & 1,
        LIT44 => code >> 4 & 0xf0 | code & 15,
        ZERO6 => code >> 4 & 0x20 | code >> 3 & 0x1f,
        COND20 => {
            sign << 19
                | (code >> 11 & 1) << 18
                | (code >> 13 & 1) << 17
                | (code >> 16 & 0x3f) << 11
                | code & 0x7ff
        }
        JUMP24 | EXCHANGE24 => {
            // J1 and J2 are the next bits of the distance, turned over where it is not negative.
            let bit = |at: u32| 1 ^ sign ^ (code >> at & 1);
            let high = sign << 23 | bit(13) << 22 | bit(11) << 21 | (code >> 16 & 0x3ff) << 11;
            let all = high | code & 0x7ff;
            if kind == EXCHANGE24 { all >> 1 } else { all }
        }
        ADR12 => (code >> 26 & 1) << 11 | (code >> 12 & 7) << 8 | code & 0xff,
        _ => code & mask(kind),
    }
}

/// The bits of a field that mean a value.
fn scatter(kind: FieldKind, value: u32) -> u32 {
    match kind {
        EXCHANGE25 => value >> 1 & 0x00ff_ffff | (value & 1) << 24,
        LIT44 => (value & 0xf0) << 4 | value & 15,
        ZERO6 => (value & 0x20) << 4 | (value & 0x1f) << 3,
        COND20 => {
            let bit = |at: u32| value >> at & 1;
            bit(19) << 26 | bit(18) << 11 | bit(17) << 13 | (value >> 11 & 0x3f) << 16 | value & 0x7ff
        }
        JUMP24 | EXCHANGE24 => {
            let value = if kind == EXCHANGE24 { value << 1 } else { value };
            let sign = value >> 23 & 1;
            let bit = |at: u32| 1 ^ sign ^ (value >> at & 1);
            sign << 26 | bit(22) << 13 | bit(21) << 11 | (value >> 11 & 0x3ff) << 16 | value & 0x7ff
        }
        ADR12 => (value >> 11 & 1) << 26 | (value >> 8 & 7) << 12 | value & 0xff,
        _ => value,
    }
}

/// As [`super::super::Machine::read`].
pub fn read(kind: FieldKind, insn: &[u8], at: u8, address: u64) -> u64 {
    let Some(code) = load(kind, insn, at) else {
        return 0;
    };
    if mask(kind) == 0 {
        return 0;
    }
    let (from, value) = (origin(kind, address), gather(kind, code));
    let away = match distance(kind, code) {
        Distance::Signed(bits, unit) => signed(value, bits) << unit,
        Distance::OneWay(_, unit, false) => i64::from(value) << unit,
        Distance::OneWay(_, unit, true) => -(i64::from(value) << unit),
        Distance::Rotated(by, back) => {
            let constant = i64::from(value.rotate_right(by));
            if back { -constant } else { constant }
        }
        Distance::Word => i64::from(value as i32),
    };
    from.wrapping_add_signed(away) & 0xffff_ffff
}

/// As [`super::super::Machine::write`].
pub fn write(field: Field, insn: &mut [u8], address: u64, target: u64) -> bool {
    let Field { kind, at } = field;
    let Some(code) = load(kind, insn, at) else {
        return false;
    };
    if mask(kind) == 0 || target > u64::from(u32::MAX) {
        return false;
    }
    let away = i64::from(target.wrapping_sub(origin(kind, address)) as i32);
    let whole = |away: i64, unit: u32| away >> unit << unit == away;
    let value = match distance(kind, code) {
        Distance::Signed(bits, unit) if whole(away, unit) && fits(away >> unit, bits) => {
            (away >> unit) as u32
        }
        Distance::OneWay(bits, unit, back) => {
            let away = if back { -away } else { away };
            if away < 0 || !whole(away, unit) || away >> unit >> bits != 0 {
                return false;
            }
            (away >> unit) as u32
        }
        Distance::Rotated(by, back) => {
            let away = if back { away.wrapping_neg() } else { away } as u32;
            let value = away.rotate_left(by);
            if value > 0xff {
                return false;
            }
            value
        }
        Distance::Word => away as u32,
        Distance::Signed(..) => return false,
    };
    store(kind, insn, at, scatter(kind, value))
}
