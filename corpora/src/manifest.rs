//! The list of pairs, as `pairs.toml` holds it.

use crate::{Client, Error, Result};
use serde::{Deserialize, Serialize};

/// Which of the two releases of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The release that a site already has.
    Old,
    /// The release it is to have.
    New,
}

impl Side {
    /// Both, old first.
    pub const BOTH: [Side; 2] = [Side::Old, Side::New];

    /// The file's name in the cache.
    pub fn name(self) -> &'static str {
        match self {
            Side::Old => "old",
            Side::New => "new",
        }
    }
}

/// One file in two releases of one package.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Short name, unique in the manifest; also its folder in the cache.
    pub name: String,
    /// Who fetches it.
    pub client: Client,
    /// Package name as the client knows it.
    pub package: String,
    /// Old version.
    pub old: String,
    /// New version.
    pub new: String,
    /// Machine, as in `uname -m`.
    pub platform: String,
    /// Path inside the archive; `{version}` stands for the version.
    pub member: String,
    /// SHA-256 of the old member, in hexadecimal.
    pub sha256_old: String,
    /// SHA-256 of the new member, in hexadecimal.
    pub sha256_new: String,
    /// What the pair is there to show.
    pub why: String,
}

impl Pair {
    /// Version of one side.
    pub fn version(&self, side: Side) -> &str {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
    /// Path of one side inside its archive.
    pub fn member(&self, side: Side) -> String {
        self.member.replace("{version}", self.version(side))
    }
    /// Pinned SHA-256 of one side, in hexadecimal.
    pub fn sha256(&self, side: Side) -> &str {
        match side {
            Side::Old => &self.sha256_old,
            Side::New => &self.sha256_new,
        }
    }
}

/// One package of the site tree, in two releases.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// Who fetches it.
    pub client: Client,
    /// Package name as the client knows it.
    pub package: String,
    /// Old version.
    pub old: String,
    /// New version.
    pub new: String,
    /// Machine, as in `uname -m`.
    pub platform: String,
    /// SHA-256 of the old archive, in hexadecimal.
    pub sha256_old: String,
    /// SHA-256 of the new archive, in hexadecimal.
    pub sha256_new: String,
}

impl Wheel {
    /// Version of one side.
    pub fn version(&self, side: Side) -> &str {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
    /// Pinned SHA-256 of one side's archive, in hexadecimal.
    pub fn sha256(&self, side: Side) -> &str {
        match side {
            Side::Old => &self.sha256_old,
            Side::New => &self.sha256_new,
        }
    }
}

/// The whole manifest.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Single files, for the engine.
    #[serde(rename = "pair")]
    pub pairs: Vec<Pair>,
    /// Packages that make up the site tree, for the updater.
    #[serde(rename = "tree")]
    pub tree: Vec<Wheel>,
}

impl Manifest {
    /// The manifest that this crate was built with.
    ///
    /// # Panics
    /// If `pairs.toml` is not well-formed, which a test excludes.
    pub fn builtin() -> Manifest {
        toml::from_str(include_str!("../pairs.toml")).expect("pairs.toml is well-formed")
    }

    /// The pairs of these names, in that order; all of them where `names` is empty.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Pair>> {
        if names.is_empty() {
            return Ok(self.pairs.iter().collect());
        }
        let find = |name: &String| self.pairs.iter().find(|p| p.name == *name);
        names
            .iter()
            .map(|n| find(n).ok_or_else(|| Error::UnknownPair(n.clone())))
            .collect()
    }

    /// The site tree's packages of these names, in the manifest's order; all of them where `names` is empty.
    pub fn wheels(&self, names: &[String]) -> Result<Vec<&Wheel>> {
        if let Some(unknown) = names.iter().find(|n| !self.tree.iter().any(|w| w.package == **n)) {
            return Err(Error::UnknownWheel(unknown.clone()));
        }
        let wanted = |w: &&Wheel| names.is_empty() || names.contains(&w.package);
        Ok(self.tree.iter().filter(wanted).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn builtin_is_sound() {
        let manifest = Manifest::builtin();
        let names: HashSet<_> = manifest.pairs.iter().map(|p| &p.name).collect();
        assert_eq!(names.len(), manifest.pairs.len(), "names are unique");
        for pair in &manifest.pairs {
            for side in Side::BOTH {
                let digest = pair.sha256(side);
                assert_eq!(digest.len(), 64, "{}", pair.name);
                assert!(digest.bytes().all(|b| b.is_ascii_hexdigit()), "{}", pair.name);
                assert!(!pair.member(side).contains('{'), "{}", pair.name);
            }
        }
        for wheel in &manifest.tree {
            for side in Side::BOTH {
                let digest = wheel.sha256(side);
                assert_eq!(digest.len(), 64, "{}", wheel.package);
                assert!(digest.bytes().all(|b| b.is_ascii_hexdigit()), "{}", wheel.package);
            }
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        let manifest = Manifest::builtin();
        assert_eq!(manifest.select(&[]).unwrap().len(), manifest.pairs.len());
        let error = manifest.select(&["nothing".into()]).unwrap_err();
        assert!(matches!(error, Error::UnknownPair(name) if name == "nothing"));
        assert_eq!(manifest.wheels(&[]).unwrap().len(), 11);
        assert_eq!(manifest.wheels(&["ruff".into()]).unwrap()[0].package, "ruff");
        let error = manifest.wheels(&["nothing".into()]).unwrap_err();
        assert!(matches!(error, Error::UnknownWheel(name) if name == "nothing"));
    }
}
