//! What the site has measured of its own link and machine.

use super::Site;
use crate::source::Sources;
use crate::{Result, speed};
use serde::{Deserialize, Serialize};

/// Measurements, newest last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measures {
    /// (bytes, seconds) of the last large transfers.
    pub transfers: Vec<(u64, f64)>,
    /// Seconds from request to first byte of the last requests.
    pub waits: Vec<f64>,
    /// Time of the speed test, microseconds.
    pub self_test_us: u64,
    /// Factor between predicted and real apply time, from past updates.
    pub apply_bias: f64,
    /// Given instead of measured.
    #[serde(skip)]
    pub forced: Forced,
}

/// Figures that a user gives instead of the measured ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forced {
    /// Bytes per second.
    pub bandwidth: Option<f64>,
    /// Seconds per request.
    pub rtt: Option<f64>,
    /// How many times slower than the farm's machine.
    pub speed: Option<f64>,
}

/// Transfers below this say more of the round trip than of the bandwidth.
const LARGE: u64 = 16 << 10;
const KEPT: usize = 32;

impl Measures {
    /// Bytes per second; the guess until something large was transferred.
    pub fn bandwidth(&self, guess: f64) -> f64 {
        if let Some(b) = self.forced.bandwidth {
            return b.max(1.0);
        }
        let (bytes, seconds) = self
            .transfers
            .iter()
            .fold((0.0, 0.0), |(b, s), t| (b + t.0 as f64, s + t.1));
        if bytes > 0.0 && seconds > 0.0 {
            (bytes / seconds).max(1.0)
        } else {
            guess
        }
    }

    /// Seconds from request to answer: the lower quartile, as the first on a connection waits twice.
    pub fn rtt(&self, guess: f64) -> f64 {
        if let Some(r) = self.forced.rtt {
            return r;
        }
        let mut sorted = self.waits.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 4).copied().unwrap_or(guess)
    }

    /// How many times slower this machine applies than the farm's, whose test took `reference_us`.
    pub fn speed(&self, reference_us: u64) -> f64 {
        if let Some(k) = self.forced.speed {
            return k;
        }
        let bias = if self.apply_bias > 0.0 {
            self.apply_bias
        } else {
            1.0
        };
        self.self_test_us.max(1) as f64 / reference_us.max(1) as f64 * bias
    }

    /// Takes in what a run transferred.
    pub fn learn(&mut self, sources: &Sources) {
        for (bytes, wait, body) in sources.account().samples {
            self.waits.push(wait);
            if bytes >= LARGE {
                self.transfers.push((bytes, body));
            }
        }
        self.waits.drain(..self.waits.len().saturating_sub(KEPT));
        self.transfers.drain(..self.transfers.len().saturating_sub(KEPT));
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

impl Site {
    /// The stored measurements; the speed test is run once.
    pub fn measures(&self) -> Result<Measures> {
        let mut measures: Measures = self.read_state("measures.json")?.unwrap_or_default();
        if measures.self_test_us == 0 {
            measures.self_test_us = speed::self_test();
            self.save_measures(&measures)?;
        }
        Ok(measures)
    }

    pub(super) fn save_measures(&self, measures: &Measures) -> Result<()> {
        self.write_state("measures.json", measures)
    }
}
