//! What can go wrong while a pair is brought, and what to do about it.

use std::{io, path::PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No pair of that name is in the manifest.
    #[error("no pair is called {0:?}; `corpora list` names them")]
    UnknownPair(String),
    /// No package of that name is in the site tree.
    #[error("no package of the site tree is called {0:?}")]
    UnknownWheel(String),
    /// The archive has no two versions of any package of a tree.
    #[error(
        "{0}: the archive has only one version of each package (or its lists are missing: apt-get update)"
    )]
    OneVersion(String),
    /// A program that fetching or building needs is not on this machine.
    #[error("{program} is missing; install {install}")]
    MissingProgram {
        /// The command that was looked for.
        program: String,
        /// What to install to have it.
        install: &'static str,
    },
    /// The client ran and failed: offline, or the package or version is gone.
    #[error("{package} {version} could not be fetched (offline, or gone): {detail}")]
    Gone {
        /// Package name.
        package: String,
        /// Version asked for.
        version: String,
        /// The client's last words.
        detail: String,
    },
    /// The package is there, but not the member.
    #[error("{archive} has no member {member}: {detail}")]
    NoMember {
        /// File name of the archive.
        archive: String,
        /// Path inside it.
        member: String,
        /// The extractor's last words.
        detail: String,
    },
    /// The file is not the one that the manifest pins.
    #[error("{path} has SHA-256 {found}, the manifest says {expected}; it was not kept")]
    Digest {
        /// The file.
        path: PathBuf,
        /// SHA-256 found, in hexadecimal.
        found: String,
        /// SHA-256 pinned, in hexadecimal.
        expected: String,
    },
    /// The compiler refused a sample program.
    #[error("the sample program did not build: {0}")]
    Build(String),
    /// Reading or writing the cache failed.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The result of a call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Ties an I/O error to its path.
pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |error| Error::Io { path, error }
}
