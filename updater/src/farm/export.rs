//! The part of a repository that a stick must carry to bring a site from one release to the head.

use super::proof::{Item, check_all};
use super::publish::{load_channel, load_manifest};
use super::steps;
use crate::disk;
use crate::error::Doing;
use crate::jobs::Jobs;
use crate::manifest::Manifest;
use crate::names::{self, Follow, TIMESTAMP};
use crate::step::{Channel, Release};
use crate::store::{LocalStore, Store};
use crate::trust::Signer;
use crate::watch::Heed;
use crate::{Error, Result, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Most bytes of a file of metadata.
const METADATA: u64 = 64 << 20;

/// Copies signed metadata, the head's steps from `since` and later, and the whole files that `since` lacks.
///
/// Without `since` everything that an empty site needs. The stick is a repository like any other; what is wrong on it
/// is replaced, and what was written is read back. Returns its bytes.
pub fn export(
    from_store: &dyn Store,
    follow: &Follow,
    since: Option<&str>,
    to: &Path,
    watch: &dyn Watch,
) -> Result<u64> {
    let to_store = LocalStore::new(to);
    // Read first: what it leads to stays, also while a publish goes on.
    let stamp = from_store.get(TIMESTAMP, METADATA)?;
    let stamp = stamp.ok_or_else(|| Error::NotFound(format!("a repository in {}", from_store.name())))?;
    Signer::all_signed(from_store)?;
    let channel = load_channel(from_store, follow)?;
    let head = channel
        .head()
        .ok_or_else(|| Error::NotFound("a release in the channel".into()))?;
    let find = |id| {
        let release = channel.find(id);
        release.ok_or_else(|| Error::NotFound(format!("release {id}")))
    };
    let mut files = needed(from_store, &channel, head, since.map(find).transpose()?)?;
    let target = follow.target();
    if let Some(digest) = Signer::signed(from_store, &target)? {
        let item = Item::channel(&target, &digest);
        files.insert(item.path.clone(), item);
    }
    bring(&files, from_store, &to_store, to, watch)?;
    let mut total = 0;
    for path in files.keys() {
        total += to_store.size(path)?.unwrap_or(0);
    }
    // Metadata last and the timestamp at the very end, as when publishing.
    for path in from_store.list("tuf")?.iter().filter(|p| *p != TIMESTAMP) {
        watch.check()?;
        let bytes = from_store.get(path, METADATA)?;
        let bytes = bytes.ok_or_else(|| Error::DamagedRepository(path.clone()))?;
        total += bytes.len() as u64;
        sign(path, &bytes, &to_store, to)?;
    }
    sign(TIMESTAMP, &stamp, &to_store, to)?;
    Ok(total + stamp.len() as u64)
}

/// What a site at `since`, or one that has nothing, may ask for on its way to the head.
fn needed(
    store: &dyn Store,
    channel: &Channel,
    head: &Release,
    since: Option<&Release>,
) -> Result<BTreeMap<String, Item>> {
    let mut files = BTreeMap::new();
    let mut add = |item: Item| drop(files.insert(item.path.clone(), item));
    add(Item::manifest(
        &head.manifest,
        head.manifest_stored,
        head.manifest_size,
    ));
    let mut known = BTreeSet::new();
    if let Some(since) = since {
        let manifest = Manifest::parse(&load_manifest(store, since)?)?;
        known.extend(manifest.files().map(|(_, c)| c.digest));
    }
    let manifest = Manifest::parse(&load_manifest(store, head)?)?;
    let lacking = manifest
        .files()
        .filter(|(_, c)| c.size > 0 && !known.contains(&c.digest));
    lacking.for_each(|(_, c)| add(Item::blob(&c.digest, c.size, Some(c.stored))));
    for step in &head.steps {
        let base = channel.releases.iter().find(|r| Some(r.manifest) == step.from);
        let wanted = match (base, since) {
            (Some(base), Some(since)) => base.sequence >= since.sequence,
            (None, None) => step.from.is_none(),
            _ => false,
        };
        if wanted {
            add(Item::raw(names::step(&step.digest), step.digest, Some(step.size)));
            let from = base.map(|r| load_manifest(store, r)).transpose()?;
            let table = steps::load(store, step, &from.unwrap_or_default(), head)?.table;
            let length = table.pieces.iter().map(|p| p.n).sum();
            let pack = table.pack.map(|p| Item::raw(names::pack(&p), p, Some(length)));
            pack.into_iter().for_each(&mut add);
        }
    }
    Ok(files)
}

/// Copies the files that the stick lacks or has wrong, and reads them back: here, as a site that has the stick alone
/// can do nothing about a wrong byte.
fn bring(
    files: &BTreeMap<String, Item>,
    from: &dyn Store,
    to: &LocalStore,
    stick: &Path,
    watch: &dyn Watch,
) -> Result<()> {
    let jobs = Jobs::new(0, super::JOBS_MEMORY);
    let mut lacking = Vec::new();
    check_all(to, &files.values().collect::<Vec<_>>(), &jobs, watch, |w| {
        lacking.extend(files.get(&w.path));
        Ok(())
    })?;
    for (done, item) in lacking.iter().enumerate() {
        watch.progress("copied", done as u64, lacking.len() as u64);
        watch.check()?;
        let path = &item.path;
        let stream = from.stream(path)?;
        let stream = stream.ok_or_else(|| Error::DamagedRepository(path.clone()))?;
        let mut file = Heed::new(stream.bytes, watch);
        to.remove(path)?;
        to.write(path, &mut |sink| {
            io::copy(&mut file, sink).map(drop).doing("copy", path)
        })?;
    }
    to.flush()?;
    for item in &lacking {
        to.open(&item.path)?.iter().for_each(disk::forget_cached);
    }
    check_all(to, &lacking, &jobs, watch, |w| {
        to.remove(&w.path)?;
        let item = files.get(&w.path);
        match item.map(|i| i.check(from, watch)).transpose()?.flatten() {
            Some(why) => Err(Error::DamagedRepository(format!("{} ({why})", w.path))),
            None => Err(wrong(&w.path, stick, &w.why)),
        }
    })
}

/// Writes a file of metadata and reads it back.
fn sign(path: &str, bytes: &[u8], to: &LocalStore, stick: &Path) -> Result<()> {
    to.replace(path, bytes)?;
    to.open(path)?.iter().for_each(disk::forget_cached);
    match to.get(path, METADATA)?.is_some_and(|found| found == bytes) {
        true => Ok(()),
        false => Err(wrong(path, stick, "other bytes than were written")),
    }
}

fn wrong(path: &str, stick: &Path, why: &str) -> Error {
    Error::io(
        format!("read back {path} on {}", stick.display()),
        io::Error::other(why.to_owned()),
    )
}
