//! The `elfdelta` command: make a patch, apply it, look into it.
#![deny(unsafe_code)]

mod apply;
mod args;
mod diff;
mod exit;
mod input;
mod inspect;
mod interrupt;
mod log;
mod manual;
mod mapped;
mod output;
mod progress;
#[cfg(test)]
#[path = "../tests/schemas/tree.rs"]
mod schemas;
mod scratch;
mod size;

use args::{Action, Cli};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    interrupt::listen();
    let voice = log::Voice::of(cli.quiet, cli.verbose);
    let done = match cli.action {
        Action::Diff(args) => diff::run(&args, voice),
        Action::Apply(args) => apply::run(&args, voice),
        Action::Inspect(args) => inspect::run(&args, voice),
        Action::Completions { shell } => manual::completions(shell),
        Action::Man(args) => manual::man(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
