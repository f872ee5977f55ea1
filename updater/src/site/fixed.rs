//! Fixed: a running tree that must sit at one path is exchanged with the next one, whole, by one rename.

use super::deployments::Deployments;
use crate::disk;
use crate::error::Doing;
use crate::{Digest, Error, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Puts a deployment's tree at the fixed path; what was there is in the deployment's slot afterwards.
pub(super) fn swap_in(all: &Deployments, fixed: &Path, to: &Digest) -> Result<()> {
    let slot = all.slot(to);
    let swapped = match renameat_with(CWD, &slot, CWD, fixed, RenameFlags::EXCHANGE) {
        Err(rustix::io::Errno::NOENT) if inode(fixed)?.is_none() => {
            renameat_with(CWD, &slot, CWD, fixed, RenameFlags::NOREPLACE)
        }
        other => other,
    };
    swapped.doing(&format!("exchange {} with", fixed.display()), &slot)?;
    disk::sync_dir(disk::parent(fixed))?;
    disk::sync_dir(&all.at(to))
}

/// Moves what came from the fixed path out of the new deployment's slot: into its own, or to `replaced`.
pub(super) fn put_away(all: &Deployments, from: Option<Digest>, to: &Digest) -> Result<()> {
    let slot = all.slot(to);
    if inode(&slot)?.is_none() {
        return Ok(());
    }
    let home = match from {
        Some(from) => all.slot(&from),
        None => all.site.join("replaced"),
    };
    disk::rename(&slot, &home)?;
    disk::sync_dir(disk::parent(&home))?;
    disk::sync_dir(&all.at(to))
}

/// Refuses a fixed path that cannot be exchanged with trees of this site.
pub(super) fn check(site: &Path, fixed: &Path) -> Result<()> {
    let shown = fixed.display();
    if !fixed.is_absolute() || fixed.file_name().is_none() {
        return Err(Error::Usage(format!("{shown} is not an absolute path")));
    }
    let parent = disk::parent(fixed);
    disk::make_dirs(parent)?;
    let whole = |path: &Path| path.canonicalize().doing("look at", path);
    let (site, fixed) = (
        whole(site)?,
        whole(parent)?.join(fixed.file_name().unwrap_or_default()),
    );
    if site.starts_with(&fixed) || fixed.starts_with(&site) {
        return Err(Error::Usage(format!(
            "{shown} and the site lie within each other"
        )));
    }
    if fs::symlink_metadata(&fixed).is_ok_and(|m| !m.is_dir()) {
        return Err(Error::Usage(format!("{shown} is not a directory")));
    }
    let device = |path: &Path| fs::metadata(path).map(|m| m.dev()).doing("look at", path);
    // A mount point is a device of its own and cannot be renamed either.
    let at = if fixed.exists() {
        &fixed
    } else {
        disk::parent(&fixed)
    };
    if device(at)? != device(&site)? {
        return Err(Error::Usage(format!("{shown} is not on the site's filesystem")));
    }
    try_exchange(&site)
}

/// Whether the kernel and the filesystem can exchange two directories.
fn try_exchange(site: &Path) -> Result<()> {
    let (a, b) = (site.join(".tmp-exchange-a"), site.join(".tmp-exchange-b"));
    disk::make_dirs(&a)?;
    disk::make_dirs(&b)?;
    let done = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
    disk::remove(&a)?;
    disk::remove(&b)?;
    done.map_err(|e| Error::Usage(format!("{} cannot exchange directories: {e}", site.display())))
}

/// What tells one directory from another of the same filesystem, wherever it was renamed to.
pub(super) fn inode(path: &Path) -> Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Ok(m) => Ok(Some(m.ino())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing("look at", path),
    }
}
