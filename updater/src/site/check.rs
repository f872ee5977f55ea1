//! The command that looks for a newer release.

use super::Site;
use super::follow::Wanted;
use crate::{Result, Watch};

/// What a check found.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Checked {
    /// Running release.
    pub current: Option<String>,
    /// Newest release of the channel.
    pub head: String,
    /// Whether the head is newer.
    pub available: bool,
    /// Whether it, or a release between it and the running one, is marked as urgent.
    pub urgent: bool,
    /// When the signed metadata expires.
    pub expires: Option<String>,
    /// Seconds that the clock is behind signed time.
    pub clock_behind: i64,
}

impl Site {
    /// Looks for a newer release.
    ///
    /// Fails with [`Error::Stale`](crate::Error::Stale) where the metadata has expired: that is not "up to date".
    pub fn check(&self, watch: &dyn Watch) -> Result<Checked> {
        let sources = self.sources(watch)?;
        let target = self.follower(&sources, watch).target(&Wanted::Head);
        let mut measures = self.measures()?;
        measures.learn(&sources);
        measures.save(&self.notes)?;
        let target = target?;
        let current = self.running()?;
        let state = self.trust()?;
        let running = current.as_ref().map(|c| c.sequence);
        Ok(Checked {
            available: running.is_none_or(|s| s < target.release.sequence),
            urgent: target.urgent_since(running),
            current: current.map(|c| c.release),
            expires: state.expires(),
            clock_behind: state.clock_behind(),
            head: target.release.release,
        })
    }
}
