//! Health: a new release runs on trial until a command has said that it works.

use super::Site;
use super::config::Health;
use crate::disk;
use crate::{Digest, Error, Result, Watch};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names both sides while a release is on trial.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Trial {
    new: Digest,
    old: Digest,
}

impl Site {
    /// Switches to a deployment; with a health check, goes back if the check fails.
    pub(super) fn activate_checked(&self, to: &Digest, watch: &dyn Watch) -> Result<()> {
        let old = self.current()?;
        let health = self.config.health.clone();
        match (health, old) {
            (Some(health), Some(old)) if old != *to => {
                self.write_state("trial", &Trial { new: *to, old })?;
                self.switch(to)?;
                self.judge(&health, *to, old, watch)
            }
            _ => self.switch(to),
        }
    }

    /// Ends a trial that a kill or a power cut interrupted: the check is made now.
    pub fn settle(&self, watch: &dyn Watch) -> Result<()> {
        let Some(trial) = self.read_state::<Trial>("trial")? else {
            return disk::remove(&self.path("state/trial"));
        };
        match (&self.config.health, self.current()?) {
            (Some(health), Some(current)) if current == trial.new => {
                watch.note("the last activation was interrupted during its health check: checking again");
                match self.judge(&health.clone(), trial.new, trial.old, watch) {
                    Err(Error::Unhealthy(why)) => {
                        watch.note(&format!("health check failed ({why}); rolled back"));
                        Ok(())
                    }
                    other => other,
                }
            }
            _ => disk::remove(&self.path("state/trial")),
        }
    }

    fn judge(&self, health: &Health, new: Digest, old: Digest, watch: &dyn Watch) -> Result<()> {
        let verdict = self.run_health(health, &new, watch);
        if let Err(why) = verdict {
            self.switch(&old)?;
            let mut bad: Vec<Digest> = self.read_state("bad.json")?.unwrap_or_default();
            if !bad.contains(&new) {
                bad.push(new);
            }
            self.write_state("bad.json", &bad)?;
            disk::remove(&self.path("state/trial"))?;
            return Err(Error::Unhealthy(why));
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

    fn run_health(
        &self,
        health: &Health,
        new: &Digest,
        watch: &dyn Watch,
    ) -> std::result::Result<(), String> {
        let Some((program, arguments)) = health.command.split_first() else {
            return Ok(());
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("ELFUP_TREE", self.tree(new))
            .stdin(Stdio::null())
            .process_group(0);
        let mut child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
        let end = Instant::now() + Duration::from_secs(health.timeout);
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(status.to_string()),
                Ok(None) => {}
                Err(e) => return Err(e.to_string()),
            }
            if Instant::now() >= end || watch.cancelled() {
                // The whole group, so that nothing of the check outlives it.
                if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait();
                return Err(format!("no answer within {} s", health.timeout));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
