//! Whole files in the repository, named by the digest of their plain bytes.

use super::Store;
use crate::compress;
use crate::error::Doing;
use crate::{Digest, Error, Result, names};
use std::path::Path;

/// Largest file that a farm publishes: files are compressed in memory.
const LIMIT: u64 = 4 << 30;

/// Stores a file of a tree unless it is there; returns the stored length.
///
/// Fails if the file no longer has the digest that the scan found.
pub fn store(store: &dyn Store, path: &Path, digest: &Digest, size: u64) -> Result<u64> {
    let name = names::blob(digest);
    if let Some(stored) = store.size(&name)? {
        return Ok(stored);
    }
    if size > LIMIT {
        return Err(Error::Usage(format!(
            "{} is larger than {LIMIT} bytes",
            path.display()
        )));
    }
    let bytes = std::fs::read(path).doing("read", path)?;
    if Digest::of(&bytes) != *digest {
        return Err(Error::Usage(format!(
            "{} changed after it was scanned; publish a tree at rest",
            path.display()
        )));
    }
    let packed = compress::pack(&bytes, &[], compress::LEVEL)?;
    store.put(&name, &packed)?;
    Ok(packed.len() as u64)
}

/// Reads a whole file back.
pub fn load(store: &dyn Store, digest: &Digest, size: u64) -> Result<Vec<u8>> {
    let name = names::blob(digest);
    let packed = store
        .get(&name, LIMIT)?
        .ok_or_else(|| Error::NotFound(name.clone()))?;
    let bytes = compress::unpack(&packed, &[], size).doing("unpack", &name)?;
    if Digest::of(&bytes) != *digest {
        return Err(Error::Damaged(format!("{name} in the repository")));
    }
    Ok(bytes)
}
