//! The `corpora` command: lists the pairs and fetches them.

use clap::{Parser, Subcommand};
use corpora::{Cache, Debian, Error, Manifest, Pair, Side, Step};
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
    /// Fetch pairs through pip and npm, and check their digests; make trees of Debian packages.
    Fetch {
        /// Names of pairs, of sets of pairs, or of Debian trees; all pairs that are in no set if none is given.
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
    let (trees, names): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|n| manifest.debian(n).is_some());
    let mut all = true;
    for tree in trees.iter().filter_map(|name| manifest.debian(name)) {
        all &= fetch_debian(cache, tree);
    }
    if names.is_empty() && !trees.is_empty() {
        return Ok(all);
    }
    let pairs = manifest.select(&names)?;
    let bar = bar(2 * pairs.len() as u64);
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

/// Makes a Debian tree and prints which versions it is of; says why where that cannot be.
fn fetch_debian(cache: &Cache, tree: &Debian) -> bool {
    let bar = bar(2 * tree.packages.len().max(1) as u64);
    let made = cache.fetch_debian(tree, &|release, _| {
        bar.set_message(format!("{} {}", release.package, release.version));
        bar.inc(1);
    });
    bar.finish_and_clear();
    match made {
        Ok((files, updates)) => {
            updates
                .iter()
                .for_each(|update| println!("{}: {update}", tree.name));
            println!("{}: {}", tree.name, files.old.with_file_name("").display());
            true
        }
        Err(error) => {
            eprintln!("{}: skipped: {error}", tree.name);
            false
        }
    }
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
        let set = pair.set.as_deref().unwrap_or("");
        println!(
            "{:<22} {:<8} {:<7} {} {} -> {}: {}",
            pair.name, set, here, pair.package, pair.old, pair.new, pair.why
        );
    }
    for tree in &manifest.debian {
        println!(
            "{:<22} Debian tree of what the archive has: {}",
            tree.name, tree.why
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
