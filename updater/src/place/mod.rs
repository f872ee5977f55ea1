//! A box for a place: the repository as sites see it, fetched once over a bad link and served from there.
//!
//! It checks what it fetches by the signatures and digests that a site checks, so that a bad mirror spoils nothing for
//! the place; sites believe it no more than any other source.

mod allowance;
mod cache;
mod link;
mod server;
mod signed;
mod unit;

pub use allowance::Hours;

use crate::disk::{self, Lock, Sync};
use crate::names::{self, Follow};
use crate::source::{self, Access, Sources};
use crate::step::Channel;
use crate::trust::{self, Fetch, State};
use crate::{Error, Result, Watch, limits};
use allowance::Allowance;
use cache::{Cache, Why};
use signed::{Named, Signed};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use unit::Unit;

/// What a box is told to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it keeps what it has.
    pub dir: PathBuf,
    /// Where it fetches, in order of preference.
    pub sources: Vec<String>,
    /// How these are reached.
    pub access: Access,
    /// The channels that its sites follow.
    pub follow: Vec<Follow>,
    /// Bytes that it may fetch a day.
    pub budget: Option<u64>,
    /// Hours in which it may fetch.
    pub hours: Option<Hours>,
    /// Bytes that it may hold; what was used least recently goes first.
    pub room: u64,
    /// How old metadata may be before it is asked for again.
    pub fresh: Duration,
}

/// What a box has done, for who watches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Bytes that came over the link.
    pub fetched: u64,
    /// Bytes that went to sites.
    pub served: u64,
    /// Requests of sites.
    pub requests: u64,
    /// Pieces and files that are wanted and not there yet.
    pub waiting: usize,
}

/// Metadata as last accepted.
struct Believed {
    state: State,
    signed: Signed,
    asked: Option<Instant>,
    /// Whether what is on the disk is the newest that was seen, so that it may be served.
    known: bool,
}

/// A box at work.
pub struct Place {
    settings: Settings,
    cache: Cache,
    allowance: Allowance,
    believed: Mutex<Believed>,
    sources: Mutex<Arc<Sources>>,
    tally: Mutex<Tally>,
    _lock: Lock,
}

/// Units to send, and which bytes of each.
struct Slice {
    unit: Unit,
    from: u64,
    /// None: to its end.
    to: Option<u64>,
}

/// What a request is answered with.
enum Answer {
    /// A small file, whole.
    Small(Vec<u8>),
    /// Parts of larger ones.
    Slices(Vec<Slice>),
    /// Nothing of that name.
    Missing,
    /// Not now.
    Later(Why),
}

impl Place {
    /// Opens a box, or makes one that trusts `root`, a root file from a trusted place.
    pub fn open(settings: Settings, root: Option<&[u8]>) -> Result<Place> {
        for part in ["tuf", "channels"] {
            disk::make_dirs_durably(&settings.dir.join(part))?;
        }
        let lock = Lock::take(&settings.dir.join("lock"))?;
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
        let cache = Cache::open(&settings.dir)?;
        let spent = settings.dir.join("spent");
        let allowance = Allowance::open(spent, settings.budget, settings.hours)?;
        let sources = Arc::new(source::open(&settings.sources, &settings.access)?);
        let believed = Believed {
            state,
            signed: Signed::default(),
            asked: None,
            known: false,
        };
        Ok(Place {
            cache,
            allowance,
            believed: Mutex::new(believed),
            sources: Mutex::new(sources),
            tally: Mutex::default(),
            settings,
            _lock: lock,
        })
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        let tally = *self.tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Tally {
            fetched: self.allowance.total(),
            waiting: self.cache.waiting(),
            ..tally
        }
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    fn believed(&self) -> MutexGuard<'_, Believed> {
        self.believed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn sources(&self) -> Arc<Sources> {
        Arc::clone(
            &self
                .sources
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        )
    }

    /// Gives sources that failed or lied another chance: a box runs for months.
    fn sources_anew(&self) -> Result<()> {
        let anew = Arc::new(source::open(&self.settings.sources, &self.settings.access)?);
        *self
            .sources
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = anew;
        Ok(())
    }

    /// Looks for newer metadata if what there is was asked for too long ago. All who ask meanwhile wait for one answer.
    ///
    /// What cannot be had leaves what there is: sites look at its age themselves.
    fn refresh(&self, watch: &dyn Watch) -> Result<()> {
        let mut believed = self.believed();
        if believed
            .asked
            .is_some_and(|at| at.elapsed() < self.settings.fresh)
        {
            return Ok(());
        }
        if self.allowance.left().is_some() {
            let sources = self.sources();
            let mut last = None;
            for index in sources.order() {
                match self.ask(&mut believed, &sources, index, watch) {
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
                self.sources_anew()?;
            }
        }
        if !believed.known {
            believed.signed = self.remembered(&believed.state);
            believed.known = true;
        }
        believed.asked = Some(Instant::now());
        Ok(())
    }

    /// Brings metadata and channel files up to what one source has, and keeps them as they came.
    fn ask(&self, believed: &mut Believed, sources: &Sources, index: usize, watch: &dyn Watch) -> Result<()> {
        let mut state = believed.state.clone();
        let source = Kept {
            place: self,
            inner: sources.one(index, watch),
            roots: Mutex::default(),
        };
        trust::refresh(&mut state, &source)?;
        let mut signed = Signed::default();
        for follow in &self.settings.follow {
            let target = follow.target();
            let found = trust::target(&mut state, &target, &source)?;
            let path = names::target_file(&target, &found.digest);
            let held = self.settings.dir.join(&path);
            let bytes = match disk::read(&held, limits::CHANNEL)? {
                Some(bytes) if crate::Digest::of(&bytes) == found.digest => bytes,
                _ => {
                    let length = found.length.min(limits::CHANNEL);
                    let bytes = sources.signed(&path, &found.digest, length, watch)?;
                    self.allowance.spend(bytes.len() as u64).or_else(resting)?;
                    disk::make_dirs_durably(disk::parent(&held))?;
                    disk::replace(&held, &bytes, 0o644, Sync::State)?;
                    bytes
                }
            };
            let channel = Channel::parse(&bytes, follow)?;
            let head = channel.head().map_or(0, |head| head.sequence);
            let seen = state.heads.get(&target).copied().unwrap_or(0);
            if head < seen {
                return Err(Error::Untrusted(format!(
                    "rollback: the channel ends at {head} after {seen} was seen"
                )));
            }
            state.heads.insert(target, head);
            signed.add_channel(follow, found.digest, &channel);
        }
        let roots = source
            .roots
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        self.keep(&state, roots, &signed)?;
        state.save(&self.settings.dir.join("trust"))?;
        self.learn_steps(&mut signed);
        (believed.state, believed.signed, believed.known) = (state, signed, true);
        Ok(())
    }

    /// Keeps metadata as it came, and nothing that it has replaced but roots, which sites go through one by one.
    fn keep(&self, state: &State, roots: Vec<(String, Vec<u8>)>, signed: &Signed) -> Result<()> {
        let put = |path: &str, bytes: &[u8]| -> Result<()> {
            let held = self.settings.dir.join(path);
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
        for entry in disk::list(&self.settings.dir.join("tuf"))? {
            let path = format!("tuf/{}", entry.file_name().to_string_lossy());
            if !path.ends_with(".root.json") && !accepted.iter().any(|(accepted, _)| *accepted == path) {
                disk::remove(&entry.path())?;
            }
        }
        for follow in &self.settings.follow {
            let target = follow.target();
            let folder = disk::parent(std::path::Path::new(&target)).to_owned();
            for entry in disk::list(&self.settings.dir.join(&folder))? {
                let path = folder.join(entry.file_name());
                if !path.to_str().is_some_and(|path| signed.has_channel(path)) {
                    disk::remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// What an earlier run accepted, for a start without the link.
    fn remembered(&self, state: &State) -> Signed {
        let mut signed = Signed::default();
        let mut state = state.clone();
        for follow in &self.settings.follow {
            let target = follow.target();
            let mut known = || -> Option<()> {
                let found = trust::target(&mut state, &target, &Nothing).ok()?;
                let held = self.settings.dir.join(names::target_file(&target, &found.digest));
                let bytes = disk::read(&held, limits::CHANNEL).ok()??;
                let channel = Channel::parse(&bytes, follow).ok()?;
                (crate::Digest::of(&bytes) == found.digest)
                    .then(|| signed.add_channel(follow, found.digest, &channel))
            };
            // What is torn or gone is learnt anew when the link is there.
            let _ = known();
        }
        self.learn_steps(&mut signed);
        signed
    }

    /// Learns what lies in packs from the steps that are there.
    fn learn_steps(&self, signed: &mut Signed) {
        let held: Vec<PathBuf> = signed
            .steps()
            .map(|unit| self.cache.whole(&unit.name()))
            .collect();
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

    /// Has what a finished unit tells known, and keeps to the room.
    fn finished(&self, unit: &Unit) -> Result<()> {
        if unit.path.starts_with("steps/")
            && let Some(bytes) = disk::read(&self.cache.whole(&unit.name()), limits::STEP)?
        {
            self.believed().signed.add_step(&bytes)?;
        }
        self.cache.make_room(self.settings.room).map(drop)
    }

    /// What a path and a range of bytes are answered with.
    fn answer(&self, path: &str, range: Option<(u64, Option<u64>)>, watch: &dyn Watch) -> Result<Answer> {
        self.count(|tally| tally.requests += 1);
        if path == names::TIMESTAMP || !self.believed().known {
            self.refresh(watch)?;
        }
        let named = self.believed().signed.named(path);
        let units = match named {
            None => return Ok(Answer::Missing),
            Some(Named::Held) => {
                let bytes = disk::read(&self.settings.dir.join(path), limits::CHANNEL)?;
                return Ok(bytes.map_or(Answer::Missing, Answer::Small));
            }
            Some(Named::Units(units)) => units,
        };
        let (from, to) = range.unwrap_or((0, None));
        let mut slices = Vec::new();
        for unit in units {
            let end = unit.length.map(|n| unit.offset + n);
            if end.is_some_and(|end| end <= from) || to.is_some_and(|to| to <= unit.offset) {
                continue;
            }
            let within = |place: u64| place.saturating_sub(unit.offset);
            let to = match (to, end) {
                (Some(to), Some(end)) => Some(within(to.min(end))),
                (to, end) => to.or(end).map(within),
            };
            slices.push(Slice {
                from: within(from),
                to,
                unit,
            });
        }
        // All of them are wanted before the first is waited for, so that neighbours come in one request.
        let mut readers = Vec::new();
        for slice in &slices {
            readers.push(self.cache.reader(&slice.unit)?);
        }
        if let (Some(slice), Some(reader)) = (slices.first(), readers.first_mut())
            && let Err(why) = reader.read(slice.from, &mut [0])?
        {
            return Ok(match why {
                Why::Missing => Answer::Missing,
                why => Answer::Later(why),
            });
        }
        Ok(Answer::Slices(slices))
    }

    /// Hands the bytes of slices to `sink` as they come; fails where they do not.
    fn pour(&self, slices: &[Slice], sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<()> {
        for slice in slices {
            let mut reader = self.cache.reader(&slice.unit)?;
            let mut at = slice.from;
            while slice.to.is_none_or(|to| at < to) {
                let most = slice.to.map_or(BUFFER, |to| (to - at).min(BUFFER));
                let mut bytes = vec![0; most as usize];
                let n = match reader.read(at, &mut bytes)? {
                    Ok(0) if slice.to.is_some() => return Err(Error::Network(slice.unit.path.clone())),
                    Ok(0) => break,
                    Ok(n) => n,
                    Err(_) => return Err(Error::Network(slice.unit.path.clone())),
                };
                bytes.truncate(n);
                at += n as u64;
                self.count(|tally| tally.served += n as u64);
                if !sink(bytes) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Bytes that are read at once.
const BUFFER: u64 = 64 << 10;

/// A link that rests after these bytes is no reason to lose them.
fn resting(_: Error) -> Result<()> {
    Ok(())
}

/// Reads metadata from one source, and keeps the roots that it went through.
struct Kept<'a, F> {
    place: &'a Place,
    inner: F,
    roots: Mutex<Vec<(String, Vec<u8>)>>,
}

impl<F: Fetch> Fetch for Kept<'_, F> {
    fn fetch(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let bytes = self.inner.fetch(path, limit)?;
        if let Some(bytes) = &bytes {
            self.place.allowance.spend(bytes.len() as u64).or_else(resting)?;
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
