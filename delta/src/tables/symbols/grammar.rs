//! The rows of one symbol table against the old ones.

use super::fields::{Coder, FieldModels};
use super::ground::{Expected, Ground, Seen};
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
/// Continued old rows that are stepped over.
const STEPS: usize = 64;

/// Models of all symbol tables.
pub struct Models {
    fields: FieldModels,
    follows: Model,
    kind: Model,
    skip: Model,
    jump: Model,
    back: Model,
    by_string: Model,
    moved: Model,
}

impl Default for Models {
    fn default() -> Self {
        Models {
            fields: FieldModels::default(),
            follows: Model::new(4, 14, 1023),
            kind: Model::new(2, 10, 255),
            skip: Model::new(2, 12, 255),
            jump: Model::new(1, 14, 255),
            back: Model::new(2, 8, 255),
            by_string: Model::new(2, 12, 255),
            moved: Model::new(2, 12, 255),
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
    if !size.is_multiple_of(width) {
        return Err(Error::DamagedPatch("a symbol table ends inside a row"));
    }
    let old_count = old_bytes.len() / width;
    let old_row = |j: usize| Row::read(is_64, &old_bytes[j * width..(j + 1) * width]);
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
        .map(|t| t.chunks_exact(width).map(|r| Row::read(is_64, r)).collect())
        .unwrap_or_default();
    let seen = Seen::new(world.elf.sections.len());
    let pairs = if S::READS {
        Vec::new()
    } else {
        let now = |j: usize| (alive[j] == j as u32).then(|| expect(&seen, j).row);
        pair(&(0..old_count).map(now).collect::<Vec<_>>(), &truth)
    };

    let mut c = Coder::new(&mut m.fields, ground, names, seen);
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
        let contexts = [
            hash(hash(1, e.trust), follow),
            hash(hash(2, follow), history & 15),
            hash(
                hash(3, e.row.info.into()),
                u32::from(e.row.section) | follow << 16,
            ),
            hash(4, history & 255 | follow << 8),
        ];
        let follows = s.flag(&mut m.follows, &contexts, pair == expected && known == e.row);
        if follows && expected >= old_count {
            return Err(damaged());
        }
        let mut source = expected;
        let mut new = e.row;
        if !follows {
            let by_string = other.is_some_and(|j| j as usize == pair)
                && pair != expected
                && (pair != NONE as usize || known.name == names.starts.place(c.string).0);
            let contexts = [
                hash(hash(1, follow), history & 3),
                hash(hash(2, follow), history & 31),
            ];
            let by_string = matches!(follow, FRESH | OLD) && s.flag(&mut m.by_string, &contexts, by_string);
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
                kind = s.tree(
                    &mut m.kind,
                    &[hash(1, history & 3), hash(2, history & 31)],
                    3,
                    kind,
                );
                if kind == SKIP {
                    let skip = s.number(&mut m.skip, &[0, history & 7], pair.wrapping_sub(expected) as u64);
                    source = expected.saturating_add(skip.min(1 << 32) as usize);
                } else if kind == BACK {
                    let left: Vec<usize> = places.left(skipped).collect();
                    let which = left.iter().position(|&j| j == pair).unwrap_or(0) as u32;
                    let which = s.tree(&mut m.back, &[0, history & 7], 3, which);
                    source = left.get(which as usize).copied().unwrap_or(usize::MAX);
                } else if kind != INSERT && kind != FIELDS {
                    let jump = s.signed(&mut m.jump, &[0], pair as i64 - expected as i64);
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
                if source == expected
                    || !s.flag(&mut m.moved, &[hash(1, e.trust), hash(2, history & 15)], right)
                {
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
