//! Fields inside little-endian words.

/// The low `bits` bits of `value`, as a signed number.
pub fn signed(value: u32, bits: u32) -> i64 {
    let shift = 64 - bits;
    (u64::from(value) << shift) as i64 >> shift
}

/// Whether `value` is a signed number of `bits` bits.
pub fn fits(value: i64, bits: u32) -> bool {
    let shift = 64 - bits;
    value << shift >> shift == value
}

/// The halfword at `at`.
#[inline(always)]
pub fn half(insn: &[u8], at: u8) -> Option<u16> {
    let rest = insn.get(usize::from(at)..)?;
    rest.first_chunk().map(|b| u16::from_le_bytes(*b))
}

/// Replaces the bits under `mask` of the halfword at `at`; false if it isn't inside `insn`.
#[inline(always)]
pub fn put_half(insn: &mut [u8], at: u8, mask: u16, value: u16) -> bool {
    let rest = insn.get_mut(usize::from(at)..);
    let Some(to) = rest.and_then(|rest| rest.first_chunk_mut::<2>()) else {
        return false;
    };
    *to = (u16::from_le_bytes(*to) & !mask | value & mask).to_le_bytes();
    true
}

/// The word at `at`.
#[inline(always)]
pub fn word(insn: &[u8], at: u8) -> Option<u32> {
    let rest = insn.get(usize::from(at)..)?;
    rest.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// The first four bytes as a word.
#[inline(always)]
pub fn word_of(bytes: &[u8]) -> Option<u32> {
    word(bytes, 0)
}

/// Replaces the bits under `mask` of the word at `at`; false if it isn't inside `insn`.
#[inline(always)]
pub fn put(insn: &mut [u8], at: u8, mask: u32, value: u32) -> bool {
    let rest = insn.get_mut(usize::from(at)..);
    let Some(to) = rest.and_then(|rest| rest.first_chunk_mut::<4>()) else {
        return false;
    };
    *to = (u32::from_le_bytes(*to) & !mask | value & mask).to_le_bytes();
    true
}
