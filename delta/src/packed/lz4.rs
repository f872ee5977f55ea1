//! Blocks of lz4 as the legacy frame holds them: 8 MiB of text each, the packed length before each.

use super::codec::{Decode, Encode, NONE};
use crate::error::Result;
use std::ops::RangeInclusive;

/// Text of a block, and the most that one takes packed.
const BLOCK: usize = 8 << 20;
const BOUND: usize = BLOCK + BLOCK / 255 + 16;

/// Memory of a coder in bytes: a block on both sides, a buffer, the tables of the encoder.
pub const MEMORY: u64 = (2 * BOUND + (1 << 20)) as u64;

/// Levels of the encoder.
pub const LEVELS: RangeInclusive<u8> = 3..=12;

/// Units of work for a byte that is packed: the last level follows chains as long as the window.
fn work(level: u8) -> u64 {
    match level {
        0..=10 => 4,
        11 => 8,
        _ => 32,
    }
}

/// Sixteenths of a unit of work for a byte of usual text.
pub fn usual_work(level: u8) -> u64 {
    match level {
        0..=3 => 2,
        4..=9 => 6,
        10 => 9,
        _ => 14,
    }
}

/// Name and version of the encoder: of the source that comes with the crate, whose version is fixed.
pub const ENCODER: &str = "lz4 1.10.0";

/// What a frame begins with.
pub const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// How many blocks there are behind the magic number.
pub fn blocks(bytes: &[u8]) -> u64 {
    let (mut at, mut count) = (0, 0);
    while let Some(len) = bytes.get(at..at + 4) {
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        if len == 0 || len > BOUND || bytes.len() - at - 4 < len {
            break;
        }
        at += 4 + len;
        count += 1;
    }
    count
}

/// Decodes so many blocks.
pub struct Decoder {
    left: u64,
    packed: Vec<u8>,
    text: Vec<u8>,
    handed: usize,
}

impl Decoder {
    /// Of a stream of that many.
    pub fn new(blocks: u64) -> Decoder {
        Decoder {
            left: blocks,
            packed: Vec::new(),
            text: Vec::new(),
            handed: 0,
        }
    }
}

const PIECE: usize = 64 << 10;

impl Decode for Decoder {
    fn step(&mut self, packed: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool)> {
        if self.handed < self.text.len() {
            let end = self.text.len().min(self.handed + PIECE);
            out.extend_from_slice(&self.text[self.handed..end]);
            self.handed = end;
            return Ok((0, false));
        }
        if self.left == 0 {
            return Ok((0, true));
        }
        let wanted = match self.packed.first_chunk() {
            Some(&len) => 4 + u32::from_le_bytes(len) as usize,
            None => 4,
        };
        if wanted > BOUND + 4 || wanted == 4 && self.packed.len() >= 4 {
            return Err(NONE);
        }
        let taken = (wanted - self.packed.len()).min(packed.len());
        self.packed.extend_from_slice(&packed[..taken]);
        if wanted > 4 && self.packed.len() == wanted {
            self.text.resize(BLOCK, 0);
            let len = lzzzz::lz4::decompress(&self.packed[4..], &mut self.text).map_err(|_| NONE)?;
            self.text.truncate(len);
            self.handed = 0;
            self.packed.clear();
            self.left -= 1;
        }
        Ok((taken, false))
    }
}

/// Encodes blocks.
pub struct Encoder {
    left: u64,
    level: u8,
    text: Vec<u8>,
}

impl Encoder {
    /// So many, at a level.
    pub fn new(blocks: u64, level: u8) -> Encoder {
        Encoder {
            left: blocks,
            level,
            text: Vec::new(),
        }
    }

    fn block(&mut self, packed: &mut Vec<u8>) -> Result<u64> {
        self.left = self.left.checked_sub(1).ok_or(NONE)?;
        let head = packed.len();
        packed.extend([0; 4]);
        let len =
            lzzzz::lz4_hc::compress_to_vec(&self.text, packed, i32::from(self.level)).map_err(|_| NONE)?;
        packed[head..head + 4].copy_from_slice(&(len as u32).to_le_bytes());
        let work = self.text.len() as u64 * work(self.level);
        self.text.clear();
        Ok(work)
    }
}

impl Encode for Encoder {
    fn push(&mut self, mut text: &[u8], packed: &mut Vec<u8>) -> Result<u64> {
        let mut work = 0;
        while !text.is_empty() {
            let (now, later) = text.split_at(text.len().min(BLOCK - self.text.len()));
            self.text.extend_from_slice(now);
            text = later;
            if self.text.len() == BLOCK {
                work += self.block(packed)?;
            }
        }
        Ok(work)
    }

    fn finish(&mut self, packed: &mut Vec<u8>) -> Result<u64> {
        if self.text.is_empty() {
            return Ok(0);
        }
        self.block(packed)
    }
}
