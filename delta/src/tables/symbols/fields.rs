//! The fields of one symbol row: of one that continues an old row but not as expected, and of one without.

use super::ground::{Expected, GUESSES, Ground, Seen};
use super::row::Row;
use crate::code::{Model, Symbols, hash};
use crate::tables::names::{NONE, Names};
use crate::{Error, error::Result};

/// Where an address that was not foreseen is.
const UNIT: u32 = 0;
const NEAR: u32 = 1;
/// Entries of [`Coder::like`].
const LIKE: usize = 1 << 8;

/// Models of the fields.
pub struct FieldModels {
    same: Model,
    like: Model,
    guess: Model,
    text: Model,
    info: Model,
    section: Model,
    way: Model,
    is_free: Model,
    unit: Model,
    value: Model,
    size: Model,
}

impl Default for FieldModels {
    fn default() -> Self {
        FieldModels {
            same: Model::new(3, 12, 255),
            like: Model::new(3, 12, 255),
            guess: Model::new(2, 12, 255),
            text: Model::new(2, 14, 255),
            info: Model::new(2, 14, 255),
            section: Model::new(2, 12, 255),
            way: Model::new(2, 10, 255),
            is_free: Model::new(1, 6, 255),
            unit: Model::new(2, 14, 255),
            value: Model::new(2, 18, 255),
            size: Model::new(3, 16, 255),
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
        let mut same = |s: &mut S, m: &mut Model, field: u32, same: bool| {
            let told = s.flag(
                m,
                &[
                    hash(1, field),
                    hash(hash(2, field), flags),
                    hash(hash(3, field), e.trust),
                ],
                same,
            );
            flags = flags << 1 | u32::from(!told);
            told
        };
        let value_kept = same(s, &mut self.m.same, 0, known.value == new.value);
        if !value_kept {
            let others = &e.values[1..e.count.max(1)];
            let index = others
                .iter()
                .position(|&v| v == known.value)
                .map_or(0, |i| i as u32 + 1);
            let index = s.tree(&mut self.m.guess, &[hash(1, e.trust), 2], 3, index) as usize;
            new.value = match index.checked_sub(1) {
                Some(i) => *e.values[..GUESSES].get(i + 1).unwrap_or(&0),
                None => self.value(s, &new, known, e.row.value),
            };
            new.size = self.ground.resize(old, new.value);
        }
        if !same(s, &mut self.m.same, 1, known.size == new.size) {
            new.size = self.size(s, &new, known);
        }
        if !same(s, &mut self.m.same, 2, known.name == new.name) {
            new.name = self.name(s, known)?;
        }
        if !same(
            s,
            &mut self.m.same,
            3,
            (known.info, known.other) == (new.info, new.other),
        ) {
            self.info(s, &mut new, known);
        }
        if !same(s, &mut self.m.same, 4, known.section == new.section) {
            new.section = s.number(
                &mut self.m.section,
                &[1, hash(2, new.section.into())],
                known.section.into(),
            ) as u16;
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
        let contexts = [1, hash(2, like.info.into()), hash(3, slot as u32)];
        if !s.flag(&mut self.m.like, &contexts, alike) {
            self.info(s, &mut new, known);
            let contexts = [
                hash(1, u32::from(new.info)),
                hash(hash(2, new.info.into()), self.last.section.into()),
            ];
            new.section = s.number(&mut self.m.section, &contexts, known.section.into()) as u16;
        }
        let base = if new.has_address() {
            self.seen.after(new.section)
        } else {
            0
        };
        let base = self.ground.exception(&self.seen, &new).unwrap_or(base);
        new.value = self.value(s, &new, known, base);
        if let Some(unit) = self.ground.unit(new.value).filter(|_| new.is_function()) {
            new.size = u64::from(self.ground.units()[unit].1);
        }
        let contexts = [5, u32::from(new.info), u32::from(new.section)];
        if !s.flag(&mut self.m.like, &contexts, known.size == new.size) {
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
        let away = s.signed(&mut self.m.text, &[1, 2], truth as i64 - self.fresh as i64);
        let index = usize::try_from((self.fresh as i64).saturating_add(away)).unwrap_or(usize::MAX);
        if index >= starts.len() {
            return Err(Error::DamagedPatch("a symbol's name is not there"));
        }
        if source[index] == NONE && index >= self.fresh {
            self.fresh = index + 1;
        }
        let start = starts.place(index).0;
        let into = s.number(&mut self.m.text, &[3, 4], known.name.wrapping_sub(start).into());
        Ok(start.wrapping_add(into as u32))
    }

    fn info<S: Symbols>(&mut self, s: &mut S, new: &mut Row, known: &Row) {
        let contexts = [hash(1, new.info.into()), hash(2, u32::from(self.last.section))];
        new.info = s.byte(&mut self.m.info, &contexts, known.info);
        let contexts = [hash(3, new.info.into()), hash(4, u32::from(new.other))];
        new.other = s.byte(&mut self.m.info, &contexts, known.other);
    }

    /// A value: a unit of code counted from the last one, or an address near `base`.
    fn value<S: Symbols>(&mut self, s: &mut S, new: &Row, known: &Row, base: u64) -> u64 {
        let unit = if new.is_function() {
            self.ground.unit(known.value)
        } else {
            None
        };
        let way = if unit.is_some() { UNIT } else { NEAR };
        let kind = u32::from(new.info) | u32::from(new.section) << 8;
        let way = s.tree(
            &mut self.m.way,
            &[hash(1, new.info.into()), hash(2, kind)],
            1,
            way,
        );
        if way == UNIT {
            // Counted among the units that no old symbol names, if it is one of them.
            let free = &self.ground.free;
            let unit = unit.unwrap_or(0);
            let rank = free.binary_search(&(unit as u32)).ok();
            let is_free = s.flag(&mut self.m.is_free, &[0], rank.is_some());
            let (at, from) = match rank {
                _ if !is_free => (unit, self.unit),
                rank => (
                    rank.unwrap_or(0),
                    free.partition_point(|&u| (u as usize) < self.unit),
                ),
            };
            let away = s.signed(
                &mut self.m.unit,
                &[is_free.into(), hash(1, self.last.info.into())],
                at as i64 - from as i64,
            );
            let index = usize::try_from((from as i64).saturating_add(away)).unwrap_or(usize::MAX);
            let index = if is_free {
                free.get(index).map_or(usize::MAX, |&u| u as usize)
            } else {
                index
            };
            return self.ground.units().get(index).map_or(0, |u| u.0.into());
        }
        let contexts = [hash(1, kind), hash(2, u32::from(new.info))];
        base.wrapping_add_signed(s.signed(
            &mut self.m.value,
            &contexts,
            known.value.wrapping_sub(base) as i64,
        ))
    }

    fn size<S: Symbols>(&mut self, s: &mut S, new: &Row, known: &Row) -> u64 {
        let contexts = [
            hash(1, new.info.into()),
            hash(2, new.section.into()),
            hash(3, self.last.size as u32),
        ];
        new.size.wrapping_add_signed(s.signed(
            &mut self.m.size,
            &contexts,
            known.size.wrapping_sub(new.size) as i64,
        ))
    }
}
