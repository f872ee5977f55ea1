//! What shells and manuals want to know of the command, printed from its own arguments.

use super::Args;
use super::say::say;
use clap::CommandFactory;
use clap_complete::Shell;
use elfup::{Error, Result};
use std::path::Path;

/// Prints what a shell completes the command by.
pub fn completions(shell: Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "elfup", &mut script);
    say!("{}", String::from_utf8_lossy(&script).trim_end());
    Ok(0)
}

/// Writes a page of the manual for the command and for each of its parts.
pub fn man(folder: &Path) -> Result<u8> {
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Args::command(), folder));
    written.map_err(|e| Error::io(format!("write {}", folder.display()), e))?;
    Ok(0)
}
