//! A worker: makes its share of a release's jobs, and then what others have left. It knows no keys, keeps nothing, and may
//! be killed or run twice.

use super::crew::Crew;
use super::parts::{Maker, Tools};
use super::plan::Plan;
use crate::jobs::Jobs;
use crate::names::Follow;
use crate::store::Store;
use crate::{Result, Watch};
use serde::Serialize;

/// Which jobs a worker makes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Those of one of `count` workers that take about as long each.
    Shard {
        /// Number of the worker, from 0.
        index: usize,
        /// How many workers there are.
        count: usize,
    },
    /// The longest that nobody else is at.
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
    /// Bytes that jobs in work may need at once, 0 for three quarters of the machine's; one that needs more is done
    /// alone, in so much.
    pub memory: u64,
}

/// What a worker did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Worked {
    /// Jobs of the release, as far as it came.
    pub jobs: u64,
    /// Those that it made.
    pub made: u64,
    /// Those that somebody else had made.
    pub found: u64,
    /// What could not be made, and why.
    pub failed: Vec<String>,
    /// Each of the rounds that it took part in.
    pub rounds: Vec<Round>,
}

/// What a worker did until all jobs of a round were made.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Jobs that it made.
    pub made: u64,
    /// CPU time of its process, microseconds.
    pub cpu_micros: u64,
}

/// Makes a share of a release's jobs, stage by stage; what one stage makes decides what the next one tries, so all
/// workers end a stage together. A job that cannot be made does not keep the others of its stage from it.
pub fn work(store: &dyn Store, o: &Work, watch: &dyn Watch) -> Result<Worked> {
    let plan = Plan::load(store, &o.follow, &o.release)?;
    let jobs = Jobs::new(o.threads, o.memory);
    let ways = plan.ways(store, &o.follow, &o.release)?;
    let crew = Crew::new((store, &jobs, watch), o.share, plan.known());
    let tools = Tools {
        store,
        jobs: &jobs,
        crew: Some(&crew),
        watch,
    };
    let makers: Vec<Maker> = ways
        .iter()
        .map(|(from, to)| Maker::new(tools, from.as_deref(), to))
        .collect::<Result<_>>()?;
    loop {
        let mut all = true;
        for maker in &makers {
            all &= maker.parts()?.is_some();
        }
        if all || !crew.round()? {
            break;
        }
    }
    drop(makers);
    Ok(crew.report())
}
