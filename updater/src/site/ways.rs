//! Which steps lead from what the site has to the wanted release.

use super::Site;
use super::check::Target;
use crate::disk::{self, Sync};
use crate::manifest::Manifest;
use crate::source::{Sources, Span};
use crate::step::{self, Release, Step, StepRef};
use crate::{Digest, Error, Result, Watch, compress, limits, names};
use std::collections::BTreeMap;

/// The target manifest and every step that may help.
pub struct Ways {
    /// Where to go.
    pub target: Manifest,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// Steps; the first ones lead to the target, others to a release between.
    pub steps: Vec<Step>,
}

impl Site {
    /// Fetches the steps (small files) and with them the target manifest.
    pub fn ways(&self, target: &Target, sources: &Sources, watch: &dyn Watch) -> Result<Ways> {
        let mut have: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
        for digest in self.deployed()? {
            if let Ok(bytes) = self.manifest_bytes(&digest) {
                have.insert(digest, bytes);
            }
        }
        let current = self.current()?;
        let release = &target.release;
        if let Some(bytes) = have.get(&release.manifest) {
            return Ok(ways(
                Manifest::parse(bytes)?,
                bytes.clone(),
                release.manifest,
                Vec::new(),
            ));
        }
        let mut steps = Vec::new();
        // The running release first, older deployments after it.
        let mut direct: Vec<&StepRef> = release
            .steps
            .iter()
            .filter(|s| s.from.is_some_and(|f| have.contains_key(&f)))
            .collect();
        direct.sort_by_key(|s| s.from != current);
        for step in direct {
            let from = step
                .from
                .and_then(|f| have.get(&f))
                .map_or(&[][..], Vec::as_slice);
            match self.step(step, from, release, (sources, watch)) {
                Ok(step) => steps.push(step),
                Err(e) => passable(e, watch)?,
            }
        }
        if steps.is_empty() {
            steps = self.chain(target, &have, sources, watch)?;
        }
        if steps.is_empty()
            && let Some(step) = release.steps.iter().find(|s| s.from.is_none())
        {
            match self.step(step, &[], release, (sources, watch)) {
                Ok(step) => steps.push(step),
                Err(e) => passable(e, watch)?,
            }
        }
        let (manifest, bytes) = match steps.first() {
            Some(step) => (step.to.clone(), step.to.to_bytes()),
            None => {
                let bytes = self.whole_manifest(release, sources, watch)?;
                (Manifest::parse(&bytes)?, bytes)
            }
        };
        let h = &manifest.header;
        let fits =
            h.follow == self.config.follow && h.release == release.release && h.sequence == release.sequence;
        if !fits || Digest::of(&bytes) != release.manifest {
            return Err(Error::Untrusted(
                "the manifest is not the release that the channel names".into(),
            ));
        }
        Ok(ways(manifest, bytes, release.manifest, steps))
    }

    /// Two steps through a release between, where no direct one is published.
    fn chain(
        &self,
        target: &Target,
        have: &BTreeMap<Digest, Vec<u8>>,
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<Vec<Step>> {
        for between in target.channel.releases.iter().rev() {
            let second = target
                .release
                .steps
                .iter()
                .find(|s| s.from == Some(between.manifest));
            let first = between
                .steps
                .iter()
                .find(|s| s.from.is_some_and(|f| have.contains_key(&f)));
            let (Some(first), Some(second)) = (first, second) else {
                continue;
            };
            let from = first
                .from
                .and_then(|f| have.get(&f))
                .map_or(&[][..], Vec::as_slice);
            let both = || -> Result<Vec<Step>> {
                let first = self.step(first, from, between, (sources, watch))?;
                let second = self.step(second, &first.to.to_bytes(), &target.release, (sources, watch))?;
                Ok(vec![second, first])
            };
            match both() {
                Ok(steps) => {
                    watch.note(&format!("no direct step; going through {}", between.release));
                    return Ok(steps);
                }
                Err(e) => passable(e, watch)?,
            }
        }
        Ok(Vec::new())
    }

    /// One step file, kept in `partial/` so that planning twice fetches it once.
    fn step(
        &self,
        step: &StepRef,
        from: &[u8],
        release: &Release,
        (sources, watch): (&Sources, &dyn Watch),
    ) -> Result<Step> {
        if step.size > limits::STEP {
            return Err(Error::malformed("channel file", "a step is too long"));
        }
        let kept = self.path("partial").join(format!("{}.step", step.digest));
        let stored = disk::read(&kept, limits::STEP)?.filter(|b| Digest::of(b) == step.digest);
        let file = match stored {
            Some(file) => file,
            None => {
                let file = sources.signed(&names::step(&step.digest), &step.digest, step.size, watch)?;
                disk::replace(&kept, &file, 0o600, Sync::State)?;
                file
            }
        };
        step::read(&file, from, release)
    }

    /// The manifest as a file of its own: named by its plain digest, so it is unpacked before it is checked.
    pub(super) fn whole_manifest(
        &self,
        release: &Release,
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<Vec<u8>> {
        let limit = release.manifest_size.min(limits::MANIFEST);
        let span = Span::Whole(release.manifest_stored);
        sources.get(&names::manifest(&release.manifest), span, watch, &|packed| {
            let bytes = compress::unpack(&packed, &[], limit).ok()?;
            (Digest::of(&bytes) == release.manifest).then_some(bytes)
        })
    }
}

fn ways(target: Manifest, bytes: Vec<u8>, digest: Digest, steps: Vec<Step>) -> Ways {
    Ways {
        target,
        bytes,
        digest,
        steps,
    }
}

/// A step that fails is one option less; a local failure or a wish to stop ends the run.
pub(super) fn passable(e: Error, watch: &dyn Watch) -> Result<()> {
    match e {
        Error::Cancelled | Error::Io { .. } | Error::NoSpace { .. } | Error::Privilege(_) => Err(e),
        e => {
            watch.detail(&format!("option failed: {e}"));
            Ok(())
        }
    }
}
