//! A repository's signed files held in memory: any value of them can be another, and what names them is signed anew.

use ed25519_dalek::{Signer, SigningKey};
use elfup::trust::Fetch;
use elfup::{Digest, Error, Result, digest::hex};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most roots of a chain.
const ROOTS: usize = 8;

/// How a file is answered for that is not what its role says.
#[derive(Clone)]
enum Instead {
    Nothing,
    Portal,
    Bytes(Vec<u8>),
}

/// What each role says, before it is signed.
pub struct Repository {
    signed: BTreeMap<String, Value>,
    /// What stands in place of values that are worked out, by role and pointer.
    set: Vec<(String, String, Option<Value>)>,
    signers: BTreeMap<String, Vec<u8>>,
    instead: BTreeMap<String, Instead>,
    /// Every root from version 1 on.
    roots: Vec<Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(number: u8) -> Value {
    let public = hex(key(number).verifying_key().as_bytes());
    json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}})
}

fn role(kind: &str, more: Value) -> Value {
    let mut role =
        json!({"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": "2100-01-01T00:00:00Z"});
    if let (Value::Object(role), Value::Object(more)) = (&mut role, more) {
        role.extend(more);
    }
    role
}

impl Repository {
    /// One release in a delegated role, and a second role that may speak for the same paths. Keys are called after
    /// their numbers: 0 root, 1 targets, 2 snapshot, 3 timestamp, 4 release, 5 other.
    pub fn new() -> Repository {
        let by = |n: u8| json!({"keyids": [n.to_string()], "threshold": 1});
        let keys = |range: std::ops::Range<u8>| -> Map<String, Value> {
            range.map(|n| (n.to_string(), public(n))).collect()
        };
        let delegated = |name: &str, n: u8, last: bool, path: &str| json!({"name": name, "keyids": [n.to_string()], "threshold": 1, "terminating": last, "paths": [path]});
        let file = json!({"length": 9, "hashes": {"sha256": Digest::of(b"a channel").to_string()}});
        let signed = [
            (
                "root",
                role(
                    "root",
                    json!({"consistent_snapshot": true, "keys": keys(0..10),
                "roles": {"root": by(0), "targets": by(1), "snapshot": by(2), "timestamp": by(3)}}),
                ),
            ),
            (
                "timestamp",
                role("timestamp", json!({"meta": {}, "issued": "2026-01-01T00:00:00Z"})),
            ),
            ("snapshot", role("snapshot", json!({"meta": {}}))),
            (
                "targets",
                role(
                    "targets",
                    json!({"targets": {"direct": file}, "delegations": {"keys": keys(4..10), "roles": [
                delegated("release", 4, false, "channels/*/*/*"), delegated("other", 5, true, "channels/demo/*/*")]}}),
                ),
            ),
            (
                "release",
                role(
                    "targets",
                    json!({"targets": {"channels/demo/stable/x86_64.json": file}}),
                ),
            ),
            (
                "other",
                role(
                    "targets",
                    json!({"targets": {"channels/demo/old/x86_64.json": file}}),
                ),
            ),
        ];
        let signers = ["root", "targets", "snapshot", "timestamp", "release", "other"];
        Repository {
            signed: signed.map(|(role, value)| (role.to_owned(), value)).into(),
            set: Vec::new(),
            signers: signers
                .iter()
                .zip(0..)
                .map(|(role, n)| ((*role).to_owned(), vec![n]))
                .collect(),
            instead: BTreeMap::new(),
            roots: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// Has a value (none: no value) stand at a pointer into what a role says, from now on.
    pub fn set(&mut self, role: &str, pointer: &str, value: Option<Value>) {
        self.set.push((role.into(), pointer.into(), value));
    }

    /// Has keys sign for a role from now on.
    pub fn signers(&mut self, role: &str, keys: Vec<u8>) {
        self.signers.insert(role.into(), keys);
    }

    /// Takes a role's file away.
    pub fn remove(&mut self, role: &str) {
        self.instead.insert(role.into(), Instead::Nothing);
    }

    /// Has a web page stand in place of a role's file.
    pub fn portal(&mut self, role: &str) {
        self.instead.insert(role.into(), Instead::Portal);
    }

    /// Has bytes stand in place of a role's file.
    pub fn replace(&mut self, role: &str, bytes: &[u8]) {
        self.instead.insert(role.into(), Instead::Bytes(bytes.into()));
    }

    /// Gives a role its own file again, as it was at first.
    pub fn restore(&mut self, role: &str) {
        self.instead.remove(role);
        self.set.retain(|(of, ..)| of != role);
    }

    /// Publishes the root as it is now behind the ones before.
    pub fn publish_root(&mut self) {
        if self.roots.len() < ROOTS {
            let version = self.roots.len() as u64 + 1;
            self.signed
                .entry("root".into())
                .and_modify(|root| root["version"] = version.into());
            let (bytes, _) = self.seal("root");
            self.roots.push(bytes);
        }
    }

    /// The root of a version.
    pub fn root(&self, version: usize) -> Option<&[u8]> {
        self.roots.get(version.checked_sub(1)?).map(Vec::as_slice)
    }

    /// Publishes everything below the root: what names a file names it as it is now.
    pub fn publish(&mut self) {
        let mut named = Map::new();
        let lower: Vec<String> = self
            .signed
            .keys()
            .filter(|r| !["root", "timestamp", "snapshot"].contains(&r.as_str()))
            .cloned()
            .collect();
        for role in lower {
            self.put(&role, &mut named);
        }
        self.signed
            .entry("snapshot".into())
            .and_modify(|s| s["meta"] = named.into());
        let mut named = Map::new();
        self.put("snapshot", &mut named);
        self.signed
            .entry("timestamp".into())
            .and_modify(|s| s["meta"] = named.into());
        self.put("timestamp", &mut Map::new());
    }

    fn put(&mut self, role: &str, named: &mut Map<String, Value>) {
        let (bytes, version) = self.seal(role);
        let meta = json!({"version": version, "length": bytes.len(), "hashes": {"sha256": Digest::of(&bytes).to_string()}});
        named.insert(format!("{role}.json"), meta);
        self.files.insert(role.into(), bytes);
    }

    /// A role's file, and the version that it says it is.
    fn seal(&self, role: &str) -> (Vec<u8>, u64) {
        let mut signed = self.signed.get(role).cloned().unwrap_or_default();
        for (_, pointer, value) in self.set.iter().filter(|(of, ..)| of == role) {
            change(&mut signed, pointer, value.as_ref());
        }
        let version = signed["version"].as_u64().unwrap_or(1);
        if let Some(Instead::Bytes(bytes)) = self.instead.get(role) {
            return (bytes.clone(), version);
        }
        // Sorted and without spaces: canonical, as long as no text has what JSON must escape.
        let message = signed.to_string();
        let sign = |n: &u8| json!({"keyid": n.to_string(), "sig": hex(&key(*n).sign(message.as_bytes()).to_bytes())});
        let signatures: Vec<Value> = self.signers.get(role).into_iter().flatten().map(sign).collect();
        (
            json!({"signatures": signatures, "signed": signed})
                .to_string()
                .into_bytes(),
            version,
        )
    }
}

/// Changes or removes what a pointer leads to; a member that is not there is added.
fn change(whole: &mut Value, pointer: &str, value: Option<&Value>) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match (whole.pointer_mut(parent), value) {
        (Some(Value::Object(map)), Some(value)) => drop(map.insert(name, value.clone())),
        (Some(Value::Object(map)), None) => drop(map.remove(&name)),
        (Some(Value::Array(list)), value) => {
            if let Some(item) = name.parse::<usize>().ok().and_then(|n| list.get_mut(n)) {
                *item = value.cloned().unwrap_or_default();
            }
        }
        _ => {}
    }
}

impl Fetch for Repository {
    fn fetch(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let name = path
            .strip_prefix("tuf/")
            .and_then(|p| p.strip_suffix(".json"))
            .unwrap_or(path);
        let (version, role) = name.split_once('.').unwrap_or(("", name));
        let bytes = match (role, self.instead.get(role)) {
            (_, Some(Instead::Portal)) => return Err(Error::Portal(path.into())),
            (_, Some(Instead::Nothing)) => None,
            ("root", _) => version.parse().ok().and_then(|n| self.root(n)),
            _ => self.files.get(role).map(Vec::as_slice),
        };
        match bytes {
            Some(bytes) if bytes.len() as u64 > limit => Err(Error::Untrusted("too long".into())),
            bytes => Ok(bytes.map(<[u8]>::to_vec)),
        }
    }
}
