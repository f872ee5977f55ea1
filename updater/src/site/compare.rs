//! Compare: every path, attribute and byte of a tree against its manifest.

use super::files::{BESIDE, Beneath, times_of};
use crate::disk;
use crate::manifest::{Entry, Kind, Manifest, escape, join, xattrs};
use crate::watch::Heed;
use crate::{Digest, Error, Result, Watch};
use rustix::fs::{FileType, OFlags, Stat};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The difference that no release is refused for.
pub(super) const OTHER_TIME: &str = "other modification time";

/// Flags with which a file of a tree is opened.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK);

fn time_differs(stat: &Stat, entry: &Entry) -> bool {
    entry.time.is_some_and(|t| !t.is(times_of(stat).0))
}

/// Whose the configuration paths of a tree are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// A fresh tree has them as shipped.
    Ours,
    /// In a tree that runs or ran they are the administrator's, whatever is there.
    Theirs,
}

/// One path that is not as its release has it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Path in the release.
    pub path: String,
    /// What differs.
    pub what: &'static str,
}

/// A tree beside its manifest.
pub(super) struct Comparison<'a> {
    pub root: &'a Path,
    pub manifest: &'a Manifest,
    pub unprivileged: bool,
    pub watch: &'a dyn Watch,
}

impl Comparison<'_> {
    /// Every path that differs.
    pub fn differences(&self, config: Whose) -> Result<Vec<Difference>> {
        let (root, manifest, watch) = (self.root, self.manifest, self.watch);
        let tree = match Beneath::open(root) {
            Ok(tree) => tree,
            Err(e) if !lost(&e) => return Err(e),
            Err(_) => {
                let path = ".".into();
                let what = "the tree is missing";
                return Ok(vec![Difference { path, what }]);
            }
        };
        let mut found = Vec::new();
        let mut expected: HashSet<&[u8]> = HashSet::new();
        for (done, entry) in manifest.entries.iter().enumerate() {
            watch.check()?;
            watch.progress("verify", done as u64, manifest.entries.len() as u64);
            expected.insert(&entry.path);
            if config == Whose::Theirs && manifest.is_config(&entry.path) {
                continue;
            }
            if let Some(what) = self.differs(&tree, entry)? {
                let path = entry.shown();
                found.push(Difference { path, what });
            }
        }
        let mut extra = Extra {
            root,
            expected: &expected,
            manifest,
            watch,
            found: &mut found,
        };
        extra.look(&mut Vec::new())?;
        Ok(found)
    }

    fn differs(&self, tree: &Beneath, entry: &Entry) -> Result<Option<&'static str>> {
        let (root, manifest) = (self.root, self.manifest);
        let stat = match tree.stat(&entry.path) {
            Ok(stat) => stat,
            Err(e) if lost(&e) => return Ok(Some("missing")),
            Err(e) => return Err(e),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        match &entry.kind {
            Kind::Hard(to) => {
                let file = |s: &Stat| (s.st_dev, s.st_ino);
                let same = tree.stat(to).is_ok_and(|other| file(&other) == file(&stat));
                // What the other name leads to may be the administrator's by now.
                let apart = !same && !manifest.is_config(to);
                return Ok(apart.then_some("not the same file as its link"));
            }
            Kind::Symlink(target) => {
                if kind != FileType::Symlink {
                    return Ok(Some("not a symlink"));
                }
                let (dir, name) = tree.parent(&entry.path)?;
                let found = rustix::fs::readlinkat(&dir, name, Vec::new());
                if found
                    .map_err(|e| Error::io(format!("read link {}", entry.shown()), e))?
                    .as_bytes()
                    != target
                {
                    return Ok(Some("other link target"));
                }
                if self.owner_differs(&stat, entry) {
                    return Ok(Some("other owner"));
                }
                return Ok(time_differs(&stat, entry).then_some(OTHER_TIME));
            }
            Kind::Dir if kind != FileType::Directory => return Ok(Some("not a directory")),
            Kind::File(_) if kind != FileType::RegularFile => return Ok(Some("not a regular file")),
            _ => {}
        }
        if self.owner_differs(&stat, entry) {
            return Ok(Some("other owner"));
        }
        let mode = stat.st_mode & 0o7777;
        let lowered = self.unprivileged && mode == entry.mode & 0o1777;
        if mode != entry.mode && !lowered {
            return Ok(Some("other mode"));
        }
        if !self.unprivileged && xattrs(&join(root, &entry.path))? != entry.xattrs {
            return Ok(Some("other extended attributes"));
        }
        if let Kind::File(content) = &entry.kind {
            if stat.st_size as u64 != content.size {
                return Ok(Some("other size"));
            }
            let fd = match tree.file(&entry.path, READ) {
                Ok(fd) => fd,
                Err(e) if lost(&e) => return Ok(Some("not readable")),
                Err(e) => return Err(e),
            };
            let (digest, _) = Digest::of_reader(Heed::new(File::from(fd), self.watch))
                .map_err(|e| Error::io(format!("read {}", entry.shown()), e))?;
            if digest != content.digest {
                return Ok(Some("other content"));
            }
        }
        // What an administrator adds to a directory changes its time.
        let shared = entry.kind == Kind::Dir && (entry.path.is_empty() || manifest.config_below(&entry.path));
        Ok((!shared && time_differs(&stat, entry)).then_some(OTHER_TIME))
    }

    fn owner_differs(&self, stat: &Stat, entry: &Entry) -> bool {
        !self.unprivileged && (stat.st_uid, stat.st_gid) != (entry.uid, entry.gid)
    }
}

/// Whether an error says something of the tree: gone, in the way, not to be read. Others say something of this machine.
fn lost(e: &Error) -> bool {
    use rustix::io::Errno;
    let Error::Io { source, .. } = e else { return false };
    let ours = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::ACCESS, Errno::IO];
    source
        .raw_os_error()
        .is_some_and(|code| ours.iter().any(|e| e.raw_os_error() == code))
}

/// Looks for what no release brought.
struct Extra<'a> {
    root: &'a Path,
    expected: &'a HashSet<&'a [u8]>,
    manifest: &'a Manifest,
    watch: &'a dyn Watch,
    found: &'a mut Vec<Difference>,
}

impl Extra<'_> {
    /// `true` if a directory has something of the administrator's in it.
    fn look(&mut self, path: &mut Vec<u8>) -> Result<bool> {
        let mut local = false;
        for child in disk::list(&join(self.root, path))? {
            self.watch.check()?;
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(child.file_name().as_bytes());
            let directory = child.file_type().is_ok_and(|t| t.is_dir());
            let shipped = path.strip_suffix(BESIDE).unwrap_or(path);
            if self.manifest.is_config(path) || self.manifest.is_config(shipped) {
                local = true;
            } else if self.expected.contains(path.as_slice()) {
                local |= directory && self.look(path)?;
            } else if directory && self.manifest.config_below(path) && self.look(path)? {
                // It leads to configuration that exists only here.
                local = true;
            } else {
                self.found.push(Difference {
                    path: escape(path),
                    what: "not of the release",
                });
            }
            path.truncate(length);
        }
        Ok(local)
    }
}
