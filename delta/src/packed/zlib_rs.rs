//! Deflate as the library zlib-rs writes it, with which cargo and most programs in Rust pack.
//!
//! No standard fixes what it writes. That hangs on how it is fed, too: a text comes in pieces of a size, and may be
//! flushed before its end, as what copies through a writer does.

use super::codec::Encode;
use super::deflate::{Style, Writer};
use crate::Error;
use crate::error::Result;
use zlib_rs::{Deflate, DeflateFlush, Status};

/// The encoder, by name and version.
pub const ENCODER: &str = "zlib-rs 0.6.8";

/// Output at a time.
const ROOM: usize = 64 << 10;

/// How it is fed.
struct Feed {
    /// Bytes at a time.
    piece: usize,
    /// All that came is flushed before the end.
    flushed: bool,
}

fn feed(writer: Writer) -> Option<Feed> {
    let (piece, flushed) = match writer {
        Writer::ZlibRs => (64 << 10, false),
        Writer::ZlibRsFlushed => (64 << 10, true),
        Writer::ZlibRsCopied => (8 << 10, true),
        _ => return None,
    };
    Some(Feed { piece, flushed })
}

/// Sixteenths of a unit of work for a byte of usual text.
pub fn usual_work(level: u8) -> u64 {
    match level {
        1..=3 => 1,
        4..=6 => 3,
        _ => 6,
    }
}

/// Takes text in and gives the packed stream.
pub struct Encoder {
    deflate: Deflate,
    feed: Feed,
    level: u8,
    /// Text that is not a piece yet.
    waiting: Vec<u8>,
    room: Vec<u8>,
}

impl Encoder {
    /// Bytes of memory of one, its buffers included.
    pub const MEMORY: u64 = (512 << 10) + 2 * ROOM as u64;

    /// Of a style; `None` where another program writes it.
    pub fn new(style: Style) -> Option<Encoder> {
        let feed = feed(style.writer)?;
        Some(Encoder {
            deflate: Deflate::new(i32::from(style.level), false, 15),
            waiting: Vec::with_capacity(feed.piece),
            feed,
            level: style.level,
            room: vec![0; ROOM],
        })
    }

    /// Units of work for a byte.
    fn work(&self) -> u64 {
        match self.level {
            1..=3 => 1,
            4..=6 => 2,
            _ => 8,
        }
    }

    /// Hands over what waits, and takes all that comes of it.
    fn hand_over(&mut self, flush: DeflateFlush, packed: &mut Vec<u8>) -> Result<u64> {
        let mut taken = 0;
        loop {
            let (before, made) = (self.deflate.total_in(), self.deflate.total_out());
            let status = self
                .deflate
                .compress(&self.waiting[taken..], &mut self.room, flush);
            let status = status.map_err(|_| Error::Io(std::io::ErrorKind::OutOfMemory.into()))?;
            taken += (self.deflate.total_in() - before) as usize;
            let made = (self.deflate.total_out() - made) as usize;
            packed.extend_from_slice(&self.room[..made]);
            if made < self.room.len() && taken == self.waiting.len() || status == Status::StreamEnd {
                break;
            }
        }
        self.waiting.clear();
        Ok(taken as u64 * self.work())
    }
}

impl Encode for Encoder {
    fn push(&mut self, mut text: &[u8], packed: &mut Vec<u8>) -> Result<u64> {
        let mut work = 0;
        while !text.is_empty() {
            let n = text.len().min(self.feed.piece - self.waiting.len());
            self.waiting.extend_from_slice(&text[..n]);
            text = &text[n..];
            if self.waiting.len() == self.feed.piece {
                work += self.hand_over(DeflateFlush::NoFlush, packed)?;
            }
        }
        Ok(work)
    }

    fn finish(&mut self, packed: &mut Vec<u8>) -> Result<u64> {
        let mut work = 0;
        if self.feed.flushed {
            work += self.hand_over(DeflateFlush::NoFlush, packed)?;
            work += self.hand_over(DeflateFlush::SyncFlush, packed)?;
        }
        Ok(work + self.hand_over(DeflateFlush::Finish, packed)?)
    }
}
