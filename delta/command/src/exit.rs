//! What went wrong, as one sentence and an exit code.

use elfdelta::Error;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Why the command failed.
#[derive(Debug)]
pub enum Failure {
    /// The engine refused, or met an error while reading the old file or writing.
    Engine(Error),
    /// Reading or writing a file failed.
    File(String, io::Error),
    /// What should be a patch is none.
    NoPatch(&'static str),
    /// The output holds something, and nobody said to write over it.
    Taken(PathBuf),
    /// The arguments contradict each other.
    Usage(&'static str),
}

impl Failure {
    /// Ties an I/O error to the path it happened at.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Failure {
        let path = path.display().to_string();
        move |error| Failure::File(path, error)
    }

    /// Prints the sentence to standard error and gives the code.
    pub fn tell(&self) -> ExitCode {
        // Where nobody hears it, the code is what is left.
        let _ = match self {
            Failure::Engine(error) => writeln!(io::stderr(), "elfdelta: {error}"),
            Failure::File(path, error) => writeln!(io::stderr(), "elfdelta: {path}: {error}"),
            Failure::Taken(path) => writeln!(
                io::stderr(),
                "elfdelta: {} is there already; -f writes over it",
                path.display()
            ),
            Failure::Usage(what) | Failure::NoPatch(what) => writeln!(io::stderr(), "elfdelta: {what}"),
        };
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::NoPatch(_) => 4,
            Failure::Engine(error) => error.code(),
            Failure::File(..) | Failure::Taken(_) => 1,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Engine(error)
    }
}
