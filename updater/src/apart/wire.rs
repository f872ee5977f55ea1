//! What goes over the socket: a job with its bytes to the child, frames back.

/// What a job is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `first` is a patch, the file its base; behind that may come a file for scratch space.
    Patch = 1,
    /// The file is a zstd frame, or `first` is one and `second` its prefix.
    Unpack = 2,
}

/// A job; files come along as descriptors, the bytes follow.
pub(super) struct Job {
    pub kind: Kind,
    /// Length of the file; none: no file comes along.
    pub file: Option<u64>,
    /// The most bytes that may come out; of a frame, exactly so many.
    pub size: u64,
    /// Memory for the engine.
    pub memory: u64,
    /// Bytes that a scratch file may get; none: no such file comes along.
    pub scratch: Option<u64>,
    /// Length of the first bytes that follow.
    pub first: u64,
    /// Length of the second.
    pub second: u64,
}

/// Length of a job on the wire.
pub(super) const JOB: usize = 50;

impl Job {
    pub fn encode(&self) -> [u8; JOB] {
        let mut out = [0; JOB];
        out[0] = self.kind as u8;
        out[1] = u8::from(self.file.is_some()) | u8::from(self.scratch.is_some()) << 1;
        let numbers = [
            self.file.unwrap_or(0),
            self.size,
            self.memory,
            self.scratch.unwrap_or(0),
            self.first,
            self.second,
        ];
        for (place, n) in out[2..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&n.to_le_bytes());
        }
        out
    }

    pub fn decode(bytes: &[u8; JOB]) -> Option<Job> {
        let mut numbers = bytes[2..]
            .chunks_exact(8)
            .map(|c| u64::from_le_bytes(c.try_into().unwrap_or([0; 8])));
        let mut next = || numbers.next();
        let kind = match bytes[0] {
            1 => Kind::Patch,
            2 => Kind::Unpack,
            _ => return None,
        };
        let file = next()?;
        Some(Job {
            kind,
            file: (bytes[1] & 1 != 0).then_some(file),
            size: next()?,
            memory: next()?,
            scratch: Some(next()?).filter(|_| bytes[1] & 2 != 0),
            first: next()?,
            second: next()?,
        })
    }
}

/// A frame from the child: a tag, a length of four bytes, so many bytes.
pub(super) const HEAD: usize = 5;
/// The most bytes of a frame.
pub(super) const FRAME: usize = 64 << 10;

/// Once, before the first job: what the child has given up, as text.
pub(super) const HELLO: u8 = b'h';
/// Bytes of the result.
pub(super) const DATA: u8 = b'd';
/// The job is done.
pub(super) const DONE: u8 = b'o';
/// The job failed; the text says why.
pub(super) const FAILED: u8 = b'f';

/// The head of a frame.
pub(super) fn head(tag: u8, length: usize) -> [u8; HEAD] {
    let n = (length as u32).to_le_bytes();
    [tag, n[0], n[1], n[2], n[3]]
}
