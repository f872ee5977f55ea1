//! A repository in a directory: a stick, a mount, the farm itself.

use super::{Outcome, Sink, Source, Span, Transfer};
use crate::{Error, Result, Watch};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Instant;

/// Reads files below one directory.
pub struct DirSource {
    name: String,
    root: PathBuf,
}

impl DirSource {
    /// Uses a path, with or without `file://`.
    pub fn new(name: &str) -> DirSource {
        let root = PathBuf::from(name.strip_prefix("file://").unwrap_or(name));
        let name = name.to_owned();
        DirSource { name, root }
    }
}

impl Source for DirSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, path: &str, span: Span, watch: &dyn Watch, sink: Sink) -> Result<Outcome> {
        let begin = Instant::now();
        let full = self.root.join(path);
        let fail = |e: std::io::Error| Error::Network(format!("{path} ({}: {e})", self.name));
        let mut transfer = Transfer::default();
        // A stick may hold anything: a FIFO or a device must not be opened.
        if std::fs::metadata(&full).is_ok_and(|m| !m.is_file()) {
            return Ok(Outcome::Missing(transfer));
        }
        let mut file = match File::open(&full) {
            Ok(f) => f,
            Err(e) if e.kind() == ErrorKind::NotFound && self.root.is_dir() => {
                return Ok(Outcome::Missing(transfer));
            }
            Err(e) => return Err(fail(e)),
        };
        file.seek(SeekFrom::Start(span.from())).map_err(fail)?;
        transfer.wait = begin.elapsed();
        // One byte more than may be there shows that the file is another.
        let mut left = match span {
            Span::Range(..) => span.most(),
            Span::Whole(n) | Span::AtMost(n) => n.saturating_add(1),
        };
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            watch.check()?;
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = file.read(&mut buffer[..want]).map_err(fail)?;
            if n == 0 {
                break;
            }
            left -= n as u64;
            transfer.bytes += n as u64;
            sink(&buffer[..n])?;
        }
        transfer.body = begin.elapsed().saturating_sub(transfer.wait);
        Ok(Outcome::Delivered(transfer))
    }

    fn guess(&self) -> (f64, f64) {
        (20e6, 0.001)
    }
}
