//! Measures a result: the pairs through one build of the command and through peers, one after the other.

use super::{
    History,
    record::{Figures, Machine, Pair, Record, Version},
};
use crate::{
    built, cases,
    cases::Case,
    engine::{self, Paths, Plan, arg},
    fleet::command,
    measure::Step,
    run::{self, Done, Times},
    tools::Tools,
};
use corpora::Cache;
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

/// Its seconds are one: it is linked, so that it is everywhere, and Cargo.lock names its version.
const YARDSTICK: &str = "bsdiff-crate";
/// Those whose bytes and seconds stand beside ours.
const PEERS: [&str; 2] = [YARDSTICK, "zstd-patch-from"];
/// Our profiles, by their names as engines.
const PROFILES: [(&str, &str); 2] = [("elfdelta", "default"), ("elfdelta-fast", "fast")];

/// The result of the command that the arguments name.
pub fn measured(cache: &Cache, args: &History) -> Result<Record, String> {
    let (program, (commit, time)) = match (&args.elfdelta, &args.commit) {
        (Some(program), Some(commit)) => (program.canonicalize().map_err(crate::text)?, named(commit)?),
        _ => {
            clean()?;
            (built::elfdelta()?, named("HEAD")?)
        }
    };
    let tools = Tools::new(cache);
    let mut pairs = Vec::new();
    for case in cases::from_manifest(cache, &args.pairs)? {
        pairs.push(pair(&tools, &program, &case)?);
    }
    Ok(Record {
        time,
        commit,
        note: args.note.clone(),
        machine: machine(),
        versions: versions(&tools, &program)?,
        yardstick: YARDSTICK.into(),
        pairs,
    })
}

fn pair(tools: &Tools, program: &Path, case: &Case) -> Result<Pair, String> {
    let files = (case.old.as_path(), case.new.as_path());
    let tell = |name: &str| eprintln!("{}: {name}", case.name);
    let mut done: Vec<(&str, Done)> = Vec::new();
    for (name, profile) in PROFILES {
        tell(name);
        let plan = |paths: &Paths| commands(program, profile, paths);
        done.push((name, run::done(files, &plan, Times::of(1))?));
    }
    for engine in engine::select(&PEERS.map(String::from))? {
        if (engine.missing)(tools).is_none() {
            tell(engine.name);
            let plan = |paths: &Paths| (engine.plan)(tools, paths);
            done.push((engine.name, run::done(files, &plan, Times::of(1))?));
        }
    }
    let one = done.iter().find(|(name, _)| *name == YARDSTICK);
    let (diff, apply) = one.map_or((1.0, 1.0), |(_, one)| (one.diff.cpu, one.apply.cpu));
    let figures = |(name, done): &(&str, Done)| Figures {
        engine: (*name).into(),
        bytes: done.bytes,
        diff: over(done.diff.cpu, diff),
        apply: over(done.apply.cpu, apply),
    };
    let (old_bytes, new_bytes) = case.sizes()?;
    Ok(Pair {
        pair: case.name.clone(),
        about: case.about.split(':').next().unwrap_or_default().into(),
        old_bytes,
        new_bytes,
        engines: done.iter().map(figures).collect(),
    })
}

/// Seconds over others, in thousandths: what is beyond them no second run has again.
fn over(seconds: f64, others: f64) -> f64 {
    // A call that takes less than a clock's tick has no ratio, but is told all the same.
    (seconds / others.max(1e-3) * 1e3).round() / 1e3
}

/// What somebody would type.
fn commands(program: &Path, profile: &str, paths: &Paths) -> Plan {
    let step = |words: &[&str]| Step {
        argv: [&[arg(program).as_str()], words]
            .concat()
            .iter()
            .map(|word| (*word).to_owned())
            .collect(),
        ..Step::default()
    };
    let patch = paths.file("patch");
    let [old, new, out, delta] = [&paths.old, &paths.new, &paths.out, &patch].map(|path| arg(path));
    Plan {
        diff: vec![step(&["diff", "--profile", profile, &old, &new, "-o", &delta])],
        forms: vec![(patch, vec![step(&["apply", &old, &delta, "-o", &out])])],
    }
}

/// What a tool prints.
fn said(argv: &[&str]) -> Result<String, String> {
    let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
    command::output(&argv).map(|text| text.trim().to_owned())
}

/// What git says of this workspace, in the time of Greenwich.
fn git(words: &[&str]) -> Result<String, String> {
    let here = ["env", "TZ=UTC", "git", "-C", env!("CARGO_MANIFEST_DIR")];
    said(&[&here, words].concat())
}

/// A commit's short name, and when it was made.
fn named(commit: &str) -> Result<(String, String), String> {
    let date = "--date=format-local:%Y-%m-%dT%H:%M:%SZ";
    let commit = format!("{commit}^{{commit}}");
    let told = git(&["show", "-s", "--abbrev=7", date, "--format=%h %cd", &commit])?;
    let (name, time) = told.split_once(' ').ok_or("git names no commit")?;
    Ok((name.into(), time.into()))
}

/// What is measured has to be a commit.
fn clean() -> Result<(), String> {
    match git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
        true => Ok(()),
        false => Err("there are changes that are in no commit: commit them first".into()),
    }
}

fn machine() -> Machine {
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = told
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Machine {
        kind: std::env::consts::ARCH.into(),
        processor: model.map_or("not told".into(), |(_, name)| name.trim().into()),
        processors: thread::available_parallelism().map_or(1, Into::into),
    }
}

/// The version of each engine that runs.
fn versions(tools: &Tools, program: &Path) -> Result<Vec<Version>, String> {
    let version = |engine: &str, version: String| Version {
        engine: engine.into(),
        version,
    };
    let ours = said(&[&arg(program), "--version"])?;
    let ours = ours.split_once(' ').map_or(ours.as_str(), |(_, version)| version);
    let mut all = vec![
        version("elfdelta", ours.into()),
        version(YARDSTICK, locked("bsdiff")?),
    ];
    if tools.lacks("zstd").is_none() {
        all.push(version("zstd-patch-from", said(&["zstd", "-qV"])?));
    }
    Ok(all)
}

/// The version of a crate that this program was built with.
fn locked(name: &str) -> Result<String, String> {
    let lock: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let text = fs::read_to_string(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    let lock: toml::Table = text.parse().map_err(crate::text)?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let mut packages = packages.into_iter().flatten();
    let package = packages.find(|package| package.get("name").and_then(toml::Value::as_str) == Some(name));
    let version = package
        .and_then(|package| package.get("version"))
        .and_then(toml::Value::as_str);
    version.map(str::to_owned).ok_or(format!("{name} is not locked"))
}
