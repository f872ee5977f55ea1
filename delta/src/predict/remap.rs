//! Old target to new target, as learned from the references decoded so far.

/// What was last seen of an old target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// The new target that the last reference had.
    pub target: u32,
    /// The one before, if it was another.
    pub previous: u32,
    /// How often in a row `target` was right, at most 3.
    pub confidence: u32,
}

/// A hash table with open addressing; deterministic and without a struct per reference.
#[derive(Clone, Debug)]
pub struct Remap {
    /// Old target plus one; 0 for an empty slot. The low bits of `values` hold the confidence.
    keys: Vec<u32>,
    values: Vec<Learned>,
    used: usize,
}

impl Default for Remap {
    fn default() -> Self {
        Remap {
            keys: vec![0; 1 << 10],
            values: vec![Learned::default(); 1 << 10],
            used: 0,
        }
    }
}

impl Remap {
    fn slot(&self, key: u32) -> usize {
        let mask = self.keys.len() - 1;
        let mut at = (key.wrapping_mul(0x9E37_79B1) >> 7) as usize & mask;
        while self.keys[at] != 0 && self.keys[at] != key {
            at = (at + 1) & mask;
        }
        at
    }

    /// What was learned of an old target.
    pub fn get(&self, old: u32) -> Option<Learned> {
        let key = old.checked_add(1)?;
        let at = self.slot(key);
        (self.keys[at] == key).then(|| self.values[at])
    }

    /// Learns that a reference to `old` became one to `new`.
    pub fn learn(&mut self, old: u32, new: u32) {
        let Some(key) = old.checked_add(1) else { return };
        let mut at = self.slot(key);
        if self.keys[at] == 0 {
            if self.used * 4 >= self.keys.len() * 3 {
                self.grow();
                at = self.slot(key);
            }
            self.used += 1;
            self.keys[at] = key;
            self.values[at] = Learned {
                target: new,
                previous: new,
                confidence: 0,
            };
            return;
        }
        let value = &mut self.values[at];
        if value.target == new {
            value.confidence = (value.confidence + 1).min(3);
        } else {
            *value = Learned {
                target: new,
                previous: value.target,
                confidence: 0,
            };
        }
    }

    fn grow(&mut self) {
        let size = self.keys.len() * 2;
        let keys = std::mem::replace(&mut self.keys, vec![0; size]);
        let values = std::mem::replace(&mut self.values, vec![Learned::default(); size]);
        for (key, value) in keys.into_iter().zip(values) {
            if key != 0 {
                let at = self.slot(key);
                self.keys[at] = key;
                self.values[at] = value;
            }
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.keys.len() as u64 * 16
    }
}
