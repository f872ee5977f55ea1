//! A whole file as one region: the way of files that are not modelled.

use super::Io;
use crate::code::{Stream, Symbols};
use crate::data::{ByteCoder, Cover, CoverCoder, Known, Piece};
use crate::file_view::FileView;
use crate::place::{Off, Span};
use crate::recipe::{Recipe, Scripts};
use crate::{Error, error::Result};

/// Memory of the models, in bytes.
const MODELS: u64 = 8 << 20;

/// Codes a new file of `len` bytes against the old one by covers and bytes alone. `truth` holds the new
/// bytes and their covers on the writing side.
pub fn code_file<'b, S: Symbols>(
    io: &mut Io<'b, S>,
    old: &FileView,
    len: u64,
    truth: Option<(&[u8], &[Cover])>,
) -> Result<Scripts<'b>> {
    let account = io.account;
    let (mut models, mut held_covers, mut held) = (account.held(), account.held(), account.held());
    models.set(MODELS)?;
    let too_long = |_| Error::damaged("a file of 4 GiB or more is not coded so");
    let (len, old_len) = (
        u32::try_from(len).map_err(too_long)?,
        u32::try_from(old.len()).map_err(too_long)?,
    );
    let mut covers = CoverCoder::new(old_len, account);
    let planned = truth.map_or(&[][..], |t| t.1);
    let s = io.streams.get(Stream::Covers);
    covers.region(s, Span::new(Off(0), len), Off(0), planned, &mut held_covers)?;
    let mut recipe = Recipe::default();
    let piece = Piece {
        at: Off(0),
        len,
        covers: &covers.covers,
        known: &Known::default(),
        truth: truth.map(|t| t.0),
    };
    let s = io.streams.get(Stream::Bytes);
    ByteCoder::new(old, account).piece(s, &piece, &mut recipe, &mut held)?;
    recipe.finish();
    held.set(recipe.memory())?;
    Ok((vec![recipe], held))
}
