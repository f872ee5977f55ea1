//! Drops old releases from a channel, and files that no channel names any more.

use super::cost;
use super::keep::Keep;
use super::plan::Plan;
use super::proof::{self, Proven};
use super::publish::{base_of, begin_channel, commit, load_channel, load_manifest};
use super::steps;
use crate::jobs::Jobs;
use crate::manifest::Manifest;
use crate::names::{self, Follow};
use crate::store::Store;
use crate::trust::{Lifetimes, Signer};
use crate::{Result, Watch};
use std::collections::BTreeSet;
use std::path::Path;

/// What was removed.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct GcReport {
    /// Releases dropped from the channel.
    pub releases: u64,
    /// Steps between those that stay.
    pub steps: u64,
    /// Files removed.
    pub files: u64,
    /// Bytes freed.
    pub bytes: u64,
}

/// Keeps of a channel what `keep` says, then removes what no release of any channel needs.
///
/// Metadata is signed before files go, so a reader of the new state never misses one; a reader of the old state may.
pub fn gc(
    store: &dyn Store,
    keys: &Path,
    follow: &Follow,
    keep: &Keep,
    watch: &dyn Watch,
) -> Result<GcReport> {
    let lock = store.lock(watch)?;
    let mut report = GcReport::default();
    let (was, mut channel) = begin_channel(store, follow)?;
    (report.releases, report.steps) = keep.thin(&mut channel);
    if report.releases + report.steps > 0 {
        let jobs = Jobs::new(0, 0);
        Proven::default().require(store, &proof::of_channel(store, &channel, watch)?, &jobs, watch)?;
        let signer = Signer::new(store, keys, Lifetimes::default()).heeding(watch);
        commit(store, signer, &*lock, was, &channel)?;
    }
    let mut needed = needed(store, watch)?;
    let mut planned = Plan::needed(store)?;
    let any = !planned.is_empty();
    needed.append(&mut planned);
    store.sweep("work/deltas")?;
    for dir in [
        "blobs",
        "packs",
        "steps",
        "manifests",
        "channels",
        "work/deltas",
        "work/claims",
        "work/costs",
    ] {
        for path in store.list(dir)? {
            watch.check()?;
            let kept = needed.contains(&path)
                || dir == "work/deltas" && (current_job(&path, &needed) || any && of_engine(&path));
            if !kept {
                report.bytes += store.size(&path)?.unwrap_or_default();
                report.files += 1;
                lock.still()?;
                tracing::debug!(path, "no release needs it");
                store.remove(&path)?;
            }
        }
    }
    Ok(report)
}

/// Whether the format of a job is this engine's.
fn of_engine(path: &str) -> bool {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    stem.ends_with(&format!("-{}", elfdelta::FORMAT_ID))
}

/// A delta job is kept while both of its files are, others while there is a plan; and if the format is this engine's.
fn current_job(path: &str, needed: &BTreeSet<String>) -> bool {
    if !of_engine(path) {
        return false;
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut digests = name.splitn(3, '-').take(2).filter_map(crate::Digest::parse);
    digests.all(|d| needed.contains(&names::blob(&d)))
}

/// Every file that the signed metadata leads to.
pub(super) fn needed(store: &dyn Store, watch: &dyn Watch) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for (target, digest) in Signer::all_signed(store)? {
        all.insert(names::target_file(&target, &digest));
        let mut parts = target.trim_end_matches(".json").split('/').skip(1);
        let (Some(product), Some(channel), Some(arch)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let channel = load_channel(store, &Follow::new(product, channel, arch)?)?;
        for release in &channel.releases {
            watch.check()?;
            all.insert(names::manifest(&release.manifest));
            let bytes = load_manifest(store, release)?;
            let manifest = Manifest::parse(&bytes)?;
            all.extend(manifest.files().map(|(_, c)| names::blob(&c.digest)));
            for step in &release.steps {
                watch.check()?;
                all.insert(names::step(&step.digest));
                all.insert(cost::name(&step.digest));
                all.extend(step.from.map(|from| names::manifest(&from)));
                let from = base_of(store, &channel, step)?;
                let table = steps::load(store, step, &from, release)?.table;
                all.extend(table.pack.map(|p| names::pack(&p)));
            }
        }
    }
    Ok(all)
}
