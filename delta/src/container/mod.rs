//! The patch on disk: fixed header, stream directory, stream bodies (FORMAT.md is its description).

mod header;
mod inner;

pub use header::{FORMAT_ID, Header, MAGIC, Method, PACKED, Packing, SEGMENTS, VERSION};
pub use inner::{Stretch, Stretches, stretches};

use crate::code::{MAX_SEGMENTS, SEGMENTED, STREAMS};
use crate::cursor::{Cursor, put_varint};
use crate::{Error, Report, error::Result, report::Part};
use std::borrow::Cow;

/// How a stream's bytes are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Coding {
    /// As they are.
    Stored = 0,
    /// One zstd frame.
    Zstd = 1,
    /// Adaptive binary models and a range coder; the stream's owner knows the grammar.
    Modelled = 2,
}

/// One stream of the directory.
#[derive(Clone, Debug)]
pub struct Stream<'a> {
    /// Which stream (the registry is in FORMAT.md).
    pub id: u8,
    /// How it is coded.
    pub coding: Coding,
    /// Length once decoded, in bytes; 0 for all but zstd streams.
    pub decoded: u64,
    /// The coded bytes.
    pub bytes: Cow<'a, [u8]>,
}

/// A parsed patch; borrows the patch bytes, see [`Patch::into_owned`].
#[derive(Debug)]
pub struct Patch<'a> {
    header: Header,
    header_len: usize,
    streams: Vec<Stream<'a>>,
}

const MAX_STREAMS: u64 = 64;

/// A row of the directory: id, coding, decoded length, length.
type Row = (u8, Coding, u64, u64);

/// Reads a stream directory.
fn directory(cursor: &mut Cursor, features: u64) -> Result<Vec<Row>> {
    let count = cursor.varint()?;
    if count > MAX_STREAMS {
        return Err(Error::damaged("too many streams"));
    }
    let mut rows = Vec::new();
    for _ in 0..count {
        let tag = cursor.byte()?;
        let coding = match tag >> 6 {
            0 => Coding::Stored,
            1 => Coding::Zstd,
            2 => Coding::Modelled,
            _ => return Err(Error::Unsupported("a stream coding".into())),
        };
        let id = tag & 0x3f;
        let last = rows.last().map(|row: &Row| row.0);
        let again = features & SEGMENTS != 0 && SEGMENTED.iter().any(|&s| s as u8 == id);
        if last.is_some_and(|last| last > id || last == id && !again) {
            return Err(Error::damaged("its streams are out of order"));
        }
        let decoded = if coding == Coding::Zstd {
            cursor.varint()?
        } else {
            0
        };
        rows.push((id, coding, decoded, cursor.varint()?));
    }
    let [edits, literals] = SEGMENTED.map(|s| rows.iter().filter(|row| row.0 == s as u8).count());
    if features & SEGMENTS != 0 && (edits != literals || !(2..=MAX_SEGMENTS).contains(&edits)) {
        return Err(Error::damaged("its segments do not fit together"));
    }
    Ok(rows)
}

/// Takes the bodies of a directory's streams.
fn bodies<'a>(cursor: &mut Cursor<'a>, rows: Vec<Row>) -> Result<Vec<Stream<'a>>> {
    let mut streams = Vec::with_capacity(rows.len());
    for (id, coding, decoded, coded) in rows {
        let len = usize::try_from(coded).map_err(|_| Error::damaged("stream too long"))?;
        streams.push(Stream {
            id,
            coding,
            decoded,
            bytes: cursor.take(len)?.into(),
        });
    }
    Ok(streams)
}

impl<'a> Patch<'a> {
    /// Whether bytes begin as a patch does, of whatever version.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(&header::MAGIC)
    }

    /// Parses header and directory; refuses what is damaged or too new.
    pub fn parse(bytes: &'a [u8]) -> Result<Patch<'a>> {
        let mut cursor = Cursor::new(bytes);
        Patch::read(&mut cursor).map_err(|e| e.at(cursor.position() as u64))
    }

    fn read(cursor: &mut Cursor<'a>) -> Result<Patch<'a>> {
        let header = Header::read(cursor)?;
        let rows = directory(cursor, header.features)?;
        let header_len = cursor.position();
        let streams = bodies(cursor, rows)?;
        if !cursor.is_empty() {
            return Err(Error::damaged("bytes after the last stream"));
        }
        Ok(Patch {
            header,
            header_len,
            streams,
        })
    }

    /// The same with a copy of the patch bytes, for who keeps it longer than those.
    pub fn into_owned(self) -> Patch<'static> {
        let own = |stream: Stream| Stream {
            bytes: Cow::Owned(stream.bytes.into_owned()),
            ..stream
        };
        Patch {
            streams: self.streams.into_iter().map(own).collect(),
            header: self.header,
            header_len: self.header_len,
        }
    }

    /// Versions, sizes, digests, declared memory.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The stream directory.
    pub fn streams(&self) -> &[Stream<'a>] {
        &self.streams
    }

    /// How many segments the code is coded in.
    pub fn segments(&self) -> usize {
        let edits = |s: &&Stream| s.id == SEGMENTED[0] as u8;
        self.streams.iter().filter(edits).count().max(1)
    }

    /// The streams of all patches of insides, if this stream holds such.
    fn inner<'s>(&'s self, stream: &'s Stream) -> Vec<Stream<'s>> {
        let packing = self.header.packing.as_ref().filter(|_| stream.id == INSIDES);
        let inside = packing.and_then(|packing| stretches(&stream.bytes, packing).ok());
        inside
            .into_iter()
            .flatten()
            .filter_map(|s| s.patch)
            .flat_map(|patch| patch.streams)
            .collect()
    }

    /// Sizes by stream.
    pub fn report(&self) -> Report {
        let mut streams = vec![Part {
            name: "header".into(),
            bytes: self.header_len as u64,
        }];
        let mut add =
            |name: &str, bytes: u64| match streams.iter_mut().find(|part: &&mut Part| part.name == name) {
                Some(part) => part.bytes += bytes,
                None => streams.push(Part {
                    name: name.into(),
                    bytes,
                }),
            };
        for s in &self.streams {
            let mut bytes = s.bytes.len() as u64;
            for inner in self.inner(s) {
                bytes -= inner.bytes.len() as u64;
                add(stream_name(inner.id), inner.bytes.len() as u64);
            }
            add(stream_name(s.id), bytes);
        }
        let total = streams.iter().map(|p| p.bytes).sum();
        Report {
            total,
            streams,
            sections: Vec::new(),
        }
    }
}

/// Stream of whole-file bytes.
pub const WHOLE: u8 = 0;

/// Stream of the plans of a packed patch, and the one of the patches of its insides.
pub const PLANS: u8 = 14;
/// See [`PLANS`].
pub const INSIDES: u8 = 15;

/// The name of a stream in reports.
pub fn stream_name(id: u8) -> &'static str {
    match STREAMS.iter().find(|(stream, _)| *stream as u8 == id) {
        Some((_, name)) => name,
        None if id == WHOLE => "whole",
        None if id == PLANS => "plans",
        None if id == INSIDES => "insides",
        None => "unknown",
    }
}

/// A stream about to be written: id, coding, decoded length, coded bytes.
pub type Body = (u8, Coding, u64, Vec<u8>);

/// Writes a whole patch.
pub fn write(header: &Header, streams: &[Body]) -> Vec<u8> {
    let bodies: usize = streams.iter().map(|body| body.3.len()).sum();
    let mut out = Vec::with_capacity(bodies + HEAD);
    header.write(&mut out);
    let rows = streams.iter().map(|(id, coding, decoded, bytes)| Stream {
        id: *id,
        coding: *coding,
        decoded: *decoded,
        bytes: Cow::Borrowed(bytes),
    });
    write_streams(rows, &mut out);
    out
}

/// Bytes at most before the body of a patch of one stream that is not packed.
pub const HEAD: usize = 256;

/// Makes a patch of its only stream's body, in place: id, coding and decoded length are given. Room for [`HEAD`] bytes more
/// lets it move nothing elsewhere.
pub fn put_around(header: &Header, (id, coding, decoded): (u8, Coding, u64), body: &mut Vec<u8>) {
    let mut head = Vec::new();
    header.write(&mut head);
    let stream = Stream {
        id,
        coding,
        decoded,
        bytes: Cow::Borrowed(body),
    };
    write_rows([stream].into_iter(), &mut head);
    body.splice(..0, head);
}

/// Writes a directory and its bodies.
fn write_streams<'s>(streams: impl Iterator<Item = Stream<'s>> + Clone, out: &mut Vec<u8>) {
    write_rows(streams.clone(), out);
    streams.for_each(|stream| out.extend_from_slice(&stream.bytes));
}

fn write_rows<'s>(streams: impl Iterator<Item = Stream<'s>> + Clone, out: &mut Vec<u8>) {
    put_varint(out, streams.clone().count() as u64);
    for stream in streams {
        out.push(stream.id | (stream.coding as u8) << 6);
        if stream.coding == Coding::Zstd {
            put_varint(out, stream.decoded);
        }
        put_varint(out, stream.bytes.len() as u64);
    }
}
