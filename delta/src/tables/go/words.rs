//! Words of Go's data that hold addresses or offsets, coded through the map from old to new addresses.
//!
//! A static executable has no relocations, and type descriptors hold offsets of four bytes from the start of
//! the types or of the code; so words are taken for what they may be, and a symbol says what each is where
//! that matters. Source: `internal/abi/type.go` (`NameOff`, `TypeOff`, `TextOff`), `runtime/type.go`.

use super::{Bases, base};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::data::Cover;
use crate::elf::address::{Addresses, Range};
use crate::elf::{Elf, Numbers};
use crate::error::Result;
use crate::layout::OldImage;
use crate::maps::HashMap;
use crate::place::{Addr, Off, Place as _, SectionId};
use crate::predict::{AddressMap, Guess, Locals, Site, TargetModels};
use crate::tables::relocations::{self, SLOT_MEMORY};
use crate::tables::{BYTE_MODELS, Made, Spent, Table, TableModel, World};

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
    /// size 3 below 0x100, 4 below 0x10000, 5 above; if it would move 8 plus what it was coded as (3 as 1, that is 9); a
    /// pointer is 15, and 14 its upper word if it has one. `section`: its number.
    struct WordModels {
        pointer(12, 255) {
            /// An old pointer is one now.
            pointer: flag by(h: u32, section: u32) [hash(1, h & 0xff), hash(2, h & 0xffff), hash(3, section)];
        }
        half(18, 255) {
            /// What a word is: 0 neither, 1 an offset into the data, 2 one into the code, 3 one into the data coded as a
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

/// Both files, on the writing side.
pub struct Files<'f> {
    /// The old one.
    pub old: &'f OldImage<'f>,
    /// The new one.
    pub new: &'f OldImage<'f>,
    /// Their bytes.
    pub bytes: (&'f [u8], &'f [u8]),
    /// Old words that relocations fill, ascending, with their targets, where a table of them is modelled.
    pub slots: Option<&'f [(Addr, Addr)]>,
}

/// On the writing side: the old bytes with words as they should be in the new file, going by `map`.
///
/// What words are is learned from what the covers set against them, by what stands before them.
pub fn renewed(files: &Files, covers: &[Cover], map: &AddressMap) -> Vec<u8> {
    let Files { old, new, .. } = *files;
    let (was, is) = files.bytes;
    let words = Words::of(&old.elf, &new.elf);
    let mut counts: HashMap<u32, [u32; 3]> = HashMap::default();
    let key = |history: u32, at: u32| (history & 0xffff) << 1 | at >> 2 & 1;
    let (from, to) = (old.elf.numbers, new.elf.numbers);
    let points = |at: usize| {
        if let Some(slots) = files.slots {
            let addr = old.addresses.addr(Off(at as u32))?;
            let slot = slots.binary_search_by_key(&addr, |s| s.0).ok()?;
            return Some(slots[slot].1);
        }
        let pointer = words.pointer(from, at, was.get(at..).unwrap_or_default());
        pointer.filter(|&addr| old.addresses.range_of(addr).is_some())
    };
    for cover in covers.iter().filter(|c| c.new_at.since(c.old_at) % 4 == 0) {
        let mut history = 0u32;
        let mut at = cover.old_at.index().next_multiple_of(4);
        let end = (cover.old_at + cover.len).index();
        while at + 4 <= end {
            let Some(w) = from.word(was, at) else { break };
            if points(at).is_some() {
                history = words.pointed(history);
                at += words.pointer;
                continue;
            }
            let now = to.word(is, at + cover.new_at.index() - cover.old_at.index());
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
    let links = links.or_else(|| old.elf.section(RELOCATED_LINKS));
    for range in old.addresses.ranges() {
        let Some(offset) = range.offset else { continue };
        if old.code.section_at(offset).is_some() {
            continue;
        }
        let mut history = 0u32;
        let mut at = offset.index().next_multiple_of(4);
        let end = (offset + range.len).index();
        while at + 4 <= end {
            let Some(w) = from.word(was, at) else { break };
            if let Some(addr) = points(at) {
                to.put(&mut out[at..at + words.pointer], map.guess(addr).into());
                history = words.pointed(history);
                at += words.pointer;
                continue;
            }
            let (data, text) = words.guesses(w, |a| map.guess(a));
            let mut class = class(w, data, text);
            if data.is_some_and(|d| d != w) || text.is_some_and(|t| t != w) {
                let [other, as_data, as_text] =
                    counts.get(&key(history, at as u32)).copied().unwrap_or_default();
                let (kind, now) = if links == Some(range.section) || as_data > other + as_text {
                    (DATA, data)
                } else if as_text > other + as_data {
                    (TEXT, text)
                } else {
                    (OTHER, None)
                };
                if let Some(now) = now {
                    to.put(&mut out[at..at + 4], now.into());
                }
                class = 8 + kind;
            }
            history = history << 4 | class;
            at += 4;
        }
    }
    out
}

/// The list of types of a file whose types have relocations.
const RELOCATED_LINKS: &[u8] = b".data.rel.ro.typelink";

/// The section that begins with the types, from which offsets count.
fn types(elf: &Elf) -> &'static [u8] {
    match elf.section(RELOCATED_LINKS) {
        Some(_) => b".data.rel.ro",
        None => b".rodata",
    }
}

/// What offsets count from, and how far they go.
#[derive(Clone, Copy)]
struct Words {
    bases: Bases,
    sizes: (u32, u32),
    /// Bytes of a pointer.
    pointer: usize,
}

impl Words {
    fn of(old: &Elf, new: &Elf) -> Words {
        let size = |name: &[u8]| {
            old.section(name)
                .map_or(0, |i| old[i].size.min(u64::from(u32::MAX)) as u32)
        };
        Words {
            bases: Bases {
                module: (Addr(0), Addr(0)),
                text: (base(old, b".text"), base(new, b".text")),
                data: (base(old, types(old)), base(new, types(new))),
            },
            sizes: (size(types(old)), size(b".text")),
            pointer: new.numbers.width(),
        }
    }

    /// The address that a pointer at a place holds, by the bytes from there on: addresses are below 4 GiB.
    fn pointer(&self, numbers: Numbers, at: usize, bytes: &[u8]) -> Option<Addr> {
        let pointer = bytes.get(..self.pointer)?;
        let address = Addr::try_from(numbers.get(pointer)).ok()?;
        at.is_multiple_of(self.pointer).then_some(address)
    }

    /// What words were, with a pointer behind them.
    fn pointed(&self, history: u32) -> u32 {
        match self.pointer {
            4 => history << 4 | 0xf,
            _ => history << 8 | 0xfe,
        }
    }

    /// What a word should be now as an offset in the data, and as one in the code.
    fn guesses(&self, old: u32, project: impl Fn(Addr) -> Addr) -> (Option<u32>, Option<u32>) {
        let guess = |size: u32, base: (Addr, Addr)| {
            (old > 0 && old < size).then(|| project(base.0.wrapping_add(old)).since(base.1))
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
    let mut telling = Telling::of(world)?;
    let mut held = world.account.held();
    held.set(SLOT_MEMORY * telling.slots.as_ref().map_or(0, Vec::len) as u64)?;
    let mut old_bytes = Vec::new();
    for cover in world.covers {
        let Some(stretch) = Stretch::of(world.addresses, cover) else {
            continue;
        };
        world.account.go_on(u64::from(stretch.len) / 16)?;
        made.count(world)?;
        world.account.fits(u64::from(stretch.len))?;
        old_bytes.resize(stretch.len as usize & !3, 0);
        world.old.file.read(u64::from(stretch.old_at), &mut old_bytes)?;
        telling.stretch(s, world, &stretch, &old_bytes, made)?;
        if s.exhausted() {
            return Err(crate::Error::damaged("the words of Go's data end too early"));
        }
    }
    Ok(())
}

/// Words under a cover.
struct Stretch {
    /// Number of their section.
    section: u32,
    /// Address and offset of the first one in the new file, and where it was in the old one.
    addr: Addr,
    at: Off,
    old_at: Off,
    /// Bytes.
    len: u32,
}

impl Stretch {
    fn of(addresses: &Addresses, cover: &Cover) -> Option<Stretch> {
        if !cover.new_at.since(cover.old_at).is_multiple_of(4) {
            return None;
        }
        let stands = |r: &&Range| r.offset.is_some_and(|o| cover.new_at.since(o) < r.len);
        let range = addresses.ranges().iter().find(stands)?;
        let skip = cover.new_at.0.wrapping_neg() % 4;
        let len = cover.len.checked_sub(skip)?;
        let at = cover.new_at + skip;
        Some(Stretch {
            section: range.section.0,
            addr: range.addr + (at - range.offset.unwrap_or_default()),
            at,
            old_at: cover.old_at + skip,
            len,
        })
    }
}

/// A word: what it was, and where it is.
struct Word {
    old: u32,
    /// What the old pointer held that may begin with it.
    pointer: Option<Addr>,
    section: u32,
    addr: Addr,
    at: Off,
}

/// How words are coded, and what was.
struct Telling {
    words: Words,
    /// Old words that relocations fill, ascending, if such a table is modelled.
    slots: Option<Vec<(Addr, Addr)>>,
    m: WordModels,
    targets: TargetModels,
    /// What the last words were, four bits each.
    history: u32,
    /// Size of the new data.
    size: u32,
}

impl Telling {
    fn of(world: &World) -> Result<Telling> {
        let size = |i: SectionId| world.elf[i].size as u32;
        let relocated = world.choices.sections(Table::Relocations).next();
        let slots = relocated.map(|_| relocations::old_slots(world)).transpose()?;
        Ok(Telling {
            words: Words::of(&world.old.elf, world.elf),
            slots,
            m: WordModels::default(),
            targets: TargetModels::default(),
            history: 0,
            size: world.elf.section(types(world.elf)).map_or(0, size),
        })
    }

    /// Tells the words under a cover.
    fn stretch<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &mut World,
        stretch: &Stretch,
        old_bytes: &[u8],
        made: &mut Made,
    ) -> Result<()> {
        let numbers = world.old.elf.numbers;
        let mut at = 0;
        while let Some(old) = numbers.word(old_bytes, at) {
            let place = stretch.at + at as u32;
            if self.is_slot(world, stretch.old_at + at as u32) {
                self.history = self.words.pointed(self.history);
                at += self.words.pointer;
                continue;
            }
            let word = Word {
                old,
                pointer: self.words.pointer(numbers, place.index(), &old_bytes[at..]),
                section: stretch.section,
                addr: stretch.addr + at as u32,
                at: place,
            };
            at += match self.pointer(s, world, &word, made)? {
                true => self.words.pointer,
                false => self.half(s, world, &word, made).map(|()| 4)?,
            };
        }
        Ok(())
    }

    /// Whether the old word at a place is one that a relocation fills.
    fn is_slot(&self, world: &World, at: Off) -> bool {
        let addr = || world.old.addresses.addr(at);
        let holds = |slots: &Vec<(Addr, Addr)>| {
            addr().is_some_and(|a| slots.binary_search_by_key(&a, |s| s.0).is_ok())
        };
        self.slots.as_ref().is_some_and(holds)
    }

    /// Tells the pointer that begins with a word; `false` if it is none.
    fn pointer<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &mut World,
        word: &Word,
        made: &mut Made,
    ) -> Result<bool> {
        let words = &self.words;
        let was = word.pointer.filter(|_| self.slots.is_none());
        let Some(was) = was.filter(|&addr| world.old.addresses.range_of(addr).is_some()) else {
            return Ok(false);
        };
        let truth = world.truth.map(|t| &t[word.at.index()..]);
        let known = truth
            .and_then(|t| t.get(..words.pointer))
            .map_or(0, |t| world.elf.numbers.get(t));
        let small = Addr::try_from(known).ok();
        let fits = small.is_some_and(|k| world.addresses.range_of(k).is_some());
        if !self.m.pointer(s, self.history, word.section, fits) {
            return Ok(false);
        }
        let site = Site {
            kind: POINTER,
            head: word.section,
            addr: word.addr,
            same: true,
            ..Site::default()
        };
        let target = self.target(s, world, &site, was, small.unwrap_or_default())?;
        let pointer = self.words.pointer;
        made.known
            .number(word.at, world.elf.numbers, target.into(), pointer);
        self.history = self.words.pointed(self.history);
        Ok(true)
    }

    /// Tells a word that may be an offset.
    fn half<S: Symbols>(&mut self, s: &mut S, world: &mut World, word: &Word, made: &mut Made) -> Result<()> {
        let old = word.old;
        let project = |addr: Addr| {
            let learned = world.targets.remap().get(addr).map(|l| l.target);
            learned.unwrap_or_else(|| world.targets.map().guess(addr))
        };
        let (data, text) = self.words.guesses(old, project);
        let matters = |guess: Option<u32>| guess.is_some_and(|g| g != old);
        let mut class = class(old, data, text);
        if matters(data) || matters(text) {
            let truth = world.truth.map(|t| &t[word.at.index()..]);
            let known = truth.and_then(|t| world.elf.numbers.word(t, 0));
            let kind = match known {
                Some(k) if k == old => OTHER,
                Some(_) if known == data => DATA,
                Some(_) if known == text => TEXT,
                Some(k) if data.is_some() && old >= FAR && k >= FAR && k < self.size => SPELLED,
                _ => OTHER,
            };
            let able = u32::from(data.is_some()) | u32::from(matters(data)) << 1 | class << 2;
            let kind = self.m.half(s, able, self.history, word.section, word.at.0, kind);
            let (kind, now) = match (kind, data, text) {
                (DATA, Some(now), _) | (TEXT, _, Some(now)) => (kind, Some(now)),
                (SPELLED, Some(_), _) => (DATA, Some(self.spelled(s, world, word, known)?)),
                _ => (OTHER, None),
            };
            if let Some(now) = now {
                made.known.add(word.at, &world.elf.numbers.of_word(now));
            }
            class = 8 + kind;
        }
        self.history = self.history << 4 | class;
        Ok(())
    }

    /// Tells an offset into the data as a target.
    fn spelled<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &mut World,
        word: &Word,
        known: Option<u32>,
    ) -> Result<u32> {
        let (was, is) = self.words.bases.data;
        let site = Site {
            kind: POINTER + 1,
            addr: word.addr,
            same: true,
            ..Site::default()
        };
        let known = known.map_or(Addr(0), |k| is.wrapping_add(k));
        let target = self.target(s, world, &site, was.wrapping_add(word.old), known)?;
        Ok(target.since(is))
    }

    fn target<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &mut World,
        site: &Site,
        old_target: Addr,
        truth: Addr,
    ) -> Result<Addr> {
        let guess = Guess {
            old_target: Some(old_target),
            ..Guess::default()
        };
        let (m, locals) = (&mut self.targets, &mut Locals::default());
        world.targets.code(s, m, site, guess, locals, truth)
    }
}
