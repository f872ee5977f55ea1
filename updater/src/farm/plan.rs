//! What of a release workers on other machines can make, written to the store.

use super::job::{self, Job};
use super::keep::Keep;
use super::parts::{Maker, Tools};
use super::proof::Proven;
use super::publish::{load_channel, manifest_at, manifest_in, must_be_repository, store_blobs};
use crate::jobs::Jobs;
use crate::manifest::{Header, Manifest, ScanOptions, scan};
use crate::names::{self, Follow};
use crate::store::Store;
use crate::{Digest, Error, PROTOCOL, Result, Watch, compress};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// What to plan: what `publish` will be asked for, as far as it decides which deltas are made.
#[derive(Clone, Debug)]
pub struct Planning {
    /// Product, channel, architecture.
    pub follow: Follow,
    /// Release id.
    pub release: String,
    /// The tree.
    pub tree: PathBuf,
    /// From which earlier releases steps will lead to it.
    pub keep: Keep,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Bytes that files in work may need at once, 0 for three quarters of the machine's.
    pub memory: u64,
}

/// What was planned.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Planned {
    /// Delta jobs; groups and bundles hang on what they make.
    pub jobs: u64,
    /// Those whose result is there already.
    pub done: u64,
    /// Seconds that the rest will take on one core, about.
    pub seconds: u64,
    /// The most bytes of memory that one of them needs.
    pub memory: u64,
}

/// A manifest in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Named {
    digest: Digest,
    /// Plain bytes.
    size: u64,
}

impl Named {
    fn load(&self, store: &dyn Store) -> Result<Manifest> {
        Manifest::parse(&manifest_at(store, &self.digest, self.size)?)
    }

    /// Where the manifest of the release lies beside its plan: it is not yet one that metadata may name.
    fn beside(&self, plan: &str) -> String {
        let stem = plan.strip_suffix(".json").unwrap_or(plan);
        format!("{stem}-{}.manifest", self.digest)
    }
}

/// A manifest from which a step leads, and whether one leads back.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Base {
    base: Named,
    both: bool,
}

/// What one of the first jobs takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Estimate {
    name: String,
    /// Microseconds of one core, about.
    micros: u64,
}

/// What workers are to make the parts of: steps to a release, from nothing and from others, and those back to them.
#[derive(Serialize, Deserialize)]
pub(super) struct Plan {
    protocol: u32,
    /// The engine whose patches are wanted.
    format: String,
    to: Named,
    from: Vec<Base>,
    jobs: Vec<Estimate>,
}

/// The two sides of a step.
pub(super) type Way = (Option<Arc<Manifest>>, Arc<Manifest>);

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
        let path = path(follow, release);
        if let Some(plan) = Plan::read(store, &path)? {
            store.remove(&plan.to.beside(&path))?;
        }
        store.remove(&path)
    }

    /// What lies at a path, if that is a plan.
    fn read(store: &dyn Store, path: &str) -> Result<Option<Plan>> {
        let bytes = store.get(path, LIMIT)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn target(&self, store: &dyn Store, path: &str) -> Result<Manifest> {
        let Named { digest, size } = self.to;
        Manifest::parse(&manifest_in(store, &self.to.beside(path), &digest, size)?)
    }

    /// The steps whose parts are wanted.
    pub fn ways(&self, store: &dyn Store, follow: &Follow, release: &str) -> Result<Vec<Way>> {
        let to = Arc::new(self.target(store, &path(follow, release))?);
        let mut ways = vec![(None, Arc::clone(&to))];
        for Base { base, both } in &self.from {
            let from = Arc::new(base.load(store)?);
            ways.push((Some(Arc::clone(&from)), Arc::clone(&to)));
            if *both {
                ways.push((Some(Arc::clone(&to)), from));
            }
        }
        Ok(ways)
    }

    /// Microseconds that jobs take, by name.
    pub fn known(self) -> HashMap<String, u64> {
        self.jobs.into_iter().map(|job| (job.name, job.micros)).collect()
    }

    /// What plans name; what is no plan names nothing. Nothing: there is none.
    pub fn needed(store: &dyn Store) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for path in store.list("work/plans")? {
            let Some(plan) = Plan::read(store, &path)? else {
                continue;
            };
            let bases = plan.from.iter().map(|Base { base, .. }| (base, base.load(store)));
            for (named, manifest) in bases.chain([(&plan.to, plan.target(store, &path))]) {
                all.insert(names::manifest(&named.digest));
                let files = manifest.iter().flat_map(Manifest::files);
                all.extend(files.map(|(_, c)| names::blob(&c.digest)));
            }
        }
        Ok(all)
    }
}

/// Stores the files of a release, and the plan of it with what its delta jobs will take.
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
    let bytes = new.to_bytes();
    let to = Named {
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
    };
    let path = path(&o.follow, &o.release);
    Plan::drop(store, &o.follow, &o.release)?;
    let packed = compress::pack(&bytes, &[], compress::LEVEL, watch)?;
    store.put(&to.beside(&path), &packed)?;
    let mut plan = Plan {
        protocol: PROTOCOL,
        format: elfdelta::FORMAT_ID.to_string(),
        to,
        from: Vec::new(),
        jobs: Vec::new(),
    };
    let sequence = channel.head().map_or(0, |head| head.sequence) + 1;
    for (index, both) in o.keep.bases(&channel, sequence)? {
        let release = &channel.releases[index];
        let base = Named {
            digest: release.manifest,
            size: release.manifest_size,
        };
        plan.from.push(Base { base, both });
    }
    let tools = Tools {
        store,
        jobs: &jobs,
        crew: None,
        watch,
    };
    let mut all = BTreeMap::new();
    for (from, to) in plan.ways(store, &o.follow, &o.release)? {
        let deltas = Maker::new(tools, from.as_deref(), &to)?.deltas();
        all.extend(deltas.into_iter().map(|job| (job.name(), job)));
    }
    let report = estimate(store, &all, &mut plan.jobs, watch)?;
    let text = serde_json::to_vec(&plan).map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
    store.get(&path, LIMIT)?;
    store.replace(&path, &text)?;
    Ok(report)
}

/// Says what each job will take: what making the delta to its older file took, in which that file was the newer one;
/// else as much for each byte as the others.
fn estimate(
    store: &dyn Store,
    jobs: &BTreeMap<String, Job>,
    estimates: &mut Vec<Estimate>,
    watch: &dyn Watch,
) -> Result<Planned> {
    let known = job::by_target(store)?;
    let done: BTreeSet<String> = store.list(job::DONE)?.into_iter().collect();
    let mut report = Planned::default();
    let (mut micros, mut bytes) = (0, 0);
    for (name, job) in jobs {
        watch.check()?;
        let note = job.olds.first().and_then(|old| known.get(&old.digest));
        let took = note.map_or(Ok(0), |note| job::cost(store, note))?;
        if took > 0 {
            micros += took;
            bytes += job.bytes();
        }
        estimates.push(Estimate {
            name: name.clone(),
            micros: took,
        });
    }
    let rate = match micros {
        0 => (RATE, 1),
        _ => (micros, bytes),
    };
    for ((name, job), estimate) in jobs.iter().zip(estimates) {
        watch.check()?;
        report.jobs += 1;
        if estimate.micros == 0 {
            let by_rate = u128::from(job.bytes()) * u128::from(rate.0) / u128::from(rate.1);
            estimate.micros = u64::try_from(by_rate).unwrap_or(u64::MAX);
        }
        if done.contains(&Job::note(name)) && job.noted(store)?.is_some() {
            report.done += 1;
        } else {
            report.seconds += estimate.micros;
            report.memory = report.memory.max(job.need);
        }
    }
    report.seconds = report.seconds.div_ceil(1_000_000);
    Ok(report)
}
