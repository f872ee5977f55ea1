//! A file of `partial/` made whole from the sources, going on at the byte where an earlier run stopped.
//!
//! Over bad links several sources together get through, so whoever answers goes on where another stopped. If the whole
//! is then not what was signed, nobody can tell who lied: it is dropped, and from then on, also in later runs, each
//! source has a part of its own, begun at its first byte.

use super::Site;
use crate::disk;
use crate::error::Doing;
use crate::source::{Sources, Span, shown};
use crate::{Digest, Error, Result, Watch};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What has to be fetched.
pub(super) struct Wanted<'a> {
    /// Path in the repository.
    pub path: &'a str,
    /// What the part is named after.
    pub name: &'a Digest,
    /// Where it begins in that file.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

/// A request that broke off is made again at the same source if it brought so many bytes.
pub(super) const GAIN: u64 = 4 << 10;

/// How completing a part went.
enum Completed {
    Whole,
    /// The source does not have it.
    Missing,
    /// Some bytes are still missing.
    Broken(Error),
}

impl Site {
    fn marker(&self, name: &Digest) -> PathBuf {
        self.path("partial").join(format!("{name}.apart"))
    }
    /// Whether bytes of several sources, put together, were once not what was signed.
    pub(super) fn is_apart(&self, name: &Digest) -> bool {
        self.marker(name).exists()
    }
    pub(super) fn set_apart(&self, name: &Digest) -> Result<()> {
        let path = self.marker(name);
        std::fs::write(&path, b"").doing("write", &path)
    }

    fn part(&self, name: &Digest, source: &str) -> PathBuf {
        let file = if self.is_apart(name) {
            format!("{name}.{}.part", Digest::of(source.as_bytes()).short())
        } else {
            format!("{name}.part")
        };
        self.path("partial").join(file)
    }

    pub(super) fn open_part(&self, name: &Digest, source: &str) -> Result<Part> {
        Part::open(self.part(name, source))
    }

    /// Removes what is left of a file that is there now.
    pub(super) fn forget_parts(&self, name: &Digest) -> Result<()> {
        if self.is_apart(name) {
            for source in &self.config.sources {
                disk::remove(&self.part(name, &shown(source)))?;
            }
            disk::remove(&self.marker(name))?;
        }
        disk::remove(&self.part(name, ""))
    }

    /// Makes a file whole, and hands it to `accept`, which says whether it is what was signed.
    ///
    /// What was refused is dropped and asked afresh from the next source.
    pub(super) fn obtain<T>(
        &self,
        wanted: &Wanted,
        sources: &Sources,
        watch: &dyn Watch,
        accept: &mut dyn FnMut(&Path) -> Result<T>,
    ) -> Result<T> {
        let mut last = Error::Network(wanted.path.into());
        if !self.is_apart(wanted.name) {
            match self.together(wanted, sources, watch, accept)? {
                Ok(accepted) => return Ok(accepted),
                Err(e @ (Error::Network(_) | Error::Portal(_))) => return Err(e),
                Err(e) => last = e,
            }
        }
        for source in sources.order() {
            let mut part = self.open_part(wanted.name, sources.name(source))?;
            match self.complete(wanted, &mut part, source, (sources, watch))? {
                Completed::Missing => continue,
                Completed::Broken(e) => last = e,
                Completed::Whole => match self.accepted(wanted, &part, accept)? {
                    Ok(accepted) => return Ok(accepted),
                    Err(e) => {
                        sources.lied(source, wanted.length);
                        last = Error::Untrusted(format!("{}: {e}", sources.name(source)));
                    }
                },
            }
        }
        Err(last)
    }

    /// One part that every source goes on with. The inner error: it is not whole yet, or was refused and dropped.
    fn together<T>(
        &self,
        wanted: &Wanted,
        sources: &Sources,
        watch: &dyn Watch,
        accept: &mut dyn FnMut(&Path) -> Result<T>,
    ) -> Result<Result<T>> {
        let mut last = Error::Network(wanted.path.into());
        for source in sources.order() {
            let mut part = self.open_part(wanted.name, "")?;
            let alone = part.length == 0 || part.length > wanted.length;
            match self.complete(wanted, &mut part, source, (sources, watch))? {
                Completed::Missing => {}
                Completed::Broken(e) => last = e,
                Completed::Whole => {
                    let result = self.accepted(wanted, &part, accept)?;
                    if result.is_err() && alone {
                        sources.lied(source, wanted.length);
                    } else if result.is_err() {
                        sources.waste(wanted.length);
                    }
                    if result.is_err() {
                        self.set_apart(wanted.name)?;
                    }
                    return Ok(result);
                }
            }
        }
        Ok(Err(last))
    }

    /// The inner error: it was refused and is dropped.
    fn accepted<T>(
        &self,
        wanted: &Wanted,
        part: &Part,
        accept: &mut dyn FnMut(&Path) -> Result<T>,
    ) -> Result<Result<T>> {
        match accept(&part.path) {
            Ok(accepted) => {
                self.forget_parts(wanted.name)?;
                Ok(Ok(accepted))
            }
            Err(e @ (Error::Untrusted(_) | Error::Damaged(_))) => {
                disk::remove(&part.path)?;
                Ok(Err(e))
            }
            Err(e) => Err(e),
        }
    }

    /// Goes on with a part at one source, as long as that brings something.
    fn complete(
        &self,
        wanted: &Wanted,
        part: &mut Part,
        source: usize,
        (sources, watch): (&Sources, &dyn Watch),
    ) -> Result<Completed> {
        if part.length > wanted.length {
            part.clear()?;
        }
        let end = wanted.offset + wanted.length;
        while part.length < wanted.length {
            let before = part.length;
            let span = Span::Range(wanted.offset + before, end);
            let result = sources.read_from(source, wanted.path, span, watch, &mut |bytes| {
                watch.check()?;
                part.write(bytes)
            });
            let failure = match result {
                Ok(false) => return Ok(Completed::Missing),
                Ok(true) => Error::Network(format!(
                    "{} ({}: it ends after {} of {} bytes)",
                    wanted.path,
                    sources.name(source),
                    part.length,
                    wanted.length
                )),
                Err(e @ (Error::Network(_) | Error::Portal(_))) => e,
                Err(e) => return Err(e),
            };
            if part.length < wanted.length && part.length - before < GAIN {
                return Ok(Completed::Broken(failure));
            }
        }
        Ok(Completed::Whole)
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
    pub fn clear(&mut self) -> Result<()> {
        self.length = 0;
        self.file.set_len(0).doing("clear", &self.path)
    }
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).doing("write", &self.path)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}
