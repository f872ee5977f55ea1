//! `farm verify` and `farm repair`: the whole repository against its signed metadata, and the way back to it.

use super::blobs;
use super::proof::{Item, Wrong, check_all, of_channel};
use super::publish::load_channel;
use crate::error::Doing;
use crate::jobs::Jobs;
use crate::manifest::{ScanOptions, join, scan};
use crate::names::Follow;
use crate::source::{self, Access, Sources, Span};
use crate::store::{Store, Stream};
use crate::trust::{Fetch, Signer};
use crate::watch::Heed;
use crate::{Digest, Error, Result, Watch};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What `verify` reads.
#[derive(Clone, Debug)]
pub struct Verify {
    /// Percentage of the files that is read, another choice each time.
    pub sample: u8,
    /// Go on where an interrupted run stopped.
    pub resume: bool,
    /// Threads (0: one for each core).
    pub threads: usize,
}

/// What `verify` found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verified {
    /// Files read.
    pub checked: u64,
    /// Files that metadata refers to.
    pub files: u64,
    /// Those that are not right, by path.
    pub wrong: Vec<Wrong>,
    /// The last path that is done, while the run goes on.
    after: String,
}

/// Where an interrupted run left its results.
const PROGRESS: &str = "work/verify.json";
const LIMIT: u64 = 64 << 20;
/// Files between two looks at the clock.
const CHUNK: usize = 256;
const SAVE_AFTER: Duration = Duration::from_secs(2);

/// Reads everything that signed metadata leads to, or a sample, and tells what is not right.
pub fn verify(store: &dyn Store, o: &Verify, watch: &dyn Watch) -> Result<Verified> {
    let jobs = Jobs::new(o.threads, 0);
    let (items, wrong) = everything(store, watch)?;
    let mut report = Verified {
        wrong,
        ..Verified::default()
    };
    if o.resume
        && let Some(bytes) = store.get(PROGRESS, LIMIT)?
        && let Ok(saved) = serde_json::from_slice(&bytes)
    {
        report = saved;
    }
    report.files = items.len() as u64;
    let seed = format!("{:?}", std::time::SystemTime::now());
    let chosen = |path: &str| {
        Digest::of(format!("{seed}{path}").as_bytes()).0[0] as u32 * 100 < u32::from(o.sample) * 256
    };
    let after = report.after.clone();
    let todo: Vec<&Item> = items
        .values()
        .filter(|i| i.path > after && chosen(&i.path))
        .collect();
    let mut saved = Instant::now();
    for chunk in todo.chunks(CHUNK) {
        let mut found = Vec::new();
        let checked = check_all(store, chunk, &jobs, watch, |w| {
            found.push(w);
            Ok(())
        });
        let stopped = matches!(checked, Err(Error::Cancelled));
        if checked.is_ok() {
            report.wrong.append(&mut found);
            report.checked += chunk.len() as u64;
            report.after = chunk.last().map(|i| i.path.clone()).unwrap_or_default();
            watch.progress("read back", report.checked, todo.len() as u64);
        }
        if stopped || saved.elapsed() > SAVE_AFTER {
            let text = serde_json::to_vec(&report).map_err(|e| Error::io("encode", io::Error::from(e)))?;
            store.replace(PROGRESS, &text)?;
            saved = Instant::now();
        }
        checked?;
    }
    store.remove(PROGRESS)?;
    Ok(report)
}

/// Every file that signed metadata leads to, by path, and what is wrong with the metadata itself.
fn everything(store: &dyn Store, watch: &dyn Watch) -> Result<(BTreeMap<String, Item>, Vec<Wrong>)> {
    let (mut all, mut wrong) = (BTreeMap::new(), Vec::new());
    let signed = match Signer::all_signed(store) {
        Ok(signed) => signed,
        Err(Error::DamagedRepository(path)) => {
            wrong.push(Wrong {
                path,
                why: "damaged or missing".into(),
            });
            Vec::new()
        }
        Err(e) => return Err(e),
    };
    for (target, digest) in signed {
        let item = Item::channel(&target, &digest);
        all.insert(item.path.clone(), item);
        let mut parts = target.trim_end_matches(".json").split('/').skip(1);
        if let (Some(product), Some(channel), Some(arch)) = (parts.next(), parts.next(), parts.next())
            && let Ok(channel) = load_channel(store, &Follow::new(product, channel, arch)?)
        {
            all.append(&mut of_channel(store, &channel, watch)?);
        }
    }
    Ok((all, wrong))
}

/// Where `repair` takes right bytes from.
#[derive(Clone, Debug)]
pub struct Repair {
    /// Trees that hold files of releases.
    pub trees: Vec<PathBuf>,
    /// Mirrors: directories or `http://` addresses.
    pub sources: Vec<String>,
    /// How mirrors are reached.
    pub access: Access,
    /// Threads (0: one for each core).
    pub threads: usize,
}

/// What `repair` did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Repaired {
    /// Files that are right again.
    pub repaired: Vec<String>,
    /// Files that are not.
    pub left: Vec<Wrong>,
}

/// Replaces what `verify` finds wrong by what mirrors and trees have, each byte checked first.
pub fn repair(store: &dyn Store, o: &Repair, watch: &dyn Watch) -> Result<Repaired> {
    let _lock = store.lock(watch)?;
    let sources = source::open(&o.sources, &o.access)?;
    let sources = Mirrors {
        sources: &sources,
        told: RefCell::default(),
    };
    let jobs = Jobs::new(o.threads, 0);
    let mut report = Repaired::default();
    repair_metadata(store, &sources, &mut report, watch)?;
    // A manifest that is right again leads to files that were not looked at before.
    loop {
        let (items, metadata) = everything(store, watch)?;
        report.left = metadata;
        let all: Vec<&Item> = items.values().collect();
        check_all(store, &all, &jobs, watch, |w| {
            report.left.push(w);
            Ok(())
        })?;
        let wanted: Vec<&Item> = report.left.iter().filter_map(|w| items.get(&w.path)).collect();
        let trees = look_up(&o.trees, &wanted, &jobs, watch)?;
        let mut done = 0;
        for item in wanted {
            watch.check()?;
            if from_sources(store, &sources, item, watch)? || from_tree(store, &trees, item, watch)? {
                watch.note(&format!("{} is right again", item.path));
                report.repaired.push(item.path.clone());
                done += 1;
            }
        }
        store.flush()?;
        if done == 0 {
            return Ok(report);
        }
    }
}

/// Metadata comes from mirrors, a file after another in the order in which one vouches for the next. The timestamp is
/// not taken: a mirror's may be older than what sites have seen.
fn repair_metadata(
    store: &dyn Store,
    mirrors: &Mirrors,
    report: &mut Repaired,
    watch: &dyn Watch,
) -> Result<()> {
    let mut tried = HashMap::new();
    loop {
        watch.check()?;
        let path = match Signer::all_signed(store) {
            Err(Error::DamagedRepository(path)) if !path.starts_with("tuf/timestamp") => path,
            Err(Error::DamagedRepository(_)) | Ok(_) => return Ok(()),
            Err(e) => return Err(e),
        };
        let next = tried.entry(path.clone()).or_insert(0);
        let index = *next;
        if index >= mirrors.sources.len() {
            return Ok(());
        }
        *next += 1;
        let bytes = mirrors.sources.one(index, watch).fetch(&path, LIMIT);
        if let Some(bytes) = mirrors.heard(index, bytes, watch)?.flatten() {
            store.replace(&path, &bytes)?;
            report.repaired.retain(|p| *p != path);
            report.repaired.push(path);
        }
    }
}

/// Mirrors, and those of them whose failure was told.
struct Mirrors<'a> {
    sources: &'a Sources,
    told: RefCell<BTreeSet<usize>>,
}

impl Mirrors<'_> {
    /// What a mirror brought; of its failures the first is told, as the reason for what is left.
    fn heard<T>(&self, index: usize, result: Result<T>, watch: &dyn Watch) -> Result<Option<T>> {
        match result {
            Ok(found) => return Ok(Some(found)),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(e) if self.told.borrow_mut().insert(index) => watch.note(&e.to_string()),
            Err(e) => watch.detail(&e.to_string()),
        }
        Ok(None)
    }
}

fn from_sources(store: &dyn Store, mirrors: &Mirrors, item: &Item, watch: &dyn Watch) -> Result<bool> {
    let sources = mirrors.sources;
    for index in 0..sources.len() {
        let mut scratch = store.scratch()?;
        let limit = item.length.unwrap_or(LIMIT);
        let mut got = 0;
        let read = sources.read_from(index, &item.path, Span::AtMost(limit), watch, &mut |part| {
            got += part.len() as u64;
            if got > limit {
                return Err(Error::Untrusted(format!("{} is too long", item.path)));
            }
            scratch.write_all(part).doing("write", "a scratch file")
        });
        if mirrors.heard(index, read, watch)? == Some(true) && put_right(store, item, scratch, watch)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn from_tree(
    store: &dyn Store,
    trees: &HashMap<Digest, PathBuf>,
    item: &Item,
    watch: &dyn Watch,
) -> Result<bool> {
    let (Some(path), Some(plain)) = (trees.get(&item.digest), item.plain) else {
        return Ok(false);
    };
    let mut scratch = store.scratch()?;
    blobs::pack_file(path, (&item.digest, plain), &mut scratch, watch)?;
    put_right(store, item, scratch, watch)
}

/// Gives a file its name once all of it is known to be right.
fn put_right(store: &dyn Store, item: &Item, mut scratch: std::fs::File, watch: &dyn Watch) -> Result<bool> {
    scratch.rewind().doing("read", "a scratch file")?;
    let copy = scratch.try_clone().doing("read", "a scratch file")?;
    let judged = Stream::of(copy).and_then(|copy| item.judge(copy, watch));
    watch.check()?;
    if judged.is_err() {
        return Ok(false);
    }
    store.remove(&item.path)?;
    store.write(&item.path, &mut |sink| {
        scratch.rewind().doing("read", "a scratch file")?;
        let copied = io::copy(&mut Heed::new(&mut scratch, watch), sink);
        copied.map(drop).doing("write", &item.path)
    })?;
    Ok(true)
}

/// Where the trees have the contents of blobs that are wrong.
fn look_up(
    trees: &[PathBuf],
    wanted: &[&Item],
    jobs: &Jobs,
    watch: &dyn Watch,
) -> Result<HashMap<Digest, PathBuf>> {
    let mut found = HashMap::new();
    if wanted.iter().all(|i| i.plain.is_none()) {
        return Ok(found);
    }
    let options = ScanOptions {
        no_xattrs: true,
        ..ScanOptions::default()
    };
    for tree in trees {
        for entry in scan(tree, &options, jobs, watch)? {
            if let Some(content) = entry.content() {
                found.insert(content.digest, join(tree, &entry.path));
            }
        }
    }
    Ok(found)
}
