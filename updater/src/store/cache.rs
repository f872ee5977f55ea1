//! Copies of what lies in a bucket, in a temporary directory: read at any place, and not fetched twice.

use crate::error::Doing;
use crate::{Digest, Result};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::{NamedTempFile, TempDir};

/// Bytes of copies that are kept.
const KEPT: u64 = 4 << 30;

/// Copies by path, the oldest of which make room.
pub(super) struct Cache {
    dir: TempDir,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lengths: BTreeMap<String, u64>,
    oldest: VecDeque<String>,
    bytes: u64,
}

impl Cache {
    pub fn new() -> Result<Cache> {
        let all = std::env::temp_dir();
        let dir = tempfile::Builder::new().prefix("elfup-").tempdir_in(&all);
        Ok(Cache {
            dir: dir.doing("make a directory in", &all)?,
            kept: Mutex::default(),
        })
    }

    /// A file that may become a copy.
    pub fn begin(&self) -> Result<NamedTempFile> {
        NamedTempFile::new_in(self.dir.path()).doing("make a file in", self.dir.path())
    }

    /// Keeps a file as the copy of a path.
    pub fn keep(&self, path: &str, file: NamedTempFile) -> Result<()> {
        let length = file.as_file().metadata().doing("read", path)?.len();
        if length > KEPT {
            return Ok(());
        }
        let mut kept = self.kept();
        self.forget_one(&mut kept, path);
        while kept.bytes + length > KEPT
            && let Some(oldest) = kept.oldest.pop_front()
        {
            self.forget_one(&mut kept, &oldest);
        }
        file.persist(self.at(path))
            .map_err(|e| e.error)
            .doing("write a copy of", path)?;
        kept.bytes += length;
        kept.lengths.insert(path.to_owned(), length);
        kept.oldest.push_back(path.to_owned());
        Ok(())
    }

    /// The copy, if there is one.
    pub fn open(&self, path: &str) -> Option<File> {
        let kept = self.kept();
        kept.lengths.get(path)?;
        File::open(self.at(path)).ok()
    }

    pub fn forget(&self, path: &str) {
        let mut kept = self.kept();
        self.forget_one(&mut kept, path);
        kept.oldest.retain(|kept| kept != path);
    }

    fn forget_one(&self, kept: &mut Kept, path: &str) {
        if let Some(length) = kept.lengths.remove(path) {
            kept.bytes -= length;
            // What is open elsewhere stays readable there.
            let _ = fs::remove_file(self.at(path));
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(Digest::of(path.as_bytes()).to_string())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
