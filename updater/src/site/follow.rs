//! Follow: refresh trust and find the release to go to.

use super::deployments::Deployments;
use super::notes::{Note, Notes};
use crate::names::{self, Follow};
use crate::source::Sources;
use crate::step::{Channel, Release};
use crate::trust::{self, State};
use crate::{Digest, Error, Result, Watch, limits};

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

impl Target {
    /// Whether a release that is newer than what runs, up to the head, is marked as urgent.
    pub fn urgent_since(&self, running: Option<u64>) -> bool {
        let newer = |r: &Release| running.is_none_or(|s| s < r.sequence);
        self.channel.releases.iter().any(|r| r.urgent && newer(r))
    }
}

/// What finds out from the sources which releases there are.
pub(super) struct Follower<'a> {
    pub notes: &'a Notes,
    pub follow: &'a Follow,
    pub sources: &'a Sources,
    pub watch: &'a dyn Watch,
}

impl Follower<'_> {
    /// Refreshes trust from the first source that has good metadata, and finds the wanted release.
    pub fn target(&self, wanted: &Wanted) -> Result<Target> {
        let (path, sources, watch) = (self.notes.path(Note::Trust), self.sources, self.watch);
        let before = State::load(&path)?;
        let mut worst: Option<Error> = None;
        for index in sources.order() {
            watch.check()?;
            let mut state = State::load(&path)?;
            let result = self.ask(&mut state, index);
            if state != before {
                state.save(&path)?;
            }
            match result {
                Ok(channel) => {
                    let (releases, floor) = (channel.releases.len(), channel.floor);
                    tracing::info!(source = sources.name(index), releases, floor, "has the channel");
                    return choose(wanted, channel);
                }
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

    fn ask(&self, state: &mut State, index: usize) -> Result<Channel> {
        let source = self.sources.one(index, self.watch);
        trust::refresh(state, &source)?;
        let target = self.follow.target();
        let found = trust::target(state, &target, &source)?;
        let bytes = self.channel_bytes(&target, found)?;
        let channel = Channel::parse(&bytes, self.follow)?;
        let head = channel.head().map_or(0, |h| h.sequence);
        trust::advance(state, target, head)?;
        Ok(channel)
    }

    /// The channel file, from the disk if it is the same as last time.
    fn channel_bytes(&self, target: &str, found: trust::Found) -> Result<Vec<u8>> {
        if let Some(bytes) = self.notes.bytes(Note::Channel, limits::CHANNEL)?
            && Digest::of(&bytes) == found.digest
        {
            return Ok(bytes);
        }
        if found.length > limits::CHANNEL {
            return Err(Error::malformed("channel file", "it is too long"));
        }
        let path = names::target_file(target, &found.digest);
        let bytes = self
            .sources
            .signed(&path, &found.digest, found.length, self.watch)?;
        self.notes.put(Note::Channel, &bytes)?;
        Ok(bytes)
    }
}

fn choose(wanted: &Wanted, channel: Channel) -> Result<Target> {
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
    tracing::info!(
        release = release.release,
        sequence = release.sequence,
        "is wanted"
    );
    if *wanted == Wanted::Head && release.sequence < channel.floor {
        return Err(Error::BelowFloor(release.release));
    }
    Ok(Target { release, channel })
}

/// A release that is deployed here, at or above the floor of the last channel file that was accepted.
pub(super) fn kept(
    notes: &Notes,
    follow: &Follow,
    deployments: &Deployments,
    wanted: (&str, bool),
) -> Result<Option<Target>> {
    let (id, below_floor) = wanted;
    let stored = notes.bytes(Note::Channel, limits::CHANNEL)?;
    let Some(channel) = stored.map(|b| Channel::parse(&b, follow)).transpose()? else {
        return Ok(None);
    };
    let mut found = None;
    for manifest in deployments.all()? {
        let header = deployments.header(&manifest)?;
        found = found.or((header.release == id).then_some((manifest, header)));
    }
    let Some((manifest, header)) = found else {
        return Ok(None);
    };
    if header.sequence < channel.floor && !below_floor {
        return Err(Error::BelowFloor(id.into()));
    }
    let bytes = deployments.manifest_bytes(&manifest)?;
    let release = Release {
        release: header.release,
        sequence: header.sequence,
        urgent: false,
        published: String::new(),
        manifest,
        manifest_size: bytes.len() as u64,
        manifest_stored: 0,
        steps: Vec::new(),
    };
    Ok(Some(Target { release, channel }))
}
