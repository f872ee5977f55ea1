//! Names that no old name explains, byte by byte: contexts of the name so far, and a trail of a similar one.

use crate::budget::{Budget, Lent};
use crate::code::{Symbols, hash, symbols};
use crate::{Error, error::Result};

/// Bytes that find a trail.
const SEED: usize = 5;
const SLOTS: u32 = 18;
/// Longest name that is spelled out, in bytes.
const LONGEST: usize = 1 << 20;

symbols! {
    /// Models of spelled names.
    struct SpellModels {
        byte(20, 255) {
            /// A byte, the closing zero too.
            byte: byte by(f: &Foresight)
                [
                    hash(1, f.last(1)),
                    hash(2, f.last(2)),
                    hash(3, f.last(3)),
                    hash(4, f.last(4)),
                    hash(5, f.last(6)),
                    hash(hash(6, f.like), f.like_hits.min(15)),
                    hash(hash(7, f.seen), f.seen_hits.min(31)),
                    hash(hash(hash(8, f.like), f.seen), f.last(1)),
                ];
        }
    }
}

// symbols: What spelled names go by:
struct Foresight<'f> {
    /// All names so far.
    table: &'f [u8],
    /// What follows in the similar name, 256 if nothing is expected there, and how often that was right in a row.
    like: u32,
    like_hits: u32,
    /// The same for the place in the table.
    seen: u32,
    seen_hits: u32,
}

impl Foresight<'_> {
    /// A hash of the last bytes, however many there are.
    fn last(&self, k: usize) -> u32 {
        let last = &self.table[self.table.len().saturating_sub(k)..];
        last.iter().fold(0, |h, &b| hash(h, u32::from(b) + 1))
    }
}
// end

/// Spells names; remembers where in the table the last bytes were seen.
pub struct Speller<'b> {
    models: Lent<'b, SpellModels>,
    trail: Vec<u32>,
    /// Bytes of the table that `trail` knows.
    indexed: usize,
}

fn seed(bytes: &[u8]) -> Option<usize> {
    let last = bytes.get(bytes.len().checked_sub(SEED)?..)?;
    let h = last.iter().fold(0u32, |h, &b| {
        (h ^ u32::from(b)).wrapping_mul(0x9E37_79B1).rotate_left(11)
    });
    Some((h.wrapping_mul(0x85EB_CA6B) >> (32 - SLOTS)) as usize)
}

impl<'b> Speller<'b> {
    /// At the first name.
    pub fn new(account: &'b Budget) -> Speller<'b> {
        Speller {
            models: account.lend(),
            trail: Vec::new(),
            indexed: 0,
        }
    }

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
            let foresight = Foresight {
                table,
                like: by_like,
                like_hits,
                seen: by_seen,
                seen_hits,
            };
            let known = truth.get(n).copied().unwrap_or(0);
            let byte = self.models.byte(s, &foresight, known);
            table.push(byte);
            if byte == 0 {
                return Ok(());
            }
            if n >= LONGEST || s.exhausted() {
                return Err(Error::damaged("a symbol's name never ends"));
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
