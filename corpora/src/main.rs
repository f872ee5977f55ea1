//! The `corpora` command: lists the pairs and fetches them.

use clap::{Parser, Subcommand};
use corpora::{Cache, Error, Manifest, Pair, Side, Step};
use indicatif::{ProgressBar, ProgressStyle};
use std::{path::PathBuf, process::ExitCode};

/// Real release pairs, by package, version and digest.
#[derive(Parser)]
struct Args {
    /// Cache directory [default: corpora/cache in the workspace].
    #[arg(long, global = true, env = Cache::VARIABLE)]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Fetch pairs through pip and npm, and check their digests.
    Fetch {
        /// Names of pairs; all of them if none is given.
        names: Vec<String>,
        /// Fetch the site tree's packages instead, unpacked into tree/old and tree/new.
        #[arg(long, conflicts_with = "names")]
        tree: bool,
    },
    /// List the pairs and whether they are in the cache.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let cache = args.cache.map_or_else(Cache::from_env, Cache::at);
    let result = match args.command {
        Action::Fetch { tree: true, .. } => fetch_tree(&cache),
        Action::Fetch { names, .. } => fetch(&cache, &names),
        Action::List { json } => {
            list(&cache, json);
            Ok(true)
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("corpora: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Fetches pair after pair; a pair that cannot be had does not keep the others away.
fn fetch(cache: &Cache, names: &[String]) -> Result<bool, Error> {
    let manifest = Manifest::builtin();
    let pairs = manifest.select(names)?;
    let bar = bar(2 * pairs.len() as u64);
    let mut all = true;
    for pair in pairs {
        let report = |step| match step {
            Step::Checking(side) => bar.set_message(phrase(pair, side, "checking")),
            Step::Downloading(side) => bar.set_message(phrase(pair, side, "downloading")),
            Step::Extracting(side) => bar.set_message(phrase(pair, side, "extracting")),
            Step::Done(_) => bar.inc(1),
        };
        match cache.fetch(pair, &report) {
            Ok(files) => {
                bar.suspend(|| println!("{}: {}", pair.name, files.old.with_file_name("").display()))
            }
            Err(error) => {
                all = false;
                bar.suspend(|| eprintln!("{}: {error}", pair.name));
            }
        }
    }
    bar.finish_and_clear();
    Ok(all)
}

fn fetch_tree(cache: &Cache) -> Result<bool, Error> {
    let manifest = Manifest::builtin();
    let wheels = manifest.wheels(&[])?;
    let bar = bar(2 * wheels.len() as u64);
    let files = cache.fetch_tree(&wheels, &|wheel, side| {
        bar.set_message(format!("{} {}", wheel.package, wheel.version(side)));
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    println!("{}\n{}", files.old.display(), files.new.display());
    Ok(true)
}

fn list(cache: &Cache, json: bool) {
    let manifest = Manifest::builtin();
    if json {
        println!(
            "{}",
            serde_json::to_string_pretty(&manifest).expect("a manifest serialises")
        );
        return;
    }
    for pair in &manifest.pairs {
        let here = if cache.has(pair) { "cached" } else { "-" };
        println!(
            "{:<13} {:<7} {} {} -> {}: {}",
            pair.name, here, pair.package, pair.old, pair.new, pair.why
        );
    }
}

fn phrase(pair: &Pair, side: Side, doing: &str) -> String {
    format!("{} {}: {doing}", pair.name, pair.version(side))
}

/// A bar on standard error; it hides itself where that is not a terminal.
fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed} {msg}");
    ProgressBar::new(length).with_style(style.expect("the template is well-formed"))
}
