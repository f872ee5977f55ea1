//! A walk over a tree that others may change meanwhile: by descriptors, nothing followed, nothing waited for.

use super::files::{Beneath, times_of};
use crate::error::Doing;
use crate::manifest::{Entry, Kind, Time, Xattrs, below};
use crate::{Error, Result, Watch};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Longest path that is looked at; longer ones cannot be opened in one go.
pub const LONGEST: usize = 4095;
/// Times that a directory which changes is listed again, so that no rename hides a name.
const LISTINGS: u32 = 3;

/// One entry of a directory, as it was a moment ago.
pub struct Here<'a> {
    pub dir: BorrowedFd<'a>,
    pub name: &'a OsStr,
    pub path: &'a [u8],
    pub stat: Stat,
    /// Whether something is mounted there.
    pub mount: bool,
}

impl Here<'_> {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Its mode and owners with these extended attributes, to be set on an entry of a tree.
    pub fn attributes(&self, xattrs: Xattrs) -> Entry {
        Entry {
            path: self.path.to_owned(),
            kind: Kind::Dir,
            mode: self.stat.st_mode & 0o7777,
            uid: self.stat.st_uid,
            gid: self.stat.st_gid,
            xattrs,
            time: None,
        }
    }

    /// Opens it to be read: follows no link, waits for nobody, becomes nobody's terminal.
    pub fn open(&self) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(self.dir, self.name, flags, Mode::empty()).map(File::from)
    }
}

/// Whether an error says that an entry may not be read, or is not what it was: another fault, as of the disk, is none of
/// the entry, and what stands there is not given up for it.
pub fn is_shut(e: Errno) -> bool {
    let shut = [
        Errno::NOENT,
        Errno::LOOP,
        Errno::NOTDIR,
        Errno::NXIO,
        Errno::NODEV,
        Errno::ACCESS,
        Errno::PERM,
    ];
    shut.contains(&e)
}

/// What an entry is, itself; `None` if it is gone.
pub fn look<'a>(dir: BorrowedFd<'a>, name: &'a OsStr, path: &'a [u8]) -> Result<Option<Here<'a>>> {
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(e).doing("read", OsStr::from_bytes(path)),
    };
    let asked = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    let mount = asked.is_ok_and(|s| s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    Ok(Some(Here {
        dir,
        name,
        path,
        stat,
        mount,
    }))
}

/// Whether an error says that a path, or what leads to it, is not there as a directory any more.
pub fn gone(e: &Error) -> bool {
    let Error::Io { source, .. } = e else { return false };
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];
    source
        .raw_os_error()
        .is_some_and(|code| gone.iter().any(|e| e.raw_os_error() == code))
}

/// Whether something has a path of a tree.
pub fn stands(tree: &Beneath, path: &[u8]) -> Result<bool> {
    match tree.stat(path) {
        Ok(_) => Ok(true),
        Err(e) if gone(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Visits everything below a tree, parents first. `visit` says whether to go into a directory.
///
/// An entry may be visited more than once while its directory changes. What cannot be listed is told to `closed`.
pub fn walk(
    tree: &Beneath,
    watch: &dyn Watch,
    visit: &mut dyn FnMut(&Here) -> Result<bool>,
) -> Result<Vec<Vec<u8>>> {
    let mut closed = Vec::new();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        watch.check()?;
        let dir = match tree.dir(&path) {
            Ok(dir) => dir,
            Err(e) if gone(&e) => continue,
            Err(e) if denied(&e) => {
                closed.push(path);
                continue;
            }
            Err(e) => return Err(e),
        };
        for _ in 0..LISTINGS {
            let before = state(&dir)?;
            let first = todo.len();
            list(&dir, &path, watch, visit, &mut todo)?;
            if state(&dir)? == before {
                break;
            }
            let mut again = todo.split_off(first);
            again.sort();
            again.dedup();
            todo.append(&mut again);
        }
    }
    Ok(closed)
}

fn list(
    dir: &OwnedFd,
    path: &[u8],
    watch: &dyn Watch,
    visit: &mut dyn FnMut(&Here) -> Result<bool>,
    todo: &mut Vec<Vec<u8>>,
) -> Result<()> {
    let shown = OsStr::from_bytes(path);
    for entry in Dir::read_from(dir).doing("list", shown)? {
        watch.check()?;
        let entry = entry.doing("list", shown)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let child = below(path, name);
        if let Some(here) = look(dir.as_fd(), OsStr::from_bytes(name), &child)?
            && visit(&here)?
            && here.kind() == FileType::Directory
            && !here.mount
            && child.len() <= LONGEST
        {
            todo.push(child);
        }
    }
    Ok(())
}

fn state(dir: &OwnedFd) -> Result<(Time, Time)> {
    Ok(times_of(&rustix::fs::fstat(dir).doing("read", "a directory")?))
}

fn denied(e: &Error) -> bool {
    matches!(e, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Without root, a read-only directory would keep its content from being removed.
fn unlock(parent: &OwnedFd, name: &OsStr) {
    use rustix::fs::{CWD, Mode, OFlags, chmodat, openat};
    use std::os::fd::AsRawFd;
    if rustix::process::geteuid().is_root() {
        return;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(dir) = openat(parent, name, flags, Mode::empty()) {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let _ = chmodat(CWD, path, Mode::RWXU, AtFlags::empty());
    }
}

/// Removes whatever is at a path of a tree, never leaving it. What a stop leaves is removed by the next try.
pub fn remove(tree: &Beneath, path: &[u8], watch: &dyn Watch) -> Result<()> {
    let mut stack = vec![path.to_owned()];
    'down: while let Some(at) = stack.last().cloned() {
        watch.check()?;
        let (parent, name) = match tree.parent(&at) {
            Ok(found) => found,
            Err(e) if gone(&e) => return Ok(()),
            Err(e) => return Err(e),
        };
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {
                stack.pop();
                continue;
            }
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(e) => return Err(e).doing("remove", name),
        }
        unlock(&parent, name);
        let dir = tree.dir(&at)?;
        for entry in Dir::read_from(&dir).doing("list", name)? {
            let entry = entry.doing("list", name)?;
            let child = entry.file_name().to_bytes();
            if child == b"." || child == b".." {
                continue;
            }
            match rustix::fs::unlinkat(&dir, child, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    stack.push(below(&at, child));
                    continue 'down;
                }
                Err(e) => return Err(e).doing("remove", name),
            }
        }
        match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => drop(stack.pop()),
            // Somebody puts things there meanwhile: once more.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(e) => return Err(e).doing("remove", name),
        }
    }
    Ok(())
}
