//! Carry: a part of a repository is copied to where it will be all that a site has, so every file is read back.

use super::proof::{Item, check_all};
use super::publish::{load_channel, load_manifest};
use super::steps;
use crate::disk;
use crate::error::Doing;
use crate::jobs::Jobs;
use crate::manifest::Manifest;
use crate::names::{self, Follow, TIMESTAMP};
use crate::step::{Base, Channel, Release, Step};
use crate::store::{LocalStore, Store};
use crate::trust::Signer;
use crate::watch::Heed;
use crate::{Digest, Error, Result, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Most bytes of a file of metadata.
const METADATA: u64 = 64 << 20;

/// Files of a repository by path.
pub type Files = BTreeMap<String, Item>;

/// What a copy must have for the sites that it is for, and what else may be asked of it.
#[derive(Default)]
pub struct Needs {
    /// Without these a site does not come to the head.
    pub least: Files,
    /// Whole files for which a site has another way: for repairs, and where that way fails.
    pub spare: Files,
}

/// Where a site stands that something is carried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stand<'a> {
    /// Id of the release that it has; none: nothing, or one that the channel does not know.
    pub release: Option<&'a str>,
    /// Most memory that it gives to rebuilding one file.
    pub memory: u64,
}

/// A repository whose head is about to be copied.
pub struct Origin<'a> {
    store: &'a dyn Store,
    /// Read first: what it leads to stays, also while a publish goes on.
    stamp: Vec<u8>,
}

impl<'a> Origin<'a> {
    /// Looks at what is signed there.
    pub fn open(store: &'a dyn Store) -> Result<Origin<'a>> {
        let stamp = store.get(TIMESTAMP, METADATA)?;
        let stamp = stamp.ok_or_else(|| Error::NotFound(format!("a repository in {}", store.name())))?;
        Signer::all_signed(store)?;
        Ok(Origin { store, stamp })
    }

    /// The releases of a channel, of which there is one.
    pub fn channel(&self, follow: &Follow) -> Result<Channel> {
        let channel = load_channel(self.store, follow)?;
        match channel.head() {
            Some(_) => Ok(channel),
            None => Err(Error::NotFound(format!("a release in {}", follow.target()))),
        }
    }

    /// What sites ask for on their way to the head.
    pub fn needs(&self, channel: &Channel, stands: &BTreeSet<Stand>) -> Result<Needs> {
        let mut needs = Needs::default();
        let head = channel
            .head()
            .ok_or_else(|| Error::NotFound("a release".into()))?;
        let add = |to: &mut Files, item: Item| drop(to.insert(item.path.clone(), item));
        let target = channel.follow.target();
        if let Some(digest) = Signer::signed(self.store, &target)? {
            add(&mut needs.least, Item::channel(&target, &digest));
        }
        let stored = head.manifest_stored;
        let manifest = Item::manifest(&head.manifest, stored, head.manifest_size);
        add(&mut needs.least, manifest);
        let manifest = Manifest::parse(&load_manifest(self.store, head)?)?;
        for stand in stands {
            let base = stand.release.and_then(|id| channel.find(id));
            let from = base.map(|r| load_manifest(self.store, r)).transpose()?;
            let from = from.unwrap_or_default();
            let mut known = BTreeSet::new();
            if base.is_some() {
                known.extend(Manifest::parse(&from)?.files().map(|(_, c)| c.digest));
            }
            let told = self.step((base, &from), head, stand.memory, &mut needs.least)?;
            for (_, c) in manifest
                .files()
                .filter(|(_, c)| c.size > 0 && !known.contains(&c.digest))
            {
                let to = match told.contains(&c.digest) {
                    true => &mut needs.spare,
                    false => &mut needs.least,
                };
                add(to, Item::blob(&c.digest, c.size, Some(c.stored)));
            }
        }
        needs.spare.retain(|path, _| !needs.least.contains_key(path));
        Ok(needs)
    }

    /// Adds the step from a release to the head, if there is one, and tells which contents it brings.
    fn step(
        &self,
        (base, from): (Option<&Release>, &[u8]),
        head: &Release,
        memory: u64,
        files: &mut Files,
    ) -> Result<BTreeSet<Digest>> {
        let Some(step) = head.steps.iter().find(|s| s.from == base.map(|r| r.manifest)) else {
            return Ok(BTreeSet::new());
        };
        let item = Item::raw(names::step(&step.digest), step.digest, Some(step.size));
        files.insert(item.path.clone(), item);
        let step = steps::load(self.store, step, from, head)?;
        if let Some(pack) = step.table.pack {
            let length = step.table.pieces.iter().map(|p| p.length).sum();
            let item = Item::raw(names::pack(&pack), pack, Some(length));
            files.insert(item.path.clone(), item);
        }
        Ok(told(&step, memory))
    }

    /// Copies the files that `to` lacks or has wrong, then the metadata, the timestamp last. Tells the bytes of all.
    pub fn copy(&self, files: &Files, to: &Path, watch: &dyn Watch) -> Result<u64> {
        let store = LocalStore::new(to);
        self.bring(files, &store, to, watch)?;
        let mut total = 0;
        for path in files.keys() {
            total += store.size(path)?.unwrap_or(0);
        }
        // As when publishing.
        for path in self.store.list("tuf")?.iter().filter(|p| *p != TIMESTAMP) {
            watch.check()?;
            let bytes = self.store.get(path, METADATA)?;
            let bytes = bytes.ok_or_else(|| Error::DamagedRepository(path.clone()))?;
            total += bytes.len() as u64;
            sign(path, &bytes, &store, to)?;
        }
        sign(TIMESTAMP, &self.stamp, &store, to)?;
        Ok(total + self.stamp.len() as u64)
    }

    /// Copies and reads back: here, as a site that has the copy alone can do nothing about a wrong byte.
    fn bring(&self, files: &Files, to: &LocalStore, stick: &Path, watch: &dyn Watch) -> Result<()> {
        let jobs = Jobs::new(0, 0);
        let mut lacking = Vec::new();
        check_all(to, &files.values().collect::<Vec<_>>(), &jobs, watch, |w| {
            lacking.extend(files.get(&w.path));
            Ok(())
        })?;
        for (done, item) in lacking.iter().enumerate() {
            watch.progress("copied", done as u64, lacking.len() as u64);
            watch.check()?;
            let path = &item.path;
            let stream = self.store.stream(path)?;
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
            match item.map(|i| i.check(self.store, watch)).transpose()?.flatten() {
                Some(why) => Err(Error::DamagedRepository(format!("{} ({why})", w.path))),
                None => Err(wrong(&w.path, stick, &w.why)),
            }
        })
    }
}

/// The contents that a step brings to a site that has all of its older release and so much memory.
fn told(step: &Step, memory: u64) -> BTreeSet<Digest> {
    let Step { table, to, .. } = step;
    let digest = |entry: &usize| Some(to.entries.get(*entry)?.content()?.digest);
    // Whether a site has an encoder nobody knows here, and a bundle with a new base wants that made first.
    let deltas = table.deltas.iter().filter(|d| d.encoders.is_empty());
    let deltas = deltas.filter(|d| step.delta_memory(d) <= memory);
    let old = |i: &usize| matches!(step.base(*i), Some(Base::Old(_)));
    let bundles = table.bundles.iter().filter(|b| b.bases.iter().all(old));
    let bundles = bundles.filter(|b| step.bundle_memory(b) <= memory);
    let alone = deltas.filter_map(|d| digest(&d.to));
    alone
        .chain(bundles.flat_map(|b| b.targets.iter().filter_map(digest)))
        .collect()
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
