//! The price of bytes, requests, applying and reading on this site: one formula for every option.

use super::config::Objective;
use super::measures::Measures;
use crate::source::Sources;

/// What one option uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Use {
    /// Bytes over the network.
    pub bytes: u64,
    /// Requests of its own (ranges of a pack share theirs).
    pub requests: u64,
    /// Seconds of applying or unpacking on this machine.
    pub apply: f64,
    /// Bytes read from the local disk.
    pub read: u64,
    /// Peak memory, bytes.
    pub memory: u64,
    /// Disk needed until done, bytes.
    pub scratch: u64,
    /// Disk needed only while it is rebuilt, bytes.
    pub passing: u64,
}

/// What the site's measurements say things cost.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Rates {
    /// Bytes per second of the link.
    pub bandwidth: f64,
    /// Seconds per request.
    pub rtt: f64,
    /// Bytes per second of the disk.
    pub disk: f64,
    /// How many times slower than the machine on which unpacking was timed.
    pub speed: f64,
    /// What is made small.
    pub objective: Objective,
}

/// Bytes per second that zstd unpacks on a machine like the nominal one.
const UNPACK: f64 = 400e6;
/// Bytes per second of a disk until somebody measures it: an eMMC's reading.
const DISK: f64 = 80e6;

impl Rates {
    /// Of a link, on a machine like the nominal one.
    pub fn nominal(bandwidth: f64, rtt: f64) -> Rates {
        Rates {
            bandwidth,
            rtt,
            disk: DISK,
            speed: 1.0,
            objective: Objective::Time,
        }
    }

    /// From the site's measurements; `nominal_micros` is the speed test of the nominal machine (0: unknown).
    pub fn new(measures: &Measures, sources: &Sources, nominal_micros: u64, objective: Objective) -> Rates {
        let speed = if nominal_micros > 0 || measures.forced.speed.is_some() {
            measures.speed(nominal_micros)
        } else {
            1.0
        };
        Rates {
            bandwidth: measures.bandwidth(sources),
            rtt: measures.rtt(sources),
            disk: DISK,
            speed,
            objective,
        }
    }

    /// Seconds to unpack so many plain bytes.
    pub fn unpack(&self, plain: u64) -> f64 {
        plain as f64 / UNPACK * self.speed
    }

    /// bytes / bandwidth + requests * rtt + apply + bytes read / disk rate.
    pub fn seconds(&self, u: &Use) -> f64 {
        u.bytes as f64 / self.bandwidth + u.requests as f64 * self.rtt + u.apply + u.read as f64 / self.disk
    }

    /// What is compared: seconds, or bytes with seconds deciding between equals.
    pub fn cost(&self, u: &Use) -> f64 {
        match self.objective {
            Objective::Time => self.seconds(u),
            // A request costs a few hundred bytes of headers.
            Objective::Bytes => u.bytes as f64 + 300.0 * u.requests as f64 + self.seconds(u) * 1e-6,
        }
    }
}
