//! Places where the bytes just coded stood before, in the old file or among the new bytes spelled out.

use crate::code::{ByteGuess, hash};
use crate::error::Result;
use crate::file_view::FileView;

/// Bytes that a place must share with those just coded.
const GRAM: usize = 6;
/// Entries of the index, as a power of two.
const BITS: u32 = 18;
/// Bytes spelled out that are remembered.
const RING: usize = 1 << 18;
/// Bytes compared to tell how long a place agrees.
const LOOK_BACK: usize = 24;
/// Wrong guesses in a short time before a place is left.
const PATIENCE: u32 = 8;

/// A place that is being followed.
#[derive(Clone, Copy, Debug, Default)]
struct Trail {
    at: usize,
    /// Bytes in a row that it got right.
    run: usize,
    /// Wrong ones of late.
    wrong: u32,
    active: bool,
}

impl Trail {
    /// Goes past a byte.
    fn pass(&mut self, right: bool) {
        self.at += 1;
        if right {
            self.run += 1;
            if self.run.is_multiple_of(16) {
                self.wrong /= 2;
            }
        } else {
            self.run = 0;
            self.wrong += 1;
            self.active &= self.wrong < PATIENCE;
        }
    }

    fn confidence(&self) -> u8 {
        let run = match self.run {
            0..16 => self.run as u8,
            16..32 => 16 + (self.run as u8 - 16) / 4,
            _ => 20,
        };
        1 + run
            + if self.wrong == 0 {
                21
            } else {
                21 * u8::from(self.wrong > 3) * 2
            }
    }
}

/// Follows earlier places, one in the new bytes.
#[derive(Debug, Default)]
pub struct Echo {
    ring: Vec<u8>,
    index: Vec<u32>,
    written: usize,
    trail: Trail,
    /// The old byte set against the one to come, by the last cover.
    beside: Option<(u64, Trail)>,
}

impl Echo {
    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.ring.len() + self.index.len() * 4) as u64
    }

    /// Nothing stands beside in another old file.
    pub fn turn(&mut self) {
        self.beside = None;
    }

    /// Sets the old bytes from `old_at` against those to come.
    pub fn beside(&mut self, old_at: u64) {
        let trail = Trail {
            at: 0,
            run: 0,
            wrong: 0,
            active: true,
        };
        self.beside = Some((old_at, trail));
    }

    /// What is expected now: by the place in new bytes, and by the old bytes beside.
    pub fn guesses(&self, old: &FileView) -> Result<[ByteGuess; 2]> {
        let mut guesses = [ByteGuess::default(); 2];
        if self.trail.active {
            guesses[0] = ByteGuess {
                byte: self.ring[self.trail.at % RING],
                confidence: self.trail.confidence(),
            };
        }
        if let Some((from, trail)) = self.beside
            && let Some(at) = from.checked_add(trail.at as u64).filter(|&at| at < old.len())
        {
            let mut byte = [0];
            old.read(at, &mut byte)?;
            guesses[1] = ByteGuess {
                byte: byte[0],
                confidence: 1 + (trail.run.min(15) as u8) + 16 * trail.wrong.min(2) as u8,
            };
        }
        Ok(guesses)
    }

    /// Goes past a byte; `guesses` is what was expected.
    pub fn pass(&mut self, byte: u8, guesses: [ByteGuess; 2]) {
        if self.ring.is_empty() {
            self.ring = vec![0; RING];
            self.index = vec![0; 1 << BITS];
        }
        if let Some((_, trail)) = &mut self.beside {
            trail.pass(guesses[1].byte == byte);
        }
        if self.trail.active {
            self.trail.pass(guesses[0].byte == byte);
        }
        self.ring[self.written % RING] = byte;
        self.written += 1;
        if self.written < GRAM {
            return;
        }
        let back = |at: usize, k: usize| self.ring[(at - 1 - k) % RING];
        let key = (0..GRAM).fold(0, |h, k| hash(h, u32::from(back(self.written, k))));
        let slot = &mut self.index[(key >> (32 - BITS)) as usize];
        let before = *slot as usize;
        *slot = self.written as u32;
        let here = self.written;
        if self.trail.active && self.trail.run > 0 || before == 0 || here - before >= RING - LOOK_BACK {
            return;
        }
        let alike = (0..LOOK_BACK.min(before))
            .take_while(|&k| back(before, k) == back(here, k))
            .count();
        if alike >= GRAM {
            self.trail = Trail {
                at: before,
                run: alike,
                wrong: 0,
                active: true,
            };
        }
    }
}
