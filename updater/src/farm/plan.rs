//! The delta jobs of a release, written to the store, so that workers on other machines can make them.

use super::deltas;
use super::proof::Proven;
use super::publish::{chosen, load_channel, load_manifest, must_be_repository, store_blobs};
use super::steps::{self, Tools};
use crate::jobs::Jobs;
use crate::manifest::{Content, Header, Manifest, ScanOptions, scan};
use crate::names::{self, Follow};
use crate::store::Store;
use crate::{Digest, Error, PROTOCOL, Result, Watch};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What to plan: what `publish` will be asked for, as far as it decides which deltas are made.
#[derive(Clone, Debug)]
pub struct Planning {
    /// Product, channel, architecture.
    pub follow: Follow,
    /// Release id.
    pub release: String,
    /// The tree.
    pub tree: PathBuf,
    /// Deltas from so many of the last releases.
    pub last: usize,
    /// Also deltas from these releases.
    pub from: Vec<String>,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Bytes that files in work may need at once.
    pub memory: u64,
}

/// What was planned.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Planned {
    /// Jobs of the plan.
    pub jobs: u64,
    /// Those whose result is there already.
    pub done: u64,
    /// Seconds that the rest will take on one core, about.
    pub seconds: u64,
    /// The most bytes of memory that one of them needs.
    pub memory: u64,
}

/// A file of a release, as a job needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct File {
    pub digest: Digest,
    pub size: u64,
    pub stored: u64,
}

impl File {
    fn of(content: &Content) -> File {
        File {
            digest: content.digest,
            size: content.size,
            stored: content.stored,
        }
    }
    pub fn content(&self) -> Content {
        Content {
            digest: self.digest,
            size: self.size,
            stored: self.stored,
            holes: Vec::new(),
        }
    }
}

/// The deltas from one file to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub old: File,
    pub new: File,
    /// Bytes of memory that it needs.
    pub memory: u64,
    /// Microseconds of one core that it takes, about.
    pub us: u64,
}

impl Job {
    pub fn of(old: &Content, new: &Content, memory: u64) -> Job {
        Job {
            old: File::of(old),
            new: File::of(new),
            memory,
            us: 0,
        }
    }
}

/// All jobs of a release.
#[derive(Serialize, Deserialize)]
pub(super) struct Plan {
    protocol: u32,
    /// The engine whose patches are wanted.
    format: String,
    pub jobs: Vec<Job>,
}

const LIMIT: u64 = 64 << 20;
/// Microseconds for a byte of both files, where nothing was measured.
const RATE: u64 = 1;

/// Where the plan of a release lies.
fn path(follow: &Follow, release: &str) -> String {
    let Follow {
        product,
        channel,
        arch,
    } = follow;
    format!("work/plans/{product}/{channel}/{arch}/{release}.json")
}

impl Plan {
    /// Reads the plan of a release.
    pub fn load(store: &dyn Store, follow: &Follow, release: &str) -> Result<Plan> {
        let path = path(follow, release);
        let bytes = store.get(&path, LIMIT)?;
        let bytes = bytes.ok_or_else(|| Error::NotFound(format!("a plan for {release} ({path})")))?;
        let plan: Plan = serde_json::from_slice(&bytes).map_err(|_| Error::DamagedRepository(path))?;
        if plan.protocol != PROTOCOL || plan.format != elfdelta::FORMAT_ID {
            return Err(Error::TooNew(format!(
                "the plan for {release}, of another elfup,"
            )));
        }
        Ok(plan)
    }

    /// Drops the plan of a release that is published.
    pub fn drop(store: &dyn Store, follow: &Follow, release: &str) -> Result<()> {
        store.remove(&path(follow, release))
    }

    /// Whole files that plans name; what is no plan names none.
    pub fn needed(store: &dyn Store) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for path in store.list("work/plans")? {
            let bytes = store.get(&path, LIMIT)?.unwrap_or_default();
            let plan = serde_json::from_slice::<Plan>(&bytes);
            let jobs = plan.iter().flat_map(|plan| &plan.jobs);
            all.extend(jobs.flat_map(|job| [job.old.digest, job.new.digest].map(|d| names::blob(&d))));
        }
        Ok(all)
    }
}

/// Stores the files of a release and the list of delta jobs that `publish` will want done.
pub fn plan(store: &dyn Store, o: &Planning, watch: &dyn Watch) -> Result<Planned> {
    names::check(&o.release)?;
    must_be_repository(store)?;
    let _lock = store.lock(watch)?;
    let channel = load_channel(store, &o.follow)?;
    let jobs = Jobs::new(o.threads, o.memory);
    let mut entries = scan(&o.tree, &ScanOptions::default(), &jobs, watch)?;
    store_blobs((store, &jobs, watch), &o.tree, &mut entries, &Proven::default())?;
    let new = Manifest {
        header: Header {
            protocol: PROTOCOL,
            follow: o.follow.clone(),
            release: o.release.clone(),
            sequence: 1,
            urgent: false,
            features: Vec::new(),
            config: Vec::new(),
            entries: 0,
            mtime: None,
        },
        entries,
    };
    let new = Manifest::parse(&new.to_bytes())?;
    let tools = Tools {
        store,
        jobs: &jobs,
        watch,
    };
    let mut all = BTreeMap::new();
    for index in chosen(&channel, o.last, &o.from)? {
        let old = Manifest::parse(&load_manifest(store, &channel.releases[index])?)?;
        for (from, to) in [(&old, &new), (&new, &old)] {
            let found = steps::jobs(tools, from, to)?;
            all.extend(found.into_iter().map(|job| ((job.old, job.new), job)));
        }
    }
    let mut plan = Plan {
        protocol: PROTOCOL,
        format: elfdelta::FORMAT_ID.to_string(),
        jobs: all.into_values().collect(),
    };
    let report = estimate(store, &mut plan.jobs, watch)?;
    let text = serde_json::to_vec(&plan).map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
    let path = path(&o.follow, &o.release);
    store.get(&path, LIMIT)?;
    store.replace(&path, &text)?;
    Ok(report)
}

/// Says what each job will take: what making the delta to its older file took, in which that file was the newer one;
/// else as much for each byte as the others.
fn estimate(store: &dyn Store, jobs: &mut [Job], watch: &dyn Watch) -> Result<Planned> {
    let known = deltas::by_target(store)?;
    let mut report = Planned::default();
    let (mut us, mut bytes) = (0, 0);
    for job in jobs.iter_mut() {
        watch.check()?;
        report.jobs += 1;
        job.us = match known.get(&job.old.digest) {
            Some(name) => deltas::cost(store, name)?,
            None => 0,
        };
        if job.us > 0 {
            us += job.us;
            bytes += job.old.size + job.new.size;
        }
    }
    for job in jobs {
        if job.us == 0 {
            let size = job.old.size + job.new.size;
            let by_rate = u128::from(size) * u128::from(us) / u128::from(bytes.max(1));
            job.us = u64::try_from(by_rate).unwrap_or(u64::MAX);
        }
        if job.us == 0 {
            job.us = RATE * (job.old.size + job.new.size);
        }
        if deltas::finished(store, &job.old.content(), &job.new.content())? {
            report.done += 1;
        } else {
            report.seconds += job.us;
            report.memory = report.memory.max(job.memory);
        }
    }
    report.seconds = report.seconds.div_ceil(1_000_000);
    Ok(report)
}
