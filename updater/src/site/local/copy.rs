//! One local entry into another tree: as what it is, with its attributes, its time and its holes.

use super::super::files::{Beneath, reflink, set_attributes, times_of, touch_link};
use super::super::walk::{Here, is_shut, remove};
use crate::error::Doing;
use crate::manifest::{Entry, Kind, Xattrs, file_xattrs};
use crate::{Error, Result, Watch};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Uid, seek};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How a copy went.
#[derive(Debug, PartialEq, Eq)]
pub enum Copied {
    /// It was there already.
    Same,
    /// It is there now.
    Made,
    /// It changed all the time; what was there last may be torn.
    Restless,
    /// It is gone by now.
    Gone,
    /// It cannot be kept.
    Not(String),
}

/// What copies are made with.
pub struct Copier<'a> {
    pub unprivileged: bool,
    pub watch: &'a dyn Watch,
    /// Whether an entry of the same size and time counts as the same.
    pub quick: bool,
    /// Bytes of disk that stay free.
    pub reserve: u64,
    /// A directory of the filesystem that is written to.
    pub room: &'a Path,
}

/// Times that a file which changes is read again.
const TRIES: u32 = 3;
const BUFFER: usize = 1 << 20;

/// Makes something in a tree, again where somebody who may write there was in the way. The last error stands.
pub fn retry<T>(mut make: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..TRIES {
        match make() {
            Err(e) if collided(&e) => {}
            done => return done,
        }
    }
    make()
}

/// Whether somebody else made or removed an entry at the same time.
fn collided(e: &Error) -> bool {
    let code = match e {
        Error::Io { source, .. } => source.raw_os_error().map(Errno::from_raw_os_error),
        _ => None,
    };
    matches!(code, Some(Errno::EXIST | Errno::NOENT))
}

impl Copier<'_> {
    /// Makes `tree`'s entry at the path what the entry here is.
    pub fn copy(&self, here: &Here, tree: &Beneath) -> Result<Copied> {
        match retry(|| self.copy_once(here, tree)) {
            Err(e) if collided(&e) => Ok(Copied::Not(
                "another program keeps writing where it would stand".into(),
            )),
            done => done,
        }
    }

    fn copy_once(&self, here: &Here, tree: &Beneath) -> Result<Copied> {
        let (dir, name) = tree.parent(here.path)?;
        let there = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        if self.quick && there.is_some_and(|there| self.same(here, &there, dir.as_fd(), name)) {
            return Ok(Copied::Same);
        }
        let fresh = |replace: bool| -> Result<()> {
            if replace || there.is_some() {
                remove(tree, here.path, self.watch)?;
            }
            Ok(())
        };
        match here.kind() {
            FileType::Directory => {
                if there.is_none_or(|s| FileType::from_raw_mode(s.st_mode) != FileType::Directory) {
                    fresh(false)?;
                    match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o700)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(e) => return Err(e).doing("make directory", name),
                    }
                }
                self.dress_dir(here, tree).map(|()| Copied::Made)
            }
            FileType::Symlink => {
                let target = match rustix::fs::readlinkat(here.dir, here.name, Vec::new()) {
                    Ok(target) => target,
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(Copied::Gone),
                    Err(e) => return Err(e).doing("read link", here.name),
                };
                fresh(false)?;
                rustix::fs::symlinkat(&target, &dir, name).doing("link", name)?;
                self.own(dir.as_fd(), name, &here.stat)?;
                touch_at(dir.as_fd(), name, &here.stat)?;
                Ok(Copied::Made)
            }
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                fresh(false)?;
                let mode = Mode::from_raw_mode(here.stat.st_mode & 0o777);
                match rustix::fs::mknodat(&dir, name, here.kind(), mode, here.stat.st_rdev) {
                    Ok(()) => {}
                    Err(Errno::PERM) => return Ok(Copied::Not("a device node; it needs root".into())),
                    Err(e) => return Err(e).doing("make", name),
                }
                self.dress_node(dir.as_fd(), name, &here.stat)?;
                Ok(Copied::Made)
            }
            FileType::Socket => Ok(Copied::Not("a socket; its program makes it again".into())),
            FileType::RegularFile => {
                for _ in 0..TRIES {
                    self.watch.check()?;
                    fresh(true)?;
                    match self.file(here, dir.as_fd(), name) {
                        Ok(Copied::Restless) => {}
                        Ok(done) => return Ok(done),
                        Err(e) => {
                            let _ = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
                            return Err(e);
                        }
                    }
                }
                Ok(Copied::Restless)
            }
            _ => Ok(Copied::Not("of an unknown type".into())),
        }
    }

    fn file(&self, here: &Here, dir: BorrowedFd, name: &OsStr) -> Result<Copied> {
        let shown = Path::new(OsStr::from_bytes(here.path));
        let source = match here.open() {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Copied::Gone),
            // It is something else by now; the next look will tell.
            Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(Copied::Restless),
            Err(Errno::ACCESS | Errno::PERM) => return self.link(here, dir, name),
            Err(e) => return Err(e).doing("open", shown),
        };
        let before = rustix::fs::fstat(&source).doing("read", shown)?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Ok(Copied::Restless);
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let new = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)).doing("create", shown)?;
        let mut new = File::from(new);
        if !reflink(&source, &new) {
            self.data(&source, &before, &mut new, shown)?;
        }
        let entry = Entry {
            path: here.path.to_owned(),
            kind: Kind::Dir,
            mode: before.st_mode & 0o7777,
            uid: before.st_uid,
            gid: before.st_gid,
            xattrs: file_xattrs(&source, shown)?,
            time: Some(times_of(&before).0),
        };
        set_attributes(&new, &entry, self.unprivileged)?;
        let after = rustix::fs::fstat(&source).doing("read", shown)?;
        let state = |s: &Stat| {
            (
                s.st_size,
                s.st_mtime,
                s.st_mtime_nsec,
                s.st_mode,
                s.st_uid,
                s.st_gid,
            )
        };
        Ok(if state(&before) == state(&after) {
            Copied::Made
        } else {
            Copied::Restless
        })
    }

    /// Copies what is data, up to the size that the file had, and leaves the holes out.
    fn data(&self, source: &File, meta: &Stat, new: &mut File, shown: &Path) -> Result<()> {
        let size = meta.st_size as u64;
        let needed = size.min((meta.st_blocks as u64).saturating_mul(512));
        let free = crate::disk::free(self.room)?.saturating_sub(self.reserve);
        if needed > free {
            return Err(Error::NoSpace { needed, free });
        }
        let mut buffer = vec![0u8; BUFFER];
        let mut at = 0u64;
        while at < size {
            let begin = match seek(source, SeekFrom::Data(at)) {
                Ok(begin) => begin,
                Err(Errno::NXIO) => break,
                // A filesystem that does not know of holes.
                Err(Errno::INVAL) => at,
                Err(e) => return Err(e).doing("map", shown),
            };
            let end = seek(source, SeekFrom::Hole(begin)).unwrap_or(size).min(size);
            at = begin;
            while at < end {
                self.watch.check()?;
                let most = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
                let n = rustix::io::pread(source, &mut buffer[..most], at).doing("read", shown)?;
                if n == 0 {
                    return Ok(());
                }
                new.seek(std::io::SeekFrom::Start(at)).doing("seek", shown)?;
                new.write_all(&buffer[..n]).doing("write", shown)?;
                at += n as u64;
            }
        }
        new.set_len(size).doing("size", shown)
    }

    /// A file that may not be read but belongs to whoever runs this: another name of the same file.
    fn link(&self, here: &Here, dir: BorrowedFd, name: &OsStr) -> Result<Copied> {
        match rustix::fs::linkat(here.dir, here.name, dir, name, AtFlags::empty()) {
            Ok(()) => Ok(Copied::Made),
            Err(Errno::NOENT) => Ok(Copied::Gone),
            Err(_) => Err(Error::Unkept {
                path: crate::manifest::escape(here.path),
                why: "it may not be read",
            }),
        }
    }

    /// Gives a directory the attributes of the one here.
    pub fn dress_dir(&self, here: &Here, tree: &Beneath) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let xattrs = match rustix::fs::openat(here.dir, here.name, flags, Mode::empty()) {
            Ok(fd) => file_xattrs(&File::from(fd), Path::new(here.name))?,
            Err(e) if is_shut(e) => Xattrs::new(),
            Err(e) => return Err(e).doing("open", here.name),
        };
        set_attributes(tree.dir(here.path)?, &here.attributes(xattrs), self.unprivileged)
    }

    fn dress_node(&self, dir: BorrowedFd, name: &OsStr, stat: &Stat) -> Result<()> {
        self.own(dir, name, stat)?;
        // Opened without reading it, so that its mode can be set past the umask and past a name that changes.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).doing("open", name)?;
        let opened = rustix::fs::fstat(&fd).doing("read", name)?;
        if opened.st_mode & !0o7777 == stat.st_mode & !0o7777 {
            use std::os::fd::AsRawFd;
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
            rustix::fs::chmodat(rustix::fs::CWD, path, mode, AtFlags::empty())
                .doing("set the mode of", name)?;
        }
        touch_at(dir, name, stat)
    }

    fn own(&self, dir: BorrowedFd, name: &OsStr, stat: &Stat) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        match rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::PERM) if self.unprivileged => Ok(()),
            other => other.doing("own", name),
        }
    }

    /// Whether what is there need not be made again: type, attributes, size and time, and the target of a link.
    fn same(&self, here: &Here, there: &Stat, dir: BorrowedFd, name: &OsStr) -> bool {
        let what = |s: &Stat| (s.st_mode, s.st_mtime, s.st_mtime_nsec, s.st_rdev);
        let owner = |s: &Stat| (s.st_uid, s.st_gid);
        if !self.unprivileged && owner(&here.stat) != owner(there) {
            return false;
        }
        match here.kind() {
            FileType::Directory => here.stat.st_mode == there.st_mode,
            FileType::RegularFile => what(&here.stat) == what(there) && here.stat.st_size == there.st_size,
            FileType::Symlink => {
                what(&here.stat) == what(there)
                    && rustix::fs::readlinkat(here.dir, here.name, Vec::new()).ok()
                        == rustix::fs::readlinkat(dir, name, Vec::new()).ok()
            }
            _ => what(&here.stat) == what(there),
        }
    }
}

fn touch_at(dir: BorrowedFd, name: &OsStr, stat: &Stat) -> Result<()> {
    touch_link(dir, name, times_of(stat).0)
}
