//! The fields of one symbol row: of one that continues an old row but not as expected, and of one without.

use super::ground::{Expected, GUESSES, Ground, Seen};
use super::row::Row;
use crate::code::{Symbols, hash, symbols};
use crate::tables::names::{NONE, Names};
use crate::{Error, error::Result};

/// Where an address that was not foreseen is.
const UNIT: u32 = 0;
const NEAR: u32 = 1;
/// Entries of [`Coder::like`].
const LIKE: usize = 1 << 8;

symbols! {
    /// Models of the fields. `last` is the row before.
    pub struct FieldModels {
        same(12, 255) {
            /// A field of a continued row is as expected: 0 value, 1 size, 2 name, 3 info and other, 4 section.
            /// `flags`: the answers for the fields before, the last one lowest; `trust`: that of the expectation.
            same: flag by(field: u32, flags: u32, trust: u32)
                [hash(1, field), hash(hash(2, field), flags), hash(hash(3, field), trust)];
        }
        like(12, 255) {
            /// Info, other and section are those of the last new row whose name has the same hash of its first six
            /// bytes, `slot`.
            like: flag by(info: u8, slot: u32) [1, hash(2, info.into()), hash(3, slot)];
            /// The size is that row's, or that of the unit.
            like_size: flag by(info: u8, section: u16) [5, u32::from(info), u32::from(section)];
        }
        guess(12, 255) {
            /// Which further guess of the value is right, from 1; 0 for none.
            guess: tree(3) by(trust: u32) [hash(1, trust), 2];
        }
        text(14, 255) {
            /// The string of a name, against the next one that no old row has.
            string: signed by() [1, 2];
            /// Bytes into it.
            into: number by() [3, 4];
        }
        info(14, 255) {
            /// Info, against that of the guess.
            info: byte by(info: u8, last_section: u16) [hash(1, info.into()), hash(2, u32::from(last_section))];
            /// The byte called other.
            other: byte by(info: u8, other: u8) [hash(3, info.into()), hash(4, u32::from(other))];
        }
        section(12, 255) {
            /// The section of a continued row.
            section: number by(expected: u16) [1, hash(2, expected.into())];
            /// That of a new one.
            new_section: number by(info: u8, last_section: u16)
                [hash(1, u32::from(info)), hash(hash(2, info.into()), last_section.into())];
        }
        way(10, 255) {
            /// Where an address is: 0 the start of a unit, 1 near the guess.
            way: tree(1) by(info: u8, section: u16)
                [hash(1, info.into()), hash(2, u32::from(info) | u32::from(section) << 8)];
        }
        is_free(6, 255) {
            /// The unit is one that no old symbol names.
            is_free: flag by() [0];
        }
        unit(14, 255) {
            /// The unit against the last one's, among those or among all.
            unit: signed by(is_free: bool, last_info: u8) [is_free.into(), hash(1, last_info.into())];
        }
        value(18, 255) {
            /// The address against the guess.
            value: signed by(info: u8, section: u16)
                [hash(1, u32::from(info) | u32::from(section) << 8), hash(2, u32::from(info))];
        }
        size(16, 255) {
            /// The size against the guess.
            size: signed by(info: u8, section: u16, last_size: u64)
                [hash(1, info.into()), hash(2, section.into()), hash(3, last_size as u32)];
        }
    }
}

/// What the rows of one table have in common, and what was seen of them.
pub struct Coder<'c> {
    m: &'c mut FieldModels,
    ground: &'c Ground<'c>,
    names: &'c Names,
    /// What was seen of addresses.
    pub seen: Seen,
    /// The next string that no old row names.
    fresh: usize,
    /// The string behind the last row's.
    pub string: usize,
    last: Row,
    /// Last new row without an old one, by the start of its name.
    like: Vec<Row>,
    /// Index behind the last function's unit.
    unit: usize,
}

impl<'c> Coder<'c> {
    /// Before the first row.
    pub fn new(m: &'c mut FieldModels, ground: &'c Ground<'c>, names: &'c Names, seen: Seen) -> Self {
        let like = vec![Row::default(); LIKE];
        Coder {
            m,
            ground,
            names,
            seen,
            fresh: 0,
            string: 1,
            last: Row::default(),
            like,
            unit: 0,
        }
    }

    /// Moves on behind a row.
    pub fn pass(&mut self, row: &Row) {
        if row.is_function()
            && let Some(unit) = self.ground.unit(row.value)
        {
            self.unit = unit + 1;
        }
        self.last = *row;
        let names = self.names;
        self.string = names
            .starts
            .find(row.name)
            .map_or(usize::MAX, |i| i.saturating_add(1));
    }

    /// A row that continues an old one but is not as expected.
    pub fn fields<S: Symbols>(&mut self, s: &mut S, e: &Expected, old: &Row, known: &Row) -> Result<Row> {
        let mut new = e.row;
        let mut flags = 0;
        let mut same = |s: &mut S, m: &mut FieldModels, field: u32, same: bool| {
            let agrees = m.same(s, field, flags, e.trust, same);
            flags = flags << 1 | u32::from(!agrees);
            agrees
        };
        let value_kept = same(s, self.m, 0, known.value == new.value);
        if !value_kept {
            let others = &e.values[1..e.count.max(1)];
            let index = others
                .iter()
                .position(|&v| v == known.value)
                .map_or(0, |i| i as u32 + 1);
            let index = self.m.guess(s, e.trust, index) as usize;
            new.value = match index.checked_sub(1) {
                Some(i) => *e.values[..GUESSES].get(i + 1).unwrap_or(&0),
                None => self.value(s, &new, known, e.row.value),
            };
            new.size = self.ground.resize(old, new.value);
        }
        if !same(s, self.m, 1, known.size == new.size) {
            new.size = self.size(s, &new, known);
        }
        if !same(s, self.m, 2, known.name == new.name) {
            new.name = self.name(s, known)?;
        }
        if !same(s, self.m, 3, (known.info, known.other) == (new.info, new.other)) {
            self.info(s, &mut new, known);
        }
        if !same(s, self.m, 4, known.section == new.section) {
            new.section = self.m.section(s, new.section, known.section.into()) as u16;
        }
        Ok(new)
    }

    /// A row without an old one: of the kind that names like it had.
    pub fn insert<S: Symbols>(&mut self, s: &mut S, name: Option<u32>, known: &Row) -> Result<Row> {
        let name = match name {
            Some(name) => name,
            None => self.name(s, known)?,
        };
        let text = self.names.name(name);
        let slot = text.iter().take(6).fold(0, |h, &b| hash(h, b.into())) as usize % LIKE;
        let like = self.like[slot];
        let mut new = Row { name, ..like };
        let alike = (known.info, known.other, known.section) == (like.info, like.other, like.section);
        if !self.m.like(s, like.info, slot as u32, alike) {
            self.info(s, &mut new, known);
            let section = known.section.into();
            new.section = self.m.new_section(s, new.info, self.last.section, section) as u16;
        }
        let base = if new.has_address() {
            self.seen.after(new.section)
        } else {
            0
        };
        let base = self.ground.exception(&self.seen, &new).unwrap_or(base);
        new.value = self.value(s, &new, known, base);
        if let Some(unit) = self.ground.unit(new.value).filter(|_| new.is_function()) {
            new.size = u64::from(self.ground.units()[unit].len);
        }
        if !self.m.like_size(s, new.info, new.section, known.size == new.size) {
            new.size = self.size(s, &new, known);
        }
        self.like[slot] = new;
        Ok(new)
    }

    /// A name: counted from the next string that no old row has.
    fn name<S: Symbols>(&mut self, s: &mut S, known: &Row) -> Result<u32> {
        let source = &self.names.source;
        while source.get(self.fresh).is_some_and(|&o| o != NONE) {
            self.fresh += 1;
        }
        let starts = &self.names.starts;
        let truth = starts.find(known.name).unwrap_or(0);
        let away = self.m.string(s, truth as i64 - self.fresh as i64);
        let index = usize::try_from((self.fresh as i64).saturating_add(away)).unwrap_or(usize::MAX);
        if index >= starts.len() {
            return Err(Error::damaged("a symbol's name is not there"));
        }
        if source[index] == NONE && index >= self.fresh {
            self.fresh = index + 1;
        }
        let start = starts.place(index).0;
        let into = self.m.into(s, known.name.wrapping_sub(start).into());
        Ok(start.wrapping_add(into as u32))
    }

    fn info<S: Symbols>(&mut self, s: &mut S, new: &mut Row, known: &Row) {
        new.info = self.m.info(s, new.info, self.last.section, known.info);
        new.other = self.m.other(s, new.info, new.other, known.other);
    }

    /// A value: a unit of code counted from the last one, or an address near `base`.
    fn value<S: Symbols>(&mut self, s: &mut S, new: &Row, known: &Row, base: u64) -> u64 {
        let unit = if new.is_function() {
            self.ground.unit(known.value)
        } else {
            None
        };
        let way = if unit.is_some() { UNIT } else { NEAR };
        let way = self.m.way(s, new.info, new.section, way);
        if way == UNIT {
            // Counted among the units that no old symbol names, if it is one of them.
            let free = &self.ground.free;
            let unit = unit.unwrap_or(0);
            let rank = free.binary_search(&(unit as u32)).ok();
            let is_free = self.m.is_free(s, rank.is_some());
            let (at, from) = match rank {
                _ if !is_free => (unit, self.unit),
                rank => (
                    rank.unwrap_or(0),
                    free.partition_point(|&u| (u as usize) < self.unit),
                ),
            };
            let away = self.m.unit(s, is_free, self.last.info, at as i64 - from as i64);
            let index = usize::try_from((from as i64).saturating_add(away)).unwrap_or(usize::MAX);
            let index = if is_free {
                free.get(index).map_or(usize::MAX, |&u| u as usize)
            } else {
                index
            };
            return self.ground.units().get(index).map_or(0, |u| u.at.into());
        }
        let away = known.value.wrapping_sub(base) as i64;
        base.wrapping_add_signed(self.m.value(s, new.info, new.section, away))
    }

    fn size<S: Symbols>(&mut self, s: &mut S, new: &Row, known: &Row) -> u64 {
        let more = known.size.wrapping_sub(new.size) as i64;
        new.size
            .wrapping_add_signed(self.m.size(s, new.info, new.section, self.last.size, more))
    }
}
