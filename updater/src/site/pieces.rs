//! Pieces of packs into `partial/`, several neighbours in one request; each is checked as soon as it is whole.

use super::obtain::{Download, Downloads, GAIN};
use super::partial::{Part, Partial};
use crate::disk;
use crate::error::Doing;
use crate::source::Span;
use crate::step::{Piece, Step};
use crate::{Digest, Error, Result, names};
use std::fs::File;
use std::ops::RangeInclusive;

impl Downloads<'_> {
    /// Fetches neighbouring pieces of a pack in one request, each into a file of its own.
    ///
    /// What no source delivers is left for [`Downloads::piece`]; only local failures and a wish to stop are errors.
    pub fn fetch_range(
        &self,
        step: &Step,
        range: RangeInclusive<usize>,
        tick: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let (sources, watch) = (self.sources, self.watch);
        let (first, last) = (*range.start(), *range.end());
        let Some(pack) = step.table.pack.map(|p| names::pack(&p)) else {
            return Ok(());
        };
        let pieces = &step.table.pieces[range];
        for source in sources.order() {
            let missing = || {
                pieces
                    .iter()
                    .position(|p| !self.partial.piece(&p.digest).exists())
            };
            while let Some(begin) = missing() {
                let mut row = Arriving::open(self.partial, &pieces[begin..], sources.name(source))?;
                let from = step.offsets[first + begin] + row.part.length;
                let span = Span::Range(from, step.offsets[last] + step.table.pieces[last].length);
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
    pub fn piece(&self, step: &Step, number: usize) -> Result<Vec<u8>> {
        let piece = &step.table.pieces[number];
        let kept = self.partial.piece(&piece.digest);
        if let Some(bytes) = self.partial.held_piece(&piece.digest, piece.length)? {
            if Digest::of(&bytes) == piece.digest {
                return Ok(bytes);
            }
            self.sources.waste(piece.length);
            disk::remove(&kept)?;
        }
        let pack = step.table.pack.map(|p| names::pack(&p)).unwrap_or_default();
        let wanted = Download {
            path: &pack,
            name: &piece.digest,
            offset: step.offsets[number],
            length: piece.length,
        };
        self.obtain(&wanted, &mut |part| {
            let bytes = disk::read(part, piece.length)?.unwrap_or_default();
            if Digest::of(&bytes) != piece.digest {
                return Err(not_signed(piece.length));
            }
            disk::rename(part, &kept)?;
            Ok(bytes)
        })
    }
}

fn not_signed(length: u64) -> Error {
    Error::Untrusted(format!("a piece of {length} bytes is not what was signed"))
}

/// Neighbouring pieces that arrive one after the other.
struct Arriving<'a> {
    partial: &'a Partial,
    source: &'a str,
    pieces: &'a [Piece],
    /// The first piece that is not whole yet.
    part: Part,
    /// Whether that one was begun by others.
    mixed: bool,
}

impl<'a> Arriving<'a> {
    fn open(partial: &'a Partial, pieces: &'a [Piece], source: &'a str) -> Result<Arriving<'a>> {
        let first = &pieces[0];
        let mut part = partial.parts(&first.digest).open(source)?;
        if part.length >= first.length {
            part.clear()?;
        }
        Ok(Arriving {
            mixed: part.length > 0 && !partial.parts(&first.digest).are_apart(),
            partial,
            source,
            pieces,
            part,
        })
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(piece) = self.pieces.first().filter(|_| !bytes.is_empty()) {
            let room = piece.length - self.part.length;
            let n = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.part.write(&bytes[..n])?;
            bytes = &bytes[n..];
            if self.part.length < piece.length {
                continue;
            }
            // By reading it in turn: a piece may be larger than the memory that a site may use.
            let path = &self.part.path;
            let whole = File::open(path).and_then(Digest::of_reader).doing("read", path)?;
            if whole != (piece.digest, piece.length) {
                return Err(not_signed(piece.length));
            }
            disk::rename(&self.part.path, &self.partial.piece(&piece.digest))?;
            self.partial.parts(&piece.digest).forget()?;
            self.pieces = &self.pieces[1..];
            self.mixed = false;
            if let Some(next) = self.pieces.first() {
                self.part = self.partial.parts(&next.digest).open(self.source)?;
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
            self.partial.parts(&piece.digest).set_apart()?;
        }
        Ok(piece.length)
    }
}
