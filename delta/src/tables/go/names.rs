//! The grammar of names: the expected one, another one of the old file, or a new one spelled out.

use super::reader::GoTable;
use crate::code::{Symbols, hash, symbols};
use crate::maps::HashMap;
use crate::{Error, error::Result};

const NEXT: u32 = 0;
const OLD: u32 = 1;
const NEW: u32 = 2;

/// Longest name that is spelled out.
const LONGEST: usize = 1 << 16;

symbols! {
    /// Names. `kind`: 0 a file, or a function without an old one; 1 a function with one; 2 of an inline tree; 3 of a list.
    struct NameModels {
        hit(12, 255) {
            /// The name is the expected one. `h`: for each such name so far whether it was not, the last one lowest.
            hit: flag by(kind: u32, h: u32) [hash(1, kind), hash(hash(2, kind), h & 0xff)];
        }
        way(10, 255) {
            /// What else: 0 the old one behind the last one, 1 an old one, 2 a new one. `expected`: there is one.
            way: tree(2) by(kind: u32, expected: bool) [hash(1, kind), hash(2, u32::from(expected))];
        }
        away(14, 255) {
            /// Which old one, against the last one.
            away: signed by(kind: u32) [kind];
        }
        prefix(14, 255) {
            /// Bytes that a new one shares with the new one before, which has `len`.
            prefix: number by(len: usize) [1, hash(2, (len as u32).min(255))];
        }
        byte(18, 255) {
            /// A further byte; 0 ends it. `tails`: each a hash of the last 1, 2 and 4 bytes, begun with that number.
            byte: byte by(tails: [u32; 3]) [1, tails[0], tails[1], tails[2]];
        }
    }
}

/// Codes names.
#[derive(Debug)]
pub struct Names {
    /// Positions of the old names.
    old: Vec<u32>,
    /// On the writing side: old names by content.
    index: HashMap<Vec<u8>, u32>,
    part: (u32, u32),
    last: i64,
    spelled: Vec<u8>,
    m: NameModels,
    history: u32,
}

impl Names {
    /// Over the strings of a part of the old table.
    pub fn new(old: Option<&GoTable>, part: (u32, u32), writes: bool) -> Names {
        let places = old.map(|o| o.strings(part)).unwrap_or_default();
        let mut index = HashMap::default();
        if let Some(old) = old.filter(|_| writes) {
            for (i, &at) in places.iter().enumerate() {
                index.insert(old.string(part, at).to_vec(), i as u32);
            }
        }
        Names {
            old: places,
            index,
            part,
            last: -1,
            spelled: Vec::new(),
            m: NameModels::default(),
            history: 0,
        }
    }

    /// Bytes of memory held, models included.
    pub fn memory(&self) -> u64 {
        (self.old.len() * 4) as u64 + self.m.byte.memory() + self.m.prefix.memory()
    }

    /// Position of the old string that was coded last.
    pub fn last(&self) -> Option<u32> {
        self.old.get(usize::try_from(self.last).ok()?).copied()
    }

    /// Position of the string behind the last one.
    pub fn next(&self) -> Option<u32> {
        self.old.get(usize::try_from(self.last + 1).ok()?).copied()
    }

    /// Codes a name; `expected` is the position of the old one that should be it.
    pub fn code<S: Symbols>(
        &mut self,
        s: &mut S,
        kind: u32,
        old: Option<&GoTable>,
        expected: Option<u32>,
        truth: Option<&[u8]>,
    ) -> Result<Vec<u8>> {
        let part = self.part;
        let old_name = |at: u32| old.map_or(&[][..], |o| o.string(part, at));
        if let Some(at) = expected {
            let guess = old_name(at);
            let hit = self.m.hit(s, kind, self.history, truth == Some(guess));
            self.history = self.history << 1 | u32::from(!hit);
            if hit {
                if let Ok(i) = self.old.binary_search(&at) {
                    self.last = i as i64;
                }
                return Ok(guess.to_vec());
            }
        }
        let known = truth.and_then(|t| self.index.get(t)).copied();
        let way = match known {
            Some(i) if i64::from(i) == self.last + 1 => NEXT,
            Some(_) => OLD,
            None => NEW,
        };
        let damaged = Error::damaged("a name is not there");
        let index = match self.m.way(s, kind, expected.is_some(), way) {
            NEXT => self.last + 1,
            OLD => {
                let away = self.m.away(s, kind, i64::from(known.unwrap_or(0)) - self.last);
                self.last.saturating_add(away)
            }
            _ => return self.spell(s, truth.unwrap_or_default()),
        };
        let found = usize::try_from(index)
            .ok()
            .filter(|&i| i < self.old.len())
            .ok_or(damaged)?;
        self.last = found as i64;
        Ok(old_name(self.old[found]).to_vec())
    }

    fn spell<S: Symbols>(&mut self, s: &mut S, truth: &[u8]) -> Result<Vec<u8>> {
        let common = truth
            .iter()
            .zip(&self.spelled)
            .take_while(|(a, b)| a == b)
            .count();
        let common = self.m.prefix(s, self.spelled.len(), common as u64);
        let common = usize::try_from(common)
            .unwrap_or(usize::MAX)
            .min(self.spelled.len());
        let mut name = self.spelled[..common].to_vec();
        loop {
            let tail = |n: usize| {
                let from = name.len().saturating_sub(n);
                name[from..].iter().fold(n as u32, |h, &b| hash(h, u32::from(b)))
            };
            let known = truth.get(name.len()).copied().unwrap_or(0);
            let byte = self.m.byte(s, [tail(1), tail(2), tail(4)], known);
            if byte == 0 {
                break;
            }
            name.push(byte);
            if name.len() > LONGEST || s.exhausted() {
                return Err(Error::damaged("a name does not end"));
            }
        }
        self.spelled.clone_from(&name);
        Ok(name)
    }
}
