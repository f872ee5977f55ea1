//! Which steps lead from what the site has to the wanted release.

use super::Site;
use super::check::Target;
use crate::disk::{self, Sync};
use crate::manifest::Manifest;
use crate::source::{Sources, Span};
use crate::step::{self, Release, Step, StepRef};
use crate::{Digest, Error, Result, Watch, compress, limits, names};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Direct steps that are read, each with the manifest that it starts from: memory for more gains next to nothing.
const DIRECT: usize = 2;

/// The target manifest and every step that may help.
pub struct Ways {
    /// Where to go.
    pub target: Arc<Manifest>,
    /// Its digest.
    pub digest: Digest,
    /// Steps; the first ones lead to the target, others to a release between.
    pub steps: Vec<Step>,
}

impl Site {
    /// Fetches the steps (small files) and with them the target manifest.
    pub fn ways(&self, target: &Target, sources: &Sources, watch: &dyn Watch) -> Result<Ways> {
        let have: BTreeSet<Digest> = self.deployed()?.into_iter().collect();
        let current = self.current()?;
        let release = &target.release;
        if have.contains(&release.manifest)
            && let Ok(bytes) = self.manifest_bytes(&release.manifest)
        {
            return Ok(Ways {
                target: Arc::new(Manifest::parse(&bytes)?),
                digest: release.manifest,
                steps: Vec::new(),
            });
        }
        let mut steps: Vec<Step> = Vec::new();
        // The running release first, older deployments after it.
        let mut direct: Vec<&StepRef> = release
            .steps
            .iter()
            .filter(|s| s.from.is_some_and(|f| have.contains(&f)))
            .collect();
        direct.sort_by_key(|s| s.from != current);
        for step in direct {
            if steps.len() == DIRECT {
                break;
            }
            let known = steps.first().map(|s| s.to.clone());
            match self.step(step, release, known.as_ref(), (sources, watch)) {
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
            match self.step(step, release, None, (sources, watch)) {
                Ok(step) => steps.push(step),
                Err(e) => passable(e, watch)?,
            }
        }
        // Both ways the digest is that of the release: a step that leads elsewhere was refused.
        let target = match steps.first() {
            Some(step) => step.to.clone(),
            None => Arc::new(Manifest::parse(&self.whole_manifest(release, sources, watch)?)?),
        };
        let h = &target.header;
        let fits =
            h.follow == self.config.follow && h.release == release.release && h.sequence == release.sequence;
        if !fits {
            return Err(Error::Untrusted(
                "the manifest is not the release that the channel names".into(),
            ));
        }
        Ok(Ways {
            target,
            digest: release.manifest,
            steps,
        })
    }

    /// Two steps through a release between, where no direct one is published.
    fn chain(
        &self,
        target: &Target,
        have: &BTreeSet<Digest>,
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
                .find(|s| s.from.is_some_and(|f| have.contains(&f)));
            let (Some(first), Some(second)) = (first, second) else {
                continue;
            };
            let both = || -> Result<Vec<Step>> {
                let first = self.step(first, between, None, (sources, watch))?;
                let file = self.step_file(second, sources, watch)?;
                let second = step::read(&file, &first.to.to_bytes(), &target.release)?;
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

    /// One step that starts here; `to` is the manifest it leads to, if that was read before.
    fn step(
        &self,
        step: &StepRef,
        release: &Release,
        to: Option<&Arc<Manifest>>,
        (sources, watch): (&Sources, &dyn Watch),
    ) -> Result<Step> {
        let from = match &step.from {
            Some(from) => self.manifest_bytes(from)?,
            None => Vec::new(),
        };
        step::read_with(&self.step_file(step, sources, watch)?, &from, release, to)
    }

    /// One step file, kept in `partial/` so that planning twice fetches it once.
    fn step_file(&self, step: &StepRef, sources: &Sources, watch: &dyn Watch) -> Result<Vec<u8>> {
        if step.size > limits::STEP {
            return Err(Error::malformed("channel file", "a step is too long"));
        }
        let kept = self.path("partial").join(format!("{}.step", step.digest));
        if let Some(file) = disk::read(&kept, limits::STEP)?.filter(|b| Digest::of(b) == step.digest) {
            return Ok(file);
        }
        let file = sources.signed(&names::step(&step.digest), &step.digest, step.size, watch)?;
        disk::replace(&kept, &file, 0o600, Sync::State)?;
        Ok(file)
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
