//! Pieces and blobs into `partial/`, going on at the byte where an earlier run stopped.

use super::Site;
use super::ways::Ways;
use crate::disk;
use crate::error::Doing;
use crate::source::Sources;
use crate::{Digest, Error, Result, Watch, names};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

impl Site {
    pub(super) fn part(&self, digest: &Digest) -> PathBuf {
        self.path("partial").join(format!("{digest}.part"))
    }
    fn piece_path(&self, digest: &Digest) -> PathBuf {
        self.path("partial").join(format!("{digest}.piece"))
    }

    /// Fetches neighbouring pieces of a pack in one request, each into a file of its own.
    ///
    /// What a source does not deliver is left for [`Site::piece`]; only local failures and a wish to stop are errors.
    pub(super) fn fetch_range(
        &self,
        ways: &Ways,
        (s, first, last): (usize, usize, usize),
        sources: &Sources,
        watch: &dyn Watch,
        tick: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let step = &ways.steps[s];
        let Some(pack) = step.table.pack.map(|p| names::pack(&p)) else {
            return Ok(());
        };
        for source in 0..sources.len() {
            let pieces = &step.table.pieces;
            let Some(begin) = (first..=last).find(|p| !self.piece_path(&pieces[*p].h).exists()) else {
                return Ok(());
            };
            let mut at = begin;
            let mut open = Part::open(self, &pieces[at].h)?;
            if open.length > pieces[at].n {
                open.clear()?;
            }
            let from = step.offsets[at] + open.length;
            let to = step.offsets[last] + pieces[last].n;
            let mut sink = |mut bytes: &[u8]| -> Result<()> {
                watch.check()?;
                tick(bytes.len() as u64);
                while !bytes.is_empty() {
                    let room = pieces[at].n - open.length;
                    let n = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                    open.write(&bytes[..n])?;
                    bytes = &bytes[n..];
                    if open.length == pieces[at].n {
                        disk::rename(&self.part(&pieces[at].h), &self.piece_path(&pieces[at].h))?;
                        if at == last {
                            return Ok(());
                        }
                        at += 1;
                        open = Part::open(self, &pieces[at].h)?;
                        open.clear()?;
                    }
                }
                Ok(())
            };
            match sources.read_from(source, &pack, from, Some(to), &mut sink) {
                Ok(_) => {}
                Err(e @ (Error::Network(_) | Error::Untrusted(_))) => watch.note(&e.to_string()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// One piece, checked: from `partial/`, else from every source in turn.
    pub(super) fn piece(
        &self,
        ways: &Ways,
        (s, p): (usize, usize),
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<Vec<u8>> {
        let step = &ways.steps[s];
        let piece = &step.table.pieces[p];
        let mut last = Error::Network(format!("a piece of {} bytes", piece.n));
        if let Some(bytes) = self.held_piece(&piece.h, piece.n)? {
            if Digest::of(&bytes) == piece.h {
                return Ok(bytes);
            }
            last = self.spoilt(&piece.h, piece.n, sources)?;
        }
        let pack = step.table.pack.map(|p| names::pack(&p)).unwrap_or_default();
        for source in 0..sources.len() {
            let from = step.offsets[p];
            match self.fetch_file(source, &pack, &piece.h, (from, piece.n), sources, watch) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(e @ (Error::Network(_) | Error::Untrusted(_))) => {
                    last = e;
                    continue;
                }
                Err(e) => return Err(e),
            }
            let bytes = disk::read(&self.part(&piece.h), piece.n)?.unwrap_or_default();
            if Digest::of(&bytes) == piece.h {
                disk::rename(&self.part(&piece.h), &self.piece_path(&piece.h))?;
                return Ok(bytes);
            }
            last = self.spoilt(&piece.h, piece.n, sources)?;
        }
        Err(last)
    }

    fn held_piece(&self, digest: &Digest, length: u64) -> Result<Option<Vec<u8>>> {
        let path = self.piece_path(digest);
        if std::fs::metadata(&path).is_ok_and(|m| m.len() != length) {
            disk::remove(&path)?;
        }
        disk::read(&path, length)
    }

    fn spoilt(&self, digest: &Digest, length: u64, sources: &Sources) -> Result<Error> {
        sources.waste(length);
        disk::remove(&self.part(digest))?;
        disk::remove(&self.piece_path(digest))?;
        Ok(Error::Untrusted(format!(
            "a piece of {length} bytes is not what was signed"
        )))
    }

    /// Completes the `.part` file of `name` with the range `(offset, length)` of `path`. `false`: not there.
    pub(super) fn fetch_file(
        &self,
        source: usize,
        path: &str,
        name: &Digest,
        (offset, length): (u64, u64),
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<bool> {
        let mut open = Part::open(self, name)?;
        if open.length > length {
            open.clear()?;
        }
        if open.length < length {
            let from = offset + open.length;
            let found = sources.read_from(source, path, from, Some(offset + length), &mut |bytes| {
                watch.check()?;
                open.write(bytes)
            })?;
            if !found {
                return Ok(false);
            }
        }
        if open.length != length {
            return Err(Error::Network(format!(
                "{path}: it ends after {} of {length} bytes",
                open.length
            )));
        }
        Ok(true)
    }

    /// Removes all pieces, blobs and steps in `partial/`.
    pub(super) fn clear_partial(&self) -> Result<()> {
        disk::list(&self.path("partial"))?
            .iter()
            .try_for_each(|e| disk::remove(&e.path()))
    }
}

/// A file that grows.
struct Part {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Part {
    fn open(site: &Site, digest: &Digest) -> Result<Part> {
        let path = site.part(digest);
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let file = options.open(&path).doing("open", &path)?;
        let length = file.metadata().doing("read", &path)?.len();
        Ok(Part { file, path, length })
    }
    fn clear(&mut self) -> Result<()> {
        self.length = 0;
        self.file.set_len(0).doing("clear", &self.path)
    }
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).doing("write", &self.path)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}
