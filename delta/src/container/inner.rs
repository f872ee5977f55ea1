//! Patches inside a packed patch, one for a stretch of the inside: no digests, no declared memory of their own.

use super::{Header, Method, Packing, Patch, SEGMENTS, bodies, directory, write_streams};
use crate::cursor::{Cursor, put_varint};
use crate::{Error, error::Result};
use std::ops::Range;

/// A stretch of the new inside, the stretch of the old one that it is told from, and the patch between them.
#[derive(Debug)]
pub struct Stretch<'a> {
    /// Of the old inside.
    pub old: Range<u64>,
    /// Of the new inside; for the first stretch, all that the others leave.
    pub new: Range<u64>,
    /// From the one to the other.
    pub patch: Patch<'a>,
}

const SEGMENTED: u8 = 4;
const METHOD: u8 = 3;

/// Reads all stretches: first the one that is everything else, then those that stand out, in order.
pub fn stretches<'a>(bytes: &'a [u8], packing: &Packing) -> Result<Vec<Stretch<'a>>> {
    let damaged = || Error::DamagedPatch("the stretches of its insides do not fit together");
    let mut cursor = Cursor::new(bytes);
    let (mut all, mut at, mut told) = (Vec::new(), 0u64, 0u64);
    while all.is_empty() || !cursor.is_empty() {
        let kind = cursor.byte()?;
        let (mut old, mut new) = (0..packing.old_inside, 0..0);
        if !all.is_empty() {
            let from = at.checked_add(cursor.varint()?);
            let to = from.and_then(|from| Some(from..from.checked_add(len(&mut cursor).ok()?)?));
            new = to
                .filter(|new| new.end <= packing.new_inside)
                .ok_or_else(damaged)?;
            at = new.end;
            told += new.end - new.start;
            let from = cursor.varint()?;
            let to = from
                .checked_add(cursor.varint()?)
                .filter(|&to| to <= packing.old_inside);
            old = from..to.ok_or_else(damaged)?;
        }
        let features = match kind & !METHOD {
            0 => 0,
            SEGMENTED => SEGMENTS,
            _ => return Err(damaged()),
        };
        let method = match kind & METHOD {
            0 => Method::Whole,
            1 => Method::Bytes,
            2 => Method::Image,
            _ => return Err(damaged()),
        };
        let rows = directory(&mut cursor, features)?;
        let patch = Patch {
            header: Header {
                features,
                method,
                old_len: old.end - old.start,
                old_digest: [0; 32],
                new_len: new.end - new.start,
                new_digest: [0; 32],
                memory: 0,
                packing: None,
            },
            header_len: 0,
            streams: bodies(&mut cursor, rows)?,
        };
        all.push(Stretch { old, new, patch });
    }
    all[0].patch.header.new_len = packing.new_inside - told;
    Ok(all)
}

/// A length of a stretch that stands out, which is not 0.
fn len(cursor: &mut Cursor) -> Result<u64> {
    let empty = Error::DamagedPatch("a stretch of its insides is empty");
    Some(cursor.varint()?).filter(|&len| len > 0).ok_or(empty)
}

/// Writes the first stretch, for which `place` is nothing, or one behind it: with how far behind the one before it
/// begins, and its length, then old start and length.
pub fn write_stretch(patch: &Patch, place: Option<[u64; 4]>, out: &mut Vec<u8>) {
    let segmented = patch.header.features & SEGMENTS != 0;
    out.push(patch.header.method as u8 | if segmented { SEGMENTED } else { 0 });
    place.iter().flatten().for_each(|&n| put_varint(out, n));
    write_streams(patch.streams.iter().copied(), out);
}
