//! Check: refresh trust and find the release to go to.

use super::Site;
use crate::source::Sources;
use crate::step::{Channel, Release};
use crate::trust::{self, State};
use crate::{Error, Result, Watch, limits, names};

/// Which release is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The channel's newest.
    Head,
    /// One by id, older or newer.
    Release {
        /// Its id.
        id: String,
        /// Whether an administrator insists on going below the signed floor.
        below_floor: bool,
    },
}

/// The release to go to, believed.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the channel file has it.
    pub release: Release,
    /// The whole channel file.
    pub channel: Channel,
}

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
    /// Refreshes trust from the first source that has good metadata, and finds the wanted release.
    pub fn target(&self, wanted: &Wanted, sources: &Sources, watch: &dyn Watch) -> Result<Target> {
        let path = self.root.join("state/trust");
        let before = State::load(&path)?;
        let mut worst: Option<Error> = None;
        for index in sources.order() {
            watch.check()?;
            let mut state = State::load(&path)?;
            let result = self.ask(&mut state, sources, index, watch);
            if state != before {
                state.save(&path)?;
            }
            match result {
                Ok(channel) => return self.choose(wanted, channel),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(e) => {
                    watch.detail(&format!("{}: {e}", sources.name(index)));
                    if matches!(e, Error::Untrusted(_) | Error::Malformed { .. }) {
                        sources.lied(index, 0);
                    }
                    // What was refused is worth more to know than what could not be reached.
                    if worst.as_ref().is_none_or(|w| matches!(w, Error::Network(_))) {
                        worst = Some(e);
                    }
                }
            }
        }
        Err(worst.unwrap_or_else(|| Error::Network("the signed metadata".into())))
    }

    fn ask(&self, state: &mut State, sources: &Sources, index: usize, watch: &dyn Watch) -> Result<Channel> {
        let source = sources.one(index, watch);
        trust::refresh(state, &source)?;
        let target = self.config.follow.target();
        let found = trust::target(state, &target, &source)?;
        let bytes = self.channel_bytes(&target, found, sources, watch)?;
        let channel = Channel::parse(&bytes, &self.config.follow)?;
        let head = channel.head().map_or(0, |h| h.sequence);
        let seen = state.heads.get(&target).copied().unwrap_or(0);
        if head < seen {
            return Err(Error::Untrusted(format!(
                "rollback: the channel ends at {head} after {seen} was seen"
            )));
        }
        state.heads.insert(target, head);
        Ok(channel)
    }

    /// The channel file, from the disk if it is the same as last time.
    fn channel_bytes(
        &self,
        target: &str,
        found: trust::Found,
        sources: &Sources,
        watch: &dyn Watch,
    ) -> Result<Vec<u8>> {
        let stored = self.root.join("state/channel");
        if let Some(bytes) = crate::disk::read(&stored, limits::CHANNEL)?
            && crate::Digest::of(&bytes) == found.digest
        {
            return Ok(bytes);
        }
        if found.length > limits::CHANNEL {
            return Err(Error::malformed("channel file", "it is too long"));
        }
        let path = names::target_file(target, &found.digest);
        let bytes = sources.signed(&path, &found.digest, found.length, watch)?;
        crate::disk::replace(&stored, &bytes, 0o600, crate::disk::Sync::State)?;
        Ok(bytes)
    }

    fn choose(&self, wanted: &Wanted, channel: Channel) -> Result<Target> {
        let none = || Error::NotFound("a release in the channel".into());
        let release = match wanted {
            Wanted::Head => channel.head().ok_or_else(none)?,
            Wanted::Release { id, below_floor } => {
                let found = channel
                    .find(id)
                    .ok_or_else(|| Error::NotFound(format!("release {id}")))?;
                if found.sequence < channel.floor && !below_floor {
                    return Err(Error::BelowFloor(id.clone()));
                }
                found
            }
        };
        let release = release.clone();
        if *wanted == Wanted::Head && release.sequence < channel.floor {
            return Err(Error::BelowFloor(release.release));
        }
        Ok(Target { release, channel })
    }

    /// A release that is deployed here, at or above the floor of the last channel file that was accepted.
    pub(super) fn kept_target(&self, id: &str, below_floor: bool) -> Result<Option<Target>> {
        let stored = crate::disk::read(&self.root.join("state/channel"), limits::CHANNEL)?;
        let Some(channel) = stored
            .map(|b| Channel::parse(&b, &self.config.follow))
            .transpose()?
        else {
            return Ok(None);
        };
        let Some(deployment) = self.deployments()?.into_iter().find(|d| d.release == id) else {
            return Ok(None);
        };
        if deployment.sequence < channel.floor && !below_floor {
            return Err(Error::BelowFloor(id.into()));
        }
        let bytes = self.manifest_bytes(&deployment.manifest)?;
        let release = Release {
            release: deployment.release,
            sequence: deployment.sequence,
            urgent: false,
            published: String::new(),
            manifest: deployment.manifest,
            manifest_size: bytes.len() as u64,
            manifest_stored: 0,
            steps: Vec::new(),
        };
        Ok(Some(Target { release, channel }))
    }

    /// Looks for a newer release.
    ///
    /// Fails with [`Error::Stale`] where the metadata has expired: that is not "up to date".
    pub fn check(&self, watch: &dyn Watch) -> Result<Checked> {
        let sources = self.sources()?;
        let target = self.target(&Wanted::Head, &sources, watch);
        let mut measures = self.measures()?;
        measures.learn(&sources);
        self.save_measures(&measures)?;
        let target = target?;
        let current = match self.current()? {
            Some(digest) => Some(self.header_of(&digest)?),
            None => None,
        };
        let state = self.trust()?;
        let running = current.as_ref().map(|c| c.sequence);
        let newer = |r: &Release| running.is_none_or(|s| s < r.sequence);
        Ok(Checked {
            available: newer(&target.release),
            urgent: target.channel.releases.iter().any(|r| r.urgent && newer(r)),
            current: current.map(|c| c.release),
            expires: state.expires(),
            clock_behind: state.clock_behind(),
            head: target.release.release,
        })
    }
}
