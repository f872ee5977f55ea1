//! What the site has measured of its own link and machine.

use super::notes::{Note, Notes};
use crate::source::{LINK, Sources};
use crate::{Result, speed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Measurements.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measures {
    /// By the name of the source: a site that was installed from a stick knows nothing of its link yet.
    pub links: BTreeMap<String, Link>,
    /// Time of the speed test, microseconds.
    pub self_test_us: u64,
    /// Factor between predicted and real apply time, from past updates.
    pub apply_bias: f64,
    /// Given instead of measured.
    #[serde(skip)]
    pub forced: Forced,
}

/// What was measured on the way to one source, newest last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Link {
    /// (bytes, seconds) of the last large transfers.
    pub transfers: Vec<(u64, f64)>,
    /// Seconds from request to first byte of the last requests.
    pub waits: Vec<f64>,
}

/// Figures that a user gives instead of the measured ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forced {
    /// Bytes per second.
    pub bandwidth: Option<f64>,
    /// Seconds per request.
    pub rtt: Option<f64>,
    /// How many times slower than the nominal machine.
    pub speed: Option<f64>,
}

/// Transfers below this say more of the round trip than of the bandwidth.
const LARGE: u64 = 16 << 10;
const KEPT: usize = 32;

impl Measures {
    /// Those that are stored; the speed test is run once.
    pub(super) fn load(notes: &Notes) -> Result<Measures> {
        let mut measures: Measures = notes.read(Note::Measures)?.unwrap_or_default();
        if measures.self_test_us == 0 {
            measures.self_test_us = speed::self_test();
            measures.save(notes)?;
        }
        Ok(measures)
    }

    /// Stores them.
    pub(super) fn save(&self, notes: &Notes) -> Result<()> {
        notes.write(Note::Measures, self)
    }

    /// The first source that ever answered is the one that the next bytes will come from.
    fn link(&self, sources: &Sources) -> (Option<&Link>, usize) {
        let known = (0..sources.len()).find_map(|i| Some((self.links.get(sources.name(i))?, i)));
        known.map_or((None, 0), |(link, index)| (Some(link), index))
    }

    /// Bytes per second; the source's guess until something large was transferred. A box may be near, but what the
    /// place pays for is its link: no more than that counts.
    pub fn bandwidth(&self, sources: &Sources) -> f64 {
        if let Some(b) = self.forced.bandwidth {
            return b.max(1.0);
        }
        let (link, index) = self.link(sources);
        let transfers = link.map_or(&[][..], |l| &l.transfers).iter();
        let (bytes, seconds) = transfers.fold((0.0, 0.0), |(b, s), t| (b + t.0 as f64, s + t.1));
        let measured = match bytes > 0.0 && seconds > 0.0 {
            true => (bytes / seconds).max(1.0),
            false => sources.source(index).map_or(LINK, |s| s.guess()).0,
        };
        let behind = sources.source(index).and_then(|s| s.behind());
        behind.map_or(measured, |(rate, _)| rate.min(measured))
    }

    /// Seconds from request to answer: the lower quartile, as the first on a connection waits twice.
    pub fn rtt(&self, sources: &Sources) -> f64 {
        if let Some(r) = self.forced.rtt {
            return r;
        }
        let (link, index) = self.link(sources);
        let mut sorted = link.map_or(Vec::new(), |l| l.waits.clone());
        sorted.sort_by(f64::total_cmp);
        let measured = sorted.get(sorted.len() / 4).copied();
        let measured = measured.unwrap_or(sources.source(index).map_or(LINK, |s| s.guess()).1);
        let behind = sources.source(index).and_then(|s| s.behind());
        behind.map_or(measured, |(_, wait)| wait.max(measured))
    }

    /// How many times slower this machine applies than the nominal machine, whose test took `nominal_micros`.
    pub fn speed(&self, nominal_micros: u64) -> f64 {
        if let Some(k) = self.forced.speed {
            return k;
        }
        let bias = if self.apply_bias > 0.0 {
            self.apply_bias
        } else {
            1.0
        };
        self.self_test_us.max(1) as f64 / nominal_micros.max(1) as f64 * bias
    }

    /// Takes in what a run transferred.
    pub fn learn(&mut self, sources: &Sources) {
        for sample in sources.account().samples {
            let link = self
                .links
                .entry(sources.name(sample.source).to_owned())
                .or_default();
            link.waits.push(sample.wait);
            if sample.bytes >= LARGE {
                link.transfers.push((sample.bytes, sample.body));
            }
        }
        for link in self.links.values_mut() {
            link.waits.drain(..link.waits.len().saturating_sub(KEPT));
            link.transfers.drain(..link.transfers.len().saturating_sub(KEPT));
        }
        // Sources that are no longer configured are forgotten.
        self.links
            .retain(|name, _| (0..sources.len()).any(|i| sources.name(i) == name));
    }

    /// Takes in predicted and real seconds of applying.
    pub fn learn_apply(&mut self, predicted: f64, real: f64) {
        if predicted > 0.01 && real > 0.01 {
            let old = if self.apply_bias > 0.0 {
                self.apply_bias
            } else {
                1.0
            };
            self.apply_bias = (old * (real / predicted).sqrt()).clamp(0.1, 20.0);
        }
    }
}
