//! Engines side by side on real release pairs: bytes, seconds, memory.
#![deny(unsafe_code)]

mod built;
mod cases;
mod child;
mod demo;
mod digests;
mod engine;
mod fleet;
mod formats;
mod history;
#[cfg(test)]
#[path = "../../delta/command/tests/schemas/hold.rs"]
mod hold;
mod interrupt;
mod load;
mod measure;
mod own;
mod page;
mod peers;
mod place;
mod release;
mod run;
#[cfg(test)]
#[path = "../../delta/command/tests/schemas/tree.rs"]
mod schemas;
mod side_by_side;
mod summary;
mod table;
mod tools;
mod tree;
mod workers;

use clap::{Parser, Subcommand};
use corpora::Cache;
use std::{fmt::Display, path::PathBuf, process::ExitCode};

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
    /// Engines side by side, each result applied back and compared: on two files or directories of your own, or on
    /// the pairs of the manifest.
    Table(side_by_side::Table),
    /// One pair through the engine's profiles; the sample programs if it cannot be fetched.
    OnePair {
        /// Name of the pair.
        name: String,
    },
    /// Patches of the pairs against the digests kept in corpora/patches.txt; prints what they are today.
    Digests(digests::Digests),
    /// Results of this project as they were measured at some of its commits, in `bench/results`; with --add one more.
    History(history::History),
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
        Action::Table(args) => ended().and_then(|()| side_by_side::run(&cache, &args)),
        Action::OnePair { name } => ended().and_then(|()| demo::one_pair(&cache, &name)),
        Action::Digests(args) => ended().and_then(|()| digests::run(&cache, &args)),
        Action::History(args) => ended().and_then(|()| history::run(&cache, &args)),
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
