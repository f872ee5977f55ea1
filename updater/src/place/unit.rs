//! What a box fetches and checks as one: a piece of a pack, or a whole file.

use crate::{Digest, Error, Result, compress};
use std::fs::File;
use std::io;
use std::path::Path;

/// The most plain bytes of a file that are looked at: what has more is not taken.
const MOST: u64 = 64 << 30;

/// Bytes of a repository that have one digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// File of the repository.
    pub path: String,
    /// Where it begins there.
    pub offset: u64,
    /// How many bytes it has; none: up to the end of the file, wherever that is.
    pub length: Option<u64>,
    /// What was signed.
    pub digest: Digest,
    /// Whether that is the digest of what the bytes unpack to.
    pub packed: bool,
}

impl Unit {
    /// A whole file that is named by the digest of what it unpacks to.
    pub fn packed(path: String, digest: Digest, length: Option<u64>) -> Unit {
        Unit {
            path,
            offset: 0,
            length,
            digest,
            packed: true,
        }
    }

    /// What it is called in the box: the same bytes have one name, wherever they lie in the repository.
    pub fn name(&self) -> String {
        match self.packed {
            true => format!("{}.zst", self.digest),
            false => self.digest.to_string(),
        }
    }

    /// Fails unless a file is what was signed. Memory is that of unpacking at most.
    pub fn check(&self, path: &Path) -> Result<()> {
        let good = || -> io::Result<bool> {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            if self.length.is_some_and(|n| n != length) {
                return Ok(false);
            }
            Ok(match self.packed {
                true => compress::digest(file, MOST).is_ok_and(|digest| digest == self.digest),
                false => Digest::of_reader(file)?.0 == self.digest,
            })
        };
        match good() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Untrusted(format!("{} is not what was signed", self.path))),
            Err(e) => Err(Error::io(format!("read {}", path.display()), e)),
        }
    }
}
