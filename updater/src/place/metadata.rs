//! Signed metadata of a box: refreshed over the link when sites ask, kept as it came, and what it says of names.

use super::Settings;
use super::cache::Cache;
use super::link::Link;
use super::signed::{Named, Signed};
use crate::disk::{self, Sync};
use crate::names::{self, Follow};
use crate::source::Sources;
use crate::step::Channel;
use crate::trust::{self, Fetch, State};
use crate::{Error, Result, Watch, limits};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Metadata as last accepted.
struct Believed {
    state: State,
    signed: Signed,
    asked: Option<Instant>,
    /// Whether what is on the disk is the newest that was seen, so that it may be served.
    known: bool,
}

/// The metadata of a box, in its directories `tuf` and `channels` and its file `trust`.
pub(super) struct Metadata {
    dir: PathBuf,
    follow: Vec<Follow>,
    fresh: Duration,
    believed: Mutex<Believed>,
}

impl Metadata {
    /// What an earlier run left, or the trust in `root` alone.
    pub fn open(settings: &Settings, root: Option<&[u8]>) -> Result<Metadata> {
        for part in ["tuf", "channels"] {
            disk::make_dirs_durably(&settings.dir.join(part))?;
        }
        let trust = settings.dir.join("trust");
        let state = match (State::load(&trust), root) {
            (Ok(state), _) => state,
            (Err(Error::TrustState("missing")), Some(root)) => {
                let state = State::from_root(root)?;
                state.save(&trust)?;
                state
            }
            (Err(Error::TrustState("missing")), None) => {
                return Err(Error::Usage(
                    "a new box needs --root FILE, the repository's root from a trusted place".into(),
                ));
            }
            (Err(e), _) => return Err(e),
        };
        let believed = Believed {
            state,
            signed: Signed::default(),
            asked: None,
            known: false,
        };
        Ok(Metadata {
            dir: settings.dir.clone(),
            follow: settings.follow.clone(),
            fresh: settings.fresh,
            believed: Mutex::new(believed),
        })
    }

    fn believed(&self) -> MutexGuard<'_, Believed> {
        self.believed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What a path of the repository is; none: nothing that was signed.
    pub fn named(&self, path: &str) -> Option<Named> {
        self.believed().signed.named(path)
    }

    /// A small file that is served as it came.
    pub fn held(&self, path: &str) -> Result<Option<Vec<u8>>> {
        disk::read(&self.dir.join(path), limits::CHANNEL)
    }

    /// Learns what lies in the pack of a step that is whole.
    pub fn add_step(&self, bytes: &[u8]) -> Result<()> {
        self.believed().signed.add_step(bytes)
    }

    /// Looks for newer metadata if what there is was asked for too long ago. All who ask meanwhile wait for one answer.
    ///
    /// What cannot be had leaves what there is: sites look at its age themselves.
    pub fn refresh(&self, path: &str, by: (&Link, &Cache), watch: &dyn Watch) -> Result<()> {
        let (link, cache) = by;
        let mut believed = self.believed();
        if path != names::TIMESTAMP && believed.known {
            return Ok(());
        }
        if believed.asked.is_some_and(|at| at.elapsed() < self.fresh) {
            return Ok(());
        }
        if link.allowance.left().is_some() {
            let sources = link.sources();
            let mut last = None;
            for index in sources.order() {
                match self.ask(&mut believed, by, (&sources, index), watch) {
                    Ok(()) => {
                        last = None;
                        break;
                    }
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(e) => {
                        watch.detail(&format!("{}: {e}", sources.name(index)));
                        if matches!(e, Error::Untrusted(_) | Error::Malformed { .. }) {
                            sources.lied(index, 0);
                        }
                        last = Some(e);
                    }
                }
            }
            if let Some(e) = last {
                watch.note(&format!("no newer metadata: {e}"));
                link.anew()?;
            }
        }
        if !believed.known {
            believed.signed = self.remembered(&believed.state, cache);
            believed.known = true;
        }
        believed.asked = Some(Instant::now());
        Ok(())
    }

    /// Brings metadata and channel files up to what one source has, and keeps them as they came.
    fn ask(
        &self,
        believed: &mut Believed,
        (link, cache): (&Link, &Cache),
        (sources, index): (&Sources, usize),
        watch: &dyn Watch,
    ) -> Result<()> {
        let mut state = believed.state.clone();
        let source = Kept {
            link,
            inner: sources.one(index, watch),
            roots: Mutex::default(),
        };
        trust::refresh(&mut state, &source)?;
        let mut signed = Signed::default();
        for follow in &self.follow {
            let target = follow.target();
            let found = trust::target(&mut state, &target, &source)?;
            let path = names::target_file(&target, &found.digest);
            let held = self.dir.join(&path);
            let bytes = match disk::read(&held, limits::CHANNEL)? {
                Some(bytes) if crate::Digest::of(&bytes) == found.digest => bytes,
                _ => {
                    let length = found.length.min(limits::CHANNEL);
                    let bytes = sources.signed(&path, &found.digest, length, watch)?;
                    link.allowance.spend(bytes.len() as u64).or_else(resting)?;
                    disk::make_dirs_durably(disk::parent(&held))?;
                    disk::replace(&held, &bytes, 0o644, Sync::State)?;
                    bytes
                }
            };
            let channel = Channel::parse(&bytes, follow)?;
            let head = channel.head().map_or(0, |head| head.sequence);
            trust::advance(&mut state, target, head)?;
            signed.add_channel(follow, found.digest, &channel);
        }
        let roots = source
            .roots
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        self.keep(&state, roots, &signed)?;
        state.save(&self.dir.join("trust"))?;
        learn_steps(&mut signed, cache);
        (believed.state, believed.signed, believed.known) = (state, signed, true);
        Ok(())
    }

    /// Keeps metadata as it came, and nothing that it has replaced but roots, which sites go through one by one.
    fn keep(&self, state: &State, roots: Vec<(String, Vec<u8>)>, signed: &Signed) -> Result<()> {
        let put = |path: &str, bytes: &[u8]| -> Result<()> {
            let held = self.dir.join(path);
            match held.exists() && path != names::TIMESTAMP {
                true => Ok(()),
                false => disk::replace(&held, bytes, 0o644, Sync::State),
            }
        };
        for (path, bytes) in &roots {
            put(path, bytes)?;
        }
        let accepted = state.by_path()?;
        for (path, text) in &accepted {
            put(path, text.as_bytes())?;
        }
        for entry in disk::list(&self.dir.join("tuf"))? {
            let path = format!("tuf/{}", entry.file_name().to_string_lossy());
            if !path.ends_with(".root.json") && !accepted.iter().any(|(accepted, _)| *accepted == path) {
                disk::remove(&entry.path())?;
            }
        }
        for follow in &self.follow {
            let target = follow.target();
            let folder = disk::parent(std::path::Path::new(&target)).to_owned();
            for entry in disk::list(&self.dir.join(&folder))? {
                let path = folder.join(entry.file_name());
                if !path.to_str().is_some_and(|path| signed.has_channel(path)) {
                    disk::remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// What an earlier run accepted, for a start without the link.
    fn remembered(&self, state: &State, cache: &Cache) -> Signed {
        let mut signed = Signed::default();
        let mut state = state.clone();
        for follow in &self.follow {
            let target = follow.target();
            let mut known = || -> Option<()> {
                let found = trust::target(&mut state, &target, &Nothing).ok()?;
                let held = self.dir.join(names::target_file(&target, &found.digest));
                let bytes = disk::read(&held, limits::CHANNEL).ok()??;
                let channel = Channel::parse(&bytes, follow).ok()?;
                (crate::Digest::of(&bytes) == found.digest)
                    .then(|| signed.add_channel(follow, found.digest, &channel))
            };
            // What is torn or gone is learnt anew when the link is there.
            let _ = known();
        }
        learn_steps(&mut signed, cache);
        signed
    }
}

/// Learns what lies in packs from the steps that are there.
fn learn_steps(signed: &mut Signed, cache: &Cache) {
    let held: Vec<PathBuf> = signed.steps().map(|unit| cache.whole(&unit.name())).collect();
    for path in held {
        if let Ok(Some(bytes)) = disk::read(&path, limits::STEP) {
            // A step that is not what it was is dropped when it is asked for.
            let named = path
                .file_name()
                .and_then(|name| crate::Digest::parse(name.to_str()?));
            if named == Some(crate::Digest::of(&bytes)) {
                let _ = signed.add_step(&bytes);
            }
        }
    }
}

/// A link that rests after these bytes is no reason to lose them.
fn resting(_: Error) -> Result<()> {
    Ok(())
}

/// Reads metadata from one source, and keeps the roots that it went through.
struct Kept<'a, F> {
    link: &'a Link,
    inner: F,
    roots: Mutex<Vec<(String, Vec<u8>)>>,
}

impl<F: Fetch> Fetch for Kept<'_, F> {
    fn fetch(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let bytes = self.inner.fetch(path, limit)?;
        if let Some(bytes) = &bytes {
            self.link.allowance.spend(bytes.len() as u64).or_else(resting)?;
            if path.ends_with(".root.json") {
                let mut roots = self.roots.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                roots.push((path.to_owned(), bytes.clone()));
            }
        }
        Ok(bytes)
    }
}

/// A source that has nothing: what is known must do.
struct Nothing;

impl Fetch for Nothing {
    fn fetch(&self, _path: &str, _limit: u64) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
}
