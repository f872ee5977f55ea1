//! Durable changes to the disk: every write, rename and sync that must survive a power cut goes through here.

use crate::Watch;
use crate::error::{Doing, Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Names a sync, so that a test can leave it out and show that the crash suite notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Content of a small state file before its rename.
    State,
    /// Content of a rebuilt object before its rename.
    Object,
    /// The whole filesystem before activation.
    Tree,
    /// A directory after a rename in it.
    Directory,
    /// Content of a repository file before its rename.
    Store,
    /// Content of a key file before its rename.
    Key,
}

fn dropped(_which: Sync) -> bool {
    #[cfg(feature = "drop-sync")]
    if std::env::var("ELFUP_DROP_SYNC").is_ok_and(|v| v.eq_ignore_ascii_case(&format!("{_which:?}"))) {
        return true;
    }
    false
}

/// Waits until a file's content is on the disk.
pub fn sync_file(file: &File, which: Sync, path: &Path) -> Result<()> {
    if dropped(which) {
        return Ok(());
    }
    file.sync_all().doing("sync", path)
}

/// Waits until a directory's entries are on the disk.
pub fn sync_dir(path: &Path) -> Result<()> {
    if dropped(Sync::Directory) {
        return Ok(());
    }
    let dir = File::open(path).doing("open", path)?;
    dir.sync_all().doing("sync", path)
}

/// Waits until everything of the filesystem that holds `path` is on the disk.
pub fn sync_fs(path: &Path) -> Result<()> {
    if dropped(Sync::Tree) {
        return Ok(());
    }
    let dir = File::open(path).doing("open", path)?;
    rustix::fs::syncfs(&dir).doing("sync the filesystem of", path)
}

/// Replaces a file whole: temporary file, sync, rename, sync of the directory.
pub fn replace(path: &Path, bytes: &[u8], mode: u32, which: Sync) -> Result<()> {
    let temporary = beside(path);
    let write = || -> Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut file = create_new(&temporary, mode)?;
        file.write_all(bytes).doing("write", &temporary)?;
        sync_file(&file, which, &temporary)?;
        rename(&temporary, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })?;
    sync_dir(parent(path))
}

/// A new file that did not exist, never through a symlink.
pub fn create_new(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).read(true).create_new(true).mode(mode);
    options.open(path).doing("create", path)
}

/// Renames, with both names in the error.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io(format!("rename {} to {}", from.display(), to.display()), e))
}

/// The directory that holds `path`.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// A temporary name in the same directory; leftovers of killed runs are swept by [`sweep`].
pub fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let mut temporary = std::ffi::OsString::from(".tmp-");
    temporary.push(name);
    path.with_file_name(temporary)
}

/// Removes leftovers of killed runs from one directory; the caller holds the lock.
pub fn sweep(dir: &Path) -> Result<()> {
    for entry in list(dir)? {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".tmp-") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file or a whole directory; what does not exist is fine. Symlinks are not followed.
pub fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => {
            unlock_dirs(path);
            fs::remove_dir_all(path)
        }
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.doing("remove", path),
    }
}

/// Without root, a release's read-only directories would keep their content from being removed.
fn unlock_dirs(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        return;
    }
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            unlock_dirs(&entry.path());
        }
    }
}

/// Entries of a directory; none if it does not exist.
pub fn list(dir: &Path) -> Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().doing("list", dir),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e).doing("list", dir),
    }
}

/// Reads a file of at most `limit` bytes; `None` if it does not exist.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(f) => f,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).doing("open", path),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .doing("read", path)?;
    if bytes.len() as u64 > limit {
        return Err(Error::io(
            format!("read {}", path.display()),
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {limit} bytes"),
            ),
        ));
    }
    Ok(Some(bytes))
}

/// Has the next reading of a file that was synced come from the disk, where the system can.
pub fn forget_cached(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Makes a directory and its parents.
pub fn make_dirs(path: &Path) -> Result<()> {
    fs::create_dir_all(path).doing("make directory", path)
}

/// Makes a directory and its parents, each of which outlasts a power cut.
pub fn make_dirs_durably(path: &Path) -> Result<()> {
    let missing = path
        .ancestors()
        .take_while(|p| !p.as_os_str().is_empty() && !p.is_dir());
    let missing: Vec<&Path> = missing.collect();
    make_dirs(path)?;
    missing.into_iter().rev().try_for_each(|p| sync_dir(parent(p)))
}

/// Holds a lock file until dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a child that is being started still has the descriptor.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Lock {
    /// Takes the lock or fails with [`Error::Busy`] at once.
    pub fn take(path: &Path) -> Result<Lock> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).doing("open", path)?;
        Lock::hold(file, path, parent(path))
    }

    /// Takes the lock of a directory, without a file in it.
    pub fn take_dir(path: &Path) -> Result<Lock> {
        Lock::hold(File::open(path).doing("open", path)?, path, path)
    }

    /// Takes the lock, waiting for at most `patience` for another that has it.
    pub fn wait(path: &Path, patience: Duration, watch: &dyn Watch) -> Result<Lock> {
        let begin = Instant::now();
        loop {
            match Lock::take(path) {
                Err(Error::Busy(_)) if begin.elapsed() < patience => {
                    watch.check()?;
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }

    fn hold(file: File, path: &Path, whole: &Path) -> Result<Lock> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Busy(whole.display().to_string())),
            Err(e) => Err(e).doing("lock", path),
        }
    }
}

/// Free bytes for this process on the filesystem of `path`.
pub fn free(path: &Path) -> Result<u64> {
    let s = rustix::fs::statvfs(path).doing("measure", path)?;
    Ok(s.f_bavail.saturating_mul(s.f_frsize))
}
