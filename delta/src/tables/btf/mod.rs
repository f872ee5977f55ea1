//! `.BTF`, the types of a kernel or a module: each type and string continues an old one, and numbers of types and
//! offsets of strings go where what they name went.
//!
//! What a module extends is not at hand: where its numbers go is learned, and known to the next module of a group.

mod pair;
mod parse;

use self::parse::{HEAD, Parsed, Role, Shape, header, kind_of};
use super::{BYTE_MODELS, Image, Made, Spent, Table, TableModel, World};
use crate::budget::{Held, Keep, Lent};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::elf::Elf;
use crate::{Error, error::Result};
use std::collections::BTreeMap;

/// The types of a file.
#[derive(Debug)]
pub struct Types;

impl<'w> TableModel<'w> for Types {
    const STREAMS: &'static [(Stream, Spent)] = &[(Stream::Symbols, Spent::Sections(&[Table::Btf]))];
    const MODELS: u64 = BYTE_MODELS;

    fn by_name(elf: &Elf, section: usize) -> Option<Table> {
        (elf.sections[section].name == b".BTF").then_some(Table::Btf)
    }

    fn fits(new: Image<'_>) -> impl Fn(usize, Table) -> bool {
        move |section, _| Parsed::of(new.section(section)).is_some()
    }

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Types>> {
        Ok(world.choices.sections(Table::Btf).next().map(|_| Types))
    }

    fn finish<S: Symbols>(
        self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        code(streams.get(Stream::Symbols), world, made)
    }
}

const DAMAGED: Error = Error::DamagedPatch("types of BTF that do not fit together");

/// No old string or type, in a list of them.
const NONE: u32 = u32::MAX;

/// How a string or a type goes on, or an item of one.
const NEXT: u32 = 0;
const ELSEWHERE: u32 = 1;
const FRESH: u32 = 2;

/// What becomes of a word.
const FORESEEN: u32 = 0;
const NEAR: u32 = 1;
const OTHER: u32 = 2;

symbols! {
    /// Models of BTF. `what`: 0 strings, 1 types. `slot`: 0 to 2 the words before the items, else 3 and the word of the
    /// item. `kind`: the kind of the type (of the old one, for the second word), plus 32 if it continues one. `h`: what the last words of that role were,
    /// two bits each, the last one lowest. `role`: 0 a number of its own, 1 a name, 2 a type.
    struct BtfModels {
        size(10, 255) {
            /// Number `i` of a section against that of the old one: 0 types, 1 strings, 2 words of types, 3 bytes of
            /// strings; and, against the section before, old and new number of its first string (4, 5) and type (6, 7).
            size: signed by(i: u32) [hash(1, i)];
        }
        step(14, 255) {
            /// Goes on with 0 the next old one, 1 another, 2 none. `last`: the last 8 answers.
            step: tree(2) by(what: u32, last: u32)
                [hash(hash(1, what), last & 3), hash(hash(2, what), last & 0xff), hash(hash(3, what), last)];
        }
        away(12, 255) {
            /// How far from the next one that is.
            away: signed by(what: u32) [hash(1, what)];
        }
        item(14, 255) {
            /// How far from the next item of the old type the one is that an item continues.
            item: signed by(kind: u32, last: i64) [hash(1, kind), hash(hash(2, kind), last as u32)];
        }
        text(18, 255) {
            /// A byte of a string; `a` the last one, `b` and `c` those before.
            text: byte by(a: u32, b: u32, c: u32)
                [hash(1, 0), hash(2, a), hash(3, a << 8 | b), hash(4, a << 16 | b << 8 | c)];
        }
        word(18, 1023) {
            /// What a word is: 0 as foreseen; 1 the first string that none had before, or a type told from here;
            /// 2 told against what was foreseen.
            word: tree(2) by(kind: u32, slot: u32, role: u32, h: u32)
                [
                    hash(hash(1, kind), slot),
                    hash(hash(2, role), h & 0xff),
                    hash(hash(hash(3, kind), slot), h & 0xf),
                    hash(hash(hash(4, kind), slot), h),
                ];
        }
        value(14, 255) {
            /// The difference.
            value: signed by(kind: u32, slot: u32, near: bool)
                [hash(1, slot << 1 | u32::from(near)), hash(hash(2, kind), slot << 1 | u32::from(near))];
        }
    }
}

/// Where numbers went that a section does not tell of by itself, and the last section's `size` 4 to 7.
#[derive(Debug)]
struct Learned {
    bases: [u32; 4],
    names: BTreeMap<u32, u32>,
    types: BTreeMap<u32, u32>,
}

impl Default for Learned {
    fn default() -> Learned {
        Learned {
            bases: [0, 0, 1, 1],
            names: BTreeMap::new(),
            types: BTreeMap::new(),
        }
    }
}

/// Bytes that an entry counts for.
const ENTRY: u64 = 32;

impl Keep for Learned {
    fn memory(&self) -> u64 {
        ENTRY * (self.names.len() + self.types.len()) as u64
    }
}

/// Codes all sections of BTF.
fn code<S: Symbols>(s: &mut S, world: &World, made: &mut Made) -> Result<()> {
    for section in world.choices.sections(Table::Btf) {
        let old = world.pairs[section].map_or(0, |i| world.old.elf.sections[i].size);
        let mut held = world.account.held();
        held.set(old)?;
        let old = world.old_bytes(section)?;
        let before = Parsed::of(&old).unwrap_or_default();
        held.set(old.len() as u64 + 2 * before.memory())?;
        let after = world.true_bytes(section).and_then(Parsed::of);
        let mut pass = Pass {
            m: world.account.lend(),
            learned: world.account.lend(),
            old: &before,
            new: after.as_ref(),
            bases: [0; 4],
            names: vec![NONE; before.sizes()[1]],
            types: vec![NONE; before.sizes()[0]],
            begins: Vec::new(),
            unused: 0,
            histories: [0; 3],
            end: 0,
            held: world.account.held(),
        };
        let bytes = pass.section(s, world, world.elf.sections[section].size)?;
        drop(pass);
        made.section(world, section, bytes)?;
    }
    Ok(())
}

/// One section.
struct Pass<'p> {
    m: Lent<'p, BtfModels>,
    learned: Lent<'p, Learned>,
    old: &'p Parsed<'p>,
    new: Option<&'p Parsed<'p>>,
    /// Bytes of strings that it extends, old and new; types likewise.
    bases: [u32; 4],
    /// Where an old string begins now, and which an old type is.
    names: Vec<u32>,
    types: Vec<u32>,
    /// Where each new string begins.
    begins: Vec<u32>,
    /// The first of these behind all that were named.
    unused: usize,
    /// By role.
    histories: [u32; 3],
    /// Where the types end.
    end: usize,
    /// The memory of the new section, and of what is listed and learned.
    held: Held<'p>,
}

/// What is known of a word before it is told.
#[derive(Clone, Copy)]
struct Word {
    /// The type it is in.
    number: usize,
    kind: u32,
    slot: u32,
    role: Role,
}

impl Pass<'_> {
    fn section<S: Symbols>(&mut self, s: &mut S, world: &World, room: u64) -> Result<Vec<u8>> {
        let (old, new) = (self.old, self.new);
        let (was, is) = (old.sizes(), new.map_or([0; 4], Parsed::sizes));
        let mut sizes = [0; 4];
        for (i, size) in sizes.iter_mut().enumerate() {
            let away = self.m.size(s, i as u32, is[i] as i64 - was[i] as i64);
            let told = (was[i] as i64).checked_add(away);
            *size = told.and_then(|n| u32::try_from(n).ok()).ok_or(DAMAGED)?;
        }
        let [types, names, words, text] = sizes;
        let all = u64::from(words) * 4 + u64::from(text) + parse::HEADER as u64;
        let fit = u64::from(types) * HEAD as u64 <= u64::from(words) && names <= text;
        if all != room || !fit {
            return Err(DAMAGED);
        }
        let listed = 4 * (u64::from(types) + u64::from(names));
        let listed = listed + room + u64::from(text);
        self.held.set(listed)?;
        let known = new.map(|new| (pair::bases(old), pair::bases(new)));
        let told = known.map_or([0; 4], |(o, n)| [o[0], n[0], o[1], n[1]]);
        for (i, told) in told.into_iter().enumerate() {
            let was = self.learned.bases[i];
            let away = self.m.size(s, 4 + i as u32, i64::from(told) - i64::from(was));
            self.bases[i] = i64::from(was).wrapping_add(away) as u32;
        }
        self.learned.bases = self.bases;
        self.end = parse::HEADER + words as usize * 4;
        let mut out = header(words.wrapping_mul(4), text).to_vec();
        let strings = self.strings(s, world, (names as usize, text as usize))?;
        let sources = new
            .zip(known)
            .map(|(new, (o, n))| pair::types((old, o), (new, n)));
        let sources = self.sources(s, world, types, sources.as_deref())?;
        for (number, source) in sources.into_iter().enumerate() {
            if s.exhausted() {
                return Err(DAMAGED);
            }
            let (before, source) = (out.len(), (source != NONE).then_some(source as usize));
            self.one(s, (number, source), &mut out)?;
            self.held.set(listed + self.learned.memory())?;
            world.account.go_on(1 + (out.len() - before) as u64 / 4)?;
        }
        out.extend_from_slice(&strings);
        (out.len() as u64 == room).then_some(out).ok_or(DAMAGED)
    }

    /// Which old one the next one continues, where `next` would be expected.
    fn step<S: Symbols>(
        &mut self,
        s: &mut S,
        (what, next): (u32, usize),
        last: &mut u32,
        truth: Option<usize>,
    ) -> Option<usize> {
        let step = match truth {
            Some(j) if j == next => NEXT,
            Some(_) => ELSEWHERE,
            None => FRESH,
        };
        let step = self.m.step(s, what, *last, step);
        *last = *last << 2 & 0xffff | step;
        match step {
            NEXT => Some(next),
            ELSEWHERE => {
                let away = truth.map_or(0, |j| j as i64 - next as i64);
                let at = (next as i64).checked_add(self.m.away(s, what, away));
                at.and_then(|at| usize::try_from(at).ok())
            }
            _ => None,
        }
    }

    /// The strings, so many and so many bytes in all.
    fn strings<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &World,
        (count, len): (usize, usize),
    ) -> Result<Vec<u8>> {
        let sources = self.new.map(|new| pair::names(self.old, new));
        let (mut out, mut next, mut last) = (Vec::with_capacity(len), 0, 0);
        self.begins.reserve_exact(count);
        for number in 0..count {
            let begin = out.len();
            self.begins.push(begin as u32);
            let truth = sources.as_ref().and_then(|s| s.get(number).copied().flatten());
            match self.step(s, (0, next), &mut last, truth) {
                Some(j) => {
                    out.extend_from_slice(self.old.name(j));
                    if let Some(place) = self.names.get_mut(j) {
                        *place = begin as u32;
                    }
                    next = j.saturating_add(1);
                }
                None => {
                    let known = self.new.map_or(&[][..], |new| new.name(number));
                    let [mut a, mut b, mut c] = [0; 3];
                    for at in 0.. {
                        let byte = self.m.text(s, a, b, c, known.get(at).copied().unwrap_or(0));
                        out.push(byte);
                        if byte == 0 || out.len() >= len {
                            break;
                        }
                        (a, b, c) = (byte.into(), a, b);
                    }
                }
            }
            world.account.go_on(1 + (out.len() - begin) as u64 / 8)?;
            if s.exhausted() || out.len() > len {
                return Err(DAMAGED);
            }
        }
        (out.len() == len).then_some(out).ok_or(DAMAGED)
    }

    /// The old type that each new one continues.
    fn sources<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &World,
        count: u32,
        truth: Option<&[Option<usize>]>,
    ) -> Result<Vec<u32>> {
        let (mut out, mut next, mut last) = (Vec::with_capacity(count as usize), 0, 0);
        for number in 0..count {
            if s.exhausted() {
                return Err(DAMAGED);
            }
            let known = truth.and_then(|t| t.get(number as usize).copied().flatten());
            let source = self.step(s, (1, next), &mut last, known);
            if let Some(j) = source {
                if let Some(place) = self.types.get_mut(j) {
                    *place = number;
                }
                next = j.saturating_add(1);
            }
            world.account.go_on(1)?;
            let there = source.filter(|&j| j < self.types.len());
            out.push(there.map_or(NONE, |j| j as u32));
        }
        Ok(out)
    }

    /// One type.
    fn one<S: Symbols>(
        &mut self,
        s: &mut S,
        (number, source): (usize, Option<usize>),
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let (old, new) = (self.old, self.new);
        let was = |at: usize| source.and_then(|j| old.word(j, at));
        let is = |at: usize| new.and_then(|new| new.word(number, at)).unwrap_or(0);
        let mut word = Word {
            number,
            kind: was(1).map_or(0, |info| 32 | kind_of(info)),
            slot: 1,
            role: Role::Plain,
        };
        let info = self.word(s, word, was(1), is(1));
        let shape = Shape::of(info).ok_or(DAMAGED)?;
        // A count may lie.
        if out.len() + 4 * shape.len() > self.end {
            return Err(DAMAGED);
        }
        word.kind = kind_of(info) | if source.is_some() { 32 } else { 0 };
        let name = self.word(
            s,
            Word {
                slot: 0,
                role: Role::Name,
                ..word
            },
            was(0),
            is(0),
        );
        let third = self.word(
            s,
            Word {
                slot: 2,
                role: shape.third,
                ..word
            },
            was(2),
            is(2),
        );
        for value in [name, info, third] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let width = shape.item.len();
        let before = source.and_then(|j| old.shape(j)).filter(|b| b.item == shape.item);
        let items = before.map_or(0, |b| b.count);
        let (mut next, mut last) = (0i64, 0);
        for item in 0..shape.count {
            let at = HEAD + item * width;
            if items > 0 {
                let best = new.map_or(0, |_| self.item(&was, &is, (shape, at), next));
                last = self.m.item(s, word.kind, last, best);
                next = next.saturating_add(last);
            }
            let from = usize::try_from(next).ok().filter(|&j| j < items);
            for k in 0..width {
                let word = Word {
                    slot: 3 + k as u32,
                    role: shape.item[k],
                    ..word
                };
                let was = from.and_then(|j| was(HEAD + j * width + k));
                let value = self.word(s, word, was, is(at + k));
                out.extend_from_slice(&value.to_le_bytes());
            }
            next = next.saturating_add(1);
        }
        Ok(())
    }
}

/// Items looked at for the one that a new one continues.
const ITEMS: i64 = 8;

impl Pass<'_> {
    /// On the writing side: how far from the next old item the one is that foresees most of an item.
    fn item(
        &self,
        was: &dyn Fn(usize) -> Option<u32>,
        is: &dyn Fn(usize) -> u32,
        (shape, at): (Shape, usize),
        next: i64,
    ) -> i64 {
        let width = shape.item.len();
        let right = |away: i64| {
            let from = usize::try_from(next + away).ok().map(|j| HEAD + j * width);
            let foreseen = |&k: &usize| {
                let was = from.and_then(|from| was(from + k));
                was.is_some_and(|was| self.foreseen(shape.item[k], was) == is(at + k))
            };
            (0..width).filter(foreseen).count()
        };
        let all = (0..=ITEMS).flat_map(|n| [n, -n]);
        all.max_by_key(|&away| (right(away), -away.abs())).unwrap_or(0)
    }

    /// What a word becomes.
    fn foreseen(&self, role: Role, was: u32) -> u32 {
        match role {
            Role::Plain => was,
            _ if was == 0 => 0,
            _ => self.own(role, was).unwrap_or_else(|| {
                let learned = if role == Role::Name {
                    &self.learned.names
                } else {
                    &self.learned.types
                };
                let near = learned.range(..=was).next_back();
                near.map_or(was, |(before, now)| now.wrapping_add(was - before))
            }),
        }
    }

    /// What a word becomes that names a string or type of the section itself.
    fn own(&self, role: Role, was: u32) -> Option<u32> {
        let [old_text, new_text, old_first, new_first] = self.bases;
        let (number, base) = match role {
            Role::Name => {
                let name = self.old.name_at(was.checked_sub(old_text)?)?;
                (self.names.get(name), new_text)
            }
            _ => (self.types.get(was.checked_sub(old_first)? as usize), new_first),
        };
        number.filter(|&&n| n != NONE).map(|n| n.wrapping_add(base))
    }

    /// Codes a word that was that one.
    fn word<S: Symbols>(&mut self, s: &mut S, word: Word, was: Option<u32>, truth: u32) -> u32 {
        let Word {
            number,
            kind,
            slot,
            role,
        } = word;
        let foreseen = was.map_or(0, |was| self.foreseen(role, was));
        let near = match role {
            Role::Name => {
                let next = self.begins.get(self.unused).copied().unwrap_or(0);
                next.wrapping_add(self.bases[1])
            }
            _ => self.bases[3].wrapping_add(number as u32),
        };
        let away = |from: u32| i64::from(truth) - i64::from(from);
        let told = match role {
            _ if truth == foreseen => FORESEEN,
            Role::Name if truth == near => NEAR,
            Role::Type if away(near).abs() < away(foreseen).abs() => NEAR,
            _ => OTHER,
        };
        let history = &mut self.histories[role as usize];
        let told = self.m.word(s, kind, slot, role as u32, *history, told);
        *history = *history << 2 & 0xffff | told;
        let value = match (told, role) {
            (FORESEEN, _) => foreseen,
            (NEAR, Role::Name) => near,
            _ => {
                let from = if told == NEAR { near } else { foreseen };
                let away = self.m.value(s, kind, slot, told == NEAR, away(from));
                i64::from(from).wrapping_add(away) as u32
            }
        };
        if role == Role::Name {
            let number = value.wrapping_sub(self.bases[1]);
            if let Ok(at) = self.begins.binary_search(&number) {
                self.unused = self.unused.max(at + 1);
            }
        }
        match was.filter(|&was| was != 0 && value != foreseen) {
            Some(was) if role == Role::Name => drop(self.learned.names.insert(was, value)),
            Some(was) if role == Role::Type => drop(self.learned.types.insert(was, value)),
            _ => {}
        }
        value
    }
}
