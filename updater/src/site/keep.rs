//! Keep: pins, and the removal of what nothing needs any more.

use super::index::Name;
use super::notes::Note;
use super::objects::rename_short;
use super::{Deployment, Site};
use crate::disk;
use crate::manifest::Manifest;
use crate::{Error, Quiet, Result, Watch};
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

/// Which names objects have.
const NAMES: u32 = 2;

impl Site {
    /// Releases that `gc` keeps.
    pub fn pins(&self) -> Result<BTreeSet<String>> {
        Ok(self.notes.read(Note::Pins)?.unwrap_or_default())
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
        self.notes.write(Note::Pins, &pins)
    }

    /// Removes deployments beyond the kept ones, then objects that no deployment needs, then pieces.
    ///
    /// The running deployment, the one that `rollback` goes to (unless `keep` is 0), pins and a fetched release
    /// stay, and so does the one that comes back if a trial fails. With `forget_fetched`, pieces and fetched objects of an unfinished update go too.
    pub fn gc(&self, forget_fetched: bool, watch: &dyn Watch) -> Result<GcReport> {
        self.rename_objects(watch)?;
        let mut report = GcReport::default();
        for deployment in self.spare()? {
            watch.check()?;
            if deployment.previous && self.config.keep_reverse {
                report.deployments += u64::from(self.replace_by_reverse(&deployment, watch)?);
                continue;
            }
            if deployment.previous {
                self.switch().forget_previous()?;
            }
            self.deployments.drop(&deployment.manifest, watch)?;
            report.deployments += 1;
        }
        // What a kill left of trees that were made or removed.
        for entry in disk::list(&self.deployments.dir)? {
            if let Some(name) = entry.file_name().to_str().filter(|n| n.starts_with('.')) {
                self.deployments.remove(name, watch)?;
            }
        }
        if !forget_fetched && self.partial.unfinished()? {
            return Ok(report);
        }
        self.partial.clear()?;
        let mut needed: HashSet<Name> = HashSet::new();
        for digest in self.deployments.all()? {
            needed.extend(objects(&self.deployments.manifest(&digest)?));
        }
        if let Some(ready) = self.ready()? {
            needed.extend(objects(&ready));
        }
        (report.objects, report.bytes) = self.objects.retain(&needed, watch)?;
        let (deployments, objects, bytes) = (report.deployments, report.objects, report.bytes);
        tracing::info!(deployments, objects, bytes, "what is not kept is gone");
        Ok(report)
    }

    /// Gives objects the names of today, once: those of an older elfup were shorter.
    ///
    /// What no deployment and no fetched release needs keeps its name, and goes with the next `gc`.
    pub(super) fn rename_objects(&self, watch: &dyn Watch) -> Result<()> {
        if self.notes.read::<u32>(Note::Objects)? == Some(NAMES) {
            return Ok(());
        }
        for digest in self.deployments.all()? {
            // One that is torn is for `repair` to tell.
            if let Ok(manifest) = self.deployments.manifest(&digest) {
                rename_short(&self.objects, &manifest, watch)?;
            }
        }
        if let Ok(Some(ready)) = self.ready() {
            rename_short(&self.objects, &ready, watch)?;
        }
        disk::sync_fs(&self.root)?;
        // Without the note they are looked through once more; a full disk is for others to tell.
        if let Err(e) = self.notes.write(Note::Objects, &NAMES) {
            watch.detail(&e.to_string());
        }
        Ok(())
    }

    /// Deployments beyond the kept ones.
    fn spare(&self) -> Result<Vec<Deployment>> {
        let pins = self.pins()?;
        let back = self.trials(&Quiet).under_way()?.map(|t| t.old);
        let mut spare = self.deployments()?;
        spare.retain(|d| !d.current && !pins.contains(&d.release) && Some(d.manifest) != back);
        // The previous one is the last to go; then newer before older.
        spare.sort_by_key(|d| (d.previous, d.sequence));
        spare.truncate(spare.len().saturating_sub(self.config.keep));
        Ok(spare)
    }
}

fn objects(manifest: &Manifest) -> impl Iterator<Item = Name> {
    manifest.files().map(|(e, c)| Name::of(e, c))
}
