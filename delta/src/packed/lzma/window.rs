//! Text in scratch space, read forward, with as much of what was before as a match may reach.

use crate::error::Result;
use crate::packed::inside::Inside;
use std::rc::Rc;

/// Bytes ahead of a place that are there, but for the end of the text: a parse and a match.
const AHEAD: usize = 8 << 10;
/// Bytes that are read at once.
const STEP: usize = 1 << 20;
/// Bytes behind what a match reaches from the place that is read: a parse, or a chunk that is stored.
const BEHIND: usize = 128 << 10;

/// A stretch of the text in memory.
pub struct Window<'t> {
    text: Rc<Inside<'t>>,
    /// Bytes of the whole text.
    pub len: usize,
    before: usize,
    from: usize,
    /// What is in memory.
    pub bytes: Vec<u8>,
}

impl<'t> Window<'t> {
    /// Bytes of memory of one for such a dictionary.
    pub const fn memory(dictionary: u32) -> u64 {
        (dictionary as usize + BEHIND + AHEAD + STEP) as u64
    }

    /// At the start of a text of that length.
    pub fn new(text: Rc<Inside<'t>>, len: usize, dictionary: u32) -> Window<'t> {
        let before = dictionary as usize + BEHIND;
        Window {
            text,
            len,
            before,
            from: 0,
            bytes: Vec::with_capacity((before + AHEAD + STEP).min(len)),
        }
    }

    /// Has in memory what is around a place, which is not before the last one.
    pub fn seek(&mut self, at: usize) -> Result<()> {
        let end = self.from + self.bytes.len();
        if end == self.len || at + AHEAD <= end {
            return Ok(());
        }
        let from = at.saturating_sub(self.before).max(self.from);
        self.bytes.drain(..from - self.from);
        self.from = from;
        let to = (at + AHEAD + STEP).min(self.len);
        let had = self.bytes.len();
        self.bytes.resize(to - from, 0);
        self.text.read().read_at(end as u64, &mut self.bytes[had..])?;
        Ok(())
    }

    /// Where a place of the text stands among the bytes.
    pub fn index(&self, at: usize) -> usize {
        at - self.from
    }
}

/// How many bytes are the same from two places on, of which the first `known` are; at most `limit`.
pub fn same(bytes: &[u8], one: usize, other: usize, known: usize, limit: usize) -> usize {
    let (one, other) = (&bytes[one..one + limit], &bytes[other..other + limit]);
    let mut len = known;
    while let (Some(a), Some(b)) = (one[len..].first_chunk::<8>(), other[len..].first_chunk::<8>()) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return len + differ.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    while len < limit && one[len] == other[len] {
        len += 1;
    }
    len
}
