//! A box for a place: the repository as sites see it, fetched once over a bad link and served from there.
//!
//! It checks what it fetches by the signatures and digests that a site checks, so that a bad mirror spoils nothing for
//! the place; sites believe it no more than any other source.

mod cache;
mod link;
mod metadata;
mod pace;
mod server;
mod signed;
mod turns;
mod unit;

pub use crate::allowance::Hours;

use crate::disk::{self, Lock};
use crate::metrics::Metrics;
use crate::names::Follow;
use crate::source::Access;
use crate::{Error, Result, Watch, limits};
use cache::{Cache, Why};
use link::Link;
use metadata::Metadata;
use signed::Named;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
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

impl Tally {
    fn metrics(&self) -> String {
        let mut m = Metrics::default();
        m.counter(
            "elfup_box_fetched_bytes_total",
            "Bytes that came over the link.",
            self.fetched,
        );
        m.counter(
            "elfup_box_served_bytes_total",
            "Bytes that went to sites.",
            self.served,
        );
        m.counter("elfup_box_requests_total", "Requests of sites.", self.requests);
        let waiting: &[(&[(&str, &str)], f64)] = &[(&[], self.waiting as f64)];
        m.gauge(
            "elfup_box_waiting",
            "Pieces and files that are wanted and not there yet.",
            waiting,
        );
        m.text()
    }
}

/// A box at work.
pub struct Place {
    cache: Cache,
    link: Link,
    metadata: Metadata,
    tally: Mutex<Tally>,
    room: u64,
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
        disk::make_dirs_durably(&settings.dir)?;
        let lock = Lock::take(&settings.dir.join("lock"))?;
        Ok(Place {
            metadata: Metadata::open(&settings, root)?,
            cache: Cache::open(&settings.dir)?,
            link: Link::open(&settings)?,
            tally: Mutex::default(),
            room: settings.room,
            _lock: lock,
        })
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        let tally = *self.tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Tally {
            fetched: self.link.allowance.total(),
            waiting: self.cache.waiting(),
            ..tally
        }
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    /// Has what a finished unit tells known, and keeps to the room.
    fn finished(&self, unit: &Unit) -> Result<()> {
        if unit.path.starts_with("steps/")
            && let Some(bytes) = disk::read(&self.cache.whole(&unit.name()), limits::STEP)?
        {
            self.metadata.add_step(&bytes)?;
        }
        self.cache.make_room(self.room)
    }

    /// What a path and a range of bytes are answered with.
    fn answer(&self, path: &str, range: Option<(u64, Option<u64>)>, watch: &dyn Watch) -> Result<Answer> {
        self.count(|tally| tally.requests += 1);
        self.metadata.refresh(path, (&self.link, &self.cache), watch)?;
        let units = match self.metadata.named(path) {
            None => return Ok(Answer::Missing),
            Some(Named::Held) => {
                let bytes = self.metadata.held(path)?;
                return Ok(bytes.map_or(Answer::Missing, Answer::Small));
            }
            Some(Named::Units(units)) => units,
        };
        let (from, to) = range.unwrap_or((0, None));
        let mut slices = Vec::new();
        for unit in units.iter() {
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
                unit: unit.clone(),
            });
        }
        // All of them are wanted before the first is waited for, so that neighbours come in one request.
        for slice in &slices {
            self.cache.want(&slice.unit)?;
        }
        if let Some(slice) = slices.first() {
            let begun = self.cache.reader(&slice.unit)?.read(slice.from, &mut [0])?;
            match begun {
                Ok(_) => {}
                Err(Why::Missing) => return Ok(Answer::Missing),
                Err(why) => return Ok(Answer::Later(why)),
            }
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
