//! What a box has on its disk, whole or growing, and who waits for more of it.

use super::unit::Unit;
use crate::disk::{self, Sync};
use crate::error::Doing;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, FileTimes, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

/// How long a reader waits before it looks again whether a stop was asked for.
const TICK: Duration = Duration::from_millis(500);
/// A unit that nobody asked for during this time is no longer wanted.
const FORGOTTEN: Duration = Duration::from_secs(7 * 86_400);
/// The most units that are wanted at once; above it the first in turn is given up.
const WANTED: usize = 1 << 16;
/// What failed is not tried again before; it doubles up to [`LONGEST`].
const RETRY: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(600);

/// Why bytes do not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// No source has the file.
    Missing,
    /// No source delivered it, or what came was not what was signed.
    Broken,
    /// The link rests by budget or hours.
    Resting,
    /// The box is being stopped.
    Stopped,
}

/// A unit that somebody wants and that is not whole.
struct Want {
    unit: Unit,
    have: u64,
    /// Grows whenever what was there is dropped.
    generation: u64,
    /// Each source begins anew, since several together were wrong once; and which one began what there is.
    apart: bool,
    begun_by: Option<usize>,
    asked: Instant,
    not_before: Instant,
    retry: Duration,
    failed: Option<Why>,
}

#[derive(Default)]
struct Wanted {
    by_name: HashMap<String, Want>,
    /// In the order in which they are fetched.
    order: VecDeque<String>,
    proven: HashSet<String>,
    /// Bytes of whole units.
    held: u64,
    resting: bool,
    stopped: bool,
}

impl Wanted {
    fn take(&mut self, most: u64) -> Vec<Unit> {
        let Wanted { by_name, order, .. } = self;
        let now = Instant::now();
        by_name.retain(|_, want| {
            let kept = match want.failed {
                Some(Why::Missing) => LONGEST,
                _ => FORGOTTEN,
            };
            now.duration_since(want.asked) <= kept
        });
        order.retain(|name| by_name.contains_key(name));
        let ready = |name: &String| by_name.get(name).filter(|want| want.not_before <= now);
        let Some(first) = order.iter().find_map(ready) else {
            return Vec::new();
        };
        let mut units = vec![first.unit.clone()];
        let mut bytes = first.unit.length.unwrap_or(u64::MAX);
        loop {
            let last = &units[units.len() - 1];
            let end = last.length.map(|n| last.offset + n);
            let behind = |unit: &&Unit| unit.path == last.path && Some(unit.offset) == end;
            let next = order.iter().filter_map(ready).map(|want| &want.unit).find(behind);
            let Some(next) = next else { break };
            bytes = bytes.saturating_add(next.length.unwrap_or(u64::MAX));
            if bytes > most {
                break;
            }
            units.push(next.clone());
        }
        // Others have their turn before it comes again.
        let names: Vec<String> = units.iter().map(Unit::name).collect();
        order.retain(|name| !names.contains(name));
        order.extend(names);
        units
    }
}

/// The disk of a box.
pub(super) struct Cache {
    dir: PathBuf,
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

impl Cache {
    /// Makes what is missing of the folders.
    pub fn open(dir: &Path) -> Result<Cache> {
        for part in ["whole", "partial"] {
            disk::make_dirs_durably(&dir.join(part))?;
        }
        for entry in disk::list(&dir.join("partial"))? {
            let changed = entry.metadata().and_then(|m| m.modified());
            let age = changed.ok().and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age > FORGOTTEN) {
                disk::remove(&entry.path())?;
            }
        }
        let whole = disk::list(&dir.join("whole"))?;
        let held = whole
            .iter()
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum();
        Ok(Cache {
            dir: dir.to_owned(),
            wanted: Mutex::new(Wanted {
                held,
                ..Wanted::default()
            }),
            changed: Condvar::new(),
        })
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn whole(&self, name: &str) -> PathBuf {
        self.dir.join("whole").join(name)
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.dir.join("partial").join(name)
    }

    /// Whether a unit is there whole; its digest is looked at once in a run, and a wrong one is dropped.
    fn has(&self, unit: &Unit) -> Result<bool> {
        let name = unit.name();
        let path = self.whole(&name);
        if self.wanted().proven.contains(&name) && path.exists() {
            return Ok(true);
        }
        if !path.exists() {
            return Ok(false);
        }
        match unit.check(&path) {
            Ok(()) => {
                self.wanted().proven.insert(name);
                Ok(true)
            }
            Err(Error::Untrusted(_)) => disk::remove(&path).map(|()| false),
            Err(e) => Err(e),
        }
    }

    /// Has a unit fetched if it is not there; tells its generation, none if it is whole.
    pub fn want(&self, unit: &Unit) -> Result<Option<u64>> {
        if self.has(unit)? {
            return Ok(None);
        }
        let name = unit.name();
        let have = std::fs::metadata(self.partial(&name)).map_or(0, |m| m.len());
        let mut wanted = self.wanted();
        let now = Instant::now();
        let Wanted { by_name, order, .. } = &mut *wanted;
        if !by_name.contains_key(&name)
            && by_name.len() >= WANTED
            && let Some(first) = order.pop_front()
        {
            by_name.remove(&first);
        }
        let want = by_name.entry(name.clone()).or_insert_with(|| {
            order.push_back(name);
            Want {
                unit: unit.clone(),
                have,
                generation: 0,
                apart: false,
                begun_by: None,
                asked: now,
                not_before: now,
                retry: RETRY,
                failed: None,
            }
        });
        if want.failed != Some(Why::Missing) {
            want.asked = now;
        }
        if want.failed.is_some() && want.not_before <= now {
            want.failed = None;
        }
        let generation = want.generation;
        drop(wanted);
        self.changed.notify_all();
        Ok(Some(generation))
    }

    /// Opens a unit for reading, and has it fetched if it is not there.
    pub fn reader(&self, unit: &Unit) -> Result<Reader<'_>> {
        let generation = self.want(unit)?;
        let name = unit.name();
        let mut file = None;
        if generation.is_none() {
            let path = self.whole(&name);
            let opened = File::open(&path).doing("open", &path)?;
            // The least recently used goes first when room is short.
            let _ = opened.set_times(FileTimes::new().set_modified(SystemTime::now()));
            file = Some(opened);
        }
        Ok(Reader {
            cache: self,
            whole: file.is_some(),
            name,
            file,
            generation: generation.unwrap_or(0),
        })
    }

    /// The units to fetch next, neighbours in one file of the repository, of at most so many bytes unless one has more.
    /// Waits a moment for one; none may come all the same.
    pub fn next(&self, most: u64) -> Vec<Unit> {
        let mut wanted = self.wanted();
        let units = wanted.take(most);
        if !units.is_empty() || wanted.stopped {
            return units;
        }
        wanted = match self.changed.wait_timeout(wanted, TICK) {
            Ok((wanted, _)) => wanted,
            Err(poisoned) => poisoned.into_inner().0,
        };
        wanted.take(most)
    }

    /// Waits a moment.
    pub fn doze(&self) {
        let wanted = self.wanted();
        if !wanted.stopped {
            drop(self.changed.wait_timeout(wanted, TICK));
        }
    }

    /// Opens the file in which a unit grows; `source` is who goes on with it.
    pub fn grow(&self, unit: &Unit, source: usize) -> Result<Growing<'_>> {
        let name = unit.name();
        let path = self.partial(&name);
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let mut length = std::fs::metadata(&path).map_or(0, |m| m.len());
        let others = match self.wanted().by_name.get_mut(&name) {
            Some(want) => want.begun_by.replace(source) != Some(source) && want.apart,
            None => false,
        };
        if length > 0 && (others || unit.length.is_some_and(|n| length >= n)) {
            self.lost(&name, &path)?;
            length = 0;
        }
        let file = options.open(&path).doing("open", &path)?;
        Ok(Growing {
            cache: self,
            name,
            path,
            file,
            length,
        })
    }

    /// Drops what there is of a unit: another file takes its place, and who reads it is told.
    fn lost(&self, name: &str, path: &Path) -> Result<()> {
        disk::remove(path)?;
        if let Some(want) = self.wanted().by_name.get_mut(name) {
            want.generation += 1;
            want.have = 0;
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Notes that a unit did not come; it is tried again later.
    pub fn failed(&self, unit: &Unit, why: Why) {
        if let Some(want) = self.wanted().by_name.get_mut(&unit.name()) {
            want.failed = Some(why);
            // What is not there is asked for again when a site does, not before it was forgotten.
            want.not_before = Instant::now()
                + if why == Why::Missing {
                    FORGOTTEN
                } else {
                    want.retry
                };
            want.retry = (want.retry * 2).min(LONGEST);
        }
        self.changed.notify_all();
    }

    /// Tells those who wait that nothing comes for now, or that it does again.
    pub fn rest(&self, resting: bool) {
        self.wanted().resting = resting;
        if resting {
            self.changed.notify_all();
        }
    }

    /// Lets everybody who waits go.
    pub fn stop(&self) {
        self.wanted().stopped = true;
        self.changed.notify_all();
    }

    /// Units that are wanted and not there.
    pub fn waiting(&self) -> usize {
        self.wanted().by_name.len()
    }

    /// Removes what was used least recently where more than `room` bytes are held.
    pub fn make_room(&self, room: u64) -> Result<()> {
        if self.wanted().held <= room {
            return Ok(());
        }
        let mut whole = Vec::new();
        for entry in disk::list(&self.dir.join("whole"))? {
            let Ok(about) = entry.metadata() else { continue };
            let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            whole.push((used, about.len(), entry.path()));
        }
        whole.sort();
        let mut held: u64 = whole.iter().map(|(_, length, _)| length).sum();
        // The newest is being sent.
        let older = whole.len().saturating_sub(1);
        for (_, length, path) in whole.into_iter().take(older) {
            if held <= room {
                break;
            }
            disk::remove(&path)?;
            held -= length;
        }
        self.wanted().held = held;
        Ok(())
    }
}

/// A unit that is being fetched.
pub(super) struct Growing<'c> {
    cache: &'c Cache,
    name: String,
    path: PathBuf,
    file: File,
    pub length: u64,
}

impl Growing<'_> {
    /// Adds bytes, and wakes who waits for them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).doing("write", &self.path)?;
        self.length += bytes.len() as u64;
        if let Some(want) = self.cache.wanted().by_name.get_mut(&self.name) {
            want.have = self.length;
            want.retry = RETRY;
        }
        self.cache.changed.notify_all();
        Ok(())
    }

    /// Takes what came for whole, if it is what was signed; else drops it.
    pub fn finish(&self, unit: &Unit) -> Result<()> {
        if let Err(e) = unit.check(&self.path) {
            if matches!(e, Error::Untrusted(_)) {
                self.cache.lost(&self.name, &self.path)?;
                if let Some(want) = self.cache.wanted().by_name.get_mut(&self.name) {
                    want.apart = true;
                }
            }
            return Err(e);
        }
        disk::sync_file(&self.file, Sync::Object, &self.path)?;
        let whole = self.cache.whole(&self.name);
        disk::rename(&self.path, &whole)?;
        disk::sync_dir(disk::parent(&whole))?;
        let mut wanted = self.cache.wanted();
        wanted.by_name.remove(&self.name);
        wanted.proven.insert(self.name.clone());
        wanted.held += self.length;
        drop(wanted);
        self.cache.changed.notify_all();
        Ok(())
    }
}

/// Reads a unit as it grows.
pub(super) struct Reader<'c> {
    cache: &'c Cache,
    name: String,
    file: Option<File>,
    whole: bool,
    generation: u64,
}

impl Reader<'_> {
    /// The next bytes from a place on, waiting for them; none at the end.
    pub fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<std::result::Result<usize, Why>> {
        loop {
            if !self.whole
                && let Err(why) = self.wait(at)
            {
                return Ok(Err(why));
            }
            let path = self.cache.partial(&self.name);
            let file = match self.file.take() {
                Some(file) => file,
                // It may have become whole between the two.
                None => File::open(&path)
                    .or_else(|_| File::open(self.cache.whole(&self.name)))
                    .doing("open", &path)?,
            };
            let n = file.read_at(bytes, at).doing("read", &path)?;
            if n > 0 || self.whole {
                self.file = Some(file);
                return Ok(Ok(n));
            }
            // What was waited for is in another file by now.
        }
    }

    /// Waits until there are bytes behind a place, or it is whole.
    fn wait(&mut self, at: u64) -> std::result::Result<(), Why> {
        let mut wanted = self.cache.wanted();
        loop {
            match wanted.by_name.get(&self.name) {
                None if wanted.proven.contains(&self.name) => {
                    self.whole = true;
                    return Ok(());
                }
                None => return Err(Why::Broken),
                Some(want) if want.generation != self.generation && self.file.is_some() => {
                    return Err(Why::Broken);
                }
                Some(want) => {
                    self.generation = want.generation;
                    if want.have > at {
                        return Ok(());
                    }
                    if let Some(why) = want.failed {
                        return Err(why);
                    }
                }
            }
            if wanted.stopped {
                return Err(Why::Stopped);
            }
            if wanted.resting {
                return Err(Why::Resting);
            }
            wanted = match self.cache.changed.wait_timeout(wanted, TICK) {
                Ok((wanted, _)) => wanted,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}
