//! Turns x86 fields into target addresses and back.

use super::super::bits::{put, word};
use super::{Field, FieldKind, GOT_ADD32, GOT_DISP32, REL8, REL32, RIP32};

/// Cuts an address to the width of the mode.
#[inline(always)]
fn cut<const WIDE: bool>(value: u64) -> u64 {
    if WIDE { value } else { value & 0xffff_ffff }
}

#[inline]
pub fn read<const WIDE: bool>(kind: FieldKind, insn: &[u8], at: u8, len: u8, address: u64) -> u64 {
    let end = address.wrapping_add(u64::from(len));
    if kind == REL8 {
        let byte = insn.get(usize::from(at));
        return byte.map_or(0, |&b| cut::<WIDE>(end.wrapping_add_signed(i64::from(b as i8))));
    }
    let Some(word) = word(insn, at) else { return 0 };
    match kind {
        REL32 | RIP32 => cut::<WIDE>(end.wrapping_add_signed(i64::from(word as i32))),
        GOT_ADD32 | GOT_DISP32 => cut::<WIDE>(address.wrapping_add_signed(i64::from(word as i32))),
        _ => 0,
    }
}

#[inline]
pub fn write<const WIDE: bool>(field: Field, insn: &mut [u8], len: u8, address: u64, target: u64) -> bool {
    let end = address.wrapping_add(u64::from(len));
    let from_end = target.wrapping_sub(end) as i64;
    // In 32-bit code a displacement reaches every address, by wrapping.
    let from_end = if WIDE {
        from_end
    } else {
        i64::from(from_end as i32)
    };
    if !WIDE && target > u64::from(u32::MAX) {
        return false;
    }
    match field.kind {
        REL8 => {
            let (Ok(value), Some(to)) = (i8::try_from(from_end), insn.get_mut(usize::from(field.at))) else {
                return false;
            };
            *to = value as u8;
            true
        }
        REL32 | RIP32 => {
            i32::try_from(from_end).is_ok_and(|value| put(insn, field.at, u32::MAX, value as u32))
        }
        GOT_ADD32 | GOT_DISP32 => put(insn, field.at, u32::MAX, target.wrapping_sub(address) as u32),
        _ => false,
    }
}

#[inline]
pub fn blank(kind: FieldKind, insn: &mut [u8], at: u8) {
    if kind != REL8 {
        put(insn, at, u32::MAX, 0);
    } else if let Some(to) = insn.get_mut(usize::from(at)) {
        *to = 0;
    }
}
