//! Where something packed may begin: by the first bytes of each format, wherever they stand. The encoder's alone.
//!
//! No container is parsed for it. A boot image or a file of several members need none of that, and of an archive of
//! `ar` its list of places alone is looked up; what only looks like the head of a stream does not decode, or not to the end.

use super::codec::Codec;
use super::deflate::{Style, Writer};
use super::flate::Trailer;
use super::{ar, gzip, lz4, xz, zstd};

/// A place where a packed stream begins, if it does.
pub struct Spot {
    /// Where its header begins.
    pub header: usize,
    /// Where the stream begins.
    pub at: usize,
    /// How it is decoded, as on the old side.
    pub codec: Codec,
    /// What may have written it, the likely ones first; of deflate all other styles may have, too.
    pub likely: Vec<Codec>,
    /// What the container calls it.
    pub name: Vec<u8>,
    /// What may stand right behind it without a header to be known by.
    pub next: Option<Next>,
}

/// Another block of the xz format, under that check.
#[derive(Clone, Copy, Debug)]
pub struct Next(u8);

impl Next {
    /// The block that begins here, if one does.
    pub fn spot(self, bytes: &[u8], at: usize) -> Option<Spot> {
        let (len, chain) = xz::block(bytes.get(at..)?, self.0)?;
        let codec = |effort| Codec::Xz { chain, effort };
        Some(Spot {
            header: at,
            at: at + len,
            codec: codec(xz::Effort::default()),
            likely: xz::efforts(&chain).into_iter().map(codec).collect(),
            name: Vec::new(),
            next: Some(self),
        })
    }
}

/// How each member of a zip archive begins.
const ZIP: [u8; 4] = *b"PK\x03\x04";

/// The next place from `at` on where something packed may begin.
pub fn spot(bytes: &[u8], mut at: usize) -> Option<Spot> {
    loop {
        let begins = |&b: &u8| matches!(b, 0x1f | 0xfd | 0x02 | 0x28 | b'P' | b'!');
        at += bytes.get(at..)?.iter().position(begins)?;
        let found = match bytes[at] {
            0x1f => gzip(&bytes[at..]),
            0xfd => xz(&bytes[at..]),
            0x28 => zstd(&bytes[at..]),
            0x02 => lz4(&bytes[at..]),
            b'!' => places(&bytes[at..]),
            _ => zip(&bytes[at..]),
        };
        if let Some(spot) = found {
            return Some(Spot {
                header: at,
                at: at + spot.at,
                ..spot
            });
        }
        at += 1;
    }
}

fn deflated(at: usize, trailer: Trailer, likely: &[Style], name: &[u8]) -> Spot {
    Spot {
        header: 0,
        at,
        codec: Codec::deflate(trailer, Style::default()),
        likely: likely
            .iter()
            .map(|&style| Codec::deflate(trailer, style))
            .collect(),
        name: name.to_vec(),
        next: None,
    }
}

fn gzip(bytes: &[u8]) -> Option<Spot> {
    let (at, level) = gzip::header(bytes)?;
    let level = match level {
        2 => 9,
        4 => 1,
        _ => 6,
    };
    let likely = [Writer::Gnu, Writer::Zlib, Writer::Chromium].map(|writer| Style::new(writer, level));
    Some(deflated(at, Trailer::Gzip, &likely, b""))
}

fn xz(bytes: &[u8]) -> Option<Spot> {
    Next(xz::header(bytes)?).spot(bytes, xz::HEADER)
}

fn lz4(bytes: &[u8]) -> Option<Spot> {
    let at = lz4::MAGIC.len();
    let blocks = lz4::blocks(bytes.strip_prefix(&lz4::MAGIC)?);
    let codec = |level| Codec::Lz4 { blocks, level };
    (blocks > 0).then(|| Spot {
        header: 0,
        at,
        codec: codec(0),
        likely: [9, 12, 3, 8, 10, 11].map(codec).to_vec(),
        name: Vec::new(),
        next: None,
    })
}

fn zstd(bytes: &[u8]) -> Option<Spot> {
    let (window, efforts) = zstd::frame(bytes)?;
    let codec = |effort| Codec::Zstd { window, effort };
    Some(Spot {
        header: 0,
        at: 0,
        codec: codec(zstd::Effort::default()),
        likely: efforts.into_iter().map(codec).collect(),
        name: Vec::new(),
        next: None,
    })
}

/// The list of places of an archive of `ar`.
fn places(bytes: &[u8]) -> Option<Spot> {
    let (at, word, count) = ar::list(bytes)?;
    let codec = Codec::Places { word, count };
    Some(Spot {
        header: 0,
        at,
        likely: vec![codec.clone()],
        codec,
        name: Vec::new(),
        next: None,
    })
}

/// A deflated member of a zip archive that is not encrypted; sizes need not be told before it.
fn zip(bytes: &[u8]) -> Option<Spot> {
    let head = bytes.get(..30).filter(|head| head.starts_with(&ZIP))?;
    let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    if number(6) & 1 != 0 || number(8) != 8 {
        return None;
    }
    let name = bytes.get(30..30 + usize::from(number(26)))?;
    let at = 30 + name.len() + usize::from(number(28));
    let likely = [6, 9].map(|level| Style::new(Writer::Zlib, level));
    (at < bytes.len()).then(|| deflated(at, Trailer::None, &likely, name))
}
