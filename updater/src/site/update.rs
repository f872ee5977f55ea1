//! The commands that go to a release: plan, update, activate.

use super::between::Between;
use super::fetch::{Fetched, Fetcher, room};
use super::follow::{Wanted, kept};
use super::index::Index;
use super::local::Carried;
use super::measures::{Forced, Measures};
use super::notes::Note;
use super::plan::{Made, Plan, Weighing};
use super::reserve::Reservation;
use super::trial::{Settled, bad, ready};
use super::ways::{Finder, Ways};
use super::{Objective, Site};
use crate::apart::Apart;
use crate::clock;
use crate::manifest::Manifest;
use crate::source::{Account, Sources};
use crate::{Error, Result, Watch};
use serde_json::json;
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
#[derive(Clone, Debug, Default, serde::Serialize)]
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

impl Updated {
    /// The newest one ran.
    fn nothing(release: Option<String>) -> Updated {
        Updated {
            to: release.clone().unwrap_or_default(),
            from: release,
            ..Updated::default()
        }
    }

    /// What a plan says before it is carried out.
    fn predicted(from: Option<String>, plan: &Plan) -> Updated {
        Updated {
            from,
            to: plan.release.clone(),
            changed: true,
            predicted_bytes: plan.bytes,
            predicted_seconds: plan.seconds,
            predicted_apply: plan.apply,
            whole_bytes: plan.whole,
            ..Updated::default()
        }
    }
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
    /// What is made before it, of a release between.
    pub between: Option<Between>,
    measures: Measures,
    index: Index,
    sources: Sources,
    current: Option<String>,
}

impl Site {
    /// Finds the target and weighs all options; fetches metadata and steps only.
    ///
    /// `None`: the site is there already.
    pub fn prepare(&self, o: &UpdateOptions, watch: &dyn Watch) -> Result<Option<Planned>> {
        self.settle(watch)?;
        let sources = self.sources(watch)?;
        let target = match (&o.wanted, self.follower(&sources, watch).target(&o.wanted)) {
            // What is on the disk needs no network, and stays when a farm drops it.
            (
                Wanted::Release { id, below_floor },
                Err(e @ (Error::Network(_) | Error::Portal(_) | Error::NotFound(_))),
            ) => {
                let wanted = (id.as_str(), *below_floor);
                kept(&self.notes, &self.config.follow, &self.deployments, wanted)?.ok_or(e)?
            }
            (_, target) => target?,
        };
        let current = self.running()?;
        if self.current()? == Some(target.release.manifest) {
            return Ok(None);
        }
        if let (Some(current), Wanted::Head) = (&current, &o.wanted)
            && current.sequence > target.release.sequence
        {
            return Ok(None);
        }
        if bad(&self.notes)?.contains(&target.release.manifest) && !o.again {
            let why = format!(
                "{} failed its health check here before; --again insists",
                target.release.release
            );
            return Err(Error::Unhealthy(why));
        }
        if target.urgent_since(current.as_ref().map(|c| c.sequence)) {
            sources.hurry();
        }
        let finder = Finder {
            deployments: &self.deployments,
            downloads: self.downloads(&sources, watch),
            follow: &self.config.follow,
        };
        let ways = finder.ways(&target)?;
        let mut measures = self.measures()?;
        measures.learn(&sources);
        measures.forced = o.forced;
        let index = self.index(watch)?;
        let going = Going {
            site: self,
            sources: &sources,
            measures: &measures,
            objective: o.objective.unwrap_or(self.config.objective),
            watch,
        };
        let (plan, between) = going.weighing(&ways, &index).best();
        plan.tell();
        Ok(Some(Planned {
            ways,
            plan,
            between,
            measures,
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
            return Ok(Updated::nothing(self.running()?.map(|header| header.release)));
        };
        let Planned {
            ways,
            mut plan,
            between,
            measures,
            mut index,
            sources,
            current,
        } = planned;
        let going = Going {
            site: self,
            sources: &sources,
            measures: &measures,
            objective: plan.rates.objective,
            watch,
        };
        let begin = Instant::now();
        let mut updated = Updated::predicted(current, &plan);
        if let Some(between) = between {
            // Room for all of it, before the first byte.
            let more = room(&plan, &ways, &index);
            drop(plan);
            tracing::info!(
                release = between.plan.release,
                files = between.plan.items.len(),
                "is made of first"
            );
            match going.carry_out(&between.ways, &between.plan, index, more) {
                Ok(first) => updated.fetched = first,
                // The plan that follows does without.
                Err(e @ Error::OutOfOptions { .. }) => watch.detail(&e.to_string()),
                Err(e) => return Err(e),
            }
            drop(between);
            index = self.index(watch)?;
            plan = going.weighing(&ways, &index).plan(&Made::default());
        }
        updated.fetched += going.carry_out(&ways, &plan, index, 0)?;
        updated.seconds = begin.elapsed().as_secs_f64();
        updated.account = sources.account();
        let mut learned = self.measures()?;
        learned.learn(&sources);
        if o.forced.speed.is_none() {
            learned.learn_apply(updated.predicted_apply, updated.fetched.apply_seconds);
        }
        learned.save(&self.notes)?;
        let line = json!({"time": clock::format(clock::now()), "update": updated});
        self.notes.append(Note::History, &line)?;
        drop((plan, sources));
        let bytes = ways.target.to_bytes();
        drop(ways);
        self.notes.put(Note::Ready, &bytes)?;
        drop(bytes);
        if !o.fetch_only {
            updated.configuration = self.activate(watch)?.configuration;
        }
        Ok(updated)
    }

    /// The stored measurements; the speed test is run once.
    pub fn measures(&self) -> Result<Measures> {
        Measures::load(&self.notes)
    }

    /// The manifest of a release that was fetched and waits.
    pub fn ready(&self) -> Result<Option<Manifest>> {
        ready(&self.notes)
    }

    /// Switches to the fetched release. Needs no network.
    pub fn activate(&self, watch: &dyn Watch) -> Result<Runs> {
        let _stage = tracing::info_span!("activate").entered();
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
        if let Err(e) = self.deployer(watch).deploy(&manifest, &digest) {
            // While all objects are whole it waits on: a tree that can't be read may be a fault of the moment.
            if matches!(e, Error::Damaged(_)) && !self.has_whole(&manifest, watch)? {
                self.notes.remove(Note::Ready)?;
            }
            return Err(e);
        }
        // Of a hundred thousand paths there are few lists in memory at once.
        let release = manifest.header.release.clone();
        drop(manifest);
        let result = self.trials(watch).activate(&digest);
        // Interrupted, without a verdict or on a full disk, it is as good as before.
        if matches!(result, Ok(_) | Err(Error::Unhealthy(_))) {
            self.notes.remove(Note::Ready)?;
        }
        let configuration = result?;
        self.partial.clear()?;
        self.gc(false, watch)?;
        Ok(Runs {
            release,
            configuration,
        })
    }

    /// The failure with every option that was tried; one that cannot be written down hides no other.
    fn log_failure(&self, e: &Error, watch: &dyn Watch) {
        let tried = match e {
            Error::Cancelled => return,
            Error::OutOfOptions { why, .. } => why.as_slice(),
            _ => &[],
        };
        let time = clock::format(clock::now());
        let line = json!({"time": time, "failed": e.to_string(), "tried": tried});
        if let Err(e) = self.notes.append(Note::History, &line) {
            watch.detail(&e.to_string());
        }
    }
}

/// One way to a release: weighed, and carried out.
struct Going<'a> {
    site: &'a Site,
    sources: &'a Sources,
    measures: &'a Measures,
    objective: Objective,
    watch: &'a dyn Watch,
}

impl Going<'_> {
    fn weighing<'b>(&'b self, ways: &'b Ways, index: &'b Index) -> Weighing<'b> {
        Weighing {
            ways,
            index,
            measures: self.measures,
            sources: self.sources,
            partial: &self.site.partial,
            config: &self.site.config,
            objective: self.objective,
        }
    }

    /// Fetches and rebuilds what a plan says, with room for so many bytes more.
    fn carry_out(&self, ways: &Ways, plan: &Plan, index: Index, more: u64) -> Result<Fetched> {
        let site = self.site;
        let needed = room(plan, ways, &index) + more;
        tracing::info!(
            release = plan.release,
            room = needed,
            ranges = plan.ranges.len(),
            "is fetched and rebuilt"
        );
        let fetcher = Fetcher {
            ways,
            downloads: site.downloads(self.sources, self.watch),
            objects: &site.objects,
            index,
            reservation: Reservation::take(site.partial.dir(), needed, site.config.reserve)?,
            apart: Apart::new(site.decoder.clone(), site.config.memory),
            wanted: plan.items.iter().map(|i| i.digest).collect(),
        };
        fetcher.fetch(plan)
    }
}
