//! A repository in a local directory.

use super::{Fill, Held, Store, Stream};
use crate::disk::{self, Lock, Sync};
use crate::error::Doing;
use crate::{Error, Result, Watch};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A repository in a local directory.
///
/// A sync for each of thousands of small files would take minutes on a common disk. Files that are put wait under
/// temporary names until one sync covers them all, and are renamed after it.
pub struct LocalStore {
    root: PathBuf,
    /// What temporary names begin with, where others write to the same directories.
    tag: String,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    files: BTreeMap<String, PathBuf>,
    since: Instant,
}

/// A killed publish loses at most the work of this long.
const FLUSH_AFTER: Duration = Duration::from_secs(5);
/// Nothing is written for longer than this.
const LEFT: Duration = Duration::from_secs(86_400);
/// Signing takes milliseconds; whoever waits longer than this waits for something else.
const SIGNING: Duration = Duration::from_secs(10);

impl LocalStore {
    /// Uses `root`, which need not exist yet.
    pub fn new(root: &Path) -> LocalStore {
        LocalStore {
            root: root.to_owned(),
            tag: String::new(),
            waiting: Mutex::new(Waiting {
                files: BTreeMap::new(),
                since: Instant::now(),
            }),
        }
    }

    /// The same for one of several that write at the same time: nobody else has its temporary names.
    pub fn shared(root: &Path) -> Result<LocalStore> {
        let mut store = LocalStore::new(root);
        store.tag = crate::random::name()?;
        Ok(store)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // A thread that panicked while it held the list left it whole.
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where a file can be read.
    fn at(&self, path: &str) -> PathBuf {
        self.waiting()
            .files
            .get(path)
            .cloned()
            .unwrap_or_else(|| self.root.join(path))
    }

    fn make_dir(&self, full: &Path) -> Result<()> {
        disk::make_dirs_durably(disk::parent(full))
    }

    fn flush_list(&self, waiting: &mut Waiting) -> Result<()> {
        waiting.since = Instant::now();
        if waiting.files.is_empty() {
            return Ok(());
        }
        disk::sync_fs(&self.root)?;
        while let Some((path, temporary)) = waiting.files.pop_first() {
            disk::rename(&temporary, &self.root.join(path))?;
        }
        disk::sync_fs(&self.root)
    }
}

impl Store for LocalStore {
    fn name(&self) -> String {
        self.root.display().to_string()
    }
    fn write(&self, path: &str, fill: Fill) -> Result<u64> {
        if let Some(length) = self.size(path)? {
            return Ok(length);
        }
        let full = self.root.join(path);
        self.make_dir(&full)?;
        let temporary = disk::beside(&full.with_file_name(format!(
            "{}{}",
            self.tag,
            full.file_name().unwrap_or_default().to_string_lossy()
        )));
        disk::remove(&temporary)?;
        let written = write_new(&temporary, fill).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        });
        let length = written?;
        let mut waiting = self.waiting();
        waiting.files.insert(path.to_owned(), temporary);
        if waiting.since.elapsed() > FLUSH_AFTER {
            self.flush_list(&mut waiting)?;
        }
        Ok(length)
    }
    fn scratch(&self) -> Result<File> {
        let path = self.root.join("work/.tmp-scratch");
        self.make_dir(&path)?;
        disk::remove(&path)?;
        let file = disk::create_new(&path, 0o600)?;
        disk::remove(&path)?;
        Ok(file)
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.flush()?;
        let full = self.root.join(path);
        self.make_dir(&full)?;
        disk::replace(&full, bytes, 0o644, Sync::Store)
    }
    fn create(&self, path: &str, bytes: &[u8]) -> Result<()> {
        match self.get(path, bytes.len() as u64) {
            Ok(None) => self.replace(path, bytes),
            Ok(Some(found)) if found == bytes => Ok(()),
            Ok(Some(_)) | Err(Error::DamagedRepository(_)) => Err(Error::Busy(path.to_owned())),
            Err(e) => Err(e),
        }
    }
    fn flush(&self) -> Result<()> {
        self.flush_list(&mut self.waiting())
    }
    fn open(&self, path: &str) -> Result<Option<File>> {
        let open = |full: &Path| match File::open(full) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing("open", full),
        };
        match open(&self.at(path))? {
            // It may have got its name between the look at the list and the opening.
            None => open(&self.root.join(path)),
            found => Ok(found),
        }
    }
    fn stream(&self, path: &str) -> Result<Option<Stream<'_>>> {
        let file = self.open(path)?;
        file.map(|file| Stream::of(file).doing("read", path)).transpose()
    }
    fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let read = |full: &Path| {
            disk::read(full, limit).map_err(|e| match e {
                Error::Io { source, .. } if source.kind() == ErrorKind::FileTooLarge => {
                    Error::DamagedRepository(format!("{path} ({source})"))
                }
                e => e,
            })
        };
        match read(&self.at(path))? {
            // It may have got its name between the look at the list and the read.
            None => read(&self.root.join(path)),
            found => Ok(found),
        }
    }
    fn size(&self, path: &str) -> Result<Option<u64>> {
        let size = |full: &Path| match fs::metadata(full) {
            Ok(m) => Ok(Some(m.len())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing("read", path),
        };
        match size(&self.at(path))? {
            None => size(&self.root.join(path)),
            found => Ok(found),
        }
    }
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.flush()?;
        let mut all = Vec::new();
        let mut todo = vec![dir.trim_end_matches('/').to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in disk::list(&self.root.join(&dir))? {
                // What has no name in a repository is none of its files: gc would take it for the folder that it is in.
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
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
    fn hold(&self, path: &str, _patient: bool, _watch: &dyn Watch) -> Result<Held> {
        let full = self.root.join(path);
        disk::make_dirs(disk::parent(&full))?;
        Ok(Box::new(Lock::take(&full)?))
    }
    fn sweep(&self, dir: &str) -> Result<()> {
        for entry in disk::list(&self.root.join(dir))? {
            let unnamed = entry.file_name().as_encoded_bytes().starts_with(b".tmp-");
            let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
            if unnamed && age().is_some_and(|age| age > LEFT) {
                disk::remove(&entry.path())?;
            }
        }
        Ok(())
    }
    fn lock_signing(&self, watch: &dyn Watch) -> Result<Held> {
        let work = self.root.join("work");
        disk::make_dirs_durably(&work)?;
        Ok(Box::new(Lock::wait(&work.join("signing"), SIGNING, watch)?))
    }
}

/// Writes a new file as `fill` delivers it; tells its length.
fn write_new(path: &Path, fill: Fill) -> Result<u64> {
    let mut file = BufWriter::with_capacity(64 << 10, disk::create_new(path, 0o644)?);
    fill(&mut file)?;
    let file = file
        .into_inner()
        .map_err(|e| e.into_error())
        .doing("write", path)?;
    Ok(file.metadata().doing("read", path)?.len())
}
