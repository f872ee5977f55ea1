//! Partial: what has been received of pieces, whole files and steps, in `partial/`; it may be torn anywhere.

use crate::disk;
use crate::error::Doing;
use crate::source::shown;
use crate::{Digest, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The directory `partial/`.
pub(super) struct Partial {
    dir: PathBuf,
    /// What the sources are called.
    sources: Vec<String>,
}

impl Partial {
    /// That of a site, which fetches from these addresses.
    pub fn of(site: &Path, sources: &[String]) -> Partial {
        Partial {
            dir: site.join("partial"),
            sources: sources.iter().map(|s| shown(s)).collect(),
        }
    }

    /// Where it is, which is where room is held.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn file(&self, name: &Digest, kind: &str) -> PathBuf {
        self.dir.join(format!("{name}.{kind}"))
    }

    /// Where a whole piece is.
    pub fn piece(&self, digest: &Digest) -> PathBuf {
        self.file(digest, "piece")
    }

    /// Where a whole step file is.
    pub fn step(&self, digest: &Digest) -> PathBuf {
        self.file(digest, "step")
    }

    /// The parts of a file that is not whole yet.
    pub fn parts<'a>(&'a self, name: &'a Digest) -> Parts<'a> {
        Parts { partial: self, name }
    }

    /// How many bytes of a piece or blob there are.
    pub fn held(&self, digest: &Digest) -> u64 {
        let length = |kind: &str| std::fs::metadata(self.file(digest, kind)).map(|m| m.len());
        length("piece").or_else(|_| length("part")).unwrap_or(0)
    }

    /// A piece of so many bytes, if it is there; its digest is the caller's to check.
    pub fn held_piece(&self, digest: &Digest, length: u64) -> Result<Option<Vec<u8>>> {
        let path = self.piece(digest);
        if std::fs::metadata(&path).is_ok_and(|m| m.len() != length) {
            disk::remove(&path)?;
        }
        disk::read(&path, length)
    }

    /// Whether an update has begun to fetch and not finished.
    pub fn unfinished(&self) -> Result<bool> {
        Ok(disk::list(&self.dir)?.iter().any(|e| {
            let name = e.file_name();
            let name = name.as_encoded_bytes();
            name.ends_with(b".part") || name.ends_with(b".piece")
        }))
    }

    /// Removes all pieces, parts and steps.
    pub fn clear(&self) -> Result<()> {
        disk::list(&self.dir)?
            .iter()
            .try_for_each(|e| disk::remove(&e.path()))
    }
}

/// The parts of one file: one that every source goes on with, or one for each source.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    partial: &'a Partial,
    name: &'a Digest,
}

impl Parts<'_> {
    fn marker(&self) -> PathBuf {
        self.partial.file(self.name, "apart")
    }

    /// Whether bytes of several sources, put together, were once not what was signed.
    pub fn are_apart(&self) -> bool {
        self.marker().exists()
    }

    /// From now on every source has a part of its own.
    pub fn set_apart(&self) -> Result<()> {
        let path = self.marker();
        std::fs::write(&path, b"").doing("write", &path)
    }

    fn path(&self, source: &str) -> PathBuf {
        match self.are_apart() {
            true => {
                let kind = format!("{}.part", Digest::of(source.as_bytes()).short());
                self.partial.file(self.name, &kind)
            }
            false => self.partial.file(self.name, "part"),
        }
    }

    /// The part that a source goes on with.
    pub fn open(&self, source: &str) -> Result<Part> {
        Part::open(self.path(source))
    }

    /// Removes what is left of a file that is there now.
    pub fn forget(&self) -> Result<()> {
        if self.are_apart() {
            for source in &self.partial.sources {
                disk::remove(&self.path(source))?;
            }
            disk::remove(&self.marker())?;
        }
        disk::remove(&self.path(""))
    }
}

/// A file that grows.
pub(super) struct Part {
    file: File,
    pub path: PathBuf,
    pub length: u64,
}

impl Part {
    fn open(path: PathBuf) -> Result<Part> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let file = options.open(&path).doing("open", &path)?;
        let length = file.metadata().doing("read", &path)?.len();
        Ok(Part { file, path, length })
    }

    /// Begins anew.
    pub fn clear(&mut self) -> Result<()> {
        self.length = 0;
        self.file.set_len(0).doing("clear", &self.path)
    }

    /// Appends what has come.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).doing("write", &self.path)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}
