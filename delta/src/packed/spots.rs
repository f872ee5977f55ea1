//! Where something packed may begin: by the first bytes of each format, wherever they stand. The encoder's alone.
//!
//! No container is parsed for it. A boot image or a file of several members need none of that, and of an archive of
//! `ar` its list of places alone is looked up; what only looks like the head of a stream does not decode, or not to the end.

use super::codec::Codec;
use super::deflate::{Style, Writer};
use super::flate::Trailer;
use super::{ar, gzip, leaf, lz4, xz, zstd};
use std::ops::Range;

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

/// The next place from `at` on where something packed may begin; streams of zlib are looked for in `images` alone.
pub fn spot(bytes: &[u8], mut at: usize, images: &[Range<usize>]) -> Option<Spot> {
    loop {
        at += begins(bytes.get(at..)?, !images.is_empty())?;
        let found = match bytes[at] {
            0x1f => gzip(&bytes[at..]),
            0xfd => xz(&bytes[at..]),
            0x28 => zstd(&bytes[at..]),
            0x02 => lz4(&bytes[at..]),
            b'!' => places(&bytes[at..]),
            ZLIB if images.iter().any(|image| image.contains(&at)) => zlib(&bytes[at..]),
            ZLIB => None,
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

/// The first two bytes of each format.
const HEADS: [[u8; 2]; 6] = [
    [gzip::MAGIC[0], gzip::MAGIC[1]],
    [xz::MAGIC[0], xz::MAGIC[1]],
    [zstd::MAGIC[0], zstd::MAGIC[1]],
    [lz4::MAGIC[0], lz4::MAGIC[1]],
    [ar::MAGIC[0], ar::MAGIC[1]],
    [ZIP[0], ZIP[1]],
];

/// Where one of them stands, or a stream of zlib may begin if such are looked for; by stretches, as most have none.
fn begins(bytes: &[u8], zlib: bool) -> Option<usize> {
    const STRETCH: usize = 64;
    // Without branches, so that many places are compared at once.
    let is_head = |(&a, &b): (&u8, &u8)| {
        let known = HEADS
            .iter()
            .fold(false, |any, head| any | (a == head[0]) & (b == head[1]));
        known | zlib & (a == ZLIB)
    };
    let next = bytes.get(1..)?;
    let holds = |(at, next): (&[u8], &[u8])| at.iter().zip(next).map(is_head).fold(false, |any, is| any | is);
    let mut stretches = bytes.chunks(STRETCH).zip(next.chunks(STRETCH));
    let from = stretches.position(holds)? * STRETCH;
    let ahead = bytes[from..].iter().zip(&next[from..]).position(is_head)?;
    Some(from + ahead)
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

/// How streams of zlib begin whose window is the largest.
const ZLIB: u8 = 0x78;

/// A stream of zlib.
fn zlib(bytes: &[u8]) -> Option<Spot> {
    let &flags = bytes.get(1).filter(|_| bytes[0] == ZLIB)?;
    // Without a dictionary; the rest of it is a check.
    if flags & 0x20 != 0 || !(u16::from(ZLIB) << 8 | u16::from(flags)).is_multiple_of(31) {
        return None;
    }
    let levels = match flags >> 6 {
        0 => [1, 6],
        1 => [5, 4],
        2 => [6, 9],
        _ => [9, 6],
    };
    let likely = levels.map(|level| Style::new(Writer::Zlib, level));
    Some(deflated(2, Trailer::Zlib, &likely, b""))
}

/// What is packed in the sections of the ELF file that these bytes begin with, in order: as the section's flag says, or
/// as GNU's older tools wrote it, behind four letters and the size.
pub fn sections(bytes: &[u8]) -> Vec<Spot> {
    let spot = |section: leaf::Section| {
        let from = usize::try_from(section.offset).ok()?;
        let to = from.checked_add(usize::try_from(section.len).ok()?)?;
        let section_bytes = bytes.get(from..to)?;
        let (skip, kind) = match section.is_packed() {
            true => {
                let skip = if section.numbers.is_64 { 24 } else { 12 };
                (skip, section.numbers.word(section_bytes, 0)?)
            }
            false => (section_bytes.starts_with(b"ZLIB").then_some(12)?, 1),
        };
        let stream = section_bytes.get(skip..).filter(|stream| !stream.is_empty())?;
        let found = match kind {
            1 => zlib(stream),
            2 => zstd(stream),
            _ => None,
        }?;
        Some(Spot {
            header: from,
            at: from + skip + found.at,
            ..found
        })
    };
    let mut all: Vec<Spot> = leaf::sections(bytes).into_iter().filter_map(spot).collect();
    all.sort_by_key(|spot| spot.at);
    all
}

/// How an image of squashfs begins, and the length of its first block.
const SQUASHFS: [u8; 4] = *b"hsqs";
const SUPER: usize = 96;

/// Images of squashfs whose blocks are packed by zlib; other blocks are known by how they begin themselves.
///
/// Source of the layout: Documentation/filesystems/squashfs.rst of Linux, and its `squashfs_fs.h`.
pub fn images(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(ahead) = bytes.get(at..).and_then(|rest| leaf::find(rest, &SQUASHFS)) {
        at += ahead;
        let image = bytes.get(at..at + SUPER).and_then(|head| {
            let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
            let used = head[40..48].try_into().map(u64::from_le_bytes).ok()?;
            let fits = half(28) == 4 && half(20) == 1 && (12..=20).contains(&half(22));
            let end = at.checked_add(usize::try_from(used).ok()?)?;
            (fits && used > SUPER as u64 && end <= bytes.len()).then_some(at + SUPER..end)
        });
        at = image.as_ref().map_or(at + 1, |image| image.end);
        all.extend(image);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn heads_are_found_wherever_they_stand(
            bytes in prop::collection::vec(prop::sample::select(&b"\x1f\x8b\xfd7(\xb5\x02!!<PKx"[..]), 0..4),
            before in 0..200usize,
            after in 0..200usize,
            zlib: bool,
        ) {
            let file = [vec![0; before], bytes, vec![0; after]].concat();
            let is_head = |pair: &[u8]| HEADS.iter().any(|head| head == pair) || zlib && pair[0] == ZLIB;
            prop_assert_eq!(begins(&file, zlib), file.windows(2).position(is_head));
        }
    }
}
