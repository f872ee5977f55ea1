//! Replaces the keys of a role, so that a kill anywhere leaves sites and farm able to go on.
//!
//! 1. The new keys are files, durable, before anything is signed that needs them.
//! 2. What the new root will want of the metadata below it is signed by the old keys *and* the new ones, and published
//!    under the old root.
//! 3. The new root appears: the one moment of the rotation. A site sees all of it or nothing.
//! 4. The old key files are set aside.
//!
//! Killed before 3, the new keys are files that nobody names; killed after it, only 4 is left to do. Where the old key
//! is lost, 2 is not possible: then the new root comes first, and what the root no longer accepts is signed anew
//! behind it, by this run or by whichever command signs next.

use super::keys::KeyPair;
use super::published::Published;
use super::roles::{Common, RoleKeys};
use super::signer::{Begun, Signer, Signers, named};
use crate::{Error, Result};

impl Signer<'_> {
    /// Replaces the keys of a role by new ones, as after a theft or a loss. Needs the root keys, for `release` the
    /// targets key; of the keys that are replaced only those of the root.
    pub fn rotate(&self, role: &str) -> Result<()> {
        match role {
            "release" => self.rotate_release(),
            "root" | "targets" | "snapshot" | "timestamp" => self.rotate_top(role),
            _ => Err(Error::Usage(format!(
                "{role} is not a role: root, targets, release, snapshot or timestamp"
            ))),
        }
    }

    fn rotate_top(&self, role: &str) -> Result<()> {
        // With a new timestamp key sites count its versions afresh, so that the timestamp itself may be lost, too.
        let begun = match self.begin() {
            Err(Error::DamagedRepository(_)) if role == "timestamp" => {
                self.begin_by(Published::without_timestamp)?
            }
            other => other?,
        };
        let Begun { mut ring, now, _lock } = begun;
        let old = now.root()?.clone();
        ring.of("root", old.role("root")?)?;
        let replaced = old.role(role)?.clone();
        let fresh = generate(&replaced)?;
        let mut new = old.clone();
        new.common = Common::new("root", old.common.version + 1, self.until(self.lifetimes.root));
        new.set_keys(role, &fresh.iter().collect::<Vec<_>>(), replaced.threshold);
        ring.add(role, &replaced, fresh);
        let (both, alone) = ([&old, &new], [&new]);
        let behind = self.due(&now, &ring, &alone);
        // Whatever else will sign is here, before anything is changed.
        Signers::find(&now, behind, &alone, &ring)?;
        ring.save()?;
        let mut signers = ring.of("root", old.role("root")?)?;
        if role == "root" {
            signers.extend(ring.of("root", new.role("root")?)?);
        }
        let before = self.due(&now, &ring, &both);
        match Signers::find(&now, before, &both, &ring) {
            Ok(_) => {
                self.sign(now, before, &both, &ring)?;
                self.put_root(&new, &signers)?;
            }
            Err(_) => {
                self.put_root(&new, &signers)?;
                self.sign(now, behind, &alone, &ring)?;
            }
        }
        ring.tidy(role, new.role(role)?)
    }

    /// The targets name the release key, and the timestamp publishes both at once.
    fn rotate_release(&self) -> Result<()> {
        let Begun {
            mut ring,
            mut now,
            _lock,
        } = self.begin()?;
        let replaced = now.delegation()?.keys.clone();
        let fresh = generate(&replaced)?;
        let ids = named(&fresh.iter().collect::<Vec<_>>(), replaced.threshold);
        if let Some(delegations) = &mut now.targets.delegations {
            delegations.keys.retain(|id, _| !replaced.keyids.contains(id));
            let public = fresh.iter().map(|k| (k.id().to_owned(), k.public().clone()));
            delegations.keys.extend(public);
            let roles = delegations.roles.iter_mut().filter(|r| r.name == "release");
            roles.for_each(|r| r.keys = ids.clone());
        }
        ring.add("release", &replaced, fresh);
        let root = now.root()?.clone();
        let mut anew = self.due(&now, &ring, &[&root]);
        anew.targets = true;
        Signers::find(&now, anew, &[&root], &ring)?;
        ring.save()?;
        self.sign(now, anew, &[&root], &ring)?;
        ring.tidy("release", &ids)
    }

    /// Finishes what a killed rotation left: signatures that the newest root wants, and names of key files.
    pub fn finish(&self) -> Result<()> {
        let Begun { ring, now, _lock } = self.begin()?;
        let root = now.root()?.clone();
        let release = now.delegation()?.keys.clone();
        let due = self.due(&now, &ring, &[&root]);
        self.sign(now, due, &[&root], &ring)?;
        for (role, keys) in &root.roles {
            ring.tidy(role, keys)?;
        }
        ring.tidy("release", &release)
    }
}

/// As many new keys as a role has.
fn generate(replaced: &RoleKeys) -> Result<Vec<KeyPair>> {
    let count = (replaced.keyids.len() as u64).max(replaced.threshold);
    (0..count).map(|_| KeyPair::generate()).collect()
}
