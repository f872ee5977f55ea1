//! A whole file as one region: the way of files that are not modelled.

use super::{ByteModels, Cover, CoverModels, code_bytes, code_covers};
use crate::code::Symbols;
use crate::file_view::FileView;
use crate::image::{Stream, Streams};
use crate::recipe::Recipe;
use crate::tables::Known;
use crate::{Error, error::Result};

/// Codes a new file of `len` bytes against the old one by covers and bytes alone. `truth` holds the new
/// bytes and their covers on the writing side.
pub fn code_file<S: Symbols>(
    streams: &mut Streams<S>,
    old: &FileView,
    len: u64,
    truth: Option<(&[u8], &[Cover])>,
) -> Result<Recipe> {
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
    )?;
    recipe.finish();
    Ok(recipe)
}
