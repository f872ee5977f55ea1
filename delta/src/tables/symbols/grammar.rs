//! The rows of one symbol table against the old ones.

use super::ground::{Expected, GUESSES, Ground, Seen};
use super::pair::pair;
use super::row::{self, Row};
use crate::code::{Model, Symbols, hash};
use crate::recipe::Recipe;
use crate::tables::names::places::Places;
use crate::tables::names::{NONE, Names};
use crate::tables::{Made, World};
use crate::{Error, error::Result};

/// How a new row relates to the old one at hand.
const FIELDS: u32 = 0;
const INSERT: u32 = 1;
const SKIP: u32 = 2;
const JUMP: u32 = 3;
const BACK: u32 = 4;
/// What follows in the string table, and whether it has an old row.
const NOTHING: u32 = 0;
const FRESH: u32 = 1;
const OLD: u32 = 2;
const AGREES: u32 = 3;
/// Where an address that was not foreseen is.
const UNIT: u32 = 0;
const NEAR: u32 = 1;

/// Models of all symbol tables.
pub struct Models {
    count: Model,
    follows: Model,
    kind: Model,
    skip: Model,
    jump: Model,
    back: Model,
    by_string: Model,
    moved: Model,
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

impl Default for Models {
    fn default() -> Self {
        Models {
            count: Model::new(1, 6, 255),
            follows: Model::new(4, 14, 1023),
            kind: Model::new(2, 10, 255),
            skip: Model::new(2, 12, 255),
            jump: Model::new(1, 14, 255),
            back: Model::new(2, 8, 255),
            by_string: Model::new(2, 12, 255),
            moved: Model::new(2, 12, 255),
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

/// The rows of a new table.
#[derive(Debug, Default)]
pub struct Rows {
    /// Their bytes.
    pub bytes: Vec<u8>,
    /// Old row that each continues, or [`NONE`].
    pub source: Vec<u32>,
}

struct Coder<'c> {
    m: &'c mut Models,
    ground: &'c Ground<'c>,
    names: &'c Names,
    seen: Seen,
    /// The next string that no old row names.
    fresh: usize,
    /// The string behind the last row's.
    string: usize,
    last: Row,
    /// Last new row without an old one, by the start of its name.
    like: Vec<Row>,
    /// Index behind the last function's unit.
    unit: usize,
}

/// Entries of [`Coder::like`].
const LIKE: usize = 1 << 8;
/// Continued old rows that are stepped over.
const STEPS: usize = 64;

/// Codes the rows of section `table`; keeps its recipe in `made`.
pub fn code<S: Symbols>(
    s: &mut S,
    m: &mut Models,
    world: &World,
    ground: &mut Ground,
    names: &Names,
    table: usize,
    made: &mut Made,
) -> Result<Rows> {
    let is_64 = world.elf.is_64;
    let width = row::len(is_64);
    let old_bytes = world.old_bytes(table)?;
    let old_at = world.pairs[table].map_or(0, |i| world.old.elf.sections[i].offset) as u32;
    let size = world.elf.sections[table].size as usize;
    if size % width != 0 {
        return Err(Error::DamagedPatch("a symbol table ends inside a row"));
    }
    let old_count = old_bytes.len() / width;
    let old_row = |j: usize| Row::read(is_64, &old_bytes[j * width..(j + 1) * width]);
    // From each old row on, the first whose name is still there.
    let mut alive = vec![old_count as u32; old_count + 1];
    for j in (0..old_count).rev() {
        alive[j] = if names.project(old_row(j).name).is_some() { j as u32 } else { alive[j + 1] };
    }
    // The first row that each old string names.
    let mut row_of = vec![NONE; names.old.len()];
    for j in (0..old_count).rev() {
        let name = old_row(j).name;
        if let Some(index) = names.old.find(name).filter(|&i| names.old.place(i).0 == name) {
            row_of[index] = j as u32;
        }
    }
    ground.set_free((0..old_count).filter(|&j| alive[j] == j as u32).map(old_row));
    let ground = &*ground;
    let expect = |seen: &Seen, j: usize| {
        let old = old_row(j);
        ground.expect(seen, &old, names.project(old.name).unwrap_or(0))
    };
    let truth: Vec<Row> = world
        .true_bytes(table)
        .map(|t| t.chunks_exact(width).map(|r| Row::read(is_64, r)).collect())
        .unwrap_or_default();
    let seen = Seen::new(world.elf.sections.len());
    let pairs = if S::READS {
        Vec::new()
    } else {
        let now = |j: usize| (alive[j] == j as u32).then(|| expect(&seen, j).row);
        pair(&(0..old_count).map(now).collect::<Vec<_>>(), &truth)
    };

    let like = vec![Row::default(); LIKE];
    let mut c = Coder { m, ground, names, seen, fresh: 0, string: 1, last: Row::default(), like, unit: 0 };
    let mut rows = Rows::default();
    let mut recipe = Recipe::default();
    let mut places = Places::default();
    let mut history = 0u32;
    let mut used = vec![false; old_count];
    let damaged = || Error::DamagedPatch("a symbol continues one that is not there");
    for i in 0..size / width {
        let known = truth.get(i).copied().unwrap_or_default();
        let pair = pairs.get(i).copied().unwrap_or(NONE) as usize;
        // The next old row that was not continued yet and whose name is still there.
        let mut expected = alive[places.expected.min(old_count)] as usize;
        for _ in 0..STEPS {
            if expected < old_count && used[expected] {
                expected = alive[expected + 1] as usize;
            }
        }
        places.expected = expected;
        // What follows in the string table is a second opinion.
        let other = names.source.get(c.string).map(|&old| row_of.get(old as usize).copied().unwrap_or(NONE));
        let other = other.filter(|&j| j == NONE || !used[j as usize]);
        let follow = match other {
            None => NOTHING,
            Some(NONE) => FRESH,
            Some(j) if j as usize == expected => AGREES,
            Some(_) => OLD,
        };
        let mut e = if expected < old_count { expect(&c.seen, expected) } else { Expected::default() };
        let contexts = [
            hash(hash(1, e.trust), follow),
            hash(hash(2, follow), history & 15),
            hash(hash(3, e.row.info.into()), u32::from(e.row.section) | follow << 16),
            hash(4, history & 255 | follow << 8),
        ];
        let follows = s.flag(&mut c.m.follows, &contexts, pair == expected && known == e.row);
        if follows && expected >= old_count {
            return Err(damaged());
        }
        let mut source = expected;
        let mut new = e.row;
        if !follows {
            let by_string = other.map_or(false, |j| j as usize == pair) && pair != expected
                && (pair != NONE as usize || known.name == names.starts.place(c.string).0);
            let contexts = [hash(hash(1, follow), history & 3), hash(hash(2, follow), history & 31)];
            let by_string = matches!(follow, FRESH | OLD) && s.flag(&mut c.m.by_string, &contexts, by_string);
            let skipped = |j: usize| j < old_count && (used[j] || alive[j] != j as u32);
            let mut kind = match pair {
                p if p == NONE as usize => INSERT,
                p if p == expected => FIELDS,
                p if places.left(|j| skipped(j)).any(|j| j == p) => BACK,
                p if p > expected && p - expected < 1 << 12 => SKIP,
                _ => JUMP,
            };
            if by_string {
                kind = if follow == FRESH { INSERT } else { JUMP };
                source = other.unwrap_or(NONE) as usize;
            } else {
                kind = s.tree(&mut c.m.kind, &[hash(1, history & 3), hash(2, history & 31)], 3, kind);
                if kind == SKIP {
                    let skip = s.number(&mut c.m.skip, &[0, history & 7], pair.wrapping_sub(expected) as u64);
                    source = expected.saturating_add(skip.min(1 << 32) as usize);
                } else if kind == BACK {
                    let left: Vec<usize> = places.left(skipped).collect();
                    let which = left.iter().position(|&j| j == pair).unwrap_or(0) as u32;
                    let which = s.tree(&mut c.m.back, &[0, history & 7], 3, which);
                    source = left.get(which as usize).copied().unwrap_or(usize::MAX);
                } else if kind != INSERT && kind != FIELDS {
                    let jump = s.signed(&mut c.m.jump, &[0], pair as i64 - expected as i64);
                    source = usize::try_from((expected as i64).saturating_add(jump)).unwrap_or(usize::MAX);
                }
            }
            if kind != INSERT && source >= old_count {
                return Err(damaged());
            }
            history = history << 2 | 1 + u32::from(kind == INSERT);
            if kind == INSERT {
                source = NONE as usize;
                let name = by_string.then(|| names.starts.place(c.string).0);
                new = c.insert(s, name, &known)?;
            } else {
                if source != expected {
                    e = expect(&c.seen, source);
                }
                let right = known == e.row;
                new = e.row;
                if source == expected || !s.flag(&mut c.m.moved, &[hash(1, e.trust), hash(2, history & 15)], right) {
                    new = c.fields(s, &e, &old_row(source), &known)?;
                }
            }
        } else {
            history <<= 2;
        }
        let old = (source < old_count).then(|| old_row(source));
        c.seen.learn(&e, old.as_ref(), &new);
        if s.exhausted() {
            return Err(Error::DamagedPatch("the symbols end too early"));
        }
        c.pass(&new);
        let bytes = &new.bytes(is_64)[..width];
        rows.bytes.extend_from_slice(bytes);
        rows.source.push(source as u32);
        if source < old_count {
            let from = source * width;
            recipe.copy(old_at + from as u32, &old_bytes[from..from + width], bytes);
            places.go(source, |j| j < old_count && (used[j] || alive[j] != j as u32));
            used[source] = true;
        } else {
            recipe.literal(bytes);
        }
    }
    recipe.finish();
    made.sections.push((table, recipe));
    Ok(rows)
}

impl Coder<'_> {
    /// Moves on behind a row.
    fn pass(&mut self, row: &Row) {
        if row.is_function()
            && let Some(unit) = self.ground.unit(row.value)
        {
            self.unit = unit + 1;
        }
        self.last = *row;
        let names = self.names;
        self.string = names.starts.find(row.name).map_or(usize::MAX, |i| i.saturating_add(1));
    }

    /// A row that continues an old one but is not as expected.
    fn fields<S: Symbols>(&mut self, s: &mut S, e: &Expected, old: &Row, known: &Row) -> Result<Row> {
        let mut new = e.row;
        let mut flags = 0;
        let mut same = |s: &mut S, m: &mut Model, field: u32, same: bool| {
            let told = s.flag(
                m,
                &[hash(1, field), hash(hash(2, field), flags), hash(hash(3, field), e.trust)],
                same,
            );
            flags = flags << 1 | u32::from(!told);
            told
        };
        let value_kept = same(s, &mut self.m.same, 0, known.value == new.value);
        if !value_kept {
            let others = &e.values[1..e.count.max(1)];
            let index = others.iter().position(|&v| v == known.value).map_or(0, |i| i as u32 + 1);
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
        if !same(s, &mut self.m.same, 3, (known.info, known.other) == (new.info, new.other)) {
            self.info(s, &mut new, known);
        }
        if !same(s, &mut self.m.same, 4, known.section == new.section) {
            new.section =
                s.number(&mut self.m.section, &[1, hash(2, new.section.into())], known.section.into()) as u16;
        }
        Ok(new)
    }

    /// A row without an old one: of the kind that names like it had.
    fn insert<S: Symbols>(&mut self, s: &mut S, name: Option<u32>, known: &Row) -> Result<Row> {
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
            let contexts = [hash(1, u32::from(new.info)), hash(hash(2, new.info.into()), self.last.section.into())];
            new.section = s.number(&mut self.m.section, &contexts, known.section.into()) as u16;
        }
        let base = if new.has_address() { self.seen.after(new.section).0 } else { 0 };
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
        let unit = if new.is_function() { self.ground.unit(known.value) } else { None };
        let way = if unit.is_some() { UNIT } else { NEAR };
        let kind = u32::from(new.info) | u32::from(new.section) << 8;
        let way = s.tree(&mut self.m.way, &[hash(1, new.info.into()), hash(2, kind)], 1, way);
        if way == UNIT {
            // Counted among the units that no old symbol names, if it is one of them.
            let free = &self.ground.free;
            let unit = unit.unwrap_or(0);
            let rank = free.binary_search(&(unit as u32)).ok();
            let is_free = s.flag(&mut self.m.is_free, &[0], rank.is_some());
            let (at, from) = match rank {
                _ if !is_free => (unit, self.unit),
                rank => (rank.unwrap_or(0), free.partition_point(|&u| (u as usize) < self.unit)),
            };
            let away = s.signed(&mut self.m.unit, &[is_free.into(), hash(1, self.last.info.into())], at as i64 - from as i64);
            let index = usize::try_from((from as i64).saturating_add(away)).unwrap_or(usize::MAX);
            let index = if is_free { free.get(index).map_or(usize::MAX, |&u| u as usize) } else { index };
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
        let contexts =
            [hash(1, new.info.into()), hash(2, new.section.into()), hash(3, self.last.size as u32)];
        new.size.wrapping_add_signed(s.signed(
            &mut self.m.size,
            &contexts,
            known.size.wrapping_sub(new.size) as i64,
        ))
    }
}
