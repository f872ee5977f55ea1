//! A job of the farm: what is made of some older and some newer contents. A pure function of them, done once and found
//! again by its name, whoever did it.

use super::blobs;
use super::deltas::{self, Form, Measured};
use super::steps::{ROW, SLOW};
use crate::manifest::Content;
use crate::store::Store;
use crate::{Digest, Error, Result, Watch, limits};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The deltas of one file, and its frame where that is smaller.
    Pair,
    /// One file from its old one and other new files.
    Leaning,
    /// Files that change alike, by one patch.
    Group,
    /// Small files, as a frame, and as a patch where that is smaller.
    Bundle,
}

/// A job: its two sides are these contents, one after the other.
#[derive(Clone, Debug)]
pub struct Job {
    pub kind: Kind,
    pub olds: Vec<Content>,
    pub news: Vec<Content>,
    /// Bytes that the new side takes otherwise: what is not smaller is of no use.
    pub most: u64,
    /// Memory that it takes, in bytes, which the engine keeps to. Two farms that have less than it wants make
    /// other patches of it, each of which gives the new side.
    pub need: u64,
}

/// What a job made; its bytes are in the store.
#[derive(Clone, Debug)]
pub struct Made {
    name: String,
    /// What applying it takes.
    pub measured: Measured,
}

impl Made {
    /// Opens its bytes.
    pub fn open(&self, store: &dyn Store) -> Result<File> {
        let found = store.open(&self.name)?;
        found.ok_or_else(|| Error::NotFound(self.name.clone()))
    }

    /// Reads its bytes; fails if they are no longer what was made.
    pub fn load(&self, store: &dyn Store) -> Result<Vec<u8>> {
        let found = store.get(&self.name, self.measured.size)?;
        let right = found.filter(|bytes| Digest::of(bytes) == self.measured.digest);
        right.ok_or_else(|| Error::DamagedRepository(self.name.clone()))
    }
}

/// A job that is done.
pub struct Done {
    /// Everything that is worth to be offered, the usual one first.
    pub made: Vec<Made>,
    /// CPU time that it took, microseconds, whoever did it and when.
    pub cpu_micros: u64,
}

/// What a job found out; stored behind what it made.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    most: u64,
    made: Vec<Measured>,
    /// CPU time of making it all, as measured, microseconds: advice to who shares out jobs.
    cpu_micros: u64,
}

impl Note {
    /// A line of JSON, then a line with its digest: a turned bit in a number would be signed, too.
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self).map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
        text.push(b'\n');
        let digest = Digest::of(&text);
        text.extend_from_slice(format!("{digest}\n").as_bytes());
        Ok(text)
    }

    /// What it says of the job of this name.
    fn done(self, name: &str) -> Done {
        let one = |measured: Measured| Made {
            name: body(name, measured.form),
            measured,
        };
        Done {
            made: self.made.into_iter().map(one).collect(),
            cpu_micros: self.cpu_micros,
        }
    }

    fn parse(bytes: &[u8]) -> Option<Note> {
        let (text, digest) = bytes.split_at_checked(bytes.len().checked_sub(65)?)?;
        let digest = Digest::parse(std::str::from_utf8(digest).ok()?.trim_end())?;
        (digest == Digest::of(text)).then(|| serde_json::from_slice(text).ok())?
    }
}

/// Where finished jobs lie.
pub const DONE: &str = "work/deltas";
/// Most bytes of a note.
const NOTE: u64 = 8192;

impl Job {
    /// The deltas of a file.
    pub fn pair(old: &Content, new: &Content) -> Job {
        Job {
            kind: Kind::Pair,
            olds: vec![old.clone()],
            news: vec![new.clone()],
            most: new.stored,
            need: 0,
        }
    }

    /// Plain bytes of both sides.
    pub fn bytes(&self) -> u64 {
        self.olds.iter().chain(&self.news).map(|c| c.size).sum()
    }

    /// Its name in the store.
    pub fn name(&self) -> String {
        let side = |contents: &[Content]| match (self.kind, contents) {
            (Kind::Pair, [one]) => one.digest,
            (kind, all) => {
                let mut text = format!("{kind:?}\n");
                all.iter().for_each(|c| text += &format!("{}\n", c.digest));
                Digest::of(text.as_bytes())
            }
        };
        let (old, new) = (side(&self.olds), side(&self.news));
        format!("{DONE}/{old}-{new}-{}", elfdelta::FORMAT_ID)
    }

    /// Where the note of a job of this name lies.
    pub fn note(name: &str) -> String {
        format!("{name}.json")
    }

    /// What was found out if it is done, believed as it stands.
    pub fn noted(&self, store: &dyn Store) -> Result<Option<Vec<Made>>> {
        Ok(self.found(store)?.map(|done| done.made))
    }

    fn found(&self, store: &dyn Store) -> Result<Option<Done>> {
        let name = self.name();
        let bytes = store.get(&Job::note(&name), NOTE)?;
        let note = bytes.and_then(|bytes| Note::parse(&bytes));
        let note = note.filter(|note| note.most == self.most);
        Ok(note.map(|note| note.done(&name)))
    }

    /// Finds it done, and what was made right, by its digest and by applying it once more; else does it.
    pub fn obtain(&self, store: &dyn Store, watch: &dyn Watch) -> Result<Done> {
        watch.check()?;
        let found = match self.found(store)? {
            Some(nothing) if nothing.made.is_empty() => return Ok(nothing),
            found => found,
        };
        let [old, new] = self.load(store, watch)?;
        let sides = [&old[..], &new[..]];
        if let Some(found) = found {
            let mut good = self.may(&found.made);
            for made in &found.made {
                good = good && still_good(store, made, sides, watch)?;
            }
            if good {
                tracing::debug!(name = self.name(), "a job was done before");
                return Ok(found);
            }
        }
        self.make(store, sides, watch)
    }

    /// Whether such a job makes such things: what a site refused would cost it the files, and the farm the release.
    fn may(&self, found: &[Made]) -> bool {
        let patch = |m: &Made| m.measured.form == Form::Default && m.measured.taken_as_bundle();
        match self.kind {
            Kind::Pair => found.iter().all(|m| m.measured.taken()),
            Kind::Leaning | Kind::Group => found.iter().all(patch),
            Kind::Bundle => match found {
                [frame, patches @ ..] => frame.measured.form == Form::Frame && patches.iter().all(patch),
                [] => true,
            },
        }
    }

    /// Does it, for who finds it done later.
    pub fn work(&self, store: &dyn Store, watch: &dyn Watch) -> Result<Vec<Made>> {
        let [old, new] = self.load(store, watch)?;
        Ok(self.make(store, [&old, &new], watch)?.made)
    }

    fn load(&self, store: &dyn Store, watch: &dyn Watch) -> Result<[Vec<u8>; 2]> {
        let side = |contents: &[Content]| -> Result<Vec<u8>> {
            let size: u64 = contents.iter().map(|c| c.size).sum();
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(usize::MAX).min(1 << 30));
            for content in contents {
                watch.check()?;
                blobs::copy(store, content, &mut bytes, watch)?;
            }
            Ok(bytes)
        };
        Ok([side(&self.olds)?, side(&self.news)?])
    }

    fn make(&self, store: &dyn Store, sides: [&[u8]; 2], watch: &dyn Watch) -> Result<Done> {
        let (name, begin) = (self.name(), cpu_micros(ClockId::ThreadCPUTime));
        let _stage = tracing::debug_span!("job", name).entered();
        tracing::trace!(kind = ?self.kind, need = self.need, "begins");
        let all = self.forms(sides, watch)?;
        store.remove(&Job::note(&name))?;
        let mut measured = Vec::with_capacity(all.len());
        for (bytes, m) in all {
            let (memory, ms) = (m.memory, m.micros / 1000);
            tracing::debug!(kind = ?self.kind, form = ?m.form, bytes = m.size, memory, ms, "made");
            let body = body(&name, m.form);
            store.remove(&body)?;
            store.put(&body, &bytes)?;
            measured.push(m);
        }
        let note = Note {
            most: self.most,
            made: measured,
            cpu_micros: cpu_micros(ClockId::ThreadCPUTime).saturating_sub(begin),
        };
        store.put(&Job::note(&name), &note.to_bytes()?)?;
        Ok(note.done(&name))
    }

    /// Everything that is worth to be offered, the usual one first.
    fn forms(&self, sides: [&[u8]; 2], watch: &dyn Watch) -> Result<Vec<(Vec<u8>, Measured)>> {
        let make = |form| deltas::make(form, sides, self.need, watch);
        let smaller = |(_, m): &(Vec<u8>, Measured), most: u64| m.size + ROW < most;
        let bundled = |most: u64| -> Result<_> {
            let patch = make(Form::Default)?;
            Ok(Some(patch).filter(|p| smaller(p, most) && p.1.taken_as_bundle()))
        };
        let mut all = Vec::new();
        match self.kind {
            Kind::Pair => {
                let pays = |p: &(Vec<u8>, Measured)| smaller(p, self.most) && p.1.taken();
                all.extend(Some(make(Form::Default)?).filter(pays));
                let usual = all.first().map(|(_, m)| m.micros);
                if usual.is_none_or(|micros| micros >= SLOW) {
                    let fast = Some(make(Form::Fast)?).filter(pays);
                    all.extend(fast.filter(|(_, m)| usual.is_none_or(|micros| m.micros * 2 < micros)));
                }
                if sides.iter().all(|side| side.len() as u64 <= limits::BUNDLE) {
                    let engine = all.first().map_or(u64::MAX, |(_, m)| m.size);
                    let best = engine.min(self.most.saturating_sub(ROW));
                    if deltas::frame_may_take(sides, best, watch)? {
                        all.extend(Some(make(Form::Frame)?).filter(|(_, m)| m.size <= best));
                    }
                }
            }
            Kind::Leaning | Kind::Group => all.extend(bundled(self.most)?),
            Kind::Bundle => {
                all.push(make(Form::Frame)?);
                if !self.olds.is_empty() {
                    let frame = all[0].1.size;
                    all.extend(bundled(frame)?);
                }
            }
        }
        Ok(all)
    }
}

fn body(name: &str, form: Form) -> String {
    let form = match form {
        Form::Default => "default",
        Form::Fast => "fast",
        Form::Frame => "frame",
    };
    format!("{name}.{form}")
}

/// Whether what was noted is true of the bytes: a worker may have noted something else, or stored others.
fn still_good(store: &dyn Store, made: &Made, sides: [&[u8]; 2], watch: &dyn Watch) -> Result<bool> {
    let told = &made.measured;
    if store.size(&made.name)? != Some(told.size) {
        return Ok(false);
    }
    let bytes = store.get(&made.name, told.size)?.unwrap_or_default();
    let found = deltas::measure(told.form, &bytes, sides, watch);
    watch.check()?;
    Ok(found.is_ok_and(|found| found == *told))
}

/// A note for each file that some job leads to, by name.
pub fn by_target(store: &dyn Store) -> Result<BTreeMap<Digest, String>> {
    let target = |path: String| {
        let name = path.rsplit('/').next()?.strip_suffix(".json")?;
        let digest = Digest::parse(name.split('-').nth(1)?)?;
        Some((digest, path))
    };
    Ok(store.list(DONE)?.into_iter().filter_map(target).collect())
}

/// CPU time that a job took, by its note, microseconds; 0 if that does not say.
pub fn cost(store: &dyn Store, note: &str) -> Result<u64> {
    let bytes = store.get(note, NOTE)?;
    Ok(bytes.and_then(|b| Note::parse(&b)).map_or(0, |n| n.cpu_micros))
}

/// CPU time so far by one of the clocks of it, microseconds.
pub fn cpu_micros(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000) + u64::try_from(time.tv_nsec / 1000).unwrap_or(0)
}
