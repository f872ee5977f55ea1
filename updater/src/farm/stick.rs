//! Stick: what the sites that it goes to need, by what they reported on it, in the room that it has.

use super::carry::{Files, Origin, Stand};
use crate::disk::{self, Lock};
use crate::names::Follow;
use crate::report::{self, Report};
use crate::store::{LocalStore, Store};
use crate::{Error, Result, Watch, limits};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// What a stick is made ready for.
#[derive(Clone, Debug)]
pub struct Stick<'a> {
    /// Its directory.
    pub dir: &'a Path,
    /// What it carries.
    pub follow: &'a [Follow],
    /// Also what an empty site needs; so it is anyway for a channel of which no site has reported.
    pub new_sites: bool,
    /// Most bytes that it may take, if not all that is free.
    pub room: Option<u64>,
}

/// What of one channel is on a stick.
#[derive(Clone, Debug, Serialize)]
pub struct Carried {
    /// The channel.
    pub follow: Follow,
    /// The release that it leads to.
    pub head: String,
    /// Sites that have reported, by number: name, what runs, how many failures since the last update.
    pub sites: Vec<Reported>,
    /// Whether an empty site, or one at a release that the channel has forgotten, finds all that it needs.
    pub new_sites: bool,
    /// Bytes of whole files that are there for repairs.
    pub spare: u64,
    /// Bytes of such files for which there was no room.
    pub left_out: u64,
}

/// A site as it said of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Reported {
    /// Its number.
    pub site: String,
    /// Name of the machine.
    pub name: String,
    /// When it reported.
    pub time: String,
    /// What runs.
    pub runs: Option<String>,
    /// Failures since its last update.
    pub failures: usize,
}

/// What is on a stick now.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Bytes of the repository on it.
    pub bytes: u64,
    /// Files of earlier times that were removed.
    pub removed: u64,
    /// By channel.
    pub channels: Vec<Carried>,
}

/// Folders of a repository with files that a newer stick may not need.
const FOLDERS: [&str; 5] = ["blobs", "channels", "manifests", "packs", "steps"];

/// What one channel needs.
struct Channel {
    least: Files,
    spare: Files,
    carried: Carried,
}

/// Makes a stick ready: a repository like any other, with what its sites need and no more, and a folder for reports.
///
/// Files that are needed no more are removed. Killed at any point, it is run again.
pub fn prepare(store: &dyn Store, stick: &Stick, watch: &dyn Watch) -> Result<Ready> {
    own(stick.dir)?;
    let _lock = Lock::take_dir(&stick.dir.join(report::FOLDER))?;
    FOLDERS
        .iter()
        .chain(&["tuf"])
        .try_for_each(|f| plain(&stick.dir.join(f)))?;
    let origin = Origin::open(store)?;
    let reports = report::read(stick.dir, &mut |name, why| {
        watch.note(&format!("{name} on the stick was passed over: {why}"));
    })?;
    let mut channels = Vec::new();
    for follow in stick.follow {
        watch.check()?;
        let reports: Vec<&Report> = reports.iter().filter(|r| r.follow == *follow).collect();
        channels.push(channel(&origin, follow, &reports, stick.new_sites)?);
    }
    let to = LocalStore::new(stick.dir);
    let (files, missing) = fit(&mut channels, stick, &to)?;
    // The old ones go last where there is room for both: a stick that is pulled out meanwhile is as good as before.
    let early = match disk::free(stick.dir)? < missing {
        true => sweep(&to, &files, watch)?,
        false => 0,
    };
    let bytes = origin.copy(&files, stick.dir, watch)?;
    let removed = early + sweep(&to, &files, watch)?;
    let channels = channels.into_iter().map(|c| c.carried).collect();
    Ok(Ready {
        bytes,
        removed,
        channels,
    })
}

/// Makes the directory a stick's: files are removed there, so one that holds something else is refused.
fn own(dir: &Path) -> Result<()> {
    if report::asked(dir) {
        return Ok(());
    }
    let mut taken = ["tuf", "work"].iter().chain(&FOLDERS);
    if let Some(taken) = taken.find(|name| dir.join(name).exists()) {
        let why = format!(
            "{} has a folder {taken} that no stick made: give an empty directory",
            dir.display()
        );
        return Err(Error::Usage(why));
    }
    disk::make_dirs_durably(&dir.join(report::FOLDER))
}

/// Removes what leads away from a stick: it was anybody's meanwhile, and files are written and
/// removed below these folders.
fn plain(folder: &Path) -> Result<()> {
    let mut todo = vec![folder.to_owned()];
    while let Some(dir) = todo.pop() {
        if dir.symlink_metadata().is_ok_and(|m| !m.is_dir()) {
            disk::remove(&dir)?;
        }
        for entry in disk::list(&dir)? {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                Ok(kind) if kind.is_file() => {}
                _ => disk::remove(&entry.path())?,
            }
        }
    }
    Ok(())
}

fn channel(origin: &Origin, follow: &Follow, reports: &[&Report], new_sites: bool) -> Result<Channel> {
    let channel = origin.channel(follow)?;
    let mut stands = BTreeSet::new();
    for report in reports {
        let runs = report.runs.as_ref();
        let known = runs.and_then(|runs| channel.releases.iter().find(|r| r.manifest == runs.manifest));
        stands.insert(Stand {
            release: known.map(|r| r.release.as_str()),
            memory: report.memory,
        });
    }
    if new_sites || stands.is_empty() {
        stands.insert(Stand {
            release: None,
            memory: limits::MEMORY,
        });
    }
    let needs = origin.needs(&channel, &stands)?;
    let head = channel.head().map(|r| r.release.clone()).unwrap_or_default();
    Ok(Channel {
        carried: Carried {
            follow: follow.clone(),
            head,
            sites: reports.iter().map(|r| reported(r)).collect(),
            new_sites: stands.iter().any(|s| s.release.is_none()),
            spare: 0,
            left_out: 0,
        },
        least: needs.least,
        spare: needs.spare,
    })
}

fn reported(report: &Report) -> Reported {
    Reported {
        site: report.site.clone(),
        name: report.name.clone(),
        time: report.time.clone(),
        runs: report.runs.as_ref().map(|r| r.release.clone()),
        failures: report.failures.len(),
    }
}

/// All files that must be there, and of the others, a channel after the other, as many as there is room for. Tells
/// also how many bytes of them are not there yet.
fn fit(channels: &mut [Channel], stick: &Stick, to: &LocalStore) -> Result<(Files, u64)> {
    let mut files = Files::new();
    channels.iter_mut().for_each(|c| files.append(&mut c.least));
    let mut held = 0;
    for path in FOLDERS
        .iter()
        .map(|f| to.list(f))
        .collect::<Result<Vec<_>>>()?
        .concat()
    {
        held += to.size(&path)?.unwrap_or(0);
    }
    let room = stick
        .room
        .unwrap_or(u64::MAX)
        .min(disk::free(stick.dir)?.saturating_add(held));
    // Files of a few kilobytes take whole blocks of the stick.
    let takes = |f: &Files| {
        f.values()
            .map(|i| i.length.unwrap_or(0).next_multiple_of(4096))
            .sum::<u64>()
    };
    let mut needed = takes(&files).saturating_add(SIGNED);
    if needed > room {
        return Err(Error::NoSpace { needed, free: room });
    }
    for channel in channels {
        channel.spare.retain(|path, _| !files.contains_key(path));
        let more = takes(&channel.spare);
        let bytes = channel.spare.values().filter_map(|i| i.length).sum();
        match needed.checked_add(more).filter(|n| *n <= room) {
            Some(n) => {
                needed = n;
                channel.carried.spare = bytes;
                files.append(&mut channel.spare);
            }
            None => channel.carried.left_out = bytes,
        }
    }
    let mut missing = SIGNED;
    for (path, item) in &files {
        if to.size(path)? != item.length {
            missing += item.length.unwrap_or(0).next_multiple_of(4096);
        }
    }
    Ok((files, missing))
}

/// What signed metadata takes at most, a guess.
const SIGNED: u64 = 1 << 20;

/// Removes what is needed no more. What no repository has is somebody else's and stays.
fn sweep(to: &LocalStore, files: &Files, watch: &dyn Watch) -> Result<u64> {
    let mut removed = 0;
    for folder in FOLDERS {
        for path in to.list(folder)?.iter().filter(|p| !files.contains_key(*p)) {
            watch.check()?;
            to.remove(path)?;
            removed += 1;
        }
    }
    disk::sync_fs(to.root())?;
    Ok(removed)
}
