//! Engines side by side on real release pairs: bytes, seconds, memory.
#![deny(unsafe_code)]

mod cases;
mod child;
mod demo;
mod digests;
mod elfup;
mod engine;
mod fleet;
mod formats;
#[cfg(test)]
#[path = "../../delta/command/tests/schemas/hold.rs"]
mod hold;
mod interrupt;
mod load;
mod measure;
mod peers;
mod place;
mod release;
mod run;
#[cfg(test)]
#[path = "../../delta/command/tests/schemas/tree.rs"]
mod schemas;
mod summary;
mod table;
mod tools;
mod tree;
mod workers;

use clap::{Parser, Subcommand};
use corpora::Cache;
use std::{
    fmt::Display,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Engines side by side on real release pairs.
#[derive(Parser)]
struct Args {
    /// Directory of the pairs [default: corpora/cache in the workspace].
    #[arg(long, global = true, env = Cache::VARIABLE)]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// One pair, made, applied and verified; where the bytes went; then a small tree from a farm to a site.
    Demo,
    /// Every engine on every pair, each result applied back and compared.
    Table {
        /// Pairs by name, separated by commas [default: all in the manifest].
        #[arg(long, value_delimiter = ',')]
        pairs: Vec<String>,
        /// Engines by name, separated by commas [default: all]; `bench tools` names them.
        #[arg(long, value_delimiter = ',')]
        engines: Vec<String>,
        /// Also write every figure to this file as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// One pair through the engine's profiles; the sample programs if it cannot be fetched.
    OnePair {
        /// Name of the pair.
        name: String,
    },
    /// Patches of the pairs against the digests kept in corpora/patches.txt; prints what they are today.
    Digests(digests::Digests),
    /// Two releases of a whole tree over a bad link, our updater beside other tools; needs root.
    Fleet(fleet::Fleet),
    /// Two trees: every changed file through the engines, and the whole trees by what brings trees to sites.
    Tree(tree::Tree),
    /// Packed files of directories, by format: how many are opened, and closed again exactly.
    Formats(formats::Formats),
    /// The updater under load: many files, many releases, many sites, large files; memory held to its bounds.
    Load(load::Load),
    /// Many sites of one place behind one bad link, each for itself and behind a box; needs root.
    Place(place::Place),
    /// One release planned, made by one worker and by two, and published; and what that asks of a bucket.
    Farm(workers::Farm),
    /// Which engines run on this machine, and how to install the others.
    Tools {
        /// Install what needs no administrator: HDiffPatch, into the cache directory.
        #[arg(long)]
        install: bool,
    },
    /// Used by the bench itself: one measured command.
    #[command(hide = true)]
    Measured(measure::Request),
    /// Used by the bench itself: one call of a linked engine.
    #[command(hide = true)]
    Child(child::Call),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let cache = args.cache.map_or_else(Cache::from_env, Cache::at);
    let result = match args.action {
        Action::Demo => ended().and_then(|()| demo::run(&cache)),
        Action::Table { pairs, engines, json } => {
            ended().and_then(|()| run_table(&cache, &pairs, &engines, json.as_deref()))
        }
        Action::OnePair { name } => ended().and_then(|()| demo::one_pair(&cache, &name)),
        Action::Digests(args) => ended().and_then(|()| digests::run(&cache, &args)),
        Action::Fleet(args) => fleet::run(&cache, &args),
        Action::Tree(args) => tree::run(&cache, &args),
        Action::Formats(args) => formats::run(&args),
        Action::Load(args) => load::run(&args),
        Action::Place(args) => place::run(&cache, &args),
        Action::Farm(args) => workers::run(&args),
        Action::Tools { install } => tools::run_tools(&cache, install),
        Action::Measured(request) => measure::child_main(&request),
        Action::Child(call) => child::main(&call),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The user's wish to stop ends this program and what it measures.
fn ended() -> Result<(), String> {
    interrupt::install(interrupt::Then::Exit)
}

fn run_table(cache: &Cache, pairs: &[String], engines: &[String], json: Option<&Path>) -> Result<(), String> {
    let engines = engine::select(engines)?;
    let cases = cases::from_manifest(cache, pairs)?;
    let mut results = Vec::new();
    for case in &cases {
        let result = run::case(cache, case, &engines, &|name| eprintln!("{}: {name}", case.name))?;
        println!("{}", table::case(&result));
        results.push(result);
    }
    println!("{}", summary::text(&results));
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&results).map_err(text)?;
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let wrong = results
        .iter()
        .flat_map(|r| &r.rows)
        .filter(|row| row.failed())
        .count();
    if wrong > 0 {
        return Err(format!("{wrong} rows failed"));
    }
    Ok(())
}

/// An error as its sentence: all that this program does with errors is to print them.
fn text(error: impl Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn what_prints_json_has_a_schema() {
        schemas::has_schemas("bench", &Args::command(), &[]);
    }
}
