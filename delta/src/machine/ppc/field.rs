//! Turns PowerPC fields into target addresses and back.

use super::super::bits::{fits, put, signed, word};
use super::toc::low_part;
use super::{BRANCH14, BRANCH24, Field, FieldKind, HIGH16, LOW12, LOW14, LOW16};

/// Where a field lies in its word.
pub const fn mask(kind: FieldKind) -> u32 {
    match kind {
        BRANCH24 => 0x03ff_fffc,
        BRANCH14 | LOW14 => 0xfffc,
        HIGH16 | LOW16 => 0xffff,
        LOW12 => 0xfff0,
        _ => 0,
    }
}

/// The distance that a field says.
pub fn value(kind: FieldKind, word: u32) -> i64 {
    let bits = word & mask(kind);
    match kind {
        BRANCH24 => signed(bits, 26),
        HIGH16 => signed(bits, 16) << 16,
        _ => signed(bits, 16),
    }
}

/// As [`super::super::Machine::read`]; what completes a [`HIGH16`] is looked for behind it in `insn`.
pub fn read(kind: FieldKind, insn: &[u8], at: u8, address: u64) -> u64 {
    let Some(word) = word(insn, at).filter(|_| mask(kind) != 0) else {
        return 0;
    };
    let mut away = value(kind, word);
    if kind == HIGH16 {
        away += low_part(word, insn.get(usize::from(at) + 4..).unwrap_or_default());
    }
    address.wrapping_add_signed(away)
}

/// As [`super::super::Machine::write`].
pub fn write(field: Field, insn: &mut [u8], address: u64, target: u64) -> bool {
    let Field { kind, at } = field;
    let mask = mask(kind);
    let away = target.wrapping_sub(address) as i64;
    let (value, bits, unit) = match kind {
        BRANCH24 => (away, 26, 3),
        BRANCH14 | LOW14 => (away, 16, 3),
        LOW16 => (away, 16, 0),
        LOW12 => (away, 16, 15),
        // The other half counts on or back.
        HIGH16 => (away.wrapping_add(0x8000) >> 16, 16, 0),
        _ => return false,
    };
    value & unit == 0 && fits(value, bits) && put(insn, at, mask, value as u32)
}
