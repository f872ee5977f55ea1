//! The commands about a trial.

use super::Site;
use super::trial::{Settled, Trials};
use crate::{Quiet, Result, Watch};

impl Site {
    pub(super) fn trials<'a>(&'a self, watch: &'a dyn Watch) -> Trials<'a> {
        Trials {
            switch: self.switch(),
            local: self.local(watch),
            health: self.config.health.as_ref(),
            watch,
        }
    }

    /// Ends a trial that a stop, a kill or a power cut interrupted: the check is made now.
    pub fn settle(&self, watch: &dyn Watch) -> Result<Settled> {
        self.rename_objects(watch)?;
        self.trials(watch).settle()
    }

    /// The release that runs on trial and the one that comes back if it fails.
    pub fn on_trial(&self) -> Result<Option<(String, String)>> {
        let Some(trial) = self.trials(&Quiet).under_way()? else {
            return Ok(None);
        };
        let release = |digest| Ok(self.deployments.header(digest)?.release);
        release(&trial.new).and_then(|new| Ok(Some((new, release(&trial.old)?))))
    }
}
