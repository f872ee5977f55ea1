//! How long work tells of itself and is told to stop.

/// Receives notes and progress; may ask for an end.
pub trait Watch: Sync {
    /// One line worth keeping in a log.
    fn note(&self, _line: &str) {}
    /// `done` of `total` units of a stage.
    fn progress(&self, _stage: &str, _done: u64, _total: u64) {}
    /// Asked often; `true` ends the work with [`crate::Error::Cancelled`] in a consistent state.
    fn cancelled(&self) -> bool {
        false
    }
    /// Fails once a stop was asked for.
    fn check(&self) -> crate::Result<()> {
        if self.cancelled() {
            return Err(crate::Error::Cancelled);
        }
        Ok(())
    }
}

/// Says nothing, never stops.
pub struct Quiet;
impl Watch for Quiet {}

/// Hands the wish to stop to the engine.
pub(crate) struct ForEngine<'a>(pub &'a dyn Watch);
impl elfdelta::Progress for ForEngine<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
