//! Deploy: a release's tree out of objects, beside the running one, complete and checked before it gets its name.

use super::Site;
use super::files::{Beneath, set_attributes, touch_link};
use super::index::{Index, Name};
use super::objects::holds;
use super::verify::{Config, OTHER_TIME};
use crate::disk;
use crate::error::Doing;
use crate::manifest::{Content, Entry, Kind, Manifest};
use crate::{Digest, Error, Result, Watch};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

impl Site {
    pub(super) fn deployment(&self, digest: &Digest) -> PathBuf {
        self.path("deployments").join(digest.to_string())
    }

    /// Builds the tree of a release, or finds it built; as shipped, configuration goes along with the switch.
    ///
    /// Fails with [`Error::Damaged`] if an object on the disk is not what it should be; nothing has changed then.
    pub(super) fn deploy(&self, manifest: &Manifest, digest: &Digest, watch: &dyn Watch) -> Result<()> {
        let path = self.deployment(digest);
        if path.exists() {
            let found = self.differences(&self.tree(digest), manifest, Config::Theirs, watch)?;
            if found.is_empty() {
                return Ok(());
            }
            if self.current()? == Some(*digest) {
                return Err(Error::Damaged("the running tree differs from its release".into()));
            }
            self.remove_deployment(&digest.to_string(), watch)?;
        }
        let new = self.stage(manifest, digest, watch)?;
        disk::rename(&new, &path)?;
        disk::sync_dir(&self.path("deployments"))
    }

    /// Builds and verifies the tree under a temporary name.
    pub(super) fn stage(&self, manifest: &Manifest, digest: &Digest, watch: &dyn Watch) -> Result<PathBuf> {
        let new = self.path("deployments").join(format!(".new-{digest}"));
        self.remove_deployment(&format!(".new-{digest}"), watch)?;
        fs::create_dir(&new).doing("make directory", &new)?;
        fs::set_permissions(&new, Permissions::from_mode(0o700)).doing("restrict", &new)?;
        let file = new.join("manifest");
        fs::write(&file, manifest.to_bytes()).doing("write", &file)?;
        let tree = new.join("tree");
        fs::create_dir(&tree).doing("make directory", &tree)?;
        let index = self.index(watch)?;
        self.link_tree(&tree, manifest, &index, watch)?;
        disk::sync_fs(&tree)?;
        let differences = self.differences(&tree, manifest, Config::Ours, watch)?;
        // A filesystem that cannot hold a time is no reason to refuse a release.
        let differences: Vec<_> = differences.into_iter().filter(|d| d.what != OTHER_TIME).collect();
        if let Some(first) = differences.first() {
            let more = differences.len() - 1;
            return Err(Error::Damaged(format!(
                "{}: {} (and {more} more)",
                first.path, first.what
            )));
        }
        fs::set_permissions(&new, Permissions::from_mode(0o755)).doing("open up", &new)?;
        Ok(new)
    }

    fn link_tree(&self, root: &Path, manifest: &Manifest, index: &Index, watch: &dyn Watch) -> Result<()> {
        let tree = Beneath::open(root)?;
        // Once the filesystem has refused a reflink, the rest is linked without asking.
        let mut reflinks = true;
        for entry in &manifest.entries {
            watch.check()?;
            match &entry.kind {
                Kind::Dir if entry.path.is_empty() => {}
                Kind::Dir => {
                    let (dir, name) = tree.parent(&entry.path)?;
                    rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o700))
                        .doing("make directory", name)?;
                }
                Kind::File(content) => {
                    let private = manifest.is_config(&entry.path);
                    self.file(&tree, entry, content, index, &mut reflinks, private, watch)?;
                }
                Kind::Symlink(target) => {
                    let (dir, name) = tree.parent(&entry.path)?;
                    rustix::fs::symlinkat(OsStr::from_bytes(target), &dir, name).doing("link", name)?;
                    self.dress_link(&dir, name, entry)?;
                }
                Kind::Hard(to) => {
                    let (from, from_name) = tree.parent(to)?;
                    let (dir, name) = tree.parent(&entry.path)?;
                    rustix::fs::linkat(&from, from_name, &dir, name, AtFlags::empty()).doing("link", name)?;
                }
            }
        }
        // Directories last and deepest first: a read-only one can still be filled.
        for entry in manifest.entries.iter().rev().filter(|e| e.kind == Kind::Dir) {
            set_attributes(tree.dir(&entry.path)?, entry, self.config.unprivileged)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one call site's worth of state")]
    fn file(
        &self,
        tree: &Beneath,
        entry: &Entry,
        content: &Content,
        index: &Index,
        reflinks: &mut bool,
        private: bool,
        watch: &dyn Watch,
    ) -> Result<()> {
        let path = &entry.path;
        let object = index.exact(&Name::of(entry, content));
        let object =
            &object.ok_or_else(|| Error::Damaged(format!("the object of {} is missing", entry.shown())))?;
        if !private && !*reflinks {
            self.mend(object, entry)?;
            return link(tree, object, path);
        }
        let mut file = tree.create(path)?;
        let shared = self.clone_into(object, &mut file, content, watch)?;
        if shared || private {
            return set_attributes(&file, entry, self.config.unprivileged);
        }
        *reflinks = false;
        let (dir, name) = tree.parent(path)?;
        rustix::fs::unlinkat(&dir, name, AtFlags::empty()).doing("unlink", name)?;
        self.mend(object, entry)?;
        link(tree, object, path)
    }

    /// Gives a symlink its owner and its time.
    pub(super) fn dress_link(&self, dir: &rustix::fd::OwnedFd, name: &OsStr, entry: &Entry) -> Result<()> {
        self.own_link(dir, name, entry)?;
        entry.time.map_or(Ok(()), |time| touch_link(dir, name, time))
    }

    fn own_link(&self, dir: &rustix::fd::OwnedFd, name: &OsStr, entry: &Entry) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        if (rustix::process::geteuid(), rustix::process::getegid()) == (uid, gid) {
            return Ok(());
        }
        match rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::PERM) if self.config.unprivileged => Ok(()),
            Err(rustix::io::Errno::PERM) => {
                Err(Error::Privilege(format!("owner of {} needs root", entry.shown())))
            }
            other => other.doing("own", name),
        }
    }

    /// Puts a private copy of a shipped file at a path that does not exist, its content proven.
    pub(super) fn lay_default(
        &self,
        tree: &Beneath,
        path: &[u8],
        entry: &Entry,
        content: &Content,
        watch: &dyn Watch,
    ) -> Result<()> {
        let object = self.object(content, entry);
        if !holds(&object, &content.digest, watch)? {
            return Err(Error::Damaged(format!("the object of {}", entry.shown())));
        }
        let mut file = tree.create(path)?;
        self.clone_into(&object, &mut file, content, watch)?;
        set_attributes(&file, entry, self.config.unprivileged)
    }
}

fn link(tree: &Beneath, object: &Path, path: &[u8]) -> Result<()> {
    let (dir, name) = tree.parent(path)?;
    match rustix::fs::linkat(CWD, object, &dir, name, AtFlags::empty()) {
        Err(rustix::io::Errno::MLINK) => {
            Err(Error::Damaged(format!("{} has too many links", object.display())))
        }
        other => other.doing("link", object),
    }
}

/// Flags with which a file of a tree is opened for verification.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK);
