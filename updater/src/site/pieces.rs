//! Pieces of packs into `partial/`, several neighbours in one request; each is checked as soon as it is whole.

use super::Site;
use super::obtain::{GAIN, Part, Wanted};
use super::ways::Ways;
use crate::disk;
use crate::error::Doing;
use crate::source::{Sources, Span};
use crate::step::Piece;
use crate::{Digest, Error, Result, Watch, names};
use std::fs::File;
use std::path::PathBuf;

impl Site {
    fn piece_path(&self, digest: &Digest) -> PathBuf {
        self.path("partial").join(format!("{digest}.piece"))
    }

    /// Fetches neighbouring pieces of a pack in one request, each into a file of its own.
    ///
    /// What no source delivers is left for [`Site::piece`]; only local failures and a wish to stop are errors.
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
        let pieces = &step.table.pieces[first..=last];
        for source in sources.order() {
            let missing = || pieces.iter().position(|p| !self.piece_path(&p.h).exists());
            while let Some(begin) = missing() {
                let mut row = Row::open(self, &pieces[begin..], sources.name(source))?;
                let from = step.offsets[first + begin] + row.part.length;
                let span = Span::Range(from, step.offsets[last] + step.table.pieces[last].n);
                let mut got = 0;
                let result = sources.read_from(source, &pack, span, watch, &mut |bytes| {
                    watch.check()?;
                    got += bytes.len() as u64;
                    tick(bytes.len() as u64);
                    row.write(bytes)
                });
                match result {
                    Ok(_) => {}
                    Err(e @ (Error::Network(_) | Error::Portal(_))) => watch.detail(&e.to_string()),
                    Err(e @ Error::Untrusted(_)) => {
                        watch.detail(&e.to_string());
                        let bytes = row.spoilt()?;
                        if row.mixed {
                            // Others may have begun it: once more from its first byte, by this source alone.
                            sources.waste(bytes);
                            continue;
                        }
                        sources.lied(source, bytes);
                        break;
                    }
                    Err(e) => return Err(e),
                }
                if got < GAIN {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One piece, checked: from `partial/`, else from the sources.
    pub(super) fn piece(
        &self,
        ways: &Ways,
        (s, p): (usize, usize),
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<Vec<u8>> {
        let step = &ways.steps[s];
        let piece = &step.table.pieces[p];
        let kept = self.piece_path(&piece.h);
        if let Some(bytes) = self.held_piece(&piece.h, piece.n)? {
            if Digest::of(&bytes) == piece.h {
                return Ok(bytes);
            }
            sources.waste(piece.n);
            disk::remove(&kept)?;
        }
        let pack = step.table.pack.map(|p| names::pack(&p)).unwrap_or_default();
        let wanted = Wanted {
            path: &pack,
            name: &piece.h,
            offset: step.offsets[p],
            length: piece.n,
        };
        self.obtain(&wanted, sources, watch, &mut |part| {
            let bytes = disk::read(part, piece.n)?.unwrap_or_default();
            if Digest::of(&bytes) != piece.h {
                return Err(not_signed(piece.n));
            }
            disk::rename(part, &kept)?;
            Ok(bytes)
        })
    }

    fn held_piece(&self, digest: &Digest, length: u64) -> Result<Option<Vec<u8>>> {
        let path = self.piece_path(digest);
        if std::fs::metadata(&path).is_ok_and(|m| m.len() != length) {
            disk::remove(&path)?;
        }
        disk::read(&path, length)
    }

    /// Removes all pieces, blobs and steps in `partial/`.
    pub(super) fn clear_partial(&self) -> Result<()> {
        disk::list(&self.path("partial"))?
            .iter()
            .try_for_each(|e| disk::remove(&e.path()))
    }
}

fn not_signed(length: u64) -> Error {
    Error::Untrusted(format!("a piece of {length} bytes is not what was signed"))
}

/// Neighbouring pieces that arrive one after the other.
struct Row<'a> {
    site: &'a Site,
    source: &'a str,
    pieces: &'a [Piece],
    /// The first piece that is not whole yet.
    part: Part,
    /// Whether that one was begun by others.
    mixed: bool,
}

impl<'a> Row<'a> {
    fn open(site: &'a Site, pieces: &'a [Piece], source: &'a str) -> Result<Row<'a>> {
        let first = &pieces[0];
        let mut part = site.open_part(&first.h, source)?;
        if part.length >= first.n {
            part.clear()?;
        }
        Ok(Row {
            mixed: part.length > 0 && !site.is_apart(&first.h),
            site,
            source,
            pieces,
            part,
        })
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(piece) = self.pieces.first().filter(|_| !bytes.is_empty()) {
            let room = piece.n - self.part.length;
            let n = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.part.write(&bytes[..n])?;
            bytes = &bytes[n..];
            if self.part.length < piece.n {
                continue;
            }
            // By reading it in turn: a piece may be larger than the memory that a site may use.
            let path = &self.part.path;
            let whole = File::open(path).and_then(Digest::of_reader).doing("read", path)?;
            if whole != (piece.h, piece.n) {
                return Err(not_signed(piece.n));
            }
            disk::rename(&self.part.path, &self.site.piece_path(&piece.h))?;
            self.site.forget_parts(&piece.h)?;
            self.pieces = &self.pieces[1..];
            self.mixed = false;
            if let Some(next) = self.pieces.first() {
                self.part = self.site.open_part(&next.h, self.source)?;
                self.part.clear()?;
            }
        }
        Ok(())
    }

    /// Drops the piece that is not what was signed, and tells its length.
    fn spoilt(&self) -> Result<u64> {
        disk::remove(&self.part.path)?;
        let Some(piece) = self.pieces.first() else {
            return Ok(0);
        };
        if self.mixed {
            self.site.set_apart(&piece.h)?;
        }
        Ok(piece.n)
    }
}
