//! The kinds of metadata, field by field as TUF names them; unknown fields are ignored.

use crate::clock::{self, Seconds};
use crate::digest::unhex;
use crate::{Digest, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub keytype: String,
    pub scheme: String,
    pub keyval: KeyValue,
}

/// The hex of a public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    pub public: String,
}

impl Key {
    /// The key's bytes if it made this signature.
    pub fn check(&self, message: &[u8], signature: &[u8]) -> Option<[u8; 32]> {
        if self.keytype != "ed25519" || self.scheme != "ed25519" {
            return None;
        }
        let bytes: [u8; 32] = unhex(&self.keyval.public)?.try_into().ok()?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok()?;
        let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
        key.verify_strict(message, &signature).ok()?;
        Some(bytes)
    }
}

/// Which keys may sign for a role, and how many must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    pub keyids: Vec<String>,
    pub threshold: u64,
}

/// Fields that every kind has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Common {
    #[serde(rename = "_type")]
    pub kind: String,
    pub spec_version: String,
    /// Only grows.
    pub version: u64,
    /// RFC 3339, UTC.
    pub expires: String,
}

impl Common {
    pub fn new(kind: &str, version: u64, expires: Seconds) -> Common {
        Common {
            kind: kind.into(),
            spec_version: "1.0.31".into(),
            version,
            expires: clock::format(expires),
        }
    }

    /// Fails with [`Error::Stale`] after the expiry time.
    pub fn fresh(&self, role: &'static str, now: Seconds) -> Result<()> {
        match clock::parse(&self.expires) {
            Some(t) if now < t => Ok(()),
            Some(_) => Err(Error::Stale(self.expires.clone(), role)),
            None => Err(Error::malformed("metadata", format!("{role}: bad expiry time"))),
        }
    }
}

/// Keys and thresholds of all roles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Root {
    #[serde(flatten)]
    pub common: Common,
    pub consistent_snapshot: bool,
    pub keys: BTreeMap<String, Key>,
    pub roles: BTreeMap<String, RoleKeys>,
}

impl Root {
    pub fn role(&self, name: &str) -> Result<&RoleKeys> {
        self.roles
            .get(name)
            .ok_or_else(|| Error::malformed("metadata", format!("root names no keys for {name}")))
    }
}

/// Version, and where known length and digest, of another metadata file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<Hashes>,
}

/// Digests by algorithm; SHA-256 is the one that is read. What is described by others only matches nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

impl Meta {
    /// Version, length and digest of these bytes.
    pub fn of(version: u64, bytes: &[u8]) -> Meta {
        let hashes = Some(Hashes {
            sha256: Some(Digest::of(bytes)),
        });
        let length = Some(bytes.len() as u64);
        Meta {
            version,
            length,
            hashes,
        }
    }

    /// Whether the bytes are the ones described.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.length.is_none_or(|l| l == bytes.len() as u64)
            && self
                .hashes
                .as_ref()
                .is_none_or(|h| h.sha256 == Some(Digest::of(bytes)))
    }
}

/// Names the snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timestamp {
    #[serde(flatten)]
    pub common: Common,
    pub meta: BTreeMap<String, Meta>,
    /// When it was signed: the time below which no clock is believed. An addition to TUF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<String>,
}

/// Names one version of every targets role.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(flatten)]
    pub common: Common,
    pub meta: BTreeMap<String, Meta>,
}

/// One signed file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    pub length: u64,
    pub hashes: Hashes,
}

/// Signed files, and roles trusted for some of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Targets {
    #[serde(flatten)]
    pub common: Common,
    pub targets: BTreeMap<String, Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
}

/// Roles that a targets role trusts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delegations {
    pub keys: BTreeMap<String, Key>,
    pub roles: Vec<Delegated>,
}

/// One delegated role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegated {
    pub name: String,
    #[serde(flatten)]
    pub keys: RoleKeys,
    pub terminating: bool,
    pub paths: Vec<String>,
}

impl Delegated {
    /// Whether the role may speak for a path: component by component, `*` standing for any run of characters.
    pub fn covers(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| {
            let (p, q): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            p.len() == q.len()
                && p.iter()
                    .zip(&q)
                    .all(|(p, q)| crate::manifest::glob(p.as_bytes(), q.as_bytes()))
        })
    }
}
