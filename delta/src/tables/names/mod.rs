//! String tables of symbols: each new name continues an old one, with its tokens replaced, or is spelled out.

mod grammar;
mod pair;
pub mod places;
mod spell;
#[cfg(test)]
mod tests;
pub mod tokens;

use self::grammar::Coder;
use super::{Made, World};
use crate::budget::Budget;
use crate::code::{Symbols, symbols};
use crate::place::{Off, SectionId};
use crate::recipe::Recipe;
use crate::{Error, error::Result};

/// No name.
pub const NONE: u32 = u32::MAX;
/// Largest table that is modelled, in bytes.
const LARGEST: u64 = 256 << 20;

/// Where each string of a table begins; every string ends with a zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    at: Vec<u32>,
    end: u32,
}

impl Starts {
    /// Finds the strings of a table; bytes behind the last zero are none.
    pub fn of(table: &[u8]) -> Starts {
        let mut starts = Starts::default();
        for (i, _) in table.iter().enumerate().filter(|(_, b)| **b == 0) {
            starts.push(i as u32 + 1);
        }
        starts
    }

    /// Adds a string that ends at `end`, its zero included.
    fn push(&mut self, end: u32) {
        self.at.push(self.end);
        self.end = end;
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// First byte of a string and the one behind its zero.
    pub fn place(&self, index: usize) -> (u32, u32) {
        (
            self.at[index],
            self.at.get(index + 1).copied().unwrap_or(self.end),
        )
    }

    /// A string without its zero.
    pub fn name<'t>(&self, table: &'t [u8], index: usize) -> &'t [u8] {
        let (from, to) = self.place(index);
        &table[from as usize..to as usize - 1]
    }

    /// The string that holds an offset.
    pub fn find(&self, offset: u32) -> Option<usize> {
        (offset < self.end).then(|| self.at.partition_point(|&a| a <= offset) - 1)
    }
}

/// A new string table against the old one.
#[derive(Debug, Default)]
pub struct Names {
    /// The new table.
    pub table: Vec<u8>,
    /// Its strings.
    pub starts: Starts,
    /// Strings of the old table.
    pub old: Starts,
    /// New string for each old one, or [`NONE`].
    pub of_old: Vec<u32>,
    /// Old string for each new one, or [`NONE`].
    pub source: Vec<u32>,
}

impl Names {
    /// The new offset of an old one, through the string that it lies in, counted from its end.
    pub fn project(&self, old: u32) -> Option<u32> {
        let index = self.old.find(old)?;
        let new = *self.of_old.get(index).filter(|&&n| n != NONE)?;
        let from_end = self.old.place(index).1 - old;
        let (start, end) = self.starts.place(new as usize);
        let start_kept = old == self.old.place(index).0;
        Some(if start_kept {
            start
        } else {
            end.saturating_sub(from_end).max(start)
        })
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        let numbers = self.starts.len() + self.old.len() + self.of_old.len() + self.source.len();
        (self.table.len() + 4 * numbers) as u64
    }

    /// The name at an offset.
    pub fn name(&self, offset: u32) -> &[u8] {
        let rest = self.table.get(offset as usize..).unwrap_or_default();
        &rest[..rest.iter().position(|&b| b == 0).unwrap_or(rest.len())]
    }
}

/// Whether the model reproduces a table.
pub fn fits(bytes: &[u8]) -> bool {
    bytes.last() == Some(&0) && bytes.len() as u64 <= LARGEST
}

symbols! {
    /// Models of a string table, afresh for each.
    struct TableModels {
        whole(4, 255) {
            /// The table is the old one.
            whole: flag by() [0];
        }
    }
}

/// Codes the table of one section; keeps its recipe in `made`.
pub fn code<S: Symbols>(s: &mut S, world: &World, section: SectionId, made: &mut Made) -> Result<Names> {
    let size = world.elf[section].size;
    let old_table = world.old_bytes(section)?;
    let old_at = world.pairs[section.index()].map_or(0, |i| world.old.elf[i].offset) as u32;
    let truth = world.true_bytes(section);
    let mut held = world.account.held();
    held.set(old_table.len() as u64)?;
    let (names, recipe) = table(s, world.account, (&old_table, old_at), size, truth)?;
    made.keep(world, section, recipe)?;
    Ok(names)
}

/// Codes a table of `size` bytes, and gives its recipe; `old` is the old one and where it stands in its file.
pub fn table<S: Symbols>(
    s: &mut S,
    account: &Budget,
    (old_table, old_at): (&[u8], u32),
    size: u64,
    truth: Option<&[u8]>,
) -> Result<(Names, Recipe)> {
    let mut models = account.lend::<TableModels>();
    if size > LARGEST.min(8 * old_table.len() as u64 + (1 << 24)) {
        return Err(Error::damaged("a string table is too long"));
    }
    let mut names = Names {
        old: Starts::of(old_table),
        ..Names::default()
    };
    let mut held = account.held();
    held.set(names.memory())?;
    let mut recipe = Recipe::default();
    let same = truth.is_some_and(|t| t == old_table) && fits(old_table);
    if models.whole(s, same) {
        if size != old_table.len() as u64 || !fits(old_table) {
            return Err(Error::damaged("a string table has another length"));
        }
        recipe.copy(Off(old_at), old_table, old_table);
        names.starts = names.old.clone();
        names.of_old = (0..names.old.len() as u32).collect();
        names.source.clone_from(&names.of_old);
        names.table = old_table.to_vec();
        held.set(names.memory())?;
    } else {
        let mut coder = Coder::new(account, (old_table, old_at), &mut names, &mut recipe);
        coder.table(s, size as usize, truth, &mut held)?;
    }
    recipe.finish();
    Ok((names, recipe))
}
