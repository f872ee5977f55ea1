//! Run: check on a jittered schedule, after a resume from sleep and when asked; fetch and apply by policy.
//!
//! A fetch may take days. So that an urgent release of few paths does not wait behind a large one that is half fetched, it
//! is left now and then to look for one; what has come of it stays, and the next round goes on at the byte.

use super::update::UpdateOptions;
use super::{Site, configured};
use crate::{Error, Result, Watch, random};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Which releases something is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// None.
    Never,
    /// Those marked as urgent.
    Urgent,
    /// All.
    Always,
}

impl When {
    fn covers(self, urgent: bool) -> bool {
        self == When::Always || self == When::Urgent && urgent
    }
}

/// Whether a link is paid for by what it carries.
pub trait Link: Sync {
    /// Whether it is now. Asked often.
    fn metered(&self) -> bool;
}

/// A link of which nobody knows that it is.
pub struct Unmetered;

impl Link for Unmetered {
    fn metered(&self) -> bool {
        false
    }
}

/// What a daemon does by itself.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// Sources that are asked before those configured.
    pub first: &'a [String],
    /// Time between checks.
    pub every: Duration,
    /// Up to so much is added at random, so that a fleet does not come at once.
    pub jitter: Duration,
    /// What is fetched.
    pub fetch: When,
    /// What is applied.
    pub apply: When,
    /// After this time a fetch is left to look for an urgent release.
    pub look: Duration,
    /// The link, and what is fetched while it is metered.
    pub metered: (&'a dyn Link, When),
}

impl Policy<'_> {
    /// Whether a release is fetched now.
    fn fetches(&self, urgent: bool) -> bool {
        let (link, metered) = self.metered;
        (self.fetch.covers(urgent) || self.apply.covers(urgent))
            && (metered.covers(urgent) || !link.metered())
    }
}

/// Ends a fetch where something else may be wanted.
struct Leaving<'a> {
    watch: &'a dyn Watch,
    policy: &'a Policy<'a>,
    urgent: bool,
    look: Instant,
    /// When the link was last asked, and what it said.
    link: Mutex<(Instant, bool)>,
}

impl Leaving<'_> {
    fn is_time(&self) -> bool {
        let now = Instant::now();
        if !self.urgent && now >= self.look {
            return true;
        }
        let Ok(mut link) = self.link.lock() else {
            return true;
        };
        if now.duration_since(link.0) > LINK {
            *link = (now, !self.policy.fetches(self.urgent));
        }
        link.1
    }
}

impl Watch for Leaving<'_> {
    fn note(&self, line: &str) {
        self.watch.note(line);
    }
    fn detail(&self, line: &str) {
        self.watch.detail(line);
    }
    fn progress(&self, stage: &str, done: u64, total: u64) {
        self.watch.progress(stage, done, total);
    }
    fn cancelled(&self) -> bool {
        self.watch.cancelled() || self.is_time()
    }
}

/// What a round found, for whoever is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The newest release runs.
    UpToDate,
    /// A release is there and was not fetched.
    Available {
        /// Its id.
        release: String,
        /// Whether it is marked as urgent.
        urgent: bool,
    },
    /// A release is fetched and waits for `activate`.
    Ready {
        /// Its id.
        release: String,
        /// Whether it is marked as urgent.
        urgent: bool,
    },
    /// A release is half fetched; the next round looks for others, and goes on.
    Fetching {
        /// Its id.
        release: String,
        /// Whether it is marked as urgent.
        urgent: bool,
    },
    /// A release was applied.
    Applied(String),
    /// The round failed; it is tried again sooner than the schedule says.
    Failed(String),
}

/// What somebody asks of a running daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A round now, by policy.
    Check,
    /// A round now that applies whatever is newer.
    Apply,
}

/// How often the daemon looks whether it should stop, or the machine has slept.
const TICK: Duration = Duration::from_millis(500);
/// How often a link is asked whether it is metered.
const LINK: Duration = Duration::from_secs(5);
/// A jump of the clock shorter than this is not worth a check.
const JUMP: i64 = 10;
/// Wait after a first failure; it doubles with every further one, up to the schedule's.
const RETRY: Duration = Duration::from_secs(60);

/// One round: check, then fetch and apply as far as the policy goes. The lock is held only meanwhile.
pub fn round(dir: &Path, policy: &Policy<'_>, watch: &dyn Watch) -> Result<Event> {
    let site = Site::open_from(dir, policy.first)?;
    let result = by_policy(&site, policy, watch);
    if !matches!(result, Err(Error::Cancelled)) {
        site.report_back(watch);
    }
    result
}

fn by_policy(site: &Site, policy: &Policy<'_>, watch: &dyn Watch) -> Result<Event> {
    site.settle(watch)?;
    let checked = site.check(watch)?;
    if !checked.available {
        return Ok(Event::UpToDate);
    }
    let (release, urgent) = (checked.head, checked.urgent);
    if site.ready()?.is_none_or(|m| m.header.release != release) {
        if !policy.fetches(urgent) {
            return Ok(Event::Available { release, urgent });
        }
        let now = Instant::now();
        let leaving = Leaving {
            watch,
            policy,
            urgent,
            look: now + policy.look,
            link: Mutex::new((now, false)),
        };
        let options = UpdateOptions {
            fetch_only: true,
            ..UpdateOptions::default()
        };
        match site.update(&options, &leaving) {
            Err(Error::Cancelled) if !watch.cancelled() => return Ok(Event::Fetching { release, urgent }),
            other => other?,
        };
    }
    if !policy.apply.covers(urgent) {
        return Ok(Event::Ready { release, urgent });
    }
    site.activate(watch).map(|runs| Event::Applied(runs.release))
}

/// Runs until `watch` says stop; `tell` hears of every round. Failures are noted and tried again.
pub fn run(
    dir: &Path,
    policy: &Policy<'_>,
    watch: &dyn Watch,
    asks: &Receiver<Ask>,
    tell: &mut dyn FnMut(&Event),
) -> Result<()> {
    // Without a site there is nothing to try again.
    configured::exists(dir)?;
    let (mut ask, mut failures) = (Ask::Check, 0u32);
    loop {
        let now = Policy {
            apply: if ask == Ask::Apply {
                When::Always
            } else {
                policy.apply
            },
            ..*policy
        };
        let pause = match round(dir, &now, watch) {
            Ok(event @ Event::Fetching { .. }) => {
                tell(&event);
                continue;
            }
            Ok(event) => {
                failures = 0;
                tell(&event);
                policy.every
            }
            Err(Error::Cancelled) => return Ok(()),
            Err(e) => {
                watch.note(&format!("{e}; {}", e.advice()));
                tell(&Event::Failed(e.to_string()));
                failures = failures.saturating_add(1);
                policy
                    .every
                    .min(RETRY * 2u32.saturating_pow(failures - 1).min(1 << 10))
            }
        };
        let pause = pause + random_up_to(policy.jitter.min(pause))?;
        match wait(pause, policy.jitter, watch, asks, &mut wall_clock)? {
            Some(asked) => ask = asked,
            None => return Ok(()),
        }
    }
}

/// Waits; ends early when asked, and soon after the clock has jumped. `None`: asked to stop.
fn wait(
    mut left: Duration,
    jitter: Duration,
    watch: &dyn Watch,
    asks: &Receiver<Ask>,
    clock: &mut dyn FnMut() -> i64,
) -> Result<Option<Ask>> {
    let mut before = clock();
    while !left.is_zero() {
        if watch.cancelled() {
            return Ok(None);
        }
        let tick = TICK.min(left);
        match asks.recv_timeout(tick) {
            Ok(ask) => return Ok(Some(ask)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(tick),
        }
        left -= tick;
        let now = clock();
        if now.abs_diff(before) > JUMP.unsigned_abs() {
            // A school's laptops are opened together: a little spread here too.
            left = left.min(random_up_to(jitter.min(Duration::from_secs(60)))?);
        }
        before = now;
    }
    Ok(Some(Ask::Check))
}

/// Seconds by which the wall clock is ahead of the clock that stops while the machine sleeps.
///
/// It changes in a sleep, and when a dead clock is set right: both may have made signed metadata stale.
fn wall_clock() -> i64 {
    let read = |id| clock_gettime(id).tv_sec;
    read(ClockId::Realtime).saturating_sub(read(ClockId::Monotonic))
}

fn random_up_to(most: Duration) -> Result<Duration> {
    let share = (u64::from_le_bytes(random::bytes()?) >> 11) as f64 / (1u64 << 53) as f64;
    Ok(most.mul_f64(share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    /// Stops after so many looks.
    struct Stop(AtomicU32);
    impl Watch for Stop {
        fn cancelled(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) == 0
        }
    }

    /// Waits five hours with the clock's offsets in turn; the last one stays.
    fn waits(asks: &Receiver<Ask>, offsets: &[i64]) -> Option<Ask> {
        let mut next = offsets.iter().copied();
        let mut last = 0;
        let mut clock = || {
            last = next.next().unwrap_or(last);
            last
        };
        let hours = Duration::from_secs(5 * 3600);
        wait(hours, Duration::ZERO, &Stop(4.into()), asks, &mut clock).unwrap()
    }

    #[test]
    fn a_jump_of_the_clock_ends_the_wait() {
        let (_keep, asks) = mpsc::channel();
        for jump in [11, 100_000, -11, -1_700_000_000, i64::MIN] {
            assert_eq!(waits(&asks, &[0, 0, jump]), Some(Ask::Check), "{jump}");
        }
        // Small steps are a clock being kept right.
        assert_eq!(waits(&asks, &[0, 9, 0, -9, 0]), None);
    }

    #[test]
    fn an_ask_ends_the_wait() {
        let (ask, asks) = mpsc::channel();
        ask.send(Ask::Apply).unwrap();
        assert_eq!(waits(&asks, &[]), Some(Ask::Apply));
        drop(ask);
        assert_eq!(
            waits(&asks, &[]),
            None,
            "nobody can ask any more, the schedule goes on"
        );
    }

    #[test]
    fn spread_stays_within_its_bounds() {
        let most = Duration::from_secs(100);
        let all: Vec<_> = (0..200).map(|_| random_up_to(most).unwrap()).collect();
        assert!(all.iter().all(|d| *d <= most));
        assert!(all.iter().any(|d| *d < most / 4) && all.iter().any(|d| *d > most * 3 / 4));
    }
}
