//! Everything that is not code and has no model of its own: covers, and bytes against them.

mod bytes;
mod corrections;
mod covers;
mod echo;
mod known;
mod literals;

pub use bytes::{ByteCoder, Piece};
pub use covers::{CoverCoder, Lines};
pub use known::Known;

use crate::place::Off;

/// A stretch of the new file explained by one of the old file, up to mismatches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// File offset in the new file.
    pub new_at: Off,
    /// File offset in the old file.
    pub old_at: Off,
    /// Length in bytes.
    pub len: u32,
}
