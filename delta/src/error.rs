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
    #[error("damaged patch: {why}{}; fetch it again", place(*stream, *at))]
    Damaged {
        /// The stream that was read last, by its name in FORMAT.md; none where it is the header or what is packed.
        stream: Option<&'static str>,
        /// How many bytes of it were read, about; readers of modelled streams are some bytes ahead.
        at: Option<u64>,
        /// What is wrong.
        why: &'static str,
    },
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

/// Where damage was found, for people.
fn place(stream: Option<&str>, at: Option<u64>) -> String {
    match (stream, at) {
        (Some(stream), Some(at)) => format!(" (stream {stream}, byte {at})"),
        (Some(stream), None) => format!(" (stream {stream})"),
        (None, Some(at)) => format!(" (byte {at})"),
        (None, None) => String::new(),
    }
}

impl Error {
    /// Damage at a place that who reads the stream knows, see [`Error::within`].
    pub(crate) const fn damaged(why: &'static str) -> Error {
        Error::Damaged {
            stream: None,
            at: None,
            why,
        }
    }

    /// Says of damage how far what is read now was read.
    pub(crate) fn at(self, position: u64) -> Error {
        match self {
            Error::Damaged {
                stream,
                at: None,
                why,
                ..
            } => Error::Damaged {
                stream,
                at: Some(position),
                why,
            },
            other => other,
        }
    }

    /// Says of damage which stream was read last, and how far, if nothing nearer to it did.
    pub(crate) fn within(self, name: &'static str, position: u64) -> Error {
        match self {
            Error::Damaged {
                stream: None, why, ..
            } => Error::Damaged {
                stream: Some(name),
                at: Some(position),
                why,
            },
            other => other,
        }
    }

    /// A number for each kind of cause, which is also the command's exit code: 1 failed or cancelled, 3 wrong old
    /// file, 4 damaged or too new, 5 above a limit, 6 without the encoder.
    pub fn code(&self) -> u8 {
        match self {
            Error::Io(_) | Error::Cancelled | Error::SelfCheck(_) => 1,
            Error::WrongOldFile { .. } => 3,
            Error::Damaged { .. } | Error::Unsupported(_) => 4,
            Error::OverLimit { .. } => 5,
            Error::MissingEncoder(_) => 6,
        }
    }
}

/// The result of an engine call.
pub type Result<T> = std::result::Result<T, Error>;
