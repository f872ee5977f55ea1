//! A site: one tree that follows a channel.
//!
//! Its directories have an owner each: `Notes`, `Partial`, `Objects`, `Deployments`. What works with them is made for one
//! call, and the verbs of [`Site`] put it together.
//!
//! | step | file | what |
//! |---|---|---|
//! | check | `follow`, `check` | refresh trust, find the target release |
//! | plan | `ways`, `index`, `seeds`, `cost`, `plan` | every option of every file, its predicted cost, the choice |
//! | fetch | `obtain`, `pieces`, `fetch/` | pieces and blobs, resumable; objects verified by digest |
//! | activate | `deploy`, `compare`, `local/`, `switch`, `fixed`, `trial` | link farm, verification, configuration, one rename, health check |
//! | keep | `verify`, `keep`, `repair`, `rollback`, `reverse` | look after what is there |

mod between;
mod check;
mod compare;
mod config;
mod configured;
mod cost;
pub mod daemon;
mod deploy;
mod deployments;
mod fetch;
mod files;
mod fixed;
mod follow;
mod health;
mod index;
mod keep;
mod local;
mod measures;
mod notes;
mod objects;
mod obtain;
mod partial;
mod pieces;
mod plan;
mod repair;
mod report;
mod reserve;
mod reverse;
mod rollback;
mod seeds;
mod switch;
mod trial;
mod update;
mod verify;
mod walk;
mod ways;

pub use between::Between;
pub use check::Checked;
pub use compare::Difference;
pub use config::{Config, Health, Objective};
pub use cost::{Rates, Use};
pub use fetch::Fetched;
pub use follow::{Target, Wanted};
pub use index::{Index, Name};
pub use keep::GcReport;
pub use local::{Beside, Carried, NotKept};
pub use measures::{Forced, Measures};
pub use plan::{Choice, First, Item, PieceId, PieceRange, Plan, StepRow, Way};
pub use trial::Settled;
pub use update::{Planned, Runs, UpdateOptions, Updated};
pub use ways::Ways;

use crate::apart::{self, Program};
use crate::disk::{self, Lock};
use crate::manifest::Header;
use crate::source::Sources;
use crate::trust::State;
use crate::{Digest, Error, Quiet, Result, Watch};
use deploy::Deployer;
use deployments::Deployments;
use follow::Follower;
use local::Local;
use notes::{Note, Notes};
use objects::Objects;
use obtain::Downloads;
use partial::Partial;
use reserve::Reservation;
use std::path::{Path, PathBuf};
use switch::Switch;

/// What a new site has beside its files.
const FOLDERS: [&str; 5] = ["state", "objects", "partial", "built", "deployments"];

/// Whether a directory has nothing, or only what a killed `init` left: its configuration, written last, is missing.
fn is_free(dir: &Path) -> Result<bool> {
    for entry in disk::list(dir)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let state = |e: &std::fs::DirEntry| ["trust", ".tmp-trust"].iter().any(|n| e.file_name() == *n);
        let ours = match name.as_str() {
            "lock" => true,
            // What it says is looked at when another is written.
            configured::TOML => !dir.join(configured::JSON).exists(),
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

/// A folder that somebody removed is there again: without what was in it, but nobody is stuck for lack of it.
fn put_folders(dir: &Path) -> Result<()> {
    for folder in FOLDERS.map(|f| dir.join(f)) {
        if !folder.exists() {
            disk::make_dirs_durably(&folder)?;
        }
    }
    Ok(())
}

/// A release that is on the disk as a tree.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Deployment {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Its release id.
    pub release: String,
    /// Its sequence.
    pub sequence: u64,
    /// Whether it runs.
    pub current: bool,
    /// Whether `rollback` goes to it.
    pub previous: bool,
    /// Whether `gc` keeps it.
    pub pinned: bool,
}

/// An open site; holds its lock.
pub struct Site {
    root: PathBuf,
    config: Config,
    /// What decodes patches and packed files for this site; none: this process.
    pub decoder: Option<Program>,
    /// What people should know of how its configuration was found.
    pub told: Vec<String>,
    notes: Notes,
    partial: Partial,
    objects: Objects,
    deployments: Deployments,
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
            fixed::check(dir, fixed)?;
        }
        for sub in FOLDERS {
            disk::make_dirs(&dir.join(sub))?;
        }
        files::restrict(dir)?;
        let lock = Lock::take(&dir.join("lock"))?;
        let site = Site::with(dir, config.clone(), lock);
        state.save(&site.notes.path(Note::Trust))?;
        configured::create(dir, config, &site.notes)?;
        Ok(site)
    }

    /// Opens a site, takes its lock and sweeps what a killed run left.
    pub fn open(dir: &Path) -> Result<Site> {
        Site::open_from(dir, &[])
    }

    /// The same with further sources, such as a stick that is there today; they are asked before those configured.
    pub fn open_from(dir: &Path, sources: &[String]) -> Result<Site> {
        configured::exists(dir)?;
        let lock = Lock::take(&dir.join("lock"))?;
        put_folders(dir)?;
        let (mut config, told) = configured::read(dir, &Notes::of(dir))?;
        let configured = config.sources.split_off(0);
        let others = configured.into_iter().filter(|s| !sources.contains(s));
        config.sources = sources.iter().cloned().chain(others).collect();
        let mut site = Site::with(dir, config, lock);
        site.told = told;
        site.sweep()?;
        Ok(site)
    }

    fn with(dir: &Path, config: Config, lock: Lock) -> Site {
        Site {
            root: dir.to_owned(),
            decoder: apart::program(),
            told: Vec::new(),
            notes: Notes::of(dir),
            partial: Partial::of(dir, &config.sources),
            objects: Objects::of(dir, config.unprivileged),
            deployments: Deployments::of(dir, config.fixed.as_deref()),
            config,
            _lock: lock,
        }
    }

    /// The site's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the site follows and how.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Removes temporary files; nothing that could be gone on with. Half trees are `gc`'s, which hears a stop.
    fn sweep(&self) -> Result<()> {
        for dir in ["", "state", "partial", "built"] {
            disk::sweep(&self.path(dir))?;
        }
        switch::step_back(&self.deployments.dir)?;
        self.switch().finish()?;
        Reservation::drop_leftover(self.partial.dir())
    }

    /// Opens the configured sources, and boxes near by where the site is to look for them.
    pub fn sources(&self, watch: &dyn Watch) -> Result<Sources> {
        let near = match self.config.nearby {
            #[cfg(feature = "mdns")]
            true => crate::nearby::find(&self.config.follow, watch)?,
            _ => Vec::new(),
        };
        for name in &near {
            watch.detail(&format!("a box near by: {name}"));
        }
        self.config.open(&near, Some(self.notes.path(Note::Spent)))
    }

    /// The stored trust state.
    pub fn trust(&self) -> Result<State> {
        State::load(&self.notes.path(Note::Trust))
    }

    /// Starts trust afresh from a root file that an administrator vouches for.
    ///
    /// The running release's sequence stays the least that is accepted without being asked for.
    pub fn recover(&self, root: &[u8]) -> Result<()> {
        let mut state = State::from_root(root)?;
        if let Some(header) = self.running()? {
            state.heads.insert(self.config.follow.target(), header.sequence);
        }
        state.save(&self.notes.path(Note::Trust))
    }

    /// Manifest of the running deployment.
    pub fn current(&self) -> Result<Option<Digest>> {
        self.deployments.current()
    }

    /// Manifest of the deployment that `rollback` goes to.
    pub fn previous(&self) -> Result<Option<Digest>> {
        self.deployments.previous()
    }

    /// What runs.
    fn running(&self) -> Result<Option<Header>> {
        let current = self.current()?;
        current.map(|d| self.deployments.header(&d)).transpose()
    }

    /// All deployments, oldest release first.
    pub fn deployments(&self) -> Result<Vec<Deployment>> {
        let (current, previous, pins) = (self.current()?, self.previous()?, self.pins()?);
        let mut all = Vec::new();
        for digest in self.deployments.all()? {
            let Header {
                release, sequence, ..
            } = self.deployments.header(&digest)?;
            all.push(Deployment {
                pinned: pins.contains(&release),
                current: current == Some(digest),
                previous: previous == Some(digest) && current != Some(digest),
                manifest: digest,
                release,
                sequence,
            });
        }
        all.sort_by_key(|d| d.sequence);
        Ok(all)
    }

    /// New defaults that lie beside changed configuration of the running tree and wait for the administrator.
    pub fn beside(&self) -> Result<Vec<Beside>> {
        self.local(&Quiet).beside()
    }

    /// What is on the site by digest, and the seeds.
    pub fn index(&self, watch: &dyn Watch) -> Result<Index> {
        let mut index = self.objects.index(watch)?;
        seeds::add(&self.config.seeds, &self.notes, &mut index, watch)?;
        Ok(index)
    }

    fn follower<'a>(&'a self, sources: &'a Sources, watch: &'a dyn Watch) -> Follower<'a> {
        Follower {
            notes: &self.notes,
            follow: &self.config.follow,
            sources,
            watch,
        }
    }

    fn downloads<'a>(&'a self, sources: &'a Sources, watch: &'a dyn Watch) -> Downloads<'a> {
        Downloads {
            partial: &self.partial,
            sources,
            watch,
        }
    }

    fn deployer<'a>(&'a self, watch: &'a dyn Watch) -> Deployer<'a> {
        Deployer {
            deployments: &self.deployments,
            objects: &self.objects,
            watch,
        }
    }

    fn local<'a>(&'a self, watch: &'a dyn Watch) -> Local<'a> {
        Local {
            deployments: &self.deployments,
            objects: &self.objects,
            reserve: self.config.reserve,
            watch,
        }
    }

    fn switch(&self) -> Switch<'_> {
        Switch {
            deployments: &self.deployments,
            notes: &self.notes,
        }
    }
}
