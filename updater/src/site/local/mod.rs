//! Local: configuration belongs to the administrator. What stands in the configuration paths of the running tree goes
//! along to every tree that is switched to, forward and back; what cannot is named before the switch.

mod copy;
mod lay;

use super::deployments::Deployments;
use super::files::{BESIDE, Beneath};
use super::fixed::inode;
use super::objects::Objects;
use super::walk::{self, Here, gone, look, remove, stands, walk};
use crate::disk::{self, Sync};
use crate::manifest::{Entry, Kind, Manifest, escape, unescape};
use crate::{Digest, Error, Result, Watch};
use copy::{Copied, Copier};
use rustix::fs::FileType;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;

/// Most paths that are told one by one.
const TOLD: usize = 1000;

/// A new default that was laid beside what was changed here.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Beside {
    /// What was changed (or removed) here and stays so.
    pub local: String,
    /// The release's new default.
    pub new: String,
}

/// Something that could not go along.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NotKept {
    /// Its path.
    pub path: String,
    /// Why.
    pub why: String,
}

/// What became of the configuration in a switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Carried {
    /// Shipped paths that were changed, replaced or removed here and stay so.
    pub kept: Vec<String>,
    /// How many paths exist only here.
    pub local: u64,
    /// New defaults to look at.
    pub beside: Vec<Beside>,
    /// What stays behind.
    pub not_kept: Vec<NotKept>,
}

/// What is remembered beside a deployment: which default a changed file was made from.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Memory {
    /// By path, while a newer default lies beside it.
    ancestors: BTreeMap<String, String>,
}

/// The administrator's configuration.
#[derive(Clone, Copy)]
pub(super) struct Local<'a> {
    pub deployments: &'a Deployments,
    pub objects: &'a Objects,
    /// Bytes of disk that stay free.
    pub reserve: u64,
    pub watch: &'a dyn Watch,
}

impl Local<'_> {
    /// Makes a deployment ready to be switched to: gives it the configuration that runs now.
    ///
    /// What changes while the first pass copies and the disk is synced is caught by a second, quick one.
    pub fn bring(&self, to: &Digest) -> Result<Carried> {
        let mut carried = Carried::default();
        for quick in [false, true] {
            if self.deployments.current()? == Some(*to) {
                break;
            }
            let pass = Pass {
                quick,
                restore: false,
            };
            let Some((done, changed)) = self.carry(to, &self.deployments.slot(to), pass)? else {
                break;
            };
            carried = done;
            if !changed {
                break;
            }
            disk::sync_fs(&self.deployments.at(to))?;
        }
        let (kept, local, beside) = (carried.kept.len(), carried.local, carried.beside.len());
        tracing::info!(kept, local, beside, "configuration goes along");
        for left in &carried.not_kept {
            self.watch.note(&format!("not kept: {}: {}", left.path, left.why));
        }
        Ok(carried)
    }

    /// Brings the configuration paths of a tree that does not run to what they are in the running one.
    ///
    /// `None` where nothing runs or no path is configuration; else also whether anything had to be done.
    pub fn carry(&self, to: &Digest, tree: &Path, pass: Pass) -> Result<Option<(Carried, bool)>> {
        let Some(current) = self.deployments.current()? else {
            return Ok(None);
        };
        let all = self.deployments;
        let root = all.tree(&current);
        let (running, next) = (all.manifest(&current)?, all.manifest(to)?);
        let none = running.header.config.is_empty() && next.header.config.is_empty();
        if none || inode(&root)?.is_none() {
            return Ok(None);
        }
        let mut carry = Carry {
            objects: self.objects,
            running: &running,
            next: &next,
            from: Beneath::open(&root)?,
            to: Beneath::open(tree)?,
            copier: Copier {
                unprivileged: self.objects.unprivileged,
                watch: self.watch,
                quick: pass.quick,
                reserve: self.reserve,
                room: &all.dir,
            },
            memory: self.memory(&current)?,
            remembered: Memory::default(),
            restore: pass.restore,
            laid: BTreeSet::new(),
            carried: Carried::default(),
            changed: false,
        };
        carry.run()?;
        let file = disk::parent(tree).join("local.json");
        if carry.remembered.ancestors.is_empty() {
            disk::remove(&file)?;
        } else {
            let bytes = serde_json::to_vec(&carry.remembered)
                .map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
            disk::replace(&file, &bytes, 0o600, Sync::State)?;
        }
        Ok(Some((carry.carried, carry.changed)))
    }

    /// What is remembered beside a deployment.
    fn memory(&self, digest: &Digest) -> Result<Memory> {
        let memory = disk::read(&self.deployments.at(digest).join("local.json"), 64 << 20)?;
        Ok(memory
            .and_then(|m| serde_json::from_slice(&m).ok())
            .unwrap_or_default())
    }

    /// How many shipped files of the configuration the running tree lacks.
    pub fn removed(&self, manifest: &Manifest) -> Result<u64> {
        let Some(current) = self.deployments.current()? else {
            return Ok(0);
        };
        let tree = match Beneath::open(&self.deployments.tree(&current)) {
            Ok(tree) => tree,
            Err(e) if gone(&e) => return Ok(0),
            Err(e) => return Err(e),
        };
        let files = manifest
            .entries
            .iter()
            .filter(|e| e.kind != Kind::Dir && manifest.is_config(&e.path));
        let mut lacking = 0;
        for entry in files {
            self.watch.check()?;
            lacking += u64::from(tree.stat(&entry.path).is_err_and(|e| gone(&e)));
        }
        Ok(lacking)
    }

    /// New defaults that lie beside changed configuration of the running tree and wait for the administrator.
    pub fn beside(&self) -> Result<Vec<Beside>> {
        let Some(current) = self.deployments.current()? else {
            return Ok(Vec::new());
        };
        let memory = self.memory(&current)?;
        let tree = Beneath::open(&self.deployments.tree(&current))?;
        let mut all = Vec::new();
        for local in memory.ancestors.into_keys() {
            let new = unescape(&local).map(|path| [&path, BESIDE].concat());
            if let Some(new) = new
                && stands(&tree, &new)?
            {
                let new = escape(&new);
                all.push(Beside { local, new });
            }
        }
        Ok(all)
    }
}

/// How a pass goes about it.
#[derive(Clone, Copy)]
pub(super) struct Pass {
    /// An entry of the same size and time counts as the same.
    pub quick: bool,
    /// Shipped configuration that was removed here comes back.
    pub restore: bool,
}

/// One pass from the running tree to another.
struct Carry<'a> {
    objects: &'a Objects,
    running: &'a Manifest,
    next: &'a Manifest,
    from: Beneath,
    to: Beneath,
    copier: Copier<'a>,
    memory: Memory,
    remembered: Memory,
    restore: bool,
    /// Defaults laid beside something.
    laid: BTreeSet<Vec<u8>>,
    carried: Carried,
    changed: bool,
}

/// A shipped path with hard links resolved.
fn shipped<'m>(manifest: &'m Manifest, path: &[u8]) -> Option<&'m Entry> {
    let entry = manifest.find(path)?;
    match &entry.kind {
        Kind::Hard(to) => manifest.find(to),
        _ => Some(entry),
    }
}

/// What makes two shipped entries the same default.
fn identity(entry: &Entry) -> String {
    match &entry.kind {
        Kind::Dir => "directory".into(),
        Kind::File(content) => content.digest.to_string(),
        Kind::Symlink(target) => format!("link {}", escape(target)),
        Kind::Hard(to) => format!("hard {}", escape(to)),
    }
}

fn tell<T>(list: &mut Vec<T>, item: T) {
    if list.len() < TOLD {
        list.push(item);
    }
}

impl Carry<'_> {
    fn run(&mut self) -> Result<()> {
        let (from, watch) = (self.from.again()?, self.copier.watch);
        for path in walk(&from, watch, &mut |here| self.visit(here))? {
            if self.is_local(&path) {
                return Err(Error::Unkept {
                    path: escape(&path),
                    why: "it may not be listed",
                });
            }
        }
        self.lacking()?;
        self.stale()
    }

    /// Whether a path is the administrator's: configuration, or a new default beside it.
    fn is_local(&self, path: &[u8]) -> bool {
        let config = |path: &[u8]| self.next.is_config(path) || self.running.is_config(path);
        config(path) || path.strip_suffix(BESIDE).is_some_and(config)
    }

    /// Whether there may be configuration below a directory.
    fn leads(&self, dir: &[u8]) -> bool {
        self.next.config_below(dir) || self.running.config_below(dir)
    }

    fn not_kept(&mut self, path: &[u8], why: &str) {
        let (path, why) = (escape(path), why.to_owned());
        if !self.carried.not_kept.iter().any(|n| n.path == path) {
            tell(&mut self.carried.not_kept, NotKept { path, why });
        }
    }

    /// Decides about one entry of the running tree.
    fn visit(&mut self, here: &Here) -> Result<bool> {
        let dir = here.kind() == FileType::Directory;
        if here.path.len() > walk::LONGEST - BESIDE.len() {
            if self.is_local(here.path) {
                self.not_kept(here.path, "its path is too long");
            }
            return Ok(false);
        }
        if !self.is_local(here.path) {
            return Ok(dir && self.leads(here.path));
        }
        let base = shipped(self.running, here.path);
        let next = shipped(self.next, here.path);
        if here.mount {
            self.not_kept(here.path, "something is mounted there; mount it again");
            if next.is_none() && dir && self.parents(here.path)? {
                self.made(here)?;
            }
            return Ok(false);
        }
        if dir {
            let plain = base.is_none_or(|b| b.kind == Kind::Dir);
            let comes = next.is_some_and(|n| n.kind == Kind::Dir);
            // A directory of the running release alone comes with what is kept in it, if anything is.
            if comes || base.is_none() || !plain {
                if next.is_some() && !comes {
                    self.kept_beside(here, base, next)?;
                } else if !self.parents(here.path)? {
                    return Ok(false);
                } else if comes && self.dressed_as(here, base)? {
                    self.lay(here.path, next)?;
                } else {
                    self.made(here)?;
                }
                self.carried.local += u64::from(base.is_none() && next.is_none());
            }
            return Ok(true);
        }
        self.file(here, base, next)?;
        Ok(false)
    }

    fn file(&mut self, here: &Here, base: Option<&Entry>, next: Option<&Entry>) -> Result<()> {
        if let Some(stem) = here.path.strip_suffix(BESIDE)
            && let (None, None, Some(stem)) = (base, next, shipped(self.running, stem))
            && self.is(here, stem)?
        {
            // A default as it was laid: it is laid again if it is still news.
            return Ok(());
        }
        match (base, next) {
            (Some(base), next) if self.is(here, base)? => self.unchanged(here, base, next),
            (_, Some(next)) if self.is(here, next)? => self.unchanged(here, next, Some(next)),
            (None, None) => {
                if self.parents(here.path)? {
                    self.made(here)?;
                    self.carried.local += 1;
                }
                Ok(())
            }
            _ => self.kept_beside(here, base, next),
        }
    }

    /// The default goes on being followed, with the attributes that were set here.
    fn unchanged(&mut self, here: &Here, base: &Entry, next: Option<&Entry>) -> Result<()> {
        let Some(next) = next.filter(|n| n.kind != Kind::Dir || base.kind == Kind::Dir) else {
            // Gone, or a directory by now.
            return Ok(());
        };
        if !self.parents(here.path)? {
            return Ok(());
        }
        self.lay(here.path, Some(next))?;
        if here.kind() == FileType::RegularFile
            && next.content().is_some()
            && !self.dressed_as(here, Some(base))?
        {
            self.dress(here)?;
        }
        Ok(())
    }

    /// What is here stays; a default that is news is laid beside it.
    fn kept_beside(&mut self, here: &Here, base: Option<&Entry>, next: Option<&Entry>) -> Result<()> {
        if !self.parents(here.path)? {
            return Ok(());
        }
        self.made(here)?;
        tell(&mut self.carried.kept, escape(here.path));
        self.offer(here.path, base, next)
    }

    /// Lays the next default beside a path if it is another than the one that the local state was made from.
    fn offer(&mut self, path: &[u8], base: Option<&Entry>, next: Option<&Entry>) -> Result<()> {
        let Some(next) = next.filter(|n| n.kind != Kind::Dir) else {
            return Ok(());
        };
        let beside = [path, BESIDE].concat();
        let held = stands(&self.from, &beside)?;
        let remembered = self.memory.ancestors.get(&escape(path)).filter(|_| held);
        let ancestor = remembered
            .cloned()
            .or_else(|| base.map(identity))
            .unwrap_or_default();
        if ancestor == identity(next) {
            return Ok(());
        }
        let (local, new) = (escape(path), escape(&beside));
        let ours = || -> Result<bool> {
            let (dir, name) = self.from.parent(&beside)?;
            match (look(dir.as_fd(), name, &beside)?, shipped(self.running, path)) {
                (Some(here), Some(default)) => self.is(&here, default),
                (here, _) => Ok(here.is_none()),
            }
        };
        if self.next.find(&beside).is_some() || held && !ours()? {
            self.not_kept(&beside, "the new default is not laid: this is a file of its own");
            return Ok(());
        }
        self.lay(&beside, Some(next))?;
        self.laid.insert(beside);
        self.remembered.ancestors.insert(local.clone(), ancestor);
        tell(&mut self.carried.beside, Beside { local, new });
        Ok(())
    }

    /// Shipped configuration that the running tree lacks: new, or removed here.
    fn lacking(&mut self) -> Result<()> {
        let next = self.next;
        for entry in &next.entries {
            if entry.kind == Kind::Dir || !next.is_config(&entry.path) {
                continue;
            }
            self.copier.watch.check()?;
            if stands(&self.from, &entry.path)? {
                continue;
            }
            let Some(entry) = shipped(next, &entry.path).map(|e| (&entry.path, e)) else {
                continue;
            };
            let (path, next) = entry;
            let base = shipped(self.running, path);
            // Below something that took the place of a directory here, nothing is laid.
            if self.blocked(path) {
                tell(&mut self.carried.kept, escape(path));
            } else if base.is_none() || self.restore {
                self.lay(path, Some(next))?;
            } else {
                if stands(&self.to, path)? {
                    remove(&self.to, path, self.copier.watch)?;
                    self.changed = true;
                }
                tell(&mut self.carried.kept, escape(path));
                self.offer(path, base, Some(next))?;
            }
        }
        Ok(())
    }

    /// Whether something that leads to a path is no directory in the tree that is made.
    fn blocked(&self, path: &[u8]) -> bool {
        let above = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| &path[..at]);
        above.into_iter().any(|dir| self.to.dir(dir).is_err())
    }

    /// Removes what an earlier state of the tree has and the running one has not.
    fn stale(&mut self) -> Result<()> {
        let (to, watch) = (self.to.again()?, self.copier.watch);
        walk(&to, watch, &mut |here| {
            if !self.is_local(here.path) {
                return Ok(here.kind() == FileType::Directory && self.leads(here.path));
            }
            let shipped = self.next.find(here.path).is_some() || self.laid.contains(here.path);
            let running = || match self.from.stat(here.path) {
                Ok(_) => Ok(here
                    .path
                    .strip_suffix(BESIDE)
                    .is_none_or(|stem| self.next.find(stem).is_none())),
                Err(e) if gone(&e) => Ok(false),
                Err(e) => Err(e),
            };
            if shipped || running()? {
                return Ok(here.kind() == FileType::Directory);
            }
            self.changed = true;
            remove(&self.to, here.path, watch)?;
            Ok(false)
        })
        .map(drop)
    }

    /// Makes the directories that lead to a path, as they are here. `false`: the release has something else there.
    fn parents(&mut self, path: &[u8]) -> Result<bool> {
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            let dir = &path[..at];
            match self.to.stat(dir) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => continue,
                Ok(_) if !self.is_local(dir) => {
                    self.not_kept(path, "the release has a file where its directory was");
                    return Ok(false);
                }
                Ok(_) => {}
                Err(e) if gone(&e) => {}
                Err(e) => return Err(e),
            }
            let (parent, name) = match self.from.parent(dir) {
                Ok(found) => found,
                Err(e) if gone(&e) => return Ok(false),
                Err(e) => return Err(e),
            };
            let Some(here) = look(parent.as_fd(), name, dir)? else {
                return Ok(false);
            };
            let next = shipped(self.next, dir);
            self.copier.copy(&here, &self.to)?;
            self.changed = true;
            self.offer(dir, shipped(self.running, dir), next)?;
        }
        Ok(true)
    }

    /// Copies an entry and tells what became of it.
    fn made(&mut self, here: &Here) -> Result<()> {
        match self.copier.copy(here, &self.to)? {
            Copied::Same | Copied::Gone => {}
            Copied::Made => self.changed = true,
            Copied::Restless => {
                self.changed = true;
                self.not_kept(here.path, "it changes while it is read; the copy may be torn");
            }
            Copied::Not(why) => self.not_kept(here.path, &why),
        }
        Ok(())
    }
}
