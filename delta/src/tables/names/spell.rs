//! Names that no old name explains, byte by byte: contexts of the name so far, and a trail of a similar one.

use crate::code::{Model, Symbols, hash};
use crate::{Error, error::Result};

/// Bytes that find a trail.
const SEED: usize = 5;
const SLOTS: u32 = 18;
const CONTEXTS: usize = 8;
/// Longest name that is spelled out, in bytes.
const LONGEST: usize = 1 << 20;

/// Spells names; remembers where in the table the last bytes were seen.
#[derive(Debug)]
pub struct Speller {
    byte: Model,
    trail: Vec<u32>,
    /// Bytes of the table that `trail` knows.
    indexed: usize,
}

impl Default for Speller {
    fn default() -> Self {
        Speller {
            byte: Model::new(CONTEXTS, 20, 255),
            trail: Vec::new(),
            indexed: 0,
        }
    }
}

fn seed(bytes: &[u8]) -> Option<usize> {
    let last = bytes.get(bytes.len().checked_sub(SEED)?..)?;
    let h = last.iter().fold(0u32, |h, &b| {
        (h ^ u32::from(b)).wrapping_mul(0x9E37_79B1).rotate_left(11)
    });
    Some((h.wrapping_mul(0x85EB_CA6B) >> (32 - SLOTS)) as usize)
}

impl Speller {
    fn index(&mut self, table: &[u8]) {
        self.trail.resize(1 << SLOTS, 0);
        for end in self.indexed..table.len() {
            if let Some(slot) = seed(&table[..end]) {
                self.trail[slot] = end as u32;
            }
        }
        self.indexed = table.len();
    }

    /// Appends one name and its zero to `table`; `near` is a name that may be like it.
    pub fn spell<S: Symbols>(
        &mut self,
        s: &mut S,
        near: &[u8],
        truth: &[u8],
        table: &mut Vec<u8>,
    ) -> Result<()> {
        self.index(table);
        let first = table.len();
        // A trail in the similar name, and one in the table.
        let (mut like, mut like_hits) = (Some(0usize), 0u32);
        let (mut seen, mut seen_hits) = (None::<usize>, 0u32);
        loop {
            let n = table.len() - first;
            if seen.is_none() && n >= SEED {
                seen = seed(table)
                    .map(|slot| self.trail[slot] as usize)
                    .filter(|&at| at > 0);
                seen_hits = 0;
            }
            if like.is_none() && n >= 3 {
                let last = &table[table.len() - 3..];
                like = near.windows(3).position(|w| w == last).map(|at| at + 3);
                like_hits = 0;
            }
            let by_like = like.map_or(256, |at| u32::from(near.get(at).copied().unwrap_or(0)));
            let by_seen = seen.map_or(256, |at| u32::from(table[at]));
            let last = |k: usize| {
                table[table.len().saturating_sub(k)..]
                    .iter()
                    .fold(0, |h, &b| hash(h, u32::from(b) + 1))
            };
            let o1 = last(1);
            let contexts = [
                hash(1, o1),
                hash(2, last(2)),
                hash(3, last(3)),
                hash(4, last(4)),
                hash(5, last(6)),
                hash(hash(6, by_like), like_hits.min(15)),
                hash(hash(7, by_seen), seen_hits.min(31)),
                hash(hash(hash(8, by_like), by_seen), o1),
            ];
            let byte = s.byte(&mut self.byte, &contexts, truth.get(n).copied().unwrap_or(0));
            table.push(byte);
            if byte == 0 {
                return Ok(());
            }
            if n >= LONGEST || s.exhausted() {
                return Err(Error::DamagedPatch("a symbol's name never ends"));
            }
            let follow = |trail: &mut Option<usize>, hits: &mut u32, right: bool| {
                *hits = if right { *hits + 1 } else { 0 };
                *trail = trail.filter(|_| right).map(|at| at + 1);
            };
            follow(&mut like, &mut like_hits, by_like == u32::from(byte));
            follow(&mut seen, &mut seen_hits, by_seen == u32::from(byte));
        }
    }
}
