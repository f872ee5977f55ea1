//! A source over a link that is not used at all hours, nor without end.

use super::{Outcome, Sink, Source, Span};
use crate::allowance::Allowance;
use crate::{Error, Result, Watch};
use std::sync::Arc;

/// Another source, of which no more is taken than may be.
pub struct Rationed {
    source: Box<dyn Source>,
    allowance: Arc<Allowance>,
}

impl Rationed {
    /// Has what comes from a source counted.
    pub fn new(source: Box<dyn Source>, allowance: Arc<Allowance>) -> Rationed {
        Rationed { source, allowance }
    }
}

/// Whether a file is counted, but always asked for: it tells whether there is something urgent.
fn always(path: &str) -> bool {
    path.starts_with("tuf/") || path.starts_with("channels/")
}

impl Source for Rationed {
    fn name(&self) -> &str {
        self.source.name()
    }
    fn read(&self, path: &str, span: Span, watch: &dyn Watch, sink: Sink) -> Result<Outcome> {
        let may = || match self.allowance.rests().filter(|_| !always(path)) {
            Some(why) => Err(Error::Network(format!("{path} ({}: {why})", self.name()))),
            None => Ok(()),
        };
        may()?;
        self.source.read(path, span, watch, &mut |bytes| {
            may()?;
            self.allowance.count(bytes.len() as u64)?;
            sink(bytes)
        })
    }
    fn guess(&self) -> (f64, f64) {
        self.source.guess()
    }
    fn behind(&self) -> Option<(f64, f64)> {
        self.source.behind()
    }
    fn hurry(&self) {
        self.allowance.hurry();
    }
}
