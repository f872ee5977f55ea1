//! Where a repository's files lie: a small trait, and what implements it: a local directory and a bucket.

#[cfg(feature = "s3")]
mod cache;
#[cfg(feature = "s3")]
mod lease;
mod local;
#[cfg(feature = "s3")]
mod profile;
#[cfg(feature = "s3")]
mod remote;
#[cfg(feature = "s3")]
mod s3;

pub use local::LocalStore;
#[cfg(feature = "s3")]
pub use s3::S3Store;

use crate::disk::Lock;
use crate::error::Doing;
use crate::{Result, Watch};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Delivers the bytes of a file.
pub type Fill<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<()>;

/// A repository's files by relative path. A file is there whole or not at all, also after a power cut.
pub trait Store: std::marker::Sync {
    /// What people call it.
    fn name(&self) -> String;
    /// Writes a file whose name implies its content, as `fill` delivers it; does nothing if it exists. Tells its
    /// length. Durable after [`Store::flush`].
    fn write(&self, path: &str, fill: Fill) -> Result<u64>;
    /// The same for a file in memory.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let fill = &mut |sink: &mut dyn Write| sink.write_all(bytes).doing("write", path);
        self.write(path, fill).map(drop)
    }
    /// A file without a name, for what gets its name at the end.
    fn scratch(&self) -> Result<File>;
    /// Writes or replaces a file, durably, after everything that was put before. Fails with [`crate::Error::Busy`] if
    /// another has written it since it was last read or written here.
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<()>;
    /// Writes a file durably, after everything that was put before. Fails with [`crate::Error::Busy`] if there is one
    /// of other content.
    fn create(&self, path: &str, bytes: &[u8]) -> Result<()>;
    /// Makes everything that was put durable and visible.
    fn flush(&self) -> Result<()>;
    /// A file to be read at any place; `None` if it does not exist. It may be a copy nearby.
    fn open(&self, path: &str) -> Result<Option<File>>;
    /// A file to be read forward, from where it lies; `None` if it does not exist.
    fn stream(&self, path: &str) -> Result<Option<Stream<'_>>>;
    /// The whole file; `None` if it does not exist. One of more than `limit` bytes is not what was stored.
    fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>>;
    /// Length in bytes; `None` if it does not exist.
    fn size(&self, path: &str) -> Result<Option<u64>>;
    /// Paths below a directory, in order.
    fn list(&self, dir: &str) -> Result<Vec<String>>;
    /// Removes a file.
    fn remove(&self, path: &str) -> Result<()>;
    /// Holds what a path stands for until dropped; fails with [`crate::Error::Busy`] if another does. Where a killed
    /// holder cannot be told from a living one at once, `patient` waits until it can.
    fn hold(&self, path: &str, patient: bool, watch: &dyn Watch) -> Result<Held>;
    /// Keeps other publishers and collectors away until dropped; fails with [`crate::Error::Busy`] if there is one.
    fn lock(&self, watch: &dyn Watch) -> Result<Held> {
        self.hold("work/lock", true, watch)
    }
    /// Removes from a directory what killed runs left a day ago or more, and never gave a name.
    fn sweep(&self, _dir: &str) -> Result<()> {
        Ok(())
    }
    /// Keeps others from signing until dropped; waits a little for one that does.
    fn lock_signing(&self, watch: &dyn Watch) -> Result<Held>;
}

/// A lock that is held until dropped.
pub type Held = Box<dyn Hold>;

/// What can be asked of a lock.
pub trait Hold: Send + std::marker::Sync {
    /// Fails if another may hold it by now.
    fn still(&self) -> Result<()> {
        Ok(())
    }
}

impl Hold for Lock {}

/// Bytes that are read forward, and how many they are.
pub struct Stream<'a> {
    /// The length of the file.
    pub length: u64,
    /// Its bytes.
    pub bytes: Box<dyn Read + Send + 'a>,
}

impl Stream<'static> {
    /// What is left of a file, of which all is.
    pub fn of(file: File) -> std::io::Result<Stream<'static>> {
        Ok(Stream {
            length: file.metadata()?.len(),
            bytes: Box::new(file),
        })
    }
}

/// Opens a repository by what the command line says of it: a directory, or `s3://bucket/prefix`.
///
/// Whatever waits for a bucket ends when `watch` says so.
pub fn open<'a>(repo: &Path, watch: &'a dyn Watch) -> Result<Box<dyn Store + 'a>> {
    open_by(repo, watch, |repo| Ok(LocalStore::new(repo)))
}

/// The same for one of several workers.
pub fn open_shared<'a>(repo: &Path, watch: &'a dyn Watch) -> Result<Box<dyn Store + 'a>> {
    open_by(repo, watch, LocalStore::shared)
}

fn open_by<'a>(
    repo: &Path,
    watch: &'a dyn Watch,
    local: impl Fn(&Path) -> Result<LocalStore>,
) -> Result<Box<dyn Store + 'a>> {
    match repo.to_str().filter(|name| name.starts_with("s3://")) {
        #[cfg(feature = "s3")]
        Some(name) => Ok(Box::new(S3Store::open(name, watch)?)),
        #[cfg(not(feature = "s3"))]
        Some(_) => {
            let _ = watch;
            let why = "this elfup was built without `s3`; build it with that feature";
            Err(crate::Error::Usage(why.into()))
        }
        None => Ok(Box::new(local(repo)?)),
    }
}
