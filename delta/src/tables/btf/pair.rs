//! Pairs new types with old ones, on the writing side: by what they are, and in step with their neighbours.

use super::types::{Role, Types, kind, places};
use crate::maps::HashMap;
use crate::tables::names::NONE;

/// Rounds in which a type learns what those are that it leads to.
const ROUNDS: usize = 3;
/// Types of one label on each side of the last pair among which one is looked for.
const NEAR: usize = 64;

/// Bytes of a name by which it is told from others.
const LONGEST: usize = 256;

/// A table with the strings that it names.
pub struct Side<'s> {
    /// Its types.
    pub types: &'s Types,
    /// Its strings.
    pub strings: &'s [u8],
    /// Where both begin to count.
    pub base: (u32, u32),
}

fn mix(label: u64, part: u64) -> u64 {
    let x = (label.rotate_left(23) ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^ x >> 29
}

impl Side<'_> {
    fn name(&self, offset: u32) -> u64 {
        let own = offset.checked_sub(self.base.1).filter(|_| offset > 0);
        let rest = own
            .and_then(|at| self.strings.get(at as usize..))
            .unwrap_or_default();
        let name = rest.iter().take(LONGEST).take_while(|&&b| b != 0);
        name.fold(u64::from(own.is_some()), |label, &byte| mix(label, byte.into()))
    }

    /// Kind and name.
    fn weak(&self) -> Vec<u64> {
        let weak = |i: usize| {
            let record = self.types.record(i);
            mix(self.name(record[0]), kind(record[1]).into())
        };
        (0..self.types.len()).map(weak).collect()
    }

    /// All but what it leads to.
    fn plain(&self) -> Vec<u64> {
        let word = |(word, role, site): (u32, Role, u32)| match role {
            Role::Name => self.name(word),
            Role::Type => u64::from(word == 0),
            Role::Value => u64::from(word) << 8 | u64::from(site),
        };
        let plain = |i: usize| places(self.types.record(i)).map(word).fold(0, mix);
        (0..self.types.len()).map(plain).collect()
    }

    /// A label with those of what it leads to.
    fn deeper(&self, labels: &[u64]) -> Vec<u64> {
        let of = |(word, role, _): (u32, Role, u32)| {
            let own = word.checked_sub(self.base.0).filter(|_| role == Role::Type);
            own.and_then(|i| labels.get(i as usize))
                .copied()
                .unwrap_or_default()
        };
        let deeper = |i: usize| places(self.types.record(i)).map(of).fold(labels[i], mix);
        (0..self.types.len()).map(deeper).collect()
    }
}

/// Old type for each new one, or [`NONE`].
pub fn pair(old: &Side, new: &Side) -> Vec<u32> {
    let mut found = Found {
        pairs: vec![NONE; new.types.len()],
        used: vec![false; old.types.len()],
    };
    let mut deep = (old.plain(), new.plain());
    let plain = deep.clone();
    for _ in 0..ROUNDS {
        deep = (old.deeper(&deep.0), new.deeper(&deep.1));
    }
    let weak = (old.weak(), new.weak());
    found.anchors(&deep.0, &deep.1);
    found.anchors(&weak.0, &weak.1);
    for (olds, news) in [&deep, &plain, &weak] {
        found.follow(olds, news);
        found.near(olds, news);
    }
    found.pairs
}

struct Found {
    pairs: Vec<u32>,
    used: Vec<bool>,
}

impl Found {
    fn set(&mut self, new: usize, old: usize) {
        self.pairs[new] = old as u32;
        self.used[old] = true;
    }

    /// Pairs labels that both have once.
    fn anchors(&mut self, olds: &[u64], news: &[u64]) {
        let mut count: HashMap<u64, (u32, u32, u32)> = HashMap::default();
        for (j, &label) in olds.iter().enumerate().filter(|&(j, _)| !self.used[j]) {
            let entry = count.entry(label).or_default();
            *entry = (entry.0 + 1, entry.1, j as u32);
        }
        for (i, label) in news.iter().enumerate() {
            if let Some(entry) = count.get_mut(label).filter(|_| self.pairs[i] == NONE) {
                entry.1 += 1;
            }
        }
        for (i, label) in news.iter().enumerate() {
            if let Some(&(1, 1, j)) = count.get(label).filter(|_| self.pairs[i] == NONE) {
                self.set(i, j as usize);
            }
        }
    }

    /// Pairs what stands beside a pair, on both sides.
    fn follow(&mut self, olds: &[u64], news: &[u64]) {
        let mut step = |i: usize, beside: Option<usize>| {
            if let Some(j) = beside.filter(|&j| j < olds.len())
                && self.pairs[i] == NONE
                && !self.used[j]
                && olds[j] == news[i]
            {
                self.set(i, j);
            }
            self.pairs[i]
        };
        let mut last = NONE;
        for i in 0..news.len() {
            last = step(i, (last != NONE).then(|| last as usize + 1));
        }
        last = NONE;
        for i in (0..news.len()).rev() {
            last = step(
                i,
                (last != NONE)
                    .then_some(last as usize)
                    .and_then(|j| j.checked_sub(1)),
            );
        }
    }

    /// Pairs what is left in order, ahead of the last pair or else behind it.
    fn near(&mut self, olds: &[u64], news: &[u64]) {
        let mut by_label: HashMap<u64, Vec<u32>> = HashMap::default();
        for (j, &label) in olds.iter().enumerate().filter(|&(j, _)| !self.used[j]) {
            by_label.entry(label).or_default().push(j as u32);
        }
        let mut near = 0;
        for (i, label) in news.iter().enumerate() {
            if let Some(candidates) = by_label.get(label).filter(|_| self.pairs[i] == NONE) {
                let from = candidates.partition_point(|&j| j < near);
                let behind = candidates[..from].iter().rev().take(NEAR);
                let mut all = candidates[from..].iter().take(NEAR).chain(behind);
                if let Some(&j) = all.find(|&&j| !self.used[j as usize]) {
                    self.set(i, j as usize);
                }
            }
            if self.pairs[i] != NONE {
                near = self.pairs[i];
            }
        }
    }
}
