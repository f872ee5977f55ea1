//! Health: a new release runs on trial until a command has said that it works.

use super::Site;
use super::config::Health;
use super::local::Carried;
use crate::disk;
use crate::{Digest, Error, Result, Watch};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Names both sides while a release is on trial.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Trial {
    pub new: Digest,
    pub old: Digest,
}

/// How an interrupted trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// There was none.
    Nothing,
    /// This release stays.
    Passed(String),
    /// The old release runs again, for this reason.
    Failed(String),
}

impl Site {
    /// Switches to a deployment; with a health check, goes back if the check fails.
    pub(super) fn activate_checked(&self, to: &Digest, watch: &dyn Watch) -> Result<Carried> {
        let carried = self.bring(to, watch)?;
        let old = self.current()?;
        let health = self.config.health.clone();
        match (health, old) {
            (Some(health), Some(old)) if old != *to => {
                self.write_state("trial", &Trial { new: *to, old })?;
                self.switch(to)?;
                self.judge(&health, *to, old, watch)?;
            }
            _ => self.switch(to)?,
        }
        Ok(carried)
    }

    /// Ends a trial that a stop, a kill or a power cut interrupted: the check is made now.
    pub fn settle(&self, watch: &dyn Watch) -> Result<Settled> {
        let Some(trial) = self.trial()? else {
            disk::remove(&self.path("state/trial"))?;
            return Ok(Settled::Nothing);
        };
        let Some(health) = self.config.health.clone() else {
            disk::remove(&self.path("state/trial"))?;
            return Ok(Settled::Nothing);
        };
        watch.note("the last activation was interrupted during its health check: checking again");
        let result = self.judge(&health, trial.new, trial.old, watch);
        if matches!(result, Ok(()) | Err(Error::Unhealthy(_)))
            && self.ready()?.is_some_and(|r| r.digest() == trial.new)
        {
            disk::remove(&self.path("state/ready"))?;
        }
        match result {
            Ok(()) => Ok(Settled::Passed(self.header_of(&trial.new)?.release)),
            Err(Error::Unhealthy(why)) => {
                watch.note(&format!("health check failed ({why}); rolled back"));
                Ok(Settled::Failed(why))
            }
            Err(e) => Err(e),
        }
    }

    /// The trial under way, if what it is about runs.
    pub(super) fn trial(&self) -> Result<Option<Trial>> {
        let current = self.current()?;
        let trial = self.read_state::<Trial>("trial")?;
        Ok(trial.filter(|t| current == Some(t.new)))
    }

    /// The release that runs on trial and the one that comes back if it fails.
    pub fn on_trial(&self) -> Result<Option<(String, String)>> {
        let Some(trial) = self.trial()? else {
            return Ok(None);
        };
        let release = |digest| Ok(self.header_of(digest)?.release);
        release(&trial.new).and_then(|new| Ok(Some((new, release(&trial.old)?))))
    }

    /// Lets the command decide. Only its own answer, or its silence, is held against the release.
    fn judge(&self, health: &Health, new: Digest, old: Digest, watch: &dyn Watch) -> Result<()> {
        let failed = match ask(health, &self.tree(&new), watch) {
            Verdict::Healthy => None,
            // The note of the trial stays: the next command goes on with it.
            Verdict::Interrupted => return Err(Error::Cancelled),
            Verdict::None(why) => Some(Error::NoVerdict(why)),
            Verdict::Failed(why) | Verdict::Killed(why) => Some(Error::Unhealthy(why)),
        };
        if let Some(failed) = failed {
            match self.bring(&old, watch) {
                Ok(_) => {}
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                // Going back comes first: the old tree has its configuration as it was left.
                Err(e) => watch.note(&format!(
                    "configuration changed since the switch stays there: {e}"
                )),
            }
            self.switch(&old)?;
            if matches!(failed, Error::Unhealthy(_)) {
                let mut bad: Vec<Digest> = self.read_state("bad.json")?.unwrap_or_default();
                if !bad.contains(&new) {
                    bad.push(new);
                }
                self.write_state("bad.json", &bad)?;
            }
            disk::remove(&self.path("state/trial"))?;
            return Err(failed);
        }
        disk::remove(&self.path("state/trial"))?;
        disk::sync_dir(&self.path("state"))
    }

    /// Whether a release has failed its health check here before.
    pub(super) fn is_bad(&self, digest: &Digest) -> Result<bool> {
        Ok(self
            .read_state::<Vec<Digest>>("bad.json")?
            .unwrap_or_default()
            .contains(digest))
    }
}

/// What a health command said.
enum Verdict {
    /// It ended well.
    Healthy,
    /// It ended badly, or not within its time.
    Failed(String),
    /// It could not be started, or somebody else ended it: nothing is known of the release.
    None(String),
    /// It was killed, as the kernel does where memory is short.
    Killed(String),
    /// A stop was asked for meanwhile.
    Interrupted,
}

/// Time in which a stop may follow that has reached the command first: both are told to end together.
const GRACE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(20);

/// Lets the command answer. One that the kernel killed, as it does where memory is short, is asked once more: the
/// first time somebody else may have used the memory up, the second time it is the release's.
fn ask(health: &Health, tree: &Path, watch: &dyn Watch) -> Verdict {
    match ask_once(health, tree, watch) {
        Verdict::Killed(why) => watch.note(&format!("health check: {why}; asking once more")),
        verdict => return verdict,
    }
    match ask_once(health, tree, watch) {
        Verdict::Killed(why) => Verdict::Failed(format!("{why}, twice")),
        verdict => verdict,
    }
}

/// Runs the command in a process group of its own, so that nothing of it outlives the check.
fn ask_once(health: &Health, tree: &Path, watch: &dyn Watch) -> Verdict {
    let Some((program, arguments)) = health.command.split_first() else {
        return Verdict::Healthy;
    };
    if watch.cancelled() {
        return Verdict::Interrupted;
    }
    let mut command = Command::new(program);
    command.args(arguments).env("ELFUP_TREE", tree);
    let mut child = match command.stdin(Stdio::null()).process_group(0).spawn() {
        Ok(child) => child,
        Err(e) => return Verdict::None(format!("{program} cannot be started: {e}")),
    };
    let end = Instant::now() + Duration::from_secs(health.timeout);
    let verdict = loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Verdict::Healthy,
            Ok(Some(status)) => return ended(program, status, watch),
            Ok(None) => {}
            Err(e) => break Verdict::None(format!("{program}: {e}")),
        }
        if watch.cancelled() {
            break Verdict::Interrupted;
        }
        if Instant::now() >= end {
            break Verdict::Failed(format!("no answer within {} s", health.timeout));
        }
        std::thread::sleep(TICK);
    };
    if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
    verdict
}

/// A command that ended badly: by itself, or in the same stop that is about to reach us.
fn ended(program: &str, status: ExitStatus, watch: &dyn Watch) -> Verdict {
    use rustix::process::Signal;
    // A shell tells by its exit code what ended its last command.
    let signal = status.signal().or(status.code().map(|code| code - 128));
    let sent = [Signal::TERM, Signal::INT, Signal::HUP].map(Signal::as_raw);
    if !signal.is_some_and(|s| sent.contains(&s)) {
        return match signal == Some(Signal::KILL.as_raw()) {
            _ if watch.cancelled() => Verdict::Interrupted,
            true => Verdict::Killed(format!("{program} was killed ({status})")),
            false => Verdict::Failed(status.to_string()),
        };
    }
    let end = Instant::now() + GRACE;
    while !watch.cancelled() {
        if Instant::now() >= end {
            return Verdict::None(format!("{program} was ended from outside: {status}"));
        }
        std::thread::sleep(TICK);
    }
    Verdict::Interrupted
}
