//! Deployments: the trees on the disk, in `deployments/` and at the fixed path, and which of them runs.

use super::files::Beneath;
use super::walk;
use crate::manifest::{Header, Manifest};
use crate::{Digest, Error, Result, Watch, disk, limits};
use std::path::{Path, PathBuf};

/// The directory `deployments/`, the symlinks `current` and `previous` and the fixed path.
pub(super) struct Deployments {
    /// The site.
    pub site: PathBuf,
    /// Where the running tree must be, instead of behind `current`.
    pub fixed: Option<PathBuf>,
    /// Where the others are.
    pub dir: PathBuf,
}

impl Deployments {
    /// Those of a site.
    pub fn of(site: &Path, fixed: Option<&Path>) -> Deployments {
        Deployments {
            site: site.to_owned(),
            dir: site.join("deployments"),
            fixed: fixed.map(Path::to_owned),
        }
    }

    /// Where one is.
    pub fn at(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    /// Where the tree of one is: at the fixed path while it runs there, else in its slot.
    pub fn tree(&self, digest: &Digest) -> PathBuf {
        match &self.fixed {
            Some(fixed) if self.current().ok().flatten() == Some(*digest) => fixed.clone(),
            _ => self.slot(digest),
        }
    }

    /// Where the tree of one is while it does not run at a fixed path.
    pub fn slot(&self, digest: &Digest) -> PathBuf {
        self.at(digest).join("tree")
    }

    /// The one that runs.
    pub fn current(&self) -> Result<Option<Digest>> {
        linked(&self.site.join("current"))
    }

    /// The one that `rollback` goes to.
    pub fn previous(&self) -> Result<Option<Digest>> {
        linked(&self.site.join("previous"))
    }

    /// Digests of all.
    pub fn all(&self) -> Result<Vec<Digest>> {
        let entries = disk::list(&self.dir)?;
        let mut all: Vec<Digest> = entries
            .iter()
            .filter_map(|e| Digest::parse(e.file_name().to_str()?))
            .collect();
        all.sort();
        Ok(all)
    }

    /// The bytes of a deployment's manifest, checked against its name.
    pub fn manifest_bytes(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.at(digest).join("manifest");
        let bytes = disk::read(&path, limits::MANIFEST)?.unwrap_or_default();
        if Digest::of(&bytes) != *digest {
            return Err(Error::Damaged(format!("{}", path.display())));
        }
        Ok(bytes)
    }

    /// What a deployment is, without its list of paths.
    pub fn header(&self, digest: &Digest) -> Result<Header> {
        Header::parse(&self.manifest_bytes(digest)?)
    }

    /// The manifest of a deployment.
    pub fn manifest(&self, digest: &Digest) -> Result<Manifest> {
        Manifest::parse(&self.manifest_bytes(digest)?)
    }

    /// Removes one entry of the directory, however large.
    pub fn remove(&self, name: &str, watch: &dyn Watch) -> Result<()> {
        let deployments = Beneath::open(&self.dir)?;
        walk::remove(&deployments, name.as_bytes(), watch)
    }

    /// Removes one: first out of sight under a name that the next `gc` removes, then away.
    pub fn drop(&self, digest: &Digest, watch: &dyn Watch) -> Result<()> {
        let gone = format!(".old-{digest}");
        self.remove(&gone, watch)?;
        disk::rename(&self.at(digest), &self.dir.join(&gone))?;
        self.remove(&gone, watch)
    }
}

/// The deployment that a symlink leads to.
fn linked(path: &Path) -> Result<Option<Digest>> {
    match std::fs::read_link(path) {
        Ok(target) => {
            let hex = target
                .to_str()
                .and_then(|t| t.strip_prefix("deployments/")?.strip_suffix("/tree"));
            let digest = hex.and_then(Digest::parse);
            digest
                .map(Some)
                .ok_or_else(|| Error::Damaged(format!("{} points elsewhere", path.display())))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("read {}", path.display()), e)),
    }
}
