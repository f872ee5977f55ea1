//! Which steps lead from what the site has to the wanted release.

use super::deployments::Deployments;
use super::follow::Target;
use super::obtain::Downloads;
use crate::disk::{self, Sync};
use crate::manifest::Manifest;
use crate::names::{self, Follow};
use crate::source::Span;
use crate::step::{self, Release, Step, StepRef};
use crate::{Digest, Error, Result, Watch, compress, limits};
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
    pub steps: Vec<Arc<Step>>,
}

/// What finds the ways from the deployments of a site to a release.
pub(super) struct Finder<'a> {
    pub deployments: &'a Deployments,
    pub downloads: Downloads<'a>,
    pub follow: &'a Follow,
}

impl Finder<'_> {
    /// Fetches the steps (small files) and with them the target manifest.
    pub fn ways(&self, target: &Target) -> Result<Ways> {
        let have: BTreeSet<Digest> = self.deployments.all()?.into_iter().collect();
        let current = self.deployments.current()?;
        let release = &target.release;
        if have.contains(&release.manifest)
            && let Ok(bytes) = self.deployments.manifest_bytes(&release.manifest)
        {
            return Ok(Ways {
                target: Arc::new(Manifest::parse(&bytes)?),
                digest: release.manifest,
                steps: Vec::new(),
            });
        }
        let mut steps = self.direct(release, &have, current)?;
        if steps.is_empty() {
            steps = self.chain(target, &have)?;
        }
        if steps.is_empty()
            && let Some(step) = release.steps.iter().find(|s| s.from.is_none())
        {
            match self.step(step, release, None) {
                Ok(step) => steps.push(step),
                Err(e) => passable(e, self.downloads.watch)?,
            }
        }
        // Both ways the digest is that of the release: a step that leads elsewhere was refused.
        let target = match steps.first() {
            Some(step) => step.to.clone(),
            None => Arc::new(Manifest::parse(&whole_manifest(release, self.downloads)?)?),
        };
        let h = &target.header;
        let fits = h.follow == *self.follow && h.release == release.release && h.sequence == release.sequence;
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

    /// Steps from what is here: the running release first, older deployments after it.
    fn direct(
        &self,
        release: &Release,
        have: &BTreeSet<Digest>,
        current: Option<Digest>,
    ) -> Result<Vec<Arc<Step>>> {
        let mut steps: Vec<Arc<Step>> = Vec::new();
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
            match self.step(step, release, known.as_ref()) {
                Ok(step) => steps.push(step),
                Err(e) => passable(e, self.downloads.watch)?,
            }
        }
        Ok(steps)
    }

    /// Two steps through a release between, where no direct one is published.
    fn chain(&self, target: &Target, have: &BTreeSet<Digest>) -> Result<Vec<Arc<Step>>> {
        let watch = self.downloads.watch;
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
            let both = || -> Result<Vec<Arc<Step>>> {
                let first = self.step(first, between, None)?;
                let file = self.step_file(second)?;
                let second = step::read(&file, &first.to.to_bytes(), &target.release)?;
                Ok(vec![Arc::new(second), first])
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
    fn step(&self, step: &StepRef, release: &Release, to: Option<&Arc<Manifest>>) -> Result<Arc<Step>> {
        let from = match &step.from {
            Some(from) => self.deployments.manifest_bytes(from)?,
            None => Vec::new(),
        };
        step::read_with(&self.step_file(step)?, &from, release, to).map(Arc::new)
    }

    /// One step file, kept in `partial/` so that planning twice fetches it once.
    fn step_file(&self, step: &StepRef) -> Result<Vec<u8>> {
        let Downloads {
            partial,
            sources,
            watch,
        } = self.downloads;
        if step.size > limits::STEP {
            return Err(Error::malformed("channel file", "a step is too long"));
        }
        let kept = partial.step(&step.digest);
        if let Some(file) = disk::read(&kept, limits::STEP)?.filter(|b| Digest::of(b) == step.digest) {
            return Ok(file);
        }
        let file = sources.signed(&names::step(&step.digest), &step.digest, step.size, watch)?;
        disk::replace(&kept, &file, 0o600, Sync::State)?;
        Ok(file)
    }
}

/// The manifest as a file of its own: named by its plain digest, so it is unpacked before it is checked.
pub(super) fn whole_manifest(release: &Release, downloads: Downloads) -> Result<Vec<u8>> {
    let limit = release.manifest_size.min(limits::MANIFEST);
    let span = Span::Whole(release.manifest_stored);
    let Downloads { sources, watch, .. } = downloads;
    sources.get(&names::manifest(&release.manifest), span, watch, &|packed| {
        let bytes = compress::unpack(&packed, &[], limit).ok()?;
        (Digest::of(&bytes) == release.manifest).then_some(bytes)
    })
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
