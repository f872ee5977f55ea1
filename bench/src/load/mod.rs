//! The updater under load: trees of many files, many releases, many sites, large files, each command measured
//! against the bound on its memory.

mod cases;
pub mod farm;
mod report;
mod trees;

use crate::interrupt::{self, Then};
use clap::{Args, ValueEnum};
use report::Row;
use std::path::PathBuf;

/// The command line of `bench load`.
#[derive(Args)]
pub struct Load {
    /// Cases, separated by commas [default: all].
    #[arg(long, value_delimiter = ',')]
    cases: Vec<Case>,
    /// Size of every case in percent: files, or bytes of the large files.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100))]
    percent: u64,
    /// Our program [default: built from this workspace].
    #[arg(long, value_name = "FILE")]
    elfup: Option<PathBuf>,
    /// Folder for trees, repository and sites, tens of gigabytes; what is made in it is removed [default: a temporary
    /// one].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Also write every figure to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What the updater is put under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// 100,000 files of 10 KB, of which a tenth changes.
    Files,
    /// 20 releases of a small tree, and a site that is 19 behind.
    Releases,
    /// 50 sites at once from one web server.
    Sites,
    /// A pair of files of 1 GB.
    Pair,
    /// A file of 5 GB.
    Huge,
}

const ALL: [Case; 5] = [Case::Releases, Case::Sites, Case::Files, Case::Pair, Case::Huge];

/// `bench load`.
pub fn run(args: &Load) -> Result<(), String> {
    interrupt::install(Then::Return)?;
    let elfup = args.elfup.clone().map_or_else(crate::built::elfup, Ok)?;
    let chosen: Vec<Case> = ALL
        .into_iter()
        .filter(|case| args.cases.is_empty() || args.cases.contains(case))
        .collect();
    let mut rows: Vec<Row> = Vec::new();
    for case in chosen {
        let work = match &args.work {
            Some(folder) => std::fs::create_dir_all(folder).and_then(|()| tempfile::tempdir_in(folder)),
            None => tempfile::tempdir(),
        };
        let work = work.map_err(crate::text)?;
        let farm = farm::Farm::new(work.path(), &elfup)?;
        let of = |whole: u64| (whole * args.percent / 100).max(1);
        match case {
            Case::Files => cases::files(&farm, of(100_000), &mut rows)?,
            Case::Releases => cases::releases(&farm, 20, &mut rows)?,
            Case::Sites => cases::sites(&farm, of(50), &mut rows)?,
            Case::Pair => cases::pair(&farm, of(1 << 30), &mut rows)?,
            Case::Huge => cases::huge(&farm, of(5 << 30), &mut rows)?,
        }
        work.close().map_err(crate::text)?;
    }
    println!("{}", report::table(&rows));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(crate::text)?;
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match rows.iter().filter(|row| row.exceeds()).count() {
        0 => Ok(()),
        n => Err(format!("{n} commands took more memory than their bound")),
    }
}
