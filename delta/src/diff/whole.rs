//! The way that is always open: the new file as a zstd frame, in pieces where there is little memory.

use super::{Job, Sealed};
use crate::Error;
use crate::apply::WHOLE_MEMORY;
use crate::container::{self, Coding, Header, Method};
use crate::error::Result;
use std::io::{self, Write};

/// How hard a frame is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    level: i32,
    /// Window as a power of two; `None` is what the level takes, and the file in one piece.
    window: Option<u32>,
    /// The packer's own memory in bytes, for a file of any size.
    packer: u64,
}

/// From the smallest frames to those that take least memory. The packer's memory is measured, and rounded up.
const FRAMES: [Frame; 4] = [
    Frame {
        level: 19,
        window: None,
        packer: 96 << 20,
    },
    Frame {
        level: 12,
        window: Some(21),
        packer: 40 << 20,
    },
    Frame {
        level: 6,
        window: Some(19),
        packer: 6 << 20,
    },
    Frame::LEAST,
];

/// A packer's memory for each byte of a file, where that is less: two tables of twice as many words as the next power of two.
const PACKER_PER_BYTE: u64 = 32;

/// What unpacking holds beside, in the check; what a patch is more than the new file.
const BESIDE: u64 = (2 << 20) + PIECE as u64;

/// Bytes that are packed at once, between which the caller is asked.
const PIECE: usize = 1 << 17;

impl Frame {
    pub const BEST: Frame = FRAMES[0];
    pub const LEAST: Frame = Frame {
        level: 1,
        window: Some(17),
        packer: 2 << 20,
    };

    /// Bytes of memory that a patch of this kind takes beside both files.
    pub fn takes(self, new: u64) -> u64 {
        let packer = self.packer.min((4 << 20) + new.saturating_mul(PACKER_PER_BYTE));
        // Unpacking, in the check, holds a window when the packer is gone.
        let window = self.window.map_or(WHOLE_MEMORY, |log| 1 << log).min(new);
        new.saturating_add(packer.max(window)).saturating_add(BESIDE)
    }

    /// The best for which there is room.
    pub fn within(room: u64, new: u64) -> Option<Frame> {
        FRAMES.into_iter().find(|frame| frame.takes(new) <= room)
    }
}

impl Job<'_> {
    /// The whole file, where that is smaller than `than`.
    pub(super) fn whole(&self, frame: Frame, than: Option<usize>) -> Result<Option<Sealed>> {
        let (coding, mut patch) = match self.packed_within(frame)? {
            Some(packed) => (Coding::Zstd, packed),
            None => (Coding::Stored, self.new.to_vec()),
        };
        let header = Header {
            method: Method::Whole,
            memory: WHOLE_MEMORY,
            ..self.header.clone()
        };
        container::put_around(
            &header,
            (container::WHOLE, coding, self.new.len() as u64),
            &mut patch,
        );
        if than.is_some_and(|than| patch.len() >= than) {
            return Ok(None);
        }
        let run = self.checked(&patch)?;
        Ok(Some((patch, run.sections)))
    }

    /// The frame, where it is smaller than the file.
    fn packed_within(&self, frame: Frame) -> Result<Option<Vec<u8>>> {
        let Some(window) = frame.window else {
            let packed = zstd::bulk::compress(self.new, frame.level)?;
            return Ok((packed.len() < self.new.len()).then_some(packed));
        };
        let mut packer = zstd::Encoder::new(Shorter::than(self.new.len()), frame.level)?;
        packer.window_log(window)?;
        packer.set_pledged_src_size(Some(self.new.len() as u64))?;
        for (number, piece) in self.new.chunks(PIECE).enumerate() {
            if self.task.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            self.task.progress.at((number * PIECE) as u64);
            packer.write_all(piece)?;
        }
        Ok(packer.finish()?.bytes)
    }
}

/// What is written, while it is shorter than something.
struct Shorter {
    bytes: Option<Vec<u8>>,
    than: usize,
}

impl Shorter {
    fn than(than: usize) -> Shorter {
        let bytes = Some(Vec::new());
        Shorter { bytes, than }
    }
}

impl Write for Shorter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let shorter = |bytes: &Vec<u8>| bytes.len() + piece.len() < self.than;
        self.bytes = self.bytes.take().filter(shorter);
        if let Some(bytes) = &mut self.bytes {
            // Growing by doubling would hold it twice.
            if bytes.capacity() == 0 {
                bytes.reserve_exact(self.than + container::HEAD);
            }
            bytes.extend_from_slice(piece);
        }
        Ok(piece.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
