//! The codecs of packed streams: their numbers, what an encoder must know, decoding and encoding piece by piece.

use super::deflate::{Deflate, Style};
use super::plan::Side;
use crate::budget::Held;
use crate::cursor::{Cursor, put_varint};
use crate::{Error, error::Result};
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

/// A packed stream; what only its encoder needs is at its default on the old side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Deflate, as some program writes it.
    Deflate {
        /// What follows the stream.
        trailer: Trailer,
        /// Who wrote it.
        style: Style,
        /// Where the stream differs from what that writes: bytes that stay, and what stands behind them.
        end: Option<(u64, Vec<u8>)>,
    },
}

/// Whether this program has the encoder of that name and version, of those whose output no standard fixes.
pub fn has_encoder(_name: &str) -> bool {
    false
}

const DEFLATE: u64 = 1;

impl Codec {
    /// Its number in a plan.
    pub fn id(&self) -> u8 {
        match self {
            Codec::Deflate { trailer, .. } => DEFLATE as u8 + *trailer as u8,
        }
    }

    /// Appends what the encoder needs.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Codec::Deflate { style, end, .. } => {
                out.push(style.to_byte());
                let Some((kept, rest)) = end else {
                    return put_varint(out, 0);
                };
                put_varint(out, kept + 1);
                put_varint(out, rest.len() as u64);
                out.extend_from_slice(rest);
            }
        }
    }

    /// Reads the codec of that number.
    pub fn read(id: u64, side: Side, cursor: &mut Cursor) -> Result<Codec> {
        let trailer = match id.checked_sub(DEFLATE) {
            Some(0) => Trailer::None,
            Some(1) => Trailer::Gzip,
            Some(2) => Trailer::Zlib,
            _ => return Err(Error::Unsupported(format!("codec {id}"))),
        };
        if side == Side::Old {
            return Ok(Codec::deflate(trailer, Style::default()));
        }
        let style = Style::from_byte(cursor.byte()?);
        let style = style.ok_or(Error::DamagedPatch("it names a way to pack that is not known"))?;
        let end = match cursor.varint()? {
            0 => None,
            kept => {
                let len = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
                Some((kept - 1, cursor.take(len)?.to_vec()))
            }
        };
        Ok(Codec::Deflate { trailer, style, end })
    }

    /// Deflate exactly as that program writes it.
    pub fn deflate(trailer: Trailer, style: Style) -> Codec {
        Codec::Deflate {
            trailer,
            style,
            end: None,
        }
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

    /// For a codec.
    pub fn new(codec: &Codec) -> Decoder {
        let Codec::Deflate { trailer, .. } = codec;
        Decoder {
            inflate: Decompress::new(false),
            trailer: None,
            skip: trailer.len(),
        }
    }

    /// Decodes some of `packed` into the empty `out`; tells how much it took and whether the stream ends there.
    pub fn step(&mut self, packed: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool)> {
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
            Err(_) => Err(Error::DamagedPatch("what it takes for a packed stream is none")),
        }
    }
}

/// Takes text in and gives the packed stream.
pub struct Encoder<'b> {
    deflate: Deflate,
    trailer: Trailer,
    crc: crc32fast::Hasher,
    adler: Adler,
    len: u32,
    /// Bytes of the stream that still stay, and what replaces the rest.
    end: Option<(u64, Vec<u8>)>,
    _held: Held<'b>,
}

impl<'b> Encoder<'b> {
    /// Bytes of memory of one.
    pub const MEMORY: u64 = Deflate::MEMORY + 2 * PIECE as u64;

    /// For a codec; `held` is the account of its memory.
    pub fn new(codec: &Codec, held: Held<'b>) -> Encoder<'b> {
        let Codec::Deflate { trailer, style, end } = codec;
        Encoder {
            deflate: Deflate::new(*style),
            trailer: *trailer,
            crc: crc32fast::Hasher::new(),
            adler: Adler::default(),
            len: 0,
            end: end.clone(),
            _held: held,
        }
    }

    /// Takes text; appends what there is of the stream, and gives the work it took.
    pub fn push(&mut self, text: &[u8], packed: &mut Vec<u8>) -> u64 {
        self.len = self.len.wrapping_add(text.len() as u32);
        match self.trailer {
            Trailer::Gzip => self.crc.update(text),
            Trailer::Zlib => self.adler.update(text),
            Trailer::None => {}
        }
        self.deflate.push(text);
        self.take(packed)
    }

    /// Ends the stream; appends the rest, and gives the work it took.
    pub fn finish(&mut self, packed: &mut Vec<u8>) -> u64 {
        self.deflate.finish();
        let work = self.take(packed);
        if let Some((_, rest)) = &mut self.end {
            packed.append(rest);
        }
        let crc = std::mem::take(&mut self.crc).finalize();
        self.trailer.put(crc, self.adler.sum(), self.len, packed);
        work
    }

    fn take(&mut self, packed: &mut Vec<u8>) -> u64 {
        let before = packed.len();
        let work = self.deflate.take(packed);
        if let Some((kept, _)) = &mut self.end {
            let stays = (*kept).min((packed.len() - before) as u64);
            packed.truncate(before + stays as usize);
            *kept -= stays;
        }
        work
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
