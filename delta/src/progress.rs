//! Progress and cancellation, one trait for both directions.

/// What a long call is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Checking the old file against the patch.
    Check,
    /// Unpacking a packed old file.
    Open,
    /// Finding what of the new file is in the old one.
    Match,
    /// Code without its references.
    Code,
    /// References between code and data.
    References,
    /// Tables of relocations, symbols, names.
    Tables,
    /// Comparing with the whole file, packed.
    Compare,
    /// Writing the new file.
    Write,
}

impl Stage {
    /// A word or a few for it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Check => "check the old file",
            Stage::Open => "open the old file",
            Stage::Match => "match",
            Stage::Code => "code",
            Stage::References => "references",
            Stage::Tables => "tables",
            Stage::Compare => "compare",
            Stage::Write => "write",
        }
    }
}

/// Receives progress of a long call and may end it.
pub trait Progress: Sync {
    /// Tells the stage that begins and its length in bytes (0: unknown).
    fn stage(&self, _stage: Stage, _total: u64) {}
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
