//! Turns LoongArch fields into target addresses and back.

use super::super::bits::{fits, put, signed, word};
use super::pairs::low_part;
use super::{BRANCH16, BRANCH21, BRANCH26, CALL20, Field, FieldKind, HIGH20, JUMP16, LOW12, NEAR20, PAGE20};

/// Where a field lies in its word.
pub const fn mask(kind: FieldKind) -> u32 {
    match kind {
        BRANCH26 => 0x03ff_ffff,
        BRANCH21 => 0x03ff_fc1f,
        BRANCH16 | JUMP16 => 0x03ff_fc00,
        NEAR20 | PAGE20 | HIGH20 | CALL20 => 0x01ff_ffe0,
        LOW12 => 0x003f_fc00,
        _ => 0,
    }
}

/// Width of a field, and unit shift of what it says.
const fn form(kind: FieldKind) -> (u32, u32) {
    match kind {
        BRANCH26 => (26, 2),
        BRANCH21 => (21, 2),
        BRANCH16 | JUMP16 => (16, 2),
        NEAR20 => (20, 2),
        PAGE20 | HIGH20 => (20, 12),
        CALL20 => (20, 18),
        _ => (12, 0),
    }
}

/// The distance that a field says.
pub fn value(kind: FieldKind, word: u32) -> i64 {
    let bits = word & mask(kind);
    let (width, unit) = form(kind);
    let value = match kind {
        BRANCH26 => bits >> 10 | (bits & 0x3ff) << 16,
        BRANCH21 => bits >> 10 | (bits & 0x1f) << 16,
        NEAR20 | PAGE20 | HIGH20 | CALL20 => bits >> 5,
        _ => bits >> 10,
    };
    signed(value, width) << unit
}

/// Moves a value to where its field lies; bits outside the field are cut off later.
fn place(kind: FieldKind, value: u32) -> u32 {
    match kind {
        BRANCH26 => (value & 0xffff) << 10 | value >> 16 & 0x3ff,
        BRANCH21 => (value & 0xffff) << 10 | value >> 16 & 0x1f,
        NEAR20 | PAGE20 | HIGH20 | CALL20 => value << 5,
        _ => value << 10,
    }
}

/// What a field counts from.
pub fn origin(kind: FieldKind, address: u64) -> u64 {
    if kind == PAGE20 { address & !0xfff } else { address }
}

/// As [`super::super::Machine::read`]; what completes a higher part is looked for behind it in `insn`.
pub fn read(kind: FieldKind, insn: &[u8], at: u8, address: u64) -> u64 {
    let Some(word) = word(insn, at).filter(|_| mask(kind) != 0) else {
        return 0;
    };
    let mut away = value(kind, word);
    if matches!(kind, PAGE20 | HIGH20 | CALL20) {
        away += low_part(word, insn.get(usize::from(at) + 4..).unwrap_or_default());
    }
    origin(kind, address).wrapping_add_signed(away)
}

/// As [`super::super::Machine::write`].
pub fn write(field: Field, insn: &mut [u8], address: u64, target: u64) -> bool {
    let Field { kind, at } = field;
    let (width, unit) = form(kind);
    let away = target.wrapping_sub(origin(kind, address)) as i64;
    let value = match kind {
        // The other half counts on or back.
        PAGE20 | HIGH20 | CALL20 => away.wrapping_add(1 << (unit - 1)) >> unit,
        _ if away >> unit << unit != away => return false,
        _ => away >> unit,
    };
    mask(kind) != 0 && fits(value, width) && put(insn, at, mask(kind), place(kind, value as u32))
}
