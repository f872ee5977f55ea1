//! The key files of a farm, chosen by the ids that the metadata names: a file that nobody names never matters.

use super::keys::KeyPair;
use super::roles::RoleKeys;
use crate::disk;
use crate::error::Doing;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The keys of one or more directories.
pub(super) struct Ring {
    dirs: Vec<PathBuf>,
    held: Vec<Held>,
    /// What is wrong with files that look like keys.
    bad: Vec<String>,
}

struct Held {
    path: PathBuf,
    pair: KeyPair,
    saved: bool,
}

/// Ending of a key file that was set aside when its role got another key.
const OLD: &str = ".key.old";

impl Ring {
    /// Reads every key of the directories. A torn file is only missed if its key is needed.
    pub fn read(dirs: &[PathBuf]) -> Result<Ring> {
        let mut ring = Ring {
            dirs: dirs.to_vec(),
            held: Vec::new(),
            bad: Vec::new(),
        };
        for dir in dirs {
            if !dir.is_dir() {
                return Err(Error::NotFound(format!("the key directory {}", dir.display())));
            }
            for path in files(dir, |name| name.ends_with(".key") || name.ends_with(OLD))? {
                match KeyPair::load(&path) {
                    Ok(pair) if ring.holds(pair.id()) => {}
                    Ok(pair) => ring.held.push(Held {
                        path,
                        pair,
                        saved: true,
                    }),
                    Err(e) => ring.bad.push(e.to_string()),
                }
            }
        }
        Ok(ring)
    }

    fn holds(&self, id: &str) -> bool {
        self.held.iter().any(|h| h.pair.id() == id)
    }

    /// The keys of a role that are here; fails, saying what to do, if they are fewer than its threshold.
    pub fn of(&self, role: &str, named: &RoleKeys) -> Result<Vec<&KeyPair>> {
        let named_here = self
            .held
            .iter()
            .filter(|h| named.keyids.iter().any(|id| id == h.pair.id()));
        let found: Vec<&KeyPair> = named_here.map(|h| &h.pair).collect();
        if found.len() as u64 >= named.threshold.max(1) {
            return Ok(found);
        }
        let advice = match role {
            "root" => "give the directory that has them with --offline",
            "targets" => {
                "give the directory that has it with --offline; lost: `elfup keys rotate targets` with the root keys"
            }
            "release" => "lost: `elfup keys rotate release` with the targets key",
            _ => "lost: `elfup keys rotate` of this role with the root keys",
        };
        let bad = self.bad.iter().map(|b| format!("; {b}")).collect::<String>();
        let dirs: Vec<_> = self.dirs.iter().map(|d| d.display().to_string()).collect();
        Err(Error::Usage(format!(
            "nothing was signed: {} of {} needed {role} keys that the metadata names are in {}{bad} ({advice})",
            found.len(),
            named.threshold,
            dirs.join(" and "),
        )))
    }

    /// The keys whose files are called after a role: what the first metadata is to name.
    pub fn called(&self, role: &str) -> Result<Vec<&KeyPair>> {
        let of_role = |h: &&Held| stem(&h.path).is_some_and(|s| is_of(&s, role));
        let found: Vec<&KeyPair> = self.held.iter().filter(of_role).map(|h| &h.pair).collect();
        match (found.is_empty(), self.bad.first()) {
            (_, Some(bad)) => Err(Error::Usage(format!("nothing was signed: {bad}"))),
            (true, None) => Err(Error::NotFound(format!("a {role} key"))),
            (false, None) => Ok(found),
        }
    }

    /// Takes new keys of a role in, each to lie beside the one that it replaces. [`Ring::save`] comes before signing.
    pub fn add(&mut self, role: &str, replaced: &RoleKeys, pairs: Vec<KeyPair>) {
        let offline = matches!(role, "root" | "targets");
        let usual = if offline {
            self.dirs.last()
        } else {
            self.dirs.first()
        };
        let usual = usual.cloned().unwrap_or_default();
        let olds = self
            .held
            .iter()
            .filter(|h| replaced.keyids.iter().any(|id| id == h.pair.id()));
        let olds: Vec<PathBuf> = olds.map(|h| disk::parent(&h.path).to_owned()).collect();
        for (i, pair) in pairs.into_iter().enumerate() {
            let dir = olds.get(i).unwrap_or(&usual);
            let path = dir.join(format!("{role}-{}.key", short(pair.id())));
            let saved = false;
            self.held.push(Held { path, pair, saved });
        }
    }

    /// Has every new key safe on the disk.
    pub fn save(&mut self) -> Result<()> {
        for held in self.held.iter_mut().filter(|h| !h.saved) {
            let kept = held.pair.save(&held.path);
            kept.map_err(|e| {
                Error::Usage(format!("nothing was signed, as the new key cannot be kept: {e}"))
            })?;
            held.saved = true;
        }
        Ok(())
    }

    /// Sets aside the files of a role whose keys nobody names any more, and gives those in use their plain names.
    ///
    /// Names only help people; a kill in between, or none of this done, changes nothing.
    pub fn tidy(&self, role: &str, named: &RoleKeys) -> Result<()> {
        for dir in &self.dirs {
            let mut changed = false;
            let here = files(dir, |n| n.strip_suffix(".key").is_some_and(|s| is_of(s, role)))?;
            let id = |path: &Path| KeyPair::load(path).ok().map(|k| k.id().to_owned());
            let in_use = |path: &PathBuf| id(path).is_some_and(|id| named.keyids.contains(&id));
            let (used, old): (Vec<_>, Vec<_>) = here.into_iter().partition(in_use);
            for path in old {
                let mark = id(&path).map_or("torn".to_owned(), |id| short(&id).to_owned());
                changed |= move_to(&path, &dir.join(format!("{role}-{mark}{OLD}")))?;
            }
            let plain = |i: usize| match role {
                "root" => format!("root-{i}.key"),
                _ if i == 1 => format!("{role}.key"),
                _ => format!("{role}-{i}.key"),
            };
            let names: Vec<PathBuf> = (1..=used.len()).map(|i| dir.join(plain(i))).collect();
            let free: Vec<&PathBuf> = names.iter().filter(|n| !used.contains(n)).collect();
            let odd = used.iter().filter(|u| !names.contains(u));
            for (from, to) in odd.zip(free) {
                changed |= move_to(from, to)?;
            }
            if changed {
                disk::sync_dir(dir)?;
            }
        }
        Ok(())
    }
}

/// Renames unless something stands there: a key is never written over.
fn move_to(from: &Path, to: &Path) -> Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(e) => Err(e).doing("set aside", from),
    }
}

fn files(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in disk::list(dir)? {
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| !n.starts_with('.') && wanted(n)) {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}

fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".key").map(str::to_owned)
}

fn is_of(stem: &str, role: &str) -> bool {
    stem == role || stem.strip_prefix(role).is_some_and(|rest| rest.starts_with('-'))
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
