//! A site: one tree that follows a channel.
//!
//! | step | file | what |
//! |---|---|---|
//! | check | `check` | refresh trust, find the target release |
//! | plan | `ways`, `cost`, `plan` | every option of every file, its predicted cost, the choice |
//! | fetch | `obtain`, `pieces`, `rebuild`, `fetch` | pieces and blobs, resumable; objects verified by digest |
//! | activate | `deploy`, `local`, `switch`, `fixed`, `health` | link farm, verification, configuration, one rename, health check |
//! | keep | `verify`, `gc`, `reverse` | look after what is there |

mod bundle;
mod check;
mod config;
mod cost;
pub mod daemon;
mod deploy;
mod fetch;
mod files;
mod fixed;
mod health;
mod index;
mod keep;
mod local;
mod measures;
mod objects;
mod obtain;
mod pieces;
mod plan;
mod rebuild;
mod reserve;
mod reverse;
mod switch;
mod update;
mod verify;
mod ways;

pub use check::{Checked, Target, Wanted};
pub use config::{Config, Health, Objective};
pub use cost::{Rates, Use};
pub use fetch::Fetched;
pub use health::Settled;
pub use index::{Index, Name};
pub use keep::GcReport;
pub use local::{Beside, Carried, NotKept};
pub use measures::{Forced, Measures};
pub use plan::{Choice, Item, Plan, Way};
pub use switch::Deployment;
pub use update::{Planned, Runs, UpdateOptions, Updated};
pub use verify::Difference;
pub use ways::Ways;

use crate::apart::{self, Program};
use crate::disk::{self, Lock, Sync};
use crate::source::Sources;
use crate::trust::State;
use crate::{Error, Result, Watch};
use std::path::{Path, PathBuf};

/// What a new site has beside its files.
const FOLDERS: [&str; 5] = ["state", "objects", "partial", "built", "deployments"];

/// Whether a directory has nothing, or only what a killed `init` left: its configuration, written last, is missing.
fn is_free(dir: &Path) -> Result<bool> {
    for entry in disk::list(dir)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let state = |e: &std::fs::DirEntry| ["trust", ".tmp-trust"].iter().any(|n| e.file_name() == *n);
        let ours = match name.as_str() {
            "lock" => true,
            temporary if temporary.starts_with(".tmp-") => true,
            "state" => disk::list(&entry.path())?.iter().all(state),
            folder => FOLDERS.contains(&folder) && disk::list(&entry.path())?.is_empty(),
        };
        if !ours {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An open site; holds its lock.
pub struct Site {
    root: PathBuf,
    /// What the site follows and how.
    pub config: Config,
    /// What decodes patches and packed files for this site; none: this process.
    pub decoder: Option<Program>,
    _lock: Lock,
}

impl Site {
    /// Makes a site in an empty or new directory. `root` is a root metadata file from a trusted place.
    pub fn init(dir: &Path, config: &Config, root: &[u8]) -> Result<Site> {
        if !is_free(dir)? {
            return Err(Error::Usage(format!("{} is not empty", dir.display())));
        }
        config.check()?;
        let state = State::from_root(root)?;
        disk::make_dirs(dir)?;
        if let Some(fixed) = &config.fixed {
            Site::check_fixed(dir, fixed)?;
        }
        for sub in FOLDERS {
            disk::make_dirs(&dir.join(sub))?;
        }
        files::restrict(dir)?;
        let lock = Lock::take(&dir.join("lock"))?;
        state.save(&dir.join("state/trust"))?;
        config.save(&dir.join("site.json"))?;
        let config = config.clone();
        Ok(Site {
            root: dir.to_owned(),
            config,
            decoder: apart::program(),
            _lock: lock,
        })
    }

    /// Opens a site, takes its lock and sweeps what a killed run left.
    pub fn open(dir: &Path) -> Result<Site> {
        let config = Config::load(&dir.join("site.json"))?;
        let site = Site {
            root: dir.to_owned(),
            config,
            decoder: apart::program(),
            _lock: Lock::take(&dir.join("lock"))?,
        };
        site.sweep()?;
        Ok(site)
    }

    /// The site's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Removes temporary files; nothing that could be gone on with. Half trees are `gc`'s, which hears a stop.
    ///
    /// A folder that somebody removed is there again: without what was in it, but nobody is stuck for lack of it.
    fn sweep(&self) -> Result<()> {
        for folder in FOLDERS.map(|f| self.path(f)) {
            if !folder.exists() {
                disk::make_dirs_durably(&folder)?;
            }
        }
        for dir in ["", "state", "partial", "built"] {
            disk::sweep(&self.path(dir))?;
        }
        self.step_back()?;
        self.finish_switch()?;
        reserve::Reservation::drop_leftover(&self.path("partial"))
    }

    /// Removes one entry of `deployments/`, however large.
    fn remove_deployment(&self, name: &str, watch: &dyn Watch) -> Result<()> {
        let deployments = files::Beneath::open(&self.path("deployments"))?;
        local::walk::remove(&deployments, name.as_bytes(), watch)
    }

    /// Opens the configured sources.
    pub fn sources(&self) -> Result<Sources> {
        self.config.open()
    }

    /// The stored trust state.
    pub fn trust(&self) -> Result<State> {
        State::load(&self.path("state/trust"))
    }

    /// Starts trust afresh from a root file that an administrator vouches for.
    ///
    /// The running release's sequence stays the least that is accepted without being asked for.
    pub fn recover(&self, root: &[u8]) -> Result<()> {
        let mut state = State::from_root(root)?;
        if let Some(current) = self.current()? {
            let header = self.header_of(&current)?;
            state.heads.insert(self.config.follow.target(), header.sequence);
        }
        state.save(&self.path("state/trust"))
    }

    fn write_state(&self, name: &str, value: &impl serde::Serialize) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|e| Error::io("encode state", std::io::Error::from(e)))?;
        bytes.push(b'\n');
        disk::replace(&self.path("state").join(name), &bytes, 0o600, Sync::State)
    }

    fn read_state<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let bytes = disk::read(&self.path("state").join(name), 16 << 20)?;
        Ok(bytes.and_then(|b| serde_json::from_slice(&b).ok()))
    }
}
