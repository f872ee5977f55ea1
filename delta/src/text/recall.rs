//! Where the last instructions stood before, in the old file or in new code, and what followed them there.

use crate::code::hash;
use crate::error::Result;
use crate::file_view::FileView;
use crate::layout::CodeMap;
use crate::machine::{Machine, Scanner};

/// Instructions that a place in the old file must share with what was just coded.
const OLD_GRAM: usize = 3;
/// The same for new code.
const NEW_GRAM: usize = 2;
const RING: usize = 1 << 22;
/// Size of the index of old code, as a power of two.
const OLD_INDEX_BITS: u32 = 21;

/// A hash of one blanked instruction.
fn token(masked: &[u8]) -> u32 {
    let mut low = [0u8; 8];
    let mut high = [0u8; 8];
    let n = masked.len().min(8);
    low[..n].copy_from_slice(&masked[..n]);
    let rest = masked.len().saturating_sub(8).min(8);
    high[..rest].copy_from_slice(&masked[8.min(masked.len())..][..rest]);
    let mix = |x: u64| (x ^ x >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mix(mix(u64::from_le_bytes(low) ^ (masked.len() as u64) << 59) ^ u64::from_le_bytes(high)) >> 32) as u32
}

#[derive(Clone, Copy, Debug, Default)]
struct Grams([u32; 6]);

impl Grams {
    fn pass(&mut self, token: u32) {
        self.0.copy_within(0..5, 1);
        self.0[0] = token;
    }
    fn key(&self, n: usize) -> u32 {
        self.0[..n]
            .iter()
            .fold(n as u32, |h, &t| hash(h.rotate_left(7), t))
    }
}

/// What an earlier place says comes next.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Instructions in a row that it got right; 0 if there is no trail.
    pub hits: u32,
    at: u64,
    /// The instruction that it expects.
    pub expected: [u8; 16],
    /// Length of the expected instruction.
    pub len: usize,
}

/// Finds and follows trails.
#[derive(Debug)]
pub struct Recall {
    machine: Machine,
    old_index: Vec<u32>,
    new_index: Vec<u32>,
    ring: Vec<u8>,
    written: usize,
    /// Where in the ring the last instructions start, newest first.
    starts: [usize; 6],
    grams: Grams,
    /// A trail in the old file.
    pub old: Trail,
    /// A trail in new code.
    pub new: Trail,
}

impl Recall {
    /// Remembers nothing.
    pub fn new(machine: Machine) -> Self {
        Recall {
            machine,
            old_index: Vec::new(),
            new_index: vec![0; 1 << 20],
            ring: vec![0; RING],
            written: 0,
            starts: [0; 6],
            grams: Grams::default(),
            old: Trail::default(),
            new: Trail::default(),
        }
    }

    /// Indexes the old file's code.
    pub fn index(&mut self, file: &FileView, map: &CodeMap) -> Result<()> {
        let bits = OLD_INDEX_BITS;
        self.old_index = vec![0; 1 << bits];
        let mut listing = super::Listing::new(self.machine);
        for (i, unit) in map.units.iter().enumerate() {
            listing.load(self.machine, file, i as u32, *unit)?;
            let mut grams = Grams::default();
            for k in 0..listing.len() {
                grams.pass(token(listing.token(k)));
                if k + 1 >= OLD_GRAM {
                    let key = grams.key(OLD_GRAM);
                    self.old_index[(key >> (32 - bits)) as usize] =
                        listing.at + listing.starts[k + 1 - OLD_GRAM];
                }
            }
        }
        Ok(())
    }

    /// Goes past an instruction.
    pub fn pass(&mut self, masked: &[u8], file: &FileView) -> Result<()> {
        if self.new.hits > 0 {
            if self.new.expected[..masked.len().min(16)] == masked[..masked.len().min(16)] {
                self.new.hits += 1;
                self.new.at += masked.len() as u64;
            } else {
                self.new.hits = 0;
            }
        }
        if self.old.hits > 0 {
            if self.old.expected[..self.old.len] == *masked {
                self.old.hits += 1;
                self.old.at += masked.len() as u64;
                self.foresee_old(file)?;
            } else {
                self.old.hits = 0;
            }
        }
        self.grams.pass(token(masked));
        self.starts.copy_within(0..5, 1);
        self.starts[0] = self.written;
        for &b in masked {
            self.ring[self.written % RING] = b;
            self.written += 1;
        }
        let key = self.grams.key(NEW_GRAM);
        let slot = &mut self.new_index[(key >> 12) as usize];
        let before = *slot as usize;
        *slot = self.written as u32;
        // Remember for `find`, which comes before the next call.
        if self.new.hits == 0 && before > 0 && self.written - before < RING - 64 {
            let mut same = 0;
            while same < 32
                && same < before
                && self.ring[(before - 1 - same) % RING] == self.ring[(self.written - 1 - same) % RING]
            {
                same += 1;
            }
            if same >= self.written - self.starts[NEW_GRAM - 1] {
                self.new.hits = NEW_GRAM as u32 + same as u32 / 16;
                self.new.at = before as u64;
            }
        }
        if self.new.hits > 0 {
            for i in 0..16 {
                self.new.expected[i] = self.ring[(self.new.at as usize + i) % RING];
            }
        }
        Ok(())
    }

    fn foresee_old(&mut self, file: &FileView) -> Result<()> {
        let mut bytes = [0u8; 16];
        let n = 16.min(file.len().saturating_sub(self.old.at)) as usize;
        file.read(self.old.at, &mut bytes[..n])?;
        let (insn, field) = Scanner::new(self.machine).look(&bytes[..n], 0);
        let len = usize::from(insn.len);
        if let Some((field, _)) = field {
            self.machine.blank(field.kind, &mut bytes[..len], field.at);
        }
        (self.old.expected, self.old.len) = (bytes, len);
        if len == 0 {
            self.old.hits = 0;
        }
        Ok(())
    }

    /// Looks for trails, before an instruction is coded.
    pub fn find(&mut self, file: &FileView) -> Result<()> {
        if self.old.hits == 0 && !self.old_index.is_empty() {
            let bits = self.old_index.len().trailing_zeros();
            let place = self.old_index[(self.grams.key(OLD_GRAM) >> (32 - bits)) as usize];
            if place > 0 {
                let mut context = [0u8; 16 * OLD_GRAM];
                let room = (context.len() as u64).min(file.len().saturating_sub(u64::from(place))) as usize;
                file.read(u64::from(place), &mut context[..room])?;
                let mut p = 0;
                let mut scanner = Scanner::new(self.machine);
                let mut matching = true;
                for k in (0..OLD_GRAM).rev() {
                    let (insn, field) = scanner.look(&context[p..room], p as u64);
                    scanner.pass(&context[p..room], p as u64);
                    let end = p + usize::from(insn.len);
                    if let Some((field, _)) = field {
                        self.machine.blank(field.kind, &mut context[p..end], field.at);
                    }
                    let (from, to) = (
                        self.starts[k],
                        if k == 0 { self.written } else { self.starts[k - 1] },
                    );
                    matching = insn.len > 0
                        && to - from == end - p
                        && (from..to)
                            .zip(p..)
                            .all(|(r, c)| self.ring[r % RING] == context[c]);
                    if !matching {
                        break;
                    }
                    p = end;
                }
                if matching {
                    self.old.hits = OLD_GRAM as u32;
                    self.old.at = u64::from(place) + p as u64;
                    self.foresee_old(file)?;
                }
            }
        }
        Ok(())
    }
}
