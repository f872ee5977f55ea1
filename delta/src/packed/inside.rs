//! The inside of the old file while it is needed: in memory, or in scratch space of the caller's.

use crate::budget::{Budget, Held};
use crate::{Error, ReadAt, error::Result};
use std::io::{self, Write};

/// Space for what is neither small enough for memory nor to stay.
pub trait Scratch: Sync {
    /// A new empty file that is gone when it is dropped.
    fn file(&self) -> io::Result<Box<dyn ScratchFile>>;
}

/// A file of scratch space: written forward, then read by position.
pub trait ScratchFile: Write + ReadAt {}

impl<T: Write + ReadAt> ScratchFile for T {}

/// The inside of a file.
pub enum Inside<'b> {
    /// In memory, and counted there unless it is scratch space that the caller lends from memory.
    Memory(Vec<u8>, Held<'b>),
    /// In a file.
    File(Box<dyn ScratchFile>),
}

impl<'b> Inside<'b> {
    /// Room for exactly `len` bytes: in memory that counts, or in `scratch`.
    pub fn new(len: u64, scratch: Option<Option<&dyn Scratch>>, budget: &'b Budget<'b>) -> Result<Self> {
        let mut held = budget.held();
        match scratch {
            Some(Some(space)) => return Ok(Inside::File(space.file()?)),
            // As much as is counted when it is written.
            Some(None) => {}
            None => held.set(len)?,
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let mut all = Vec::new();
        all.try_reserve_exact(len)
            .map_err(|_| Error::Io(io::ErrorKind::OutOfMemory.into()))?;
        Ok(Inside::Memory(all, held))
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Inside::Memory(all, _) => all.extend_from_slice(bytes),
            Inside::File(file) => file.write_all(bytes)?,
        }
        Ok(())
    }

    /// Ends the writing.
    pub fn finish(&mut self) -> Result<()> {
        match self {
            Inside::Memory(..) => Ok(()),
            Inside::File(file) => file.flush().map_err(Error::Io),
        }
    }

    /// What was written.
    pub fn read(&self) -> &dyn ReadAt {
        match self {
            Inside::Memory(all, _) => all,
            Inside::File(file) => file,
        }
    }
}

impl ReadAt for Box<dyn ScratchFile> {
    fn size(&self) -> io::Result<u64> {
        self.as_ref().size()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.as_ref().read_at(offset, buf)
    }
    fn in_memory(&self) -> Option<&[u8]> {
        self.as_ref().in_memory()
    }
}

/// A stretch of something that is read by position.
pub struct Section<'a> {
    /// Of what.
    pub of: &'a dyn ReadAt,
    /// Where it begins.
    pub from: u64,
    /// How long it is.
    pub len: u64,
}

impl ReadAt for Section<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .filter(|&end| end <= self.len);
        let at = end.and_then(|_| self.from.checked_add(offset));
        self.of.read_at(at.ok_or(io::ErrorKind::UnexpectedEof)?, buf)
    }
    fn in_memory(&self) -> Option<&[u8]> {
        let from = usize::try_from(self.from).ok()?;
        let len = usize::try_from(self.len).ok()?;
        self.of.in_memory()?.get(from..from.checked_add(len)?)
    }
}
