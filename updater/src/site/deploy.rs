//! Deploy: a release's tree out of objects, beside the running one, complete and checked before it gets its name.

use super::Site;
use super::files::{Beneath, set_attributes};
use super::fixed::inode;
use super::objects::Index;
use crate::disk;
use crate::error::Doing;
use crate::manifest::{Content, Entry, Kind, Manifest, join};
use crate::{Digest, Error, Result, Watch};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

impl Site {
    pub(super) fn deployment(&self, digest: &Digest) -> PathBuf {
        self.path("deployments").join(digest.to_string())
    }

    /// Builds the tree of a release, or finds it built. Configuration of the running tree is carried over.
    ///
    /// Fails with [`Error::Damaged`] if an object on the disk is not what it should be; nothing has changed then.
    pub(super) fn deploy(&self, manifest: &Manifest, digest: &Digest, watch: &dyn Watch) -> Result<()> {
        let path = self.deployment(digest);
        if path.exists() {
            if self.differences(&self.tree(digest), manifest, watch)?.is_empty() {
                return Ok(());
            }
            if self.current()? == Some(*digest) {
                return Err(Error::Damaged("the running tree differs from its release".into()));
            }
            disk::remove(&path)?;
        }
        let new = self.stage(manifest, digest, watch)?;
        disk::rename(&new, &path)?;
        disk::sync_dir(&self.path("deployments"))
    }

    /// Builds and verifies the tree under a temporary name.
    pub(super) fn stage(&self, manifest: &Manifest, digest: &Digest, watch: &dyn Watch) -> Result<PathBuf> {
        let new = self.path("deployments").join(format!(".new-{digest}"));
        disk::remove(&new)?;
        fs::create_dir(&new).doing("make directory", &new)?;
        fs::set_permissions(&new, Permissions::from_mode(0o700)).doing("restrict", &new)?;
        let file = new.join("manifest");
        fs::write(&file, manifest.to_bytes()).doing("write", &file)?;
        let tree = new.join("tree");
        fs::create_dir(&tree).doing("make directory", &tree)?;
        let index = self.index(watch)?;
        self.link_tree(&tree, manifest, &index, watch)?;
        disk::sync_fs(&tree)?;
        let differences = self.differences(&tree, manifest, watch)?;
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
        let kept = self.kept_config(manifest)?;
        let running = kept.tree.as_ref();
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
                    if let (Some(running), true) = (running, kept.changed.contains(&entry.path)) {
                        self.keep_file(running, &tree, &entry.path)?;
                        if kept.new_default.contains(&entry.path) {
                            let mut beside = entry.path.clone();
                            beside.extend_from_slice(NEW_DEFAULT);
                            self.file(&tree, &beside, entry, content, index, &mut reflinks, true)?;
                        }
                    } else {
                        let private = manifest.is_config(&entry.path);
                        self.file(&tree, &entry.path, entry, content, index, &mut reflinks, private)?;
                    }
                }
                Kind::Symlink(target) => {
                    let (dir, name) = tree.parent(&entry.path)?;
                    rustix::fs::symlinkat(OsStr::from_bytes(target), &dir, name).doing("link", name)?;
                    self.own_link(&dir, name, entry)?;
                }
                Kind::Hard(to) => {
                    let (from, from_name) = tree.parent(to)?;
                    let (dir, name) = tree.parent(&entry.path)?;
                    rustix::fs::linkat(&from, from_name, &dir, name, AtFlags::empty()).doing("link", name)?;
                }
            }
        }
        for path in &kept.added {
            if let Some(running) = running
                && tree.parent(path).is_ok()
                && tree.stat(path).is_err()
            {
                self.keep_file(running, &tree, path)?;
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
        path: &[u8],
        entry: &Entry,
        content: &Content,
        index: &Index,
        reflinks: &mut bool,
        private: bool,
    ) -> Result<()> {
        let object = index.exact(&content.digest, &entry.attributes());
        let object =
            object.ok_or_else(|| Error::Damaged(format!("the object of {} is missing", entry.shown())))?;
        if !private && !*reflinks {
            return link(tree, object, path);
        }
        let mut file = tree.create(path)?;
        let shared = self.clone_into(object, &mut file, content)?;
        if shared || private {
            return set_attributes(&file, entry, self.config.unprivileged);
        }
        *reflinks = false;
        let (dir, name) = tree.parent(path)?;
        rustix::fs::unlinkat(&dir, name, AtFlags::empty()).doing("unlink", name)?;
        link(tree, object, path)
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

    /// What the running tree has in its configuration paths that did not come from its release.
    fn kept_config(&self, next: &Manifest) -> Result<Kept> {
        let mut kept = Kept::default();
        let Some(current) = self.current()? else {
            return Ok(kept);
        };
        let running = self.manifest_of(&current)?;
        let root = self.tree(&current);
        let mut todo = vec![Vec::new()];
        let patterns = |path: &[u8]| next.is_config(path) || running.is_config(path);
        if next.header.config.is_empty() && running.header.config.is_empty() {
            return Ok(kept);
        }
        if inode(&root)?.is_none() {
            return Ok(kept);
        }
        let tree = Beneath::open(&root)?;
        while let Some(dir) = todo.pop() {
            let full = join(&root, &dir);
            for child in disk::list(&full)? {
                let mut path: Vec<u8> = dir.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(child.file_name().as_bytes());
                let kind = child.file_type().doing("read", child.path())?;
                if kind.is_dir() {
                    todo.push(path);
                } else if kind.is_file() && patterns(&path) {
                    sort_config(next, &running, &tree, path, &mut kept)?;
                }
            }
        }
        kept.tree = Some(tree);
        Ok(kept)
    }

    /// Copies a local file of the running tree with its own attributes.
    fn keep_file(&self, running: &Beneath, tree: &Beneath, path: &[u8]) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let shown = Path::new(OsStr::from_bytes(path));
        let source = File::from(running.file(path, READ)?);
        let meta = source.metadata().doing("read", shown)?;
        let mut file = tree.create(path)?;
        std::io::copy(&mut &source, &mut file).doing("copy", shown)?;
        let entry = Entry {
            path: path.to_owned(),
            kind: Kind::Dir,
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            xattrs: crate::manifest::file_xattrs(&source, shown)?,
        };
        set_attributes(&file, &entry, self.config.unprivileged)
    }
}

/// Decides about one configuration file of the running tree. It is opened as part of that tree and not by its path:
/// others may write there, and a link planted meanwhile must not bring a foreign file in.
fn sort_config(
    next: &Manifest,
    running: &Manifest,
    tree: &Beneath,
    path: Vec<u8>,
    kept: &mut Kept,
) -> Result<()> {
    let shipped = running.find(&path).and_then(|e| e.content());
    let coming = next.find(&path).and_then(|e| e.content());
    let shown = Path::new(OsStr::from_bytes(&path));
    let file = File::from(tree.file(&path, READ)?);
    if !file.metadata().doing("read", shown)?.is_file() {
        return Ok(());
    }
    let (local, _) = Digest::of_reader(file).doing("read", shown)?;
    if shipped.is_some_and(|s| s.digest == local) {
        return Ok(());
    }
    match coming {
        Some(coming) if coming.digest == local => {}
        Some(coming) => {
            if shipped.is_some_and(|s| s.digest != coming.digest) {
                kept.new_default.insert(path.clone());
            }
            kept.changed.insert(path);
        }
        None => drop(kept.added.insert(path)),
    }
    Ok(())
}

/// Suffix of a release's new default beside a locally changed file.
pub(super) const NEW_DEFAULT: &[u8] = b".elfup-new";

#[derive(Default)]
struct Kept {
    /// The running tree.
    tree: Option<Beneath>,
    /// Shipped and changed here.
    changed: BTreeSet<Vec<u8>>,
    /// Those of them whose default changes too.
    new_default: BTreeSet<Vec<u8>>,
    /// Only here.
    added: BTreeSet<Vec<u8>>,
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
