//! `bench table`: which files, how often, and where the results go.

use crate::{
    cases, demo, engine, measure, own, page,
    run::{self, CaseResult, Times},
    summary, table,
};
use clap::Args;
use corpora::Cache;
use std::path::{Path, PathBuf};

/// The command line of `bench table`.
#[derive(Args)]
#[command(after_help = "Examples:
  bench table app-1.0 app-1.1                         two files: programs, packages, wheels, tarballs
  bench table tree-1.0 tree-1.1 --engines elfdelta,zstd-patch-from
  bench table app-1.0.deb app-1.1.deb --runs 5 --html report.html
  bench table --pairs numpy,cmake --json figures.json")]
pub struct Table {
    /// The old file or directory [default: the pairs of the manifest].
    #[arg(requires = "new")]
    old: Option<PathBuf>,
    /// The new one.
    new: Option<PathBuf>,
    /// Pairs of the manifest by name, separated by commas [default: all].
    #[arg(long, value_delimiter = ',', conflicts_with = "old")]
    pairs: Vec<String>,
    /// Engines by name, separated by commas [default: all]; `bench tools` names them.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// Make and apply each delta so many times: medians count, and their spread is told.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Also write every figure to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a page to this file: plots and tables for a browser, with every figure as JSON inside.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// `bench table`.
pub fn run(cache: &Cache, args: &Table) -> Result<(), String> {
    let times = Times::of(args.runs.into());
    let results = match (&args.old, &args.new) {
        (Some(old), Some(new)) => vec![of_own(cache, (old, new), &args.engines, times)?],
        _ => of_pairs(cache, &args.pairs, &args.engines, times)?,
    };
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&results).map_err(crate::text)?;
        write(path, &(text + "\n"))?;
    }
    if let Some(path) = &args.html {
        write(path, &page::of(&results)?)?;
    }
    let rows = || results.iter().flat_map(|result| &result.rows);
    let wrong = rows().filter(|row| row.failed()).count();
    if wrong > 0 {
        return Err(format!("{wrong} rows failed"));
    }
    match rows().any(|row| row.done().is_some()) {
        true => Ok(()),
        false => Err("none of these engines is installed here; `bench tools` says how to get them".into()),
    }
}

/// Writes a file of results.
fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn of_own(
    cache: &Cache,
    sides: (&Path, &Path),
    engines: &[String],
    times: Times,
) -> Result<CaseResult, String> {
    let result = own::case(cache, sides, engines, times)?;
    println!("{}", table::case(&result));
    print!("{}", own::kinds(&result));
    if result.rows.iter().all(|row| !row.failed()) {
        println!("Every result was applied to the old file and compared with the new one: equal.\n");
    }
    demo::where_it_went(&result);
    println!("{}", measure::METHOD);
    Ok(result)
}

fn of_pairs(
    cache: &Cache,
    pairs: &[String],
    engines: &[String],
    times: Times,
) -> Result<Vec<CaseResult>, String> {
    let engines = engine::select(engines)?;
    let cases = cases::from_manifest(cache, pairs)?;
    let mut results = Vec::new();
    for case in &cases {
        let tell = |name: &str| eprintln!("{}: {name}", case.name);
        let result = run::case(cache, case, &engines, times, &tell)?;
        println!("{}", table::case(&result));
        results.push(result);
    }
    println!("{}", summary::text(&results));
    Ok(results)
}
