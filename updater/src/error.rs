//! Everything that can go wrong, one variant a cause, each with an exit code that scripts can act on.

use std::io;
use std::path::Path;

/// An error of farm or site.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A local file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The request makes no sense as given.
    #[error("{0}")]
    Usage(String),
    /// Something asked for by name does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// No source could deliver.
    #[error("no source delivered {0}")]
    Network(String),
    /// Something between here and the repository answers with web pages of its own.
    #[error("the network answers with a web page instead of the repository ({0})")]
    Portal(String),
    /// Signed metadata, or what hangs on it, was refused.
    #[error("refused: {0}")]
    Untrusted(String),
    /// Metadata is genuine but has expired: whether there is anything newer is unknown.
    #[error("stale since {0}: the repository's {1} has expired")]
    Stale(String, &'static str),
    /// The local trust state is missing or torn.
    #[error("the stored trust state is {0}")]
    TrustState(&'static str),
    /// A manifest, step or channel file breaks the rules of the protocol.
    #[error("refused {what}: {why}")]
    Malformed {
        /// Which kind of file.
        what: &'static str,
        /// Which rule.
        why: String,
    },
    /// Needs a newer elfup.
    #[error("{0} needs a newer elfup")]
    TooNew(String),
    /// The release is below the signed floor.
    #[error("release {0} is below the signed floor")]
    BelowFloor(String),
    /// The disk has too little room; nothing was changed.
    #[error("not enough room: {needed} bytes needed, {free} free beyond the reserve")]
    NoSpace {
        /// Bytes that the update needs.
        needed: u64,
        /// Bytes available.
        free: u64,
    },
    /// Another process works on the same site or repository.
    #[error("{0} is in use by another elfup")]
    Busy(String),
    /// Another elfup has published meanwhile what this run began from.
    #[error("another elfup was first: {0}; nothing of this run was published")]
    Overtaken(String),
    /// The bucket of a repository did not answer, or not as asked.
    #[error("{0}")]
    Unreachable(String),
    /// Something needs root.
    #[error("{0}")]
    Privilege(String),
    /// Something in a configuration path can neither be kept nor left behind.
    #[error("{path} cannot be kept: {why}; nothing was changed")]
    Unkept {
        /// Where it is in the running tree.
        path: String,
        /// What is in the way.
        why: &'static str,
    },
    /// Local data differs from what it must be.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A file of the farm's repository is not what signed metadata says.
    #[error("damaged: {0} in the repository; `elfup farm repair` fetches it from a tree or a mirror")]
    DamagedRepository(String),
    /// All options for a file failed.
    #[error("none of {} ways to {path} worked", why.len())]
    OutOfOptions {
        /// The path in the release.
        path: String,
        /// The failures in order.
        why: Vec<String>,
    },
    /// The new release failed its health check; the old one runs again.
    #[error("health check failed ({0}); rolled back")]
    Unhealthy(String),
    /// The health command gave no verdict; the old release runs again and the new one is not blamed.
    #[error("no health verdict: {0}; went back, the release is not blamed")]
    NoVerdict(String),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A patch or a packed file could not be decoded; the next option is taken.
    #[error("decode: {0}")]
    Decode(String),
    /// The delta engine refused or failed.
    #[error("delta: {0}")]
    Engine(elfdelta::Error),
}

/// Carries a wish to stop through interfaces that know nothing but [`io::Error`]; [`Error::io`] takes it out again.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
pub(crate) struct Stopped;

/// Carries [`Error::Unreachable`] in the same way: what cannot be read now is not damaged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreached(pub String);

impl Unreached {
    /// What an [`io::Error`] carries, if it does.
    pub fn of(e: &io::Error) -> Option<Error> {
        let unreached = e.get_ref()?.downcast_ref::<Unreached>()?;
        Some(Error::Unreachable(unreached.0.clone()))
    }
}

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The exit code of the command, as `elfup --help` documents it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::NotFound(_) => 2,
            Error::Untrusted(_) | Error::TrustState(_) | Error::Malformed { .. } => 3,
            Error::TooNew(_) | Error::BelowFloor(_) => 3,
            Error::Stale(..) => 4,
            Error::Network(_) | Error::Portal(_) | Error::Unreachable(_) | Error::OutOfOptions { .. } => 5,
            Error::NoSpace { .. } => 6,
            Error::Damaged(_) | Error::DamagedRepository(_) => 7,
            Error::Unhealthy(_) => 8,
            Error::Busy(_) | Error::Overtaken(_) => 9,
            Error::NoVerdict(_) => 11,
            Error::Cancelled => 130,
            Error::Io { .. } | Error::Unkept { .. } | Error::Privilege(_) => 1,
            Error::Engine(_) | Error::Decode(_) => 1,
        }
    }

    /// Whether the same may succeed later, with nothing changed by anybody here.
    pub fn passes(&self) -> bool {
        match self {
            Error::Unreachable(_) | Error::Network(_) | Error::Busy(_) | Error::Cancelled => true,
            Error::Io { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory
                )
            }
            _ => false,
        }
    }

    /// What to do next, in one line.
    pub fn advice(&self) -> &'static str {
        match self {
            Error::Io { .. } | Error::Engine(_) | Error::Decode(_) => {
                "put right what the system reports, then run the same command again"
            }
            Error::Usage(_) | Error::NotFound(_) => {
                "`elfup help` and `elfup help COMMAND` tell what can be asked for"
            }
            Error::Network(_) => {
                "look at the network and at the sources in site.toml, then run the same command again: it goes on where it stopped"
            }
            Error::OutOfOptions { .. } => {
                "run the same command again, it goes on where it stopped; `--verbose` and state/history tell every failure"
            }
            Error::Portal(_) => "log in to the network in a browser, then run the same command again",
            Error::Untrusted(_) | Error::Malformed { .. } => {
                "nothing was changed: try another source, and tell the repository's operator if all are refused"
            }
            Error::Stale(..) => {
                "ask the repository's operator to refresh it, and see that the clock is right"
            }
            Error::TrustState(_) => "run `elfup site recover` with a root file from a trusted place",
            Error::TooNew(_) => "install a newer elfup first",
            Error::BelowFloor(_) => "choose a newer release; `--below-floor` insists",
            Error::NoSpace { .. } => {
                "make room (`elfup site gc` removes what is not kept), then run the same command again"
            }
            Error::Busy(_) => "wait until the other one has ended, then run the same command again",
            Error::Overtaken(_) => "run the same command again: it goes on with what is done",
            Error::Unreachable(_) => {
                "look at the network and at the AWS_* variables (endpoint, region, credentials), then run the same command again: it goes on where it stopped"
            }
            Error::Unkept { .. } => "make it readable or remove it, then run the same command again",
            Error::Privilege(_) => "run as root, or make the site with `--unprivileged`",
            Error::Damaged(_) => "run `elfup site repair`",
            Error::Unhealthy(_) => {
                "find out why with the old release running; `elfup site update --again` tries the new one again"
            }
            Error::NoVerdict(_) => {
                "put the health command in site.toml right, then run the same command again"
            }
            Error::DamagedRepository(_) => {
                "run `elfup farm repair` with a tree or a mirror that has the files"
            }
            Error::Cancelled => "run the same command again to go on",
        }
    }

    /// Wraps an operating-system error with what was being done.
    pub fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Error {
        let (what, source): (String, io::Error) = (what.into(), source.into());
        if source.get_ref().is_some_and(|e| e.is::<Stopped>()) {
            return Error::Cancelled;
        }
        if let Some(e) = Unreached::of(&source) {
            return e;
        }
        Error::Io { what, source }
    }

    /// A broken rule of the protocol.
    pub fn malformed(what: &'static str, why: impl Into<String>) -> Error {
        Error::Malformed {
            what,
            why: why.into(),
        }
    }
}

impl From<elfdelta::Error> for Error {
    fn from(e: elfdelta::Error) -> Error {
        match e {
            elfdelta::Error::Cancelled => Error::Cancelled,
            e => Error::Engine(e),
        }
    }
}

/// Adds what was being done to an operating-system error.
pub(crate) trait Doing<T> {
    /// `verb path`.
    fn doing(self, verb: &str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, verb: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::io(format!("{verb} {}", path.as_ref().display()), e))
    }
}
