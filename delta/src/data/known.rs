//! Bytes inside generic regions that a table has made already.

use crate::elf::Numbers;
use crate::place::Off;

/// Pieces of known bytes, by file offset in the new file.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pieces: Vec<(Off, u32, u32)>,
    bytes: Vec<u8>,
}

impl Known {
    /// Adds a piece that is a number of `len` bytes.
    pub fn number(&mut self, at: Off, numbers: Numbers, number: u64, len: usize) {
        let mut bytes = [0; 8];
        numbers.put(&mut bytes[..len], number);
        self.add(at, &bytes[..len]);
    }

    /// Adds a piece; pieces must not overlap.
    pub fn add(&mut self, at: Off, bytes: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        match self.pieces.last_mut() {
            Some(last) if last.0 + last.2 == at && last.1 + last.2 == start => last.2 += bytes.len() as u32,
            _ => self.pieces.push((at, start, bytes.len() as u32)),
        }
    }

    /// Sorts the pieces, and drops what overlaps an earlier one.
    pub fn settle(&mut self) {
        self.pieces.sort_unstable();
        let mut end = Off(0);
        self.pieces.retain(|p| {
            let apart = p.0 >= end;
            if apart {
                end = p.0 + p.2;
            }
            apart
        });
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.pieces.len() * 12 + self.bytes.len()) as u64
    }

    /// The known bytes inside `from..from + len`, as pieces relative to `from`; settled first.
    pub fn within(&self, from: Off, len: u32) -> impl Iterator<Item = (usize, &[u8])> {
        let first = self.pieces.partition_point(|p| p.0 + p.2 <= from);
        let inside = self.pieces[first..].iter().take_while(move |p| p.0 < from + len);
        inside.map(move |&(at, start, n)| {
            let (a, b) = (at.max(from), (at + n).min(from + len));
            let start = (start + (a - at)) as usize;
            ((a - from) as usize, &self.bytes[start..start + (b - a) as usize])
        })
    }
}
