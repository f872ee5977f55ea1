//! Where a site reads a repository: mirrors, directories and sticks as equals, tried in order.

mod dir;
mod http;
mod many;

pub use dir::DirSource;
pub use http::HttpSource;
pub use many::{Account, Sample, Sources};

use crate::{Error, Result};
use std::time::Duration;

/// What one request cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer {
    /// Bytes of content received, wanted or not.
    pub bytes: u64,
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
    /// Delivers the bytes from `from` to `to` (or the end of the file) into `sink`.
    ///
    /// Fails with [`Error::Network`] if the source cannot be reached or gives up; errors of the sink pass through.
    fn read(&self, path: &str, from: u64, to: Option<u64>, sink: Sink) -> Result<Outcome>;
    /// Guess of bytes per second and of the wait for a request, until there are measurements.
    fn guess(&self) -> (f64, f64);
}

/// Limits against servers that trickle or hang.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest wait for anything at all.
    pub stall: Duration,
    /// Least average rate in bytes per second, looked at after `stall`.
    pub least: u64,
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
