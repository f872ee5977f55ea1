//! The command that repairs: the running tree is built again from objects, damaged ones fetched whole.

use super::Site;
use super::compare::Whose;
use super::fetch::Fetcher;
use super::index::Name;
use super::local::Pass;
use super::objects::holds;
use super::reserve::Reservation;
use super::switch::exchange;
use super::ways::{Ways, whole_manifest};
use crate::apart::Apart;
use crate::disk::{self, Sync};
use crate::manifest::{Content, Entry, Manifest};
use crate::source::Sources;
use crate::step::Release;
use crate::{Digest, Error, Result, Watch, limits};
use std::sync::Arc;

impl Site {
    /// Builds the running tree again from objects, fetching whole files (never deltas) for damaged ones.
    pub fn repair(&self, watch: &dyn Watch) -> Result<u64> {
        let current = self
            .current()?
            .ok_or_else(|| Error::NotFound("a running release".into()))?;
        let sources = self.sources(watch)?;
        self.rename_objects(watch)?;
        let (bytes, torn) = self.manifest_again(&current, &sources, watch)?;
        let manifest = Arc::new(Manifest::parse(&bytes)?);
        let bad = self.drop_damaged(&manifest, watch)?;
        self.fetch_lacking(&current, &manifest, &sources, watch)?;
        let tree = self.deployments.tree(&current);
        let comparison = self.compare(&tree, &manifest, watch);
        let differences = comparison.differences(Whose::Theirs)?.len() as u64;
        let differences = differences + self.local(watch).removed(&manifest)?;
        if bad + differences > 0 {
            self.build_again(&current, &manifest, watch)?;
        }
        self.partial.clear()?;
        Ok(bad.max(differences) + torn)
    }

    /// The manifest of the running release, from a source where it is torn; and how many were.
    fn manifest_again(
        &self,
        current: &Digest,
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<(Vec<u8>, u64)> {
        if let Ok(bytes) = self.deployments.manifest_bytes(current) {
            return Ok((bytes, 0));
        }
        let release = Release {
            release: String::new(),
            sequence: 0,
            urgent: false,
            published: String::new(),
            manifest: *current,
            manifest_size: limits::MANIFEST,
            manifest_stored: limits::MANIFEST,
            steps: Vec::new(),
        };
        let bytes = whole_manifest(&release, self.downloads(sources, watch))?;
        let home = self.deployments.at(current);
        disk::make_dirs(&home)?;
        disk::replace(&home.join("manifest"), &bytes, 0o644, Sync::State)?;
        Ok((bytes, 1))
    }

    /// Makes the objects that a release lacks: copies, or whole files.
    fn fetch_lacking(
        &self,
        current: &Digest,
        manifest: &Arc<Manifest>,
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<()> {
        let index = self.index(watch)?;
        let lacking = |(e, c): &(&Entry, &Content)| !index.has_exact(&Name::of(e, c));
        let wanted = manifest.files().filter(lacking).map(|(_, c)| c.digest).collect();
        let ways = Ways {
            digest: *current,
            target: manifest.clone(),
            steps: Vec::new(),
        };
        let mut fetcher = Fetcher {
            ways: &ways,
            downloads: self.downloads(sources, watch),
            objects: &self.objects,
            index,
            reservation: Reservation::take(self.partial.dir(), 0, 0)?,
            apart: Apart::new(self.decoder.clone(), self.config.memory),
            wanted,
        };
        for shipped in manifest.files() {
            let (entry, content) = shipped;
            if fetcher.index.has_exact(&Name::of(entry, content)) {
                continue;
            }
            let copied = fetcher.index.has(&content.digest) || content.size == 0;
            match copied.then(|| self.objects.copy(&mut fetcher.index, shipped, watch)) {
                Some(Ok(())) => {}
                Some(Err(Error::Cancelled)) => return Err(Error::Cancelled),
                Some(Err(_)) | None => fetcher.blob(shipped)?,
            }
        }
        self.objects.keep_built(watch)
    }

    /// Puts a new tree in the place of the running one, with its configuration, shipped one that is missing too.
    fn build_again(&self, current: &Digest, manifest: &Manifest, watch: &dyn Watch) -> Result<()> {
        let new = self.deployer(watch).stage(manifest, current)?;
        let pass = Pass {
            quick: false,
            restore: true,
        };
        self.local(watch).carry(current, &new.join("tree"), pass)?;
        disk::sync_fs(&new)?;
        match &self.config.fixed {
            Some(fixed) => exchange(&new.join("tree"), fixed)?,
            None => exchange(&new, &self.deployments.at(current))?,
        }
        self.deployments.remove(&format!(".new-{current}"), watch)
    }

    /// Whether all objects of a release are here and as they should be; those that are not are removed.
    pub(super) fn has_whole(&self, manifest: &Manifest, watch: &dyn Watch) -> Result<bool> {
        if self.drop_damaged(manifest, watch)? > 0 {
            return Ok(false);
        }
        let index = self.objects.index(watch)?;
        Ok(manifest.files().all(|(e, c)| index.has_exact(&Name::of(e, c))))
    }

    /// Removes the release's objects that are not what they should be, so that they are fetched again.
    fn drop_damaged(&self, manifest: &Manifest, watch: &dyn Watch) -> Result<u64> {
        let index = self.objects.index(watch)?;
        let mut dropped = 0;
        for (entry, content) in manifest.files() {
            watch.check()?;
            let Some(path) = index.exact(&Name::of(entry, content)) else {
                continue;
            };
            if !holds(&path, &content.digest, watch)? {
                disk::remove(&path)?;
                dropped += 1;
            } else if self.objects.mend(&path, entry)? {
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}
