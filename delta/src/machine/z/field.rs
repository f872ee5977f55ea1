//! Turns z fields into target addresses and back: signed numbers of halfwords, highest byte first.

use super::super::bits::fits;
use super::{ADDRESS32, BRANCH16, BRANCH32, CALL32, DATA32, Field, FieldKind};

/// Bytes of a field; 0 for kinds of other machines.
const fn width(kind: FieldKind) -> usize {
    match kind {
        BRANCH16 => 2,
        CALL32 | BRANCH32 | ADDRESS32 | DATA32 => 4,
        _ => 0,
    }
}

/// Replaces a field; false if it isn't inside `insn`.
pub fn store(kind: FieldKind, insn: &mut [u8], at: u8, value: u32) -> bool {
    let (at, width) = (usize::from(at), width(kind));
    let Some(field) = insn.get_mut(at..at + width).filter(|_| width > 0) else {
        return false;
    };
    field.copy_from_slice(&value.to_be_bytes()[4 - width..]);
    true
}

/// As [`super::super::Machine::read`].
pub fn read(kind: FieldKind, insn: &[u8], at: u8, address: u64) -> u64 {
    let field = insn.get(usize::from(at)..).unwrap_or_default();
    let halfwords = match width(kind) {
        2 => field.first_chunk().map(|b| i16::from_be_bytes(*b).into()),
        4 => field.first_chunk().map(|b| i64::from(i32::from_be_bytes(*b))),
        _ => None,
    };
    halfwords.map_or(0, |halfwords: i64| address.wrapping_add_signed(2 * halfwords))
}

/// As [`super::super::Machine::write`].
pub fn write(field: Field, insn: &mut [u8], address: u64, target: u64) -> bool {
    let away = target.wrapping_sub(address) as i64;
    let halfwords = away >> 1;
    let reaches = away & 1 == 0 && fits(halfwords, 8 * width(field.kind).max(1) as u32);
    reaches && store(field.kind, insn, field.at, halfwords as u32)
}
