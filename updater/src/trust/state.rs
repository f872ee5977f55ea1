//! What a site remembers of the metadata: one file with a digest of itself, replaced whole.

use super::canonical::Envelope;
use super::roles::{Root, Snapshot, Targets, Timestamp};
use crate::clock::{self, Seconds};
use crate::disk::{self, Sync};
use crate::{Digest, Error, Result, names};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The last accepted metadata and the marks below which nothing is accepted any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The root that is trusted, as the file that was signed.
    pub root: String,
    pub(super) timestamp: Option<String>,
    pub(super) snapshot: Option<String>,
    pub(super) targets: Option<String>,
    pub(super) delegated: BTreeMap<String, String>,
    /// The newest signing time seen; earlier clocks are wrong.
    pub time: Seconds,
    /// Highest release sequence seen per channel file.
    pub heads: BTreeMap<String, u64>,
}

const LIMIT: u64 = 64 << 20;

impl State {
    /// Starts from a root file that an administrator got from a trusted place.
    ///
    /// Fails if it is not a root that its own keys have signed.
    pub fn from_root(bytes: &[u8]) -> Result<State> {
        let envelope = Envelope::parse(bytes, "root")?;
        let root: Root = envelope.content()?;
        envelope.verify::<Root>(&root.keys, root.role("root")?)?;
        let text =
            String::from_utf8(bytes.to_vec()).map_err(|_| Error::malformed("metadata", "root: not UTF-8"))?;
        Ok(State {
            root: text,
            timestamp: None,
            snapshot: None,
            targets: None,
            delegated: BTreeMap::new(),
            time: 0,
            heads: BTreeMap::new(),
        })
    }

    /// Loads the state; missing or torn is an error, never a fresh start.
    pub fn load(path: &Path) -> Result<State> {
        let bytes = disk::read(path, LIMIT)?.ok_or(Error::TrustState("missing"))?;
        let torn = Error::TrustState("torn");
        let Some(split) = bytes.len().checked_sub(65) else {
            return Err(torn);
        };
        let (body, tail) = bytes.split_at(split);
        let whole = tail.last() == Some(&b'\n')
            && std::str::from_utf8(&tail[..64]).ok().and_then(Digest::parse) == Some(Digest::of(body));
        if !whole {
            return Err(torn);
        }
        serde_json::from_slice(body).map_err(|_| torn)
    }

    /// Stores the state with one rename.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut bytes = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .map_err(|e| Error::io("write state", e))?;
        bytes.push(b'\n');
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(format!("{digest}\n").as_bytes());
        disk::replace(path, &bytes, 0o600, Sync::State)
    }

    /// The later of the clock and the newest signing time seen.
    pub fn now(&self) -> Seconds {
        clock::now().max(self.time)
    }

    /// How far the clock is behind signed time, in seconds; 0 if it is plausible.
    pub fn clock_behind(&self) -> Seconds {
        (self.time - clock::now()).max(0)
    }

    pub(super) fn root(&self) -> Result<Root> {
        Envelope::parse(self.root.as_bytes(), "root")?.content()
    }
    pub(super) fn timestamp(&self) -> Result<Option<Timestamp>> {
        stored(&self.timestamp, "timestamp")
    }
    pub(super) fn snapshot(&self) -> Result<Option<Snapshot>> {
        stored(&self.snapshot, "snapshot")
    }
    pub(super) fn targets(&self) -> Result<Option<Targets>> {
        stored(&self.targets, "targets")
    }

    /// Every accepted metadata file by role, byte for byte as it came.
    pub fn files(&self) -> Vec<(&str, &str)> {
        let top = [
            ("root", Some(&self.root)),
            ("timestamp", self.timestamp.as_ref()),
            ("snapshot", self.snapshot.as_ref()),
            ("targets", self.targets.as_ref()),
        ];
        let top = top
            .into_iter()
            .filter_map(|(role, text)| Some((role, text?.as_str())));
        let delegated = self
            .delegated
            .iter()
            .map(|(role, text)| (role.as_str(), text.as_str()));
        top.chain(delegated).collect()
    }

    /// The same by path in a repository, the timestamp last: all that it leads to stands before it.
    pub fn by_path(&self) -> Result<Vec<(String, &str)>> {
        #[derive(Deserialize)]
        struct Numbered {
            version: u64,
        }
        let path = |(role, text): (&str, &'_ str)| -> Result<String> {
            let kind = match role {
                "root" => "root",
                "snapshot" => "snapshot",
                _ => "targets",
            };
            let numbered: Numbered = Envelope::parse(text.as_bytes(), kind)?.content()?;
            Ok(format!("tuf/{}.{role}.json", numbered.version))
        };
        let (timestamp, others): (Vec<_>, Vec<_>) = self
            .files()
            .into_iter()
            .partition(|(role, _)| *role == "timestamp");
        let numbered = others.into_iter().map(|file| Ok((path(file)?, file.1)));
        let timestamp = timestamp
            .into_iter()
            .map(|(_, text)| Ok((names::TIMESTAMP.into(), text)));
        numbered.chain(timestamp).collect()
    }

    /// When the accepted metadata expires; `None` before the first refresh.
    pub fn expires(&self) -> Option<String> {
        self.timestamp().ok().flatten().map(|t| t.common.expires)
    }
}

fn stored<T: serde::de::DeserializeOwned>(text: &Option<String>, role: &'static str) -> Result<Option<T>> {
    text.as_ref()
        .map(|t| Envelope::parse(t.as_bytes(), role)?.content())
        .transpose()
}
