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
        _ => 0,
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

    /// Whether the field holds the whole target, not only a page or the part below one.
    pub fn is_direct(self) -> bool {
        !matches!(self, FieldKind::AdrPage21 | FieldKind::Lo12)
    }

    /// Whether the field may hold the address of data, such as that of a jump table.
    pub fn may_point_to_data(self) -> bool {
        matches!(
            self,
            FieldKind::Rip32 | FieldKind::Lo12 | FieldKind::Adr21 | FieldKind::GotDisp32
        )
    }

    /// Whether the field counts from an address of its own, not from the end of its instruction.
    #[cfg(test)]
    fn counts_from_base(self) -> bool {
        matches!(self, FieldKind::GotAdd32 | FieldKind::GotDisp32)
    }

    /// Whether the field owns its bytes, as on x86, or only some bits of its word.
    fn owns_bytes(self) -> bool {
        matches!(
            self,
            FieldKind::Rel8
                | FieldKind::Rel32
                | FieldKind::Rip32
                | FieldKind::GotAdd32
                | FieldKind::GotDisp32
        )
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
    #[inline]
    pub fn address(self, value: u64) -> u64 {
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
            FieldKind::GotAdd32 | FieldKind::GotDisp32 => {
                self.address(address.wrapping_add_signed(i64::from(word as i32)))
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
            FieldKind::GotAdd32 | FieldKind::GotDisp32 => {
                put(insn, at, u32::MAX, target.wrapping_sub(address) as u32)
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
        FieldKind::Adr21 | FieldKind::AdrPage21 => (value >> 2 & 0x7_ffff) << 5 | value << 29,
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

#[cfg(test)]
mod tests {
    use super::FieldKind as K;
    use super::*;
    use proptest::prelude::*;

    /// Every kind with a machine that has it and a word, or bytes, around the field.
    const HOMES: &[(Machine, FieldKind, u32)] = &[
        (Machine::X86_64, K::Rel8, 0x00),
        (Machine::X86_64, K::Rel32, 0x00),
        (Machine::X86_64, K::Rip32, 0x00),
        (Machine::X86_32, K::Rel8, 0x00),
        (Machine::X86_32, K::Rel32, 0x00),
        (Machine::X86_32, K::GotAdd32, 0x00),
        (Machine::X86_32, K::GotDisp32, 0x00),
        (Machine::AArch64, K::Branch26, 0x9400_0000),
        (Machine::AArch64, K::Branch19, 0xb400_0003),
        (Machine::AArch64, K::Branch14, 0xb708_0004),
        (Machine::AArch64, K::Lit19, 0x5800_0005),
        (Machine::AArch64, K::Adr21, 0x1000_0006),
        (Machine::AArch64, K::AdrPage21, 0x9000_0007),
        (Machine::AArch64, K::Lo12, 0x9100_0021),
        (Machine::AArch64, K::Lo12, 0xf940_0021),
        (Machine::AArch64, K::Lo12, 0x3dc0_0021),
    ];

    proptest! {
        /// Whatever the bits of a field say, blanking and writing the target that was read restores them.
        #[test]
        fn blank_and_write_restore(home in prop::sample::select(HOMES), bits: u32, at in 0u8..8, place: u64) {
            let (machine, kind, rest) = home;
            let place = if machine == Machine::X86_32 { place & 0xffff_ffff } else { place };
            let place = if machine == Machine::AArch64 { place & !3 } else { place };
            let place = if kind == K::Lo12 { place & !4095 } else { place };
            let at = if machine == Machine::AArch64 { 0 } else { at };
            let word = if machine == Machine::AArch64 { rest | bits & word_mask(kind) } else { bits };
            let mut insn = [0xa5; 12];
            insn[usize::from(at)..][..4].copy_from_slice(&word.to_le_bytes());
            let before = insn;
            let len = if machine == Machine::AArch64 { 4 } else { at + kind.bytes() as u8 + 1 };
            let target = machine.read(kind, &insn, at, len, place);
            machine.blank(kind, &mut insn, at);
            let blank = machine.read(kind, &insn, at, len, place);
            let end = if machine == Machine::AArch64 || kind.counts_from_base() { place } else { place.wrapping_add(u64::from(len)) };
            let end = if kind == K::AdrPage21 { end & !4095 } else { machine.address(end) };
            prop_assert_eq!(blank, end);
            prop_assert!(machine.write(kind, &mut insn, at, len, place, target));
            prop_assert_eq!(insn, before);
        }

        /// A target that can be written is read back; one that can't leaves the bytes alone.
        #[test]
        fn what_is_written_is_read(home in prop::sample::select(HOMES), place: u64, reach in 0u32..64, away: i64) {
            let (machine, kind, rest) = home;
            let place = if machine == Machine::X86_32 { place & 0xffff_ffff } else { place };
            let target = place.wrapping_add_signed(away >> reach);
            let mut insn = rest.to_le_bytes();
            let before = insn;
            if machine.write(kind, &mut insn, 0, 4, place, target) {
                let target = if kind == K::AdrPage21 { target & !4095 } else { target };
                prop_assert_eq!(machine.read(kind, &insn, 0, 4, place), target);
            } else {
                prop_assert_eq!(insn, before);
            }
        }

        /// Fields that aren't inside the bytes are refused.
        #[test]
        fn fields_outside_are_refused(home in prop::sample::select(HOMES), len in 0usize..4, at: u8, place: u64) {
            let (machine, kind, _) = home;
            let mut insn = [0x5a; 4];
            let at = if usize::from(at) + kind.bytes() <= len { 255 } else { at };
            prop_assert_eq!(machine.read(kind, &insn[..len], at, 4, place), 0);
            prop_assert!(!machine.write(kind, &mut insn[..len], at, 4, place, place));
            machine.blank(kind, &mut insn[..len], at);
            prop_assert_eq!(insn, [0x5a; 4]);
        }
    }

    #[test]
    fn the_limits_of_each_field() {
        let reaches = [
            (Machine::X86_64, K::Rel8, 0x00, 4 + 127, 1),
            (Machine::X86_64, K::Rel32, 0x00, 4 + 0x7fff_ffff, 1),
            (Machine::AArch64, K::Branch26, 0x1400_0000, 0x7ff_fffc, 4),
            (Machine::AArch64, K::Branch19, 0x5400_0000, 0xf_fffc, 4),
            (Machine::AArch64, K::Branch14, 0x3600_0000, 0x7ffc, 4),
            (Machine::AArch64, K::Adr21, 0x1000_0000, 0xf_ffff, 1),
            (Machine::AArch64, K::AdrPage21, 0x9000_0000, 0xffff_f000, 4096),
            (Machine::AArch64, K::Lo12, 0x9100_0000, 4095, 1),
            (Machine::AArch64, K::Lo12, 0xf940_0000, 4095 * 8, 8),
        ];
        for (machine, kind, word, farthest, unit) in reaches {
            let place = 0x10_0000_0000;
            let mut insn = u32::to_le_bytes(word);
            assert!(
                machine.write(kind, &mut insn, 0, 4, place, place + farthest),
                "{kind:?}"
            );
            assert!(
                !machine.write(kind, &mut insn, 0, 4, place, place + farthest + unit),
                "{kind:?}"
            );
            let misaligned = machine.write(kind, &mut insn, 0, 4, place, place + 1);
            assert_eq!(misaligned, unit == 1 || kind == K::AdrPage21, "{kind:?}");
        }
    }
}
