//! What each way of making a patch takes of memory, from sizes alone: no way is begun that a limit might not hold.
//!
//! Measured as the most that a process of the command held (its resident set), on pairs from 1 MB to 1 GB of programs,
//! kernels, plain bytes, and bytes that suit a way badly; rounded up. What a model holds that these do not foresee is
//! refused by the account of the run, and the way is given up.

use super::{Frame, Job};
use crate::code::MAX_SEGMENTS;
use crate::packed::Bounds;
use crate::{Limits, Options, Way, threads};
use std::cell::Cell;

/// Bytes of memory that [`crate::diff()`] takes for two files, the files themselves and a process around it included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// The least limit that it works with: the patch is then the new file as it is, packed with little memory.
    pub least: u64,
    /// A limit at which nothing is left out of two files of which one at least is no ELF file, and in which nothing is
    /// packed and no ELF file stands.
    pub plain: u64,
    /// A limit at which no way is left out and nothing is done in fewer threads or segments, if nothing in the files is
    /// packed; what is packed counts by its size once it is unpacked.
    pub all: u64,
}

impl Options<'_> {
    /// What [`crate::diff()`] takes of memory for files of these sizes, in bytes, with these options.
    ///
    /// ```
    /// let options = elfdelta::Options::default();
    /// let needs = options.needs(1 << 20, 1 << 20);
    /// assert!(needs.least < needs.all);
    /// let more = elfdelta::diff(b"old", b"new", &options.memory(1), &elfdelta::Silent);
    /// assert!(matches!(more, Err(elfdelta::Error::OverLimit { .. })));
    /// ```
    pub fn needs(&self, old: u64, new: u64) -> Needs {
        let files = self.files(old, new);
        let takes = |way| {
            // A way is begun while the best patch so far is held: where nothing is packed, of corrections in place.
            let held = if way == Way::Whole { new } else { IN_PLACE_PATCH };
            Room::full(self).takes(way, old, new).saturating_add(held)
        };
        let most = |ways: &[Way]| ways.iter().map(|&way| takes(way)).max().unwrap_or(0);
        let plain = most(&[Way::Packed, Way::InPlace, Way::Generic, Way::Whole]);
        // Where the models for ELF files do badly, plain covers are made beside a patch of theirs.
        let beside = Room::full(self).takes(Way::Generic, old, new).saturating_add(new);
        Needs {
            least: files.saturating_add(Frame::LEAST.takes(new)),
            plain: files.saturating_add(plain),
            all: files.saturating_add(plain.max(takes(Way::Elf)).max(beside)),
        }
    }

    /// What is held in any case: a process, both files and those of debug symbols.
    pub(super) fn files(&self, old: u64, new: u64) -> u64 {
        let symbols = self
            .symbols
            .map_or(0, |(old, new)| old.len() as u64 + new.len() as u64);
        [PROCESS, old, new, symbols]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// What `apply` holds beside a codec, in bytes: what is made by default is applied within the default limit.
const BESIDE_CODEC: u64 = 32 << 20;

/// A process of the command before it does anything, with room for what its allocator keeps.
const PROCESS: u64 = 12 << 20;

/// What a way holds for each byte of the old and of the new file in sixteenths, and whatever their size.
struct Rate {
    old: u64,
    new: u64,
    always: u64,
}

impl Rate {
    fn of(&self, old: u64, new: u64) -> u64 {
        let old = (old / 16 + 1).saturating_mul(self.old);
        let new = (new / 16 + 1).saturating_mul(self.new);
        old.saturating_add(new).saturating_add(self.always)
    }
}

/// Both files are copied, and one of them is opened twice; what is packed comes beside, see [`Job::bounds`].
const LOOK: Rate = Rate {
    old: 32,
    new: 16,
    always: 4 << 20,
};
const IN_PLACE: Rate = Rate {
    old: 0,
    new: 8,
    always: 32 << 20,
};
/// The largest patch of corrections in place, of which there are few.
const IN_PLACE_PATCH: u64 = 1 << 18;
/// Most of it indexes the data; while the aligner works, less is held.
const ELF: Rate = Rate {
    old: 80,
    new: 80,
    always: 16 << 20,
};
/// What each thread that aligns holds beside.
const THREAD: u64 = 4 << 20;
/// What each segment of code but the first one holds in the check.
const SEGMENT: u64 = 24 << 20;
/// The index of plain bytes, beside its heads.
const INDEX: Rate = Rate {
    old: 64,
    new: 0,
    always: 0,
};
/// Covers, and what is coded by them; a literal stands in a stream, in the patch and in a recipe.
const COVERED: Rate = Rate {
    old: 0,
    new: 56,
    always: 32 << 20,
};
const COVERS: Rate = Rate {
    old: 0,
    new: 16,
    always: 8 << 20,
};
/// Most bytes of the heads of an index, and for each byte that is indexed.
const HEADS: u64 = 32 << 20;
const HEADS_PER_BYTE: u64 = 4;

/// The heads of an index of so many bytes.
fn heads(indexed: u64) -> u64 {
    HEADS.min(indexed.saturating_mul(HEADS_PER_BYTE))
}

/// How far a way goes with the memory that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub threads: usize,
    pub segments: usize,
}

impl Room {
    /// As the options say.
    pub fn full(options: &Options) -> Room {
        Room {
            threads: threads::count(options.threads),
            segments: options.segments.clamp(1, MAX_SEGMENTS),
        }
    }

    /// One thread, one segment.
    pub fn least() -> Room {
        Room {
            threads: 1,
            segments: 1,
        }
    }

    /// The most threads, and then the most segments, with which the models for ELF files take no more than `room`.
    pub fn within(options: &Options, room: u64, (old, new): (u64, u64)) -> Option<Room> {
        let fits = |with: &Room| with.takes(Way::Elf, old, new) <= room;
        let full = Room::full(options);
        let threads = (1..=full.threads).rev().map(|threads| Room { threads, ..full });
        let segments = (1..full.segments)
            .rev()
            .map(|segments| Room { threads: 1, segments });
        threads.chain(segments).find(fits)
    }

    /// What a way takes beside both files.
    pub fn takes(&self, way: Way, old: u64, new: u64) -> u64 {
        match way {
            Way::Elf => {
                let threads = (self.threads as u64).saturating_mul(THREAD);
                let segments = (self.segments as u64 - 1).saturating_mul(SEGMENT);
                let more = heads(old).saturating_add(threads).saturating_add(segments);
                ELF.of(old, new).saturating_add(more)
            }
            Way::InPlace => IN_PLACE.of(old, new),
            Way::Generic => {
                let index = INDEX.of(old, new).saturating_add(heads(old));
                let coding = COVERED.of(old, new);
                index.max(coding).saturating_add(COVERS.of(old, new))
            }
            Way::Packed => LOOK.of(old, new),
            Way::Whole => Frame::BEST.takes(new),
        }
    }
}

impl Job<'_> {
    /// What looking for packed files may take. What is unpacked is coded through other ways, of which each takes some of
    /// its size: so much of what is left stays theirs, and a codec has what no text takes by then.
    pub(super) fn bounds(&self) -> Bounds<'static> {
        let wanted = match self.task.options.apply_memory {
            0 => Limits::default().memory - BESIDE_CODEC,
            memory => memory,
        };
        let left = self
            .room
            .saturating_sub(LOOK.of(self.old.len() as u64, self.new.len() as u64));
        let inside = (left - wanted.min(left / 2)) / 4;
        Bounds {
            memory: left,
            wanted,
            inside: usize::try_from(inside).unwrap_or(usize::MAX),
            lacked: Cell::new(false),
            stop: &|| false,
        }
    }
}
