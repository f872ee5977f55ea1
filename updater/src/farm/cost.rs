//! What making a step took: advice for who runs a farm, signed by nobody.

use crate::store::Store;
use crate::{Digest, Error, Result};
use serde::{Deserialize, Serialize};

/// The jobs behind a step, whoever did them: for this release, or for another that had the same files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// How many there were.
    pub jobs: u64,
    /// Their CPU time, microseconds.
    pub cpu_micros: u64,
}

/// Most bytes of a file of costs.
const LIMIT: u64 = 1 << 10;

/// Where the cost of a step is noted.
pub fn name(step: &Digest) -> String {
    format!("work/costs/{step}.json")
}

impl Cost {
    /// Adds a job.
    pub fn add(&mut self, cpu_micros: u64) {
        self.jobs += 1;
        self.cpu_micros = self.cpu_micros.saturating_add(cpu_micros);
    }

    /// Their CPU time in seconds.
    pub fn seconds(&self) -> f64 {
        self.cpu_micros as f64 / 1e6
    }

    /// Notes it as the cost of a step, unless one is noted.
    pub fn keep(&self, store: &dyn Store, step: &Digest) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
        store.put(&name(step), &text)
    }

    /// What was noted of a step, if anything was.
    pub fn load(store: &dyn Store, step: &Digest) -> Result<Option<Cost>> {
        let text = store.get(&name(step), LIMIT)?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }
}
