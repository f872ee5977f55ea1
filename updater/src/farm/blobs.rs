//! Whole files in the repository, named by the digest of their plain bytes.

use crate::compress;
use crate::digest::Hasher;
use crate::error::Doing;
use crate::manifest::Content;
use crate::store::Store;
use crate::watch::Heed;
use crate::{Digest, Error, Result, Watch, names};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Stores a file of a tree unless it is there; returns the stored length.
///
/// Fails if the file no longer has the digest that the scan found.
pub fn store(store: &dyn Store, path: &Path, digest: &Digest, size: u64, watch: &dyn Watch) -> Result<u64> {
    store.write(&names::blob(digest), &mut |sink| {
        pack_file(path, (digest, size), sink, watch)
    })
}

/// Packs a file of a tree; fails if it no longer has the digest that the scan found.
pub fn pack_file(
    path: &Path,
    (digest, size): (&Digest, u64),
    sink: &mut dyn Write,
    watch: &dyn Watch,
) -> Result<()> {
    let mut reader = Hashed {
        file: File::open(path).doing("open", path)?,
        hasher: Hasher::new(io::sink()),
    };
    let packed = compress::pack_to(Heed::new(&mut reader, watch), size, compress::LEVEL, sink);
    let shorter = |e: &io::Error| e.kind() == io::ErrorKind::UnexpectedEof;
    let longer = packed.is_ok() && reader.file.read(&mut [0]).doing("read", path)? > 0;
    let same = !longer && reader.hasher.finish() == (*digest, size);
    match packed {
        Err(e) if !shorter(&e) => Err(e).doing("pack", path),
        _ if !same => Err(Error::Usage(format!(
            "{} changed after it was scanned; publish a tree at rest",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Memory that storing a file of this size takes, in bytes.
pub fn memory(size: u64) -> u64 {
    compress::memory(size) + (1 << 20)
}

/// A file whose bytes are hashed as they are read.
struct Hashed {
    file: File,
    hasher: Hasher<io::Sink>,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.hasher.write_all(&buffer[..n])?;
        Ok(n)
    }
}

/// Opens the stored form of a file; tells its name too.
pub fn open(store: &dyn Store, digest: &Digest) -> Result<(String, File)> {
    let name = names::blob(digest);
    match store.open(&name)? {
        Some(file) => Ok((name, file)),
        None => Err(Error::DamagedRepository(name)),
    }
}

/// Reads a whole file back into a sink; an error if it is not what its name says, whatever was written before.
pub fn copy(store: &dyn Store, content: &Content, sink: &mut dyn Write, watch: &dyn Watch) -> Result<()> {
    let (name, file) = open(store, &content.digest)?;
    let mut hasher = Hasher::new(Heed::new(sink, watch));
    compress::unpack_to(file, &[], content.size, &mut hasher).doing("unpack", &name)?;
    if hasher.finish().0 != content.digest {
        return Err(Error::DamagedRepository(name));
    }
    Ok(())
}

/// The first bytes of a file, where they can be read. They are not verified: what hangs on them is only which way is
/// tried first, and in how much memory.
pub fn start(store: &dyn Store, content: &Content, count: usize) -> Option<Vec<u8>> {
    let (name, file) = open(store, &content.digest).ok()?;
    compress::unpack_start(file, count).doing("unpack", &name).ok()
}

/// Whether a file begins so.
pub fn begins_with(store: &dyn Store, content: &Content, begin: &[u8]) -> bool {
    start(store, content, begin.len()).is_some_and(|bytes| bytes == begin)
}
