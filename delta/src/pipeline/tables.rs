//! The tables of the whole file, once its code is coded.

use super::Io;
use super::references::Units;
use crate::Stage;
use crate::budget::Held;
use crate::code::Symbols;
use crate::error::Result;
use crate::tables::{BYTE_MODELS, Made, Tables, World};

/// All sections that are made, and the memory of them.
pub struct Finished<'b> {
    /// Recipes and known bytes.
    pub made: Made<'b>,
    /// Memory of the models of bytes.
    pub held: Held<'b>,
}

/// Ends the tables of the units, then codes those that need all of them.
pub fn rest<'b, 'w, S: Symbols>(
    io: &mut Io<'b, S>,
    mut world: World<'w>,
    units: Units<'b, 'w>,
) -> Result<Finished<'b>> {
    let mut stage = io.stage(Tables::streams(false));
    stage.account().stage(Stage::Tables, 0);
    let Units {
        mut made,
        mut held,
        tables,
    } = units;
    tables.finish(stage.streams(), &mut world, &mut made, &mut held)?;
    made.count_rest()?;
    held.set(BYTE_MODELS)?;
    Ok(Finished { made, held })
}
