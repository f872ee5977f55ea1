//! The repository's own metadata, read back and verified before anything new is signed over it.

use super::canonical::Envelope;
use super::roles::{Delegated, Meta, RoleKeys, Root, Snapshot, Targets, Timestamp};
use crate::names::TIMESTAMP;
use crate::store::Store;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) const LIMIT: u64 = 64 << 20;

/// What a site would find now.
pub(super) struct Published {
    /// Every version, oldest first, each vouched for by the one before.
    pub roots: Vec<Root>,
    pub timestamp: Timestamp,
    pub snapshot: Snapshot,
    pub targets: Targets,
    pub release: Targets,
    envelopes: Envelopes,
}

struct Envelopes {
    timestamp: Option<Envelope>,
    snapshot: Envelope,
    targets: Envelope,
    release: Envelope,
}

impl Published {
    /// Reads everything that the timestamp leads to.
    pub fn read(store: &dyn Store) -> Result<Published> {
        let roots = roots(store)?;
        let bytes = bytes(store, TIMESTAMP)?;
        let found = Envelope::parse(&bytes, "timestamp").ok().and_then(|envelope| {
            let timestamp: Timestamp = by_any(&roots, &envelope, "timestamp")?;
            Some((timestamp, envelope))
        });
        let (timestamp, envelope) = found.ok_or_else(|| {
            Error::DamagedRepository(format!(
                "{TIMESTAMP} (or `elfup keys rotate timestamp` makes it anew)"
            ))
        })?;
        Published::below(store, roots, timestamp, Some(envelope))
    }

    /// The same without the timestamp, which is torn or gone: the newest snapshot that is whole.
    ///
    /// Only for who replaces the timestamp key, after which sites begin anew with its versions.
    pub fn without_timestamp(store: &dyn Store) -> Result<Published> {
        let roots = roots(store)?;
        for version in versions(store, "snapshot")?.into_iter().rev() {
            let Some(bytes) = store.get(&format!("tuf/{version}.snapshot.json"), LIMIT)? else {
                continue;
            };
            let Ok(envelope) = Envelope::parse(&bytes, "snapshot") else {
                continue;
            };
            if by_any::<Snapshot>(&roots, &envelope, "snapshot").is_none() {
                continue;
            }
            let timestamp = Timestamp {
                common: super::roles::Common::new("timestamp", 0, 0),
                meta: BTreeMap::from([("snapshot.json".into(), Meta::of(version, &bytes))]),
                issued: None,
            };
            if let Ok(found) = Published::below(store, roots.clone(), timestamp, None) {
                return Ok(found);
            }
        }
        Err(Error::DamagedRepository("every snapshot".into()))
    }

    fn below(
        store: &dyn Store,
        roots: Vec<Root>,
        timestamp: Timestamp,
        envelope: Option<Envelope>,
    ) -> Result<Published> {
        let (snapshot, snapshot_envelope) = named(store, "snapshot", "snapshot", &timestamp.meta)?;
        let snapshot: Snapshot = snapshot;
        let (targets, targets_envelope) = named(store, "targets", "targets", &snapshot.meta)?;
        let (release, release_envelope) = named(store, "targets", "release", &snapshot.meta)?;
        Ok(Published {
            roots,
            timestamp,
            snapshot,
            targets,
            release,
            envelopes: Envelopes {
                timestamp: envelope,
                snapshot: snapshot_envelope,
                targets: targets_envelope,
                release: release_envelope,
            },
        })
    }

    /// The newest root.
    pub fn root(&self) -> Result<&Root> {
        self.roots.last().ok_or_else(no_repository)
    }

    /// Whether these roots would all accept a role's metadata as it is.
    pub fn accepted(&self, role: &str, roots: &[&Root]) -> bool {
        let envelope = match role {
            "timestamp" => self.envelopes.timestamp.as_ref(),
            "snapshot" => Some(&self.envelopes.snapshot),
            _ => Some(&self.envelopes.targets),
        };
        let by = |root: &&Root| {
            envelope.is_some_and(|e| {
                root.role(role)
                    .is_ok_and(|k| e.verify::<Value>(&root.keys, k).is_ok())
            })
        };
        roots.iter().all(by)
    }

    /// The delegation to the release role.
    pub fn delegation(&self) -> Result<&Delegated> {
        let roles = self.targets.delegations.iter().flat_map(|d| &d.roles);
        let mut roles = roles.filter(|r| r.name == "release");
        roles
            .next()
            .ok_or_else(|| Error::NotFound("a release role in the targets".into()))
    }

    /// Whether the targets vouch for the release metadata as it is.
    pub fn release_accepted(&self) -> bool {
        let keys: Option<(&_, &RoleKeys)> = self
            .targets
            .delegations
            .as_ref()
            .and_then(|d| Some((&d.keys, &self.delegation().ok()?.keys)));
        keys.is_some_and(|(keys, role)| self.envelopes.release.verify::<Value>(keys, role).is_ok())
    }
}

fn no_repository() -> Error {
    Error::NotFound("a repository (tuf/1.root.json)".into())
}

/// Numbers of the stored versions of a role, ascending.
pub(super) fn versions(store: &dyn Store, role: &str) -> Result<Vec<u64>> {
    let number = |path: &String| {
        let name = path.strip_prefix("tuf/")?.strip_suffix(".json")?;
        let (version, of) = name.split_once('.')?;
        (of == role).then(|| version.parse::<u64>().ok())?
    };
    let mut all: Vec<u64> = store.list("tuf")?.iter().filter_map(number).collect();
    all.sort_unstable();
    Ok(all)
}

fn roots(store: &dyn Store) -> Result<Vec<Root>> {
    let newest = versions(store, "root")?
        .last()
        .copied()
        .ok_or_else(no_repository)?;
    let mut all: Vec<Root> = Vec::new();
    for version in 1..=newest {
        let path = format!("tuf/{version}.root.json");
        let whole = || -> Option<Root> {
            let bytes = store.get(&path, LIMIT).ok()??;
            next_root(&bytes, all.last()).filter(|r| r.common.version == version)
        };
        let root = whole().ok_or_else(|| Error::DamagedRepository(path.clone()))?;
        all.push(root);
    }
    Ok(all)
}

/// A root that signs itself and that the one before it vouches for.
pub(super) fn next_root(bytes: &[u8], before: Option<&Root>) -> Option<Root> {
    let envelope = Envelope::parse(bytes, "root").ok()?;
    let root: Root = envelope.content().ok()?;
    envelope
        .verify::<Value>(&root.keys, root.role("root").ok()?)
        .ok()?;
    if let Some(before) = before {
        envelope
            .verify::<Value>(&before.keys, before.role("root").ok()?)
            .ok()?;
    }
    Some(root)
}

/// A rotation may have been killed, so an earlier root may be the one that vouches.
fn by_any<T: DeserializeOwned>(roots: &[Root], envelope: &Envelope, role: &str) -> Option<T> {
    let mut tries = roots.iter().rev();
    tries.find_map(|root| envelope.verify(&root.keys, root.role(role).ok()?).ok())
}

fn named<T: DeserializeOwned>(
    store: &dyn Store,
    kind: &'static str,
    role: &str,
    meta: &BTreeMap<String, Meta>,
) -> Result<(T, Envelope)> {
    let name = format!("{role}.json");
    let meta = meta
        .get(&name)
        .ok_or_else(|| Error::NotFound(format!("{name} in the metadata above it")))?;
    let path = format!("tuf/{}.{name}", meta.version);
    let bytes = bytes(store, &path)?;
    if meta.hashes.is_none() || !meta.matches(&bytes) {
        return Err(Error::DamagedRepository(path));
    }
    let envelope = Envelope::parse(&bytes, kind)?;
    Ok((envelope.content()?, envelope))
}

fn bytes(store: &dyn Store, path: &str) -> Result<Vec<u8>> {
    store
        .get(path, LIMIT)?
        .ok_or_else(|| Error::DamagedRepository(path.into()))
}
