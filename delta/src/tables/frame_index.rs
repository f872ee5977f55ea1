//! `.eh_frame_hdr`: a search table that follows from `.eh_frame`.
//!
//! Source of the format: Linux Standard Base Core 5.0, 10.6.2.

use crate::elf::Numbers;
use crate::elf::frames::{Fde, fdes};
use crate::place::{Addr, Place};

/// Pointer to `.eh_frame` relative to its field, count as a word, table relative to the section, all of four
/// bytes: what linkers write.
const ENCODINGS: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// Bytes of memory that it takes to make a section of `len` bytes for so many records.
pub fn needs(records: usize, len: u64) -> u64 {
    (records * (size_of::<Fde>() + size_of::<(u32, u32)>())) as u64 + len
}

/// Makes the section of `len` bytes at `addr` for the frames at `frames_addr`.
pub fn build(numbers: Numbers, frames: &[u8], frames_addr: Addr, (addr, len): (Addr, usize)) -> Vec<u8> {
    let mut rows: Vec<(u32, u32)> = fdes(numbers, frames, frames_addr.into())
        .iter()
        .map(|f| {
            let at = frames_addr.wrapping_add(f.at);
            (Addr(f.start as u32).since(addr), at.since(addr))
        })
        .collect();
    rows.sort_by_key(|r| r.0 as i32);
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&ENCODINGS);
    let pointer = frames_addr.since(addr.wrapping_add(4));
    for word in [pointer, rows.len() as u32] {
        out.extend_from_slice(&numbers.of_word(word));
    }
    for (start, at) in rows {
        out.extend_from_slice(&numbers.of_word(start));
        out.extend_from_slice(&numbers.of_word(at));
    }
    out.resize(len, 0);
    out
}
