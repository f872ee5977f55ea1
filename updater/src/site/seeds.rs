//! Seeds: files outside the site that may serve as bases or copies, never linked and always verified.

use super::index::Index;
use super::notes::{Note, Notes};
use crate::disk;
use crate::manifest::escape;
use crate::watch::Heed;
use crate::{Digest, Result, Watch};
use std::collections::HashMap;
use std::fs::{DirEntry, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a file was when it was hashed.
#[derive(serde::Serialize, serde::Deserialize)]
struct Seen {
    size: u64,
    changed: (i64, i64),
    digest: Digest,
}

/// The files of some directories by digest, hashed once while they stay as they are.
struct Seeds<'a> {
    seen: HashMap<String, Seen>,
    index: &'a mut Index,
    watch: &'a dyn Watch,
}

/// Adds the files of these directories, and what is below them, to an index.
pub(super) fn add(dirs: &[PathBuf], notes: &Notes, index: &mut Index, watch: &dyn Watch) -> Result<()> {
    if dirs.is_empty() {
        return Ok(());
    }
    let seen = notes.read(Note::Seeds)?.unwrap_or_default();
    let mut seeds = Seeds { seen, index, watch };
    let mut todo = dirs.to_vec();
    while let Some(dir) = todo.pop() {
        for entry in disk::list(&dir).unwrap_or_default() {
            watch.check()?;
            todo.extend(seeds.look(&entry)?);
        }
    }
    notes.write(Note::Seeds, &seeds.seen)
}

impl Seeds<'_> {
    /// Takes in one entry, or tells the directory that it is.
    fn look(&mut self, entry: &DirEntry) -> Result<Option<PathBuf>> {
        let (path, Ok(meta)) = (entry.path(), entry.metadata()) else {
            return Ok(None);
        };
        if meta.is_dir() {
            return Ok(Some(path));
        }
        if meta.is_file()
            && meta.len() > 0
            && let Some(digest) = self.digest(&path, &meta)?
        {
            self.index.add_seed(digest, path);
        }
        Ok(None)
    }

    /// The digest of a file; `None` if it cannot be read.
    fn digest(&mut self, path: &Path, meta: &Metadata) -> Result<Option<Digest>> {
        let key = escape(path.as_os_str().as_encoded_bytes());
        let changed = (meta.ctime(), meta.ctime_nsec());
        let known = self.seen.get(&key);
        if let Some(seen) = known.filter(|s| s.size == meta.len() && s.changed == changed) {
            return Ok(Some(seen.digest));
        }
        let hashed = open(path).and_then(|f| Digest::of_reader(Heed::new(f, self.watch)));
        let Ok((digest, size)) = hashed else {
            self.watch.check()?;
            return Ok(None);
        };
        let seen = Seen {
            size,
            changed,
            digest,
        };
        self.seen.insert(key, seen);
        Ok(Some(digest))
    }
}

/// Opens a file that others may have replaced since it was looked at.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, path, flags, Mode::empty())?))
}
