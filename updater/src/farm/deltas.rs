//! One delta job: a pure function of two files and a profile, measured by applying, kept only if it pays.

use super::{Store, blobs};
use crate::manifest::Content;
use crate::watch::ForEngine;
use crate::{Digest, Error, Result, Watch};
use elfdelta::{Limits, Options, Patch, Profile, Silent};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a job found out; stored beside the delta, so that a job is never done twice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Whether it is smaller than the stored whole file by enough to be worth its table row.
    pub pays: bool,
    /// Length of the delta in bytes.
    pub size: u64,
    /// CPU time of applying on one thread, microseconds: what other jobs do beside it must not count.
    pub us: u64,
    /// Memory that applying declares, which the engine enforces, bytes.
    pub memory: u64,
}

/// A delta that pays.
pub struct Made {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its cost.
    pub measured: Measured,
}

/// Bytes that a delta must save over the whole file: about what it costs in the step's table.
const ROW: u64 = 64;

fn name(old: &Digest, new: &Digest, profile: Profile) -> String {
    let engine = elfdelta::container::VERSION;
    let profile = match profile {
        Profile::Fast => "fast",
        Profile::Default => "default",
        Profile::Max => "max",
    };
    format!("work/deltas/{old}-{new}-{profile}-v{engine}")
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
    if let Some(bytes) = store.get(&note, 4096)?
        && let Ok(measured) = serde_json::from_slice::<Measured>(&bytes)
    {
        if !measured.pays {
            return Ok(None);
        }
        if let Some(bytes) = store.get(&body, u64::MAX - 1)?
            && bytes.len() as u64 == measured.size
        {
            return Ok(Some(Made { bytes, measured }));
        }
    }
    watch.check()?;
    let base = blobs::load(store, &old.digest, old.size)?;
    let target = blobs::load(store, &new.digest, new.size)?;
    let options = Options {
        profile,
        threads: 1,
        symbols: None,
        segments: 1,
    };
    let delta = elfdelta::diff(&base, &target, &options, &ForEngine(watch))?;
    let measured = measure(&delta.bytes, &base, &target, new.stored)?;
    let pays = measured.pays;
    if pays {
        store.put(&body, &delta.bytes)?;
    }
    let text = serde_json::to_vec(&measured).map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
    store.put(&note, &text)?;
    let bytes = delta.bytes;
    Ok(pays.then_some(Made { bytes, measured }))
}

/// CPU time that this thread has taken so far.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Applies the delta as a site would and compares every byte.
fn measure(delta: &[u8], base: &[u8], target: &[u8], whole: u64) -> Result<Measured> {
    let limits = Limits {
        memory: u64::MAX,
        output: target.len() as u64,
        threads: 1,
        ..Limits::default()
    };
    let begin = thread_cpu();
    let patch = Patch::parse(delta, &limits)?;
    let mut rebuilt = Vec::with_capacity(target.len());
    patch.apply(&base, &mut rebuilt, &limits, &Silent)?;
    let us = thread_cpu().saturating_sub(begin).as_micros() as u64;
    if rebuilt != target {
        return Err(Error::Engine(elfdelta::Error::SelfCheck(
            "the delta does not rebuild its target",
        )));
    }
    let size = delta.len() as u64;
    Ok(Measured {
        pays: size + ROW < whole,
        size,
        us,
        memory: patch.header().memory,
    })
}
