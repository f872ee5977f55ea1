//! `site.toml`: what a site follows, from where, and within which limits; a word on each key stands in it.

use crate::allowance::{Allowance, Hours};
use crate::disk::{self, Sync};
use crate::names::Follow;
use crate::source::{self, Access, Patience, Sources};
use crate::{Error, PROTOCOL, Result};
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
    /// What a plan makes small.
    #[serde(default)]
    pub objective: Objective,
    /// Most memory that rebuilding one file may take, bytes.
    #[serde(default = "defaults::memory")]
    pub memory: u64,
    /// Bytes of disk that stay free.
    #[serde(default = "defaults::reserve")]
    pub reserve: u64,
    /// Old deployments that are kept whole, besides the current one.
    #[serde(default = "defaults::keep")]
    pub keep: usize,
    /// Keep reverse deltas instead of whole old deployments.
    #[serde(default)]
    pub keep_reverse: bool,
    /// Without root: record what cannot be set instead of failing.
    #[serde(default)]
    pub unprivileged: bool,
    /// Health check after activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Where the running tree must be, instead of behind the symlink `current`; on the site's filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<PathBuf>,
    /// Seconds without an answer after which a source is given up.
    #[serde(default = "defaults::stall")]
    pub stall: u64,
    /// Least bytes per second of a source.
    #[serde(default = "defaults::least_rate")]
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

impl Config {
    /// Defaults for one product and its sources.
    pub fn new(follow: Follow, sources: Vec<String>) -> Config {
        Config {
            protocol: PROTOCOL,
            follow,
            sources,
            objective: Objective::Time,
            memory: defaults::memory(),
            reserve: defaults::reserve(),
            keep: defaults::keep(),
            keep_reverse: false,
            unprivileged: false,
            health: None,
            fixed: None,
            stall: defaults::stall(),
            least_rate: defaults::least_rate(),
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
        self.open(None).map(drop)
    }

    /// Opens the sources; nothing is connected yet. What was spent is noted at `spent`.
    pub(super) fn open(&self, spent: Option<PathBuf>) -> Result<Sources> {
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
        source::open(&self.sources, &access)
    }

    /// Reads `site.toml`; where there is none yet, `site.json` of earlier versions.
    pub fn load(dir: &Path) -> Result<Config> {
        let path = dir.join(FILE);
        let config = match disk::read(&path, LIMIT)? {
            Some(bytes) => {
                let wrong = |line: usize, why: &str| {
                    Error::Usage(format!(
                        "{}, line {line}: {}",
                        path.display(),
                        why.replace('\n', "; ")
                    ))
                };
                let text = std::str::from_utf8(&bytes).map_err(|_| wrong(1, "it is not text"))?;
                toml::from_str(text).map_err(|e| wrong(line(text, &e), e.message()))?
            }
            None => {
                Config::before(dir)?.ok_or_else(|| Error::NotFound(format!("a site in {}", dir.display())))?
            }
        };
        if config.protocol > PROTOCOL {
            return Err(Error::TooNew(format!("a site of protocol {}", config.protocol)));
        }
        Ok(config)
    }

    /// Reads `site.json`, as earlier versions had it.
    fn before(dir: &Path) -> Result<Option<Config>> {
        let path = dir.join(BEFORE);
        let bytes = disk::read(&path, LIMIT)?;
        let config = bytes.map(|bytes| serde_json::from_slice(&bytes));
        config
            .transpose()
            .map_err(|e| Error::Usage(format!("{}: {e}", path.display())))
    }

    /// Writes what `site.json` says as `site.toml`, and removes it; the caller holds the site's lock.
    ///
    /// Cut off anywhere, one of the two is whole, and `site.toml` counts where both are there.
    pub(super) fn migrate(dir: &Path) -> Result<()> {
        let before = dir.join(BEFORE);
        if !before.exists() {
            return Ok(());
        }
        if !dir.join(FILE).exists()
            && let Some(config) = Config::before(dir)?
        {
            config.save(dir)?;
        }
        disk::remove(&before)
    }

    /// Writes `site.toml` anew, with the word on each key.
    pub fn save(&self, dir: &Path) -> Result<()> {
        disk::replace(&dir.join(FILE), self.text()?.as_bytes(), 0o600, Sync::State)
    }

    /// What `site.toml` holds: every key with a word on it, those without a value as comments.
    pub fn text(&self) -> Result<String> {
        let values = toml::Table::try_from(self.bounded())
            .map_err(|e| Error::Usage(format!("this configuration cannot be written: {e}")))?;
        let mut text = HEAD.to_owned();
        for (key, about, example) in KEYS {
            text.push('\n');
            about.lines().for_each(|line| text += &format!("# {line}\n"));
            match values.get(key) {
                Some(value) => text += &format!("{key} = {value}\n"),
                None => text += &format!("# {key} = {example}\n"),
            }
        }
        Ok(text)
    }

    /// The same, with numbers that TOML has: more bytes than these nobody has.
    fn bounded(&self) -> Config {
        let bound = |n: u64| n.min(i64::MAX as u64);
        Config {
            memory: bound(self.memory),
            reserve: bound(self.reserve),
            keep: bound(self.keep as u64) as usize,
            stall: bound(self.stall),
            least_rate: bound(self.least_rate),
            budget: self.budget.map(bound),
            health: self.health.clone().map(|health| Health {
                timeout: bound(health.timeout),
                ..health
            }),
            ..self.clone()
        }
    }
}

/// The configuration in a site's directory.
pub const FILE: &str = "site.toml";
/// What it was before it had comments.
const BEFORE: &str = "site.json";
const LIMIT: u64 = 1 << 20;

/// Where in the text an error is, counted from 1.
fn line(text: &str, error: &toml::de::Error) -> usize {
    let before = error.span().and_then(|span| text.get(..span.start));
    before.unwrap_or_default().matches('\n').count() + 1
}

/// What a key is that is not there.
mod defaults {
    use crate::limits;

    pub fn memory() -> u64 {
        limits::MEMORY
    }
    pub fn reserve() -> u64 {
        16 << 20
    }
    pub fn keep() -> usize {
        1
    }
    pub fn stall() -> u64 {
        60
    }
    pub fn least_rate() -> u64 {
        64
    }
}

const HEAD: &str = "\
# What this site follows, from where, and within which limits. Every command reads it; `site run` does so at each
# round. A key that is not there has the value that `site init` gives it. Sizes are bytes.
";

/// Every key, a word on it, and what it may be where it is not set.
const KEYS: [(&str, &str, &str); 19] = [
    (
        "protocol",
        "Version of the protocol, written by `site init`.",
        "1",
    ),
    (
        "follow",
        "The channel: product, channel and architecture.",
        "{ product = \"app\", channel = \"stable\", arch = \"x86_64\" }",
    ),
    (
        "sources",
        "Addresses and directories of repositories, in the order in which they are asked: a box, mirrors, a stick.",
        "[\"https://...\"]",
    ),
    (
        "objective",
        "What a plan makes small: \"time\", seconds until an update is ready, or \"bytes\" over the network.",
        "\"time\"",
    ),
    (
        "memory",
        "Most memory that rebuilding one file may take; ways that need more are passed over.",
        "100663296",
    ),
    (
        "reserve",
        "Disk that stays free, whatever is fetched.",
        "16777216",
    ),
    (
        "keep",
        "Old releases that are kept whole, besides the one that runs: the way back.",
        "1",
    ),
    (
        "keep_reverse",
        "Keep deltas back instead of a whole old release; `keep` is 0 then.",
        "false",
    ),
    (
        "unprivileged",
        "For a site that is not root's: owners and what else only root may set are recorded, not set.",
        "false",
    ),
    (
        "health",
        "A command that says whether a new release works, run without a shell and with ELFUP_TREE set to the new tree, and\n\
         the seconds after which it has failed. Exit code 0 is health; anything else goes back.",
        "{ command = [\"/usr/local/bin/health\"], timeout = 60 }",
    ),
    (
        "fixed",
        "Where the running tree must be, instead of behind `current`; on the filesystem of the site. It is exchanged in one\n\
         rename.",
        "\"/opt/app\"",
    ),
    (
        "stall",
        "Seconds without an answer after which a source is given up for another.",
        "60",
    ),
    (
        "least_rate",
        "Least bytes per second that a source must send.",
        "64",
    ),
    (
        "ca",
        "Certificate authorities for https instead of those of the system, a PEM file.",
        "\"/etc/ssl/own.pem\"",
    ),
    (
        "header_file",
        "Headers for private repositories, `Name: value` a line; a file that its owner alone can read.",
        "\"/etc/elfup/headers\"",
    ),
    (
        "netrc",
        "Users and passwords by host, in the format of .netrc; a file that its owner alone can read.",
        "\"/etc/elfup/netrc\"",
    ),
    (
        "budget",
        "Most bytes that web servers may send a day (UTC); what is under way then goes on the next day.",
        "52428800",
    ),
    (
        "hours",
        "Hours (UTC) in which releases are fetched from web servers; urgent ones are at any.",
        "\"22-6\"",
    ),
    (
        "seeds",
        "Directories with files that may serve as bases, such as an older installation.",
        "[]",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config() -> impl Strategy<Value = Config> {
        let texts = || proptest::collection::vec("[ -~\\n\\t\"'äß]{0,12}", 0..3);
        let path = || proptest::option::of("[a-z/#\"'\\\\ ]{1,12}".prop_map(PathBuf::from));
        let numbers = (
            any::<u64>(),
            any::<u64>(),
            any::<u32>(),
            any::<u64>(),
            any::<u64>(),
        );
        let health = proptest::option::of((texts(), any::<u64>()));
        let rest = (
            path(),
            path(),
            path(),
            path(),
            proptest::option::of(any::<u64>()),
            0..23u8,
        );
        (texts(), numbers, health, rest, any::<[bool; 3]>()).prop_map(|(sources, n, health, rest, flags)| {
            let (fixed, ca, header_file, netrc, budget, hour) = rest;
            Config {
                objective: if flags[0] {
                    Objective::Time
                } else {
                    Objective::Bytes
                },
                memory: n.0,
                reserve: n.1,
                keep: n.2 as usize,
                stall: n.3,
                least_rate: n.4,
                keep_reverse: flags[1],
                unprivileged: flags[2],
                health: health.map(|(command, timeout)| Health { command, timeout }),
                seeds: fixed.iter().cloned().collect(),
                hours: Hours::parse(&format!("{hour}-{}", hour + 1))
                    .ok()
                    .filter(|_| flags[1]),
                fixed,
                ca,
                header_file,
                netrc,
                budget,
                ..Config::new(Follow::new("app", "stable", "x86_64").unwrap(), sources)
            }
        })
    }

    proptest! {
        /// Whatever it says, it is the same after it was written, by this version and by those with `site.json`.
        #[test]
        fn what_is_written_is_read(config in config()) {
            let dir = tempfile::tempdir().unwrap();
            config.save(dir.path()).unwrap();
            prop_assert_eq!(Config::load(dir.path()).unwrap(), config.bounded());
            disk::remove(&dir.path().join(FILE)).unwrap();
            std::fs::write(dir.path().join(BEFORE), serde_json::to_vec_pretty(&config).unwrap()).unwrap();
            prop_assert_eq!(&Config::load(dir.path()).unwrap(), &config);
            Config::migrate(dir.path()).unwrap();
            prop_assert!(!dir.path().join(BEFORE).exists());
            prop_assert_eq!(Config::load(dir.path()).unwrap(), config.bounded());
        }
    }

    #[test]
    fn every_key_has_a_word_and_an_example_that_can_be_taken() {
        let follow = Follow::new("app", "stable", "x86_64").unwrap();
        let text = Config::new(follow, vec!["https://...".into()]).text().unwrap();
        let plain: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest)
                    if KEYS
                        .iter()
                        .any(|(key, ..)| rest.starts_with(&format!("{key} = "))) =>
                {
                    rest
                }
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let full: Config = toml::from_str(&plain).unwrap();
        assert_eq!(toml::Table::try_from(&full).unwrap().len(), KEYS.len());
        for (key, about, example) in KEYS {
            let word = format!("\n# {}\n", about.replace('\n', "\n# "));
            assert!(about.ends_with('.') && text.contains(&word), "{key}");
            toml::from_str::<toml::Table>(&format!("{key} = {example}")).unwrap();
        }
        // Nothing but whom it follows and whom it asks must be said.
        let least =
            "protocol = 1\nsources = [\"a\"]\nfollow = { product = \"p\", channel = \"c\", arch = \"a\" }\n";
        let least: Config = toml::from_str(least).unwrap();
        assert_eq!(least, Config::new(least.follow.clone(), vec!["a".into()]));
    }

    #[test]
    fn errors_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let follow = Follow::new("app", "stable", "x86_64").unwrap();
        let good = Config::new(follow, vec!["a".into()]).text().unwrap();
        for (from, to, why) in [
            ("stall = 60", "stal = 60", "unknown field `stal`"),
            ("keep = 1", "keep = one", "line"),
            ("reserve = 16777216", "reserve = \"16 MB\"", "invalid type"),
        ] {
            std::fs::write(dir.path().join(FILE), good.replace(from, to)).unwrap();
            let told = Config::load(dir.path()).unwrap_err().to_string();
            let line = good[..good.find(from).unwrap()].matches('\n').count() + 1;
            assert!(
                told.contains(why) && told.contains(&format!("line {line}:")),
                "{told}"
            );
            assert!(!told.contains('\n'), "{told}");
        }
    }
}
