//! The commands that change a site: update, fetch, activate, rollback, repair.

use super::check::Wanted;
use super::fetch::{Fetched, Run};
use super::health::Settled;
use super::index::Name;
use super::local::{Carried, Pass};
use super::measures::Forced;
use super::objects::holds;
use super::plan::Plan;
use super::reserve::Reservation;
use super::verify::{Config, OTHER_TIME};
use super::ways::Ways;
use super::{Objective, Site};
use crate::apart::Apart;
use crate::disk::{self, Sync};
use crate::manifest::{Content, Entry, Manifest};
use crate::source::{Account, Sources};
use crate::{Digest, Error, Result, Watch};
use std::time::Instant;

/// What to update to, and how to weigh.
#[derive(Clone, Debug)]
pub struct UpdateOptions {
    /// Which release.
    pub wanted: Wanted,
    /// Instead of the configured objective.
    pub objective: Option<Objective>,
    /// Figures instead of measurements.
    pub forced: Forced,
    /// Try a release again that failed its health check here.
    pub again: bool,
    /// Only fetch; `activate` does the rest.
    pub fetch_only: bool,
}

impl Default for UpdateOptions {
    fn default() -> Self {
        UpdateOptions {
            wanted: Wanted::Head,
            objective: None,
            forced: Forced::default(),
            again: false,
            fetch_only: false,
        }
    }
}

/// What an update did; also a line of `state/history`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Updated {
    /// Release before.
    pub from: Option<String>,
    /// Release after.
    pub to: String,
    /// Whether anything was to do.
    pub changed: bool,
    /// Predicted bytes.
    pub predicted_bytes: u64,
    /// Predicted seconds.
    pub predicted_seconds: f64,
    /// Predicted seconds of applying.
    pub predicted_apply: f64,
    /// Bytes that whole files would have taken.
    pub whole_bytes: u64,
    /// Real seconds of fetching and rebuilding.
    pub seconds: f64,
    /// What came over the network, metadata included.
    pub account: Account,
    /// How the files came.
    pub fetched: Fetched,
    /// What became of the configuration in the switch.
    pub configuration: Carried,
}

/// What runs after a switch.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Runs {
    /// The release.
    #[serde(rename = "runs")]
    pub release: String,
    /// What became of the configuration.
    pub configuration: Carried,
}

/// A planned update.
pub struct Planned {
    /// The ways to the target.
    pub ways: Ways,
    /// The plan.
    pub plan: Plan,
    index: super::index::Index,
    sources: Sources,
    current: Option<String>,
}

impl Site {
    /// Finds the target and weighs all options; fetches metadata and steps only.
    ///
    /// `None`: the site is there already.
    pub fn prepare(&self, o: &UpdateOptions, watch: &dyn Watch) -> Result<Option<Planned>> {
        self.settle(watch)?;
        let sources = self.sources()?;
        let target = match (&o.wanted, self.target(&o.wanted, &sources, watch)) {
            // What is on the disk needs no network, and stays when a farm drops it.
            (
                Wanted::Release { id, below_floor },
                Err(e @ (Error::Network(_) | Error::Portal(_) | Error::NotFound(_))),
            ) => self.kept_target(id, *below_floor)?.ok_or(e)?,
            (_, target) => target?,
        };
        let current = self.current()?.map(|d| self.header_of(&d)).transpose()?;
        if self.current()? == Some(target.release.manifest) {
            return Ok(None);
        }
        if let (Some(current), Wanted::Head) = (&current, &o.wanted)
            && current.sequence > target.release.sequence
        {
            return Ok(None);
        }
        if self.is_bad(&target.release.manifest)? && !o.again {
            let why = format!(
                "{} failed its health check here before; --again insists",
                target.release.release
            );
            return Err(Error::Unhealthy(why));
        }
        let ways = self.ways(&target, &sources, watch)?;
        let mut measures = self.measures()?;
        measures.learn(&sources);
        measures.forced = o.forced;
        let index = self.index(watch)?;
        let objective = o.objective.unwrap_or(self.config.objective);
        let plan = self.plan(&ways, &index, &measures, &sources, objective)?;
        Ok(Some(Planned {
            ways,
            plan,
            index,
            sources,
            current: current.map(|c| c.release),
        }))
    }

    /// Goes to the wanted release.
    pub fn update(&self, o: &UpdateOptions, watch: &dyn Watch) -> Result<Updated> {
        let result = self
            .update_once(o, watch)
            .inspect_err(|e| self.log_failure(e, watch));
        match result {
            // Damaged objects were on the disk before; by now they are gone, and are fetched like others.
            Err(e @ Error::Damaged(_)) => {
                watch.note(&format!("{e}; once more without what is damaged"));
                self.update_once(o, watch)
            }
            other => other,
        }
    }

    fn update_once(&self, o: &UpdateOptions, watch: &dyn Watch) -> Result<Updated> {
        let Some(planned) = self.prepare(o, watch)? else {
            let release = self
                .current()?
                .map(|d| self.header_of(&d))
                .transpose()?
                .map(|header| header.release);
            return Ok(Updated {
                to: release.clone().unwrap_or_default(),
                from: release,
                changed: false,
                predicted_bytes: 0,
                predicted_seconds: 0.0,
                predicted_apply: 0.0,
                whole_bytes: 0,
                seconds: 0.0,
                account: Account::default(),
                fetched: Fetched::default(),
                configuration: Carried::default(),
            });
        };
        let Planned {
            ways,
            plan,
            index,
            sources,
            current,
            ..
        } = planned;
        let begin = Instant::now();
        let fetched = self.fetch_plan(&plan, &ways, index, &sources, watch)?;
        let mut updated = Updated {
            from: current,
            to: ways.target.header.release.clone(),
            changed: true,
            predicted_bytes: plan.bytes,
            predicted_seconds: plan.seconds,
            predicted_apply: plan.apply,
            whole_bytes: plan.whole,
            seconds: begin.elapsed().as_secs_f64(),
            account: sources.account(),
            fetched,
            configuration: Carried::default(),
        };
        let mut learned = self.measures()?;
        learned.learn(&sources);
        if o.forced.speed.is_none() {
            learned.learn_apply(plan.apply, updated.fetched.apply_seconds);
        }
        self.save_measures(&learned)?;
        self.log(&updated)?;
        drop((plan, sources));
        let bytes = ways.target.to_bytes();
        drop(ways);
        disk::replace(&self.path("state/ready"), &bytes, 0o600, Sync::State)?;
        drop(bytes);
        if !o.fetch_only {
            updated.configuration = self.activate(watch)?.configuration;
        }
        Ok(updated)
    }

    /// The manifest of a release that was fetched and waits.
    pub fn ready(&self) -> Result<Option<Manifest>> {
        let bytes = disk::read(&self.path("state/ready"), crate::limits::MANIFEST)?;
        bytes.map(|b| Manifest::parse(&b)).transpose()
    }

    /// Switches to the fetched release. Needs no network.
    pub fn activate(&self, watch: &dyn Watch) -> Result<Runs> {
        let settled = self.settle(watch)?;
        let Some(manifest) = self.ready()? else {
            return match settled {
                Settled::Passed(release) => Ok(Runs {
                    release,
                    configuration: Carried::default(),
                }),
                Settled::Failed(why) => Err(Error::Unhealthy(why)),
                Settled::Nothing => Err(Error::NotFound("a fetched release".into())),
            };
        };
        let digest = manifest.digest();
        if let Err(e) = self.deploy(&manifest, &digest, watch) {
            // While all objects are whole it waits on: a tree that can't be read may be a fault of the moment.
            if matches!(e, Error::Damaged(_)) && !self.has_whole(&manifest, watch)? {
                disk::remove(&self.path("state/ready"))?;
            }
            return Err(e);
        }
        // Of a hundred thousand paths there are few lists in memory at once.
        let release = manifest.header.release.clone();
        drop(manifest);
        let result = self.activate_checked(&digest, watch);
        // Interrupted, without a verdict or on a full disk, it is as good as before.
        if matches!(result, Ok(_) | Err(Error::Unhealthy(_))) {
            disk::remove(&self.path("state/ready"))?;
        }
        let configuration = result?;
        self.clear_partial()?;
        self.gc(false, watch)?;
        Ok(Runs {
            release,
            configuration,
        })
    }

    /// Whether all objects of a release are here and as they should be; those that are not are removed.
    fn has_whole(&self, manifest: &Manifest, watch: &dyn Watch) -> Result<bool> {
        if self.drop_damaged(manifest, watch)? > 0 {
            return Ok(false);
        }
        let index = self.index(watch)?;
        Ok(manifest.files().all(|(e, c)| index.has_exact(&Name::of(e, c))))
    }

    /// Removes the release's objects that are not what they should be, so that they are fetched again.
    fn drop_damaged(&self, manifest: &Manifest, watch: &dyn Watch) -> Result<u64> {
        let index = self.index(watch)?;
        let mut dropped = 0;
        for (entry, content) in manifest.files() {
            watch.check()?;
            let Some(path) = index.exact(&Name::of(entry, content)) else {
                continue;
            };
            let path = &path;
            if !holds(path, &content.digest, watch)? {
                disk::remove(path)?;
                dropped += 1;
            } else if self.mend(path, entry)? {
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Goes back to the deployment that ran before, or through a kept reverse delta. Needs no network.
    ///
    /// Configuration stays as it is now.
    pub fn rollback(&self, watch: &dyn Watch) -> Result<Runs> {
        let current = self.current()?;
        let back = match self
            .previous()?
            .filter(|p| Some(*p) != current && self.deployment(p).exists())
        {
            Some(previous) => {
                let manifest = self.manifest_of(&previous)?;
                let tree = self.tree(&previous);
                let differences = self.differences(&tree, &manifest, Config::Theirs, watch)?;
                if let Some(first) = differences.iter().find(|d| d.what != OTHER_TIME) {
                    return Err(Error::Damaged(format!(
                        "the previous release: {}: {}",
                        first.path, first.what
                    )));
                }
                let configuration = self.bring(&previous, watch)?;
                self.switch(&previous)?;
                Runs {
                    release: manifest.header.release,
                    configuration,
                }
            }
            None => self.rollback_reverse(watch)?,
        };
        // After the switch: a rollback that failed leaves the trial as it was.
        disk::remove(&self.path("state/trial"))?;
        Ok(back)
    }

    /// Builds the running tree again from objects, fetching whole files (never deltas) for damaged ones.
    pub fn repair(&self, watch: &dyn Watch) -> Result<u64> {
        let current = self
            .current()?
            .ok_or_else(|| Error::NotFound("a running release".into()))?;
        let sources = self.sources()?;
        let (bytes, torn) = match self.manifest_bytes(&current) {
            Ok(bytes) => (bytes, 0),
            Err(_) => {
                let bytes = self.whole_manifest_by_digest(&current, &sources, watch)?;
                disk::make_dirs(&self.deployment(&current))?;
                disk::replace(
                    &self.deployment(&current).join("manifest"),
                    &bytes,
                    0o644,
                    Sync::State,
                )?;
                (bytes, 1)
            }
        };
        let manifest = Manifest::parse(&bytes)?;
        let bad = self.drop_damaged(&manifest, watch)?;
        let index = self.index(watch)?;
        let lacking = |(e, c): &(&Entry, &Content)| !index.has_exact(&Name::of(e, c));
        let wanted = manifest.files().filter(lacking).map(|(_, c)| c.digest).collect();
        let ways = Ways {
            digest: current,
            target: manifest.into(),
            steps: Vec::new(),
        };
        let mut run = Run {
            ways: &ways,
            index,
            sources: &sources,
            watch,
            reservation: Reservation::take(&self.path("partial"), 0, 0)?,
            apart: Apart::new(self.decoder.clone(), self.config.memory),
            wanted,
        };
        for (entry, content) in ways.target.files() {
            if run.index.has_exact(&Name::of(entry, content)) {
                continue;
            }
            let copied = run.index.has(&content.digest) || content.size == 0;
            match copied.then(|| self.copy_object(&mut run.index, entry, content, watch)) {
                Some(Ok(())) => {}
                Some(Err(Error::Cancelled)) => return Err(Error::Cancelled),
                Some(Err(_)) | None => self.blob(&mut run, entry, content)?,
            }
        }
        self.keep_built(watch)?;
        let tree = self.tree(&current);
        let differences = self.differences(&tree, &ways.target, Config::Theirs, watch)?;
        let differences = differences.len() as u64 + self.removed(&ways.target, watch)?;
        if bad + differences > 0 {
            let new = self.stage(&ways.target, &current, watch)?;
            let pass = Pass {
                quick: false,
                restore: true,
            };
            self.carry(&current, &new.join("tree"), pass, watch)?;
            disk::sync_fs(&new)?;
            match &self.config.fixed {
                Some(fixed) => self.exchange(&new.join("tree"), fixed)?,
                None => self.exchange(&new, &self.deployment(&current))?,
            }
            self.remove_deployment(&format!(".new-{current}"), watch)?;
        }
        self.clear_partial()?;
        Ok(bad.max(differences) + torn)
    }

    fn whole_manifest_by_digest(
        &self,
        digest: &Digest,
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<Vec<u8>> {
        let release = crate::step::Release {
            release: String::new(),
            sequence: 0,
            urgent: false,
            published: String::new(),
            manifest: *digest,
            manifest_size: crate::limits::MANIFEST,
            manifest_stored: crate::limits::MANIFEST,
            steps: Vec::new(),
        };
        self.whole_manifest(&release, sources, watch)
    }

    fn log(&self, updated: &Updated) -> Result<()> {
        let time = crate::clock::format(crate::clock::now());
        self.history(&serde_json::json!({"time": time, "update": updated}))
    }

    /// The failure with every option that was tried; one that cannot be written down hides no other.
    fn log_failure(&self, e: &Error, watch: &dyn Watch) {
        let tried = match e {
            Error::Cancelled => return,
            Error::OutOfOptions { why, .. } => why.as_slice(),
            _ => &[],
        };
        let time = crate::clock::format(crate::clock::now());
        let line = serde_json::json!({"time": time, "failed": e.to_string(), "tried": tried});
        if let Err(e) = self.history(&line) {
            watch.detail(&e.to_string());
        }
    }

    /// Appends a line to `state/history`; losing it costs nothing but knowledge.
    fn history(&self, line: &serde_json::Value) -> Result<()> {
        use std::io::Write;
        let path = self.path("state/history");
        let mut line = serde_json::to_vec(line).unwrap_or_default();
        line.push(b'\n');
        let open = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        let written = open.and_then(|mut f| f.write_all(&line));
        written.map_err(|e| Error::io(format!("write {}", path.display()), e))
    }
}
