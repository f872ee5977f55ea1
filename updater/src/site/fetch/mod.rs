//! Fetch: carry out a plan until every object of the release is on the disk, option by option.

mod bundle;
mod rebuild;

use super::index::{Index, Name};
use super::objects::Objects;
use super::obtain::Downloads;
use super::plan::{Item, Plan, Way};
use super::reserve::Reservation;
use super::ways::{Ways, passable};
use crate::apart::Apart;
use crate::{Digest, Error, Result};
use std::collections::{BTreeSet, HashSet};
use std::ops::AddAssign;
use std::time::Instant;

/// What rebuilds the contents of a release.
pub(super) struct Fetcher<'a> {
    pub ways: &'a Ways,
    pub downloads: Downloads<'a>,
    pub objects: &'a Objects,
    pub index: Index,
    /// Room on the disk, held until it is used.
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
    /// From deltas.
    pub deltas: u64,
    /// Out of bundles.
    pub bundled: u64,
    /// Whole.
    pub blobs: u64,
    /// Options that failed before another succeeded.
    pub failed_options: u64,
    /// Seconds spent rebuilding.
    pub apply_seconds: f64,
}

impl AddAssign for Fetched {
    fn add_assign(&mut self, more: Fetched) {
        self.copies += more.copies;
        self.deltas += more.deltas;
        self.bundled += more.bundled;
        self.blobs += more.blobs;
        self.failed_options += more.failed_options;
        self.apply_seconds += more.apply_seconds;
    }
}

impl Fetcher<'_> {
    /// Fetches and rebuilds everything that is missing. On success all objects of the release are durable.
    pub fn fetch(mut self, plan: &Plan) -> Result<Fetched> {
        let (watch, sources) = (self.downloads.watch, self.downloads.sources);
        let mut received = 0;
        for range in &plan.ranges {
            watch.check()?;
            let (reservation, step) = (&mut self.reservation, &self.ways.steps[range.step]);
            self.downloads
                .fetch_range(step, range.first..=range.last, &mut |n| {
                    reservation.give(n);
                    received += n;
                    watch.progress("fetch", received, plan.bytes);
                })?;
        }
        self.reservation.give(plan.passing);
        let mut fetched = Fetched::default();
        let begin = Instant::now();
        let before = sources.account().seconds;
        for (number, item) in plan.items.iter().enumerate() {
            watch.check()?;
            watch.progress("rebuild", number as u64, plan.items.len() as u64);
            if !self.index.has_object(&item.digest) {
                self.item(item, &mut fetched)?;
            } else {
                fetched.bundled += 1;
            }
        }
        fetched.apply_seconds = begin.elapsed().as_secs_f64() - (sources.account().seconds - before);
        self.variants()?;
        self.objects.keep_built(watch)?;
        Ok(fetched)
    }

    fn item(&mut self, item: &Item, fetched: &mut Fetched) -> Result<()> {
        let mut failures = Vec::new();
        for choice in item.options.iter().filter(|c| c.infeasible.is_none()) {
            if !matches!(choice.way, Way::Bundle(_)) {
                self.reservation.give(item.size.next_multiple_of(4096));
            }
            if choice.way == Way::Blob {
                self.reservation.give(choice.uses.bytes);
            }
            match self.rebuild(item, &choice.way) {
                Ok(()) => {
                    let counter = match choice.way {
                        Way::Copy => &mut fetched.copies,
                        Way::Delta(_) => &mut fetched.deltas,
                        Way::Bundle(_) => &mut fetched.bundled,
                        Way::Blob => &mut fetched.blobs,
                    };
                    *counter += 1;
                    tracing::debug!(path = item.path, size = item.size, "made: {}", choice.what);
                    return Ok(());
                }
                Err(e) => {
                    failures.push(format!("{}: {e}", choice.what));
                    fetched.failed_options += 1;
                    self.apart.renew();
                    passable(e, self.downloads.watch)?;
                }
            }
        }
        let infeasible = item
            .options
            .iter()
            .filter_map(|c| Some(format!("{}: {}", c.what, c.infeasible.as_ref()?)));
        failures.extend(infeasible.inspect(|why| self.downloads.watch.detail(why)));
        let (path, why) = (item.path.clone(), failures);
        Err(Error::OutOfOptions { path, why })
    }

    /// Objects whose content is there, but with other attributes.
    fn variants(&mut self) -> Result<()> {
        let watch = self.downloads.watch;
        for shipped in self.ways.target.files() {
            if !self.index.has_exact(&Name::of(shipped.0, shipped.1)) {
                watch.check()?;
                self.objects.copy(&mut self.index, shipped, watch)?;
            }
        }
        Ok(())
    }
}

/// Bytes to reserve: what comes, what is made of it, and a margin for directories and manifests.
pub(super) fn room(plan: &Plan, ways: &Ways, index: &Index) -> u64 {
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
