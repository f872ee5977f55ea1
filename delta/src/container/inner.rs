//! Patches inside a packed patch, one for a stretch of the inside: no digests, no declared memory of their own.

use super::{
    Header, INSIDES, Method, Packing, Patch, SEGMENTS, bodies, directory, stream_name, write_streams,
};
use crate::cursor::{Cursor, fold, put_varint, unfold};
use crate::{Error, error::Result};
use std::ops::Range;

/// A stretch of the new inside, the stretch of the old one that it is coded from, and the patch between them.
#[derive(Debug)]
pub struct Stretch<'a> {
    /// Of the old inside.
    pub old: Range<u64>,
    /// Of the new inside; for the first stretch, all that the others leave.
    pub new: Range<u64>,
    /// From the one to the other; none: an image of the group.
    pub patch: Option<Patch<'a>>,
}

const SEGMENTED: u8 = 4;
const METHOD: u8 = 3;
/// In place of a method: the image is coded in the streams of the whole patch, behind those before it.
const GROUPED: u8 = 3;

/// Reads all stretches: first the one that is everything else, then those that stand out, in order.
pub fn stretches<'a>(bytes: &'a [u8], packing: &Packing) -> Result<Vec<Stretch<'a>>> {
    let mut cursor = Cursor::new(bytes);
    let read = read(&mut cursor, packing);
    read.map_err(|e| e.within(stream_name(INSIDES), cursor.position() as u64))
}

fn read<'a>(cursor: &mut Cursor<'a>, packing: &Packing) -> Result<Vec<Stretch<'a>>> {
    let damaged = || Error::damaged("the stretches of its insides do not fit together");
    let (mut all, mut at, mut covered, mut expected) = (Vec::new(), 0u64, 0u64, 0u64);
    while all.is_empty() || !cursor.is_empty() {
        let kind = cursor.byte()?;
        let (mut old, mut new) = (0..packing.old_inside, 0..0);
        if !all.is_empty() {
            let from = at.checked_add(cursor.varint()?);
            let to = from.and_then(|from| Some(from..from.checked_add(len(cursor).ok()?)?));
            new = to
                .filter(|new| new.end <= packing.new_inside)
                .ok_or_else(damaged)?;
            at = new.end;
            covered += new.end - new.start;
            let from = expected.checked_add_signed(unfold(cursor.varint()?));
            let len = (new.end - new.start).checked_add_signed(unfold(cursor.varint()?));
            let place = from
                .zip(len)
                .and_then(|(from, len)| Some(from..from.checked_add(len)?));
            old = place
                .filter(|old| old.end <= packing.old_inside)
                .ok_or_else(damaged)?;
            expected = old.end;
        }
        if kind == GROUPED && !all.is_empty() {
            let patch = None;
            all.push(Stretch { old, new, patch });
            continue;
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
        let rows = directory(cursor, features)?;
        let patch = Some(Patch {
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
            streams: bodies(cursor, rows)?,
        });
        all.push(Stretch { old, new, patch });
    }
    if let Some(rest) = all.first_mut().and_then(|s| s.patch.as_mut()) {
        rest.header.new_len = packing.new_inside - covered;
    }
    Ok(all)
}

/// A length of a stretch that stands out, which is not 0.
fn len(cursor: &mut Cursor) -> Result<u64> {
    let empty = Error::damaged("a stretch of its insides is empty");
    Some(cursor.varint()?).filter(|&len| len > 0).ok_or(empty)
}

fn put_signed(out: &mut Vec<u8>, from: u64, to: u64) {
    put_varint(out, fold(to.wrapping_sub(from) as i64));
}

/// Writes stretches, one behind the other.
#[derive(Debug, Default)]
pub struct Stretches {
    /// What was written.
    pub bytes: Vec<u8>,
    at: u64,
    expected: u64,
}

impl Stretches {
    /// Begins with the patch of everything that no other stretch tells.
    pub fn new(rest: &Patch) -> Stretches {
        let mut new = Stretches::default();
        new.bytes.push(kind(rest));
        write_streams(rest.streams.iter().cloned(), &mut new.bytes);
        new
    }

    /// Adds one that stands out: from `old` to `new`, by a patch of its own or in the group.
    pub fn add(&mut self, (old, new): (Range<u64>, Range<u64>), patch: Option<&Patch>) {
        let out = &mut self.bytes;
        out.push(patch.map_or(GROUPED, kind));
        put_varint(out, new.start - self.at);
        put_varint(out, new.end - new.start);
        put_signed(out, self.expected, old.start);
        put_signed(out, new.end - new.start, old.end - old.start);
        (self.at, self.expected) = (new.end, old.end);
        if let Some(patch) = patch {
            write_streams(patch.streams.iter().cloned(), out);
        }
    }
}

fn kind(patch: &Patch) -> u8 {
    let segmented = patch.header.features & SEGMENTS != 0;
    patch.header.method as u8 | if segmented { SEGMENTED } else { 0 }
}
