//! This program as the child of another elfup that decodes hostile bytes, and as the parent of one.

use elfup::apart::{self, Program, Sandbox};
use std::process::ExitCode;

/// Arguments of the hidden subcommand.
#[derive(clap::Args)]
pub struct Args {
    /// What to give up.
    sandbox: Sandbox,
    /// The most memory that a job may take, bytes.
    memory: u64,
}

/// Serves the parent until it closes the socket. Nobody reads what is said here: standard error is closed.
pub fn child(args: &Args) -> ExitCode {
    match apart::serve(args.sandbox, args.memory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => ExitCode::from(e.exit_code()),
    }
}

/// Has this program decode in a child that is the same program.
pub fn use_self(sandbox: Sandbox) {
    if sandbox != Sandbox::None {
        apart::use_program(Program {
            // Also after the file was replaced: parent and child are always the same.
            path: "/proc/self/exe".into(),
            arguments: vec!["decode-apart".into(), sandbox.name().into()],
        });
    }
}
