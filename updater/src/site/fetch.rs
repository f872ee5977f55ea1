//! Fetch: carry out a plan until every object of the release is on the disk, option by option.

use super::index::{Index, Name};
use super::plan::{Plan, Way};
use super::reserve::Reservation;
use super::ways::{Ways, passable};
use super::{Site, plan::Item};
use crate::apart::Apart;
use crate::source::Sources;
use crate::{Digest, Error, Result, Watch};
use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

/// What a fetch works with.
pub(super) struct Run<'a> {
    pub ways: &'a Ways,
    pub index: Index,
    pub sources: &'a Sources,
    pub watch: &'a dyn Watch,
    pub reservation: Reservation,
    /// Where hostile bytes are decoded.
    pub apart: Apart,
    /// Contents that the release needs and the site lacks.
    pub wanted: HashSet<Digest>,
}

/// What a fetch did.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Fetched {
    /// Contents by the way that succeeded.
    pub copies: u64,
    /// From one delta.
    pub deltas: u64,
    /// From two deltas.
    pub chains: u64,
    /// Out of bundles.
    pub bundled: u64,
    /// Whole.
    pub blobs: u64,
    /// Options that failed before another succeeded.
    pub failed_options: u64,
    /// Seconds spent rebuilding.
    pub apply_seconds: f64,
}

impl Site {
    /// Fetches and rebuilds everything that is missing. On success all objects of the release are durable.
    pub(super) fn fetch_plan(
        &self,
        plan: &Plan,
        ways: &Ways,
        index: Index,
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<Fetched> {
        let needed = self.scratch(plan, ways, &index);
        let reservation = Reservation::take(&self.path("partial"), needed, self.config.reserve)?;
        let mut run = Run {
            ways,
            index,
            sources,
            watch,
            reservation,
            apart: Apart::new(self.decoder.clone(), self.config.memory),
            wanted: plan.items.iter().map(|i| i.digest).collect(),
        };
        let mut received = 0;
        for range in &plan.ranges {
            watch.check()?;
            let reservation = &mut run.reservation;
            self.fetch_range(ways, *range, sources, watch, &mut |n| {
                reservation.give(n);
                received += n;
                watch.progress("fetch", received, plan.bytes);
            })?;
        }
        run.reservation.give(plan.passing);
        let mut fetched = Fetched::default();
        let begin = Instant::now();
        let before = sources.account().seconds;
        for (number, item) in plan.items.iter().enumerate() {
            watch.check()?;
            watch.progress("rebuild", number as u64, plan.items.len() as u64);
            if !run.index.has_object(&item.digest) {
                self.item(&mut run, item, &mut fetched)?;
            } else {
                fetched.bundled += 1;
            }
        }
        fetched.apply_seconds = begin.elapsed().as_secs_f64() - (sources.account().seconds - before);
        self.variants(&mut run)?;
        self.keep_built(watch)?;
        Ok(fetched)
    }

    fn item(&self, run: &mut Run, item: &Item, fetched: &mut Fetched) -> Result<()> {
        let mut failures = Vec::new();
        for choice in item.options.iter().filter(|c| c.infeasible.is_none()) {
            if !matches!(choice.way, Way::Bundle { .. }) {
                run.reservation.give(item.size.next_multiple_of(4096));
            }
            if choice.way == Way::Blob {
                run.reservation.give(choice.uses.bytes);
            }
            match self.rebuild(run, item, &choice.way) {
                Ok(()) => {
                    let counter = match choice.way {
                        Way::Copy => &mut fetched.copies,
                        Way::Delta { .. } => &mut fetched.deltas,
                        Way::Chain { .. } => &mut fetched.chains,
                        Way::Bundle { .. } => &mut fetched.bundled,
                        Way::Blob => &mut fetched.blobs,
                    };
                    *counter += 1;
                    return Ok(());
                }
                Err(e) => {
                    failures.push(format!("{}: {e}", choice.what));
                    fetched.failed_options += 1;
                    run.apart.renew();
                    passable(e, run.watch)?;
                }
            }
        }
        let infeasible = item
            .options
            .iter()
            .filter_map(|c| Some(format!("{}: {}", c.what, c.infeasible.as_ref()?)));
        failures.extend(infeasible.inspect(|why| run.watch.detail(why)));
        let (path, why) = (item.path.clone(), failures);
        Err(Error::OutOfOptions { path, why })
    }

    /// Objects whose content is there, but with other attributes.
    fn variants(&self, run: &mut Run) -> Result<()> {
        for (entry, content) in run.ways.target.files() {
            if !run.index.has_exact(&Name::of(entry, content)) {
                run.watch.check()?;
                self.copy_object(&mut run.index, entry, content, run.watch)?;
            }
        }
        Ok(())
    }

    /// Bytes to reserve: what comes, what is made of it, and a margin for directories and manifests.
    fn scratch(&self, plan: &Plan, ways: &Ways, index: &Index) -> u64 {
        let mut made = BTreeSet::new();
        let mut bytes = plan.bytes + plan.passing;
        for (entry, content) in ways.target.files() {
            let name = Name::of(entry, content);
            if !index.has_exact(&name) && made.insert(name) {
                bytes += content.size.next_multiple_of(4096);
            }
        }
        if made.is_empty() { 0 } else { bytes + (1 << 20) }
    }
}
