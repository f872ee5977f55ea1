//! Who makes which of a release's jobs: workers that share a store, each with the same list, and a claim for each job.

use super::job::{self, DONE, Job, Made};
use super::work::{Round, Share, Worked};
use crate::jobs::Jobs;
use crate::store::Store;
use crate::{Digest, Error, Result, Watch};
use rustix::time::ClockId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// Time between two looks at what others are at.
const LOOK: Duration = Duration::from_millis(500);
/// Looks at what others are at for each at whether they live.
const PATIENCE: u32 = 10;
/// Times in a look at which is asked whether to stop.
const ASKED: u32 = 5;

/// A worker's view of the work: what it knows to be done, and the jobs of the round that is due.
pub struct Crew<'a> {
    store: &'a dyn Store,
    share: Share,
    jobs: &'a Jobs,
    /// Microseconds that jobs take, by name, where somebody knows; of others their bytes.
    known: HashMap<String, u64>,
    watch: &'a dyn Watch,
    board: Mutex<Board>,
}

/// What a worker knows.
#[derive(Default)]
struct Board {
    /// What finished jobs made, by name.
    made: HashMap<String, Vec<Made>>,
    /// Jobs that are wanted next, by name.
    round: BTreeMap<String, Job>,
    report: Worked,
}

/// Which claims are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claims {
    /// Those that nobody has.
    Free,
    /// Also those of who does not live any more, which may take time to find out.
    Lapsed,
    None,
}

enum Outcome {
    Made(Vec<Made>),
    Found(Vec<Made>),
    /// Another is at it.
    Left,
    Failed(String),
}

impl<'a> Crew<'a> {
    /// A worker that knows nothing yet.
    pub fn new(
        (store, jobs, watch): (&'a dyn Store, &'a Jobs, &'a dyn Watch),
        share: Share,
        known: HashMap<String, u64>,
    ) -> Crew<'a> {
        Crew {
            store,
            share,
            jobs,
            known,
            watch,
            board: Mutex::default(),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What jobs made, if all of them are done; else they are wanted in the next round.
    pub fn results(&self, jobs: Vec<Job>) -> Option<Vec<Vec<Made>>> {
        let mut board = self.board();
        let all: Option<Vec<Vec<Made>>> = jobs
            .iter()
            .map(|job| board.made.get(&job.name()).cloned())
            .collect();
        if all.is_none() {
            board.round.extend(jobs.into_iter().map(|job| (job.name(), job)));
        }
        all
    }

    /// What this worker did.
    pub fn report(self) -> Worked {
        self.board
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .report
    }

    /// Makes the jobs that are wanted, together with the others, until all of them are done. Says whether there
    /// is any use in going on: not if some failed.
    pub fn round(&self) -> Result<bool> {
        let round = std::mem::take(&mut self.board().round);
        let mut all: Vec<(&String, &Job)> = round.iter().collect();
        // The longest first, so that none of them begins when everybody else has ended.
        all.sort_by_key(|(name, job)| (Reverse(self.takes(name, job)), *name));
        let times: Vec<u64> = all.iter().map(|(name, job)| self.takes(name, job)).collect();
        let done: HashSet<String> = self.store.list(DONE)?.into_iter().collect();
        let mut left = self.share.order(&times);
        self.board().report.jobs += left.len() as u64;
        tracing::info!(jobs = left.len(), done = done.len(), "a round begins");
        for turn in 0_u32.. {
            let mut still = Vec::new();
            let one = |&i: &usize| {
                let (name, job) = all[i];
                let claims = match turn {
                    0 => Claims::Free,
                    turn if turn.is_multiple_of(PATIENCE) => Claims::Lapsed,
                    _ => Claims::None,
                };
                let look = turn > 0 || done.contains(&Job::note(name));
                Ok(((i, self.one(name, job, look, claims)?), 0))
            };
            let take = |(i, outcome): (usize, Outcome)| {
                self.note(all[i].0, outcome, || still.push(i));
                Ok(())
            };
            self.jobs.run(&left, |&i| all[i].1.need, one, take)?;
            self.store.flush()?;
            let waits = still.len() == left.len();
            left = still;
            if left.is_empty() {
                break;
            }
            if waits {
                self.pause()?;
            }
        }
        let mut board = self.board();
        let report = &mut board.report;
        let before = |of: fn(&Round) -> u64| report.rounds.iter().map(of).sum::<u64>();
        let round = Round {
            made: report.made - before(|r| r.made),
            cpu_micros: job::cpu_micros(ClockId::ProcessCPUTime).saturating_sub(before(|r| r.cpu_micros)),
        };
        report.rounds.push(round);
        Ok(report.failed.is_empty())
    }

    fn pause(&self) -> Result<()> {
        for _ in 0..ASKED {
            self.watch.check()?;
            sleep(LOOK / ASKED);
        }
        Ok(())
    }

    /// Microseconds that a job takes, about.
    fn takes(&self, name: &str, job: &Job) -> u64 {
        self.known
            .get(name)
            .copied()
            .unwrap_or_else(|| job.bytes())
            .max(1)
    }

    /// Finds a job done, or does it if nobody is at it.
    fn one(&self, name: &str, job: &Job, look: bool, claims: Claims) -> Result<Outcome> {
        self.watch.check()?;
        if look && let Some(made) = job.noted(self.store)? {
            return Ok(Outcome::Found(made));
        }
        if claims == Claims::None {
            return Ok(Outcome::Left);
        }
        tracing::trace!(name, "is claimed");
        let claim = format!("work/claims/{}", Digest::of(name.as_bytes()));
        let patient = claims == Claims::Lapsed;
        let _held = match self.store.hold(&claim, patient, self.watch) {
            Ok(held) => held,
            Err(Error::Busy(_)) => return Ok(Outcome::Left),
            Err(e) => return Err(e),
        };
        if let Some(made) = job.noted(self.store)? {
            return Ok(Outcome::Found(made));
        }
        match job.work(self.store, self.watch) {
            Ok(made) => {
                // Before the claim is given back, so that who takes it next finds the result.
                self.store.flush()?;
                Ok(Outcome::Made(made))
            }
            Err(e) if e.passes() => Err(e),
            Err(e) => Ok(Outcome::Failed(format!("{name}: {e}"))),
        }
    }

    fn note(&self, name: &str, outcome: Outcome, left: impl FnOnce()) {
        let mut board = self.board();
        match outcome {
            Outcome::Left => left(),
            Outcome::Failed(why) => {
                tracing::info!("a job failed: {why}");
                board.report.failed.push(why);
            }
            Outcome::Made(made) => {
                board.report.made += 1;
                board.made.insert(name.to_owned(), made);
            }
            Outcome::Found(made) => {
                board.report.found += 1;
                board.made.insert(name.to_owned(), made);
            }
        }
        let Worked {
            jobs, made, found, ..
        } = board.report;
        self.watch.progress("jobs", made + found, jobs);
    }
}

impl Share {
    /// The order in which a worker goes through jobs that take so long, the longest first: its own, then those of
    /// the others from the end, which they come to last.
    fn order(self, times: &[u64]) -> Vec<usize> {
        let Share::Shard { index, count } = self else {
            return (0..times.len()).collect();
        };
        let owners = owners(times, count);
        let (mut order, others): (Vec<usize>, Vec<usize>) =
            (0..times.len()).partition(|&job| owners[job] == index);
        order.extend(others.into_iter().rev());
        order
    }
}

/// Whose each job is: it goes to whoever has the least to do so far.
fn owners(times: &[u64], count: usize) -> Vec<usize> {
    let mut loads: BTreeSet<(u64, usize)> = (0..count).map(|i| (0, i)).collect();
    let give = |time: &u64| {
        let (load, least) = loads.pop_first().unwrap_or_default();
        loads.insert((load + time, least));
        least
    };
    times.iter().map(give).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_jobs_once_and_take_about_as_long() {
        let times: Vec<u64> = (0..100).rev().map(|n| n * n + 1).collect();
        for count in [1, 2, 7, 200] {
            let mut loads = vec![0; count];
            for (owner, time) in owners(&times, count).into_iter().zip(&times) {
                loads[owner] += time;
            }
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            assert!(count > 99 || most - least <= 99 * 99 + 1, "{loads:?}");
        }
    }

    #[test]
    fn everybody_goes_through_all_jobs_its_own_first() {
        let times = [9, 7, 5, 3, 1];
        let order = |index| Share::Shard { index, count: 2 }.order(&times);
        assert_eq!(order(0), [0, 3, 4, 2, 1]);
        assert_eq!(order(1), [1, 2, 4, 3, 0]);
        assert_eq!(Share::Steal.order(&times), [0, 1, 2, 3, 4]);
    }
}
