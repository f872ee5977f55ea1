//! Files and attributes on the site's disk, always through descriptors, never through a symlink.

use crate::error::Doing;
use crate::manifest::{Entry, Time};
use crate::{Error, Result};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Suffix of a release's new default beside a file that was changed here.
pub const BESIDE: &[u8] = b".elfup-new";

/// Keeps everybody else out of the parts of a site that are not a release.
pub fn restrict(site: &Path) -> Result<()> {
    for (dir, mode) in [
        ("", 0o755),
        ("state", 0o700),
        ("objects", 0o700),
        ("partial", 0o700),
        ("built", 0o700),
    ] {
        let path = site.join(dir);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).doing("restrict", &path)?;
    }
    Ok(())
}

/// Sets owner, extended attributes, mode (setuid after the owner) and time of an open file or directory.
///
/// With `unprivileged`, what needs root is left out; `verify` tells of it.
pub fn set_attributes(fd: impl AsFd, entry: &Entry, unprivileged: bool) -> Result<()> {
    let fd = fd.as_fd();
    let shown = entry.shown();
    let denied = |what: &str, e: Errno| match e {
        Errno::PERM | Errno::NOTSUP if unprivileged => Ok(()),
        Errno::PERM => Err(Error::Privilege(format!("{what} of {shown} needs root"))),
        e => Err(Error::io(format!("set {what} of {shown}"), e)),
    };
    let stat = rustix::fs::fstat(fd).doing("read", &shown)?;
    if (stat.st_uid, stat.st_gid) != (entry.uid, entry.gid) {
        let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        rustix::fs::fchown(fd, owner.0, owner.1).or_else(|e| denied("owner", e))?;
    }
    for (name, value) in &entry.xattrs {
        let set = rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty());
        set.or_else(|e| denied("extended attributes", e))?;
    }
    // Without root a setuid file that could not get its owner would be setuid for the wrong user.
    let stat = rustix::fs::fstat(fd).doing("read", &shown)?;
    let owned = (stat.st_uid, stat.st_gid) == (entry.uid, entry.gid);
    let mode = if owned { entry.mode } else { entry.mode & 0o1777 };
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)).doing("set the mode of", &shown)?;
    match entry.time {
        Some(time) => rustix::fs::futimens(fd, &times(time)).doing("set the time of", &shown),
        None => Ok(()),
    }
}

/// Gives a symlink its owner and its time.
///
/// With `unprivileged`, an owner that needs root is left out.
pub fn dress_link(dir: impl AsFd, name: &OsStr, entry: &Entry, unprivileged: bool) -> Result<()> {
    let dir = dir.as_fd();
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    if (rustix::process::geteuid(), rustix::process::getegid()) != (uid, gid) {
        match rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::PERM) if unprivileged => {}
            Err(Errno::PERM) => {
                let why = format!("owner of {} needs root", entry.shown());
                return Err(Error::Privilege(why));
            }
            other => other.doing("own", name)?,
        }
    }
    entry.time.map_or(Ok(()), |time| touch_link(dir, name, time))
}

/// Sets the modification time of a symlink, or of another node that is not opened.
pub fn touch_link(dir: impl AsFd, name: &OsStr, time: Time) -> Result<()> {
    rustix::fs::utimensat(dir, name, &times(time), AtFlags::SYMLINK_NOFOLLOW).doing("set the time of", name)
}

/// When a file was changed last, its content or anything of it.
#[allow(clippy::unnecessary_cast, reason = "32-bit machines have other types")]
pub fn times_of(stat: &rustix::fs::Stat) -> (Time, Time) {
    let time = |seconds, nanos| Time { seconds, nanos };
    (
        time(stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        time(stat.st_ctime as i64, stat.st_ctime_nsec as u32),
    )
}

/// A modification time; the time of access is left alone.
fn times(time: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: time.seconds as _,
            tv_nsec: time.nanos as _,
        },
    }
}

/// A tree in which paths are resolved beneath its root and never through a symlink.
pub struct Beneath {
    root: OwnedFd,
}

impl Beneath {
    /// Opens the tree's own directory.
    pub fn open(root: &Path) -> Result<Beneath> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = rustix::fs::openat(CWD, root, flags, Mode::empty()).doing("open", root)?;
        Ok(Beneath { root })
    }

    /// The same tree once more.
    pub fn again(&self) -> Result<Beneath> {
        let root = self.root.try_clone().doing("open", "the tree")?;
        Ok(Beneath { root })
    }

    /// Opens a directory of the tree; the empty path is the root.
    pub fn dir(&self, path: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        self.file(path, flags)
    }

    /// Opens a path of the tree.
    pub fn file(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let shown = Path::new(OsStr::from_bytes(path));
        if path.is_empty() {
            return rustix::fs::openat(&self.root, ".", flags, Mode::empty()).doing("open", "the tree");
        }
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.root, shown, flags, Mode::empty(), how) {
            Err(Errno::NOSYS | Errno::PERM) => self.walk(path, flags).doing("open", shown),
            other => other.doing("open", shown),
        }
    }

    /// For kernels without `openat2`: one component at a time, none of them a symlink.
    fn walk(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let directory = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let mut at = rustix::fs::openat(&self.root, ".", directory, Mode::empty())?;
        let mut parts = path.split(|b| *b == b'/').peekable();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_some() { directory } else { flags };
            at = rustix::fs::openat(&at, OsStr::from_bytes(part), flags, Mode::empty())?;
        }
        Ok(at)
    }

    /// The directory that holds a path, and the path's last component.
    pub fn parent<'p>(&self, path: &'p [u8]) -> Result<(OwnedFd, &'p OsStr)> {
        let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        Ok((self.dir(dir)?, OsStr::from_bytes(name)))
    }

    /// A new file at a path that must not exist.
    pub fn create(&self, path: &[u8]) -> Result<File> {
        let (dir, name) = self.parent(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o600)).doing("create", name)?;
        Ok(File::from(fd))
    }

    /// What a path is, itself and not what it may point to.
    pub fn stat(&self, path: &[u8]) -> Result<rustix::fs::Stat> {
        let shown = Path::new(OsStr::from_bytes(path));
        if path.is_empty() {
            return rustix::fs::fstat(&self.root).doing("read", "the tree");
        }
        let (dir, name) = self.parent(path)?;
        rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).doing("read", shown)
    }
}

/// Opens a file to read it, unless it is a symlink.
pub fn open_nofollow(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map(File::from)
        .doing("open", path)
}

/// Clones a file's blocks; `false` where the filesystem cannot.
pub fn reflink(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}
