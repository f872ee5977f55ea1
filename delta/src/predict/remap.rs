//! Old target to new target, as learned from the references decoded so far.

use crate::place::Addr;

/// What was last seen of an old target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// The new target that the last reference had.
    pub target: Addr,
    /// The one before, if it was another.
    pub previous: Addr,
    /// How often in a row `target` was right, at most 3.
    pub confidence: u32,
    /// Its slot, until something new is learned.
    slot: usize,
}

/// Tables that grow on their own, so that growing never holds all of it twice; a power of two.
const SHARDS: usize = 256;
/// Bytes of a slot.
const SLOT: u64 = 9;

/// Open addressing from a key to a word and a byte.
#[derive(Clone, Debug, Default)]
struct Shard {
    /// Key (0 for an empty slot) and word.
    slots: Vec<(u32, u32)>,
    bytes: Vec<u8>,
    used: usize,
}

impl Shard {
    /// The slot of a key, or the one where it would go; there is an empty one.
    fn find(&self, key: u32, spread: u32) -> usize {
        let len = self.slots.len();
        let mut at = ((u64::from(spread) * len as u64) >> 32) as usize;
        while self.slots[at].0 != 0 && self.slots[at].0 != key {
            at = if at + 1 == len { 0 } else { at + 1 };
        }
        at
    }

    fn get(&self, key: u32) -> Option<usize> {
        if self.used == 0 {
            return None;
        }
        let at = self.find(key, spread(key));
        (self.slots[at].0 == key).then_some(at)
    }

    /// The slot of a key, made if need be.
    fn enter(&mut self, key: u32) -> (usize, bool) {
        if let Some(at) = self.get(key) {
            return (at, false);
        }
        if (self.used + 1) * 5 > self.slots.len() * 4 {
            let size = self.slots.len() + self.slots.len() / 4 + 8;
            let slots = std::mem::replace(&mut self.slots, vec![(0, 0); size]);
            let bytes = std::mem::replace(&mut self.bytes, vec![0; size]);
            for (slot, byte) in slots.into_iter().zip(bytes).filter(|(slot, _)| slot.0 != 0) {
                let at = self.find(slot.0, spread(slot.0));
                (self.slots[at], self.bytes[at]) = (slot, byte);
            }
        }
        let at = self.find(key, spread(key));
        self.slots[at].0 = key;
        self.used += 1;
        (at, true)
    }
}

fn shard(key: u32) -> usize {
    (key.wrapping_mul(0x9E37_79B1) >> 24) as usize & (SHARDS - 1)
}

/// Where in its shard a key belongs, as a part of 2^32.
fn spread(key: u32) -> u32 {
    key.wrapping_mul(0x9E37_79B1) << 8
}

/// A hash table with open addressing; deterministic and without a struct per reference.
#[derive(Clone, Debug)]
pub struct Remap {
    /// By old target plus one: the new one, and the confidence with [`CHANGED`].
    targets: Vec<Shard>,
    /// The one before, for those that changed.
    previous: Shard,
    /// Slots of all tables.
    slots: usize,
}

/// Whether a target has another before it.
const CHANGED: u8 = 4;

impl Default for Remap {
    fn default() -> Self {
        Remap {
            targets: vec![Shard::default(); SHARDS],
            previous: Shard::default(),
            slots: 0,
        }
    }
}

impl Remap {
    /// What was learned of an old target.
    pub fn get(&self, old: Addr) -> Option<Learned> {
        let key = old.0.checked_add(1)?;
        let shard = &self.targets[shard(key)];
        let at = shard.get(key)?;
        let (target, state) = (shard.slots[at].1, shard.bytes[at]);
        let before = if state & CHANGED == 0 {
            None
        } else {
            self.previous.get(key)
        };
        Some(Learned {
            target: Addr(target),
            previous: Addr(before.map_or(target, |at| self.previous.slots[at].1)),
            confidence: u32::from(state & 3),
            slot: at,
        })
    }

    /// Learns that a reference to `old`, of which `known` was just got, became one to `new`.
    pub fn learn(&mut self, old: Addr, known: Option<Learned>, new: Addr) {
        let Some(key) = old.0.checked_add(1) else { return };
        let shard = &mut self.targets[shard(key)];
        let before = shard.slots.len() + self.previous.slots.len();
        let (at, fresh) = known.map_or_else(|| shard.enter(key), |known| (known.slot, false));
        let (slot, state) = (&mut shard.slots[at].1, &mut shard.bytes[at]);
        if fresh {
            *slot = new.0;
        } else if *slot == new.0 {
            *state = (*state & CHANGED) | ((*state & 3) + 1).min(3);
        } else {
            let (at, _) = self.previous.enter(key);
            self.previous.slots[at].1 = std::mem::replace(slot, new.0);
            *state = CHANGED;
        }
        self.slots += shard.slots.len() + self.previous.slots.len() - before;
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.slots as u64 * SLOT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::HashMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_remembers_as_a_map_would(pairs in prop::collection::vec((0u32..400, 0u32..4), 0..3000)) {
            let (mut remap, mut map) = (Remap::default(), HashMap::<Addr, Learned>::default());
            for (old, new) in pairs {
                let (old, new) = (Addr(old.wrapping_mul(0x0101_0001)), Addr(new));
                remap.learn(old, remap.get(old), new);
                match map.get_mut(&old) {
                    Some(l) if l.target == new => l.confidence = (l.confidence + 1).min(3),
                    Some(l) => *l = Learned { target: new, previous: l.target, confidence: 0, slot: 0 },
                    None => { map.insert(old, Learned { target: new, previous: new, confidence: 0, slot: 0 }); }
                }
            }
            for (old, learned) in map {
                prop_assert_eq!(remap.get(old).map(|l| Learned { slot: 0, ..l }), Some(learned));
            }
            prop_assert_eq!(remap.get(Addr(7)), None);
        }
    }
}
