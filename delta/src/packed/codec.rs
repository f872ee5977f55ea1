//! The codecs of packed streams: their numbers, what their coders must know, and which coders these are.

use super::deflate::Style;
use super::flate::{self, Trailer};
use super::lzma::Means;
use super::plan::Side;
use super::{lz4, places, xz, zlib_rs, zstd};
use crate::cursor::{Cursor, put_varint};
use crate::{Error, error::Result};

/// Takes a packed stream in and gives what it holds.
pub trait Decode {
    /// Decodes some of `packed` into the empty `out`; tells how much it took and whether the stream ends there.
    fn step(&mut self, packed: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool)>;
}

/// Takes text in and gives the packed stream.
pub trait Encode {
    /// Takes text; appends what there is of the stream, and gives the work it took.
    fn push(&mut self, text: &[u8], packed: &mut Vec<u8>) -> Result<u64>;
    /// Ends the stream; appends the rest, and gives the work it took.
    fn finish(&mut self, packed: &mut Vec<u8>) -> Result<u64>;
    /// Appends more of the rest, where that comes in pieces; `None` behind the last.
    fn more(&mut self, _: &mut Vec<u8>) -> Result<Option<u64>> {
        Ok(None)
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
    /// The packed part of one block of the xz format, with its padding and check.
    Xz {
        /// How it is decoded.
        chain: xz::Chain,
        /// How liblzma is asked for it.
        effort: xz::Effort,
    },
    /// All blocks of a legacy frame of lz4.
    Lz4 {
        /// How many there are.
        blocks: u64,
        /// Level of the encoder.
        level: u8,
    },
    /// A frame of zstd.
    Zstd {
        /// Its window, as a power of two.
        window: u8,
        /// How libzstd is asked for it.
        effort: zstd::Effort,
    },
    /// A list of places.
    Places {
        /// Its words.
        word: places::Word,
        /// How many there are.
        count: u64,
    },
}

/// Whether this program has the encoder of that name and version, of those whose output no standard fixes.
pub fn has_encoder(name: &str) -> bool {
    [
        xz::ENCODER,
        lz4::ENCODER,
        zlib_rs::ENCODER,
        zstd::ENCODER,
        zstd::THREADED,
    ]
    .contains(&name)
}

/// Whether an encoder starts a thread, which not every process may.
pub fn needs_thread(name: &str) -> bool {
    name == zstd::THREADED
}

const DEFLATE: u64 = 1;
const XZ: u64 = 4;
const LZ4: u64 = 5;
const ZSTD: u64 = 6;
const PLACES: u64 = 7;

/// What is said of a plan that names what no encoder here can do.
pub const UNKNOWN: Error = Error::damaged("it names a way to pack that is not known");
/// What is said of bytes that a codec cannot read.
pub const NONE: Error = Error::damaged("what it takes for a packed stream is none");

impl Codec {
    /// Its number in a plan.
    pub fn id(&self) -> u8 {
        match self {
            Codec::Deflate { trailer, .. } => DEFLATE as u8 + *trailer as u8,
            Codec::Xz { .. } => XZ as u8,
            Codec::Lz4 { .. } => LZ4 as u8,
            Codec::Zstd { .. } => ZSTD as u8,
            Codec::Places { .. } => PLACES as u8,
        }
    }

    /// The name of its encoder, if no standard fixes what that writes.
    pub fn encoder_name(&self) -> Option<&'static str> {
        match self {
            Codec::Deflate { style, .. } => (!style.writer.is_frozen()).then_some(zlib_rs::ENCODER),
            Codec::Places { .. } => None,
            Codec::Xz { effort, .. } => (!effort.in_scratch()).then_some(xz::ENCODER),
            Codec::Lz4 { .. } => Some(lz4::ENCODER),
            Codec::Zstd { effort, .. } => Some(effort.encoder_name()),
        }
    }

    /// Appends what a coder of that side needs.
    pub fn write(&self, side: Side, out: &mut Vec<u8>) {
        match self {
            Codec::Deflate { style, end, .. } if side == Side::New => {
                out.push(style.to_byte());
                let Some((kept, rest)) = end else {
                    return put_varint(out, 0);
                };
                put_varint(out, kept + 1);
                put_varint(out, rest.len() as u64);
                out.extend_from_slice(rest);
            }
            Codec::Deflate { .. } => {}
            Codec::Xz { chain, effort } => {
                chain.write(out);
                if side == Side::New {
                    out.push(effort.to_byte());
                }
            }
            Codec::Lz4 { blocks, level } => {
                put_varint(out, *blocks);
                if side == Side::New {
                    out.push(*level);
                }
            }
            Codec::Zstd { window, effort } => match side {
                Side::Old => out.push(*window),
                Side::New => effort.write(out),
            },
            Codec::Places { word, count } => {
                out.push(*word as u8);
                if side == Side::Old {
                    put_varint(out, *count);
                }
            }
        }
    }

    /// Reads the codec of that number.
    pub fn read(id: u64, side: Side, cursor: &mut Cursor) -> Result<Codec> {
        match id {
            DEFLATE => Codec::read_deflate(Trailer::None, side, cursor),
            2 => Codec::read_deflate(Trailer::Gzip, side, cursor),
            3 => Codec::read_deflate(Trailer::Zlib, side, cursor),
            XZ => {
                let chain = xz::Chain::read(cursor)?;
                let effort = match side {
                    Side::Old => Some(xz::Effort::default()),
                    Side::New => xz::Effort::from_byte(cursor.byte()?).filter(|&e| chain.has(e)),
                };
                let effort = effort.ok_or(UNKNOWN)?;
                Ok(Codec::Xz { chain, effort })
            }
            LZ4 => Ok(Codec::Lz4 {
                blocks: cursor.varint()?,
                level: match side {
                    Side::Old => 0,
                    Side::New => Some(cursor.byte()?)
                        .filter(|l| lz4::LEVELS.contains(l))
                        .ok_or(UNKNOWN)?,
                },
            }),
            ZSTD => Ok(match side {
                Side::Old => Codec::Zstd {
                    window: zstd::read_window(cursor)?,
                    effort: zstd::Effort::default(),
                },
                Side::New => Codec::Zstd {
                    window: 0,
                    effort: zstd::Effort::read(cursor)?,
                },
            }),
            PLACES => Ok(Codec::Places {
                word: places::Word::of(cursor.byte()?).ok_or(UNKNOWN)?,
                count: match side {
                    Side::Old => cursor.varint()?,
                    Side::New => 0,
                },
            }),
            _ => Err(Error::Unsupported(format!("codec {id}"))),
        }
    }

    fn read_deflate(trailer: Trailer, side: Side, cursor: &mut Cursor) -> Result<Codec> {
        if side == Side::Old {
            return Ok(Codec::deflate(trailer, Style::default()));
        }
        let style = Style::from_byte(cursor.byte()?).ok_or(UNKNOWN)?;
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

    /// Bytes of memory of a decoder, its output buffer included.
    pub fn decoder_memory(&self) -> u64 {
        match self {
            Codec::Deflate { .. } => flate::Decoder::MEMORY,
            Codec::Xz { chain, .. } => chain.decoder_memory(),
            Codec::Lz4 { .. } => lz4::MEMORY,
            Codec::Zstd { window, .. } => zstd::decoder_memory(*window),
            Codec::Places { .. } => places::MEMORY,
        }
    }

    /// A decoder; its memory is the caller's to count, first.
    pub fn decoder(&self) -> Result<Box<dyn Decode>> {
        Ok(match self {
            Codec::Deflate { trailer, .. } => Box::new(flate::Decoder::new(*trailer)),
            Codec::Xz { chain, .. } => Box::new(xz::Decoder::new(*chain)?),
            Codec::Lz4 { blocks, .. } => Box::new(lz4::Decoder::new(*blocks)),
            Codec::Zstd { window, .. } => Box::new(zstd::Decoder::new(*window)?),
            Codec::Places { word, count } => Box::new(places::Decoder::new(*word, *count)?),
        })
    }

    /// Bytes of memory of an encoder, its output buffer included.
    pub fn encoder_memory(&self) -> u64 {
        match self {
            Codec::Deflate { style, .. } => flate::Encoder::memory(*style),
            Codec::Xz { chain, effort } => chain.encoder_memory(*effort),
            Codec::Lz4 { .. } => lz4::MEMORY,
            Codec::Zstd { effort, .. } => effort.memory(),
            Codec::Places { .. } => places::MEMORY,
        }
    }

    /// Sixteenths of a unit of work that packing a byte of a program or of a source takes, about, where the encoder does
    /// not count its steps, and so as many units as the worst text takes: ten times that, and more. In scratch space its
    /// steps are dearer than those that a unit stands for, so they count several times that, too.
    pub fn usual_work(&self) -> Option<u64> {
        match self {
            Codec::Deflate { style, .. } => {
                (!style.writer.is_frozen()).then(|| zlib_rs::usual_work(style.level))
            }
            Codec::Xz { effort, .. } => Some(effort.usual_work()),
            Codec::Lz4 { level, .. } => Some(lz4::usual_work(*level)),
            Codec::Zstd { effort, .. } => Some(effort.usual_work()),
            Codec::Places { .. } => None,
        }
    }

    /// An encoder; its memory is the caller's to count, first.
    pub fn encoder_within<'a>(&self, means: Means<'a>) -> Result<Box<dyn Encode + 'a>> {
        match self {
            Codec::Xz { chain, effort } if effort.in_scratch() => {
                Ok(Box::new(xz::Frugal::new(*chain, *effort, means)?))
            }
            _ => Ok(self.encoder()?),
        }
    }

    /// The same where nothing is needed but memory.
    pub fn encoder(&self) -> Result<Box<dyn Encode>> {
        Ok(match self {
            Codec::Deflate { trailer, style, end } => {
                Box::new(flate::Encoder::new(*trailer, *style, end.clone()))
            }
            Codec::Xz { chain, effort } => Box::new(xz::Encoder::new(*chain, *effort)?),
            Codec::Lz4 { blocks, level } => Box::new(lz4::Encoder::new(*blocks, *level)),
            Codec::Zstd { effort, .. } => Box::new(zstd::Encoder::new(*effort)?),
            Codec::Places { word, .. } => Box::new(places::Encoder::new(*word)),
        })
    }

    /// The same, packed in scratch space where it would take much memory.
    pub fn frugal(self) -> Codec {
        match self {
            Codec::Xz { chain, effort } => Codec::Xz {
                chain,
                effort: chain.frugal(effort),
            },
            codec => codec,
        }
    }

    /// Whether its encoder takes scratch space.
    pub fn needs_scratch(&self) -> bool {
        matches!(self, Codec::Xz { effort, .. } if effort.in_scratch())
    }

    /// The same for a text of that size, where an encoder must know it and the stream does not say it.
    pub fn of_text(self, len: u64) -> Codec {
        match self {
            Codec::Zstd { window, effort } if !effort.told => Codec::Zstd {
                window,
                effort: zstd::Effort { size: len, ..effort },
            },
            codec => codec,
        }
    }

    /// Whether it is asked for as another one was, but for what each stream says of itself.
    pub fn is_like(&self, other: &Codec) -> bool {
        match (self, other) {
            (Codec::Zstd { effort, .. }, Codec::Zstd { effort: other, .. }) => effort.is_like(other),
            _ => false,
        }
    }

    /// Whether it writes the same as another one at first.
    pub fn begins_like(&self, other: &Codec) -> bool {
        match (self, other) {
            (Codec::Zstd { effort, .. }, Codec::Zstd { effort: other, .. }) => effort.begins_like(other),
            _ => false,
        }
    }

    /// Whether a decoder of the stream told all that an encoder must give back of it: nothing of `stream` is behind
    /// what follows from the text.
    pub fn ends_with(&self, text: &[u8], stream: &[u8]) -> bool {
        match self {
            Codec::Deflate { trailer, .. } => trailer.checked(text, stream).is_some(),
            Codec::Xz { chain, .. } => chain.checked(text, stream),
            Codec::Lz4 { .. } | Codec::Zstd { .. } | Codec::Places { .. } => true,
        }
    }
}
