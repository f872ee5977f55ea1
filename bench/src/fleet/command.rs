//! Small commands of the fleet run that nobody measures.

use crate::interrupt;
use std::{
    io,
    process::{Command, Output, Stdio},
};

/// A command line split at spaces.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Runs a command to its end; the error is the last line that it wrote to standard error.
pub fn run(argv: &[String]) -> Result<(), String> {
    output(argv).map(drop)
}

/// Runs a command to its end and returns its standard output.
pub fn output(argv: &[String]) -> Result<String, String> {
    said(argv, |command| command.output())
}

/// Like [`output`], for what may be long: the user's wish to stop ends it.
pub fn stoppable(argv: &[String]) -> Result<String, String> {
    let text = said(argv, interrupt::output);
    interrupt::go_on()?;
    text
}

fn said(argv: &[String], run: impl FnOnce(&mut Command) -> io::Result<Output>) -> Result<String, String> {
    let mut command = Command::new(&argv[0]);
    command
        .args(&argv[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = run(&mut command).map_err(|error| format!("{}: {error}", argv[0]))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or("failed").to_owned();
    Err(format!("{}: {last}", argv.join(" ")))
}
