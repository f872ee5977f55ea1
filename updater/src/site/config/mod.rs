//! What a site follows, from where, and within which limits: `site.toml` for people, `site.json` for programs.

mod keys;

use crate::allowance::{Allowance, Hours};
use crate::commented;
use crate::disk::{self, Sync};
use crate::names::Follow;
use crate::source::{self, Access, Patience, Sources};
use crate::{Error, PROTOCOL, Result, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use toml_edit::{DocumentMut, Value};

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
    #[serde(default = "protocol")]
    pub protocol: u32,
    /// Product, channel, architecture.
    pub follow: Follow,
    /// Sources in order of preference.
    pub sources: Vec<String>,
    /// Look for a box near by, and ask it first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nearby: bool,
    /// What a plan makes small.
    #[serde(default)]
    pub objective: Objective,
    /// Most memory that rebuilding one file may take, bytes.
    #[serde(default = "memory")]
    pub memory: u64,
    /// Bytes of disk that stay free.
    #[serde(default = "reserve")]
    pub reserve: u64,
    /// Old deployments that are kept whole, besides the current one.
    #[serde(default = "keep")]
    pub keep: usize,
    /// Keep reverse deltas instead of whole old deployments.
    #[serde(default)]
    pub keep_reverse: bool,
    /// Without root: record what cannot be set instead of failing.
    #[serde(default)]
    pub unprivileged: bool,
    /// Health check after activation.
    #[serde(default)]
    pub health: Option<Health>,
    /// Where the running tree must be, instead of behind the symlink `current`; on the site's filesystem.
    #[serde(default)]
    pub fixed: Option<PathBuf>,
    /// Seconds without an answer after which a source is given up.
    #[serde(default = "stall")]
    pub stall: u64,
    /// Least bytes per second of a source.
    #[serde(default = "least_rate")]
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
    #[serde(default)]
    pub seeds: Vec<PathBuf>,
}

fn protocol() -> u32 {
    PROTOCOL
}
fn memory() -> u64 {
    limits::MEMORY
}
fn reserve() -> u64 {
    16 << 20
}
fn keep() -> usize {
    1
}
fn stall() -> u64 {
    60
}
fn least_rate() -> u64 {
    64
}

impl Config {
    /// Defaults for one product and its sources.
    pub fn new(follow: Follow, sources: Vec<String>) -> Config {
        Config {
            protocol: protocol(),
            follow,
            sources,
            nearby: false,
            objective: Objective::Time,
            memory: memory(),
            reserve: reserve(),
            keep: keep(),
            keep_reverse: false,
            unprivileged: false,
            health: None,
            fixed: None,
            stall: stall(),
            least_rate: least_rate(),
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
            allowance: allowance.transpose()?.map(Arc::new),
            ..self.access()
        };
        source::open_with(near, &self.sources, &access)
    }

    /// How its sources are reached, with no bound on what may be taken.
    pub fn access(&self) -> Access {
        Access {
            patience: Patience {
                stall: Duration::from_secs(self.stall),
                least: self.least_rate,
            },
            ca: self.ca.clone(),
            header_file: self.header_file.clone(),
            netrc: self.netrc.clone(),
            allowance: None,
        }
    }

    /// Reads `site.json`.
    pub fn load(path: &Path) -> Result<Config> {
        let bytes = disk::read(path, LIMIT)?
            .ok_or_else(|| Error::NotFound(format!("a site in {}", disk::parent(path).display())))?;
        Config::of_programs(&bytes, path)
    }

    /// What a program wrote.
    pub(super) fn of_programs(bytes: &[u8], path: &Path) -> Result<Config> {
        let config: Config =
            serde_json::from_slice(bytes).map_err(|e| Error::Usage(format!("{}: {e}", path.display())))?;
        if config.protocol > PROTOCOL {
            return Err(Error::TooNew(format!("a site of protocol {}", config.protocol)));
        }
        Ok(config)
    }

    /// Writes `site.json`.
    pub fn save(&self, path: &Path) -> Result<()> {
        disk::replace(path, &self.to_json()?, 0o600, Sync::State)
    }

    /// `site.json`.
    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::io("encode configuration", std::io::Error::from(e)))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// What people wrote.
    pub(super) fn of_people(text: &str, path: &Path) -> Result<Config> {
        // What a newer elfup knows may be wrong here.
        let document = text.parse::<DocumentMut>().ok();
        let protocol = document.and_then(|d| d.get("protocol")?.as_integer());
        if let Some(newer) = protocol.filter(|n| *n > i64::from(PROTOCOL)) {
            return Err(Error::TooNew(format!("a site of protocol {newer}")));
        }
        let config: Config = commented::read(text, path)?;
        let Follow {
            product,
            channel,
            arch,
        } = &config.follow;
        Follow::new(product, channel, arch)?;
        Ok(config)
    }

    /// A new `site.toml`: every key with what it means.
    pub fn to_toml(&self) -> Result<String> {
        let mut defaults = Config::new(self.follow.clone(), Vec::new()).values()?;
        for always in ["follow", "sources", "protocol"] {
            defaults.remove(always);
        }
        let set = self.values()?;
        Ok(commented::write(keys::HEAD, &keys::KEYS, &set, &defaults))
    }

    /// A `site.toml` in which this is said now, and everything else stands as it did.
    pub(super) fn set_in(&self, text: String, was: &Config) -> Result<String> {
        let (is, was) = (self.values()?, was.values()?);
        let mut new = text;
        for key in &keys::KEYS {
            let (is, was) = (is.get(key.name), was.get(key.name));
            let same = match (is, was) {
                (Some(is), Some(was)) => commented::same(is, was),
                (is, was) => is.is_none() && was.is_none(),
            };
            if !same {
                new = commented::change(&new, key.name, is);
            }
        }
        Ok(new)
    }

    /// The values by key, as both files have them.
    fn values(&self) -> Result<BTreeMap<String, Value>> {
        commented::values(self)
    }
}

/// The longest file that is read.
pub(super) const LIMIT: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Config {
        let follow = Follow::new("demo", "stable", "x86_64").unwrap();
        Config {
            nearby: true,
            objective: Objective::Bytes,
            memory: 1,
            reserve: 2,
            keep: 0,
            keep_reverse: true,
            unprivileged: true,
            health: Some(Health {
                command: vec!["/bin/is it".into(), "\"so\"".into()],
                timeout: 9,
            }),
            fixed: Some("/opt/app".into()),
            stall: 3,
            least_rate: 4,
            ca: Some("/ca".into()),
            header_file: Some("/h".into()),
            netrc: Some("/n".into()),
            budget: Some(5),
            hours: Some(Hours::parse("22-6").unwrap()),
            seeds: vec!["/old one".into()],
            ..Config::new(follow, vec!["http://a/b".into(), "/c".into()])
        }
    }

    fn read(text: &str) -> Config {
        Config::of_people(text, Path::new("site.toml")).unwrap()
    }

    #[test]
    fn the_file_of_people_holds_every_key_and_the_defaults() {
        let full = full();
        let values = full.values().unwrap();
        assert_eq!(values.len(), keys::KEYS.len());
        assert!(
            keys::KEYS
                .iter()
                .all(|key| values.contains_key(key.name) && !key.about.is_empty())
        );
        assert_eq!(read(&full.to_toml().unwrap()), full);
        let plain = Config::new(full.follow.clone(), full.sources.clone());
        let text = plain.to_toml().unwrap();
        assert_eq!(read(&text), plain);
        // What stands behind `#` with a default is the default, and the rest are values that are understood.
        let uncommented = |keep: &dyn Fn(&str) -> bool| -> String {
            let lines = text.lines().map(|line| {
                let set = line
                    .strip_prefix("# ")
                    .filter(|l| l.split_once(" = ").is_some_and(|(key, _)| keep(key)));
                format!("{}\n", set.unwrap_or(line))
            });
            lines.collect()
        };
        let defaults = plain.values().unwrap();
        assert_eq!(
            read(&uncommented(&|key| defaults.contains_key(key) || key == "nearby")),
            plain
        );
        let shown = read(&uncommented(&|key| values.contains_key(key)))
            .values()
            .unwrap();
        assert_eq!(shown.len() + 1, keys::KEYS.len(), "nearby is false");
    }

    #[test]
    fn one_set_of_values_becomes_another_with_its_remarks() {
        let full = full();
        let plain = Config::new(full.follow.clone(), full.sources.clone());
        for (from, to) in [(&plain, &full), (&full, &plain)] {
            let text = from.to_toml().unwrap();
            let text = text.replace("\n# Bytes of disk", "\n# Mine, and it stays.\n# Bytes of disk");
            let changed = to.set_in(text, from).unwrap();
            assert_eq!(&read(&changed), to, "{changed}");
            assert!(changed.contains("# Mine, and it stays.\n"));
            for line in keys::KEYS.iter().flat_map(|key| key.about.lines()) {
                assert!(changed.contains(&format!("# {line}\n")), "{line}: {changed}");
            }
        }
    }

    #[test]
    fn every_key_is_told_to_operators() {
        let page = include_str!("../../../OPERATING.md");
        let section = page
            .split("\n## ")
            .find(|s| s.starts_with("How a site is configured\n"));
        let section = section.unwrap();
        for key in &keys::KEYS {
            assert!(section.contains(&format!("\n| `{}` |", key.name)), "{}", key.name);
        }
    }

    #[test]
    fn a_newer_file_is_told_as_such() {
        let newer = Config::of_people("protocol = 2\nwhatever = 1", Path::new("site.toml"));
        assert!(matches!(newer, Err(Error::TooNew(_))));
    }
}
