//! Deploy: a release's tree out of objects, beside the running one, complete and checked before it gets its name.

use super::compare::{Comparison, OTHER_TIME, Whose};
use super::deployments::Deployments;
use super::files::{Beneath, dress_link, set_attributes};
use super::index::{Index, Name};
use super::objects::{Objects, Shipped, clone_into, holds};
use crate::disk;
use crate::error::Doing;
use crate::manifest::{Entry, Kind, Manifest};
use crate::{Digest, Error, Result, Watch};
use rustix::fs::{AtFlags, CWD, Mode};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What makes trees out of objects.
#[derive(Clone, Copy)]
pub(super) struct Deployer<'a> {
    pub deployments: &'a Deployments,
    pub objects: &'a Objects,
    pub watch: &'a dyn Watch,
}

impl Deployer<'_> {
    fn compare<'a>(&'a self, root: &'a Path, manifest: &'a Manifest) -> Comparison<'a> {
        Comparison {
            root,
            manifest,
            unprivileged: self.objects.unprivileged,
            watch: self.watch,
        }
    }

    /// Builds the tree of a release, or finds it built; as shipped, configuration goes along with the switch.
    ///
    /// Fails with [`Error::Damaged`] if an object on the disk is not what it should be; nothing has changed then.
    pub fn deploy(&self, manifest: &Manifest, digest: &Digest) -> Result<()> {
        let path = self.deployments.at(digest);
        if path.exists() {
            let tree = self.deployments.tree(digest);
            let found = self.compare(&tree, manifest).differences(Whose::Theirs)?;
            if found.is_empty() {
                return Ok(());
            }
            if self.deployments.current()? == Some(*digest) {
                return Err(Error::Damaged("the running tree differs from its release".into()));
            }
            self.deployments.remove(&digest.to_string(), self.watch)?;
        }
        let new = self.stage(manifest, digest)?;
        disk::rename(&new, &path)?;
        disk::sync_dir(&self.deployments.dir)
    }

    /// Builds and verifies the tree under a temporary name.
    pub fn stage(&self, manifest: &Manifest, digest: &Digest) -> Result<PathBuf> {
        let name = format!(".new-{digest}");
        let new = self.deployments.dir.join(&name);
        self.deployments.remove(&name, self.watch)?;
        fs::create_dir(&new).doing("make directory", &new)?;
        fs::set_permissions(&new, Permissions::from_mode(0o700)).doing("restrict", &new)?;
        let file = new.join("manifest");
        fs::write(&file, manifest.to_bytes()).doing("write", &file)?;
        let tree = new.join("tree");
        fs::create_dir(&tree).doing("make directory", &tree)?;
        let mut linker = Linker {
            tree: Beneath::open(&tree)?,
            manifest,
            objects: self.objects,
            index: self.objects.index(self.watch)?,
            reflinks: true,
            watch: self.watch,
        };
        linker.link_all()?;
        tracing::info!(
            paths = manifest.entries.len(),
            reflinks = linker.reflinks,
            "the tree is laid"
        );
        drop(linker);
        disk::sync_fs(&tree)?;
        let differences = self.compare(&tree, manifest).differences(Whose::Ours)?;
        // A filesystem that cannot hold a time is no reason to refuse a release.
        let differences: Vec<_> = differences.into_iter().filter(|d| d.what != OTHER_TIME).collect();
        if let Some(first) = differences.first() {
            let more = differences.len() - 1;
            return Err(Error::Damaged(format!(
                "{}: {} (and {more} more)",
                first.path, first.what
            )));
        }
        tracing::info!("the tree is as it should be");
        fs::set_permissions(&new, Permissions::from_mode(0o755)).doing("open up", &new)?;
        Ok(new)
    }
}

/// What fills one tree.
struct Linker<'a> {
    tree: Beneath,
    manifest: &'a Manifest,
    objects: &'a Objects,
    index: Index,
    /// Once the filesystem has refused a reflink, the rest is linked without asking.
    reflinks: bool,
    watch: &'a dyn Watch,
}

impl Linker<'_> {
    fn link_all(&mut self) -> Result<()> {
        let manifest = self.manifest;
        for entry in &manifest.entries {
            self.watch.check()?;
            self.entry(entry)?;
        }
        // Directories last and deepest first: a read-only one can still be filled.
        for entry in manifest.entries.iter().rev().filter(|e| e.kind == Kind::Dir) {
            let dir = self.tree.dir(&entry.path)?;
            set_attributes(dir, entry, self.objects.unprivileged)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        let tree = &self.tree;
        match &entry.kind {
            Kind::Dir if entry.path.is_empty() => Ok(()),
            Kind::Dir => {
                let (dir, name) = tree.parent(&entry.path)?;
                rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o700)).doing("make directory", name)
            }
            Kind::File(content) => self.file((entry, content)),
            Kind::Symlink(target) => {
                let (dir, name) = tree.parent(&entry.path)?;
                rustix::fs::symlinkat(OsStr::from_bytes(target), &dir, name).doing("link", name)?;
                dress_link(&dir, name, entry, self.objects.unprivileged)
            }
            Kind::Hard(to) => {
                let (from, from_name) = tree.parent(to)?;
                let (dir, name) = tree.parent(&entry.path)?;
                rustix::fs::linkat(&from, from_name, &dir, name, AtFlags::empty()).doing("link", name)
            }
        }
    }

    fn file(&mut self, (entry, content): Shipped) -> Result<()> {
        let (tree, path) = (&self.tree, &entry.path);
        let private = self.manifest.is_config(path);
        let object = self.index.exact(&Name::of(entry, content));
        let object =
            &object.ok_or_else(|| Error::Damaged(format!("the object of {} is missing", entry.shown())))?;
        if !private && !self.reflinks {
            self.objects.mend(object, entry)?;
            return link(tree, object, path);
        }
        let mut file = tree.create(path)?;
        let shared = clone_into(object, &mut file, content, self.watch)?;
        if shared || private {
            return set_attributes(&file, entry, self.objects.unprivileged);
        }
        self.reflinks = false;
        let (dir, name) = tree.parent(path)?;
        rustix::fs::unlinkat(&dir, name, AtFlags::empty()).doing("unlink", name)?;
        self.objects.mend(object, entry)?;
        link(tree, object, path)
    }
}

/// Puts a private copy of a shipped file at a path that does not exist, its content proven.
pub(super) fn lay_default(
    objects: &Objects,
    tree: &Beneath,
    path: &[u8],
    shipped: Shipped,
    watch: &dyn Watch,
) -> Result<()> {
    let (entry, content) = shipped;
    let object = objects.path(shipped);
    if !holds(&object, &content.digest, watch)? {
        return Err(Error::Damaged(format!("the object of {}", entry.shown())));
    }
    let mut file = tree.create(path)?;
    clone_into(&object, &mut file, content, watch)?;
    set_attributes(&file, entry, objects.unprivileged)
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
