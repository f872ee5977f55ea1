//! The list of pairs, as `pairs.toml` holds it.

use crate::{Client, Debian, Error, Result};
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
    /// Path inside the archive; `{version}` stands for the version. None: the archive itself.
    pub member: Option<String>,
    /// Name of a group of pairs that is only taken when asked for.
    pub set: Option<String>,
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
    pub fn member(&self, side: Side) -> Option<String> {
        let member = self.member.as_ref()?;
        Some(member.replace("{version}", self.version(side)))
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
    /// Trees of a Debian release.
    pub debian: Vec<Debian>,
}

impl Manifest {
    /// The manifest that this crate was built with.
    ///
    /// # Panics
    /// If `pairs.toml` is not well-formed, which a test excludes.
    pub fn builtin() -> Manifest {
        toml::from_str(include_str!("../pairs.toml")).expect("pairs.toml is well-formed")
    }

    /// The pairs of these names, in that order, and of the sets of these names; all that are in no set where `names`
    /// is empty.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Pair>> {
        if names.is_empty() {
            return Ok(self.pairs.iter().filter(|p| p.set.is_none()).collect());
        }
        let mut pairs = Vec::new();
        for name in names {
            let before = pairs.len();
            let named = |p: &&Pair| p.name == *name || p.set.as_ref() == Some(name);
            pairs.extend(self.pairs.iter().filter(named));
            if pairs.len() == before {
                return Err(Error::UnknownPair(name.clone()));
            }
        }
        Ok(pairs)
    }

    /// The Debian tree of this name, if there is one.
    pub fn debian(&self, name: &str) -> Option<&Debian> {
        self.debian.iter().find(|tree| tree.name == name)
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
                let member = pair.member(side).unwrap_or_default();
                assert!(!member.contains('{'), "{}", pair.name);
            }
        }
        let sets: HashSet<_> = manifest.pairs.iter().filter_map(|p| p.set.as_ref()).collect();
        assert!(sets.is_disjoint(&names), "a set is called like a pair");
        for tree in &manifest.debian {
            assert!(!names.contains(&tree.name), "{}", tree.name);
            assert!(tree.packages.is_empty() == tree.series.is_some(), "{}", tree.name);
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
        let usual = manifest.select(&[]).unwrap();
        assert!(usual.iter().all(|pair| pair.set.is_none()));
        let packed = manifest.select(&["packed".into(), "numpy".into()]).unwrap();
        assert!(packed.len() > 2 && packed.last().unwrap().name == "numpy");
        assert!(
            packed[..packed.len() - 1]
                .iter()
                .all(|pair| pair.set.as_deref() == Some("packed"))
        );
        let error = manifest.select(&["nothing".into()]).unwrap_err();
        assert!(matches!(error, Error::UnknownPair(name) if name == "nothing"));
        assert_eq!(manifest.wheels(&[]).unwrap().len(), 11);
        assert_eq!(manifest.wheels(&["ruff".into()]).unwrap()[0].package, "ruff");
        let error = manifest.wheels(&["nothing".into()]).unwrap_err();
        assert!(matches!(error, Error::UnknownWheel(name) if name == "nothing"));
    }
}
