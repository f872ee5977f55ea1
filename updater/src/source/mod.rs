//! Where a site reads a repository: mirrors, directories and sticks as equals, tried in order.

mod client;
mod dir;
mod http;
mod many;
mod ration;
mod secrets;
mod transfer;

pub use dir::DirSource;
pub use http::HttpSource;
pub use many::{Account, Sample, Sources};
pub use secrets::shown;

use crate::allowance::Allowance;
use crate::{Error, Result, Watch};
use client::Client;
use ration::Rationed;
use secrets::{Origin, Secrets};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Uri;

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

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Span::Range(from, to) => write!(f, "{from}-{}", to.saturating_sub(1)),
            Span::Whole(n) => write!(f, "all {n}"),
            Span::AtMost(n) => write!(f, "at most {n}"),
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
    fn guess(&self) -> (f64, f64) {
        LINK
    }
    /// The same of the link behind it, if it says that it is a box that fetches over one.
    fn behind(&self) -> Option<(f64, f64)> {
        None
    }
    /// Hears that what is fetched from now on is urgent.
    fn hurry(&self) {}
}

/// What is guessed of a link that nobody has measured, bytes per second and seconds of wait.
pub(crate) const LINK: (f64, f64) = (64e3, 0.3);

/// Header in which a box says what its link is like.
pub(crate) const LINK_HEADER: &str = "elfup-link";

/// Reads [`LINK_HEADER`]; what makes no sense says nothing.
fn link_of(header: &str) -> Option<(f64, f64)> {
    let (rate, wait) = header.trim().split_once(' ')?;
    let (rate, wait): (f64, f64) = (rate.parse().ok()?, wait.trim().parse().ok()?);
    ((1.0..1e12).contains(&rate) && (0.0..3600.0).contains(&wait)).then_some((rate, wait))
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

/// Longest wait for a box near by.
const NEAR: Duration = Duration::from_secs(10);

/// How sources are reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Limits against servers that trickle or hang.
    pub patience: Patience,
    /// Certificate authorities that are trusted instead of the system's (PEM).
    pub ca: Option<PathBuf>,
    /// Headers for private repositories, one a line.
    pub header_file: Option<PathBuf>,
    /// Users and passwords by host, as ftp and curl read it.
    pub netrc: Option<PathBuf>,
    /// What may be taken from web servers; directories are near.
    pub allowance: Option<Arc<Allowance>>,
}

/// Opens sources: each `http://...`, `https://...` (with the feature `tls`), or a directory.
pub fn open(names: &[String], access: &Access) -> Result<Sources> {
    open_with(&[], names, access)
}

/// The same, with boxes near by before them: not told any secret, free of charge, and soon given up.
pub fn open_with(near: &[String], names: &[String], access: &Access) -> Result<Sources> {
    let mut secrets = Secrets::default();
    let mut origins: Vec<Origin> = Vec::new();
    let mut urls = Vec::new();
    for name in names {
        let url = http_url(name)?;
        if let Some((origin, userinfo)) = &url {
            if let Some(userinfo) = userinfo {
                secrets.add_userinfo(origin, userinfo)?;
            }
            if !origins.contains(origin) {
                origins.push(origin.clone());
            }
        }
        urls.push(url.is_some());
    }
    if let Some(path) = &access.header_file {
        let only = origins.first().filter(|_| origins.len() == 1);
        secrets.add_header_file(path, only)?;
    }
    if let Some(path) = &access.netrc {
        secrets.add_netrc(path, &origins)?;
    }
    let (client, secrets) = (Arc::new(Client::new(access)?), Arc::new(secrets));
    let open = |(name, is_url): (&String, bool)| -> Box<dyn Source> {
        if !is_url {
            return Box::new(DirSource::new(name));
        }
        let (client, secrets) = (Arc::clone(&client), Arc::clone(&secrets));
        let source = Box::new(HttpSource::new(name, access.patience, client, secrets));
        match &access.allowance {
            Some(allowance) => Box::new(Rationed::new(source, Arc::clone(allowance))),
            None => source,
        }
    };
    let patience = Patience {
        stall: access.patience.stall.min(NEAR),
        ..access.patience
    };
    let near = near.iter().map(|name| -> Box<dyn Source> {
        let (client, secrets) = (Arc::clone(&client), Arc::default());
        Box::new(HttpSource::new(name, patience, client, secrets))
    });
    let sources = near.chain(names.iter().zip(urls).map(&open));
    Ok(Sources::new(sources.collect()))
}

/// Origin of a web address, and what stands before its host; `None`: a directory.
fn http_url(name: &str) -> Result<Option<(Origin, Option<String>)>> {
    let Some((scheme, _)) = name.split_once("://").filter(|(s, _)| *s != "file") else {
        return Ok(None);
    };
    let wrong = |why: &str| Error::Usage(format!("{}: {why}", shown(name)));
    if scheme != "http" && !(cfg!(feature = "tls") && scheme == "https") {
        let secure = if cfg!(feature = "tls") { ", https" } else { "" };
        return Err(wrong(&format!("this elfup reads http{secure} and directories")));
    }
    if name.contains(['?', '#']) {
        return Err(wrong(
            "an address below which a repository is has no `?` and no `#`",
        ));
    }
    let uri: Uri = name.parse().map_err(|_| wrong("not a web address"))?;
    let origin = Origin::of(&uri).ok_or_else(|| wrong("not a web address"))?;
    let userinfo = uri.authority().and_then(secrets::userinfo).map(str::to_owned);
    Ok(Some((origin, userinfo)))
}
