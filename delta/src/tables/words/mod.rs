//! Words of data that hold addresses, in files whose relocations do not tell them: programs linked at an address of
//! their own, and kernels.
//!
//! A pointer, a distance from where the word stands (the tables of a kernel: unwinding, exceptions, patching), or the
//! low half of an address. What a word is shows where its target moves; a symbol says whether it does.

mod form;
mod label;

pub use label::{Labelled, labelled};

use self::form::{Form, Side};
use super::{BYTE_MODELS, Made, Spent, Table, TableModel, World};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::data::Cover;
use crate::elf::{Elf, go};
use crate::place::{Addr, Off, Place};
use crate::predict::{Guess, Locals, Site, TargetModels};
use crate::{Error, error::Result};

/// Kinds of site that target prediction tells apart: this and the two that follow, by form.
const SITE: u32 = 50;
/// What becomes of a word: it stays, or 1 more than its form if that leads where it is foreseen to, 4 more if elsewhere.
const STAYS: u32 = 0;
const SPELLED: u32 = 4;

/// Words in a row whose form was right before one that leads elsewhere is coded by its form, too.
const TRUSTED: u32 = 4;
/// Bytes that a word foreseen saves, beside what one costs that was asked about, in words.
const WORTH: u64 = 64;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

/// Whether words are coded in such a file: relocations do not say where its addresses are, and it is not Go's, whose
/// words have a grammar of their own. `relocated`: it has a table of relocations.
pub fn applies(elf: &Elf, relocated: bool) -> bool {
    let plain = elf.kind == ET_EXEC || elf.kind == ET_DYN && !relocated;
    plain && go::section(elf).is_none()
}

symbols! {
    /// Words of data. `h`: what the last words were, four bits each, the last one lowest: 0 zero, 1 nothing that would
    /// move, 2 a pointer that would not, 3 one half of it, else 8 plus what it became. `able`: for each form, pointer
    /// first and lowest, whether the word would move as one. `region`: section number, or 65535; `here`: file offset.
    struct WordModels {
        none(2, 255) {
            /// No words are coded.
            none: flag by() [0];
        }
        word(18, 255) {
            /// What becomes of a word: 0 it stays; 1 a pointer, 2 a distance, 3 a low half that leads where it is
            /// foreseen to; 5 to 7 the same, leading elsewhere.
            word: tree(3) by(able: u32, h: u32, region: u32, here: u32)
                [
                    hash(hash(1, able), h & 0xf),
                    hash(hash(2, able), h & 0xfff),
                    hash(hash(3, able), h & 0xffffff),
                    hash(hash(4, able), h),
                    hash(hash(5, able), region << 4 | here & 15),
                    hash(hash(6, able), region << 4 | h & 15),
                ];
        }
    }
}

/// What an old word would be in the new file by one of its forms.
#[derive(Clone, Copy)]
struct Candidate {
    /// Where the old one leads.
    old_target: Addr,
    /// The new word, and the old one.
    word: u64,
    was: u64,
}

/// Both files, as far as words go by them.
struct Sides<'w> {
    old: Side<'w>,
    new: Side<'w>,
}

impl<'w> Sides<'w> {
    fn of(world: &World<'w>) -> Self {
        Sides {
            old: Side::of(&world.old.elf, &world.old.addresses),
            new: Side::of(world.elf, world.addresses),
        }
    }

    /// What the word at the start of `bytes` may be, by form; `places` are its addresses.
    fn candidates(
        &self,
        bytes: &[u8],
        places: (Option<Addr>, Option<Addr>),
        project: impl Fn(Addr) -> Addr,
    ) -> [Option<Candidate>; 3] {
        Form::ALL.map(|form| {
            let was = self.old.read(form, bytes)?;
            let old_target = self.old.target(form, was, places.0)?;
            let word = self.new.word(form, project(old_target), places.1)?;
            Some(Candidate {
                old_target,
                word,
                was,
            })
        })
    }
}

/// A cover of generic bytes, at the first word in it, and how many bytes of words.
struct Stretch {
    new_at: Off,
    old_at: Off,
    len: u32,
    region: u32,
    /// Addresses of the first word, if it has any.
    places: (Option<Addr>, Option<Addr>),
}

impl Stretch {
    fn of(world: &World, cover: &Cover) -> Option<Stretch> {
        let skip = cover.new_at.0.wrapping_neg() % 4;
        let len = cover.len.checked_sub(skip)? & !3;
        if !cover.new_at.since(cover.old_at).is_multiple_of(4) || len == 0 {
            return None;
        }
        let (new_at, old_at) = (cover.new_at + skip, cover.old_at + skip);
        let new_place = world.addresses.addr(new_at);
        let range = new_place.and_then(|addr| world.addresses.range_of(addr));
        // A stretch of the old file that leaves its section has no addresses.
        let old_place = world.old.addresses.addr(old_at).filter(|&addr| {
            let range = world.old.addresses.range_of(addr);
            range.is_some_and(|r| r.len - (addr - r.addr) >= len)
        });
        Some(Stretch {
            new_at,
            old_at,
            len,
            region: range.map_or(0xffff, |r| r.section.0),
            places: (old_place, new_place),
        })
    }

    /// Reads its old bytes.
    fn read(&self, world: &World, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.resize(self.len as usize, 0);
        world.old.file.read(u64::from(self.old_at), bytes)
    }

    fn places(&self, at: usize) -> (Option<Addr>, Option<Addr>) {
        let behind = |place: Option<Addr>| place.map(|p| p.wrapping_add(at as u32));
        (behind(self.places.0), behind(self.places.1))
    }
}

/// The words of a file.
#[derive(Debug)]
pub struct Words;

impl<'w> TableModel<'w> for Words {
    const STREAMS: &'static [(Stream, Spent)] = &[(Stream::Pointers, Spent::Parts("(words of data)"))];
    const MODELS: u64 = BYTE_MODELS;

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Words>> {
        let relocated = world.choices.sections(Table::Relocations).next().is_some();
        Ok(applies(world.elf, relocated).then_some(Words))
    }

    fn finish<S: Symbols>(
        self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        code(streams.get(Stream::Pointers), world, made)
    }
}

/// Tells the words that stand under covers.
fn code<S: Symbols>(s: &mut S, world: &mut World, made: &mut Made) -> Result<()> {
    let mut pass = Pass {
        sides: Sides::of(world),
        m: WordModels::default(),
        targets: TargetModels::default(),
        history: 0,
        trust: [0; 3],
    };
    let none = world.truth.is_some_and(|truth| !pass.pays(world, truth));
    if pass.m.none(s, none) {
        return Ok(());
    }
    let mut bytes = Vec::new();
    for cover in world.covers {
        let Some(stretch) = Stretch::of(world, cover) else {
            continue;
        };
        world.account.go_on(u64::from(stretch.len) / 16)?;
        made.count(world)?;
        world.account.fits(u64::from(stretch.len))?;
        stretch.read(world, &mut bytes)?;
        pass.stretch(s, world, &stretch, &bytes, made)?;
    }
    Ok(())
}

/// One way through the covers.
struct Pass<'w> {
    sides: Sides<'w>,
    m: WordModels,
    targets: TargetModels,
    history: u32,
    /// On the writing side: how often in a row words that would move by a form did.
    trust: [u32; 3],
}

impl Pass<'_> {
    /// On the writing side: whether enough words are as foreseen.
    fn pays(&self, world: &World, truth: &[u8]) -> bool {
        let (mut asked, mut right, mut bytes) = (0u64, 0u64, Vec::new());
        for stretch in world.covers.iter().filter_map(|c| Stretch::of(world, c)) {
            if stretch.read(world, &mut bytes).is_err() {
                return false;
            }
            for at in (0..bytes.len()).step_by(4) {
                let map = world.targets.map();
                let places = stretch.places(at);
                let candidates = self.sides.candidates(&bytes[at..], places, |t| map.guess(t));
                let now = &truth[stretch.new_at.index() + at..];
                let mut moves = candidates.iter().zip(Form::ALL).filter_map(|(candidate, form)| {
                    let candidate = candidate.filter(|c| c.word != c.was)?;
                    Some(self.sides.new.read(form, now) == Some(candidate.word))
                });
                if let Some(first) = moves.next() {
                    asked += 1;
                    right += u64::from(first || moves.any(|right| right));
                }
            }
        }
        right * WORTH > asked
    }

    /// Tells the words of one stretch; `bytes` are the old ones.
    fn stretch<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &mut World,
        stretch: &Stretch,
        bytes: &[u8],
        made: &mut Made,
    ) -> Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            let (here, places) = (stretch.new_at + at as u32, stretch.places(at));
            let project = |addr: Addr| {
                let learned = world.targets.remap().get(addr).map(|l| l.target);
                learned.unwrap_or_else(|| world.targets.map().guess(addr))
            };
            let candidates = self.sides.candidates(&bytes[at..], places, project);
            let moves = candidates.map(|c| c.filter(|c| c.word != c.was));
            let able = (0..3).fold(0, |able, k| able | u32::from(moves[k].is_some()) << k);
            let pointer = candidates[0].is_some();
            let mut became = STAYS;
            if able != 0 {
                let truth = world.truth.map(|t| &t[here.index()..]);
                let known = truth.map_or(STAYS, |now| self.known(now, places.1, &moves));
                became = self.m.word(s, able, self.history, stretch.region, here.0, known);
            }
            let form = (became & 3).checked_sub(1).map(|k| Form::ALL[k as usize]);
            let mut size = 4;
            if let Some(form) = form {
                let damaged = Error::damaged("a word of data is moved that can't be");
                let candidate = moves[form as usize].ok_or(damaged)?;
                let word = match became {
                    SPELLED.. => self.spelled(s, world, (form, here, places.1), candidate)?,
                    _ => candidate.word,
                };
                size = self.sides.new.size(form);
                made.known.number(here, world.elf.numbers, word, size);
            } else if pointer && able & 1 == 0 {
                size = self.sides.new.size(Form::Pointer);
            }
            let class = match became {
                STAYS if pointer && able & 1 == 0 => 2,
                STAYS if able == 0 => u32::from(bytes.get(at..at + 4) != Some(&[0; 4])),
                became => 8 + became,
            };
            self.history = self.history << 4 | class;
            if size == 8 {
                self.history = self.history << 4 | 3;
            }
            at += size;
            if s.exhausted() {
                return Err(Error::damaged("the words of data end too early"));
            }
        }
        Ok(())
    }

    /// On the writing side: what becomes of a word that is at the start of `now` in the new file, at an address.
    fn known(&mut self, now: &[u8], place: Option<Addr>, moves: &[Option<Candidate>; 3]) -> u32 {
        let is = |form: Form| self.sides.new.read(form, now);
        let able = || Form::ALL.into_iter().filter(|&f| moves[f as usize].is_some());
        let right = |&form: &Form| moves[form as usize].is_some_and(|c| is(form) == Some(c.word));
        if let Some(form) = able().find(right) {
            self.trust[form as usize] += 1;
            return 1 + form as u32;
        }
        let stays = able().all(|form| moves[form as usize].is_some_and(|c| is(form) == Some(c.was)));
        let leads = |&form: &Form| {
            let trusted = form == Form::Pointer || self.trust[form as usize] >= TRUSTED;
            trusted && is(form).is_some_and(|w| self.sides.new.target(form, w, place).is_some())
        };
        match able().find(leads).filter(|_| !stays) {
            Some(form) => SPELLED + 1 + form as u32,
            None => {
                for form in able() {
                    self.trust[form as usize] = 0;
                }
                STAYS
            }
        }
    }

    /// Codes the target of a word that does not lead where it is foreseen to, and gives the word.
    fn spelled<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &mut World,
        (form, here, place): (Form, Off, Option<Addr>),
        candidate: Candidate,
    ) -> Result<u64> {
        let truth = world.truth.and_then(|truth| {
            let word = self.sides.new.read(form, &truth[here.index()..])?;
            self.sides.new.target(form, word, place)
        });
        let site = Site {
            kind: SITE + form as u32,
            addr: place.unwrap_or_default(),
            same: true,
            ..Site::default()
        };
        let guess = Guess {
            old_target: Some(candidate.old_target),
            ..Guess::default()
        };
        let (truth, mut none) = (truth.unwrap_or_default(), Locals::default());
        let target = world
            .targets
            .code(s, &mut self.targets, &site, guess, &mut none, truth)?;
        let word = self.sides.new.word(form, target, place);
        word.ok_or(Error::damaged("a word of data leads nowhere"))
    }
}
