//! What shells and manuals want to know of the command, printed from its own arguments.

use crate::{args::Cli, args::ManArgs, exit::Failure, output::say};
use clap::CommandFactory;
use clap_complete::Shell;

/// Prints what a shell completes the command by.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "elfdelta", &mut script);
    say(&String::from_utf8_lossy(&script))
}

/// Writes a page of the manual for the command and for each of its parts.
pub fn man(args: &ManArgs) -> Result<(), Failure> {
    std::fs::create_dir_all(&args.folder).map_err(Failure::at(&args.folder))?;
    clap_mangen::generate_to(Cli::command(), &args.folder).map_err(Failure::at(&args.folder))
}
