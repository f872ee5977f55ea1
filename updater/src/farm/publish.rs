//! Publishing one release: everything it needs is stored first, the signed timestamp last.

use super::blobs;
use super::keep::Keep;
use super::parts::Tools;
use super::plan::Plan;
use super::proof::{self, Item, Proven};
use super::prove::{self, SiteLimits};
use super::steps::{self, Side};
use crate::manifest::{Entry, Header, Kind, Manifest, ScanOptions, join, scan};
use crate::names::{self, Follow};
use crate::step::{Channel, Release, StepRef};
use crate::store::{Hold, Store};
use crate::trust::{Lifetimes, Signer};
use crate::{Digest, Error, Jobs, PROTOCOL, Result, Watch, clock, compress, limits};
use std::path::{Path, PathBuf};

/// What to publish, and how.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Directory with the release, snapshot and timestamp keys.
    pub keys: PathBuf,
    /// Product, channel, architecture.
    pub follow: Follow,
    /// Release id; must be new, or the same tree as before.
    pub release: String,
    /// The tree.
    pub tree: PathBuf,
    /// From which earlier releases steps lead to it.
    pub keep: Keep,
    /// Patterns of paths whose local changes a site keeps.
    pub config: Vec<String>,
    /// Whether a policy may apply it at once.
    pub urgent: bool,
    /// Release below which no site may go from now on.
    pub floor: Option<String>,
    /// How the tree is read.
    pub scan: ScanOptions,
    /// Lifetimes of signatures.
    pub lifetimes: Lifetimes,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Bytes that files in work may need at once, 0 for three quarters of the machine's; one that needs more is worked
    /// on alone, in so much.
    pub memory: u64,
    /// What sites take; a release that exceeds it is refused.
    pub sites: SiteLimits,
}

/// What was published.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Published {
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Position in the channel.
    pub sequence: u64,
    /// Whether it had been published before, unchanged.
    pub already: bool,
    /// Paths.
    pub entries: u64,
    /// Steps made, both directions.
    pub steps: u64,
    /// The most bytes that files in work declared to need at once.
    pub declared: u64,
}

const LIMIT: u64 = 64 << 20;

/// Publishes a release. Killed and run again with the same arguments, it completes with the work already done.
///
/// Of two at once one waits for the other or says so, and whatever it was that let both begin, only one is signed.
pub fn publish(store: &dyn Store, o: &Publish, watch: &dyn Watch) -> Result<Published> {
    names::check(&o.release)?;
    must_be_repository(store)?;
    let _stage = tracing::info_span!("publish", release = o.release).entered();
    let lock = store.lock(watch)?;
    Signer::new(store, &o.keys, o.lifetimes).heeding(watch).ready()?;
    let (was, mut channel) = begin_channel(store, &o.follow)?;
    let jobs = Jobs::new(o.threads, o.memory);
    let mut entries = scan(&o.tree, &o.scan, &jobs, watch)?;
    tracing::info!(paths = entries.len(), "the tree is read");
    // Everything that the new channel file will name again is read back; what this run writes, before it signs.
    let mut proven = Proven::default();
    proven.require(store, &proof::of_channel(store, &channel, watch)?, &jobs, watch)?;
    store_blobs((store, &jobs, watch), &o.tree, &mut entries, &proven)?;
    tracing::info!("its files are stored");
    let old = channel.find(&o.release).cloned();
    let sequence = match &old {
        Some(r) => r.sequence,
        None => channel.head().map_or(0, |h| h.sequence) + 1,
    };
    let bytes = manifest_bytes(o, sequence, entries);
    let manifest = Manifest::parse(&bytes)?;
    let digest = Digest::of(&bytes);
    let mut published = Published {
        manifest: digest,
        sequence,
        already: true,
        entries: manifest.entries.len() as u64,
        steps: 0,
        declared: 0,
    };
    if let Some(old) = old {
        if old.manifest == digest {
            Plan::drop(store, &o.follow, &o.release)?;
            return Ok(published);
        }
        let release = &o.release;
        return Err(Error::Usage(format!(
            "release {release} exists and has another tree; a release never changes"
        )));
    }
    published.already = false;
    let to = Side {
        manifest: &manifest,
        bytes: &bytes,
    };
    prove::manifest(&o.sites, &to)?;
    let mut release = Release {
        release: o.release.clone(),
        sequence,
        urgent: o.urgent,
        published: clock::format(clock::now()),
        manifest: digest,
        manifest_size: bytes.len() as u64,
        manifest_stored: store_manifest(store, &digest, &bytes, watch)?,
        steps: Vec::new(),
    };
    let tools = Tools {
        store,
        jobs: &jobs,
        crew: None,
        watch,
    };
    published.steps = make_steps(tools, o, &mut channel, &mut release, &to)?;
    set_floor(o, &mut channel, sequence)?;
    channel.releases.push(release);
    prove::channel(&o.sites, &channel)?;
    store.flush()?;
    proven.require(store, &proof::of_channel(store, &channel, watch)?, &jobs, watch)?;
    watch.check()?;
    let signer = Signer::new(store, &o.keys, o.lifetimes).heeding(watch);
    tracing::info!(steps = published.steps, "all is proven and is signed now");
    commit(store, signer, &*lock, was, &channel)?;
    Plan::drop(store, &o.follow, &o.release)?;
    published.declared = jobs.declared();
    Ok(published)
}

/// The manifest of the release in its canonical bytes.
fn manifest_bytes(o: &Publish, sequence: u64, entries: Vec<Entry>) -> Vec<u8> {
    let header = Header {
        protocol: PROTOCOL,
        follow: o.follow.clone(),
        release: o.release.clone(),
        sequence,
        urgent: o.urgent,
        features: Vec::new(),
        config: o.config.clone(),
        entries: 0,
        mtime: o.scan.mtime,
    };
    Manifest { header, entries }.to_bytes()
}

/// Stores a manifest; tells the length of its file.
fn store_manifest(store: &dyn Store, digest: &Digest, bytes: &[u8], watch: &dyn Watch) -> Result<u64> {
    let packed = compress::pack(bytes, &[], compress::LEVEL, watch)?;
    let stored = packed.len() as u64;
    Item::manifest(digest, stored, bytes.len() as u64).drop_wrong(store, watch)?;
    store.put(&names::manifest(digest), &packed)?;
    Ok(stored)
}

/// Makes and proves the steps that lead to a release, from nothing and from the chosen ones, and those back to them.
/// Tells how many lead from or to another release.
fn make_steps(
    tools: Tools,
    o: &Publish,
    channel: &mut Channel,
    release: &mut Release,
    to: &Side,
) -> Result<u64> {
    prove::whole_files(tools, &o.sites, release, to.manifest)?;
    let first = steps::build(tools, None, to)?;
    prove::step(tools, &o.sites, &first, None, release)?;
    release.steps.push(first);
    let mut made = 0;
    for (index, both) in o.keep.bases(channel, release.sequence)? {
        let earlier = &channel.releases[index];
        let note = format!("steps between {} and {}", earlier.release, o.release);
        tools.watch.note(&note);
        let old_bytes = load_manifest(tools.store, earlier)?;
        let old_manifest = Manifest::parse(&old_bytes)?;
        let from = Side {
            manifest: &old_manifest,
            bytes: &old_bytes,
        };
        let step = steps::build(tools, Some(&from), to)?;
        prove::step(tools, &o.sites, &step, Some(&from), release)?;
        release.steps.push(step);
        made += 1;
        if !both {
            continue;
        }
        let back = steps::build(tools, Some(to), &from)?;
        prove::step(tools, &o.sites, &back, Some(to), earlier)?;
        let list = &mut channel.releases[index].steps;
        list.retain(|s| s.from != back.from);
        list.push(back);
        made += 1;
    }
    Ok(made)
}

fn set_floor(o: &Publish, channel: &mut Channel, sequence: u64) -> Result<()> {
    if let Some(floor) = &o.floor {
        let sequence = if *floor == o.release {
            Some(sequence)
        } else {
            channel.find(floor).map(|r| r.sequence)
        };
        let sequence = sequence.ok_or_else(|| Error::NotFound(format!("release {floor}")))?;
        channel.floor = channel.floor.max(sequence);
    }
    Ok(())
}

/// Fails where no repository was made.
pub(super) fn must_be_repository(store: &dyn Store) -> Result<()> {
    match store.size(names::TIMESTAMP)? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound(format!("a repository in {}", store.name()))),
    }
}

/// Stores a channel file and signs it, in the place of the one that this run began from.
pub(super) fn commit(
    store: &dyn Store,
    signer: Signer,
    lock: &dyn Hold,
    was: Option<Digest>,
    channel: &Channel,
) -> Result<()> {
    let text =
        serde_json::to_vec(channel).map_err(|e| Error::io("encode channel", std::io::Error::from(e)))?;
    let (digest, target) = (Digest::of(&text), channel.follow.target());
    store.put(&names::target_file(&target, &digest), &text)?;
    lock.still()?;
    let signer = signer.expecting(&target, was);
    signer.release(&[(target, text.len() as u64, digest)])
}

/// The channel file that the repository's own metadata names; empty if it names none.
pub(super) fn load_channel(store: &dyn Store, follow: &Follow) -> Result<Channel> {
    Ok(begin_channel(store, follow)?.1)
}

/// The same, with the digest that metadata has.
pub(super) fn begin_channel(store: &dyn Store, follow: &Follow) -> Result<(Option<Digest>, Channel)> {
    let target = follow.target();
    let Some(digest) = Signer::signed(store, &target)? else {
        let empty = Channel {
            protocol: PROTOCOL,
            follow: follow.clone(),
            floor: 0,
            releases: Vec::new(),
        };
        return Ok((None, empty));
    };
    let name = names::target_file(&target, &digest);
    let bytes = store
        .get(&name, LIMIT)?
        .ok_or_else(|| Error::DamagedRepository(name.clone()))?;
    if Digest::of(&bytes) != digest {
        return Err(Error::DamagedRepository(name));
    }
    Ok((Some(digest), Channel::parse(&bytes, follow)?))
}

/// A release's manifest, checked.
pub(super) fn load_manifest(store: &dyn Store, release: &Release) -> Result<Vec<u8>> {
    manifest_at(store, &release.manifest, release.manifest_size)
}

/// A manifest of so many plain bytes, checked.
pub(super) fn manifest_at(store: &dyn Store, digest: &Digest, size: u64) -> Result<Vec<u8>> {
    manifest_in(store, &names::manifest(digest), digest, size)
}

/// The same from a file of another name.
pub(super) fn manifest_in(store: &dyn Store, name: &str, digest: &Digest, size: u64) -> Result<Vec<u8>> {
    let packed = store
        .get(name, LIMIT)?
        .ok_or_else(|| Error::DamagedRepository(name.to_owned()))?;
    let bytes =
        compress::unpack(&packed, &[], size).map_err(|_| Error::DamagedRepository(name.to_owned()))?;
    if Digest::of(&bytes) != *digest {
        return Err(Error::DamagedRepository(name.to_owned()));
    }
    Ok(bytes)
}

/// The manifest that a step starts from; nothing: it starts from nothing. Its release may be gone from the channel.
pub(super) fn base_of(store: &dyn Store, channel: &Channel, step: &StepRef) -> Result<Vec<u8>> {
    match (
        step.from,
        channel.releases.iter().find(|r| Some(r.manifest) == step.from),
    ) {
        (None, _) => Ok(Vec::new()),
        (_, Some(release)) => load_manifest(store, release),
        (Some(digest), None) => manifest_at(store, &digest, limits::MANIFEST),
    }
}

/// Stores every content once, and notes in the entries how long it is there.
///
/// A blob that no release of the channel names may be of a killed run: it is read back, and made anew if it is wrong.
pub(super) fn store_blobs(
    (store, jobs, watch): (&dyn Store, &Jobs, &dyn Watch),
    tree: &Path,
    entries: &mut [Entry],
    proven: &Proven,
) -> Result<()> {
    let contents = entries
        .iter()
        .enumerate()
        .filter_map(|(i, e)| Some((e.content()?.digest, i)));
    let mut contents: Vec<(Digest, usize)> = contents.collect();
    contents.sort_unstable();
    let mut first = contents.clone();
    first.dedup_by_key(|(digest, _)| *digest);
    let content = |i: usize| entries.get(i).and_then(|e| Some((e, e.content()?)));
    let need = |(_, i): &(Digest, usize)| content(*i).map_or(0, |(_, c)| blobs::memory(c.size));
    let put = |(_, i): &(Digest, usize)| {
        watch.check()?;
        let Some((entry, content)) = content(*i) else {
            return Ok((0, 0));
        };
        let path = join(tree, &entry.path);
        let item = Item::blob(&content.digest, content.size, None);
        if !proven.has(&item.path) {
            item.drop_wrong(store, watch)?;
        }
        let length = blobs::store(store, &path, &content.digest, content.size, watch)?;
        Ok((length, 0))
    };
    let mut stored = Vec::with_capacity(first.len());
    let take = |length: u64| {
        stored.push(length);
        watch.progress("blobs", stored.len() as u64, first.len() as u64);
        Ok(())
    };
    jobs.run(&first, need, put, take)?;
    for (digest, i) in contents {
        let at = first.partition_point(|(d, _)| *d < digest);
        if let (Some(length), Kind::File(content)) = (stored.get(at), &mut entries[i].kind) {
            content.stored = *length;
        }
    }
    Ok(())
}
