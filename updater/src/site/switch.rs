//! Switch: `current` and `previous` are symlinks, and one rename decides which tree runs.
//!
//! At a fixed path the deciding rename is the exchange there; `current` then only records it.

use super::deployments::Deployments;
use super::fixed::{inode, put_away, swap_in};
use super::notes::{Note, Notes};
use crate::disk;
use crate::error::Doing;
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

/// A switch under way.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
struct UnderWay {
    from: Option<Digest>,
    to: Digest,
    /// With a fixed path: the tree that arrives there, which tells whether it has.
    #[serde(default)]
    inode: Option<u64>,
}

/// What switches from one deployment to another.
#[derive(Clone, Copy)]
pub(super) struct Switch<'a> {
    pub deployments: &'a Deployments,
    pub notes: &'a Notes,
}

impl Switch<'_> {
    fn set_link(&self, name: &str, digest: &Digest) -> Result<()> {
        let path = self.deployments.site.join(name);
        let temporary = disk::beside(&path);
        disk::remove(&temporary)?;
        symlink(format!("deployments/{digest}/tree"), &temporary)
            .map_err(|e| Error::io(format!("link {}", temporary.display()), e))?;
        disk::rename(&temporary, &path)?;
        disk::sync_dir(&self.deployments.site)
    }

    /// Makes a deployment the running one; what ran becomes `previous`.
    pub fn to(&self, to: &Digest) -> Result<()> {
        let from = self.deployments.current()?;
        if from == Some(*to) {
            return Ok(());
        }
        tracing::info!(from = from.map(tracing::field::display), %to, "switches");
        let fixed = self.deployments.fixed.as_deref();
        if from.is_none() && fixed.is_none() {
            return self.set_link("current", to);
        }
        // `current` before `previous`, or a kill between them would lose the way back; the note lets the next
        // command finish.
        let inode = match fixed {
            Some(_) => inode(&self.deployments.slot(to))?,
            None => None,
        };
        self.notes
            .write(Note::Switch, &UnderWay { from, to: *to, inode })?;
        if let Some(fixed) = fixed {
            swap_in(self.deployments, fixed, to)?;
            put_away(self.deployments, from, to)?;
        }
        self.set_link("current", to)?;
        if let Some(from) = from {
            self.set_link("previous", &from)?;
        }
        self.notes.remove(Note::Switch)
    }

    /// Finishes a switch that was interrupted after the rename that decides it.
    pub fn finish(&self) -> Result<()> {
        if let Some(switch) = self.notes.read::<UnderWay>(Note::Switch)? {
            let fixed = self.deployments.fixed.as_deref();
            let decided = match fixed {
                Some(fixed) => switch.inode.is_some() && inode(fixed)? == switch.inode,
                None => self.deployments.current().ok().flatten() == Some(switch.to),
            };
            tracing::info!(to = %switch.to, decided, "an interrupted switch is finished");
            if decided && fixed.is_some() {
                put_away(self.deployments, switch.from, &switch.to)?;
                self.set_link("current", &switch.to)?;
            }
            if let (true, Some(from)) = (decided, switch.from) {
                self.set_link("previous", &from)?;
            }
        }
        self.notes.remove(Note::Switch)
    }

    /// Gives up the way back.
    pub fn forget_previous(&self) -> Result<()> {
        disk::remove(&self.deployments.site.join("previous"))?;
        disk::sync_dir(&self.deployments.site)
    }
}

/// Puts a good tree in the place of a damaged one, at once where the kernel can.
///
/// Elsewhere the damaged one steps aside, and [`step_back`] undoes that if nothing took its place.
pub(super) fn exchange(new: &Path, old: &Path) -> Result<()> {
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
pub(super) fn step_back(deployments: &Path) -> Result<()> {
    for entry in disk::list(deployments)? {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|n| n.strip_prefix(ASIDE)) else {
            continue;
        };
        let home = deployments.join(name);
        if !home.exists() {
            disk::rename(&entry.path(), &home)?;
        }
    }
    Ok(())
}
