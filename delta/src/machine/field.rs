//! Turns a reference field into a target address and back, the same way on both sides.

use super::{FieldKind, Machine};

/// Where an AArch64 field lies in its word, lowest bit first.
const fn word_mask(kind: FieldKind) -> u32 {
    match kind {
        FieldKind::Branch26 => 0x03ff_ffff,
        FieldKind::Branch19 | FieldKind::Lit19 => 0x00ff_ffe0,
        FieldKind::Branch14 => 0x0007_ffe0,
        FieldKind::Adr21 | FieldKind::AdrPage21 => 0x60ff_ffe0,
        FieldKind::Lo12 => 0x003f_fc00,
        FieldKind::Rel8 | FieldKind::Rel32 | FieldKind::Rip32 => 0,
    }
}

/// Bytes of a page that `adrp` counts in.
const PAGE: u64 = 4096;

/// The low `bits` bits of `value`, as a signed number.
fn signed(value: u32, bits: u32) -> i64 {
    let shift = 64 - bits;
    (u64::from(value) << shift) as i64 >> shift
}

/// Whether `value` is a signed number of `bits` bits.
fn fits(value: i64, bits: u32) -> bool {
    let shift = 64 - bits;
    value << shift >> shift == value
}

impl FieldKind {
    /// Bytes that the field shares or owns: 1 or 4.
    pub fn bytes(self) -> usize {
        if self == FieldKind::Rel8 { 1 } else { 4 }
    }

    /// Whether the field owns its bytes, as on x86, or only some bits of its word.
    fn owns_bytes(self) -> bool {
        matches!(self, FieldKind::Rel8 | FieldKind::Rel32 | FieldKind::Rip32)
    }

    /// Width and unit shift of an AArch64 field that counts from its instruction.
    fn relative(self) -> (u32, u32) {
        match self {
            FieldKind::Branch26 => (26, 2),
            FieldKind::Branch19 | FieldKind::Lit19 => (19, 2),
            FieldKind::Branch14 => (14, 2),
            FieldKind::AdrPage21 => (21, 12),
            _ => (21, 0),
        }
    }
}

/// Shift of the immediate of a word that may complete an `adrp`: 0 for `add`, the access size for a load or
/// a store, whose size is in bits 31 and 30 and, for 16-byte vectors, bit 23 (Arm ARM, section C4.1).
pub(super) fn low_shift(word: u32) -> u32 {
    let load_or_store = word & 0x3b00_0000 == 0x3900_0000;
    let vector = word >> 26 & 1;
    if load_or_store {
        word >> 30 | (vector & word >> 23) << 2
    } else {
        0
    }
}

fn word(insn: &[u8], at: u8) -> Option<u32> {
    insn.get(usize::from(at)..)?
        .first_chunk()
        .map(|b| u32::from_le_bytes(*b))
}

impl Machine {
    /// Cuts an address to the width of the machine.
    fn address(self, value: u64) -> u64 {
        if self == Machine::X86_32 {
            value & 0xffff_ffff
        } else {
            value
        }
    }

    /// The target address of a field of the instruction of `len` bytes at `address`. For
    /// [`FieldKind::Lo12`], `address` is the page that the base register holds. Arithmetic wraps, as the
    /// processor's does; 0 if the field isn't inside `insn`.
    #[inline]
    pub fn read(self, kind: FieldKind, insn: &[u8], at: u8, len: u8, address: u64) -> u64 {
        let end = address.wrapping_add(u64::from(len));
        if kind == FieldKind::Rel8 {
            let Some(&byte) = insn.get(usize::from(at)) else {
                return 0;
            };
            return self.address(end.wrapping_add_signed(i64::from(byte as i8)));
        }
        let Some(word) = word(insn, at) else { return 0 };
        let bits = word & word_mask(kind);
        match kind {
            FieldKind::Rel8 | FieldKind::Rel32 | FieldKind::Rip32 => {
                self.address(end.wrapping_add_signed(i64::from(word as i32)))
            }
            FieldKind::Lo12 => address.wrapping_add(u64::from(bits >> 10) << low_shift(word)),
            FieldKind::Branch26 => address.wrapping_add_signed(signed(bits, 26) << 2),
            FieldKind::Branch19 | FieldKind::Lit19 => address.wrapping_add_signed(signed(bits >> 5, 19) << 2),
            FieldKind::Branch14 => address.wrapping_add_signed(signed(bits >> 5, 14) << 2),
            FieldKind::Adr21 => address.wrapping_add_signed(adr_value(bits)),
            FieldKind::AdrPage21 => (address & !(PAGE - 1)).wrapping_add_signed(adr_value(bits) << 12),
        }
    }

    /// Makes a field point to `target`; arguments as in [`Machine::read`]. Of the target of an `adrp`, only
    /// the page counts. False, and nothing written, if the target is out of reach or not a whole number of
    /// units away, or the field isn't inside `insn`.
    #[inline]
    pub fn write(self, kind: FieldKind, insn: &mut [u8], at: u8, len: u8, address: u64, target: u64) -> bool {
        let end = address.wrapping_add(u64::from(len));
        let from_end = target.wrapping_sub(end) as i64;
        // In 32-bit code a displacement reaches every address, by wrapping.
        let from_end = if self == Machine::X86_32 {
            i64::from(from_end as i32)
        } else {
            from_end
        };
        if self == Machine::X86_32 && target > u64::from(u32::MAX) {
            return false;
        }
        match kind {
            FieldKind::Rel8 => {
                let (Ok(value), Some(to)) = (i8::try_from(from_end), insn.get_mut(usize::from(at))) else {
                    return false;
                };
                *to = value as u8;
                true
            }
            FieldKind::Rel32 | FieldKind::Rip32 => {
                i32::try_from(from_end).is_ok_and(|value| put(insn, at, u32::MAX, value as u32))
            }
            FieldKind::Lo12 => {
                let Some(shift) = word(insn, at).map(low_shift) else {
                    return false;
                };
                let offset = target.wrapping_sub(address);
                offset >> shift << shift == offset
                    && offset >> shift < 4096
                    && put(insn, at, word_mask(kind), (offset >> shift << 10) as u32)
            }
            _ => {
                let (width, unit) = kind.relative();
                let distance = if kind == FieldKind::AdrPage21 {
                    (target & !(PAGE - 1)).wrapping_sub(address & !(PAGE - 1))
                } else {
                    target.wrapping_sub(address)
                } as i64;
                let value = distance >> unit;
                value << unit == distance
                    && fits(value, width)
                    && put(insn, at, word_mask(kind), place(kind, value as u32))
            }
        }
    }

    /// Sets the bits of a field to zero and leaves the others; nothing if it isn't inside `insn`.
    #[inline]
    pub fn blank(self, kind: FieldKind, insn: &mut [u8], at: u8) {
        if kind == FieldKind::Rel8 {
            if let Some(to) = insn.get_mut(usize::from(at)) {
                *to = 0;
            }
        } else {
            put(
                insn,
                at,
                if kind.owns_bytes() {
                    u32::MAX
                } else {
                    word_mask(kind)
                },
                0,
            );
        }
    }
}

/// The value of `adr` or `adrp`: high bits 5 to 23, low bits 29 and 30.
fn adr_value(bits: u32) -> i64 {
    signed((bits >> 5 & 0x7_ffff) << 2 | bits >> 29, 21)
}

/// Moves a value to where its AArch64 field lies; bits outside the field are cut off later.
fn place(kind: FieldKind, value: u32) -> u32 {
    match kind {
        FieldKind::Branch26 => value,
        FieldKind::Adr21 | FieldKind::AdrPage21 => value >> 2 << 5 | value << 29,
        _ => value << 5,
    }
}

/// Replaces the bits under `mask` of the word at `at`; false if it isn't inside `insn`.
fn put(insn: &mut [u8], at: u8, mask: u32, value: u32) -> bool {
    let Some(to) = insn
        .get_mut(usize::from(at)..)
        .and_then(|rest| rest.first_chunk_mut::<4>())
    else {
        return false;
    };
    *to = (u32::from_le_bytes(*to) & !mask | value & mask).to_le_bytes();
    true
}
