//! Sections with a grammar of their own: each is a source of references and a way to rebuild its bytes.
//!
//! A table is modelled only where the encoder found that its model reproduces it; the choice is sent. What a
//! table makes is the recipe of its section.

pub mod btf;
mod choices;
mod exceptions;
mod frame_index;
mod frames;
pub mod go;
pub mod hash;
pub mod index;
pub mod jumps;
mod landmarks;
mod model;
pub mod names;
mod objects;
mod orc;
mod order;
pub mod relocations;
pub mod symbols;
pub mod words;

pub use choices::Choices;
pub use model::{BYTE_MODELS, Image};

use self::frames::Unwind;
use self::model::{Spent, TableModel, account, tables};
use crate::budget::{Budget, Held};
use crate::code::{Stream, Streams, Symbols};
use crate::data::{Cover, Known};
use crate::elf::{Elf, address::Addresses};
use crate::error::Result;
use crate::layout::{CodeMap, NewUnit, OldImage};
use crate::place::{Addr, Off, SectionId, Span};
use crate::predict::{Targets, UnitView};
use crate::recipe::Recipe;

/// Bytes of an old section read at a time.
const CHUNK: usize = 1 << 16;

const SHF_ALLOC: u64 = 2;

tables! {
    <'w>
    jumps: jumps::Jumps<'w> [];
    unwind: Unwind [
        /// `.eh_frame`.
        Frames = 1,
        /// `.eh_frame_hdr`.
        FrameIndex = 2,
        /// `.gcc_except_table`.
        Exceptions = 3
    ];
    index: index::Index [
        /// `.ARM.exidx`.
        Index = 9
    ];
    orc: orc::Orc [
        /// A list of places in a kernel's code.
        Places = 12,
        /// `.orc_unwind`, how the stack is unwound at those of one.
        Orc = 13
    ];
    functions: go::Functions [
        /// Go's function table, `.gopclntab`.
        Functions = 8
    ];
    go_words: go::words::GoWords [];
    relocations: relocations::Relocations [
        /// Relocations of a loaded file.
        Relocations = 0
    ];
    words: words::Words [];
    symbols: symbols::SymbolTables [
        /// A symbol table.
        Symbols = 4,
        /// The names of a symbol table.
        Names = 5,
        /// `.gnu.hash` or `.hash`.
        Hash = 6,
        /// `.gnu.version`.
        Versions = 7
    ];
    objects: objects::Objects [
        /// Relocations of an object.
        Objects = 11
    ];
    types: btf::Btf [
        /// `.BTF`, types of a kernel.
        Btf = 10
    ];
}

/// What every table may use of the two files.
pub struct World<'w> {
    /// The old file.
    pub old: &'w OldImage<'w>,
    /// Headers of the new file.
    pub elf: &'w Elf,
    /// Old section of each new one.
    pub pairs: &'w [Option<SectionId>],
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
    pub fn old_bytes(&self, section: SectionId) -> Result<Vec<u8>> {
        match self.pairs[section.index()].map(|i| &self.old.elf[i]) {
            Some(s) if s.in_file() => self.old.file.bytes(s.offset, s.size),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether an address lies in a section that goes through covers and bytes.
    pub fn is_generic(&self, addr: Addr) -> bool {
        let range = self.addresses.range_of(addr).filter(|r| r.offset.is_some());
        range.is_some_and(|r| {
            let section = r.section;
            self.choices.of(section).is_none() && self.code.sections.iter().all(|s| s.section != section)
        })
    }

    /// Bytes of a new section, on the writing side.
    pub fn true_bytes(&self, section: SectionId) -> Option<&[u8]> {
        let s = &self.elf[section];
        self.truth
            .map(|t| &t[s.offset as usize..(s.offset + s.size) as usize])
    }
}

/// What the tables made so far.
pub struct Made<'b> {
    /// Recipes of whole sections.
    pub sections: Vec<(SectionId, Recipe)>,
    /// Bytes inside sections that go through covers, by file offset.
    pub known: Known,
    /// Exception tables: unit and address.
    pub exceptions: Vec<(u32, Addr)>,
    /// Rows of symbol tables, by section, where relocations name them.
    pub symbols: Vec<(SectionId, symbols::Rows)>,
    held: Held<'b>,
}

impl<'b> Made<'b> {
    /// Nothing yet.
    pub fn new(account: &'b Budget<'b>) -> Made<'b> {
        Made {
            sections: Vec::new(),
            known: Known::default(),
            exceptions: Vec::new(),
            symbols: Vec::new(),
            held: account.held(),
        }
    }

    /// Keeps the bytes of a whole section.
    pub fn section(&mut self, world: &World, section: SectionId, bytes: Vec<u8>) -> Result<()> {
        let file = world.old.file;
        // The old section's bytes carry most of it; what differs is laid over, if that is less.
        let mut recipe = Recipe::default();
        let old = world.pairs[section.index()].map(|i| &world.old.elf[i]);
        let (from, len) = old.filter(|s| s.in_file()).map_or((0, 0), |s| (s.offset, s.size));
        let len = bytes.len().min(len as usize);
        let mut old = Vec::new();
        let mut done = 0;
        while done < len && recipe.memory() < bytes.len() as u64 {
            file.read_up_to(from + done as u64, (len - done).min(CHUNK), &mut old)?;
            recipe.copy(
                Off((from + done as u64) as u32),
                &old,
                &bytes[done..done + old.len()],
            );
            done += old.len();
            // They stand beside the recipe that is made of them.
            world.account.fits(bytes.len() as u64 + recipe.memory())?;
        }
        if done == len {
            let rest = (bytes.len() - done) as u64;
            world.account.fits(bytes.len() as u64 + recipe.memory() + rest)?;
            recipe.literal(&bytes[done..]);
            recipe.finish();
        }
        if done < len || recipe.memory() > bytes.len() as u64 {
            recipe = Recipe::of(bytes);
        }
        self.keep(world, section, recipe)
    }

    /// Keeps the recipe of a whole section.
    pub fn keep(&mut self, world: &World, section: SectionId, recipe: Recipe) -> Result<()> {
        self.sections.push((section, recipe));
        self.count(world)
    }

    /// Counts all that was made, and what was learned of targets with it.
    pub fn count(&mut self, world: &World) -> Result<()> {
        self.held.set(self.memory() + world.targets.memory())
    }

    /// Counts what is left, once nothing more is learned.
    pub fn count_rest(&mut self) -> Result<()> {
        self.held.set(self.memory())
    }

    /// Bytes of memory held.
    fn memory(&self) -> u64 {
        let sections: u64 = self.sections.iter().map(|(_, recipe)| recipe.memory()).sum();
        let symbols: u64 = self.symbols.iter().map(|(_, rows)| rows.memory()).sum();
        sections + self.known.memory() + 8 * self.exceptions.len() as u64 + symbols
    }

    /// Takes the recipe of a section out.
    pub fn take(&mut self, section: SectionId) -> Option<Recipe> {
        let at = self.sections.iter().position(|(s, _)| *s == section)?;
        Some(self.sections.swap_remove(at).1)
    }
}
