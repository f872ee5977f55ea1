//! Where the last instructions stood before, in the old file or in new code, and what followed them there.

use super::Listing;
use crate::budget::{Budget, Keep, Lent};
use crate::code::{digest, hash};
use crate::error::Result;
use crate::file_view::FileView;
use crate::layout::CodeMap;
use crate::machine::{Machine, Scanner};
use crate::place::UnitId;

/// Instructions that a place in the old file must share with those just coded.
const OLD_GRAM: usize = 3;
/// The same for new code.
const NEW_GRAM: usize = 2;
const OLD_BITS: u32 = 20;
const NEW_BITS: u32 = 18;
/// Instructions in a row that make a trail a long one.
const LONG: u32 = 8;
/// Bytes of new code remembered.
const RING: usize = 1 << 20;
/// Literal instructions before the old file is worth an index.
const WORTH_AN_INDEX: u32 = 1000;
/// Bytes compared to tell how long a place in new code agrees.
const LOOK_BACK: usize = 32;

/// What an earlier place says comes next.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Instructions in a row that it got right; 0 if there is no trail.
    pub hits: u32,
    /// The instruction that it expects, and maybe more.
    pub expected: [u8; 16],
    /// Length of the expected instruction; not known of new code.
    len: usize,
    at: usize,
}

/// The new code so far.
#[derive(Debug, Default)]
struct NewCode {
    /// Where the last run of [`NEW_GRAM`] instructions of a hash ended.
    index: Vec<u32>,
    /// The code, by position modulo its size.
    ring: Vec<u8>,
    written: usize,
}

impl Keep for NewCode {
    fn memory(&self) -> u64 {
        (self.index.len() * 4 + self.ring.len()) as u64
    }
}

/// Finds and follows trails.
pub struct Recall<'b> {
    machine: Machine,
    /// Where the last run of [`OLD_GRAM`] instructions of a hash starts in the old file.
    old_index: Vec<u32>,
    /// More of that hash, so that few places are read in vain.
    old_checks: Vec<u8>,
    code: Lent<'b, NewCode>,
    /// Where the last instructions start, newest first.
    starts: [usize; OLD_GRAM],
    literals: u32,
    /// A trail in the old file.
    pub old: Trail,
    /// A trail in new code.
    pub new: Trail,
}

fn key(tokens: &[u32]) -> u32 {
    tokens
        .iter()
        .fold(tokens.len() as u32, |h, &t| hash(h.rotate_left(7), t))
}

impl<'b> Recall<'b> {
    /// Remembers nothing, or the new code of the images before.
    pub fn new(machine: Machine, account: &'b Budget) -> Self {
        let code = account.lend::<NewCode>();
        Recall {
            machine,
            old_index: Vec::new(),
            old_checks: Vec::new(),
            starts: [code.written; OLD_GRAM],
            code,
            literals: 0,
            old: Trail::default(),
            new: Trail::default(),
        }
    }

    /// What comes next is of this instruction set.
    pub fn enter(&mut self, machine: Machine) {
        self.machine = machine;
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.old_index.len() * 4 + self.old_checks.len()) as u64 + self.code.memory()
    }

    fn index_old(&mut self, file: &FileView, map: &CodeMap) -> Result<()> {
        self.old_index = vec![0; 1 << OLD_BITS];
        self.old_checks = vec![0; 1 << OLD_BITS];
        let mut listing = Listing::new(self.machine);
        for (i, unit) in map.units.iter().enumerate() {
            listing.load(self.machine, file, UnitId::of(i as u32), *unit)?;
            let mut tokens = [0; OLD_GRAM];
            for k in 0..listing.len() {
                tokens = [digest(listing.token(k)), tokens[0], tokens[1]];
                if k + 1 >= OLD_GRAM {
                    let start = listing.at + listing.starts[k + 1 - OLD_GRAM];
                    let key = key(&tokens);
                    self.old_index[(key >> (32 - OLD_BITS)) as usize] = start.0;
                    self.old_checks[(key >> (32 - OLD_BITS)) as usize] = key as u8;
                }
            }
        }
        Ok(())
    }

    /// Goes past an instruction, which is old code that is repeated, or new.
    pub fn pass(&mut self, masked: &[u8], repeated: bool, file: &FileView) -> Result<()> {
        if self.code.ring.is_empty() {
            self.code.ring = vec![0; RING];
            self.code.index = vec![0; 1 << NEW_BITS];
        }
        let followed = |trail: &Trail| trail.hits > 0 && trail.expected.starts_with(masked);
        self.new.hits = if followed(&self.new) { self.new.hits + 1 } else { 0 };
        self.new.at += masked.len();
        self.old.hits = if followed(&self.old) && self.old.len == masked.len() {
            self.old.hits + 1
        } else {
            0
        };
        self.old.at += masked.len();
        if self.old.hits > 0 {
            self.foresee_old(file)?;
        }
        self.starts = [self.code.written, self.starts[0], self.starts[1]];
        let at = self.code.written % RING;
        match self.code.ring.get_mut(at..at + masked.len()) {
            Some(room) => room.copy_from_slice(masked),
            None => {
                for (i, &b) in masked.iter().enumerate() {
                    self.code.ring[(at + i) % RING] = b;
                }
            }
        }
        self.code.written += masked.len();
        self.find_new(repeated);
        Ok(())
    }

    /// Sixteen bytes of new code from a position on.
    fn new_code(&self, at: usize) -> [u8; 16] {
        let at = at % RING;
        match self.code.ring[at..].first_chunk() {
            Some(bytes) => *bytes,
            None => std::array::from_fn(|i| self.code.ring[(at + i) % RING]),
        }
    }

    /// Hashes of the last instructions, newest first.
    fn tokens(&self) -> [u32; OLD_GRAM] {
        let mut end = self.code.written;
        self.starts.map(|start| {
            let len = (end - start).min(16);
            end = start;
            digest(&self.new_code(start)[..len])
        })
    }

    /// Follows new code, or finds where in it the last instructions stood before.
    fn find_new(&mut self, repeated: bool) {
        // What is repeated can be found where it stands in the old file.
        let (mut before, here) = (0, self.code.written);
        if !repeated {
            let key = key(&self.tokens()[..NEW_GRAM]);
            let slot = &mut self.code.index[(key >> (32 - NEW_BITS)) as usize];
            before = *slot as usize;
            *slot = here as u32;
        }
        let in_ring = before > 0 && here.wrapping_sub(before) < RING - 2 * LOOK_BACK;
        if self.new.hits == 0 && in_ring {
            let back = |at: usize, k: usize| self.code.ring[(at - 1 - k) % RING];
            let alike = (0..LOOK_BACK.min(before))
                .take_while(|&k| back(before, k) == back(here, k))
                .count();
            if alike >= here - self.starts[NEW_GRAM - 1] {
                self.new.hits = NEW_GRAM as u32 + alike as u32 / 16;
                self.new.at = before;
            }
        }
        if self.new.hits > 0 {
            self.new.expected = self.new_code(self.new.at);
        }
    }

    fn foresee_old(&mut self, file: &FileView) -> Result<()> {
        let mut bytes = [0u8; 16];
        let left = file.len().saturating_sub(self.old.at as u64).min(16) as usize;
        file.read(self.old.at as u64, &mut bytes[..left])?;
        let (insn, field) = Scanner::new(self.machine).look(&bytes[..left], 0);
        let len = usize::from(insn.len());
        if let Some((field, _)) = field {
            self.machine.blank(field.kind, &mut bytes[..len], field.at);
        }
        (self.old.expected, self.old.len) = (bytes, len);
        if len == 0 {
            self.old.hits = 0;
        }
        Ok(())
    }

    /// The blanked instruction that a long trail says comes next, its length, and how long the trail is.
    pub fn likely(&self, scanner: &Scanner, room: usize) -> Option<([u8; 16], usize, u32)> {
        let trail = if self.old.hits >= self.new.hits {
            &self.old
        } else {
            &self.new
        };
        if trail.hits < LONG {
            return None;
        }
        let mut bytes = trail.expected;
        let (insn, field) = scanner.look(&bytes, 0);
        let len = usize::from(insn.len());
        if len > room || !insn.known() {
            return None;
        }
        if let Some((field, _)) = field {
            self.machine.blank(field.kind, &mut bytes[..len], field.at);
        }
        Some((bytes, len, trail.hits))
    }

    /// Before a literal instruction: finds where in the old file the last instructions stand, unless there is a
    /// trail already.
    pub fn find(&mut self, file: &FileView, map: &CodeMap) -> Result<()> {
        self.literals = self.literals.saturating_add(1);
        if self.literals == WORTH_AN_INDEX {
            self.index_old(file, map)?;
        }
        if self.old.hits > 0 || self.old_index.is_empty() {
            return Ok(());
        }
        let key = key(&self.tokens());
        let slot = (key >> (32 - OLD_BITS)) as usize;
        let place = self.old_index[slot];
        if place == 0 || self.old_checks[slot] != key as u8 {
            return Ok(());
        }
        let mut bytes = [0u8; 16 * OLD_GRAM];
        let room = file
            .len()
            .saturating_sub(u64::from(place))
            .min(bytes.len() as u64) as usize;
        file.read(u64::from(place), &mut bytes[..room])?;
        let mut scanner = Scanner::new(self.machine);
        let mut p = 0;
        let mut ends = [self.code.written; OLD_GRAM + 1];
        ends[1..].copy_from_slice(&self.starts);
        for k in (0..OLD_GRAM).rev() {
            let (insn, field) = scanner.look(&bytes[p..room], p as u64);
            scanner.pass(&insn, &bytes[p..room], p as u64);
            let end = p + usize::from(insn.len());
            if let Some((field, _)) = field {
                self.machine.blank(field.kind, &mut bytes[p..end], field.at);
            }
            let new = ends[k + 1]..ends[k];
            if end == p
                || new.len() != end - p
                || !new.zip(p..).all(|(r, c)| self.code.ring[r % RING] == bytes[c])
            {
                return Ok(());
            }
            p = end;
        }
        self.old.hits = OLD_GRAM as u32;
        self.old.at = place as usize + p;
        self.foresee_old(file)
    }
}
