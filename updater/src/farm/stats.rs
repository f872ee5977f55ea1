//! What deltas saved, and what making them took, step by step.

use super::cost::Cost;
use super::publish::{base_of, load_channel};
use super::steps;
use crate::metrics::{Metrics, labels};
use crate::names::Follow;
use crate::step::{BundleRow, DeltaRow, Table};
use crate::store::Store;
use crate::{Result, Watch};
use std::collections::BTreeSet;

/// The account of one step.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StepStats {
    /// Release it starts from; none: from nothing.
    pub from: Option<String>,
    /// Release it leads to.
    pub to: String,
    /// Bytes that it takes in the repository.
    pub stored: u64,
    /// Bytes of the step file, manifest included.
    pub step: u64,
    /// Bytes of its deltas of the usual profile.
    pub deltas: u64,
    /// Bytes of its bundles, each in its smallest form.
    pub bundles: u64,
    /// Stored bytes of files that only come whole.
    pub whole: u64,
    /// Stored bytes of all files the older release lacks: what a site would fetch without deltas.
    pub without: u64,
    /// Number of files the older release lacks.
    pub files: u64,
    /// Number of deltas.
    pub delta_count: u64,
    /// What making it took; none if the farm has not noted that.
    pub cost: Option<Cost>,
}

impl StepStats {
    /// Bytes that a site fetches by this step.
    pub fn with(&self) -> u64 {
        self.deltas + self.bundles + self.whole + self.step
    }
}

/// The steps as figures for whoever watches a farm.
pub fn metrics(steps: &[StepStats], follow: &Follow) -> String {
    let of = labels(follow);
    let ends: Vec<Vec<(&str, &str)>> = steps
        .iter()
        .map(|s| {
            let ends = [
                ("from", s.from.as_deref().unwrap_or_default()),
                ("to", s.to.as_str()),
            ];
            of.iter().chain(&ends).copied().collect()
        })
        .collect();
    let mut m = Metrics::default();
    let mut some = |name: &str, help: &str, value: &dyn Fn(&StepStats) -> Option<f64>| {
        let rows = ends.iter().zip(steps);
        let rows: Vec<(&[(&str, &str)], f64)> = rows.filter_map(|(l, s)| Some((&l[..], value(s)?))).collect();
        m.gauge(name, help, &rows);
    };
    let mut all = |name: &str, help: &str, value: &dyn Fn(&StepStats) -> u64| {
        some(name, help, &|s| Some(value(s) as f64));
    };
    all(
        "elfup_step_bytes",
        "Bytes that a site fetches by the step.",
        &StepStats::with,
    );
    all(
        "elfup_step_without_bytes",
        "Bytes of the same files whole.",
        &|s| s.without,
    );
    all("elfup_step_files", "Files that the older release lacks.", &|s| {
        s.files
    });
    all("elfup_step_deltas", "Deltas of the step.", &|s| s.delta_count);
    some(
        "elfup_step_cpu_seconds",
        "CPU time of the jobs that made the step, where it is known.",
        &|s| s.cost.map(|cost| cost.seconds()),
    );
    m.text()
}

/// The deltas that a site takes as a rule: of one file, the one with the fewest bytes.
pub(super) fn usual_deltas(table: &Table) -> impl Iterator<Item = &DeltaRow> {
    let deltas = table.deltas.iter();
    deltas.filter(|row| row.profile != elfdelta::Profile::Fast)
}

/// The bundles that a site takes as a rule. Frames in the back of the pack, for what is told as a patch before, are not
/// among them.
pub(super) fn usual_bundles(table: &Table) -> impl Iterator<Item = &BundleRow> {
    let patched = |row: &BundleRow| {
        let mut others = table.bundles.iter();
        others.any(|other| other.patch.is_some() && other.targets == row.targets)
    };
    let bundles = table.bundles.iter();
    bundles.filter(move |row| row.patch.is_some() || !patched(row))
}

/// Reads all steps of a channel.
pub fn stats(store: &dyn Store, follow: &Follow, watch: &dyn Watch) -> Result<Vec<StepStats>> {
    let channel = load_channel(store, follow)?;
    let mut all = Vec::new();
    for release in &channel.releases {
        for step in &release.steps {
            watch.check()?;
            let from = channel.releases.iter().find(|r| Some(r.manifest) == step.from);
            let from_bytes = base_of(store, &channel, step)?;
            let read = steps::load(store, step, &from_bytes, release)?;
            let mut known = BTreeSet::new();
            known.extend(read.from.iter().flat_map(|m| m.files().map(|(_, c)| c.digest)));
            let mut by_step = BTreeSet::new();
            let target = |i: usize| read.to.entries.get(i).and_then(|e| e.content()).map(|c| c.digest);
            by_step.extend(read.table.deltas.iter().filter_map(|d| target(d.to)));
            by_step.extend(
                read.table
                    .bundles
                    .iter()
                    .flat_map(|b| &b.targets)
                    .filter_map(|i| target(*i)),
            );
            let mut s = StepStats {
                from: step.from.map(|digest| match from {
                    Some(release) => release.release.clone(),
                    None => read
                        .from
                        .as_ref()
                        .map_or(digest.to_string(), |m| m.header.release.clone()),
                }),
                stored: step.size + read.table.pieces.iter().map(|p| p.length).sum::<u64>(),
                to: release.release.clone(),
                step: step.size,
                deltas: 0,
                bundles: 0,
                whole: 0,
                without: 0,
                files: 0,
                delta_count: 0,
                cost: Cost::load(store, &step.digest)?,
            };
            for (_, c) in read.to.files() {
                if c.size > 0 && known.insert(c.digest) {
                    s.files += 1;
                    s.without += c.stored;
                    if !by_step.contains(&c.digest) {
                        s.whole += c.stored;
                    }
                }
            }
            for d in usual_deltas(&read.table) {
                s.deltas += d.length;
                s.delta_count += 1;
            }
            s.bundles = usual_bundles(&read.table)
                .filter_map(|b| read.table.pieces.get(b.piece))
                .map(|p| p.length)
                .sum();
            all.push(s);
        }
    }
    Ok(all)
}
