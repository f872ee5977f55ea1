//! Sections with a grammar of their own: each is a source of references and a way to rebuild its bytes.
//!
//! A table is modelled only where the encoder found that its model reproduces it; the choice is sent. What a
//! table makes is the recipe of its section.

pub mod btf;
mod exceptions;
mod frame_index;
mod frames;
pub mod go;
pub mod hash;
pub mod index;
pub mod jumps;
mod landmarks;
pub mod names;
mod order;
pub mod relocations;
pub mod symbols;
pub mod words;

pub use frames::{Unwind, UnwindFit};

use crate::budget::Budget;
use crate::code::{Symbols, symbols};
use crate::data::{Cover, Known};
use crate::elf::{Elf, address::Addresses};
use crate::layout::{CodeMap, NewUnit, OldImage};
use crate::predict::Targets;
use crate::recipe::Recipe;
use crate::{Error, error::Result};

/// Bytes of an old section read at a time.
const CHUNK: usize = 1 << 16;

const SHF_ALLOC: u64 = 2;

/// The one predictor that each kind of table has so far; a later one takes the next number.
const PREDICTOR: u64 = 1;

/// The models there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Relocations of a loaded file.
    Relocations,
    /// `.eh_frame`.
    Frames,
    /// `.eh_frame_hdr`.
    FrameIndex,
    /// `.gcc_except_table`.
    Exceptions,
    /// A symbol table.
    Symbols,
    /// The names of a symbol table.
    Names,
    /// `.gnu.hash` or `.hash`.
    Hash,
    /// `.gnu.version`.
    Versions,
    /// Go's function table, `.gopclntab`.
    Functions,
    /// `.ARM.exidx`.
    Index,
    /// `.BTF`, types of a kernel.
    Btf,
}

/// The model that a section of the new file could have, going by its header and name.
pub fn candidate(elf: &Elf, section: usize) -> Option<Table> {
    let s = &elf.sections[section];
    if !s.in_file() {
        return None;
    }
    if relocations::Form::of(elf, s).is_some() {
        return Some(Table::Relocations);
    }
    if let Some(table) = symbols::candidate(elf, section) {
        return Some(table);
    }
    if index::is_one(elf, section) {
        return Some(Table::Index);
    }
    if crate::elf::go::section(elf) == Some(section) {
        return Some(Table::Functions);
    }
    let by_name: &[(&[u8], Table)] = &[
        (b".eh_frame", Table::Frames),
        (b".eh_frame_hdr", Table::FrameIndex),
        (b".gcc_except_table", Table::Exceptions),
        (b".BTF", Table::Btf),
    ];
    by_name
        .iter()
        .find(|(name, _)| s.name == *name)
        .map(|(_, table)| *table)
}

/// The sections that are modelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    chosen: Vec<Option<Table>>,
}

symbols! {
    /// Models of the choice.
    struct ChoiceModels {
        predictor(6, 255) {
            /// The predictor of a candidate, 0 for none; `table` counts the kinds of table as they are listed above.
            predictor: number by(table: Table) [table as u32];
        }
    }
}

impl Choices {
    /// All candidates, for which `fits` says yes.
    pub fn new(elf: &Elf, mut fits: impl FnMut(usize, Table) -> bool) -> Choices {
        let pick = |i| candidate(elf, i).filter(|&t| fits(i, t));
        Choices {
            chosen: (0..elf.sections.len()).map(pick).collect(),
        }
    }

    /// The model of a section.
    pub fn of(&self, section: usize) -> Option<Table> {
        self.chosen.get(section).copied().flatten()
    }

    /// The sections with a model.
    pub fn sections(&self, table: Table) -> impl Iterator<Item = usize> + '_ {
        (0..self.chosen.len()).filter(move |&i| self.chosen[i] == Some(table))
    }

    /// The names of the sections with these models, for reports.
    pub fn shown(&self, tables: &[Table], elf: &Elf) -> String {
        let among = |&i: &usize| self.chosen[i].is_some_and(|t| tables.contains(&t));
        let names = (0..self.chosen.len())
            .filter(among)
            .map(|i| elf.sections[i].shown());
        names.collect::<Vec<_>>().join(" ")
    }

    /// Sends the choice: for each candidate the number of its predictor, 0 for none.
    pub fn code<S: Symbols>(
        s: &mut S,
        account: &Budget,
        elf: &Elf,
        truth: Option<&Choices>,
    ) -> Result<Choices> {
        let mut models = account.lend::<ChoiceModels>();
        let mut unknown = None;
        let choices = Choices::new(elf, |i, table| {
            let known = truth.and_then(|c| c.of(i)).map_or(0, |_| PREDICTOR);
            let predictor = models.predictor(s, table, known);
            if predictor > PREDICTOR {
                unknown = Some(predictor);
            }
            predictor == PREDICTOR
        });
        let refused = |n| Error::Unsupported(format!("predictor {n} of a table"));
        unknown.map_or(Ok(choices), |n| Err(refused(n)))
    }
}

/// What every table may use of the two files.
pub struct World<'w> {
    /// The old file.
    pub old: &'w OldImage<'w>,
    /// Headers of the new file.
    pub elf: &'w Elf,
    /// Old section of each new one.
    pub pairs: &'w [Option<usize>],
    /// Which sections are modelled.
    pub choices: &'w Choices,
    /// Loaded sections of the new file.
    pub addresses: &'w Addresses,
    /// Covers of the generic regions, in file order.
    pub covers: &'w [Cover],
    /// Code of the new file.
    pub code: &'w CodeMap,
    /// Units of the new file, with their old ones.
    pub units: &'w [NewUnit],
    /// The new file, on the writing side.
    pub truth: Option<&'w [u8]>,
    /// Old addresses to new ones.
    pub targets: Targets<'w>,
    /// The account of the run.
    pub account: &'w Budget<'w>,
}

impl World<'_> {
    /// Bytes of the old section that a new one is paired with; empty without one.
    pub fn old_bytes(&self, section: usize) -> Result<Vec<u8>> {
        match self.pairs[section].map(|i| &self.old.elf.sections[i]) {
            Some(s) if s.in_file() => self.old.file.bytes(s.offset, s.size),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether an address lies in a section that goes through covers and bytes.
    pub fn is_generic(&self, addr: u32) -> bool {
        let range = self.addresses.range_of(addr).filter(|r| r.offset.is_some());
        range.is_some_and(|r| {
            let section = r.section as usize;
            self.choices.of(section).is_none() && self.code.sections.iter().all(|s| s.section != section)
        })
    }

    /// Bytes of a new section, on the writing side.
    pub fn true_bytes(&self, section: usize) -> Option<&[u8]> {
        let s = &self.elf.sections[section];
        self.truth
            .map(|t| &t[s.offset as usize..(s.offset + s.size) as usize])
    }
}

/// What the tables made so far.
#[derive(Debug, Default)]
pub struct Made {
    /// Recipes of whole sections.
    pub sections: Vec<(usize, Recipe)>,
    /// Bytes inside sections that go through covers, by file offset.
    pub known: Known,
    /// Exception tables: unit and address.
    pub exceptions: Vec<(u32, u32)>,
}

impl Made {
    /// Keeps the bytes of a whole section.
    pub fn section(&mut self, world: &World, section: usize, bytes: Vec<u8>) -> Result<()> {
        let file = world.old.file;
        world.account.fits(self.memory() + bytes.len() as u64)?;
        // The old section's bytes carry most of it; what differs is laid over, if that is less.
        let mut recipe = Recipe::default();
        let old = world.pairs[section].map(|i| &world.old.elf.sections[i]);
        let (from, len) = old.filter(|s| s.in_file()).map_or((0, 0), |s| (s.offset, s.size));
        let len = bytes.len().min(len as usize);
        let mut old = Vec::new();
        let mut done = 0;
        while done < len && recipe.memory() < bytes.len() as u64 {
            file.read_up_to(from + done as u64, (len - done).min(CHUNK), &mut old)?;
            recipe.copy((from + done as u64) as u32, &old, &bytes[done..done + old.len()]);
            done += old.len();
        }
        recipe.literal(&bytes[done..]);
        recipe.finish();
        if recipe.memory() > bytes.len() as u64 {
            recipe = Recipe::of(bytes);
        }
        self.sections.push((section, recipe));
        Ok(())
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        let sections: u64 = self.sections.iter().map(|(_, recipe)| recipe.memory()).sum();
        sections + self.known.memory() + 8 * self.exceptions.len() as u64
    }

    /// Takes the recipe of a section out.
    pub fn take(&mut self, section: usize) -> Option<Recipe> {
        let at = self.sections.iter().position(|(s, _)| *s == section)?;
        Some(self.sections.swap_remove(at).1)
    }
}
