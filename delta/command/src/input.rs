//! What is read whole: a file, or standard input.

use crate::exit::Failure;
use elfdelta::Patch;
use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::Path,
};

/// Whether an argument stands for standard input.
pub fn piped(path: &Path) -> bool {
    path == Path::new("-")
}

/// Reads all of a file, or of standard input.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if !piped(path) {
        return fs::read(path).map_err(Failure::at(path));
    }
    let mut bytes = Vec::new();
    let mut stdin = stdin()?;
    stdin.read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

/// The same for a patch: of standard input that is none only the start is read, however long it is.
pub fn read_patch(path: &Path) -> Result<Vec<u8>, Failure> {
    if !piped(path) {
        return fs::read(path).map_err(Failure::at(path));
    }
    let mut bytes = Vec::new();
    let mut stdin = stdin()?;
    stdin.by_ref().take(64).read_to_end(&mut bytes).map_err(unread)?;
    if Patch::begins(&bytes) {
        stdin.read_to_end(&mut bytes).map_err(unread)?;
    }
    Ok(bytes)
}

fn stdin() -> Result<io::StdinLock<'static>, Failure> {
    let stdin = io::stdin();
    match stdin.is_terminal() {
        true => Err(Failure::Usage(
            "standard input is a terminal: give a file, or pipe into -",
        )),
        false => Ok(stdin.lock()),
    }
}

fn unread(error: io::Error) -> Failure {
    Failure::at(Path::new("standard input"))(error)
}
