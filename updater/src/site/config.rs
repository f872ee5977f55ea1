//! `site.json`: what a site follows, from where, and within which limits.

use crate::allowance::{Allowance, Hours};
use crate::disk::{self, Sync};
use crate::names::Follow;
use crate::source::{self, Access, Patience, Sources};
use crate::{Error, PROTOCOL, Result, limits};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a plan makes small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Seconds until the update is ready.
    #[default]
    Time,
    /// Bytes over the network.
    Bytes,
}

/// A command that says whether a new release works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Program and arguments; run without a shell, with `ELFUP_TREE` set to the new tree.
    pub command: Vec<String>,
    /// Seconds after which it has failed.
    pub timeout: u64,
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the protocol.
    pub protocol: u32,
    /// Product, channel, architecture.
    pub follow: Follow,
    /// Sources in order of preference.
    pub sources: Vec<String>,
    /// Look for a box near by, and ask it first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nearby: bool,
    /// What a plan makes small.
    pub objective: Objective,
    /// Most memory that rebuilding one file may take, bytes.
    pub memory: u64,
    /// Bytes of disk that stay free.
    pub reserve: u64,
    /// Old deployments that are kept whole, besides the current one.
    pub keep: usize,
    /// Keep reverse deltas instead of whole old deployments.
    pub keep_reverse: bool,
    /// Without root: record what cannot be set instead of failing.
    pub unprivileged: bool,
    /// Health check after activation.
    pub health: Option<Health>,
    /// Where the running tree must be, instead of behind the symlink `current`; on the site's filesystem.
    #[serde(default)]
    pub fixed: Option<PathBuf>,
    /// Seconds without an answer after which a source is given up.
    pub stall: u64,
    /// Least bytes per second of a source.
    pub least_rate: u64,
    /// Certificate authorities for https instead of the system's, a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Headers for private repositories, `Name: value` a line; readable by its owner alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_file: Option<PathBuf>,
    /// Users and passwords by host, in the format of `.netrc`; readable by its owner alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netrc: Option<PathBuf>,
    /// Most bytes that web servers may send a day (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Hours (UTC) in which releases are fetched from web servers, as `FROM-TO`; urgent ones are at any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Directories with files that may serve as bases or copies, such as an older installation.
    pub seeds: Vec<PathBuf>,
}

impl Config {
    /// Defaults for one product and its sources.
    pub fn new(follow: Follow, sources: Vec<String>) -> Config {
        Config {
            protocol: PROTOCOL,
            follow,
            sources,
            nearby: false,
            objective: Objective::Time,
            memory: limits::MEMORY,
            reserve: 16 << 20,
            keep: 1,
            keep_reverse: false,
            unprivileged: false,
            health: None,
            fixed: None,
            stall: 60,
            least_rate: 64,
            ca: None,
            header_file: None,
            netrc: None,
            budget: None,
            hours: None,
            seeds: Vec::new(),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.sources.is_empty() {
            return Err(Error::Usage("a site needs at least one source".into()));
        }
        if self.nearby && !cfg!(feature = "mdns") {
            return Err(Error::Usage("this elfup does not look for boxes near by".into()));
        }
        self.open(&[], None).map(drop)
    }

    /// Opens the sources, boxes near by first; nothing is connected yet. What was spent is noted at `spent`.
    pub(super) fn open(&self, near: &[String], spent: Option<PathBuf>) -> Result<Sources> {
        let bound = self.budget.is_some() || self.hours.is_some();
        let allowance = spent
            .filter(|_| bound)
            .map(|path| Allowance::open(path, self.budget, self.hours));
        let access = Access {
            patience: Patience {
                stall: Duration::from_secs(self.stall),
                least: self.least_rate,
            },
            ca: self.ca.clone(),
            header_file: self.header_file.clone(),
            netrc: self.netrc.clone(),
            allowance: allowance.transpose()?.map(Arc::new),
        };
        source::open_with(near, &self.sources, &access)
    }

    /// Reads `site.json`.
    pub fn load(path: &Path) -> Result<Config> {
        let bytes = disk::read(path, 1 << 20)?
            .ok_or_else(|| Error::NotFound(format!("a site in {}", disk::parent(path).display())))?;
        let config: Config =
            serde_json::from_slice(&bytes).map_err(|e| Error::Usage(format!("{}: {e}", path.display())))?;
        if config.protocol > PROTOCOL {
            return Err(Error::TooNew(format!("a site of protocol {}", config.protocol)));
        }
        Ok(config)
    }

    /// Writes `site.json`.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::io("encode configuration", std::io::Error::from(e)))?;
        bytes.push(b'\n');
        disk::replace(path, &bytes, 0o600, Sync::State)
    }
}
