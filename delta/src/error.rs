//! Everything that can go wrong, one variant a cause, each with what to do about it.

use std::io;

/// An error of the engine. The command maps each variant to an exit code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading the old file or writing the new one failed.
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
    /// The old file is not the one that the patch was made from.
    #[error(
        "wrong old file: its {what} is {found}, not {expected}; apply the patch to the exact file it was made from"
    )]
    WrongOldFile {
        /// What was compared: size or SHA-256.
        what: &'static str,
        /// What the patch says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// The patch is truncated, altered or was never a patch.
    #[error("damaged patch: {0}; fetch it again")]
    DamagedPatch(&'static str),
    /// The patch needs a reader that knows more than this one.
    #[error("the patch needs {0}, which this version does not know; use a newer elfdelta")]
    Unsupported(String),
    /// The new file is packed by a library whose very version this program does not have.
    #[error("the patch packs with {0}, which this elfdelta does not have; fetch the whole file")]
    MissingEncoder(String),
    /// Applying would need more than the caller allows.
    #[error("{what}: {needed} needed, {allowed} allowed; raise the limit or fetch the whole file")]
    OverLimit {
        /// Which limit, with its unit.
        what: &'static str,
        /// What the patch declares or reached.
        needed: u64,
        /// What the caller allows.
        allowed: u64,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The encoder could not reproduce the new file from its own patch (a bug; a plain patch is made instead).
    #[error("self-check failed: {0}")]
    SelfCheck(&'static str),
}

impl Error {
    /// A number for each kind of cause, which is also the command's exit code: 1 failed or cancelled, 3 wrong old
    /// file, 4 damaged or too new, 5 above a limit, 6 without the encoder.
    pub fn code(&self) -> u8 {
        match self {
            Error::Io(_) | Error::Cancelled | Error::SelfCheck(_) => 1,
            Error::WrongOldFile { .. } => 3,
            Error::DamagedPatch(_) | Error::Unsupported(_) => 4,
            Error::OverLimit { .. } => 5,
            Error::MissingEncoder(_) => 6,
        }
    }
}

/// The result of an engine call.
pub type Result<T> = std::result::Result<T, Error>;
