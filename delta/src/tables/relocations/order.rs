//! The order of folded rows in a table that is not sorted: Go's linker makes rows symbol by symbol, before it places
//! the symbols. Each row is that of the next old one, or of the word behind the last one.

use super::{SLOT_MEMORY, Slot};
use crate::code::{Symbols, hash, symbols};
use crate::place::Addr;
use crate::predict::AddressMap;
use crate::{Error, error::Result};

/// Old rows looked at for one that has a word left.
const REACH: usize = 64;
/// No word, or no row.
const NONE: u32 = u32::MAX;

symbols! {
    /// The order of folded rows. `h`: for each row so far whether it was the first that was asked about, the last one
    /// lowest; `next`: 0 no old row has a word left, 1 that word is not behind the last one, 2 it is.
    struct OrderModels {
        next(12, 255) {
            /// The row is that of the next old one.
            next: flag by(next: u32, h: u32) [hash(1, next | (h & 7) << 2), hash(2, next | (h & 0xff) << 2)];
            /// It is that of the word behind the last one.
            behind: flag by(next: u32, h: u32) [hash(3, next | (h & 7) << 2), hash(4, next | (h & 0xff) << 2)];
        }
        jump(14, 255) {
            /// It is another, by how many words away from the one behind the last one.
            jump: signed by(next: u32) [0, 1 + next];
        }
    }
}

/// Which words were told.
struct Order {
    told: Vec<bool>,
    /// The word of each old row, and the first old row of each word.
    of_old: Vec<u32>,
    old_of: Vec<u32>,
    /// The next old row, and the word behind the last one.
    next: usize,
    behind: usize,
    h: u32,
}

/// Bytes of memory that telling the order takes, the old rows included.
pub fn memory(words: &[Slot], old: &[Slot]) -> u64 {
    let (words, old) = (words.len() as u64, old.len() as u64);
    words * (1 + 4 + 4) + old * (SLOT_MEMORY + 4)
}

/// Tells in which order words are rows of a table; `old` are the folded rows of the old one, `truth` those of the new
/// one on the writing side.
pub fn code<S: Symbols>(
    s: &mut S,
    words: &[Slot],
    old: &[Slot],
    map: &AddressMap,
    truth: Option<&[Slot]>,
) -> Result<Vec<u32>> {
    let mut m = OrderModels::default();
    let word = |addr: Addr| words.binary_search_by_key(&addr, |w| w.0).ok();
    let of_old = |slot: &Slot| word(map.guess(slot.0)).map_or(NONE, |word| word as u32);
    let mut order = Order {
        told: vec![false; words.len()],
        of_old: old.iter().map(of_old).collect(),
        old_of: vec![NONE; words.len()],
        next: 0,
        behind: 0,
        h: 0,
    };
    for (row, &word) in (0..).zip(&order.of_old) {
        if let Some(first @ &mut NONE) = order.old_of.get_mut(word as usize) {
            *first = row;
        }
    }
    let mut rows = Vec::with_capacity(words.len());
    for index in 0..words.len() {
        let known = truth.and_then(|rows| word(rows.get(index)?.0));
        rows.push(order.row(s, &mut m, known)? as u32);
        if s.exhausted() {
            return Err(Error::damaged("the pointer stream ends too early"));
        }
    }
    Ok(rows)
}

impl Order {
    fn left(&self, word: usize) -> bool {
        self.told.get(word) == Some(&false)
    }

    /// Tells one row.
    fn row<S: Symbols>(&mut self, s: &mut S, m: &mut OrderModels, known: Option<usize>) -> Result<usize> {
        let ahead = self.of_old.iter().skip(self.next).take(REACH);
        let old = ahead.map(|&word| word as usize).find(|&word| self.left(word));
        let behind = Some(self.behind).filter(|&word| self.left(word));
        let next = match old {
            None => 0,
            _ if old != behind => 1,
            _ => 2,
        };
        let mut word = old.filter(|_| m.next(s, next, self.h, known == old));
        let first = word.is_some();
        if word.is_none() && next != 2 {
            word = behind.filter(|_| m.behind(s, next, self.h, known == behind));
        }
        let word = match word {
            Some(word) => word,
            None => {
                let away = m.jump(s, next, known.map_or(0, |k| k as i64 - self.behind as i64));
                let word = usize::try_from(away.saturating_add(self.behind as i64)).ok();
                let damaged = Error::damaged("a relocation fills a word that is not left");
                word.filter(|&word| self.left(word)).ok_or(damaged)?
            }
        };
        self.told[word] = true;
        self.behind = word + 1;
        if let Some(&row) = self.old_of.get(word).filter(|&&row| row != NONE) {
            self.next = row as usize + 1;
        }
        self.h = self.h << 1 | u32::from(first);
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::code::{ModelledReader, ModelledWriter};
    use proptest::prelude::*;

    /// Words at these numbers, four bytes each.
    fn rows(order: &[usize]) -> Vec<Slot> {
        order.iter().map(|&k| (Addr(4 * k as u32), Addr(0))).collect()
    }

    fn told(old: &[usize], new: &[usize]) -> (Vec<usize>, usize) {
        let words: Vec<_> = (0..new.len() as u32).map(|k| (Addr(4 * k), Addr(0))).collect();
        let (old, new, map) = (rows(old), rows(new), AddressMap::default());
        let mut writer = ModelledWriter::default();
        code(&mut writer, &words, &old, &map, Some(&new)).unwrap();
        let (bytes, budget) = (writer.finish(), Budget::default());
        let mut reader = ModelledReader::new(&bytes, &budget);
        let order = code(&mut reader, &words, &old, &map, None).unwrap();
        (order.iter().map(|&k| k as usize).collect(), bytes.len())
    }

    /// Some order of that many words.
    fn order(len: usize) -> impl Strategy<Value = Vec<usize>> {
        Just((0..len).collect::<Vec<_>>()).prop_shuffle()
    }

    proptest! {
        #[test]
        fn any_order_is_told((old, new) in (0usize..90, 0usize..90).prop_flat_map(|(a, b)| (order(a), order(b)))) {
            prop_assert_eq!(told(&old, &new).0, new);
        }

        #[test]
        fn rows_that_are_not_there_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..60), old in order(30)) {
            let words: Vec<_> = (0..40).map(|k| (Addr(4 * k), Addr(0))).collect();
            let budget = Budget::default();
            let mut reader = ModelledReader::new(&bytes, &budget);
            if let Ok(mut told) = code(&mut reader, &words, &rows(&old), &AddressMap::default(), None) {
                told.sort_unstable();
                prop_assert!(told.into_iter().eq(0..40), "each word is one row");
            }
        }
    }

    #[test]
    fn the_old_order_costs_next_to_nothing() {
        let old: Vec<usize> = (0..2048)
            .map(|k| (k * k + k) / 2 % 2048)
            .filter(|&k| k < 2000)
            .collect();
        let mut new = old.clone();
        new.extend(2000..2040);
        let (order, len) = told(&old, &new);
        assert_eq!(order, new);
        assert!(len < 40, "{len}");
    }
}
