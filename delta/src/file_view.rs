//! A file behind a small block cache: the engine reads it in short pieces, by position.

use crate::budget::{Budget, Held};
use crate::{Error, ReadAt, error::Result};
use std::cell::RefCell;

const BLOCK: usize = 4 << 10;
const BLOCKS: usize = 1024;

/// Bytes copied for one unit of work.
const COPIED: u64 = 64;

/// Positioned, checked reads, counted as work; each thread has its own.
pub struct FileView<'a> {
    source: &'a dyn ReadAt,
    /// The source, if it is in memory.
    bytes: Option<&'a [u8]>,
    len: u64,
    budget: &'a Budget<'a>,
    _held: Held<'a>,
    cache: RefCell<Vec<(u64, Vec<u8>)>>,
}

impl<'a> FileView<'a> {
    /// Wraps a source.
    pub fn new(source: &'a dyn ReadAt, budget: &'a Budget<'a>) -> Result<Self> {
        let len = source.size()?;
        let mut held = budget.held();
        held.set(len.next_multiple_of(BLOCK as u64).min((BLOCK * BLOCKS) as u64))?;
        Ok(FileView {
            source,
            bytes: source.in_memory().filter(|bytes| bytes.len() as u64 == len),
            len,
            budget,
            _held: held,
            cache: RefCell::new(vec![(u64::MAX, Vec::new()); BLOCKS]),
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// What it reads.
    pub fn source(&self) -> &'a dyn ReadAt {
        self.source
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `out` from `at`; bytes past the end are a sign of a damaged patch.
    pub fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        let end = at.checked_add(out.len() as u64).filter(|&e| e <= self.len);
        if end.is_none() {
            return Err(Error::damaged("it refers past the end of a file"));
        }
        self.budget.spend(1 + out.len() as u64 / COPIED);
        if let Some(bytes) = self.bytes {
            out.copy_from_slice(&bytes[at as usize..][..out.len()]);
            return Ok(());
        }
        if out.len() >= BLOCK {
            return Ok(self.source.read_at(at, out)?);
        }
        let mut cache = self.cache.borrow_mut();
        let mut done = 0;
        while done < out.len() {
            let position = at + done as u64;
            let (number, within) = (position / BLOCK as u64, (position % BLOCK as u64) as usize);
            let slot = &mut cache[number as usize % BLOCKS];
            if slot.0 != number {
                let start = number * BLOCK as u64;
                slot.1.resize((self.len - start).min(BLOCK as u64) as usize, 0);
                slot.0 = u64::MAX;
                self.source.read_at(start, &mut slot.1)?;
                slot.0 = number;
            }
            let n = (out.len() - done).min(slot.1.len() - within);
            out[done..done + n].copy_from_slice(&slot.1[within..within + n]);
            done += n;
        }
        Ok(())
    }

    /// As much as there is of `len` bytes from `at`.
    pub fn read_up_to(&self, at: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        let len = self.len.saturating_sub(at).min(len as u64) as usize;
        out.resize(len, 0);
        self.read(at, out)
    }

    /// `len` bytes from `at`, allocated.
    pub fn bytes(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Error::damaged("it refers past the end of a file"));
        }
        self.budget.fits(len)?;
        let mut out = vec![0; len as usize];
        self.read(at, &mut out)?;
        Ok(out)
    }
}
