//! Words of Go's data that hold addresses or offsets, told through the map from old to new addresses.
//!
//! A static executable has no relocations, and type descriptors hold offsets of four bytes from the start of
//! the types or of the code; so words are taken for what they may be, and a symbol says what each is where
//! that matters. Source: `internal/abi/type.go` (`NameOff`, `TypeOff`, `TextOff`), `runtime/type.go`.

use super::reader::{address, pointer_of};
use super::{Bases, base};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::data::Cover;
use crate::elf::Elf;
use crate::error::Result;
use crate::layout::OldImage;
use crate::predict::{AddressMap, Guess, Locals, Site, TargetModels};
use crate::tables::{BYTE_MODELS, Made, Spent, Table, TableModel, World};
use std::collections::HashMap;

/// Kind of site that target prediction tells apart.
const POINTER: u32 = 48;

/// What a word turned out to be.
const OTHER: u32 = 0;
const DATA: u32 = 1;
const TEXT: u32 = 2;
const SPELLED: u32 = 3;

/// Words below are numbers more often than offsets.
const FAR: u32 = 0x400;

symbols! {
    /// Words of data. `h`: what the last words were, four bits each, the last one lowest: 1 zero, 2 in no range, else by
    /// size 3 below 0x100, 4 below 0x10000, 5 above; if it would move 8 plus what it was told as (3 as 1, that is 9); a
    /// pointer is 15, and 14 its upper word if it has one. `section`: its number.
    struct WordModels {
        pointer(12, 255) {
            /// An old pointer is one now.
            pointer: flag by(h: u32, section: u32) [hash(1, h & 0xff), hash(2, h & 0xffff), hash(3, section)];
        }
        half(18, 255) {
            /// What a word is: 0 neither, 1 an offset into the data, 2 one into the code, 3 one into the data told as a
            /// target. `able`: 1 if it could be one into the data, plus 2 if that would move, plus 4 times what it is in
            /// `h`; `here`: file offset.
            half: tree(2) by(able: u32, h: u32, section: u32, here: u32)
                [
                    hash(hash(1, able), h & 0xff),
                    hash(hash(2, able), h & 0xffff),
                    hash(hash(3, able), h),
                    hash(hash(4, able), section << 3 | here & 7),
                    hash(hash(5, able), h & 0xfff | (here & 7) << 16),
                ];
        }
    }
}

/// On the writing side: the old bytes with words as they should be in the new file, going by `map`.
///
/// What words are is learned from what the covers set against them, by what stands before them.
pub fn renewed(
    old: &OldImage,
    new: &OldImage,
    covers: &[Cover],
    map: &AddressMap,
    (was, is): (&[u8], &[u8]),
) -> Vec<u8> {
    let words = Words::of(&old.elf, &new.elf);
    let mut counts: HashMap<u32, [u32; 3]> = HashMap::new();
    let key = |history: u32, at: u32| (history & 0xffff) << 1 | at >> 2 & 1;
    let word = |bytes: &[u8], at: usize| {
        bytes
            .get(at..at + 4)
            .map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
    };
    let points =
        |at: usize, w: u32| words.may_point(at, word(was, at + 4)) && old.addresses.range_of(w).is_some();
    for cover in covers.iter().filter(|c| c.new_at.wrapping_sub(c.old_at) % 4 == 0) {
        let mut history = 0u32;
        let mut at = (cover.old_at as usize).next_multiple_of(4);
        let end = (cover.old_at + cover.len) as usize;
        while at + 4 <= end {
            let Some(w) = word(was, at) else { break };
            if points(at, w) {
                history = words.pointed(history);
                at += words.pointer;
                continue;
            }
            let now = word(is, at + cover.new_at as usize - cover.old_at as usize);
            let (data, text) = words.guesses(w, |a| map.guess(a));
            let mut class = class(w, data, text);
            if data.is_some() || text.is_some() {
                let kind = match now {
                    Some(n) if n == w => OTHER,
                    Some(_) if now == data => DATA,
                    Some(_) if now == text => TEXT,
                    _ => OTHER,
                };
                let moved = data.is_some_and(|d| d != w) || text.is_some_and(|t| t != w);
                if moved {
                    counts.entry(key(history, at as u32)).or_default()[kind as usize] += 1;
                    class = 8 + kind;
                }
            }
            history = history << 4 | class;
            at += 4;
        }
    }
    let mut out = was.to_vec();
    let links = old.elf.section(b".typelink");
    for range in old.addresses.ranges() {
        let Some(offset) = range.offset else { continue };
        if old.code.section_at(offset).is_some() {
            continue;
        }
        let mut history = 0u32;
        let mut at = (offset as usize).next_multiple_of(4);
        let end = offset as usize + range.len as usize;
        while at + 4 <= end {
            let Some(w) = word(was, at) else { break };
            if words.pointers && points(at, w) {
                out[at..at + 4].copy_from_slice(&map.guess(w).to_le_bytes());
                history = words.pointed(history);
                at += words.pointer;
                continue;
            }
            let (data, text) = words.guesses(w, |a| map.guess(a));
            let mut class = class(w, data, text);
            if data.is_some_and(|d| d != w) || text.is_some_and(|t| t != w) {
                let [other, as_data, as_text] =
                    counts.get(&key(history, at as u32)).copied().unwrap_or_default();
                let (kind, now) = if links == Some(range.section as usize) || as_data > other + as_text {
                    (DATA, data)
                } else if as_text > other + as_data {
                    (TEXT, text)
                } else {
                    (OTHER, None)
                };
                if let Some(now) = now {
                    out[at..at + 4].copy_from_slice(&now.to_le_bytes());
                }
                class = 8 + kind;
            }
            history = history << 4 | class;
            at += 4;
        }
    }
    out
}

/// What offsets count from, and how far they go.
#[derive(Clone, Copy)]
struct Words {
    bases: Bases,
    sizes: (u32, u32),
    pointers: bool,
    /// Bytes of a pointer.
    pointer: usize,
}

impl Words {
    fn of(old: &Elf, new: &Elf) -> Words {
        let size = |name: &[u8]| {
            old.section(name)
                .map_or(0, |i| old.sections[i].size.min(u64::from(u32::MAX)) as u32)
        };
        Words {
            bases: Bases {
                module: (0, 0),
                text: (base(old, b".text"), base(new, b".text")),
                data: (base(old, b".rodata"), base(new, b".rodata")),
            },
            sizes: (size(b".rodata"), size(b".text")),
            pointers: true,
            pointer: pointer_of(new),
        }
    }

    /// Whether a pointer may stand at a place, by the word behind: addresses are below 4 GiB.
    fn may_point(&self, at: usize, behind: Option<u32>) -> bool {
        self.pointer == 4 || at.is_multiple_of(8) && behind == Some(0)
    }

    /// What words were, with a pointer behind them.
    fn pointed(&self, history: u32) -> u32 {
        match self.pointer {
            4 => history << 4 | 0xf,
            _ => history << 8 | 0xfe,
        }
    }

    /// What a word should be now as an offset in the data, and as one in the code.
    fn guesses(&self, old: u32, project: impl Fn(u32) -> u32) -> (Option<u32>, Option<u32>) {
        let guess = |size: u32, base: (u32, u32)| {
            (old > 0 && old < size).then(|| project(base.0.wrapping_add(old)).wrapping_sub(base.1))
        };
        (
            guess(self.sizes.0, self.bases.data),
            guess(self.sizes.1, self.bases.text),
        )
    }
}

/// What a word looks like.
fn class(old: u32, data: Option<u32>, text: Option<u32>) -> u32 {
    match old {
        0 => 1,
        _ if data.is_none() && text.is_none() => 2,
        _ if old < 0x100 => 3,
        _ if old < 0x1_0000 => 4,
        _ => 5,
    }
}

/// The words of a Go file.
#[derive(Debug)]
pub struct GoWords;

impl<'w> TableModel<'w> for GoWords {
    const STREAMS: &'static [(Stream, Spent)] = &[(Stream::Go, Spent::Parts("(words of Go's data)"))];
    const MODELS: u64 = BYTE_MODELS;

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<GoWords>> {
        Ok(crate::elf::go::section(world.elf).map(|_| GoWords))
    }

    fn finish<S: Symbols>(
        self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        code(streams.get(Stream::Go), world, made)
    }
}

/// Tells the words of all generic sections of a Go file that stand under covers.
fn code<S: Symbols>(s: &mut S, world: &mut World, made: &mut Made) -> Result<()> {
    let words = Words {
        pointers: world.choices.sections(Table::Relocations).next().is_none(),
        ..Words::of(&world.old.elf, world.elf)
    };
    let (mut m, mut targets) = (WordModels::default(), TargetModels::default());
    // What the last words were, four bits each.
    let mut history = 0u32;
    let size = world
        .elf
        .section(b".rodata")
        .map_or(0, |i| world.elf.sections[i].size as u32);
    let mut old_bytes = Vec::new();
    for cover in world.covers {
        if cover.new_at.wrapping_sub(cover.old_at) % 4 != 0 {
            continue;
        }
        let Some(range) = world
            .addresses
            .ranges()
            .iter()
            .find(|r| r.offset.is_some_and(|o| cover.new_at.wrapping_sub(o) < r.len))
        else {
            continue;
        };
        let skip = cover.new_at.wrapping_neg() % 4;
        let Some(len) = cover.len.checked_sub(skip) else {
            continue;
        };
        let first = cover.new_at + skip;
        let addr = range.addr + (first - range.offset.unwrap_or(0));
        let section = range.section;
        world.account.go_on(u64::from(len) / 16)?;
        world.account.fits(u64::from(len))?;
        old_bytes.resize(len as usize & !3, 0);
        world
            .old
            .file
            .read(u64::from(cover.old_at + skip), &mut old_bytes)?;
        let word = |at: usize| {
            let bytes = old_bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let mut at = 0;
        while let Some(old) = word(at) {
            let here = first + at as u32;
            let truth = world.truth.map(|t| &t[here as usize..]);
            let high = word(at + 4);
            let is_pointer = words.pointers
                && words.may_point(here as usize, high)
                && world.old.addresses.range_of(old).is_some();
            if is_pointer {
                let known = truth.and_then(|t| address(t, words.pointer)).unwrap_or(0);
                let small = u32::try_from(known).ok();
                let fits = small.is_some_and(|k| world.addresses.range_of(k).is_some());
                if m.pointer(s, history, section, fits) {
                    let site = Site {
                        kind: POINTER,
                        head: section,
                        addr: addr + at as u32,
                        unit: (0, 0),
                        index: 0,
                        same: true,
                        long_form: false,
                    };
                    let guess = Guess {
                        old_target: Some(old),
                        local: None,
                        ..Guess::default()
                    };
                    let target = world.targets.code(
                        s,
                        &mut targets,
                        &site,
                        guess,
                        &mut Locals::default(),
                        small.unwrap_or(0),
                    )?;
                    made.known
                        .add(here, &u64::from(target).to_le_bytes()[..words.pointer]);
                    history = words.pointed(history);
                    at += words.pointer;
                    continue;
                }
            }
            let project = |addr: u32| {
                let learned = world.targets.remap().get(addr).map(|l| l.target);
                learned.unwrap_or_else(|| world.targets.map().guess(addr))
            };
            let (data, text) = words.guesses(old, project);
            let matters = |guess: Option<u32>| guess.is_some_and(|g| g != old);
            let mut class = class(old, data, text);
            if matters(data) || matters(text) {
                let known = truth.map(|t| u32::from_le_bytes([t[0], t[1], t[2], t[3]]));
                let kind = match known {
                    Some(k) if k == old => OTHER,
                    Some(_) if known == data => DATA,
                    Some(_) if known == text => TEXT,
                    Some(k) if data.is_some() && old >= FAR && k >= FAR && k < size => SPELLED,
                    _ => OTHER,
                };
                let able = u32::from(data.is_some()) | u32::from(matters(data)) << 1 | class << 2;
                let kind = m.half(s, able, history, section, here, kind);
                match (kind, data, text) {
                    (DATA, Some(now), _) | (TEXT, _, Some(now)) => {
                        made.known.add(here, &now.to_le_bytes());
                        class = 8 + kind;
                    }
                    (SPELLED, Some(_), _) => {
                        let site = Site {
                            kind: POINTER + 1,
                            addr: addr + at as u32,
                            same: true,
                            ..Site::default()
                        };
                        let guess = Guess {
                            old_target: Some(words.bases.data.0.wrapping_add(old)),
                            local: None,
                            ..Guess::default()
                        };
                        let known = known.map_or(0, |k| k.wrapping_add(words.bases.data.1));
                        let target = world.targets.code(
                            s,
                            &mut targets,
                            &site,
                            guess,
                            &mut Locals::default(),
                            known,
                        )?;
                        made.known
                            .add(here, &target.wrapping_sub(words.bases.data.1).to_le_bytes());
                        class = 8 + DATA;
                    }
                    _ => class = 8,
                }
            }
            history = history << 4 | class;
            at += 4;
        }
        if s.exhausted() {
            return Err(crate::Error::DamagedPatch("the words of Go's data end too early"));
        }
    }
    Ok(())
}
