//! Trial: a new release runs on trial until a command has said that it works.

use super::config::Health;
use super::local::{Carried, Local};
use super::notes::{Note, Notes};
use super::switch::Switch;
use crate::manifest::Manifest;
use crate::{Digest, Error, Result, Watch, limits};
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

/// What switches to a release and lets a command say whether it works.
pub(super) struct Trials<'a> {
    pub switch: Switch<'a>,
    pub local: Local<'a>,
    pub health: Option<&'a Health>,
    pub watch: &'a dyn Watch,
}

impl Trials<'_> {
    fn notes(&self) -> &Notes {
        self.switch.notes
    }

    /// Switches to a deployment; with a health check, goes back if the check fails.
    pub fn activate(&self, to: &Digest) -> Result<Carried> {
        let carried = self.local.bring(to)?;
        let old = self.switch.deployments.current()?;
        match (self.health, old) {
            (Some(health), Some(old)) if old != *to => {
                let trial = Trial { new: *to, old };
                self.notes().write(Note::Trial, &trial)?;
                self.switch.to(to)?;
                self.judge(health, trial)?;
            }
            _ => self.switch.to(to)?,
        }
        Ok(carried)
    }

    /// Ends a trial that a stop, a kill or a power cut interrupted: the check is made now.
    pub fn settle(&self) -> Result<Settled> {
        let (Some(trial), Some(health)) = (self.under_way()?, self.health) else {
            self.notes().remove(Note::Trial)?;
            return Ok(Settled::Nothing);
        };
        let watch = self.watch;
        watch.note("the last activation was interrupted during its health check: checking again");
        let result = self.judge(health, trial);
        if matches!(result, Ok(()) | Err(Error::Unhealthy(_)))
            && ready(self.notes())?.is_some_and(|r| r.digest() == trial.new)
        {
            self.notes().remove(Note::Ready)?;
        }
        match result {
            Ok(()) => Ok(Settled::Passed(
                self.switch.deployments.header(&trial.new)?.release,
            )),
            Err(Error::Unhealthy(why)) => {
                watch.note(&format!("health check failed ({why}); rolled back"));
                Ok(Settled::Failed(why))
            }
            Err(e) => Err(e),
        }
    }

    /// The trial under way, if what it is about runs.
    pub fn under_way(&self) -> Result<Option<Trial>> {
        let current = self.switch.deployments.current()?;
        let trial = self.notes().read::<Trial>(Note::Trial)?;
        Ok(trial.filter(|t| current == Some(t.new)))
    }

    /// Lets the command decide. Only its own answer, or its silence, is held against the release.
    fn judge(&self, health: &Health, Trial { new, old }: Trial) -> Result<()> {
        let (notes, watch) = (self.notes(), self.watch);
        let failed = match ask(health, &self.switch.deployments.tree(&new), watch) {
            Verdict::Healthy => {
                tracing::info!("the release is healthy");
                notes.remove(Note::Trial)?;
                return notes.sync();
            }
            // The note of the trial stays: the next command goes on with it.
            Verdict::Interrupted => return Err(Error::Cancelled),
            Verdict::None(why) => Error::NoVerdict(why),
            Verdict::Failed(why) | Verdict::Killed(why) => Error::Unhealthy(why),
        };
        match self.local.bring(&old) {
            Ok(_) => {}
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            // Going back comes first: the old tree has its configuration as it was left.
            Err(e) => watch.note(&format!(
                "configuration changed since the switch stays there: {e}"
            )),
        }
        self.switch.to(&old)?;
        if matches!(failed, Error::Unhealthy(_)) {
            let mut bad = bad(notes)?;
            if !bad.contains(&new) {
                bad.push(new);
            }
            notes.write(Note::Bad, &bad)?;
        }
        notes.remove(Note::Trial)?;
        Err(failed)
    }
}

/// Releases that have failed their health check here before.
pub(super) fn bad(notes: &Notes) -> Result<Vec<Digest>> {
    Ok(notes.read(Note::Bad)?.unwrap_or_default())
}

/// The manifest of a release that was fetched and waits.
pub(super) fn ready(notes: &Notes) -> Result<Option<Manifest>> {
    let bytes = notes.bytes(Note::Ready, limits::MANIFEST)?;
    bytes.map(|b| Manifest::parse(&b)).transpose()
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
    // Not its arguments, which may be anything.
    tracing::info!(program, timeout = health.timeout, "the health command is asked");
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
