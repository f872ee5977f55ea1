//! One delta job: a pure function of two files and a profile, counted by applying, kept only if it pays.

use super::blobs;
use crate::manifest::Content;
use crate::store::Store;
use crate::watch::ForEngine;
use crate::{Digest, Error, Result, Watch, limits, speed};
use elfdelta::{Limits, Options, Patch, Profile};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::time::Duration;

/// What a job found out; stored beside the delta, so that a job is never done twice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Whether it is smaller than the stored whole file by enough to be worth its table row.
    pub pays: bool,
    /// Length of the delta in bytes.
    pub size: u64,
    /// Time of applying on the nominal machine, from counted work, microseconds: it decides what is offered.
    pub us: u64,
    /// Memory that applying declares, which the engine enforces, bytes.
    pub memory: u64,
    /// Scratch space that applying declares, bytes.
    pub scratch: u64,
    /// Encoders that applying needs, by name and version.
    pub encoders: Vec<String>,
    /// SHA-256 of the delta.
    pub digest: Digest,
    /// CPU time of making it and of trying it, as measured, microseconds: advice to who shares out jobs.
    #[serde(default)]
    pub made_us: u64,
}

impl Measured {
    /// A line of JSON, then a line with its digest: a turned bit in a number would be signed, too.
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self).map_err(|e| Error::io("encode", io::Error::from(e)))?;
        text.push(b'\n');
        let digest = Digest::of(&text);
        text.extend_from_slice(format!("{digest}\n").as_bytes());
        Ok(text)
    }

    fn parse(bytes: &[u8]) -> Option<Measured> {
        let (text, digest) = bytes.split_at_checked(bytes.len().checked_sub(65)?)?;
        let digest = Digest::parse(std::str::from_utf8(digest).ok()?.trim_end())?;
        (digest == Digest::of(text)).then(|| serde_json::from_slice(text).ok())?
    }
}

/// A delta that pays; its bytes are in the store.
pub struct Made {
    name: String,
    /// Its cost.
    pub measured: Measured,
}

impl Made {
    /// Opens its bytes.
    pub fn open(&self, store: &dyn Store) -> Result<File> {
        let found = store.open(&self.name)?;
        found.ok_or_else(|| Error::NotFound(self.name.clone()))
    }
}

/// Memory that a delta may take at a site: more than sites allow by themselves, as one may say so, but no more than that.
const MOST: u64 = 512 << 20;
/// Most bytes of a note.
const NOTE: u64 = 4096;
/// Bytes that a delta must save over the whole file: about what it costs in the step's table.
const ROW: u64 = 64;

/// What a job holds for each byte of both files, files included, and whatever their size. Measured: 3.3 to 5.7 for
/// each byte of files of megabytes, 31 MB in all for small ones.
const MEMORY_PER_BYTE: u64 = 10;
const MEMORY_ALWAYS: u64 = 24 << 20;

/// Apply times below this (microseconds) are too short for a second, faster delta to gain.
pub const SLOW: u64 = 20_000;

/// Where finished jobs lie.
const DONE: &str = "work/deltas";

/// All deltas that are worth to be offered between two files, the usual one first.
pub fn options(
    store: &dyn Store,
    old: &Content,
    new: &Content,
    watch: &dyn Watch,
) -> Result<Vec<(Profile, Made)>> {
    let make = |profile| make(store, old, new, profile, watch);
    let mut made = Vec::new();
    let usual = make(Profile::Default)?;
    let slow = usual.as_ref().is_none_or(|m| m.measured.us >= SLOW);
    if slow
        && let Some(fast) = make(Profile::Fast)?
        && usual
            .as_ref()
            .is_none_or(|m| fast.measured.us * 2 < m.measured.us)
    {
        made.push((Profile::Fast, fast));
    }
    if let Some(usual) = usual {
        made.insert(0, (Profile::Default, usual));
    }
    Ok(made)
}

/// Whether all jobs for two files are done, by their notes.
pub fn finished(store: &dyn Store, old: &Content, new: &Content) -> Result<bool> {
    let noted = |profile| -> Result<Option<Measured>> {
        let name = name(&old.digest, &new.digest, profile);
        let note = store.get(&format!("{name}.json"), NOTE)?;
        let Some(measured) = note.and_then(|bytes| Measured::parse(&bytes)) else {
            return Ok(None);
        };
        let there = || store.size(&format!("{name}.delta"));
        let whole = !measured.pays || there()? == Some(measured.size);
        Ok(whole.then_some(measured))
    };
    Ok(match noted(Profile::Default)? {
        None => false,
        Some(usual) if usual.pays && usual.us < SLOW => true,
        Some(_) => noted(Profile::Fast)?.is_some(),
    })
}

/// A note for each file that some usual delta leads to.
pub fn by_target(store: &dyn Store) -> Result<BTreeMap<Digest, String>> {
    let target = |path: String| {
        let name = path.rsplit('/').next()?.strip_suffix(".json")?;
        let mut parts = name.splitn(4, '-').skip(1);
        let (digest, profile) = (Digest::parse(parts.next()?)?, parts.next()?);
        (profile == "default").then_some((digest, path))
    };
    Ok(store.list(DONE)?.into_iter().filter_map(target).collect())
}

/// CPU time of making what a note is about, microseconds; 0 if it does not say.
pub fn cost(store: &dyn Store, note: &str) -> Result<u64> {
    let bytes = store.get(note, NOTE)?;
    Ok(bytes.and_then(|b| Measured::parse(&b)).map_or(0, |m| m.made_us))
}

fn name(old: &Digest, new: &Digest, profile: Profile) -> String {
    let format = elfdelta::FORMAT_ID;
    let profile = match profile {
        Profile::Fast => "fast",
        Profile::Default => "default",
        Profile::Max => "max",
    };
    format!("{DONE}/{old}-{new}-{profile}-{format}")
}

/// Does the job, or finds it done. `None`: the delta does not pay.
pub fn make(
    store: &dyn Store,
    old: &Content,
    new: &Content,
    profile: Profile,
    watch: &dyn Watch,
) -> Result<Option<Made>> {
    let name = name(&old.digest, &new.digest, profile);
    let (note, body) = (format!("{name}.json"), format!("{name}.delta"));
    let noted = store.get(&note, NOTE)?;
    let found = noted.as_ref().and_then(|bytes| Measured::parse(bytes));
    if found.as_ref().is_some_and(|m| !m.pays) {
        return Ok(None);
    }
    watch.check()?;
    let base = blobs::load(store, old, watch)?;
    let target = blobs::load(store, new, watch)?;
    if let Some(measured) = found
        && still_good((store, watch), &body, &measured, &base, &target)?
    {
        return Ok(Some(Made { name: body, measured }));
    }
    if noted.is_some() {
        store.remove(&note)?;
    }
    store.remove(&body)?;
    let (delta, measured) = measured(&base, &target, profile, new.stored, watch)?;
    let pays = measured.pays;
    if pays {
        store.put(&body, &delta)?;
    }
    store.put(&note, &measured.to_bytes()?)?;
    Ok(pays.then_some(Made { name: body, measured }))
}

/// Makes a delta and measures it; it pays if it is smaller than `whole`.
pub fn measured(
    base: &[u8],
    target: &[u8],
    profile: Profile,
    whole: u64,
    watch: &dyn Watch,
) -> Result<(Vec<u8>, Measured)> {
    let options = Options::default().profile(profile).threads(1).apply_memory(MOST);
    let begin = thread_cpu();
    let delta = elfdelta::diff(base, target, &options, &ForEngine(watch))?.bytes;
    let mut measured = measure(&delta, base, target, whole, watch)?;
    measured.made_us = thread_cpu().saturating_sub(begin).as_micros() as u64;
    Ok((delta, measured))
}

/// Whether a finished job's delta is what was measured, by its digest and by applying it once more.
fn still_good(
    (store, watch): (&dyn Store, &dyn Watch),
    body: &str,
    measured: &Measured,
    base: &[u8],
    target: &[u8],
) -> Result<bool> {
    if store.size(body)? != Some(measured.size) {
        return Ok(false);
    }
    let delta = store.get(body, measured.size)?.unwrap_or_default();
    let applied = measure(&delta, base, target, u64::MAX, watch);
    watch.check()?;
    // A worker may have noted something else than is true of it, or of another delta.
    let told = |m: &Measured| (m.digest, m.us, m.memory, m.scratch, m.encoders.clone());
    Ok(applied.is_ok_and(|found| told(&found) == told(measured)))
}

/// CPU time that this thread has taken so far.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Memory that the job takes for files of these sizes, in bytes.
pub fn memory(old: u64, new: u64) -> u64 {
    (old + new) * MEMORY_PER_BYTE + MEMORY_ALWAYS
}

/// Applies the delta as a site would and compares every byte.
fn measure(delta: &[u8], base: &[u8], target: &[u8], whole: u64, watch: &dyn Watch) -> Result<Measured> {
    let limits = Limits::new()
        .memory(u64::MAX)
        .output(target.len() as u64)
        .scratch(limits::SCRATCH)
        .threads(1);
    let patch = Patch::parse(delta)?;
    let mut rebuilt = Compare { expected: target };
    let progress = ForEngine(watch);
    let applier = patch.applier().limits(limits).progress(&progress);
    let applied = applier.counted(&base, &mut rebuilt);
    watch.check()?;
    let Some(work) = applied.ok().filter(|_| rebuilt.expected.is_empty()) else {
        return Err(Error::Engine(elfdelta::Error::SelfCheck(
            "the delta does not rebuild its target",
        )));
    };
    let (size, packing) = (delta.len() as u64, patch.header().packing.as_ref());
    let mut encoders = packing.iter().flat_map(|p| &p.encoders);
    let threads = encoders.any(|name| elfdelta::packed::needs_thread(name));
    Ok(Measured {
        // A piece that no site holds in memory is of no use to any, nor what packs by a thread.
        pays: size + ROW < whole && size <= limits::PIECE && !threads,
        size,
        us: speed::nominal(work),
        memory: patch.header().memory,
        scratch: packing.map_or(0, |p| p.scratch),
        encoders: packing.map_or(Vec::new(), |p| p.encoders.clone()),
        digest: Digest::of(delta),
        made_us: 0,
    })
}

/// A sink that holds what is written against what is expected.
struct Compare<'a> {
    expected: &'a [u8],
}

impl io::Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let rest = self.expected.strip_prefix(bytes);
        self.expected = rest.ok_or_else(|| io::Error::other("the rebuilt file differs"))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
