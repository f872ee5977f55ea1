//! About what plain covers would take, to know whether they are worth making: by far quicker than making them.

use super::bytes::common;

/// Bytes by which a place is found again, and how far such places are from each other in old bytes that are not long.
const WORD: usize = 16;
/// Equal bytes behind a change that say that the old bytes go on, and how far behind it they may be.
const GOES_ON: usize = 4;
const NEAR: usize = 12;
/// What going on at another place takes, and a change in place beside its bytes.
const MOVE: usize = 3;
const CHANGE: usize = 1;
/// Places that are known, about, as a power of two: so many that a table of them stays near the processor.
const PLACES: u32 = 18;
const NONE: u32 = u32::MAX;

/// Whether plain covers of `new` by `old` take no more than about `most` bytes.
pub fn may_take(old: &[u8], new: &[u8], most: usize) -> bool {
    let index = Index::new(old);
    let (mut at, mut from, mut taken) = (0, Some(0usize), 0usize);
    while at < new.len() {
        if taken > most {
            return false;
        }
        let rest = &new[at..];
        let here = from.and_then(|from| old.get(from..)).unwrap_or_default();
        let run = common(here, rest);
        if run > 0 {
            (at, from) = (at + run, from.map(|from| from + run));
            continue;
        }
        let goes_on = (1..=NEAR).find(|&n| {
            let both = here.get(n..).zip(rest.get(n..));
            both.is_some_and(|(here, rest)| common(here, rest) >= GOES_ON)
        });
        if let Some(n) = goes_on {
            taken += CHANGE + n;
            (at, from) = (at + n, from.map(|from| from + n));
        } else if let Some(place) = index.find(rest) {
            taken += MOVE;
            from = Some(place);
        } else {
            taken += 1;
            (at, from) = (at + 1, from.map(|from| from + 1));
        }
    }
    taken <= most
}

/// Where words of the old bytes stand.
struct Index<'a> {
    old: &'a [u8],
    places: Vec<u32>,
    shift: u32,
}

impl<'a> Index<'a> {
    fn new(old: &'a [u8]) -> Self {
        let apart = (old.len() >> PLACES).max(WORD);
        let bits = (usize::BITS - (old.len() / apart).leading_zeros()).clamp(8, PLACES);
        let mut index = Index {
            old,
            places: vec![NONE; 1 << bits],
            shift: 64 - bits,
        };
        for place in (0..(old.len() + 1).saturating_sub(WORD)).step_by(apart) {
            let slot = index.slot(&old[place..]);
            index.places[slot] = place as u32;
        }
        index
    }

    fn slot(&self, word: &[u8]) -> usize {
        let half = |at: usize| word[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let mixed = half(0).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ half(8);
        (mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> self.shift) as usize
    }

    /// Where the first bytes of `new` stand, if that is known.
    fn find(&self, new: &[u8]) -> Option<usize> {
        let word = new.get(..WORD)?;
        let place = self.places[self.slot(word)];
        let place = (place != NONE).then_some(place as usize)?;
        self.old[place..].starts_with(word).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 3u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(next).collect()
    }

    #[test]
    fn changes_moves_and_new_bytes_count() {
        let old = noise(100_000);
        assert!(may_take(&old, &old, 0));
        let mut new = old.clone();
        new.iter_mut().step_by(1000).for_each(|byte| *byte ^= 1);
        assert!(may_take(&old, &new, 300) && !may_take(&old, &new, 100));
        let moved = [&old[50_000..], &old[..50_000]].concat();
        assert!(may_take(&old, &moved, 40));
        let mut other = old.clone();
        other.splice(500..500, noise(3000).iter().map(|byte| byte ^ 0x55));
        assert!(may_take(&old, &other, 3300) && !may_take(&old, &other, 2500));
        assert!(may_take(&[], &old, 100_000) && !may_take(&[], &old, 99_000));
        assert!(may_take(&old, &[], 0));
    }
}
