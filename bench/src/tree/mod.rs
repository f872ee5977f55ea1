//! Two trees: every changed file through every engine, then the whole trees by what brings trees to sites.

pub mod files;
pub mod pairs;
pub mod report;
mod whole;

use crate::fleet::race::Releases;
use crate::{
    engine::{self, Engine},
    interrupt::{self, Then},
    run::Times,
    tools::Tools,
};
use clap::Args;
use corpora::{Cache, Manifest};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The command line of `bench tree`.
#[derive(Args)]
pub struct Tree {
    /// The old tree: a directory, or a tree of the corpora such as debian-base/old, or a folder in one.
    old: PathBuf,
    /// The new tree.
    new: PathBuf,
    /// Engines by name, separated by commas; `none` leaves single files out.
    #[arg(long, value_delimiter = ',', default_value = "elfdelta,zstd-patch-from")]
    engines: Vec<String>,
    /// Ways for whole trees by name, separated by commas; `none` leaves them out [default: elfup, zstd --patch-from, ostree, casync].
    #[arg(long, value_delimiter = ',')]
    ways: Vec<String>,
    /// Files at a time; 0: as many as there are processors.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Our program for whole trees [default: built from this workspace].
    #[arg(long, value_name = "FILE")]
    elfup: Option<PathBuf>,
    /// Make whole trees' deltas again, also what an earlier run left.
    #[arg(long)]
    fresh: bool,
    /// Also write every figure to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Everything, for `--json`.
#[derive(Serialize)]
struct Figures<'a> {
    files: &'a [files::FileRow],
    whole: &'a [whole::Way],
}

/// `bench tree`.
pub fn run(cache: &Cache, args: &Tree) -> Result<(), String> {
    let tools = Tools::new(cache);
    let (engines, skipped) = usable(&tools, &args.engines)?;
    let ways = whole::select(&args.ways)?;
    interrupt::install(Then::Return)?;
    let (old, new) = (place(cache, &args.old)?, place(cache, &args.new)?);
    let trees = pairs::read(&old, &new)?;
    eprintln!("{} files changed", trees.changed.len());
    let mut files = match engines.is_empty() {
        true => Vec::new(),
        false => files::run(&tools, &trees.changed, &engines, Times::ONCE, args.jobs)?,
    };
    files::without_reports(&mut files);
    let releases = Releases { old, new };
    let work = cache.root().join("tree").join(&trees.name);
    let whole = whole::run(releases, &work, &ways, args)?;
    print!("{}", report::text(&files, &engines, &skipped, &whole));
    if let Some(path) = &args.json {
        let figures = Figures {
            files: &files,
            whole: &whole,
        };
        let text = serde_json::to_string_pretty(&figures).map_err(crate::text)?;
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let wrong = report::failures(&files).count() + whole.iter().filter(|way| way.failed).count();
    match wrong {
        0 => Ok(()),
        n => Err(format!("{n} rows failed")),
    }
}

/// Where a tree is; one of the corpora is made or brought up to date first, where nothing is at the path itself.
pub fn place(cache: &Cache, path: &Path) -> Result<PathBuf, String> {
    let first = path.components().next();
    let name = first.map(|first| first.as_os_str().to_string_lossy());
    let manifest = Manifest::builtin();
    let tree = name.as_deref().and_then(|name| manifest.debian(name));
    let place = match tree {
        Some(tree) if !path.exists() => {
            let told = |release: &corpora::Release, _| eprintln!("{} {}", release.package, release.version);
            let (_, updates) = cache.fetch_debian(tree, &told).map_err(crate::text)?;
            updates
                .iter()
                .for_each(|update| eprintln!("{}: {update}", tree.name));
            cache.root().join(path)
        }
        _ => path.into(),
    };
    place
        .canonicalize()
        .map_err(|error| format!("{}: {error}", place.display()))
}

/// Engines that run here, and why others do not.
pub type Usable = (Vec<Engine>, Vec<(&'static str, String)>);

fn usable(tools: &Tools, names: &[String]) -> Result<Usable, String> {
    match names {
        [none] if none == "none" => Ok((Vec::new(), Vec::new())),
        names => here(tools, names),
    }
}

/// The engines of these names that run here (all, if none is named), and why the others do not.
pub fn here(tools: &Tools, names: &[String]) -> Result<Usable, String> {
    let (mut here, mut skipped) = (Vec::new(), Vec::new());
    for engine in engine::select(names)? {
        match engine.lacks(tools) {
            None => here.push(engine),
            Some(why) => skipped.push((engine.name, why)),
        }
    }
    Ok((here, skipped))
}
