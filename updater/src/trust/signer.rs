//! The farm's side: makes, rotates and renews the signed metadata of a repository.

use super::canonical::{Envelope, canonical};
use super::keys::KeyPair;
use super::roles::{
    Common, Delegated, Delegations, Hashes, Meta, RoleKeys, Root, Snapshot, Target, Targets, Timestamp,
};
use crate::clock::{self, Seconds};
use crate::store::Store;
use crate::{Digest, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How long each role's signature lasts, in days.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Root; offline.
    pub root: i64,
    /// Targets; offline.
    pub targets: i64,
    /// Release.
    pub release: i64,
    /// Snapshot.
    pub snapshot: i64,
    /// Timestamp: a site that gets none for so long knows that it is stale.
    pub timestamp: i64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Lifetimes {
            root: 730,
            targets: 365,
            release: 90,
            snapshot: 30,
            timestamp: 7,
        }
    }
}

/// Signs for one repository with the keys of one directory.
pub struct Signer<'a> {
    store: &'a dyn Store,
    keys: PathBuf,
    lifetimes: Lifetimes,
}

const LIMIT: u64 = 64 << 20;

impl<'a> Signer<'a> {
    /// Signs into `store` with the keys in `keys`.
    pub fn new(store: &'a dyn Store, keys: &Path, lifetimes: Lifetimes) -> Self {
        let keys = keys.to_owned();
        Signer {
            store,
            keys,
            lifetimes,
        }
    }

    /// Makes a key directory: `root_keys` root keys and one key for each other role.
    pub fn make_keys(dir: &Path, root_keys: u32) -> Result<()> {
        if !crate::disk::list(dir)?.is_empty() {
            return Err(Error::Usage(format!("{} is not empty", dir.display())));
        }
        crate::disk::make_dirs(dir)?;
        for i in 1..=root_keys {
            KeyPair::generate()?.save(&dir.join(format!("root-{i}.key")))?;
        }
        for role in ["targets", "release", "snapshot", "timestamp"] {
            KeyPair::generate()?.save(&dir.join(format!("{role}.key")))?;
        }
        Ok(())
    }

    /// Signs the first version of everything. Needs all keys.
    pub fn init(&self, root_threshold: u64) -> Result<()> {
        if self.store.get("tuf/1.root.json", LIMIT)?.is_some() {
            return Err(Error::Usage("the repository has metadata already".into()));
        }
        let mut root = Root {
            common: Common::new("root", 1, self.until(self.lifetimes.root)),
            consistent_snapshot: true,
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
        };
        for role in ["root", "targets", "snapshot", "timestamp"] {
            let pairs = self.load(role)?;
            let threshold = if role == "root" { root_threshold } else { 1 };
            if threshold == 0 || threshold > pairs.len() as u64 {
                let have = pairs.len();
                return Err(Error::Usage(format!(
                    "threshold {threshold} with {have} {role} keys"
                )));
            }
            set_keys(&mut root, role, &pairs, threshold);
        }
        self.put("root", 1, &root, &self.load("root")?)?;
        let targets = self.targets(1, None)?;
        self.put("targets", 1, &targets, &self.load("targets")?)?;
        let release = self.release_role(1, BTreeMap::new());
        self.put("release", 1, &release, &self.load("release")?)?;
        self.commit(&[("targets.json", 1), ("release.json", 1)])
    }

    /// Signs new contents of channel files: target path, length, digest. The last step of a publish.
    pub fn release(&self, changed: &[(String, u64, Digest)]) -> Result<()> {
        let current = self.current()?;
        let release_meta = version_of(&current.snapshot, "release.json")?;
        let mut release: Targets = self.read("targets", &format!("tuf/{release_meta}.release.json"))?;
        for (path, length, digest) in changed {
            let target = Target {
                length: *length,
                hashes: Hashes { sha256: *digest },
            };
            release.targets.insert(path.clone(), target);
        }
        let version = release_meta + 1;
        let new = self.release_role(version, release.targets);
        self.put("release", version, &new, &self.load("release")?)?;
        let targets = version_of(&current.snapshot, "targets.json")?;
        self.commit(&[("targets.json", targets), ("release.json", version)])
    }

    /// The digest of a signed file as the repository's newest metadata has it.
    pub fn signed(store: &dyn Store, target: &str) -> Result<Option<Digest>> {
        let signer = Signer::new(store, Path::new(""), Lifetimes::default());
        let current = signer.current()?;
        let version = version_of(&current.snapshot, "release.json")?;
        let release: Targets = signer.read("targets", &format!("tuf/{version}.release.json"))?;
        Ok(release.targets.get(target).map(|t| t.hashes.sha256))
    }

    /// All signed files as the repository's newest metadata has them.
    pub fn all_signed(store: &dyn Store) -> Result<Vec<(String, Digest)>> {
        let signer = Signer::new(store, Path::new(""), Lifetimes::default());
        let version = version_of(&signer.current()?.snapshot, "release.json")?;
        let release: Targets = signer.read("targets", &format!("tuf/{version}.release.json"))?;
        Ok(release
            .targets
            .into_iter()
            .map(|(path, t)| (path, t.hashes.sha256))
            .collect())
    }

    /// Signs a new timestamp; and new release and snapshot metadata once half their life is over.
    pub fn renew(&self) -> Result<()> {
        let current = self.current()?;
        let release: Targets = self.read(
            "targets",
            &format!(
                "tuf/{}.release.json",
                version_of(&current.snapshot, "release.json")?
            ),
        )?;
        if self.half_gone(&release.common, self.lifetimes.release) {
            return self.release(&[]);
        }
        if self.half_gone(&current.snapshot.common, self.lifetimes.snapshot) {
            let names = ["targets.json", "release.json"];
            let versions = names.map(|n| version_of(&current.snapshot, n).map(|v| (n, v)));
            let [a, b] = versions;
            return self.commit(&[a?, b?]);
        }
        self.stamp(current.timestamp.common.version + 1, current.timestamp.meta)
    }

    /// Replaces the keys of a role by a new one, as after a theft. Needs the root keys, for `release` the targets key.
    pub fn rotate(&self, role: &str) -> Result<()> {
        let current = self.current()?;
        let mut root = self.last_root()?;
        let old_root = self.load("root")?;
        match role {
            "root" | "targets" | "snapshot" | "timestamp" => {
                let old = self.load(role)?;
                let threshold = root.role(role)?.threshold;
                let fresh: Vec<KeyPair> = old.iter().map(|_| KeyPair::generate()).collect::<Result<_>>()?;
                set_keys(&mut root, role, &fresh, threshold);
                root.common = Common::new("root", root.common.version + 1, self.until(self.lifetimes.root));
                let mut signers = old_root;
                if role == "root" {
                    signers.extend(fresh.iter().map(KeyPair::duplicate));
                }
                // The new keys are safe on disk before anything is signed that needs them.
                self.save_next(role, &fresh)?;
                self.put("root", root.common.version, &root, &signers)?;
                self.adopt_next(role)?;
            }
            "release" => {
                let fresh = [KeyPair::generate()?];
                self.save_next(role, &fresh)?;
                self.adopt_next(role)?;
            }
            _ => return Err(Error::Usage(format!("{role} is not a role"))),
        }
        let mut targets = version_of(&current.snapshot, "targets.json")?;
        let mut release = version_of(&current.snapshot, "release.json")?;
        if matches!(role, "targets" | "release") {
            let old: Targets = self.read("targets", &format!("tuf/{targets}.targets.json"))?;
            targets += 1;
            let keep = (role == "targets").then_some(old.delegations).flatten();
            self.put(
                "targets",
                targets,
                &self.targets(targets, keep)?,
                &self.load("targets")?,
            )?;
        }
        if role == "release" {
            let old: Targets = self.read("targets", &format!("tuf/{release}.release.json"))?;
            release += 1;
            self.put(
                "release",
                release,
                &self.release_role(release, old.targets),
                &self.load("release")?,
            )?;
        }
        self.commit(&[("targets.json", targets), ("release.json", release)])
    }

    fn save_next(&self, role: &str, fresh: &[KeyPair]) -> Result<()> {
        for (i, key) in fresh.iter().enumerate() {
            let name = if role == "root" {
                format!("root-{}.key", i + 1)
            } else {
                format!("{role}.key")
            };
            key.save(&self.keys.join(name + ".next"))?;
        }
        Ok(())
    }

    fn adopt_next(&self, role: &str) -> Result<()> {
        let mut next = Vec::new();
        for entry in crate::disk::list(&self.keys)? {
            let name = entry.file_name().into_string().unwrap_or_default();
            let of_role =
                |stem: &str| stem == role || stem.strip_prefix(role).is_some_and(|r| r.starts_with('-'));
            if name.strip_suffix(".key.next").is_some_and(of_role) {
                next.push(entry.path());
            } else if name.strip_suffix(".key").is_some_and(of_role) {
                crate::disk::remove(&entry.path())?;
            }
        }
        next.iter()
            .try_for_each(|path| crate::disk::rename(path, &path.with_extension("")))
    }

    fn targets(&self, version: u64, delegations: Option<Delegations>) -> Result<Targets> {
        let delegations = match delegations {
            Some(d) => d,
            None => {
                let pairs = self.load("release")?;
                Delegations {
                    keys: pairs
                        .iter()
                        .map(|k| (k.id().to_owned(), k.public().clone()))
                        .collect(),
                    roles: vec![Delegated {
                        name: "release".into(),
                        keys: RoleKeys {
                            keyids: pairs.iter().map(|k| k.id().to_owned()).collect(),
                            threshold: 1,
                        },
                        terminating: true,
                        paths: vec!["channels/*/*/*".into()],
                    }],
                }
            }
        };
        Ok(Targets {
            common: Common::new("targets", version, self.until(self.lifetimes.targets)),
            targets: BTreeMap::new(),
            delegations: Some(delegations),
        })
    }

    fn release_role(&self, version: u64, targets: BTreeMap<String, Target>) -> Targets {
        Targets {
            common: Common::new("targets", version, self.until(self.lifetimes.release)),
            targets,
            delegations: None,
        }
    }

    /// Writes snapshot and timestamp over the named versions: the moment of publication.
    fn commit(&self, versions: &[(&str, u64)]) -> Result<()> {
        let last = self.store.get("tuf/timestamp.json", LIMIT)?;
        let last: Option<Timestamp> = last
            .map(|b| Envelope::parse(&b, "timestamp")?.content())
            .transpose()?;
        let (stamp, snap) = match &last {
            Some(t) => (
                t.common.version + 1,
                t.meta.get("snapshot.json").map_or(0, |m| m.version) + 1,
            ),
            None => (1, 1),
        };
        let mut meta = BTreeMap::new();
        for (name, version) in versions {
            let bytes = self.bytes(&format!("tuf/{version}.{name}"))?;
            meta.insert((*name).to_owned(), Meta::of(*version, &bytes));
        }
        let snapshot = Snapshot {
            common: Common::new("snapshot", snap, self.until(self.lifetimes.snapshot)),
            meta,
        };
        let bytes = self.put("snapshot", snap, &snapshot, &self.load("snapshot")?)?;
        self.stamp(
            stamp,
            BTreeMap::from([("snapshot.json".into(), Meta::of(snap, &bytes))]),
        )
    }

    fn stamp(&self, version: u64, meta: BTreeMap<String, Meta>) -> Result<()> {
        let timestamp = Timestamp {
            common: Common::new("timestamp", version, self.until(self.lifetimes.timestamp)),
            meta,
            issued: Some(clock::format(clock::now())),
        };
        let bytes = seal(&timestamp, &self.load("timestamp")?)?;
        self.store.replace("tuf/timestamp.json", &bytes)
    }

    /// Writes a numbered metadata file. A leftover of a killed run, which no timestamp names, is replaced.
    fn put(&self, role: &str, version: u64, data: &impl Serialize, keys: &[KeyPair]) -> Result<Vec<u8>> {
        let bytes = seal(data, keys)?;
        self.store
            .replace(&format!("tuf/{version}.{role}.json"), &bytes)?;
        Ok(bytes)
    }

    fn current(&self) -> Result<Current> {
        let timestamp: Timestamp = self.read("timestamp", "tuf/timestamp.json")?;
        let version = timestamp.meta.get("snapshot.json").map_or(0, |m| m.version);
        let snapshot = self.read("snapshot", &format!("tuf/{version}.snapshot.json"))?;
        Ok(Current { timestamp, snapshot })
    }

    fn last_root(&self) -> Result<Root> {
        let mut version = 1;
        while self
            .store
            .get(&format!("tuf/{}.root.json", version + 1), LIMIT)?
            .is_some()
        {
            version += 1;
        }
        self.read("root", &format!("tuf/{version}.root.json"))
    }

    fn read<T: DeserializeOwned>(&self, kind: &'static str, path: &str) -> Result<T> {
        Envelope::parse(&self.bytes(path)?, kind)?.content()
    }
    fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        self.store
            .get(path, LIMIT)?
            .ok_or_else(|| Error::NotFound(format!("{path} in the repository")))
    }
    fn load(&self, role: &str) -> Result<Vec<KeyPair>> {
        KeyPair::load_role(&self.keys, role)
    }
    fn until(&self, days: i64) -> Seconds {
        clock::now() + days * 86_400
    }
    fn half_gone(&self, common: &Common, days: i64) -> bool {
        clock::parse(&common.expires).is_none_or(|t| t - clock::now() < days * 43_200)
    }
}

struct Current {
    timestamp: Timestamp,
    snapshot: Snapshot,
}

fn version_of(snapshot: &Snapshot, name: &str) -> Result<u64> {
    let meta = snapshot.meta.get(name);
    meta.map(|m| m.version)
        .ok_or_else(|| Error::NotFound(format!("{name} in the snapshot")))
}

fn set_keys(root: &mut Root, role: &str, pairs: &[KeyPair], threshold: u64) {
    if let Some(old) = root.roles.remove(role) {
        let used = |id: &String| root.roles.values().any(|r| r.keyids.contains(id));
        let gone: Vec<String> = old.keyids.into_iter().filter(|id| !used(id)).collect();
        gone.iter().for_each(|id| drop(root.keys.remove(id)));
    }
    let keyids = pairs.iter().map(|k| k.id().to_owned()).collect();
    root.keys
        .extend(pairs.iter().map(|k| (k.id().to_owned(), k.public().clone())));
    root.roles.insert(role.into(), RoleKeys { keyids, threshold });
}

fn seal(data: &impl Serialize, keys: &[KeyPair]) -> Result<Vec<u8>> {
    let signed =
        serde_json::to_value(data).map_err(|e| Error::io("encode metadata", std::io::Error::from(e)))?;
    let message = canonical(&signed)?;
    let signatures: Vec<_> = keys
        .iter()
        .map(|k| serde_json::json!({"keyid": k.id(), "sig": k.sign(&message)}))
        .collect();
    let whole = serde_json::json!({"signatures": signatures, "signed": signed});
    canonical(&whole)
}
