//! Run: check on a jittered schedule and after a resume from sleep, fetch and apply by policy.

use super::Site;
use super::update::UpdateOptions;
use crate::{Error, Result, Watch};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::Duration;

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

/// What a daemon does by itself.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Time between checks.
    pub every: Duration,
    /// Up to so much is added at random, so that a fleet does not come at once.
    pub jitter: Duration,
    /// What is fetched.
    pub fetch: When,
    /// What is applied.
    pub apply: When,
}

/// What a round found, for whoever is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The newest release runs.
    UpToDate,
    /// A release is there and was not fetched.
    Available(String),
    /// A release is fetched and waits for `activate`.
    Ready(String),
    /// A release was applied.
    Applied(String),
}

/// How often the daemon looks whether it should stop, or the machine has slept.
const TICK: Duration = Duration::from_millis(500);
/// Sleep shorter than this is not worth a check.
const SLEPT: Duration = Duration::from_secs(10);

/// One round: check, then fetch and apply as far as the policy goes. The lock is held only meanwhile.
pub fn round(dir: &Path, policy: &Policy, watch: &dyn Watch) -> Result<Event> {
    let site = Site::open(dir)?;
    site.settle(watch)?;
    let checked = site.check(watch)?;
    if !checked.available {
        return Ok(Event::UpToDate);
    }
    let apply = policy.apply.covers(checked.urgent);
    if !apply && !policy.fetch.covers(checked.urgent) {
        return Ok(Event::Available(checked.head));
    }
    if site.ready()?.is_none_or(|m| m.header.release != checked.head) {
        let options = UpdateOptions {
            fetch_only: true,
            ..UpdateOptions::default()
        };
        site.update(&options, watch)?;
    }
    if !apply {
        return Ok(Event::Ready(checked.head));
    }
    site.activate(watch).map(Event::Applied)
}

/// Runs until `watch` says stop. Failures are noted and tried again at the next turn.
pub fn run(dir: &Path, policy: &Policy, watch: &dyn Watch, tell: &mut dyn FnMut(&Event)) -> Result<()> {
    let mut last: Option<Event> = None;
    loop {
        match round(dir, policy, watch) {
            Ok(event) => {
                if last.as_ref() != Some(&event) {
                    tell(&event);
                }
                last = Some(event);
            }
            Err(Error::Cancelled) => return Ok(()),
            Err(e @ (Error::Usage(_) | Error::NotFound(_))) => return Err(e),
            Err(e) => watch.note(&e.to_string()),
        }
        if !wait(policy.every + random_up_to(policy.jitter)?, policy.jitter, watch)? {
            return Ok(());
        }
    }
}

/// Waits; ends early after a resume from sleep. `false`: asked to stop.
fn wait(mut left: Duration, jitter: Duration, watch: &dyn Watch) -> Result<bool> {
    let mut slept = asleep();
    while !left.is_zero() {
        if watch.cancelled() {
            return Ok(false);
        }
        std::thread::sleep(TICK.min(left));
        left = left.saturating_sub(TICK);
        let now = asleep();
        if now.saturating_sub(slept) > SLEPT {
            // A school's laptops are opened together: a little spread here too.
            left = left.min(random_up_to(jitter.min(Duration::from_secs(60)))?);
        }
        slept = now;
    }
    Ok(true)
}

/// How long the machine has slept since it booted: the clock that counts sleep less the one that does not.
fn asleep() -> Duration {
    let read = |id| {
        let t = clock_gettime(id);
        Duration::new(
            t.tv_sec.try_into().unwrap_or(0),
            t.tv_nsec.try_into().unwrap_or(0),
        )
    };
    read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic))
}

fn random_up_to(most: Duration) -> Result<Duration> {
    let mut bytes = [0u8; 8];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    got.map_err(|e| Error::io("get randomness", e))?;
    let share = (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64;
    Ok(most.mul_f64(share))
}
