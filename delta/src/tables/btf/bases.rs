//! Where the types and strings of a table begin to count, and what became of those that stand before.
//!
//! The table of a module goes on from that of its kernel, which is not at hand: its numbers and offsets are known by
//! their references alone.

use super::types::{FUNCTION, PROTOTYPE, Role, Types, kind, places};
use std::collections::BTreeMap;

/// First number of a type and first offset of a string, of the old table and of the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bases {
    /// Of the old table.
    pub old: (u32, u32),
    /// Of the new one.
    pub new: (u32, u32),
}

/// Of a table that counts on from nothing: types from 1, as 0 is none.
pub const WHOLE: (u32, u32) = (1, 0);

impl Default for Bases {
    fn default() -> Self {
        Bases {
            old: WHOLE,
            new: WHOLE,
        }
    }
}

/// Pairs of functions and prototypes that are looked at.
const PAIRS: usize = 1 << 22;

/// On the writing side: where a table begins to count; `last` is where its last string begins, `len` their bytes.
pub fn find(types: &Types, last: u32, len: u32) -> (u32, u32) {
    let (mut name, mut number) = (0, 0);
    for i in 0..types.len() {
        for (word, role, _) in places(types.record(i)) {
            match role {
                Role::Name => name = name.max(word),
                Role::Type => number = number.max(word),
                Role::Value => {}
            }
        }
    }
    let count = types.len() as u32;
    if name < len {
        return WHOLE;
    }
    let least = number.saturating_sub(count) + 1;
    // A function leads to a prototype: where most do.
    let of = |k: u32| (0..types.len()).filter(move |&i| kind(types.record(i)[1]) == k);
    let prototypes: Vec<u32> = of(PROTOTYPE).map(|i| i as u32).collect();
    let mut votes: BTreeMap<u32, u32> = BTreeMap::new();
    for function in of(FUNCTION).take(PAIRS / prototypes.len().max(1)) {
        let leads = types.record(function)[2];
        for &prototype in &prototypes {
            if let Some(base) = leads.checked_sub(prototype).filter(|&b| b >= least) {
                *votes.entry(base).or_default() += 1;
            }
        }
    }
    let best = votes
        .iter()
        .max_by_key(|&(&base, &n)| (n, std::cmp::Reverse(base)));
    (best.map_or(least, |(&base, _)| base), name - last)
}

/// Old numbers to new ones, as references tell: one that none told goes as far as the one before it.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    known: BTreeMap<u32, u32>,
}

/// Bytes of memory that an entry is counted as.
const ENTRY: u64 = 24;

impl Moves {
    /// What a reference said of it.
    pub fn get(&self, old: u32) -> Option<u32> {
        self.known.get(&old).copied()
    }

    /// Where it goes by those around it.
    pub fn guess(&self, old: u32) -> u32 {
        let near = self
            .known
            .range(..=old)
            .next_back()
            .or_else(|| self.known.range(old..).next());
        near.map_or(old, |(from, to)| to.wrapping_add(old.wrapping_sub(*from)))
    }

    /// Learns what a reference says.
    pub fn learn(&mut self, old: u32, new: u32) {
        self.known.insert(old, new);
    }

    /// Forgets all from `first` on.
    pub fn forget(&mut self, first: u32) {
        self.known.split_off(&first);
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.known.len() as u64 * ENTRY
    }
}
