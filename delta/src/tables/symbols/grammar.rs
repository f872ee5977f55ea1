//! The rows of one symbol table against the old ones.

use super::fields::{Coder, FieldModels};
use super::ground::{Expected, Ground, Seen};
use super::pair::pair;
use super::row::{self, Row};
use crate::budget::Keep;
use crate::code::{Symbols, hash, symbols};
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
    let width = row::len(world.elf.is_64);
    let old_bytes = world.old_bytes(table)?;
    let old_at = world.pairs[table].map_or(0, |i| world.old.elf.sections[i].offset) as u32;
    let size = world.elf.sections[table].size as usize;
    if !size.is_multiple_of(width) {
        return Err(Error::DamagedPatch("a symbol table ends inside a row"));
    }
    let old_count = old_bytes.len() / width;
    let old_row = |j: usize| Row::read(&world.old.elf, &old_bytes[j * width..(j + 1) * width]);
    // From each old row on, the first whose name is still there.
    let mut alive = vec![old_count as u32; old_count + 1];
    for j in (0..old_count).rev() {
        alive[j] = if names.project(old_row(j).name).is_some() {
            j as u32
        } else {
            alive[j + 1]
        };
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
        .map(|t| t.chunks_exact(width).map(|r| Row::read(world.elf, r)).collect())
        .unwrap_or_default();
    let seen = Seen::new(world.elf.sections.len());
    let pairs = if S::READS {
        Vec::new()
    } else {
        let now = |j: usize| (alive[j] == j as u32).then(|| expect(&seen, j).row);
        pair(&(0..old_count).map(now).collect::<Vec<_>>(), &truth)
    };

    let (m, fields) = (&mut m.rows, &mut m.fields);
    let mut c = Coder::new(fields, ground, names, seen);
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
        let other = names
            .source
            .get(c.string)
            .map(|&old| row_of.get(old as usize).copied().unwrap_or(NONE));
        let other = other.filter(|&j| j == NONE || !used[j as usize]);
        let follow = match other {
            None => NOTHING,
            Some(NONE) => FRESH,
            Some(j) if j as usize == expected => AGREES,
            Some(_) => OLD,
        };
        let mut e = if expected < old_count {
            expect(&c.seen, expected)
        } else {
            Expected::default()
        };
        let (row, right) = (&e.row, pair == expected && known == e.row);
        let follows = m.follows(s, e.trust, follow, history, row.info, row.section, right);
        if follows && expected >= old_count {
            return Err(damaged());
        }
        let mut source = expected;
        let mut new = e.row;
        if !follows {
            let by_string = other.is_some_and(|j| j as usize == pair)
                && pair != expected
                && (pair != NONE as usize || known.name == names.starts.place(c.string).0);
            let by_string = matches!(follow, FRESH | OLD) && m.by_string(s, follow, history, by_string);
            let skipped = |j: usize| j < old_count && (used[j] || alive[j] != j as u32);
            let mut kind = match pair {
                p if p == NONE as usize => INSERT,
                p if p == expected => FIELDS,
                p if places.left(skipped).any(|j| j == p) => BACK,
                p if p > expected && p - expected < 1 << 12 => SKIP,
                _ => JUMP,
            };
            if by_string {
                kind = if follow == FRESH { INSERT } else { JUMP };
                source = other.unwrap_or(NONE) as usize;
            } else {
                kind = m.kind(s, history, kind);
                if kind == SKIP {
                    let skip = m.skip(s, history, pair.wrapping_sub(expected) as u64);
                    source = expected.saturating_add(skip.min(1 << 32) as usize);
                } else if kind == BACK {
                    let left: Vec<usize> = places.left(skipped).collect();
                    let which = left.iter().position(|&j| j == pair).unwrap_or(0) as u32;
                    let which = m.back(s, history, which);
                    source = left.get(which as usize).copied().unwrap_or(usize::MAX);
                } else if kind != INSERT && kind != FIELDS {
                    let jump = m.jump(s, pair as i64 - expected as i64);
                    source = usize::try_from((expected as i64).saturating_add(jump)).unwrap_or(usize::MAX);
                }
            }
            if kind != INSERT && source >= old_count {
                return Err(damaged());
            }
            history = (history << 2) | (1 + u32::from(kind == INSERT));
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
                if source == expected || !m.moved(s, e.trust, history, right) {
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
        let bytes = &new.bytes(world.elf)[..width];
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
