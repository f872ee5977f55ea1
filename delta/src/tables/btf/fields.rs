//! The words of each type, against those of the one that it continues.

use super::bases::Bases;
use super::order::Order;
use super::types::{HEAD, Role, Types, elements, kind, places, shape};
use super::{Known, sum};
use crate::code::{Symbols, hash, symbols};
use crate::tables::names::{NONE, Names};
use crate::{Error, error::Result};

/// How an element goes on; 1 is the next old one with changes.
const FORESEEN: u32 = 0;
const FRESH: u32 = 2;
const SKIP: u32 = 3;

/// Old elements among which one is looked for that a new one continues.
const AHEAD: usize = 64;

/// How a number of a type or an offset of a string is coded that is not as foreseen.
const NOTHING: u32 = 0;
const NEXT: u32 = 1;
const NEAR: u32 = 2;
const FAR: u32 = 3;

symbols! {
    /// Models of words. `site`: 8 times the kind of the type, plus the place: 0 to 2 a column of an element, 3 the third
    /// word, 4 the name, 5 the info word. `role`: 0 a string, 1 a type, 2 a number. `history`: for each type so far
    /// whether it was not as foreseen, the last one lowest. `unsure`: references that go by what stands near alone, at
    /// most 3.
    pub(super) struct FieldModels {
        same(14, 1023) {
            /// A continued type is as foreseen.
            same: flag by(kind: u32, unsure: u32, history: u32)
                [
                    hash(1, kind << 2 | unsure),
                    hash(hash(2, unsure), history & 15),
                    hash(hash(3, kind), unsure | (history & 3) << 2),
                ];
        }
        hit(12, 255) {
            /// A word of a type that is not, or of an element that changed, is as foreseen. `missed`: words of the type
            /// or element so far that were not, at most 3.
            hit: flag by(site: u32, role: u32, unsure: bool, missed: u32)
                [hash(hash(1, role), u32::from(unsure)), hash(hash(2, site), u32::from(unsure) << 2 | missed)];
        }
        kind(10, 255) {
            /// The kind of a type. `last`: that of the one before.
            kind: tree(5) by(last: u32) [0, 1 + last];
        }
        count(12, 255) {
            /// The low half of its info word, against the old one's.
            count: signed by(kind: u32, continued: bool) [hash(1, kind), hash(2, u32::from(continued))];
        }
        rest(10, 255) {
            /// Bits of it that are neither kind nor count: 16 to 23, then 29 to 31.
            rest: number by(kind: u32) [kind];
        }
        element(12, 255) {
            /// How an element goes on: 0 the next old one as foreseen, 1 that with changes, 2 a new one, 3 one further
            /// on. `last`: how the last ones of the type did, two bits each, the last one lowest.
            element: tree(2) by(kind: u32, last: u32, unsure: u32, ended: bool)
                [
                    hash(1, unsure << 1 | u32::from(ended)),
                    hash(hash(2, last & 15), unsure),
                    hash(hash(3, kind), unsure << 2 | last & 3),
                ];
        }
        skip(10, 255) {
            /// Old elements that are skipped, less one.
            skip: number by(kind: u32) [kind];
            /// Behind that: 1 if the element changed.
            changed: number by(kind: u32) [hash(2, kind)];
        }
        way(12, 255) {
            /// A reference that is not as foreseen: 0 to nothing; 1 to the string behind the last new one, or to the type
            /// before; 2 `near`, 3 `far`. `last`: how the last one of this role was coded.
            way: tree(2) by(site: u32, last: u32) [hash(1, site), hash(hash(2, site), last), hash(3, last)];
        }
        near(14, 255) {
            /// A string against the one behind the last new one, a type against the one at hand.
            near: signed by(site: u32, role: u32) [hash(1, site), hash(2, role)];
        }
        far(16, 255) {
            /// A string or type against what is foreseen of it, else against the last one coded so.
            far: signed by(role: u32, foreseen: bool) [0, 1 + role * 2 + u32::from(foreseen)];
        }
        value(16, 255) {
            /// A number, against what is foreseen of it.
            value: signed by(site: u32, foreseen: bool) [hash(1, site << 1 | u32::from(foreseen)), hash(2, site >> 3)];
        }
    }
}

/// The old table.
pub(super) struct Side<'s> {
    /// Its types.
    pub types: &'s Types,
    /// Where they and its strings begin to count.
    pub base: (u32, u32),
}

/// A word: what it means, where it stands, and the number of its type.
#[derive(Clone, Copy)]
struct Place {
    role: Role,
    site: u32,
    here: u32,
}

/// One way through the types.
pub(super) struct Fields<'f> {
    known: &'f mut Known,
    old: Side<'f>,
    order: &'f Order,
    names: &'f Names,
    bases: Bases,
    history: u32,
    /// The string behind the highest that a type named.
    fresh: usize,
    /// The last string and type coded as far ones, and how the last one of each was coded.
    far: [u32; 2],
    ways: [u32; 2],
    last_kind: u32,
}

impl<'f> Fields<'f> {
    /// Before the first type.
    pub fn new(known: &'f mut Known, old: Side<'f>, order: &'f Order, names: &'f Names) -> Self {
        Fields {
            bases: known.bases,
            known,
            old,
            order,
            names,
            history: 0,
            fresh: 0,
            far: [0; 2],
            ways: [0; 2],
            last_kind: 0,
        }
    }

    /// Bytes of memory that go on from table to table.
    pub fn memory(&self) -> u64 {
        crate::budget::Keep::memory(self.known)
    }

    /// Forgets what is of this table alone.
    pub fn finish(self) {
        self.known.types.forget(self.old.base.0);
        self.known.strings.forget(self.old.base.1);
    }

    /// What a word becomes, and whether that goes by what stands near alone.
    fn foresee(&self, role: Role, word: u32) -> (u32, bool) {
        let (moves, base) = match role {
            Role::Value => return (word, false),
            _ if word == 0 => return (0, false),
            Role::Name => (&self.known.strings, self.bases.old.1),
            Role::Type => (&self.known.types, self.bases.old.0),
        };
        if let Some(told) = moves.get(word) {
            return (told, false);
        }
        let Some(own) = word.checked_sub(base) else {
            return (moves.guess(word), true);
        };
        let new = match role {
            Role::Name => self
                .names
                .project(own)
                .map(|at| self.bases.new.1.wrapping_add(at)),
            _ => {
                let new = self.order.of_old.get(own as usize).filter(|&&new| new != NONE);
                new.map(|new| self.bases.new.0.wrapping_add(*new))
            }
        };
        (new.unwrap_or(0), new.is_none())
    }

    /// Learns what a word became.
    fn learn(&mut self, role: Role, old: Option<u32>, new: u32) {
        if let Some(old) = old.filter(|&old| old != 0 && role != Role::Value) {
            let (foreseen, unsure) = self.foresee(role, old);
            if foreseen != new || unsure {
                match role {
                    Role::Name => self.known.strings.learn(old, new),
                    _ => self.known.types.learn(old, new),
                }
            }
        }
        if role == Role::Name && new != 0 {
            let string = new
                .checked_sub(self.bases.new.1)
                .and_then(|at| self.names.starts.find(at));
            self.fresh = self.fresh.max(string.map_or(0, |string| string + 1));
        }
    }

    /// Codes the words of a new type.
    pub fn record<S: Symbols>(&mut self, s: &mut S, index: usize, truth: Option<&[u32]>) -> Result<Vec<u32>> {
        let source = self.order.source.get(index).copied().filter(|&j| j != NONE);
        let old = source.map_or(&[][..], |j| self.old.types.record(j as usize));
        let mut missed = 1;
        let mut record = Vec::new();
        if !old.is_empty() {
            let mut unsure = 0;
            for (word, role, _) in places(old) {
                let (word, guess) = self.foresee(role, word);
                record.push(word);
                unsure += u32::from(guess);
            }
            let same = truth == Some(&record);
            let same = self
                .known
                .fields
                .same(s, kind(old[1]), unsure.min(3), self.history, same);
            missed = u32::from(!same);
        }
        self.history = self.history << 1 | missed;
        if missed == 1 {
            record = self.changed(s, index, old, truth)?;
        } else {
            for ((word, role, _), &new) in places(old).zip(&record) {
                self.learn(role, Some(word), new);
            }
        }
        self.last_kind = kind(record[1]);
        Ok(record)
    }

    /// Codes the words of a type that is not as foreseen.
    fn changed<S: Symbols>(
        &mut self,
        s: &mut S,
        index: usize,
        old: &[u32],
        truth: Option<&[u32]>,
    ) -> Result<Vec<u32>> {
        let here = self.bases.new.0.wrapping_add(index as u32);
        let was = |i: usize| old.get(i).copied();
        let t = |i: usize| truth.and_then(|t| t.get(i)).copied().unwrap_or_default();
        let info = self.info(s, was(1), t(1))?;
        let Some((third, columns)) = shape(info) else {
            return Err(Error::damaged("a type is of no kind"));
        };
        let site = kind(info) << 3;
        // Words of another kind mean something else.
        let old = if was(1).is_some_and(|w| kind(w) == kind(info)) {
            old
        } else {
            &[]
        };
        let was = |i: usize| old.get(i).copied();
        let mut missed = 0;
        let place = |role, column| Place {
            role,
            site: site | column,
            here,
        };
        let name = self.word(s, place(Role::Name, 4), was(0), t(0), &mut missed)?;
        let third = self.word(s, place(third, 3), was(2), t(2), &mut missed)?;
        let mut record = vec![name, info, third];
        let truth = truth.map(|t| t.get(HEAD..).unwrap_or_default());
        let mut rest = Elements {
            old: old.get(HEAD..).unwrap_or_default(),
            columns,
            site,
            here,
            next: 0,
            last: 0,
            shift: [0; 3],
        };
        for i in 0..elements(info) {
            let t = truth.and_then(|t| t.get(i * columns.len()..)?.get(..columns.len()));
            rest.code(self, s, t, &mut record)?;
            if s.exhausted() {
                return Err(Error::damaged("the types end too early"));
            }
        }
        Ok(record)
    }

    /// Codes an info word.
    fn info<S: Symbols>(&mut self, s: &mut S, was: Option<u32>, t: u32) -> Result<u32> {
        let m = &mut self.known.fields;
        if let Some(was) = was
            && m.hit(s, kind(was) << 3 | 5, 2, false, 0, was == t)
        {
            return Ok(was);
        }
        let low = was.unwrap_or_default() & 0xffff;
        let kind = m.kind(s, self.last_kind, kind(t));
        let count = m.count(s, kind, was.is_some(), i64::from(t & 0xffff) - i64::from(low));
        let rest = m.rest(s, kind, u64::from(t >> 16 & 0xff | t >> 29 << 8));
        let count = sum(low, count)?;
        if count > 0xffff || rest > 0x7ff {
            return Err(Error::damaged("a type is of no kind"));
        }
        let rest = rest as u32;
        Ok(kind << 24 | count | (rest & 0xff) << 16 | rest >> 8 << 29)
    }

    /// Codes one word; `was` is the old one, `missed` counts those that were not as foreseen.
    fn word<S: Symbols>(
        &mut self,
        s: &mut S,
        place: Place,
        was: Option<u32>,
        t: u32,
        missed: &mut u32,
    ) -> Result<u32> {
        let Place { role, site, .. } = place;
        let foreseen = was.map(|was| self.foresee(role, was));
        if let Some((foreseen, unsure)) = foreseen
            && self
                .known
                .fields
                .hit(s, site, role as u32, unsure, *missed, foreseen == t)
        {
            self.learn(role, was, foreseen);
            return Ok(foreseen);
        }
        *missed = (*missed + 1).min(3);
        let foreseen = foreseen.map(|f| f.0);
        let new = match role {
            Role::Value => {
                let from = foreseen.unwrap_or_default();
                let away = i64::from(t) - i64::from(from);
                sum(from, self.known.fields.value(s, site, foreseen.is_some(), away))?
            }
            _ => self.reference(s, place, foreseen, t)?,
        };
        self.learn(role, was, new);
        Ok(new)
    }

    /// Codes a reference that is not as foreseen.
    fn reference<S: Symbols>(
        &mut self,
        s: &mut S,
        Place { role, site, here }: Place,
        foreseen: Option<u32>,
        t: u32,
    ) -> Result<u32> {
        let (next, near) = match role {
            Role::Name => {
                let fresh = self.names.starts.len().min(self.fresh);
                let at = match fresh < self.names.starts.len() {
                    true => self.names.starts.place(fresh).0,
                    false => self.names.table.len() as u32,
                };
                let at = self.bases.new.1.wrapping_add(at);
                (at, at)
            }
            _ => (here.wrapping_sub(1), here),
        };
        let r = role as usize;
        let from = foreseen.unwrap_or(self.far[r]);
        let apart = |from: u32| i64::from(t) - i64::from(from);
        let known = match t {
            0 => NOTHING,
            _ if t == next => NEXT,
            _ if apart(near).unsigned_abs() < apart(from).unsigned_abs() => NEAR,
            _ => FAR,
        };
        let m = &mut self.known.fields;
        let way = m.way(s, site, self.ways[r], known);
        self.ways[r] = way;
        Ok(match way {
            NOTHING => 0,
            NEXT => next,
            NEAR => sum(near, m.near(s, site, r as u32, apart(near)))?,
            _ => {
                self.far[r] = sum(from, m.far(s, r as u32, foreseen.is_some(), apart(from)))?;
                self.far[r]
            }
        })
    }
}

/// The elements of one type.
struct Elements<'e> {
    /// Words of the old ones.
    old: &'e [u32],
    columns: &'static [Role],
    site: u32,
    here: u32,
    /// The next old one.
    next: usize,
    /// How the last ones went on, two bits each.
    last: u32,
    /// By column, how far numbers moved in the last one that was coded.
    shift: [u32; 3],
}

impl Elements<'_> {
    fn was(&self, index: usize) -> Option<&[u32]> {
        let width = self.columns.len();
        self.old.get(index.checked_mul(width)?..)?.get(..width)
    }

    /// What an old element becomes, and how many words of it go by what stands near alone.
    fn foresee(&self, fields: &Fields, index: usize) -> Option<(Vec<u32>, u32)> {
        let (words, mut unsure) = (self.was(index)?.iter().zip(self.columns).zip(self.shift), 0);
        let foresee = |((&word, &role), shift): ((&u32, &Role), u32)| match role {
            Role::Value => word.wrapping_add(shift),
            _ => {
                let (word, guess) = fields.foresee(role, word);
                unsure += u32::from(guess);
                word
            }
        };
        Some((words.map(foresee).collect(), unsure))
    }

    /// On the writing side: the old element that a new one continues.
    fn partner(&self, fields: &Fields, t: &[u32]) -> Option<usize> {
        let end = self.old.len() / self.columns.len();
        let alike = |index: &usize| {
            let (foreseen, _) = self.foresee(fields, *index).unwrap_or_default();
            // A name of which nothing is known is taken to be in its place.
            let word = self.was(*index).map_or(0, |words| words[0]);
            let unknown = *index == self.next && fields.foresee(self.columns[0], word).1 && t[0] != 0;
            let named = self.columns[0] == Role::Value || foreseen[0] == t[0] || unknown;
            // Without a name it is the one that is alike in something else.
            let nameless = self.columns[0] == Role::Name && t[0] == 0;
            named && (!nameless || foreseen[1..] == t[1..])
        };
        (self.next..end).take(AHEAD).find(alike)
    }

    /// Codes one element and appends its words.
    fn code<S: Symbols>(
        &mut self,
        fields: &mut Fields,
        s: &mut S,
        t: Option<&[u32]>,
        record: &mut Vec<u32>,
    ) -> Result<()> {
        let k = self.site >> 3;
        let partner = t.and_then(|t| self.partner(fields, t));
        let right = |me: &Self, fields: &Fields, index: usize| {
            t.is_some_and(|t| me.foresee(fields, index).is_some_and(|words| words.0 == t))
        };
        let known = match partner {
            None => FRESH,
            Some(index) if index > self.next => SKIP,
            Some(index) => u32::from(!right(self, fields, index)),
        };
        let next = self.foresee(fields, self.next);
        let (ended, unsure) = (next.is_none(), next.map_or(0, |(_, unsure)| unsure));
        let how = fields.known.fields.element(s, k, self.last, unsure, ended, known);
        self.last = self.last << 2 | how;
        let (mut foreseen, mut index) = (how == FORESEEN, self.next);
        if how == SKIP {
            let skip = partner.unwrap_or(self.next).saturating_sub(self.next + 1);
            let skip = fields.known.fields.skip(s, k, skip as u64).min(1 << 32) as usize;
            index = self.next.saturating_add(1).saturating_add(skip);
            let changed = u64::from(!right(self, fields, index));
            foreseen = fields.known.fields.changed(s, k, changed) == 0;
        }
        let was: Vec<u32> = match how {
            FRESH => Vec::new(),
            _ => {
                let was = self.was(index).map(<[u32]>::to_vec);
                self.next = index.saturating_add(1);
                was.ok_or(Error::damaged("a part of a type continues one that is not there"))?
            }
        };
        let (words, _) = self.foresee(fields, index).unwrap_or_default();
        let mut missed = 0;
        for (column, &role) in self.columns.iter().enumerate() {
            let old = was.get(column).copied();
            let place = Place {
                role,
                site: self.site | column as u32,
                here: self.here,
            };
            let t = t.map_or(0, |t| t[column]);
            let new = if foreseen {
                fields.learn(role, old, words[column]);
                words[column]
            } else {
                let moved = if role == Role::Value {
                    self.shift[column]
                } else {
                    0
                };
                fields.word(s, place, old.map(|old| old.wrapping_add(moved)), t, &mut missed)?
            };
            if let Some(old) = old.filter(|_| role == Role::Value) {
                self.shift[column] = new.wrapping_sub(old);
            }
            record.push(new);
        }
        Ok(())
    }
}
