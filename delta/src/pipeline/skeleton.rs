//! Headers and section map of the new file, word by word against the old ones.

use super::regions::{HEADERS, pair_sections};
use super::{Io, Plan};
use crate::code::{Stream, Symbols, hash, symbols};
use crate::elf::{self, Elf, Parts, Region, address::Addresses};
use crate::layout::OldImage;
use crate::tables::Choices;
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
    pub pairs: Vec<Option<usize>>,
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
    let mut models = account.lend();
    let parts = parts(s, &mut models, &old.parts, plan.map_or(&empty, |p| &p.parts))?;
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
        }
        shift(10, 255) {
            /// Which of the last differences, from 1; 0 for a new one.
            shift: number by(column: u32) [hash(1, column), 2];
        }
        word(14, 255) {
            /// A new difference.
            word: signed by(column: u32) [hash(1, column), 2];
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

/// Codes a part word by word, in rows of `row` bytes.
fn words<S: Symbols>(
    s: &mut S,
    m: &mut SkeletonModels,
    row: usize,
    old: &[u8],
    new: &[u8],
    shifts: &mut [u64; SHIFTS],
) -> Result<Vec<u8>> {
    let len = length(s, m, old.len(), new.len())?;
    let word = |bytes: &[u8], at: usize| {
        let mut w = [0; 8];
        let piece = bytes.get(at..bytes.len().min(at + 8)).unwrap_or_default();
        w[..piece.len()].copy_from_slice(piece);
        u64::from_le_bytes(w)
    };
    let mut out = Vec::with_capacity(len + 8);
    let mut history = 0u32;
    while out.len() < len {
        let at = out.len();
        let (was, is) = (word(old, at), word(new, at));
        let column = (at % row / 8) as u32;
        let same = m.same(s, column, history, was == is);
        history = history << 1 | u32::from(same);
        let value = if same {
            was
        } else {
            let known = shifts.iter().position(|&d| was.wrapping_add(d) == is);
            let k = known.map_or(0, |k| k as u64 + 1);
            let k = m.shift(s, column, k) as usize;
            let shift = match k {
                0 => m.word(s, column, is.wrapping_sub(was) as i64) as u64,
                _ => *shifts
                    .get(k - 1)
                    .ok_or(Error::damaged("a header shift is unknown"))?,
            };
            let from = shifts.iter().position(|&d| d == shift).unwrap_or(SHIFTS - 1);
            shifts.copy_within(0..from, 1);
            shifts[0] = shift;
            was.wrapping_add(shift)
        };
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.truncate(len);
    Ok(out)
}

/// Codes the three parts.
fn parts<S: Symbols>(s: &mut S, m: &mut SkeletonModels, old: &Parts, new: &Parts) -> Result<Parts> {
    let mut shifts = [0; SHIFTS];
    let head = words(s, m, 56, &old.head, &new.head, &mut shifts)?;
    let table = words(s, m, 64, &old.table, &new.table, &mut shifts)?;
    let len = length(s, m, old.names.len(), new.names.len())?;
    let mut names = Vec::with_capacity(len);
    let same = m.same_names(s, old.names == new.names) && len == old.names.len();
    if same {
        names.clone_from(&old.names);
    }
    while names.len() < len {
        let at = names.len();
        let before = names.last().map_or(0, |&b: &u8| u32::from(b));
        let was = old.names.get(at).map_or(256, |&b| u32::from(b));
        let known = new.names.get(at).copied().unwrap_or(0);
        names.push(m.byte(s, was, before, known));
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
    let names = elf.sections.get(elf.names).ok_or_else(damaged)?;
    let fits = places.head_len == parts.head.len() as u64
        && places.table.1 == parts.table.len() as u64
        && names.size == parts.names.len() as u64
        && elf
            .sections
            .iter()
            .all(|s| !s.in_file() || s.offset + s.size <= len);
    if fits { Ok(elf) } else { Err(damaged()) }
}
