//! A whole file as one region: the way of files that are not modelled.

use crate::code::{Stream, Streams, Symbols};
use crate::data::{ByteModels, Cover, CoverModels, Known, code_bytes, code_covers};
use crate::file_view::FileView;
use crate::recipe::{Recipe, Scripts};
use crate::{Error, error::Result};

/// Memory of the models, in bytes.
const MODELS: u64 = 8 << 20;

/// Codes a new file of `len` bytes against the old one by covers and bytes alone. `truth` holds the new
/// bytes and their covers on the writing side.
pub fn code_file<'v, S: Symbols>(
    streams: &mut Streams<S>,
    old: &'v FileView,
    len: u64,
    truth: Option<(&[u8], &[Cover])>,
) -> Result<Scripts<'v>> {
    let budget = old.budget();
    let (mut models, mut held_covers, mut held) = (budget.held(), budget.held(), budget.held());
    models.set(MODELS)?;
    let too_long = |_| Error::DamagedPatch("a file of 4 GiB or more is not coded so");
    let (len, old_len) = (
        u32::try_from(len).map_err(too_long)?,
        u32::try_from(old.len()).map_err(too_long)?,
    );
    let mut covers = Vec::new();
    let planned = truth.map_or(&[][..], |t| t.1);
    code_covers(
        streams.get(Stream::Covers),
        &mut CoverModels::default(),
        (0, len),
        old_len,
        0,
        planned,
        &mut covers,
        &mut held_covers,
    )?;
    let mut recipe = Recipe::default();
    let bytes = truth.map(|t| t.0);
    let s = streams.get(Stream::Bytes);
    code_bytes(
        s,
        &mut ByteModels::default(),
        old,
        (0, len),
        &covers,
        &Known::default(),
        bytes,
        &mut recipe,
        &mut held,
    )?;
    recipe.finish();
    held.set(recipe.memory())?;
    Ok((vec![recipe], held))
}
