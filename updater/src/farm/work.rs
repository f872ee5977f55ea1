//! A worker: makes its share of a plan's jobs. It knows no keys, keeps nothing, and may be killed or run twice.

use super::deltas;
use super::plan::{Job, Plan};
use crate::jobs::Jobs;
use crate::names::Follow;
use crate::store::Store;
use crate::{Digest, Error, Result, Watch};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Which jobs of a plan a worker makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Those of one of `count` workers that take about as long each.
    Shard {
        /// Number of the worker, from 0.
        index: usize,
        /// How many workers there are.
        count: usize,
    },
    /// Whatever nobody else is at, one after the other, until nothing is left.
    Steal,
}

/// What a worker does.
#[derive(Clone, Debug)]
pub struct Work {
    /// Product, channel, architecture.
    pub follow: Follow,
    /// Release id of the plan.
    pub release: String,
    /// Which of the jobs.
    pub share: Share,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Bytes that jobs in work may need at once; one that needs more is done alone.
    pub memory: u64,
}

/// What a worker did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Worked {
    /// Jobs of its share.
    pub jobs: u64,
    /// Those that it made.
    pub made: u64,
    /// Those that somebody had made before.
    pub found: u64,
    /// Those that another was at, when all others were done.
    pub left: u64,
    /// What could not be made, and why.
    pub failed: Vec<String>,
}

enum Outcome {
    Made,
    Found,
    Left,
    Failed(String),
}

/// Makes a share of a release's jobs. A job that cannot be made does not keep the others from it.
pub fn work(store: &dyn Store, o: &Work, watch: &dyn Watch) -> Result<Worked> {
    let plan = Plan::load(store, &o.follow, &o.release)?;
    let mut all: Vec<&Job> = plan.jobs.iter().collect();
    // The longest first, so that none of them begins when everybody else has ended.
    all.sort_by_key(|job| (Reverse(job.us), job.old, job.new));
    let mine = match o.share {
        Share::Shard { index, count } => share(&all, index, count),
        Share::Steal => all,
    };
    let jobs = Jobs::new(o.threads, o.memory);
    let mut report = Worked {
        jobs: mine.len() as u64,
        ..Worked::default()
    };
    // A second round for what another was at: it may have been killed.
    let rounds: &[bool] = match o.share {
        Share::Shard { .. } => &[false],
        Share::Steal => &[false, true],
    };
    let mut left = BTreeSet::from_iter(0..mine.len());
    for &patient in rounds {
        let items: Vec<usize> = left.iter().copied().collect();
        let one = |&i: &usize| {
            let outcome = match o.share {
                Share::Shard { .. } => make(store, mine[i], watch)?,
                Share::Steal => steal(store, mine[i], patient, watch)?,
            };
            Ok(((i, outcome), 0))
        };
        let take = |(i, outcome)| {
            if !matches!(outcome, Outcome::Left) {
                left.remove(&i);
            }
            match outcome {
                Outcome::Made => report.made += 1,
                Outcome::Found => report.found += 1,
                Outcome::Failed(why) => report.failed.push(why),
                Outcome::Left => {}
            }
            watch.progress("jobs", report.made + report.found, report.jobs);
            Ok(())
        };
        jobs.run(&items, |&i| mine[i].memory, one, take)?;
        store.flush()?;
    }
    report.left = left.len() as u64;
    Ok(report)
}

/// One worker's share: every job goes to whoever has the least to do so far.
fn share<'a>(all: &[&'a Job], index: usize, count: usize) -> Vec<&'a Job> {
    let mut loads: BTreeSet<(u64, usize)> = (0..count).map(|i| (0, i)).collect();
    let mut mine = Vec::new();
    for job in all {
        let Some((load, least)) = loads.pop_first() else {
            break;
        };
        if least == index {
            mine.push(*job);
        }
        loads.insert((load + job.us.max(1), least));
    }
    mine
}

fn make(store: &dyn Store, job: &Job, watch: &dyn Watch) -> Result<Outcome> {
    let (old, new) = (job.old.content(), job.new.content());
    if deltas::finished(store, &old, &new)? {
        return Ok(Outcome::Found);
    }
    match deltas::options(store, &old, &new, watch) {
        Ok(_) => Ok(Outcome::Made),
        Err(e) if e.passes() => Err(e),
        Err(e) => Ok(Outcome::Failed(format!("{} -> {}: {e}", old.digest, new.digest))),
    }
}

/// Makes a job that nobody else is at.
fn steal(store: &dyn Store, job: &Job, patient: bool, watch: &dyn Watch) -> Result<Outcome> {
    if deltas::finished(store, &job.old.content(), &job.new.content())? {
        return Ok(Outcome::Found);
    }
    let name = Digest::of(format!("{}-{}", job.old.digest, job.new.digest).as_bytes());
    match store.hold(&format!("work/claims/{name}"), patient, watch) {
        Ok(_held) => {
            let done = make(store, job, watch)?;
            // Before the claim is given back, so that who takes it next finds the result.
            store.flush()?;
            Ok(done)
        }
        Err(Error::Busy(_)) => Ok(Outcome::Left),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Content;

    #[test]
    fn shares_are_all_jobs_once_and_take_about_as_long() {
        let content = |n: u64| Content {
            digest: Digest::of(&n.to_le_bytes()),
            size: n,
            stored: n,
            holes: Vec::new(),
        };
        let mut jobs: Vec<Job> = (0..100)
            .map(|n| Job::of(&content(n), &content(n + 1), 0))
            .collect();
        jobs.iter_mut()
            .for_each(|job| job.us = job.old.size * job.old.size);
        let all: Vec<&Job> = jobs.iter().rev().collect();
        for count in [1, 2, 7, 200] {
            let shares: Vec<Vec<&Job>> = (0..count).map(|i| share(&all, i, count)).collect();
            let sizes: BTreeSet<u64> = shares.iter().flatten().map(|job| job.old.size).collect();
            assert_eq!(
                (shares.iter().map(Vec::len).sum::<usize>(), sizes.len()),
                (100, 100)
            );
            let loads: Vec<u64> = shares.iter().map(|s| s.iter().map(|job| job.us).sum()).collect();
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            assert!(count > 99 || most - least <= 99 * 99, "{loads:?}");
        }
    }
}
