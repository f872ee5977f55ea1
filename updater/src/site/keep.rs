//! Keep: pins, and the removal of what nothing needs any more.

use super::Site;
use super::index::Name;
use crate::disk;
use crate::manifest::Manifest;
use crate::{Error, Result, Watch};
use std::collections::{BTreeSet, HashSet};

/// What was removed.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct GcReport {
    /// Deployments.
    pub deployments: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of objects.
    pub bytes: u64,
}

impl Site {
    /// Releases that `gc` keeps.
    pub fn pins(&self) -> Result<BTreeSet<String>> {
        Ok(self.read_state("pins.json")?.unwrap_or_default())
    }

    /// Pins a release that is on the disk, or unpins one.
    pub fn pin(&self, release: &str, pinned: bool) -> Result<()> {
        let mut pins = self.pins()?;
        if pinned {
            if !self.deployments()?.iter().any(|d| d.release == release) {
                return Err(Error::NotFound(format!("a deployment of {release}")));
            }
            pins.insert(release.to_owned());
        } else if !pins.remove(release) {
            return Err(Error::NotFound(format!("a pin of {release}")));
        }
        self.write_state("pins.json", &pins)
    }

    /// Removes deployments beyond the kept ones, then objects that no deployment needs, then pieces.
    ///
    /// The running deployment, the one that `rollback` goes to (unless `keep` is 0), pins and a fetched release
    /// stay, and so does the one that comes back if a trial fails. With `forget_fetched`, pieces and fetched objects of an unfinished update go too.
    pub fn gc(&self, forget_fetched: bool, watch: &dyn Watch) -> Result<GcReport> {
        let mut report = GcReport::default();
        let pins = self.pins()?;
        let deployments = self.deployments()?;
        let back = self.trial()?.map(|t| t.old);
        let mut spare: Vec<_> = deployments
            .iter()
            .filter(|d| !d.current && !pins.contains(&d.release) && Some(d.manifest) != back)
            .collect();
        // The previous one is the last to go; then newer before older.
        spare.sort_by_key(|d| (d.previous, d.sequence));
        let drop = spare.len().saturating_sub(self.config.keep);
        for deployment in &spare[..drop] {
            watch.check()?;
            if deployment.previous && self.config.keep_reverse {
                report.deployments += u64::from(self.replace_by_reverse(&deployment.manifest, watch)?);
                continue;
            }
            if deployment.previous {
                disk::remove(&self.path("previous"))?;
                disk::sync_dir(&self.root)?;
            }
            // First out of sight under a name that the next `gc` removes, then away.
            let path = self.deployment(&deployment.manifest);
            let gone = format!(".old-{}", deployment.manifest);
            self.remove_deployment(&gone, watch)?;
            disk::rename(&path, &self.path("deployments").join(&gone))?;
            self.remove_deployment(&gone, watch)?;
            report.deployments += 1;
        }
        // What a kill left of trees that were made or removed.
        for entry in disk::list(&self.path("deployments"))? {
            if let Some(name) = entry.file_name().to_str().filter(|n| n.starts_with('.')) {
                self.remove_deployment(name, watch)?;
            }
        }
        if !forget_fetched && self.unfinished()? {
            return Ok(report);
        }
        self.clear_partial()?;
        for entry in disk::list(&self.path("built"))? {
            watch.check()?;
            disk::remove(&entry.path())?;
        }
        let mut needed: HashSet<Name> = HashSet::new();
        for digest in self.deployed()? {
            needed.extend(objects(&self.manifest_of(&digest)?));
        }
        if let Some(ready) = self.ready()? {
            needed.extend(objects(&ready));
        }
        for dir in disk::list(&self.path("objects"))? {
            for entry in disk::list(&dir.path())? {
                watch.check()?;
                let name = Name::parse(&entry.file_name().to_string_lossy());
                if name.is_none_or(|name| !needed.contains(&name)) {
                    report.objects += 1;
                    report.bytes += entry.metadata().map(|m| m.len()).unwrap_or_default();
                    disk::remove(&entry.path())?;
                }
            }
        }
        Ok(report)
    }

    /// Whether an update has begun to fetch and not finished.
    fn unfinished(&self) -> Result<bool> {
        Ok(disk::list(&self.path("partial"))?.iter().any(|e| {
            let name = e.file_name();
            let name = name.as_encoded_bytes();
            name.ends_with(b".part") || name.ends_with(b".piece")
        }))
    }
}

fn objects(manifest: &Manifest) -> impl Iterator<Item = Name> {
    manifest.files().map(|(e, c)| Name::of(e, c))
}
