//! The rows of one symbol table against the old ones.

use super::fields::{Coder, FieldModels};
use super::ground::{Expected, Ground, Seen};
use super::pair::pair;
use super::row::{self, Row};
use crate::budget::Keep;
use crate::code::{Symbols, hash, symbols};
use crate::elf::Elf;
use crate::place::{Off, SectionId};
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
/// Continued old rows that are stepped over.
const STEPS: usize = 64;

symbols! {
    /// Models of rows. `follow`: what the string table suggests, 0 nothing, 1 a new row, 2 an old row other than the
    /// expected, 3 the expected. `history`: for each row so far two bits, 0 as expected, 1 another, 2 a new one, the
    /// last one lowest. `trust`: that of the expectation.
    pub struct RowModels {
        follows(14, 1023) {
            /// The row is the expected one, as foreseen.
            follows: flag by(trust: u32, follow: u32, history: u32, info: u8, section: u16)
                [
                    hash(hash(1, trust), follow),
                    hash(hash(2, follow), history & 15),
                    hash(hash(3, info.into()), u32::from(section) | follow << 16),
                    hash(4, history & 255 | follow << 8),
                ];
        }
        kind(10, 255) {
            /// How it relates to the old rows.
            kind: tree(3) by(history: u32) [hash(1, history & 3), hash(2, history & 31)];
        }
        skip(12, 255) {
            /// Old rows that are skipped.
            skip: number by(history: u32) [0, history & 7];
        }
        jump(14, 255) {
            /// The old row against the expected one.
            jump: signed by() [0];
        }
        back(8, 255) {
            /// Which interrupted run goes on.
            back: tree(3) by(history: u32) [0, history & 7];
        }
        by_string(12, 255) {
            /// It is what the string table suggests.
            by_string: flag by(follow: u32, history: u32)
                [hash(hash(1, follow), history & 3), hash(hash(2, follow), history & 31)];
        }
        moved(12, 255) {
            /// A row other than the expected one is as foreseen.
            moved: flag by(trust: u32, history: u32) [hash(1, trust), hash(2, history & 15)];
        }
    }
}

/// Models of all symbol tables.
#[derive(Default)]
pub struct Models {
    fields: FieldModels,
    rows: RowModels,
}

impl Keep for Models {
    fn memory(&self) -> u64 {
        self.fields.memory() + self.rows.memory()
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

impl Rows {
    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.bytes.len() as u64 + 4 * self.source.len() as u64
    }
}

/// The rows of the old table, and what became of them.
struct Olds<'o> {
    elf: &'o Elf,
    bytes: &'o [u8],
    /// Bytes of a row.
    width: usize,
    count: usize,
    /// From each row on, the first whose name is still there.
    alive: Vec<u32>,
    /// The first row that each old string names.
    row_of: Vec<u32>,
    /// Rows that were continued.
    used: Vec<bool>,
    places: Places,
}

impl<'o> Olds<'o> {
    /// Bytes of memory that it holds.
    fn needs(elf: &Elf, bytes: &[u8], names: &Names) -> u64 {
        let rows = bytes.len() / row::len(elf.numbers);
        (4 * (rows + 1) + 4 * names.old.len() + rows) as u64
    }

    fn of(elf: &'o Elf, bytes: &'o [u8], names: &Names) -> Olds<'o> {
        let width = row::len(elf.numbers);
        let count = bytes.len() / width;
        let mut olds = Olds {
            elf,
            bytes,
            width,
            count,
            alive: vec![count as u32; count + 1],
            row_of: vec![NONE; names.old.len()],
            used: vec![false; count],
            places: Places::default(),
        };
        for j in (0..count).rev() {
            let name = olds.row(j).name;
            olds.alive[j] = match names.project(name) {
                Some(_) => j as u32,
                None => olds.alive[j + 1],
            };
            if let Some(index) = names.old.find(name).filter(|&i| names.old.place(i).0 == name) {
                olds.row_of[index] = j as u32;
            }
        }
        olds
    }

    fn row(&self, j: usize) -> Row {
        Row::read(self.elf, self.row_bytes(j))
    }

    fn row_bytes(&self, j: usize) -> &'o [u8] {
        &self.bytes[j * self.width..(j + 1) * self.width]
    }

    /// Whether the name of a row is still there.
    fn is_alive(&self, j: usize) -> bool {
        self.alive[j] == j as u32
    }

    /// Whether a row is stepped over.
    fn is_skipped(&self, j: usize) -> bool {
        j < self.count && (self.used[j] || !self.is_alive(j))
    }

    /// The next row that was not continued yet and whose name is still there.
    fn expected(&mut self) -> usize {
        let mut expected = self.alive[self.places.expected.min(self.count)] as usize;
        for _ in 0..STEPS {
            if expected < self.count && self.used[expected] {
                expected = self.alive[expected + 1] as usize;
            }
        }
        self.places.expected = expected;
        expected
    }

    /// The next rows of runs that were interrupted.
    fn left(&self) -> impl Iterator<Item = usize> {
        self.places.left(|j| self.is_skipped(j))
    }

    /// The row that is continued by what has this string, or [`NONE`] for a new one; nothing if it was continued.
    fn by_string(&self, names: &Names, string: usize) -> Option<u32> {
        let old = *names.source.get(string)?;
        let row = self.row_of.get(old as usize).copied().unwrap_or(NONE);
        (row == NONE || !self.used[row as usize]).then_some(row)
    }

    /// Takes note that a row is continued.
    fn take(&mut self, j: usize) {
        let Olds {
            count, used, alive, ..
        } = self;
        let skipped = |j: usize| j < *count && (used[j] || alive[j] != j as u32);
        self.places.go(j, skipped);
        self.used[j] = true;
    }
}

/// A table whose rows are coded.
pub struct Coded<'t> {
    /// Its number.
    pub section: SectionId,
    /// What it is coded from.
    pub world: &'t World<'t>,
    /// Names of both tables.
    pub names: &'t Names,
}

/// Codes the rows of a table; keeps its recipe in `made`.
pub fn code<S: Symbols>(
    s: &mut S,
    m: &mut Models,
    coded: &Coded,
    ground: &mut Ground,
    made: &mut Made,
) -> Result<Rows> {
    let Coded {
        section,
        world,
        names,
    } = *coded;
    let width = row::len(world.elf.numbers);
    let old_bytes = world.old_bytes(section)?;
    let old_at = world.pairs[section.index()].map_or(0, |i| world.old.elf[i].offset) as u32;
    let size = world.elf[section].size as usize;
    if !size.is_multiple_of(width) {
        return Err(Error::damaged("a symbol table ends inside a row"));
    }
    let mut held = world.account.held();
    let needs = old_bytes.len() as u64 + Olds::needs(&world.old.elf, &old_bytes, names);
    held.set(needs)?;
    let olds = Olds::of(&world.old.elf, &old_bytes, names);
    let alive = (0..olds.count).filter(|&j| olds.is_alive(j));
    ground.set_free(alive.map(|j| olds.row(j)));
    let ground = &*ground;
    let truth: Vec<Row> = world
        .true_bytes(section)
        .map(|t| t.chunks_exact(width).map(|r| Row::read(world.elf, r)).collect())
        .unwrap_or_default();
    let seen = Seen::new(world.elf.sections.len());
    let mut telling = Telling {
        m: &mut m.rows,
        c: Coder::new(&mut m.fields, ground, names, seen),
        olds,
        ground,
        names,
        history: 0,
    };
    let pairs = if S::READS {
        Vec::new()
    } else {
        let olds = &telling.olds;
        let now = |j: usize| olds.is_alive(j).then(|| telling.expect(j).row);
        pair(&(0..olds.count).map(now).collect::<Vec<_>>(), &truth)
    };
    let mut rows = Rows::default();
    let mut recipe = Recipe::default();
    for i in 0..size / width {
        let known = Known {
            row: truth.get(i).copied().unwrap_or_default(),
            pair: pairs.get(i).copied().unwrap_or(NONE) as usize,
        };
        let (source, new) = telling.row(s, &known)?;
        let bytes = &new.bytes(world.elf)[..width];
        rows.bytes.extend_from_slice(bytes);
        rows.source.push(source as u32);
        if source < telling.olds.count {
            let from = old_at + (source * width) as u32;
            recipe.copy(Off(from), telling.olds.row_bytes(source), bytes);
            telling.olds.take(source);
        } else {
            recipe.literal(bytes);
        }
        if i.is_multiple_of(1024) {
            held.set(needs + rows.memory() + recipe.memory())?;
        }
    }
    recipe.finish();
    held.set(needs + rows.memory() + recipe.memory())?;
    made.keep(world, section, recipe)?;
    Ok(rows)
}

/// What the writing side knows of a row: it, and the old one that it continues.
struct Known {
    row: Row,
    pair: usize,
}

/// Rows while they are coded one after the other.
struct Telling<'t> {
    m: &'t mut RowModels,
    c: Coder<'t>,
    olds: Olds<'t>,
    ground: &'t Ground<'t>,
    names: &'t Names,
    /// For each row so far two bits, the last one lowest.
    history: u32,
}

impl Telling<'_> {
    /// What an old row should be now.
    fn expect(&self, j: usize) -> Expected {
        let old = self.olds.row(j);
        let name = self.names.project(old.name).unwrap_or(0);
        self.ground.expect(&self.c.seen, &old, name)
    }

    /// Codes a row; gives the old one that it continues, if one, and it.
    fn row<S: Symbols>(&mut self, s: &mut S, known: &Known) -> Result<(usize, Row)> {
        let expected = self.olds.expected();
        // What follows in the string table is a second opinion.
        let other = self.olds.by_string(self.names, self.c.string);
        let follow = match other {
            None => NOTHING,
            Some(NONE) => FRESH,
            Some(j) if j as usize == expected => AGREES,
            Some(_) => OLD,
        };
        let mut e = match expected < self.olds.count {
            true => self.expect(expected),
            false => Expected::default(),
        };
        let (row, right) = (&e.row, known.pair == expected && known.row == e.row);
        let history = self.history;
        let follows = (self.m).follows(s, e.trust, follow, history, row.info, row.section, right);
        let (mut source, mut new) = (expected, e.row);
        if follows {
            if expected >= self.olds.count {
                return Err(damaged());
            }
            self.history <<= 2;
        } else {
            let by_string = self.by_string(s, follow, other, (expected, known));
            source = match by_string {
                true => other.unwrap_or(NONE) as usize,
                false => self.source(s, expected, known.pair)?,
            };
            let inserted = source == NONE as usize;
            if !inserted && source >= self.olds.count {
                return Err(damaged());
            }
            self.history = (self.history << 2) | (1 + u32::from(inserted));
            new = if inserted {
                let name = by_string.then(|| self.names.starts.place(self.c.string).0);
                self.c.insert(s, name, &known.row)?
            } else {
                if source != expected {
                    e = self.expect(source);
                }
                let right = known.row == e.row;
                match source != expected && self.m.moved(s, e.trust, self.history, right) {
                    true => e.row,
                    false => self.c.fields(s, &e, &self.olds.row(source), &known.row)?,
                }
            };
        }
        let old = (source < self.olds.count).then(|| self.olds.row(source));
        self.c.seen.learn(&e, old.as_ref(), &new);
        if s.exhausted() {
            return Err(Error::damaged("the symbols end too early"));
        }
        self.c.pass(&new);
        Ok((source, new))
    }

    /// Codes whether a row that is not the expected one is what the string table suggests.
    fn by_string<S: Symbols>(
        &mut self,
        s: &mut S,
        follow: u32,
        other: Option<u32>,
        (expected, known): (usize, &Known),
    ) -> bool {
        if !matches!(follow, FRESH | OLD) {
            return false;
        }
        let pair = known.pair;
        let is = other.is_some_and(|j| j as usize == pair)
            && pair != expected
            && (pair != NONE as usize || known.row.name == self.names.starts.place(self.c.string).0);
        self.m.by_string(s, follow, self.history, is)
    }

    /// Codes which old row is continued; [`NONE`] for a new row.
    fn source<S: Symbols>(&mut self, s: &mut S, expected: usize, pair: usize) -> Result<usize> {
        let (olds, history) = (&self.olds, self.history);
        let kind = match pair {
            p if p == NONE as usize => INSERT,
            p if p == expected => FIELDS,
            p if olds.left().any(|j| j == p) => BACK,
            p if p > expected && p - expected < 1 << 12 => SKIP,
            _ => JUMP,
        };
        let source = match self.m.kind(s, history, kind) {
            INSERT => return Ok(NONE as usize),
            FIELDS => expected,
            SKIP => {
                let skip = self.m.skip(s, history, pair.wrapping_sub(expected) as u64);
                expected.saturating_add(skip.min(1 << 32) as usize)
            }
            BACK => {
                let left: Vec<usize> = olds.left().collect();
                let which = left.iter().position(|&j| j == pair).unwrap_or(0) as u32;
                let which = self.m.back(s, history, which);
                left.get(which as usize).copied().unwrap_or(usize::MAX)
            }
            _ => {
                let jump = self.m.jump(s, pair as i64 - expected as i64);
                usize::try_from((expected as i64).saturating_add(jump)).unwrap_or(usize::MAX)
            }
        };
        match source < olds.count {
            true => Ok(source),
            false => Err(damaged()),
        }
    }
}

fn damaged() -> Error {
    Error::damaged("a symbol continues one that is not there")
}
