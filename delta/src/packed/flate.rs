//! Deflate streams with what stands behind them, piece by piece.

use super::codec::{Decode, Encode, NONE};
use super::deflate::{Deflate, Style};
use super::zlib_rs;
use crate::error::Result;
use flate2::{Decompress, FlushDecompress, Status};

/// What stands behind a deflate stream and follows from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailer {
    /// Nothing.
    None,
    /// CRC-32 and length, as in gzip.
    Gzip,
    /// Adler-32, as in zlib.
    Zlib,
}

impl Trailer {
    fn len(self) -> usize {
        match self {
            Trailer::None => 0,
            Trailer::Gzip => 8,
            Trailer::Zlib => 4,
        }
    }

    /// Appends the one of a text.
    fn put(self, crc: u32, adler: u32, len: u32, out: &mut Vec<u8>) {
        match self {
            Trailer::None => {}
            Trailer::Gzip => {
                out.extend(crc.to_le_bytes());
                out.extend(len.to_le_bytes());
            }
            Trailer::Zlib => out.extend(adler.to_be_bytes()),
        }
    }

    /// The stream alone, if what stands behind it is what follows from the text.
    pub fn checked<'s>(self, text: &[u8], stream: &'s [u8]) -> Option<&'s [u8]> {
        let mut adler = Adler::default();
        adler.update(text);
        let mut trailer = Vec::new();
        self.put(
            crc32fast::hash(text),
            adler.sum(),
            text.len() as u32,
            &mut trailer,
        );
        stream.strip_suffix(&trailer[..])
    }
}

const PIECE: usize = 64 << 10;

/// Takes a packed stream in and gives what it holds.
pub struct Decoder {
    inflate: Decompress,
    /// Bytes of the trailer that are still to come, once the stream has ended.
    trailer: Option<usize>,
    skip: usize,
}

impl Decoder {
    /// Bytes of memory of one, its output buffer included.
    pub const MEMORY: u64 = (48 << 10) + PIECE as u64;

    /// Of a stream with that behind it.
    pub fn new(trailer: Trailer) -> Decoder {
        Decoder {
            inflate: Decompress::new(false),
            trailer: None,
            skip: trailer.len(),
        }
    }
}

impl Decode for Decoder {
    fn step(&mut self, packed: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool)> {
        if let Some(left) = self.trailer {
            let taken = left.min(packed.len());
            self.trailer = Some(left - taken);
            return Ok((taken, taken == left));
        }
        out.reserve(PIECE);
        let before = self.inflate.total_in();
        let status = self.inflate.decompress_vec(packed, out, FlushDecompress::None);
        let taken = (self.inflate.total_in() - before) as usize;
        match status {
            Ok(Status::StreamEnd) => {
                self.trailer = Some(self.skip);
                Ok((taken, self.skip == 0))
            }
            Ok(_) => Ok((taken, false)),
            Err(_) => Err(NONE),
        }
    }
}

/// What writes a stream.
enum Maker {
    Frozen(Box<Deflate>),
    Library(Box<zlib_rs::Encoder>),
}

/// Takes text in and gives the packed stream.
pub struct Encoder {
    maker: Maker,
    trailer: Trailer,
    crc: crc32fast::Hasher,
    adler: Adler,
    len: u32,
    /// Bytes of the stream that still stay, and what replaces the rest.
    end: Option<(u64, Vec<u8>)>,
}

impl Encoder {
    /// Bytes of memory of one.
    pub fn memory(style: Style) -> u64 {
        let maker = match style.writer.is_frozen() {
            true => Deflate::MEMORY,
            false => zlib_rs::Encoder::MEMORY,
        };
        maker + 2 * PIECE as u64
    }

    /// As a program writes it, but for the end.
    pub fn new(trailer: Trailer, style: Style, end: Option<(u64, Vec<u8>)>) -> Encoder {
        let maker = match zlib_rs::Encoder::new(style) {
            Some(library) => Maker::Library(Box::new(library)),
            None => Maker::Frozen(Box::new(Deflate::new(style))),
        };
        Encoder {
            maker,
            trailer,
            crc: crc32fast::Hasher::new(),
            adler: Adler::default(),
            len: 0,
            end,
        }
    }

    /// Text, or its end, to what writes the stream.
    fn make(&mut self, text: Option<&[u8]>, packed: &mut Vec<u8>) -> Result<u64> {
        let before = packed.len();
        let work = match (&mut self.maker, text) {
            (Maker::Library(library), Some(text)) => library.push(text, packed)?,
            (Maker::Library(library), None) => library.finish(packed)?,
            (Maker::Frozen(deflate), text) => {
                match text {
                    Some(text) => deflate.push(text),
                    None => deflate.finish(),
                }
                deflate.take(packed)
            }
        };
        if let Some((kept, _)) = &mut self.end {
            let stays = (*kept).min((packed.len() - before) as u64);
            packed.truncate(before + stays as usize);
            *kept -= stays;
        }
        Ok(work)
    }
}

impl Encode for Encoder {
    fn push(&mut self, text: &[u8], packed: &mut Vec<u8>) -> Result<u64> {
        self.len = self.len.wrapping_add(text.len() as u32);
        match self.trailer {
            Trailer::Gzip => self.crc.update(text),
            Trailer::Zlib => self.adler.update(text),
            Trailer::None => {}
        }
        self.make(Some(text), packed)
    }

    fn finish(&mut self, packed: &mut Vec<u8>) -> Result<u64> {
        let work = self.make(None, packed)?;
        if let Some((_, rest)) = &mut self.end {
            packed.append(rest);
        }
        let crc = std::mem::take(&mut self.crc).finalize();
        self.trailer.put(crc, self.adler.sum(), self.len, packed);
        Ok(work)
    }
}

/// The checksum of zlib (RFC 1950).
pub struct Adler(u32, u32);

impl Default for Adler {
    fn default() -> Self {
        Adler(1, 0)
    }
}

impl Adler {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        // So many sums stay below 2^32.
        for bytes in bytes.chunks(5000) {
            for &byte in bytes {
                self.0 += u32::from(byte);
                self.1 += self.0;
            }
            self.0 %= 65521;
            self.1 %= 65521;
        }
    }

    /// The sum.
    pub fn sum(&self) -> u32 {
        self.1 << 16 | self.0
    }
}
