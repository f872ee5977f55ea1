//! The command that verifies the running tree.

use super::Site;
use super::compare::{Comparison, Difference, Whose};
use super::files::Beneath;
use crate::manifest::{Kind, Manifest};
use crate::{Result, Watch};
use std::path::Path;

impl Site {
    /// Compares the running tree with its manifest, and all kept objects with their digests.
    pub fn verify(&self, watch: &dyn Watch) -> Result<Vec<Difference>> {
        let Some(current) = self.current()? else {
            return Ok(Vec::new());
        };
        let manifest = self.deployments.manifest(&current)?;
        let tree = self.deployments.tree(&current);
        self.compare(&tree, &manifest, watch).differences(Whose::Theirs)
    }

    /// Paths of the running tree whose owner or attributes could not be set without root.
    pub fn unset(&self, watch: &dyn Watch) -> Result<Vec<String>> {
        let Some(current) = self.current()? else {
            return Ok(Vec::new());
        };
        let manifest = self.deployments.manifest(&current)?;
        let tree = Beneath::open(&self.deployments.tree(&current))?;
        let mut all = Vec::new();
        for entry in manifest
            .entries
            .iter()
            .filter(|e| !matches!(e.kind, Kind::Hard(_)))
        {
            watch.check()?;
            // What is missing is `verify`'s to tell.
            let Ok(stat) = tree.stat(&entry.path) else {
                continue;
            };
            if (stat.st_uid, stat.st_gid) != (entry.uid, entry.gid) {
                all.push(entry.shown());
            }
        }
        Ok(all)
    }

    /// Compares a tree of this site with what it should be.
    pub(super) fn compare<'a>(
        &self,
        root: &'a Path,
        manifest: &'a Manifest,
        watch: &'a dyn Watch,
    ) -> Comparison<'a> {
        Comparison {
            root,
            manifest,
            unprivileged: self.config.unprivileged,
            watch,
        }
    }
}
