//! Headers and section map of the new file, word by word against the old ones.

use super::regions::{HEADERS, pair_sections};
use super::{Io, Plan};
use crate::budget::Budget;
use crate::code::{Stream, Symbols, hash, symbols};
use crate::elf::{self, Elf, Numbers, Parts, Region, address::Addresses};
use crate::layout::OldImage;
use crate::place::SectionId;
use crate::tables::{BYTE_MODELS, Choices, names};
use crate::{Error, error::Result};

/// What the headers of the new file say.
pub struct NewFile {
    /// Its length in bytes.
    pub len: u64,
    /// Its headers as bytes.
    pub parts: Parts,
    /// Its section map.
    pub elf: Elf,
    /// Its loaded sections.
    pub addresses: Addresses,
    /// Its regions, in file order.
    pub regions: Vec<Region>,
    /// Old section of each new one.
    pub pairs: Vec<Option<SectionId>>,
    /// Which sections are modelled.
    pub choices: Choices,
}

/// Codes the headers of a new file of `len` bytes, and which of its sections are modelled.
pub fn code<S: Symbols>(io: &mut Io<S>, old: &OldImage, len: u64, plan: Option<&Plan>) -> Result<NewFile> {
    if len > u64::from(u32::MAX) {
        return Err(Error::damaged("a file of 4 GiB or more is not coded so"));
    }
    let mut stage = io.stage([]);
    let account = stage.account();
    let s = stage.get(Stream::Skeleton);
    let empty = Parts::default();
    let new = plan.map_or(&empty, |p| &p.parts);
    let parts = parts(s, account, old, new)?;
    let elf = checked_elf(&parts, len)?;
    let damaged = || Error::damaged("its sections do not fit together");
    let addresses = Addresses::of(&elf).ok_or_else(damaged)?;
    let regions = elf.regions(len).ok_or_else(damaged)?;
    let choices = Choices::code(s, account, &elf, plan.map(|p| &p.choices))?;
    stage.spent_on(HEADERS, &[Stream::Skeleton]);
    Ok(NewFile {
        len,
        pairs: pair_sections(&old.elf, &elf),
        parts,
        elf,
        addresses,
        regions,
        choices,
    })
}

symbols! {
    /// Models of the skeleton stream. `column`: place in its row in words, a row being 56 bytes of the head and 64 of
    /// the table.
    struct SkeletonModels {
        length(8, 255) {
            /// Length of a part against the old one's.
            length: signed by() [0];
        }
        same(12, 255) {
            /// A word is the old one. `history`: for each word of the part so far whether it was, the last one lowest.
            same: flag by(column: u32, history: u32) [hash(1, column), hash(2, history & 0xff), 3];
            /// The section names are the old ones.
            same_names: flag by() [4, 5, 6];
            /// In objects: they are coded as strings.
            strings: flag by() [7, 8, 9];
        }
        shift(10, 255) {
            /// Which of the last differences, from 1; 0 for a new one.
            shift: number by(column: u32) [hash(1, column), 2];
        }
        word(14, 255) {
            /// A new difference.
            word: signed by(column: u32) [hash(1, column), 2];
        }
        row(10, 255) {
            /// In objects: the old row that a row of the table goes on from, against the one behind the last one.
            row: signed by() [1, 2];
        }
        steady(12, 255) {
            /// A word of it differs from the old one as far as is foreseen. `sort`: of the section, 1 relocations, 2 a
            /// group, 0 another; `history`: for each word so far whether it did, the last one lowest.
            steady: flag by(column: u32, sort: u32, history: u32)
                [hash(1, column | sort << 4), hash(2, column | (history & 0xff) << 4), hash(3, history & 0xf)];
        }
        byte(14, 255) {
            /// A byte of the names. `was`: the old one there, 256 behind the end; `before`: the one before, or 0.
            byte: byte by(was: u32, before: u32) [hash(1, was), hash(hash(2, was), before), hash(3, before)];
        }
    }
}

/// Differences of words seen lately, most recent first.
const SHIFTS: usize = 8;
/// Longest part that is coded so, in bytes.
const LONGEST: u64 = 1 << 20;

fn length<S: Symbols>(s: &mut S, m: &mut SkeletonModels, old: usize, new: usize) -> Result<usize> {
    let length = m.length(s, new as i64 - old as i64).saturating_add(old as i64);
    let length = u64::try_from(length).ok().filter(|&l| l <= LONGEST);
    length
        .map(|l| l as usize)
        .ok_or(Error::damaged("its headers are too long"))
}

/// A part in both files, and how the old one writes numbers.
#[derive(Clone, Copy)]
struct Sides<'p> {
    numbers: Numbers,
    old: &'p [u8],
    new: &'p [u8],
}

/// The word at a place, in the order of the old file's bytes, with zeros behind the end.
fn word(numbers: Numbers, bytes: &[u8], at: usize) -> u64 {
    let mut w = [0; 8];
    let piece = bytes.get(at..bytes.len().min(at.saturating_add(8)));
    let piece = piece.unwrap_or_default();
    w[..piece.len()].copy_from_slice(piece);
    numbers.get(&w)
}

/// Codes a difference: one of the last ones, or a new one.
fn shift<S: Symbols>(
    s: &mut S,
    m: &mut SkeletonModels,
    column: u32,
    shifts: &mut [u64; SHIFTS],
    truth: u64,
) -> Result<u64> {
    let known = shifts.iter().position(|&d| d == truth);
    let k = m.shift(s, column, known.map_or(0, |k| k as u64 + 1)) as usize;
    let shift = match k {
        0 => m.word(s, column, truth as i64) as u64,
        _ => *shifts
            .get(k - 1)
            .ok_or(Error::damaged("a header shift is unknown"))?,
    };
    let from = shifts.iter().position(|&d| d == shift).unwrap_or(SHIFTS - 1);
    shifts.copy_within(0..from, 1);
    shifts[0] = shift;
    Ok(shift)
}

/// Codes a part word by word, in rows of `row` bytes.
fn words<S: Symbols>(
    s: &mut S,
    m: &mut SkeletonModels,
    row: usize,
    Sides { numbers, old, new }: Sides,
    shifts: &mut [u64; SHIFTS],
) -> Result<Vec<u8>> {
    let len = length(s, m, old.len(), new.len())?;
    let mut out = Vec::with_capacity(len + 8);
    let mut history = 0u32;
    while out.len() < len {
        let at = out.len();
        let (was, is) = (word(numbers, old, at), word(numbers, new, at));
        let column = (at % row / 8) as u32;
        let same = m.same(s, column, history, was == is);
        history = history << 1 | u32::from(same);
        let value = if same {
            was
        } else {
            was.wrapping_add(shift(s, m, column, shifts, is.wrapping_sub(was))?)
        };
        numbers.push(&mut out, value, 8);
    }
    out.truncate(len);
    Ok(out)
}

/// What a section holds, as far as its row goes by it: the type stands behind the name.
fn sort(numbers: Numbers, first: u64) -> usize {
    match if numbers.big_endian {
        first & 0xffff_ffff
    } else {
        first >> 32
    } {
        4 | 9 => 1,
        17 => 2,
        _ => 0,
    }
}

/// How far the words of a row are foreseen to differ from those of an old one.
#[derive(Default)]
struct Steady {
    /// How far the name of the last row moved.
    name: u64,
    /// By sort: how far what follows the last section moved, and to whom it is linked.
    end: [u64; 3],
    link: [u64; 3],
}

impl Steady {
    /// What is foreseen of a column.
    fn of(&self, column: usize, sort: usize) -> u64 {
        match column {
            0 => self.name,
            3 => self.end[sort],
            5 => self.link[sort],
            _ => 0,
        }
    }
}

/// Codes the section headers of an object, in rows of `row` bytes; `pairs`: on the writing side, the old row for each.
fn rows<S: Symbols>(
    s: &mut S,
    m: &mut SkeletonModels,
    (row, pairs): (usize, &[Option<SectionId>]),
    Sides { numbers, old, new }: Sides,
    shifts: &mut [u64; SHIFTS],
) -> Result<Vec<u8>> {
    let len = length(s, m, old.len(), new.len())?;
    let mut out = Vec::with_capacity(len + row);
    let (mut steady, mut next, mut history) = (Steady::default(), 0i64, 0u32);
    while out.len() < len {
        let pair = pairs.get(out.len() / row).copied().flatten();
        let known = pair.map_or(next.saturating_sub(1), |pair| pair.0.into());
        let index = next.saturating_add(m.row(s, known.wrapping_sub(next)));
        next = index.saturating_add(1);
        let from = usize::try_from(index).ok().and_then(|i| i.checked_mul(row));
        let (mut moved, mut sort) = ([0; 8], 0);
        for (column, moved) in moved.iter_mut().enumerate().take(row / 8) {
            let was = from.map_or(0, |from| word(numbers, old, from.saturating_add(8 * column)));
            let truth = word(numbers, new, out.len()).wrapping_sub(was);
            let foreseen = steady.of(column, sort);
            let is_steady = m.steady(s, column as u32, sort as u32, history, truth == foreseen);
            history = history << 1 | u32::from(is_steady);
            *moved = match is_steady {
                true => foreseen,
                false => shift(s, m, column as u32, shifts, truth)?,
            };
            let value = was.wrapping_add(*moved);
            if column == 0 {
                sort = self::sort(numbers, value);
            }
            numbers.push(&mut out, value, 8);
        }
        steady.name = moved[0];
        steady.end[sort] = moved[3].wrapping_add(moved[4]);
        steady.link[sort] = moved[5];
        if s.exhausted() {
            return Err(Error::damaged("the header stream ends too early"));
        }
    }
    out.truncate(len);
    Ok(out)
}

/// Codes the section names.
fn section_names<S: Symbols>(
    s: &mut S,
    m: &mut SkeletonModels,
    (account, told): (&Budget, bool),
    old: &[u8],
    new: &[u8],
) -> Result<Vec<u8>> {
    let len = length(s, m, old.len(), new.len())?;
    let mut names = Vec::with_capacity(len);
    let same = m.same_names(s, old == new) && len == old.len();
    if same {
        return Ok(old.to_vec());
    }
    if told && m.strings(s, names::fits(new)) {
        let mut held = account.held();
        held.set(BYTE_MODELS)?;
        let truth = (!S::READS).then_some(new);
        return Ok(names::table(s, account, (old, 0), len as u64, truth)?.0.table);
    }
    while names.len() < len {
        let at = names.len();
        let before = names.last().map_or(0, |&b: &u8| u32::from(b));
        let was = old.get(at).map_or(256, |&b| u32::from(b));
        let known = new.get(at).copied().unwrap_or(0);
        names.push(m.byte(s, was, before, known));
    }
    Ok(names)
}

/// Codes the three parts; of an object the names come before the table.
fn parts<S: Symbols>(s: &mut S, account: &Budget, old: &OldImage, new: &Parts) -> Result<Parts> {
    let (mut models, mut shifts, was) = (account.lend(), [0; SHIFTS], &old.parts);
    let (m, numbers) = (&mut models, old.elf.numbers);
    let sides = |old, new| Sides { numbers, old, new };
    let head = words(s, m, 56, sides(&was.head, &new.head), &mut shifts)?;
    let object = old.elf.is_object() && numbers.half(&head, 16) == Some(1);
    let (table, names);
    if object {
        names = section_names(s, m, (account, true), &was.names, &new.names)?;
        let pairs = new.elf().map_or(Vec::new(), |elf| pair_sections(&old.elf, &elf));
        let row = if head.get(4) == Some(&2) { 64 } else { 40 };
        table = rows(s, m, (row, &pairs), sides(&was.table, &new.table), &mut shifts)?;
    } else {
        table = words(s, m, 64, sides(&was.table, &new.table), &mut shifts)?;
        names = section_names(s, m, (account, false), &was.names, &new.names)?;
    }
    if s.exhausted() {
        return Err(Error::damaged("the header stream ends too early"));
    }
    Ok(Parts { head, table, names })
}

/// Reads the places of the parts in a new file whose parts are known, and checks that they fit its length.
fn checked_elf(parts: &Parts, len: u64) -> Result<Elf> {
    let damaged = || Error::damaged("its headers do not fit together");
    let elf = parts.elf().ok_or_else(damaged)?;
    let places = elf::places(&parts.head).ok_or_else(damaged)?;
    let names = elf.get(elf.names).ok_or_else(damaged)?;
    let fits = places.head_len == parts.head.len() as u64
        && places.table.1 == parts.table.len() as u64
        && names.size == parts.names.len() as u64
        && elf
            .sections
            .iter()
            .all(|s| !s.in_file() || s.offset + s.size <= len);
    if fits { Ok(elf) } else { Err(damaged()) }
}
