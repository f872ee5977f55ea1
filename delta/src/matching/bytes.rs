//! Covers of plain bytes: seeds from a hash index, extended across mismatches, taken greedily by gain.

use crate::data::Cover;
use crate::place::Off;

/// Bytes hashed into a seed.
const SEED: usize = 8;
const CHAIN: usize = 24;
/// Score of the extension: a byte that repeats, one that does not, and the drop at which it gives up.
const EQUAL: i32 = 2;
const DIFFERENT: i32 = -5;
const DROP: i32 = 40;
/// Least gain, in score, of a cover on the diagonal of the one before, and of any other.
const NEAR: i32 = 8;
const FAR: i32 = 28;
const NONE: u32 = u32::MAX;

/// An index over stretches of the old bytes.
pub struct ByteIndex<'a> {
    old: &'a [u8],
    heads: Vec<u32>,
    next: Vec<u32>,
    shift: u32,
}

fn seed(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..SEED].try_into().unwrap_or_default())
}

/// Length of the common prefix.
pub fn common(a: &[u8], b: &[u8]) -> usize {
    let n = a.len().min(b.len());
    let mut i = 0;
    while i + 8 <= n {
        let x = seed(&a[i..]) ^ seed(&b[i..]);
        if x != 0 {
            return i + (x.trailing_zeros() / 8) as usize;
        }
        i += 8;
    }
    while i < n && a[i] == b[i] {
        i += 1;
    }
    i
}

impl<'a> ByteIndex<'a> {
    /// Indexes the given ranges of `old`.
    pub fn new(old: &'a [u8], ranges: &[std::ops::Range<usize>]) -> Self {
        let total: usize = ranges.iter().map(|r| r.len()).sum();
        let bits = (usize::BITS - (total / 2).leading_zeros()).clamp(10, 23);
        let mut index = ByteIndex {
            old,
            heads: vec![NONE; 1 << bits],
            next: Vec::new(),
            shift: 64 - bits,
        };
        let end = ranges.iter().map(|r| r.end).max().unwrap_or(0);
        index.next = vec![NONE; end];
        for range in ranges.iter().rev() {
            for i in (range.start..(range.end + 1).saturating_sub(SEED)).rev() {
                let value = seed(&old[i..]);
                // Runs of one byte would chain for ever; their first bytes are seed enough.
                if i > range.start && value == seed(&old[i - 1..]) {
                    continue;
                }
                let slot = index.slot(value);
                index.next[i] = index.heads[slot];
                index.heads[slot] = i as u32;
            }
        }
        index
    }

    fn slot(&self, value: u64) -> usize {
        (value.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    /// Score and length of the forward extension at `old_at`, bounded by both ends.
    fn extend(&self, old_at: usize, new: &[u8]) -> (i32, usize) {
        let old = &self.old[old_at..];
        let n = old.len().min(new.len());
        let (mut score, mut best, mut length) = (0i32, 0i32, 0usize);
        let mut i = 0;
        while i < n {
            let run = common(&old[i..n], &new[i..n]);
            score = score.saturating_add(EQUAL.saturating_mul(run.min(1 << 24) as i32));
            i += run;
            if score > best {
                (best, length) = (score, i);
            }
            if i < n {
                score += DIFFERENT;
                i += 1;
            }
            if score < best - DROP {
                break;
            }
        }
        (best, length)
    }

    /// Covers of one region of the new file, `new[range]`; `hint` is the old offset set against its start.
    pub fn covers(&self, new: &[u8], range: std::ops::Range<usize>, hint: Option<usize>) -> Vec<Cover> {
        let mut covers: Vec<Cover> = Vec::new();
        let mut p = range.start;
        let mut diagonal = hint.map(|h| h as i64 - range.start as i64);
        let mut uncovered = range.start;
        while p < range.end {
            let rest = &new[p..range.end];
            let mut best: Option<(i32, usize, usize)> = None;
            let near = diagonal
                .map(|d| p as i64 + d)
                .filter(|&at| at >= 0 && (at as usize) < self.old.len());
            if let Some(at) = near {
                let (score, length) = self.extend(at as usize, rest);
                if score >= NEAR {
                    best = Some((score + FAR - NEAR, at as usize, length));
                }
            }
            if rest.len() >= SEED && best.is_none_or(|b| b.2 < 256) {
                let value = seed(rest);
                let mut at = self.heads[self.slot(value)];
                for _ in 0..CHAIN {
                    if at == NONE {
                        break;
                    }
                    let here = at as usize;
                    at = self.next[here];
                    if seed(&self.old[here..]) != value {
                        continue;
                    }
                    let (score, length) = self.extend(here, rest);
                    if score >= FAR && best.is_none_or(|b| score > b.0) {
                        best = Some((score, here, length));
                    }
                }
            }
            let Some((_, at, length)) = best else {
                p += 1;
                continue;
            };
            // Take back bytes before that fit as well.
            let (mut from, mut old_at) = (p, at);
            while from > uncovered && old_at > 0 && new[from - 1] == self.old[old_at - 1] {
                from -= 1;
                old_at -= 1;
            }
            let len = (p - from + length) as u32;
            let (new_at, old_at) = (Off(from as u32), Off(old_at as u32));
            diagonal = Some(at as i64 - p as i64);
            match covers.last_mut() {
                Some(last) if last.new_at + last.len == new_at && last.old_at + last.len == old_at => {
                    last.len += len;
                }
                _ => covers.push(Cover { new_at, old_at, len }),
            }
            p += length;
            uncovered = p;
        }
        covers
    }
}
