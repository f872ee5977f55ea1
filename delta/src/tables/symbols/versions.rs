//! `.gnu.version`: the version of each dynamic symbol, as that of the row it continues.
//!
//! Source of the layout: Linux Standard Base, "Symbol Version Table".

use super::grammar::Rows;
use crate::code::{Symbols, hash, symbols};
use crate::place::SectionId;
use crate::tables::{Made, World};
use crate::{Error, error::Result};

/// Whether the model reproduces a new table of so many bytes: one version for each row.
pub fn fits(size: u64, rows: u64) -> bool {
    size == rows * 2
}

symbols! {
    /// Models of versions, afresh for each table. `guess`: the version of the old row, if there is one.
    struct VersionModels {
        same(10, 1023) {
            /// The version is that of the old row.
            same: flag by(guess: Option<u16>)
                [hash(1, u32::from(guess.is_some())), hash(2, guess.map_or(0, u32::from))];
        }
        value(10, 255) {
            /// Another version. `last`: the one before, 0 at the start.
            value: number by(last: u32, guess: Option<u16>) [hash(1, last), hash(2, guess.map_or(1, u32::from))];
        }
    }
}

/// Codes one table.
pub fn code<S: Symbols>(
    s: &mut S,
    world: &World,
    rows: &Rows,
    section: SectionId,
    made: &mut Made,
) -> Result<()> {
    if !fits(world.elf[section].size, rows.source.len() as u64) {
        return Err(Error::damaged("the versions are not as many as the symbols"));
    }
    let mut models = world.account.lend::<VersionModels>();
    let old = world.old_bytes(section)?;
    let mut held = world.account.held();
    held.set(old.len() as u64)?;
    let (numbers, truth) = (world.elf.numbers, world.true_bytes(section));
    let mut out = Vec::with_capacity(rows.source.len() * 2);
    let mut last = 0;
    for (i, &source) in rows.source.iter().enumerate() {
        let guess = world.old.elf.numbers.half(&old, 2 * source as usize);
        let known = truth.and_then(|t| numbers.half(t, 2 * i)).unwrap_or(0);
        let number = match guess {
            Some(guess) if models.same(s, Some(guess), guess == known) => guess,
            _ => models.value(s, last, guess, known.into()) as u16,
        };
        last = u32::from(number);
        numbers.push(&mut out, number.into(), 2);
    }
    made.section(world, section, out)
}
