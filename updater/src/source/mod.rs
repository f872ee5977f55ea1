//! Where a site reads a repository: mirrors, directories and sticks as equals, tried in order.

mod dir;
mod http;
mod many;
mod transfer;

pub use dir::DirSource;
pub use http::HttpSource;
pub use many::{Account, Sample, Sources};

use crate::{Error, Result, Watch};
use std::time::Duration;

/// Which bytes of a file are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From one place to another.
    Range(u64, u64),
    /// All, and how many that are.
    Whole(u64),
    /// All; how many that are is not known yet, but more than this is refused.
    AtMost(u64),
}

impl Span {
    pub(crate) fn from(self) -> u64 {
        match self {
            Span::Range(from, _) => from,
            Span::Whole(_) | Span::AtMost(_) => 0,
        }
    }
    pub(crate) fn most(self) -> u64 {
        match self {
            Span::Range(from, to) => to.saturating_sub(from),
            Span::Whole(n) | Span::AtMost(n) => n,
        }
    }
}

/// What one request cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer {
    /// Bytes of content received, wanted or not.
    pub bytes: u64,
    /// Those of them that lay before the wanted place.
    pub skipped: u64,
    /// From the request to the first byte of the answer.
    pub wait: Duration,
    /// From the first byte to the last.
    pub body: Duration,
}

/// How a read ended.
#[derive(Debug)]
pub enum Outcome {
    /// The wanted bytes were delivered.
    Delivered(Transfer),
    /// The source does not have the file.
    Missing(Transfer),
}

/// Receives bytes in order; an error ends the transfer.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// A repository that can be read by path and range.
pub trait Source: Sync + Send {
    /// How it was configured.
    fn name(&self) -> &str;
    /// Delivers the wanted bytes, or as many as there are, into `sink`; ends soon after `watch` says so.
    ///
    /// Fails with [`Error::Network`] if the source cannot be reached or gives up; errors of the sink pass through.
    fn read(&self, path: &str, span: Span, watch: &dyn Watch, sink: Sink) -> Result<Outcome>;
    /// Guess of bytes per second and of the wait for a request, until there are measurements.
    fn guess(&self) -> (f64, f64);
}

/// Limits against servers that trickle or hang.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest wait for an answer, redirects included, and for the next byte of it.
    pub stall: Duration,
    /// Least average rate in bytes per second from the request on, looked at after `stall`.
    pub least: u64,
}

impl Patience {
    /// The longest that a request may take which brings so many bytes; metadata of unknown length has ten stalls.
    fn total(&self, span: Span) -> Duration {
        if let Span::AtMost(_) = span {
            return self.stall.saturating_mul(10);
        }
        let bytes = span.from().saturating_add(span.most());
        let seconds = bytes / self.least.max(1);
        self.stall
            .saturating_mul(2)
            .saturating_add(Duration::from_secs(seconds))
    }
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            stall: Duration::from_secs(60),
            least: 64,
        }
    }
}

/// Opens a source: `http://...`, `https://...` (with the feature `tls`), or a directory.
pub fn open(name: &str, patience: Patience) -> Result<Box<dyn Source>> {
    if name.starts_with("http://") || (cfg!(feature = "tls") && name.starts_with("https://")) {
        return Ok(Box::new(HttpSource::new(name, patience)));
    }
    if name.contains("://") && !name.starts_with("file://") {
        return Err(Error::Usage(format!(
            "{name}: this elfup reads http and directories"
        )));
    }
    Ok(Box::new(DirSource::new(name)))
}
