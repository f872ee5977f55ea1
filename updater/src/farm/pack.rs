//! A pack on its way to the store: pieces back to back, in a file without a name until its digest is known.

use super::proof::Item;
use crate::digest::Hasher;
use crate::error::Doing;
use crate::step::Piece;
use crate::store::Store;
use crate::watch::Heed;
use crate::{Digest, Result, Watch, names};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Sink, Write};

/// Bytes after which a piece of small deltas is full: what is lost if one byte of it is wrong.
const PIECE: u64 = 64 << 10;

/// Where some bytes lie in a pack.
pub struct Place {
    /// Number of the piece.
    pub piece: usize,
    /// Offset in it.
    pub at: u64,
    /// Length.
    pub length: u64,
}

/// A pack that grows; its memory does not.
pub struct Pack {
    whole: Hasher<BufWriter<File>>,
    /// The piece that still grows.
    open: Hasher<Sink>,
    pieces: Vec<Piece>,
}

impl Pack {
    /// An empty one.
    pub fn new(store: &dyn Store) -> Result<Pack> {
        let file = BufWriter::with_capacity(64 << 10, store.scratch()?);
        Ok(Pack {
            whole: Hasher::new(file),
            open: Hasher::new(io::sink()),
            pieces: Vec::new(),
        })
    }

    /// Appends the `length` bytes of a delta to the open piece, or to a new one if it would be too full.
    ///
    /// Fails unless they have this digest: what was verified is what goes in.
    pub fn add(&mut self, mut bytes: impl Read, length: u64, digest: &Digest) -> Result<Place> {
        if self.open.written() + length > PIECE {
            self.close();
        }
        let place = Place {
            piece: self.pieces.len(),
            at: self.open.written(),
            length,
        };
        let mut both = Hasher::new(Both(&mut self.whole, &mut self.open));
        io::copy(&mut bytes, &mut both).doing("write", "the pack")?;
        if both.finish() != (*digest, length) {
            let changed = io::Error::other("it changed after it was verified; run the same command again");
            return Err(changed).doing("read", "a delta");
        }
        Ok(place)
    }

    /// Appends a piece of its own; tells its number.
    pub fn add_piece(&mut self, bytes: &[u8]) -> Result<usize> {
        self.close();
        self.whole.write_all(bytes).doing("write", "the pack")?;
        let (length, digest) = (bytes.len() as u64, Digest::of(bytes));
        self.pieces.push(Piece { length, digest });
        Ok(self.pieces.len() - 1)
    }

    /// Ends the open piece, if it has bytes.
    pub fn close(&mut self) {
        if self.open.written() > 0 {
            let open = std::mem::replace(&mut self.open, Hasher::new(io::sink()));
            let (digest, length) = open.finish();
            self.pieces.push(Piece { length, digest });
        }
    }

    /// Stores it; tells its digest, if there is anything in it, and its pieces.
    pub fn finish(mut self, store: &dyn Store, watch: &dyn Watch) -> Result<(Option<Digest>, Vec<Piece>)> {
        self.close();
        let (digest, length, file) = self.whole.into_parts();
        let mut file = file
            .into_inner()
            .map_err(|e| e.into_error())
            .doing("write", "the pack")?;
        if length == 0 {
            return Ok((None, self.pieces));
        }
        Item::raw(names::pack(&digest), digest, Some(length)).drop_wrong(store, watch)?;
        store.write(&names::pack(&digest), &mut |sink| {
            file.rewind().doing("read", "the pack")?;
            let copied = io::copy(&mut Heed::new(&mut file, watch), sink);
            copied.map(drop).doing("write", "the pack")
        })?;
        Ok((Some(digest), self.pieces))
    }
}

/// Writes to both.
struct Both<'a, A, B>(&'a mut A, &'a mut B);

impl<A: Write, B: Write> Write for Both<'_, A, B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
