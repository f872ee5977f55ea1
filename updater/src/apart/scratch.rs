//! Scratch space of a job: a file without a name that its parent opened, as a child opens none.

use elfdelta::{ReadAt, Scratch, ScratchFile};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

/// An empty file for one job, and the most bytes that it may get.
pub(super) struct Lent {
    file: Mutex<Option<File>>,
    pub most: u64,
}

impl Lent {
    pub fn new(file: File, most: u64) -> Lent {
        Lent {
            file: Mutex::new(Some(file)),
            most,
        }
    }
}

impl Scratch for Lent {
    fn file(&self) -> io::Result<Box<dyn ScratchFile>> {
        let file = self.file.lock().ok().and_then(|mut file| file.take());
        Ok(Box::new(Space {
            file: file.ok_or(io::ErrorKind::StorageFull)?,
            len: 0,
            most: self.most,
        }))
    }
}

/// What was written of it is counted here: asking for it is not among the calls that a child has left.
struct Space {
    file: File,
    len: u64,
    most: u64,
}

impl Write for Space {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.most - self.len {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let n = self.file.write(bytes)?;
        self.len += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for Space {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}
