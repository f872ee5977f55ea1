//! Sections with a grammar of their own: each is a source of references and a way to rebuild its bytes.
//!
//! A table is modelled only where the encoder found that its model reproduces it; the choice is sent. What a
//! table makes is the recipe of its section.

pub mod jumps;
mod known;
pub mod go;
pub mod relocations;

pub use known::Known;

use crate::code::{Model, Symbols};
use crate::data::Cover;
use crate::elf::{Elf, address::Addresses};
use crate::error::Result;
use crate::image::OldImage;
use crate::layout::{CodeMap, NewUnit};
use crate::predict::Targets;
use crate::recipe::Recipe;

const SHT_RELA: u32 = 4;
const SHF_ALLOC: u64 = 2;

/// The models there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Relocations with addends.
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
    /// `.gnu.hash`.
    Hash,
    /// Go's function table, `.gopclntab`.
    Functions,
}

/// The model that a section of the new file could have, going by its header and name.
pub fn candidate(elf: &Elf, section: usize) -> Option<Table> {
    let s = &elf.sections[section];
    if !s.in_file() {
        return None;
    }
    if s.kind == SHT_RELA && s.flags & SHF_ALLOC != 0 && elf.is_64 && s.size % 24 == 0 {
        return Some(Table::Relocations);
    }
    let by_name: &[(&[u8], Table)] = &[(b".gopclntab", Table::Functions), (b".data.rel.ro.gopclntab", Table::Functions)];
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

    /// Sends the choice.
    pub fn code<S: Symbols>(s: &mut S, elf: &Elf, truth: Option<&Choices>) -> Choices {
        let mut model = Model::new(1, 6, 255);
        Choices::new(elf, |i, t| {
            s.flag(&mut model, &[t as u32], truth.is_some_and(|c| c.of(i).is_some()))
        })
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
}

impl Made {
    /// Keeps the bytes of a whole section.
    pub fn section(&mut self, world: &World, section: usize, bytes: &[u8]) -> Result<()> {
        // The old section's bytes carry most of it; what differs is laid over.
        let mut recipe = Recipe::default();
        let old = world.old_bytes(section)?;
        let n = old.len().min(bytes.len());
        if let Some(from) = world.pairs[section].map(|i| world.old.elf.sections[i].offset) {
            recipe.copy(from as u32, &old[..n], &bytes[..n]);
        }
        recipe.literal(&bytes[if world.pairs[section].is_some() { n } else { 0 }..]);
        recipe.finish();
        self.sections.push((section, recipe));
        Ok(())
    }

    /// Takes the recipe of a section out.
    pub fn take(&mut self, section: usize) -> Option<Recipe> {
        let at = self.sections.iter().position(|(s, _)| *s == section)?;
        Some(self.sections.swap_remove(at).1)
    }
}
