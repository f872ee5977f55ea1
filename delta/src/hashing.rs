//! The two hashes that contexts are made with; both are part of the format.

/// Spreads a context over 32 bits; chain it to combine parts.
#[inline]
pub fn hash(seed: u32, part: u32) -> u32 {
    let x = (seed ^ part.wrapping_mul(0x9E37_79B1)).wrapping_mul(0x85EB_CA6B);
    x ^ (x >> 15)
}

/// A hash of at most 16 bytes.
pub fn digest(bytes: &[u8]) -> u32 {
    let mix = |x: u64| (x ^ x >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let len = bytes.len();
    let (first, last) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(first), Some(last)) => (
                u64::from(u32::from_le_bytes(*first)),
                u64::from(u32::from_le_bytes(*last)),
            ),
            _ => (bytes.iter().fold(0, |w, &b| w << 8 | u64::from(b)), 0),
        },
    };
    (mix(mix(first ^ (len as u64) << 56) ^ last) >> 32) as u32
}
