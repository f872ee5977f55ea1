//! Copies of what lies in a bucket, in a temporary directory: read at any place, and not fetched twice.

use crate::disk::{self, Lock};
use crate::error::Doing;
use crate::{Digest, Error, Result};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::{NamedTempFile, TempDir};

/// Bytes of copies that are kept.
const KEPT: u64 = 4 << 30;

/// How the names of directories of copies begin.
const PREFIX: &str = "elfup-copies-";

/// Copies by path, the oldest of which make room.
pub(super) struct Cache {
    dir: TempDir,
    /// Says to others that it is in use, as long as this process lives; none where the filesystem has no locks.
    _lock: Option<Lock>,
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
        Cache::new_in(&std::env::temp_dir())
    }

    fn new_in(all: &Path) -> Result<Cache> {
        sweep(all);
        loop {
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(all);
            let dir = dir.doing("make a directory in", all)?;
            let lock = Lock::take_dir(dir.path());
            // Another may sweep it before the lock is taken; a lock of what is gone says nothing.
            if matches!(lock, Err(Error::Busy(_))) || !dir.path().exists() {
                continue;
            }
            return Ok(Cache {
                dir,
                _lock: lock.ok(),
                kept: Mutex::default(),
            });
        }
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

/// Removes the copies of killed commands: nobody holds the lock of their directory any more.
///
/// What belongs to another user, or cannot be removed, stays.
fn sweep(all: &Path) {
    for entry in disk::list(all).unwrap_or_default() {
        let ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes());
        let user = rustix::process::geteuid().as_raw();
        let dir = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == user);
        if ours
            && dir
            && let Ok(_lock) = Lock::take_dir(&entry.path())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_the_dead_are_swept_and_those_of_the_living_stay() {
        let all = tempfile::tempdir().unwrap();
        let living = Cache::new_in(all.path()).unwrap();
        living.keep("a", living.begin().unwrap()).unwrap();
        // As a kill leaves it: the directory, without the lock.
        let dead = all.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("copy"), b"bytes").unwrap();
        let other = all.path().join("elfup-other");
        fs::create_dir(&other).unwrap();
        let next = Cache::new_in(all.path()).unwrap();
        assert!(!dead.exists() && other.exists());
        assert!(living.open("a").is_some() && next.dir.path().exists());
    }
}
