//! Progress and cancellation, one trait for both directions.

/// Receives progress of a long call and may end it.
pub trait Progress: Sync {
    /// Names the stage that begins and its length in bytes (0: unknown).
    fn stage(&self, _name: &'static str, _total: u64) {}
    /// Tells how many bytes of the current stage are done.
    fn at(&self, _done: u64) {}
    /// Asked often; `true` ends the call with [`crate::Error::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

/// No progress, never cancelled.
pub struct Silent;
impl Progress for Silent {}
