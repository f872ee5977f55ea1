//! A release as a list of paths, in the one canonical spelling whose digest is the release's name.

mod change;
mod escape;
mod read;
mod scan;
mod write;

pub use change::{Change, put, take};
pub use escape::{escape, glob, unescape};
pub use scan::{ScanOptions, below, file_xattrs, join, scan, xattrs};

use crate::names::Follow;
use crate::{Digest, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// First line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the protocol.
    pub protocol: u32,
    /// Product, channel, architecture.
    #[serde(flatten)]
    pub follow: Follow,
    /// Release id, for people.
    pub release: String,
    /// Grows by one with every release of the channel; what decides about newer and older.
    pub sequence: u64,
    /// Whether a policy may apply it at once.
    pub urgent: bool,
    /// Kinds of metadata used; a reader that does not know one refuses.
    pub features: Vec<String>,
    /// Patterns of paths whose local changes are kept.
    pub config: Vec<String>,
    /// Number of lines that follow.
    pub entries: u64,
    /// One modification time for every entry, seconds since 1970, instead of one each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<i64>,
}

/// A modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after them, below 1,000,000,000.
    pub nanos: u32,
}

impl Time {
    /// Earliest and latest second that the usual filesystems hold.
    pub const RANGE: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 33);

    /// Whether a file has this time, as far as its filesystem can hold it: some keep whole seconds only.
    pub fn is(&self, found: Time) -> bool {
        found.seconds == self.seconds && (found.nanos == 0 || found.nanos == self.nanos)
    }
}

/// Extended attributes by name.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// One path of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path bytes relative to the tree; empty for the tree's own directory.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky; 0 for links.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Modification time; none for hard links, and in releases that carry no times.
    pub time: Option<Time>,
}

/// Digest of mode, owner, extended attributes and time of a path; thirty-two hex digits in file names.
///
/// Who may put two files into a release can choose their times, and sixteen digits are found twice in some minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes([u8; 16]);

impl Attributes {
    /// The first and the last in order.
    pub const ALL: [Attributes; 2] = [Attributes([0; 16]), Attributes([0xff; 16])];

    /// Parses exactly thirty-two lower-case hex digits.
    pub fn parse(hex: &str) -> Option<Attributes> {
        Some(Attributes(crate::digest::unhex(hex)?.try_into().ok()?))
    }
}

impl std::fmt::Display for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Directory.
    Dir,
    /// Regular file.
    File(Content),
    /// Symbolic link and its target.
    Symlink(Vec<u8>),
    /// Another name of the file at an earlier path.
    Hard(Vec<u8>),
}

/// Content of a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// Length of the whole-file blob in the repository.
    pub stored: u64,
    /// Holes as (offset, length), ascending.
    pub holes: Vec<(u64, u64)>,
}

/// A whole release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// First line.
    pub header: Header,
    /// Paths in ascending order of bytes.
    pub entries: Vec<Entry>,
}

impl Entry {
    /// The content, if it is a regular file.
    pub fn content(&self) -> Option<&Content> {
        match &self.kind {
            Kind::File(content) => Some(content),
            _ => None,
        }
    }

    /// The path as people read it.
    pub fn shown(&self) -> String {
        if self.path.is_empty() {
            ".".into()
        } else {
            escape(&self.path)
        }
    }

    /// What names mode, owner, extended attributes and time.
    pub fn attributes(&self) -> Attributes {
        let mut bytes = Vec::new();
        for n in [self.mode, self.uid, self.gid] {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        for (name, value) in &self.xattrs {
            for part in [name, value] {
                bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
                bytes.extend_from_slice(part);
            }
        }
        if let Some(time) = self.time {
            bytes.extend_from_slice(&time.seconds.to_le_bytes());
            bytes.extend_from_slice(&time.nanos.to_le_bytes());
        }
        let Digest(digest) = Digest::of(&bytes);
        Attributes(std::array::from_fn(|i| digest[i]))
    }
}

impl Header {
    /// Parses and checks the first line of a manifest alone.
    pub fn parse(manifest: &[u8]) -> Result<Header> {
        read::header(manifest.split(|b| *b == b'\n').next().unwrap_or_default())
    }
}

impl Manifest {
    /// Parses and checks canonical bytes.
    pub fn parse(bytes: &[u8]) -> Result<Manifest> {
        read::parse(bytes)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        write::write(self)
    }

    /// Digest of the canonical bytes: the release's name.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Whether local changes to a path are kept.
    pub fn is_config(&self, path: &[u8]) -> bool {
        self.header
            .config
            .iter()
            .any(|pattern| glob(pattern.as_bytes(), path))
    }

    /// Whether a directory may have paths below it whose local changes are kept.
    pub fn config_below(&self, dir: &[u8]) -> bool {
        let dir = [dir, b"/"].concat();
        self.header.config.iter().any(|pattern| {
            let plain = pattern.split('*').next().unwrap_or_default().as_bytes();
            plain.starts_with(&dir) || dir.starts_with(plain)
        })
    }

    /// Regular files with their paths.
    pub fn files(&self) -> impl Iterator<Item = (&Entry, &Content)> {
        self.entries.iter().filter_map(|e| Some((e, e.content()?)))
    }

    /// The entry at a path.
    pub fn find(&self, path: &[u8]) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by(|e| e.path.as_slice().cmp(path))
            .ok()?;
        self.entries.get(at)
    }
}
