//! The link of a box: the sources at its end, what it may carry, and how fast it is.

use super::Settings;
use super::pace::{Clocked, Pace};
use crate::Result;
use crate::allowance::Allowance;
use crate::source::{self, Access, Sources};
use std::sync::{Arc, Mutex, PoisonError};

/// The link.
pub(super) struct Link {
    names: Vec<String>,
    access: Access,
    sources: Mutex<Arc<Sources>>,
    pub allowance: Allowance,
    pace: Mutex<Pace>,
}

impl Link {
    /// Opens the sources; nothing is asked yet.
    pub fn open(settings: &Settings) -> Result<Link> {
        let spent = settings.dir.join("spent");
        Ok(Link {
            allowance: Allowance::open(spent, settings.budget, settings.hours)?,
            sources: Mutex::new(Arc::new(source::open(&settings.sources, &settings.access)?)),
            names: settings.sources.clone(),
            access: settings.access.clone(),
            pace: Mutex::default(),
        })
    }

    /// The sources as they stand.
    pub fn sources(&self) -> Arc<Sources> {
        Arc::clone(&self.sources.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives sources that failed or lied another chance: a box runs for months.
    pub fn anew(&self) -> Result<()> {
        let anew = Arc::new(source::open(&self.names, &self.access)?);
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = anew;
        Ok(())
    }

    /// Takes in when the bytes of one answer came.
    pub fn learn(&self, answer: &Clocked) {
        self.pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .learn(answer);
    }

    /// Bytes per second and seconds of wait.
    pub fn told(&self) -> (f64, f64) {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).told()
    }
}
