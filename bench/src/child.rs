//! The linked engines, each call in a process of its own: `bench child ...`.

use crate::{
    engine::{Paths, Plan, arg},
    measure::Step,
};
use clap::Args;
use elfdelta::{Limits, Options, Patch, Profile, ReadAt, Silent};
use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

/// The hidden command line of a linked engine's process.
#[derive(Args)]
pub struct Call {
    /// Which function.
    function: String,
    /// Its files, in the order that the function wants them.
    files: Vec<PathBuf>,
}

fn step(function: &str, files: &[&Path]) -> Step {
    let program = std::env::current_exe().map_or_else(|_| "bench".into(), |path| arg(&path));
    let mut argv = vec![program, "child".into(), function.into()];
    argv.extend(files.iter().map(|file| arg(file)));
    Step {
        argv,
        ..Step::default()
    }
}

/// The commands of one of our profiles.
pub fn elfdelta(paths: &Paths, profile: &str) -> Plan {
    let (patch, report) = (paths.file("patch"), paths.file("report"));
    let diff = step(
        &format!("elfdelta-{profile}"),
        &[&paths.old, &paths.new, &patch, &report],
    );
    let apply = step("elfdelta-apply", &[&paths.old, &patch, &paths.out]);
    Plan {
        diff: vec![diff],
        forms: vec![(patch, vec![apply])],
    }
}

/// The commands of a linked peer: `NAME` makes the delta, `NAME-apply` applies it.
pub fn linked(paths: &Paths, name: &str) -> Plan {
    let patch = paths.file("patch");
    let diff = step(name, &[&paths.old, &paths.new, &patch]);
    let apply = step(&format!("{name}-apply"), &[&paths.old, &patch, &paths.out]);
    Plan {
        diff: vec![diff],
        forms: vec![(patch, vec![apply])],
    }
}

pub fn zucchini_diff(paths: &Paths, raw: &Path) -> Step {
    step("zucchini", &[&paths.old, &paths.new, raw])
}

pub fn zucchini_apply(paths: &Paths, raw: &Path) -> Step {
    step("zucchini-apply", &[&paths.old, raw, &paths.out])
}

/// The child process.
pub fn main(call: &Call) -> Result<(), String> {
    let file = |n: usize| {
        call.files
            .get(n)
            .map(PathBuf::as_path)
            .ok_or("a file is missing".to_string())
    };
    let read = |n: usize| fs::read(file(n)?).map_err(crate::text);
    let write = |n: usize, bytes: &[u8]| fs::write(file(n)?, bytes).map_err(crate::text);
    match call.function.as_str() {
        "elfdelta-apply" => elfdelta_apply(file(0)?, &read(1)?, file(2)?),
        "zstd19" => write(2, &zstd::bulk::compress(&read(1)?, 19).map_err(crate::text)?),
        "zstd19-apply" => {
            let patch = BufReader::new(File::open(file(1)?).map_err(crate::text)?);
            let out = File::create(file(2)?).map_err(crate::text)?;
            zstd::stream::copy_decode(patch, out).map_err(crate::text)
        }
        "bsdiff" => {
            let mut raw = Vec::new();
            bsdiff::diff(&read(0)?, &read(1)?, &mut raw).map_err(crate::text)?;
            write(2, &zstd::bulk::compress(&raw, 19).map_err(crate::text)?)
        }
        "bsdiff-apply" => {
            let (old, mut new) = (read(0)?, Vec::new());
            let patch = File::open(file(1)?).map_err(crate::text)?;
            let mut raw = zstd::Decoder::new(patch)
                .map(BufReader::new)
                .map_err(crate::text)?;
            bsdiff::patch(&old, &mut raw, &mut new).map_err(crate::text)?;
            write(2, &new)
        }
        #[cfg(feature = "zucchini")]
        "zucchini" => {
            let patch = zucchini::generate(&read(0)?, &read(1)?).map_err(|e| format!("{e:?}"))?;
            write(2, &patch)
        }
        #[cfg(feature = "zucchini")]
        "zucchini-apply" => {
            let new = zucchini::apply(&map(file(0)?)?, &read(1)?).map_err(|e| format!("{e:?}"))?;
            write(2, &new)
        }
        other => match other.strip_prefix("elfdelta-") {
            Some(profile) => {
                let delta = elfdelta_diff(&read(0)?, &read(1)?, profile)?;
                write(2, &delta.bytes)?;
                write(3, &serde_json::to_vec(&delta.report).map_err(crate::text)?)
            }
            None => Err(format!("no function {other}")),
        },
    }
}

fn elfdelta_diff(old: &[u8], new: &[u8], profile: &str) -> Result<elfdelta::Delta, String> {
    let profile = match profile {
        "fast" => Profile::Fast,
        "max" => Profile::Max,
        _ => Profile::Default,
    };
    let options = Options::default().profile(profile);
    elfdelta::diff(old, new, &options, &Silent).map_err(crate::text)
}

/// A file mapped into memory.
#[allow(unsafe_code)]
fn map(path: &Path) -> Result<memmap2::Mmap, String> {
    let file = File::open(path).map_err(crate::text)?;
    // SAFETY: the files of a run lie in folders of the bench's own, and nobody changes them while it lasts.
    unsafe { memmap2::Mmap::map(&file) }.map_err(crate::text)
}

/// As the command does it: the old file mapped, the patch in memory, the new file written forward.
fn elfdelta_apply(old: &Path, patch: &[u8], out: &Path) -> Result<(), String> {
    let limits = Limits::new().memory(u64::MAX);
    let old = map(old)?;
    let patch = Patch::parse(patch).map_err(crate::text)?;
    let mut sink = BufWriter::with_capacity(1 << 16, File::create(out).map_err(crate::text)?);
    patch
        .applier()
        .limits(limits)
        .apply(&&old[..] as &dyn ReadAt, &mut sink)
        .map_err(crate::text)?;
    sink.flush().map_err(crate::text)
}
