//! The workflow of a refresh, in the order of the TUF specification (section 5).

use super::canonical::Envelope;
use super::roles::{Meta, Root, Snapshot, Targets, Timestamp};
use super::state::State;
use crate::clock::{self, Seconds};
use crate::{Digest, Error, Result, names};

/// Reads one metadata file from one source.
pub trait Fetch {
    /// The whole file; `None` if the source does not have it. Fails if it has more than `limit` bytes.
    fn fetch(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>>;
}

/// A signed file that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Length in bytes.
    pub length: u64,
    /// SHA-256.
    pub digest: Digest,
}

const ROOT_LIMIT: u64 = 512 << 10;
const TIMESTAMP_LIMIT: u64 = 16 << 10;
const SNAPSHOT_LIMIT: u64 = 2 << 20;
const TARGETS_LIMIT: u64 = 8 << 20;
/// Roots taken in one refresh; more means an endless chain.
const MAX_ROOTS: u64 = 256;

/// Brings the state up to what the source has, refusing whatever is older, expired or not properly signed.
///
/// The state may have advanced (a newer root, say) even when this fails: the caller stores it either way.
pub fn refresh(state: &mut State, source: &dyn Fetch) -> Result<()> {
    let root = update_root(state, source)?;
    let timestamp = update_timestamp(state, &root, source)?;
    let snapshot = update_snapshot(state, &root, &timestamp, source)?;
    update_targets(state, &root, &snapshot, source)?;
    let [root, timestamp, snapshot] = [&root.common, &timestamp.common, &snapshot.common].map(|c| c.version);
    tracing::info!(root, timestamp, snapshot, "metadata is refreshed");
    Ok(())
}

fn update_root(state: &mut State, source: &dyn Fetch) -> Result<Root> {
    let mut root = state.root()?;
    for _ in 0..MAX_ROOTS {
        let version = root
            .common
            .version
            .checked_add(1)
            .ok_or(Error::TrustState("torn"))?;
        let bytes = match source.fetch(&format!("tuf/{version}.root.json"), ROOT_LIMIT) {
            Ok(Some(bytes)) => bytes,
            // Some servers have a page for what is not there.
            Ok(None) | Err(Error::Portal(_)) => break,
            Err(e) => return Err(e),
        };
        let envelope = Envelope::parse(&bytes, "root")?;
        let next: Root = envelope.verify(&root.keys, root.role("root")?)?;
        envelope.verify::<Root>(&next.keys, next.role("root")?)?;
        if next.common.version != version {
            return Err(Error::Untrusted(format!(
                "root {version} calls itself {}",
                next.common.version
            )));
        }
        let changed = |role: &str| -> Result<bool> {
            let (old, new) = (root.role(role)?, next.role(role)?);
            let keys =
                |r: &Root, ids: &[String]| ids.iter().map(|k| r.keys.get(k).cloned()).collect::<Vec<_>>();
            Ok(old != new || keys(&root, &old.keyids) != keys(&next, &new.keyids))
        };
        // A stolen online key may have driven versions up; new keys start afresh (fast-forward recovery).
        if changed("timestamp")? || changed("snapshot")? {
            state.timestamp = None;
            state.snapshot = None;
            state.time = 0;
        }
        if changed("targets")? {
            state.heads.clear();
        }
        tracing::info!(version, "a newer root is signed by the one before");
        state.root = text(bytes)?;
        root = next;
    }
    root.common.fresh("root", state.now())?;
    if !root.consistent_snapshot {
        return Err(Error::Untrusted(
            "the repository does not use consistent snapshots".into(),
        ));
    }
    Ok(root)
}

fn update_timestamp(state: &mut State, root: &Root, source: &dyn Fetch) -> Result<Timestamp> {
    let bytes = need(source, names::TIMESTAMP, TIMESTAMP_LIMIT)?;
    let new: Timestamp = Envelope::parse(&bytes, "timestamp")?.verify(&root.keys, root.role("timestamp")?)?;
    let named = meta(&new.meta, "snapshot.json")?.version;
    if let Some(old) = state.timestamp()? {
        not_below("timestamp", new.common.version, old.common.version)?;
        not_below("snapshot", named, meta(&old.meta, "snapshot.json")?.version)?;
        if new.common.version == old.common.version {
            old.common.fresh("timestamp", state.now())?;
            return Ok(old);
        }
    }
    // Believed only within its own life: a time beyond the expiry would lock the site out.
    let expires = clock::parse(&new.common.expires).unwrap_or(Seconds::MIN);
    let issued = new.issued.as_deref().and_then(clock::parse);
    let time = issued
        .filter(|t| *t < expires)
        .unwrap_or(state.time)
        .max(state.time);
    // Like everything below the root, what has expired is not kept.
    new.common.fresh("timestamp", clock::now().max(time))?;
    state.time = time;
    state.timestamp = Some(text(bytes)?);
    Ok(new)
}

fn update_snapshot(
    state: &mut State,
    root: &Root,
    timestamp: &Timestamp,
    source: &dyn Fetch,
) -> Result<Snapshot> {
    let meta = meta(&timestamp.meta, "snapshot.json")?;
    if let (Some(stored), Some(text)) = (state.snapshot()?, &state.snapshot)
        && stored.common.version == meta.version
        && meta.matches(text.as_bytes())
    {
        stored.common.fresh("snapshot", state.now())?;
        return Ok(stored);
    }
    let bytes = described(source, "snapshot", meta, SNAPSHOT_LIMIT)?;
    let new: Snapshot = Envelope::parse(&bytes, "snapshot")?.verify(&root.keys, root.role("snapshot")?)?;
    same_version("snapshot", new.common.version, meta.version)?;
    if let Some(old) = state.snapshot()? {
        for (name, had) in &old.meta {
            let has = new.meta.get(name);
            let has = has.ok_or_else(|| Error::Untrusted(format!("{name} vanished from the snapshot")))?;
            not_below(name, has.version, had.version)?;
        }
    }
    new.common.fresh("snapshot", state.now())?;
    state.snapshot = Some(text(bytes)?);
    Ok(new)
}

fn update_targets(state: &mut State, root: &Root, snapshot: &Snapshot, source: &dyn Fetch) -> Result<()> {
    let meta = meta(&snapshot.meta, "targets.json")?;
    if let (Some(stored), Some(text)) = (state.targets()?, &state.targets)
        && stored.common.version == meta.version
        && meta.matches(text.as_bytes())
        // A rotated targets key must also disown what it signed before.
        && Envelope::parse(text.as_bytes(), "targets")?.verify::<Targets>(&root.keys, root.role("targets")?).is_ok()
    {
        return stored.common.fresh("targets", state.now());
    }
    let bytes = described(source, "targets", meta, TARGETS_LIMIT)?;
    let new: Targets = Envelope::parse(&bytes, "targets")?.verify(&root.keys, root.role("targets")?)?;
    same_version("targets", new.common.version, meta.version)?;
    new.common.fresh("targets", state.now())?;
    let delegations = |t: &Targets| {
        let d = t.delegations.as_ref();
        d.map(|d| (d.roles.clone(), d.keys.clone()))
    };
    if let Some(old) = state.targets()?
        && delegations(&old) != delegations(&new)
    {
        // The release key was replaced: what the old one claimed to be the newest no longer binds.
        state.heads.clear();
        state.delegated.clear();
    }
    state.targets = Some(text(bytes)?);
    Ok(())
}

/// Finds a signed file by its target path, through the delegated roles that may speak for it.
///
/// Call after [`refresh`]. Fails with [`Error::NotFound`] if nobody signed such a path.
pub fn target(state: &mut State, path: &str, source: &dyn Fetch) -> Result<Found> {
    let missing = || Error::Untrusted("there is no verified metadata yet".into());
    let snapshot = state.snapshot()?.ok_or_else(missing)?;
    let targets = state.targets()?.ok_or_else(missing)?;
    let found = |t: &Targets| -> Option<Result<Found>> {
        let target = t.targets.get(path)?;
        let length = target.length;
        let unknown = || Error::Untrusted(format!("{path} is signed without a SHA-256"));
        Some(
            target
                .hashes
                .sha256
                .ok_or_else(unknown)
                .map(|digest| Found { length, digest }),
        )
    };
    if let Some(hit) = found(&targets) {
        return hit;
    }
    if let Some(delegations) = &targets.delegations {
        for role in delegations.roles.iter().filter(|r| r.covers(path)) {
            let meta = meta(&snapshot.meta, &format!("{}.json", role.name))?;
            let stored = state.delegated.get(&role.name);
            let (role_data, bytes): (Targets, _) = match stored {
                Some(text) if is_version(text, meta) => {
                    let envelope = Envelope::parse(text.as_bytes(), "targets")?;
                    (envelope.verify(&delegations.keys, &role.keys)?, None)
                }
                _ => {
                    crate::names::check(&role.name)?;
                    let bytes = described(source, &role.name, meta, TARGETS_LIMIT)?;
                    let envelope = Envelope::parse(&bytes, "targets")?;
                    (envelope.verify(&delegations.keys, &role.keys)?, Some(bytes))
                }
            };
            same_version(&role.name, role_data.common.version, meta.version)?;
            role_data.common.fresh("release", state.now())?;
            if let Some(bytes) = bytes {
                state.delegated.insert(role.name.clone(), text(bytes)?);
            }
            if let Some(hit) = found(&role_data) {
                return hit;
            }
            if role.terminating {
                break;
            }
        }
    }
    Err(Error::NotFound(format!("{path} in the signed metadata")))
}

/// Notes the newest sequence of a channel file that was accepted; fails if a newer one was seen before.
pub fn advance(state: &mut State, target: String, head: u64) -> Result<()> {
    let seen = state.heads.entry(target).or_insert(head);
    if head < *seen {
        return Err(Error::Untrusted(format!(
            "rollback: the channel ends at {head} after {seen} was seen"
        )));
    }
    *seen = head;
    Ok(())
}

fn is_version(text: &str, meta: &Meta) -> bool {
    let envelope = Envelope::parse(text.as_bytes(), "targets").and_then(|e| e.content::<Targets>());
    envelope.is_ok_and(|t| t.common.version == meta.version) && meta.matches(text.as_bytes())
}

fn described(source: &dyn Fetch, role: &str, meta: &Meta, limit: u64) -> Result<Vec<u8>> {
    let path = format!("tuf/{}.{role}.json", meta.version);
    let bytes = need(source, &path, meta.length.unwrap_or(limit).min(limit))?;
    if !meta.matches(&bytes) {
        return Err(Error::Untrusted(format!(
            "{path} is not the file that the metadata names"
        )));
    }
    Ok(bytes)
}

fn need(source: &dyn Fetch, path: &str, limit: u64) -> Result<Vec<u8>> {
    source
        .fetch(path, limit)?
        .ok_or_else(|| Error::Network(path.into()))
}

fn meta<'a>(map: &'a std::collections::BTreeMap<String, Meta>, name: &str) -> Result<&'a Meta> {
    map.get(name)
        .ok_or_else(|| Error::Untrusted(format!("the metadata does not name {name}")))
}

fn not_below(what: &str, new: u64, old: u64) -> Result<()> {
    if new < old {
        return Err(Error::Untrusted(format!(
            "rollback: {what} version {new} after {old} was seen"
        )));
    }
    Ok(())
}

fn same_version(what: &str, found: u64, named: u64) -> Result<()> {
    if found != named {
        return Err(Error::Untrusted(format!(
            "{what} is version {found}, not {named}"
        )));
    }
    Ok(())
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::malformed("metadata", "not UTF-8"))
}
