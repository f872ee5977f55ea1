//! What a release ships, compared with what stands somewhere, and laid into the tree that is made.

use super::super::deploy::lay_default;
use super::super::files::{dress_link, set_attributes};
use super::super::walk::{Here, is_shut, look, remove};
use super::Carry;
use super::copy::retry;
use crate::error::Doing;
use crate::manifest::{Content, Entry, Kind, file_xattrs};
use crate::watch::Heed;
use crate::{Digest, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

impl Carry<'_> {
    /// Whether an entry here has a shipped content.
    pub(super) fn is(&self, here: &Here, entry: &Entry) -> Result<bool> {
        Ok(match (&entry.kind, here.kind()) {
            (Kind::Dir, FileType::Directory) => true,
            (Kind::Symlink(target), FileType::Symlink) => {
                let found = rustix::fs::readlinkat(here.dir, here.name, Vec::new());
                found.is_ok_and(|t| t.as_bytes() == target)
            }
            (Kind::File(content), FileType::RegularFile) => {
                here.stat.st_size as u64 == content.size && self.holds(here, content)?
            }
            _ => false,
        })
    }

    fn holds(&self, here: &Here, content: &Content) -> Result<bool> {
        let Some(file) = opened(here)? else {
            return Ok(false);
        };
        let bounded = std::io::Read::take(&file, content.size.saturating_add(1));
        let found = Digest::of_reader(Heed::new(bounded, self.copier.watch));
        Ok(found.doing("read", OsStr::from_bytes(here.path))?.0 == content.digest)
    }

    /// Whether mode, owner and attributes are as shipped.
    pub(super) fn dressed_as(&self, here: &Here, entry: Option<&Entry>) -> Result<bool> {
        let Some(entry) = entry else { return Ok(false) };
        let mode = here.stat.st_mode & 0o7777;
        if self.copier.unprivileged {
            return Ok(mode == entry.mode || mode == entry.mode & 0o1777);
        }
        if mode != entry.mode || (here.stat.st_uid, here.stat.st_gid) != (entry.uid, entry.gid) {
            return Ok(false);
        }
        Ok(match opened(here)? {
            Some(file) => file_xattrs(&file, here.name.as_ref())? == entry.xattrs,
            None => true,
        })
    }

    /// Gives the default the attributes that were set here.
    pub(super) fn dress(&mut self, here: &Here) -> Result<()> {
        let Some(source) = opened(here)? else {
            return Ok(());
        };
        let entry = here.attributes(file_xattrs(&source, here.name.as_ref())?);
        let file = self.to.file(here.path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        set_attributes(file, &entry, self.copier.unprivileged)
    }

    /// Makes the tree's entry at a path the shipped one, unless it is.
    pub(super) fn lay(&mut self, path: &[u8], entry: Option<&Entry>) -> Result<()> {
        entry.map_or(Ok(()), |entry| retry(|| self.lay_once(path, entry)))
    }

    fn lay_once(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let (dir, name) = self.to.parent(path)?;
        if let Some(there) = look(dir.as_fd(), name, path)? {
            let same = self.is(&there, entry)?;
            if same && (self.dressed_as(&there, Some(entry))? || there.kind() == FileType::Symlink) {
                return Ok(());
            }
            if !(same && there.kind() == FileType::Directory) {
                remove(&self.to, path, self.copier.watch)?;
            }
        }
        self.changed = true;
        match &entry.kind {
            Kind::Dir => {
                match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e).doing("make directory", name),
                }
                set_attributes(self.to.dir(path)?, entry, self.copier.unprivileged)
            }
            Kind::File(content) => {
                let watch = self.copier.watch;
                lay_default(self.objects, &self.to, path, (entry, content), watch)
            }
            Kind::Symlink(target) => {
                rustix::fs::symlinkat(OsStr::from_bytes(target), &dir, name).doing("link", name)?;
                dress_link(&dir, name, entry, self.copier.unprivileged)
            }
            Kind::Hard(_) => Ok(()),
        }
    }
}

/// Opens an entry to read it; `None` if it is shut.
fn opened(here: &Here) -> Result<Option<File>> {
    match here.open() {
        Ok(file) => Ok(Some(file)),
        Err(e) if is_shut(e) => Ok(None),
        Err(e) => Err(e).doing("open", OsStr::from_bytes(here.path)),
    }
}
