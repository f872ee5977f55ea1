//! Scratch space of a job: a file without a name that its parent opened, as a child opens none.

use elfdelta::{ReadAt, Scratch, ScratchFile};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};

/// An empty file for one job, and the most bytes that it may get: all that the engine asks for lies in it.
pub(super) struct Lent {
    file: Arc<Shared>,
    pub most: u64,
}

/// What was written is counted here: asking for it is not among the calls that a child has left.
struct Shared {
    file: File,
    end: Mutex<u64>,
}

impl Shared {
    fn end(&self) -> MutexGuard<'_, u64> {
        self.end.lock().unwrap_or_else(|lock| lock.into_inner())
    }
}

impl Lent {
    pub fn new(file: File, most: u64) -> Lent {
        let file = Shared {
            file,
            end: Mutex::new(0),
        };
        Lent {
            file: Arc::new(file),
            most,
        }
    }
}

impl Scratch for Lent {
    fn file(&self) -> io::Result<Box<dyn ScratchFile>> {
        Ok(Box::new(Space {
            file: self.file.clone(),
            stretches: Vec::new(),
            len: 0,
            most: self.most,
        }))
    }
}

/// A file of its own to the engine.
struct Space {
    file: Arc<Shared>,
    /// Where its stretches begin in it, and where they lie.
    stretches: Vec<(u64, u64)>,
    len: u64,
    /// Bytes that all such files may have together.
    most: u64,
}

impl Write for Space {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut end = self.file.end();
        if bytes.len() as u64 > self.most - *end {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let n = (&self.file.file).write(bytes)?;
        let goes_on = self
            .stretches
            .last()
            .is_some_and(|(from, at)| at + (self.len - from) == *end);
        if !goes_on {
            self.stretches.push((self.len, *end));
        }
        *end += n as u64;
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
    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        let behind = offset.checked_add(buf.len() as u64);
        if behind.is_none_or(|behind| behind > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buf.is_empty() {
            let next = self.stretches.partition_point(|(from, _)| *from <= offset);
            let (from, at) = self.stretches[next - 1];
            let end = self.stretches.get(next).map_or(self.len, |(from, _)| *from);
            let n = (end - offset).min(buf.len() as u64) as usize;
            let (piece, rest) = buf.split_at_mut(n);
            self.file.file.read_exact_at(piece, at + (offset - from))?;
            buf = rest;
            offset += n as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_one_file_are_written_in_turns() {
        let lent = Lent::new(tempfile::tempfile().unwrap(), 100);
        let (mut one, mut two) = (lent.file().unwrap(), lent.file().unwrap());
        one.write_all(b"first ").unwrap();
        one.write_all(b"part, ").unwrap();
        two.write_all(b"the other").unwrap();
        one.write_all(b"second part").unwrap();
        let text = |file: &dyn ScratchFile, from: u64, len: usize| {
            let mut bytes = vec![0; len];
            file.read_at(from, &mut bytes)
                .map(|()| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(text(&*one, 0, 23).unwrap(), "first part, second part");
        assert_eq!(text(&*one, 6, 9).unwrap(), "part, sec");
        assert_eq!(text(&*two, 4, 5).unwrap(), "other");
        assert!(text(&*two, 4, 6).is_err());
        assert_eq!(two.size().unwrap(), 9);
        two.write_all(&[0; 68]).unwrap();
        assert_eq!(
            one.write_all(b"!").unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
    }
}
