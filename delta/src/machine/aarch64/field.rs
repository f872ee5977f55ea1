//! Turns AArch64 fields into target addresses and back.

use super::super::bits::{fits, put, signed, word};
use super::{ADR_PAGE21, ADR21, BRANCH14, BRANCH19, BRANCH26, Field, FieldKind, LIT19, LO12};

/// Where a field lies in its word, lowest bit first.
pub const fn word_mask(kind: FieldKind) -> u32 {
    match kind {
        BRANCH26 => 0x03ff_ffff,
        BRANCH19 | LIT19 => 0x00ff_ffe0,
        BRANCH14 => 0x0007_ffe0,
        ADR21 | ADR_PAGE21 => 0x60ff_ffe0,
        LO12 => 0x003f_fc00,
        _ => 0,
    }
}

/// Bytes of a page that `adrp` counts in.
const PAGE: u64 = 4096;

/// Width and unit shift of a field that counts from its instruction.
fn relative(kind: FieldKind) -> (u32, u32) {
    match kind {
        BRANCH26 => (26, 2),
        BRANCH19 | LIT19 => (19, 2),
        BRANCH14 => (14, 2),
        ADR_PAGE21 => (21, 12),
        _ => (21, 0),
    }
}

/// Shift of the immediate of a word that may complete an `adrp`: 0 for `add`, the access size for a load or
/// a store, whose size is in bits 31 and 30 and, for 16-byte vectors, bit 23 (Arm ARM, section C4.1).
fn low_shift(word: u32) -> u32 {
    let load_or_store = word & 0x3b00_0000 == 0x3900_0000;
    let vector = word >> 26 & 1;
    if load_or_store {
        word >> 30 | (vector & word >> 23) << 2
    } else {
        0
    }
}

#[inline]
pub fn read(kind: FieldKind, insn: &[u8], at: u8, address: u64) -> u64 {
    let Some(word) = word(insn, at) else { return 0 };
    let bits = word & word_mask(kind);
    match kind {
        LO12 => address.wrapping_add(u64::from(bits >> 10) << low_shift(word)),
        BRANCH26 => address.wrapping_add_signed(signed(bits, 26) << 2),
        BRANCH19 | LIT19 => address.wrapping_add_signed(signed(bits >> 5, 19) << 2),
        BRANCH14 => address.wrapping_add_signed(signed(bits >> 5, 14) << 2),
        ADR21 => address.wrapping_add_signed(adr_value(bits)),
        ADR_PAGE21 => (address & !(PAGE - 1)).wrapping_add_signed(adr_value(bits) << 12),
        _ => 0,
    }
}

#[inline]
pub fn write(field: Field, insn: &mut [u8], address: u64, target: u64) -> bool {
    let Field { kind, at } = field;
    match kind {
        LO12 => {
            let Some(shift) = word(insn, at).map(low_shift) else {
                return false;
            };
            let offset = target.wrapping_sub(address);
            offset >> shift << shift == offset
                && offset >> shift < 4096
                && put(insn, at, word_mask(kind), (offset >> shift << 10) as u32)
        }
        BRANCH26 | BRANCH19 | LIT19 | BRANCH14 | ADR21 | ADR_PAGE21 => {
            let (width, unit) = relative(kind);
            let distance = if kind == ADR_PAGE21 {
                (target & !(PAGE - 1)).wrapping_sub(address & !(PAGE - 1))
            } else {
                target.wrapping_sub(address)
            } as i64;
            let value = distance >> unit;
            value << unit == distance
                && fits(value, width)
                && put(insn, at, word_mask(kind), place(kind, value as u32))
        }
        _ => false,
    }
}

/// The value of `adr` or `adrp`: high bits 5 to 23, low bits 29 and 30.
fn adr_value(bits: u32) -> i64 {
    signed((bits >> 5 & 0x7_ffff) << 2 | bits >> 29, 21)
}

/// Moves a value to where its field lies; bits outside the field are cut off later.
fn place(kind: FieldKind, value: u32) -> u32 {
    match kind {
        BRANCH26 => value,
        ADR21 | ADR_PAGE21 => (value >> 2 & 0x7_ffff) << 5 | value << 29,
        _ => value << 5,
    }
}
