//! Old address to new address, through the covers.

use crate::place::{Addr, Place};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A stretch of old addresses that go to new ones; a length of 0 is the first address of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    old: Addr,
    new: Addr,
    len: u32,
}

impl Stretch {
    /// Which of the spans that reach an address counts: the start of a unit, then the longest.
    fn weight(&self) -> u32 {
        self.len.wrapping_sub(1)
    }

    fn end(&self) -> u64 {
        u64::from(self.old) + u64::from(self.len.max(1))
    }
}

/// The static projection: what all covers together say of an old address.
#[derive(Clone, Debug, Default)]
pub struct AddressMap {
    /// As they were added; once settled, apart and ascending.
    spans: Vec<Stretch>,
    /// For each page of old addresses the first span that begins in it or behind it.
    first: Vec<u32>,
}

/// Bytes of a page, as a power of two.
const PAGE: u32 = 12;

impl AddressMap {
    /// Adds a cover.
    pub fn add(&mut self, old: Addr, new: Addr, len: u32) {
        if len > 0 {
            self.spans.push(Stretch { old, new, len });
        }
    }

    /// Adds the first address of a unit, which counts before any cover.
    pub fn add_start(&mut self, old: Addr, new: Addr) {
        self.spans.push(Stretch { old, new, len: 0 });
    }

    /// Sets memory aside for that many covers more.
    pub fn reserve(&mut self, covers: usize) {
        self.spans.reserve_exact(covers);
    }

    /// Makes the map ready for [`AddressMap::project`] after all covers were added: of those that reach an address the
    /// one of the highest weight counts; of equal ones the one that begins first, then the one that goes lowest.
    pub fn settle(&mut self) {
        self.spans
            .sort_unstable_by_key(|s| (s.old, Reverse(s.weight()), s.new));
        let spans = std::mem::take(&mut self.spans);
        self.spans.reserve_exact(spans.len());
        let mut reach: BinaryHeap<(u32, Reverse<Addr>, Reverse<Addr>, usize)> = BinaryHeap::new();
        let (mut next, mut at) = (0, 0u64);
        loop {
            let begins = |i: usize| spans.get(i).map_or(u64::MAX, |s| u64::from(s.old));
            while reach.peek().is_some_and(|&(.., i)| spans[i].end() <= at) {
                reach.pop();
            }
            if reach.is_empty() {
                let Some(span) = spans.get(next) else { break };
                at = span.old.into();
                if begins(next + 1) >= span.end() {
                    self.apart(span, at, span.end());
                    next += 1;
                    continue;
                }
            }
            while begins(next) <= at {
                let span = &spans[next];
                reach.push((span.weight(), Reverse(span.old), Reverse(span.new), next));
                next += 1;
            }
            if let Some(&(.., best)) = reach.peek() {
                let end = spans[best].end().min(begins(next));
                self.apart(&spans[best], at, end);
                at = end;
            }
        }
        self.spans.shrink_to_fit();
        self.first.clear();
        for (i, span) in self.spans.iter().enumerate() {
            self.first.resize((span.old.0 >> PAGE) as usize + 1, i as u32);
        }
    }

    /// Puts the part `at..end` of a span behind the others.
    fn apart(&mut self, span: &Stretch, at: u64, end: u64) {
        let (old, len) = (Addr(at as u32), (end - at) as u32);
        let new = span.new.wrapping_add(old - span.old);
        match self.spans.last_mut() {
            Some(last) if last.end() == at && old - last.old == new.since(last.new) => last.len += len,
            _ => self.spans.push(Stretch { old, new, len }),
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        AddressMap::memory_of(self.spans.len()) + self.first.len() as u64 * 4
    }

    /// Bytes of memory that so many covers take.
    pub fn memory_of(covers: usize) -> u64 {
        covers as u64 * 12
    }

    /// How many spans begin at an address or before it.
    fn upto(&self, old: Addr) -> usize {
        let page = (old.0 >> PAGE) as usize;
        let start = |page: usize| self.first.get(page).map_or(self.spans.len(), |&i| i as usize);
        let (from, to) = (start(page), start(page + 1));
        from + self.spans[from..to].partition_point(|s| s.old <= old)
    }

    /// The new address of an old one, if a cover contains it.
    pub fn project(&self, old: Addr) -> Option<Addr> {
        let span = &self.spans[self.upto(old).checked_sub(1)?];
        (old - span.old < span.len).then(|| span.new.wrapping_add(old - span.old))
    }

    /// The new address of an old one, or a guess from the cover before it.
    pub fn guess(&self, old: Addr) -> Addr {
        let span = self.spans.get(self.upto(old).saturating_sub(1));
        span.map_or(old, |s| s.new.wrapping_add(old.since(s.old)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each address goes where the best of all spans that reach it says, whatever else begins or ends around it.
        #[test]
        fn the_best_span_that_reaches_counts(spans in prop::collection::vec((0u32..200, 0u32..5000, 0u32..60), 0..60)) {
            let mut map = AddressMap::default();
            for &(old, new, len) in &spans {
                match len {
                    0 => map.add_start(Addr(old), Addr(new)),
                    len => map.add(Addr(old), Addr(new), len),
                }
            }
            map.settle();
            let best = |at: u32| {
                let all = spans.iter().filter(|s| s.0 <= at && at - s.0 < s.2.max(1));
                let best = all.max_by_key(|s| (s.2.wrapping_sub(1), Reverse(s.0), Reverse(s.1)))?;
                Some(best.1 + (at - best.0))
            };
            let reached: Vec<_> = (0..300).filter(|&at| best(at).is_some()).collect();
            for at in 0..300 {
                prop_assert_eq!(map.project(Addr(at)), best(at).map(Addr));
                let before = reached.iter().rev().find(|&&r| r <= at).or(reached.first());
                let guess = before.map_or(at, |&r| best(r).unwrap_or_default().wrapping_add(at.wrapping_sub(r)));
                prop_assert_eq!(map.guess(Addr(at)), Addr(guess));
            }
            prop_assert!(map.spans.windows(2).all(|w| w[0].end() <= u64::from(w[1].old)));
        }
    }
}
