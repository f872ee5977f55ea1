//! Switch: `current` and `previous` are symlinks, and one rename decides which tree runs.
//!
//! At a fixed path the deciding rename is the exchange there; `current` then only records it.

use super::Site;
use super::fixed::inode;
use crate::disk;
use crate::error::Doing;
use crate::limits;
use crate::manifest::{Header, Manifest};
use crate::{Digest, Error, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Begins the name of a deployment that steps aside for a better one.
const ASIDE: &str = ".was-";

fn aside(deployment: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(ASIDE);
    name.push(deployment.file_name().unwrap_or_default());
    deployment.with_file_name(name)
}

/// A release that is on the disk as a tree.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Deployment {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Its release id.
    pub release: String,
    /// Its sequence.
    pub sequence: u64,
    /// Whether it runs.
    pub current: bool,
    /// Whether `rollback` goes to it.
    pub previous: bool,
    /// Whether `gc` keeps it.
    pub pinned: bool,
}

/// A switch under way.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Switch {
    from: Option<Digest>,
    to: Digest,
    /// With a fixed path: the tree that arrives there, which tells whether it has.
    #[serde(default)]
    inode: Option<u64>,
}

impl Site {
    /// Manifest of the running deployment.
    pub fn current(&self) -> Result<Option<Digest>> {
        self.link("current")
    }
    /// Manifest of the deployment that `rollback` goes to.
    pub fn previous(&self) -> Result<Option<Digest>> {
        self.link("previous")
    }

    pub(super) fn link(&self, name: &str) -> Result<Option<Digest>> {
        let path = self.path(name);
        match std::fs::read_link(&path) {
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

    fn set_link(&self, name: &str, digest: &Digest) -> Result<()> {
        let path = self.path(name);
        let temporary = disk::beside(&path);
        disk::remove(&temporary)?;
        symlink(format!("deployments/{digest}/tree"), &temporary)
            .map_err(|e| Error::io(format!("link {}", temporary.display()), e))?;
        disk::rename(&temporary, &path)?;
        disk::sync_dir(&self.root)
    }

    /// Makes a deployment the running one; what ran becomes `previous`.
    pub(super) fn switch(&self, to: &Digest) -> Result<()> {
        let from = self.current()?;
        if from == Some(*to) {
            return Ok(());
        }
        if from.is_none() && self.config.fixed.is_none() {
            return self.set_link("current", to);
        }
        // `current` before `previous`, or a kill between them would lose the way back; the note lets the next
        // command finish.
        let inode = match &self.config.fixed {
            Some(_) => inode(&self.slot(to))?,
            None => None,
        };
        self.write_state("switch", &Switch { from, to: *to, inode })?;
        if let Some(fixed) = &self.config.fixed {
            self.swap_in(fixed, to)?;
            self.put_away(from, to)?;
        }
        self.set_link("current", to)?;
        if let Some(from) = from {
            self.set_link("previous", &from)?;
        }
        disk::remove(&self.path("state/switch"))
    }

    /// Finishes a switch that was interrupted after the rename that decides it.
    pub(super) fn finish_switch(&self) -> Result<()> {
        if let Some(switch) = self.read_state::<Switch>("switch")? {
            let decided = match &self.config.fixed {
                Some(fixed) => switch.inode.is_some() && inode(fixed)? == switch.inode,
                None => self.link("current").ok().flatten() == Some(switch.to),
            };
            if decided && self.config.fixed.is_some() {
                self.put_away(switch.from, &switch.to)?;
                self.set_link("current", &switch.to)?;
            }
            if let (true, Some(from)) = (decided, switch.from) {
                self.set_link("previous", &from)?;
            }
        }
        disk::remove(&self.path("state/switch"))
    }

    /// Digests of all deployments on the disk.
    pub(super) fn deployed(&self) -> Result<Vec<Digest>> {
        let entries = disk::list(&self.path("deployments"))?;
        let mut all: Vec<Digest> = entries
            .iter()
            .filter_map(|e| Digest::parse(e.file_name().to_str()?))
            .collect();
        all.sort();
        Ok(all)
    }

    /// Puts a good tree in the place of a damaged one, at once where the kernel can.
    ///
    /// Elsewhere the damaged one steps aside, and [`Site::step_back`] undoes that if nothing took its place.
    pub(super) fn exchange(&self, new: &Path, old: &Path) -> Result<()> {
        match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => disk::rename(new, old)?,
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                let aside = aside(old);
                disk::rename(old, &aside)?;
                disk::rename(new, old)?;
                disk::remove(&aside)?;
            }
            Err(e) => return Err(e).doing(&format!("exchange {} with", old.display()), new),
        }
        disk::sync_dir(disk::parent(new))?;
        disk::sync_dir(disk::parent(old))
    }

    /// Undoes an exchange that was cut while nothing had the deployment's name.
    pub(super) fn step_back(&self) -> Result<()> {
        for entry in disk::list(&self.path("deployments"))? {
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|n| n.strip_prefix(ASIDE)) else {
                continue;
            };
            let home = self.path("deployments").join(name);
            if !home.exists() {
                disk::rename(&entry.path(), &home)?;
            }
        }
        Ok(())
    }

    /// The bytes of a deployment's manifest, checked against its name.
    pub(super) fn manifest_bytes(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.deployment(digest).join("manifest");
        let bytes = disk::read(&path, limits::MANIFEST)?.unwrap_or_default();
        if Digest::of(&bytes) != *digest {
            return Err(Error::Damaged(format!("{}", path.display())));
        }
        Ok(bytes)
    }

    /// What a deployment is, without its list of paths.
    pub(super) fn header_of(&self, digest: &Digest) -> Result<Header> {
        Header::parse(&self.manifest_bytes(digest)?)
    }

    pub(super) fn manifest_of(&self, digest: &Digest) -> Result<Manifest> {
        Manifest::parse(&self.manifest_bytes(digest)?)
    }

    /// All deployments, oldest release first.
    pub fn deployments(&self) -> Result<Vec<Deployment>> {
        let (current, previous, pins) = (self.current()?, self.previous()?, self.pins()?);
        let mut all = Vec::new();
        for digest in self.deployed()? {
            let Header {
                release, sequence, ..
            } = self.header_of(&digest)?;
            all.push(Deployment {
                pinned: pins.contains(&release),
                current: current == Some(digest),
                previous: previous == Some(digest) && current != Some(digest),
                manifest: digest,
                release,
                sequence,
            });
        }
        all.sort_by_key(|d| d.sequence);
        Ok(all)
    }
}
