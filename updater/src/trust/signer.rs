//! The farm's side: signs the first metadata of a repository, new releases, and what is about to expire.

use super::canonical::canonical;
use super::keys::KeyPair;
use super::published::{LIMIT, Published, next_root, versions};
use super::ring::Ring;
use super::roles::{
    Common, Delegated, Delegations, Hashes, Meta, RoleKeys, Root, Snapshot, Target, Targets, Timestamp,
};
use crate::clock::{self, Seconds};
use crate::disk::{self, Lock};
use crate::names::TIMESTAMP;
use crate::store::{Held, Store};
use crate::{Digest, Error, Quiet, Result, Watch};
use serde::Serialize;
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

/// Signs for one repository with the keys of one or more directories.
pub struct Signer<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) dirs: Vec<PathBuf>,
    pub(super) lifetimes: Lifetimes,
    watch: &'a dyn Watch,
    /// A target, and the digest that it must have until it is signed anew.
    expected: Option<(String, Option<Digest>)>,
}

/// A root that is decided but perhaps not yet where sites see it.
const NEXT_ROOT: &str = "work/next.root.json";
/// How often a release is signed anew because another signed something else at the same moment.
const TRIES: u32 = 5;
/// In a key directory: not all of its keys are made yet.
const UNFINISHED: &str = "unfinished";
/// Roles whose keys the root names.
const TOP: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// Which metadata below the root is signed anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Anew {
    pub targets: bool,
    pub release: bool,
    pub snapshot: bool,
    pub timestamp: bool,
}

/// What every signing begins with.
pub(super) struct Begun {
    pub ring: Ring,
    pub now: Published,
    pub _lock: Held,
}

impl<'a> Signer<'a> {
    /// Signs into `store` with the keys in `keys`.
    pub fn new(store: &'a dyn Store, keys: &Path, lifetimes: Lifetimes) -> Self {
        Signer {
            store,
            dirs: vec![keys.to_owned()],
            lifetimes,
            watch: &Quiet,
            expected: None,
        }
    }

    /// Ends, while it waits for another that signs, when this says so.
    pub fn heeding(mut self, watch: &'a dyn Watch) -> Self {
        self.watch = watch;
        self
    }

    /// Signs only in the place of what has this digest, or of nothing: what another has signed meanwhile is not lost.
    pub fn expecting(mut self, target: &str, digest: Option<Digest>) -> Self {
        self.expected = Some((target.to_owned(), digest));
        self
    }

    /// Also uses the keys in these directories; new keys of root and targets go to the last one.
    pub fn offline(mut self, dirs: &[PathBuf]) -> Self {
        self.dirs.extend_from_slice(dirs);
        self
    }

    /// Makes a key directory: `root_keys` root keys and one key for each other role.
    ///
    /// Goes on with one that was not finished. `false`: exactly these keys were there.
    pub fn make_keys(dir: &Path, root_keys: u32) -> Result<bool> {
        disk::make_dirs_durably(dir)?;
        let _lock = Lock::take_dir(dir)?;
        let mark = dir.join(UNFINISHED);
        let mut names: Vec<String> = (1..=root_keys).map(|i| format!("root-{i}.key")).collect();
        names.extend(["targets.key", "release.key", "snapshot.key", "timestamp.key"].map(String::from));
        let begun = disk::read(&mark, 64)?.is_some();
        disk::sweep(dir)?;
        if !begun && !disk::list(dir)?.is_empty() {
            let whole = names.iter().all(|n| KeyPair::load(&dir.join(n)).is_ok());
            if whole && disk::list(dir)?.len() == names.len() {
                return Ok(false);
            }
            return Err(Error::Usage(format!("{} is not empty", dir.display())));
        }
        disk::replace(&mark, b"", 0o600, disk::Sync::Key)?;
        for name in names {
            let path = dir.join(name);
            if disk::read(&path, 4096)?.is_none() {
                KeyPair::generate()?.save(&path)?;
            }
        }
        disk::remove(&mark)?;
        disk::sync_dir(dir)?;
        Ok(true)
    }

    /// Signs the first version of everything. Needs all keys. `false`: they had signed it before.
    ///
    /// The timestamp comes last: without one the repository was never in use, and is begun anew.
    pub fn init(&self, root_threshold: u64) -> Result<bool> {
        let ring = Ring::read(&self.dirs)?;
        let root = self.first_root(&ring, root_threshold)?;
        let _lock = self.store.lock_signing(self.watch)?;
        if self.store.get(TIMESTAMP, LIMIT)?.is_some() {
            let now = Published::read(self.store)?;
            return match now.root()?.roles == root.roles {
                true => Ok(false),
                false => Err(Error::Usage(
                    "the repository has metadata already, by other keys".into(),
                )),
            };
        }
        for role in ["root", "targets", "release", "snapshot"] {
            if versions(self.store, role)?.last().is_some_and(|v| *v > 1) {
                return Err(Error::DamagedRepository(TIMESTAMP.into()));
            }
        }
        let of = |role: &str| ring.called(role);
        self.put("root", 1, &root, &of("root")?)?;
        let release = of("release")?;
        let delegations = Delegations {
            keys: release
                .iter()
                .map(|k| (k.id().to_owned(), k.public().clone()))
                .collect(),
            roles: vec![Delegated {
                name: "release".into(),
                keys: named(&release, 1),
                terminating: true,
                paths: vec!["channels/*/*/*".into()],
            }],
        };
        let role = |life, delegations| Targets {
            common: Common::new("targets", 1, self.until(life)),
            targets: BTreeMap::new(),
            delegations,
        };
        let targets = role(self.lifetimes.targets, Some(delegations));
        let mut meta = BTreeMap::new();
        let bytes = self.put("targets", 1, &targets, &of("targets")?)?;
        meta.insert("targets.json".into(), Meta::of(1, &bytes));
        let bytes = self.put("release", 1, &role(self.lifetimes.release, None), &release)?;
        meta.insert("release.json".into(), Meta::of(1, &bytes));
        let bytes = self.put_snapshot(1, meta, &of("snapshot")?)?;
        self.put_timestamp(
            1,
            BTreeMap::from([("snapshot.json".into(), Meta::of(1, &bytes))]),
            &of("timestamp")?,
        )?;
        Ok(true)
    }

    fn first_root(&self, ring: &Ring, root_threshold: u64) -> Result<Root> {
        let mut root = Root {
            common: Common::new("root", 1, self.until(self.lifetimes.root)),
            consistent_snapshot: true,
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
        };
        for role in TOP {
            let pairs = ring.called(role)?;
            let threshold = if role == "root" { root_threshold } else { 1 };
            if threshold == 0 || threshold > pairs.len() as u64 {
                let have = pairs.len();
                return Err(Error::Usage(format!(
                    "threshold {threshold} with {have} {role} keys"
                )));
            }
            root.set_keys(role, &pairs, threshold);
        }
        Ok(root)
    }

    /// Signs new contents of channel files: target path, length, digest. The last step of a publish.
    ///
    /// Where nobody can be kept from signing, it begins anew on what another signed meanwhile.
    pub fn release(&self, changed: &[(String, u64, Digest)]) -> Result<()> {
        for _ in 0..TRIES {
            match self.try_release(changed) {
                Err(Error::Busy(_)) => self.watch.check()?,
                done => return done,
            }
        }
        self.try_release(changed)
    }

    fn try_release(&self, changed: &[(String, u64, Digest)]) -> Result<()> {
        let mut begun = self.begin()?;
        if let Some((target, digest)) = &self.expected {
            let now = begun.now.release.targets.get(target);
            if now.and_then(|t| t.hashes.sha256) != *digest {
                return Err(Error::Overtaken(format!(
                    "{target} has changed since this run began"
                )));
            }
        }
        for (path, length, digest) in changed {
            let target = Target {
                length: *length,
                hashes: Hashes {
                    sha256: Some(*digest),
                },
            };
            begun.now.release.targets.insert(path.clone(), target);
        }
        let root = begun.now.root()?.clone();
        let mut anew = self.due(&begun.now, &begun.ring, &[&root]);
        anew.release = true;
        self.sign(begun.now, anew, &[&root], &begun.ring)
    }

    /// Fails if the keys that a publish will need are not here: better now than after hours of deltas.
    pub fn ready(&self) -> Result<()> {
        let begun = self.begin()?;
        let root = begun.now.root()?;
        let mut anew = self.due(&begun.now, &begun.ring, &[root]);
        anew.release = true;
        Signers::find(&begun.now, anew, &[root], &begun.ring).map(drop)
    }

    /// The digest of a signed file as the repository's newest metadata has it.
    pub fn signed(store: &dyn Store, target: &str) -> Result<Option<Digest>> {
        let now = Published::read(store)?;
        Ok(now.release.targets.get(target).and_then(|t| t.hashes.sha256))
    }

    /// All signed files as the repository's newest metadata has them.
    pub fn all_signed(store: &dyn Store) -> Result<Vec<(String, Digest)>> {
        let targets = Published::read(store)?.release.targets;
        Ok(targets
            .into_iter()
            .filter_map(|(path, t)| Some((path, t.hashes.sha256?)))
            .collect())
    }

    /// Signs a new timestamp; and whatever else has half its life behind it and its key at hand.
    pub fn renew(&self) -> Result<()> {
        let mut begun = self.begin()?;
        let mut root = begun.now.root()?.clone();
        if self.half_gone(&root.common, self.lifetimes.root)
            && let Ok(signers) = begun.ring.of("root", root.role("root")?)
        {
            root.common = Common::new("root", root.common.version + 1, self.until(self.lifetimes.root));
            self.put_root(&root, &signers)?;
            begun.now.roots.push(root.clone());
        }
        let mut anew = self.due(&begun.now, &begun.ring, &[&root]);
        anew.timestamp = true;
        self.sign(begun.now, anew, &[&root], &begun.ring)
    }

    /// Takes the lock, reads keys and metadata, and puts a root in place that a killed run had decided on.
    pub(super) fn begin(&self) -> Result<Begun> {
        self.begin_by(Published::read)
    }

    pub(super) fn begin_by(&self, read: impl Fn(&dyn Store) -> Result<Published>) -> Result<Begun> {
        let ring = Ring::read(&self.dirs)?;
        let lock = self.store.lock_signing(self.watch)?;
        let mut now = read(self.store)?;
        if let Some(bytes) = self.store.get(NEXT_ROOT, LIMIT)? {
            let root = now.root()?;
            if next_root(&bytes, Some(root)).is_some_and(|n| n.common.version == root.common.version + 1) {
                let version = root.common.version + 1;
                self.store.create(&format!("tuf/{version}.root.json"), &bytes)?;
                now = read(self.store)?;
            }
            self.store.remove(NEXT_ROOT)?;
        }
        Ok(Begun {
            ring,
            now,
            _lock: lock,
        })
    }

    /// What these roots would not all accept as it is, or what has half its life behind it.
    pub(super) fn due(&self, now: &Published, ring: &Ring, roots: &[&Root]) -> Anew {
        let at_hand = |root: &&Root| root.role("targets").is_ok_and(|k| ring.of("targets", k).is_ok());
        let old = self.half_gone(&now.targets.common, self.lifetimes.targets) && roots.iter().all(at_hand);
        Anew {
            targets: !now.accepted("targets", roots) || old,
            release: !now.release_accepted() || self.half_gone(&now.release.common, self.lifetimes.release),
            snapshot: !now.accepted("snapshot", roots)
                || self.half_gone(&now.snapshot.common, self.lifetimes.snapshot),
            timestamp: !now.accepted("timestamp", roots),
        }
    }

    /// Signs so that all these roots accept it; the timestamp last, which is the moment of publication.
    ///
    /// Every key is found before the first file is written.
    pub(super) fn sign(&self, mut now: Published, anew: Anew, roots: &[&Root], ring: &Ring) -> Result<()> {
        if anew == Anew::default() {
            return Ok(());
        }
        let signers = Signers::find(&now, anew, roots, ring)?;
        let mut meta = now.snapshot.meta;
        if anew.targets {
            let version = self.free("targets", now.targets.common.version)?;
            now.targets.common = Common::new("targets", version, self.until(self.lifetimes.targets));
            let bytes = self.put("targets", version, &now.targets, &signers.targets)?;
            meta.insert("targets.json".into(), Meta::of(version, &bytes));
        }
        if anew.release {
            let version = self.free("release", now.release.common.version)?;
            now.release.common = Common::new("targets", version, self.until(self.lifetimes.release));
            let bytes = self.put("release", version, &now.release, &signers.release)?;
            meta.insert("release.json".into(), Meta::of(version, &bytes));
        }
        let mut named = now.timestamp.meta;
        if anew.targets || anew.release || anew.snapshot {
            let version = self.free("snapshot", now.snapshot.common.version)?;
            let bytes = self.put_snapshot(version, meta, &signers.snapshot)?;
            named.insert("snapshot.json".into(), Meta::of(version, &bytes));
        }
        self.put_timestamp(now.timestamp.common.version + 1, named, &signers.timestamp)
    }

    /// Publishes a root, durable elsewhere before any site can see it: else a power cut might leave sites with a
    /// root that the farm does not know.
    pub(super) fn put_root(&self, root: &Root, signers: &[&KeyPair]) -> Result<()> {
        let bytes = seal(root, signers)?;
        tracing::info!(
            role = "root",
            version = root.common.version,
            keys = signers.len(),
            "is signed"
        );
        self.store.replace(NEXT_ROOT, &bytes)?;
        self.store
            .create(&format!("tuf/{}.root.json", root.common.version), &bytes)?;
        self.store.remove(NEXT_ROOT)
    }

    fn put_snapshot(&self, version: u64, meta: BTreeMap<String, Meta>, keys: &[&KeyPair]) -> Result<Vec<u8>> {
        let common = Common::new("snapshot", version, self.until(self.lifetimes.snapshot));
        self.put("snapshot", version, &Snapshot { common, meta }, keys)
    }

    fn put_timestamp(&self, version: u64, meta: BTreeMap<String, Meta>, keys: &[&KeyPair]) -> Result<()> {
        let timestamp = Timestamp {
            common: Common::new("timestamp", version, self.until(self.lifetimes.timestamp)),
            meta,
            issued: Some(clock::format(clock::now())),
        };
        tracing::info!(role = "timestamp", version, keys = keys.len(), "is signed");
        self.store.replace(TIMESTAMP, &seal(&timestamp, keys)?)
    }

    /// A version that no file has. A leftover, which no timestamp names, may be of a killed run or of one that signs
    /// at this moment: it stays as it is.
    fn free(&self, role: &str, signed: u64) -> Result<u64> {
        let newest = versions(self.store, role)?.last().copied();
        Ok(newest.unwrap_or_default().max(signed) + 1)
    }

    /// Writes a numbered metadata file; of the first versions those that a killed run left are replaced.
    fn put(&self, role: &str, version: u64, data: &impl Serialize, keys: &[&KeyPair]) -> Result<Vec<u8>> {
        let bytes = seal(data, keys)?;
        let path = format!("tuf/{version}.{role}.json");
        tracing::info!(role, version, keys = keys.len(), "is signed");
        match version {
            1 => self.store.replace(&path, &bytes)?,
            _ => self.store.create(&path, &bytes)?,
        }
        Ok(bytes)
    }

    pub(super) fn until(&self, days: i64) -> Seconds {
        clock::now() + days * 86_400
    }
    fn half_gone(&self, common: &Common, days: i64) -> bool {
        clock::parse(&common.expires).is_none_or(|t| t - clock::now() < days * 43_200)
    }
}

/// The keys of each role that signs.
pub(super) struct Signers<'a> {
    targets: Vec<&'a KeyPair>,
    release: Vec<&'a KeyPair>,
    snapshot: Vec<&'a KeyPair>,
    timestamp: Vec<&'a KeyPair>,
}

impl<'a> Signers<'a> {
    /// All that will be needed, or what is missing.
    pub fn find(now: &Published, anew: Anew, roots: &[&Root], ring: &'a Ring) -> Result<Signers<'a>> {
        let of = |role: &str, wanted: bool| -> Result<Vec<&'a KeyPair>> {
            let mut all: Vec<&KeyPair> = Vec::new();
            for root in roots.iter().filter(|_| wanted) {
                for key in ring.of(role, root.role(role)?)? {
                    if all.iter().all(|k| k.id() != key.id()) {
                        all.push(key);
                    }
                }
            }
            Ok(all)
        };
        let release = match anew.release {
            true => ring.of("release", &now.delegation()?.keys)?,
            false => Vec::new(),
        };
        Ok(Signers {
            targets: of("targets", anew.targets)?,
            release,
            snapshot: of("snapshot", anew.targets || anew.release || anew.snapshot)?,
            timestamp: of("timestamp", anew != Anew::default())?,
        })
    }
}

/// A role's ids and threshold.
pub(super) fn named(pairs: &[&KeyPair], threshold: u64) -> RoleKeys {
    let keyids = pairs.iter().map(|k| k.id().to_owned()).collect();
    RoleKeys { keyids, threshold }
}

impl Root {
    /// Gives a role other keys; keys that no role uses any more are dropped.
    pub(super) fn set_keys(&mut self, role: &str, pairs: &[&KeyPair], threshold: u64) {
        self.roles.insert(role.into(), named(pairs, threshold));
        let public = pairs.iter().map(|k| (k.id().to_owned(), k.public().clone()));
        self.keys.extend(public);
        let roles = &self.roles;
        self.keys
            .retain(|id, _| roles.values().any(|r| r.keyids.contains(id)));
    }
}

fn seal(data: &impl Serialize, keys: &[&KeyPair]) -> Result<Vec<u8>> {
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
