//! Turns MIPS fields into target addresses and back.

use super::super::bits::{fits, put, signed, word};
use super::globals::low_part;
use super::{BRANCH16, Field, FieldKind, HIGH16, JUMP26, LOW16};

/// Bytes of a region that `j` and `jal` stay in.
const REGION: u64 = 1 << 28;

/// Where a field lies in its word.
pub const fn mask(kind: FieldKind) -> u32 {
    match kind {
        JUMP26 => 0x03ff_ffff,
        BRANCH16 | HIGH16 | LOW16 => 0xffff,
        _ => 0,
    }
}

/// The distance that a field says, or of a jump the place in its region.
pub fn value(kind: FieldKind, word: u32) -> i64 {
    let bits = word & mask(kind);
    match kind {
        JUMP26 => i64::from(bits) << 2,
        BRANCH16 => signed(bits, 16) << 2,
        HIGH16 => signed(bits, 16) << 16,
        _ => signed(bits, 16),
    }
}

/// What a field counts from.
fn origin(kind: FieldKind, address: u64) -> u64 {
    match kind {
        JUMP26 => address.wrapping_add(4) & !(REGION - 1),
        BRANCH16 => address.wrapping_add(4),
        _ => address,
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
    origin(kind, address).wrapping_add_signed(away)
}

/// As [`super::super::Machine::write`].
pub fn write(field: Field, insn: &mut [u8], address: u64, target: u64) -> bool {
    let Field { kind, at } = field;
    let away = target.wrapping_sub(origin(kind, address)) as i64;
    let value = match kind {
        JUMP26 if (0..REGION as i64).contains(&away) && away & 3 == 0 => away >> 2,
        BRANCH16 if away & 3 == 0 && fits(away >> 2, 16) => away >> 2,
        LOW16 if fits(away, 16) => away,
        // The other half counts on or back.
        HIGH16 if fits(away.wrapping_add(0x8000) >> 16, 16) => away.wrapping_add(0x8000) >> 16,
        _ => return false,
    };
    put(insn, at, mask(kind), value as u32)
}
