//! The order of records in a section: as their old ones stood, or by address.

use crate::code::{Symbols, hash, symbols};
use crate::{Error, error::Result};

const NONE: u32 = u32::MAX;

symbols! {
    /// Models of an order. `state`: 1 if follower and neighbour are one, plus 2 if the neighbour has a place in the
    /// old order, plus 4 if there is a neighbour.
    pub struct OrderModels {
        follows(12, 255) {
            /// The next record is the follower. `h`: for each earlier answer whether it was no, the last one lowest.
            follows: flag by(state: u32, h: u32)
                [hash(1, state), hash(2, state | (h & 7) << 3), hash(3, state | (h & 0xff) << 3)];
        }
        near(10, 255) {
            /// It is the neighbour.
            near: flag by(state: u32, h: u32) [hash(1, state), hash(2, state | (h & 7) << 3)];
        }
        run(12, 255) {
            /// Which way of a run that was left, from 1; 0 for none. `many`: how many there are.
            run: number by(state: u32, many: u32) [hash(1, state), hash(2, state | many << 3)];
        }
        jump(14, 255) {
            /// The record against the neighbour, or the last one.
            jump: signed by(state: u32) [hash(1, state), 2];
        }
    }
}

/// Items `0..n`, numbered by address, that are brought into the order of a section one by one.
#[derive(Debug)]
pub struct Order {
    /// For each item the next one by address in its group; skips items that are placed.
    near: Vec<u32>,
    /// First item of each group.
    heads: Vec<u32>,
    /// Item at each place of the old order, or none.
    at_old: Vec<u32>,
    /// For each place the next one that may still be taken.
    next_old: Vec<u32>,
    /// Place of each item in the old order, or none.
    old_of: Vec<u32>,
    placed: Vec<bool>,
    /// The item placed last.
    last: u32,
    /// The item that comes next by address, or one before it.
    link: u32,
    /// The place in the old order behind the last one taken.
    cursor: u32,
    /// Where other runs were left: link and cursor, the latest last.
    left: Vec<(u32, u32)>,
    history: u32,
}

/// Most runs that may be taken up again.
const RUNS: usize = 16;

/// Follows links past what `gone` says is taken, and shortens them.
fn find(links: &mut [u32], from: u32, gone: impl Fn(usize) -> bool) -> Option<u32> {
    let mut at = from;
    while (at as usize) < links.len() && gone(at as usize) {
        at = links[at as usize];
    }
    let mut walk = from;
    while walk != at {
        walk = std::mem::replace(&mut links[walk as usize], at);
    }
    ((at as usize) < links.len()).then_some(at)
}

impl Order {
    /// Items by their group; `old_order` tells the item (or none) at each place of the old order.
    pub fn new(
        groups: impl DoubleEndedIterator<Item = u8> + ExactSizeIterator,
        old_order: &[Option<u32>],
    ) -> Order {
        let n = groups.len();
        let mut heads = vec![NONE; 256];
        let mut near = vec![NONE; n];
        for (item, group) in (0..n).zip(groups).rev() {
            near[item] = std::mem::replace(&mut heads[usize::from(group)], item as u32);
        }
        let mut old_of = vec![NONE; n];
        let mut at_old = Vec::with_capacity(old_order.len());
        for &item in old_order {
            let item = item.filter(|&i| old_of.get(i as usize) == Some(&NONE));
            if let Some(item) = item {
                old_of[item as usize] = at_old.len() as u32;
            }
            at_old.push(item.unwrap_or(NONE));
        }
        Order {
            near,
            heads,
            next_old: (1..=at_old.len() as u32).collect(),
            at_old,
            old_of,
            placed: vec![false; n],
            last: 0,
            link: 0,
            cursor: 0,
            left: Vec::new(),
            history: 0,
        }
    }

    /// Bytes of memory that it takes to bring so many items into an order that had so many places, the list of those
    /// included.
    pub fn needs(items: usize, old: usize) -> u64 {
        (9 * items + 16 * old) as u64
    }

    /// The item that came next in the old order.
    fn follower(&mut self, cursor: u32) -> Option<u32> {
        let (at_old, placed) = (&self.at_old, &self.placed);
        let gone = |place: usize| match at_old[place] {
            NONE => true,
            item => placed[item as usize],
        };
        let place = find(&mut self.next_old, cursor, gone)?;
        Some(self.at_old[place as usize])
    }

    /// The next item by address in the group of the last one.
    pub fn neighbour(&mut self) -> Option<u32> {
        self.linked(self.link)
    }

    fn linked(&mut self, link: u32) -> Option<u32> {
        let placed = &self.placed;
        find(&mut self.near, link, |item| placed[item])
    }

    /// Codes an item that continues none of the usual ways: that of a run left before, or any.
    fn elsewhere<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut OrderModels,
        state: u32,
        base: u32,
        truth: Option<u32>,
    ) -> Option<u32> {
        let mut ways = Vec::with_capacity(2 * RUNS);
        for k in (0..self.left.len()).rev() {
            let (link, cursor) = self.left[k];
            ways.push((k, self.follower(cursor)));
            ways.push((k, self.linked(link)));
        }
        let known = truth.and_then(|_| ways.iter().position(|w| w.1 == truth));
        let known = known.map_or(0, |k| k as u64 + 1);
        let many = ways.len() as u32;
        let way = m.run(s, state, many, known);
        let item = if way > 0 {
            let (k, item) = *ways.get(usize::try_from(way - 1).ok()?)?;
            self.left.remove(k);
            item?
        } else {
            let away = i64::from(truth.unwrap_or(0)) - i64::from(base);
            let away = m.jump(s, state, away);
            u32::try_from(i64::from(base).saturating_add(away)).ok()?
        };
        if self.left.len() == RUNS {
            self.left.remove(0);
        }
        self.left.push((self.link, self.cursor));
        Some(item)
    }

    /// Goes to the start of a group.
    pub fn enter(&mut self, group: u8) {
        self.link = self.heads[usize::from(group)];
    }

    /// The place in the old order behind the last item taken from it.
    pub fn cursor(&self) -> u32 {
        self.cursor
    }

    /// Steps over a place in the old order that holds no item.
    pub fn pass(&mut self, place: u32) {
        self.cursor = place + 1;
    }

    /// Codes the next item.
    pub fn next<S: Symbols>(&mut self, s: &mut S, m: &mut OrderModels, truth: Option<u32>) -> Result<u32> {
        let damaged = Error::damaged("records are out of order");
        let follower = self.follower(self.cursor);
        let neighbour = self.neighbour();
        let known = |item: Option<u32>| item.is_some_and(|i| self.old_of[i as usize] != NONE);
        let state = u32::from(follower == neighbour)
            | u32::from(known(neighbour)) << 1
            | u32::from(neighbour.is_some()) << 2;
        let h = self.history;
        let mut found = None;
        if follower.is_some() {
            let hit = m.follows(s, state, h, follower == truth);
            self.history = h << 1 | u32::from(!hit);
            found = follower.filter(|_| hit);
        }
        if found.is_none() && neighbour.is_some() && neighbour != follower {
            found = neighbour.filter(|_| m.near(s, state, h, neighbour == truth));
        }
        let item = match found {
            Some(item) => item,
            None => {
                let base = neighbour.unwrap_or(self.last);
                let item = self.elsewhere(s, m, state, base, truth);
                item.ok_or(Error::damaged("records are out of order"))?
            }
        };
        match self.placed.get_mut(item as usize) {
            Some(placed) if !*placed => *placed = true,
            _ => return Err(damaged),
        }
        self.last = item;
        self.link = self.near[item as usize];
        if self.old_of[item as usize] != NONE {
            self.cursor = self.old_of[item as usize] + 1;
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::{ModelledReader, ModelledWriter};
    use proptest::prelude::*;

    fn all<S: Symbols>(s: &mut S, groups: &[u8], old: &[Option<u32>], truth: &[u32]) -> Vec<u32> {
        let mut models = OrderModels::default();
        let mut order = Order::new(groups.iter().copied(), old);
        let next = |i: usize| truth.get(i).copied();
        (0..groups.len())
            .map(|i| order.next(s, &mut models, next(i)).unwrap())
            .collect()
    }

    proptest! {
        #[test]
        fn any_order_comes_back(keys in prop::collection::vec((any::<u16>(), 0u8..3, any::<u16>()), 1..60)) {
            let n = keys.len() as u32;
            let groups: Vec<u8> = keys.iter().map(|k| k.1).collect();
            let mut truth: Vec<u32> = (0..n).collect();
            truth.sort_by_key(|&i| keys[i as usize].0);
            let mut old: Vec<Option<u32>> = (0..n).map(|i| Some(i).filter(|i| i % 5 != 4)).collect();
            old.sort_by_key(|i| i.map(|i| keys[i as usize].2 / 4));
            let mut writer = ModelledWriter::default();
            prop_assert_eq!(&all(&mut writer, &groups, &old, &truth), &truth);
            let bytes = writer.finish();
            let budget = crate::budget::Budget::default();
            let mut reader = ModelledReader::new(&bytes, &budget);
            prop_assert_eq!(&all(&mut reader, &groups, &old, &[]), &truth);
        }
    }
}
