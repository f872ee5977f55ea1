//! Covers of plain bytes: seeds from a hash index, extended across mismatches, taken greedily by what they gain over
//! what telling them takes.

use crate::data::{Cover, Lines};
use crate::place::Off;

/// Bytes hashed into a seed.
const SEED: usize = 8;
/// Places of a seed that are looked at.
const PLACES: usize = 48;
/// Score of the extension: a byte that repeats, one that does not, and the drop at which it gives up.
const EQUAL: i32 = 2;
const DIFFERENT: i32 = -5;
const DROP: i32 = 40;
/// What a cover takes to tell, in score.
pub struct Prices {
    /// On the diagonal of the last one.
    on: i32,
    /// From where that or the last long one ended.
    back: i32,
    /// From anywhere, beside the bits of the distance.
    far: i32,
}

/// Of a file that has nothing but covers and bytes: short copies of text take more than its letters.
pub const PLAIN: Prices = Prices {
    on: 14,
    back: 16,
    far: 14,
};
/// Of data of a program: covers tell where addresses went, too.
pub const DATA: Prices = Prices {
    on: 8,
    back: 10,
    far: 7,
};

/// Equal bytes with which a copy begins that comes back: one that begins with others may go on well where text repeats,
/// a little askew, and the right one is found at its own place.
const BEGINS: usize = 4;

/// Bytes given back by a copy from elsewhere so that the one behind it begins where the last long one ended, at most,
/// and what has to be left of it.
const GIVEN: usize = 128;
const LEFT: usize = 4;

/// An index over stretches of the old bytes.
pub struct ByteIndex<'a> {
    old: &'a [u8],
    /// Where the places of each slot begin among all.
    starts: Vec<u32>,
    /// Places by slot, ascending in each.
    places: Vec<u32>,
    shift: u32,
    prices: Prices,
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
    pub fn new(old: &'a [u8], ranges: &[std::ops::Range<usize>], prices: Prices) -> Self {
        let total: usize = ranges.iter().map(|r| r.len()).sum();
        let bits = (usize::BITS - (total / 2).leading_zeros()).clamp(10, 23);
        let mut index = ByteIndex {
            old,
            starts: vec![0; (1 << bits) + 2],
            places: Vec::new(),
            shift: 64 - bits,
            prices,
        };
        // A slot is counted two behind itself: summed up, its start stands one behind, and filling moves that to its end.
        index.each(ranges, |index, slot, _| index.starts[slot + 2] += 1);
        let mut sum = 0;
        for start in &mut index.starts {
            sum += *start;
            *start = sum;
        }
        index.places = vec![0; sum as usize];
        index.each(ranges, |index, slot, place| {
            let start = &mut index.starts[slot + 1];
            index.places[*start as usize] = place as u32;
            *start += 1;
        });
        index
    }

    /// Goes over the places to know, with their slots.
    fn each(&mut self, ranges: &[std::ops::Range<usize>], mut f: impl FnMut(&mut Self, usize, usize)) {
        let old = self.old;
        for range in ranges {
            let mut before = None;
            for i in range.start..(range.end + 1).saturating_sub(SEED) {
                let value = seed(&old[i..]);
                // Runs of one byte would be found everywhere; their first bytes are seed enough.
                if before.replace(value) != Some(value) {
                    f(self, self.slot(value), i);
                }
            }
        }
    }

    /// Places where a value may stand, those nearest to `around` first.
    fn near(&self, value: u64, around: usize) -> impl Iterator<Item = usize> {
        let slot = self.slot(value);
        let places = &self.places[self.starts[slot] as usize..self.starts[slot + 1] as usize];
        let at = |i: usize| places[i] as usize;
        let mut above = places.partition_point(|&place| (place as usize) < around);
        let mut below = above;
        std::iter::from_fn(move || {
            let is_below =
                below > 0 && (above == places.len() || around - at(below - 1) <= at(above) - around);
            if is_below {
                below -= 1;
                return Some(at(below));
            }
            let next = places.get(above)?;
            above += 1;
            Some(*next as usize)
        })
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
    pub fn covers(&self, new: &[u8], range: std::ops::Range<usize>, hint: usize) -> Vec<Cover> {
        let mut found = Found {
            covers: Vec::new(),
            lines: Lines::new(hint as i64),
            upto: range.start,
        };
        let mut p = range.start;
        while p < range.end {
            let Some(best) = self.best(&found, p, &new[p..range.end]) else {
                p += 1;
                continue;
            };
            found.take(self.old, new, p, best);
            p = found.upto;
        }
        found.covers
    }

    /// The extension for the bytes at `p` that gains most, if one gains.
    fn best(&self, found: &Found, p: usize, rest: &[u8]) -> Option<Extension> {
        let Lines { here, home, .. } = found.lines;
        let on = here + (p - found.upto) as i64;
        let mut best: Option<Extension> = None;
        let ask = |best: &mut Option<Extension>, old_at: usize, price: i32| {
            let (score, len) = self.extend(old_at, rest);
            let gain = score - price;
            if gain >= best.map_or(0, |best| best.gain + 1) {
                *best = Some(Extension { gain, old_at, len });
            }
        };
        let back = [
            Some(here).filter(|_| here != on),
            Some(home).filter(|_| home != here && home != on),
        ];
        let inside = |at: i64| usize::try_from(at).ok().filter(|&at| at < self.old.len());
        let begins = |at: &usize| common(&self.old[*at..], rest) >= BEGINS.min(rest.len());
        if let Some(at) = inside(on) {
            ask(&mut best, at, self.prices.on);
        }
        for at in back.into_iter().flatten().filter_map(inside).filter(begins) {
            ask(&mut best, at, self.prices.back);
        }
        if best.is_none_or(|best| best.len < ENOUGH) && rest.len() >= SEED {
            let value = seed(rest);
            for at in self.near(value, home.max(0) as usize).take(PLACES) {
                if seed(&self.old[at..]) == value {
                    let away = [home, on].map(|from| from.abs_diff(at as i64));
                    let bits = u64::BITS - away[0].min(away[1]).leading_zeros();
                    ask(&mut best, at, self.prices.far + bits as i32);
                }
            }
        }
        best
    }
}

/// Bytes of an extension that nothing else is compared with.
const ENOUGH: usize = 256;

/// An extension that might become a cover.
#[derive(Clone, Copy)]
struct Extension {
    gain: i32,
    old_at: usize,
    len: usize,
}

/// What was found of a region so far.
struct Found {
    covers: Vec<Cover>,
    /// Where that leads in the old file.
    lines: Lines,
    /// Up to where it goes in the new one.
    upto: usize,
}

impl Found {
    /// Takes an extension of the new bytes at `p` for a cover.
    fn take(&mut self, old: &[u8], new: &[u8], p: usize, best: Extension) {
        // Take back bytes before that fit as well.
        let (mut from, mut old_at) = (p, best.old_at);
        while from > self.upto && old_at > 0 && new[from - 1] == old[old_at - 1] {
            from -= 1;
            old_at -= 1;
        }
        let gap = (from - self.upto) as u64;
        let last = self.covers.last_mut().filter(|_| gap == 0);
        if let Some(last) = last {
            let beyond = usize::try_from(old_at as i64 - self.lines.home).unwrap_or(0);
            let comes_back = (1..GIVEN).contains(&beyond) && !self.lines.are_home();
            if comes_back
                && last.len as usize > beyond + LEFT
                && new[from - beyond..from] == old[old_at - beyond..old_at]
            {
                from -= beyond;
                old_at -= beyond;
                last.len -= beyond as u32;
            }
        }
        let len = (p - from + best.len) as u32;
        self.lines.go_past(old_at as i64, gap, len);
        self.upto = p + best.len;
        let (new_at, old_at) = (Off(from as u32), Off(old_at as u32));
        match self.covers.last_mut() {
            Some(last) if last.new_at + last.len == new_at && last.old_at + last.len == old_at => {
                last.len += len;
            }
            _ => self.covers.push(Cover { new_at, old_at, len }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insertion_where_text_repeats_is_one() {
        // A pattern with rare bytes of its own: a little askew, it goes on nearly as well.
        let mut old: Vec<u8> = (0..40_000).map(|i| [7, 1, 1, 1, 3][i % 5]).collect();
        (0..200).for_each(|k| old[k * k] = k as u8);
        let (before, behind) = old.split_at(20_000);
        for insertion in [&b"something else"[..], b"x", b"twelve bytes"] {
            let new = [before, insertion, behind].concat();
            let whole = 0..old.len();
            let index = ByteIndex::new(&old, std::slice::from_ref(&whole), PLAIN);
            let covers = index.covers(&new, 0..new.len(), 0);
            let ends = covers.last().map(|c| c.new_at.0 - c.old_at.0);
            assert_eq!(ends, Some(insertion.len() as u32), "{covers:?}");
            assert!(covers.len() < 4, "{covers:?}");
        }
    }
}
