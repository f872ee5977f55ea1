//! The tables of the whole file, once its code is told.

use super::references::Units;
use super::{BYTE_MODELS, Facts, Io};
use crate::Stage;
use crate::budget::Held;
use crate::code::{Stream, Symbols};
use crate::error::Result;
use crate::tables::{Made, Table, World, btf, go, index, relocations, symbols, words};

/// All sections that are made, and the memory of them.
pub struct Finished<'b> {
    /// Recipes and known bytes.
    pub made: Made,
    /// Their memory.
    pub held: Held<'b>,
}

const ENDED: [Stream; 5] = [
    Stream::Unwind,
    Stream::Exceptions,
    Stream::Go,
    Stream::Pointers,
    Stream::Symbols,
];

/// Ends the tables of the units, then codes those that need all of them.
pub fn rest<'b, S: Symbols>(
    io: &mut Io<'b, S>,
    facts: &Facts,
    mut world: World,
    units: Units<'b>,
) -> Result<Finished<'b>> {
    let mut stage = io.stage(&ENDED);
    let go_memory = units.go_memory();
    let (mut made, mut held, unwind) = (units.made, units.held, units.unwind);
    stage.account().stage(Stage::Tables, 0);
    let learned = world.targets.memory();
    held.set(made.memory() + learned + unwind.memory() + go_memory)?;
    unwind.finish(stage.streams(), &world, &mut made)?;
    let names = |tables: &[Table]| facts.new.choices.shown(tables, &facts.new.elf);
    stage.spent_on(&names(&[Table::Frames, Table::FrameIndex]), &[Stream::Unwind]);
    index::code(stage.get(Stream::Unwind), &mut world, &mut made)?;
    stage.spent_on(&names(&[Table::Index]), &[Stream::Unwind]);
    stage.spent_on(&names(&[Table::Exceptions]), &[Stream::Exceptions]);
    held.set(made.memory() + learned + go_memory)?;
    if let Some(functions) = units.functions {
        functions.finish(stage.get(Stream::Go), &world, &mut made)?;
        stage.spent_on(&names(&[Table::Functions]), &[Stream::Go]);
    }
    held.set(made.memory() + learned + BYTE_MODELS)?;
    go::words::code(stage.get(Stream::Go), &mut world, &mut made)?;
    stage.spent_on("(words of Go's data)", &[Stream::Go]);
    held.set(made.memory() + world.targets.memory() + BYTE_MODELS)?;
    relocations::code(stage.get(Stream::Pointers), &mut world, &mut made)?;
    stage.spent_on(&names(&[Table::Relocations]), &[Stream::Pointers]);
    held.set(made.memory() + world.targets.memory() + BYTE_MODELS)?;
    words::code(stage.get(Stream::Pointers), &mut world, &mut made)?;
    stage.spent_on("(words of data)", &[Stream::Pointers]);
    held.set(made.memory() + world.targets.memory() + BYTE_MODELS)?;
    symbols::code(stage.get(Stream::Symbols), &world, &mut made)?;
    let tables = [Table::Symbols, Table::Names, Table::Hash, Table::Versions];
    stage.spent_on(&names(&tables), &[Stream::Symbols]);
    held.set(made.memory() + BYTE_MODELS)?;
    btf::code(stage.get(Stream::Symbols), &world, &mut made)?;
    stage.spent_on(&names(&[Table::Btf]), &[Stream::Symbols]);
    held.set(made.memory() + BYTE_MODELS)?;
    Ok(Finished { made, held })
}
