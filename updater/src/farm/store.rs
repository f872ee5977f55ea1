//! Where a repository's files lie: a small trait, and the local directory that implements it.

use crate::disk::{self, Sync};
use crate::error::Doing;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A repository's files by relative path. Puts are whole or not at all, and durable when they return.
pub trait Store: std::marker::Sync {
    /// Writes a file whose name implies its content; does nothing if it exists.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<()>;
    /// Writes or replaces a file.
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<()>;
    /// The whole file; `None` if it does not exist. Fails above `limit` bytes.
    fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>>;
    /// Length in bytes; `None` if it does not exist.
    fn size(&self, path: &str) -> Result<Option<u64>>;
    /// Paths below a directory.
    fn list(&self, dir: &str) -> Result<Vec<String>>;
    /// Removes a file.
    fn remove(&self, path: &str) -> Result<()>;
}

/// A repository in a local directory.
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// Uses `root`, which need not exist yet.
    pub fn new(root: &Path) -> LocalStore {
        LocalStore { root: root.to_owned() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let full = self.root.join(path);
        let dir = disk::parent(&full);
        if !dir.is_dir() {
            disk::make_dirs(dir)?;
            disk::sync_dir(disk::parent(dir))?;
        }
        disk::replace(&full, bytes, 0o644, Sync::Store)
    }
}

impl Store for LocalStore {
    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        if self.size(path)?.is_some() {
            return Ok(());
        }
        self.write(path, bytes)
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write(path, bytes)
    }
    fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        disk::read(&self.root.join(path), limit)
    }
    fn size(&self, path: &str) -> Result<Option<u64>> {
        match fs::metadata(self.root.join(path)) {
            Ok(m) => Ok(Some(m.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing("read", path),
        }
    }
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        let mut todo = vec![dir.trim_end_matches('/').to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in disk::list(&self.root.join(&dir))? {
                let name = entry.file_name().into_string().unwrap_or_default();
                let path = format!("{dir}/{name}");
                match entry.file_type() {
                    Ok(t) if t.is_dir() => todo.push(path),
                    Ok(_) if !name.starts_with(".tmp-") => all.push(path),
                    Ok(_) => {}
                    Err(e) => return Err(Error::io(format!("read {path}"), e)),
                }
            }
        }
        all.sort();
        Ok(all)
    }
    fn remove(&self, path: &str) -> Result<()> {
        disk::remove(&self.root.join(path))
    }
}
