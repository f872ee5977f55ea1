//! Code without its references: for each unit, which old instructions it repeats and which it brings.

mod body;
mod history;
mod listing;
mod literal;
mod marks;
mod ops;
mod recall;

pub use body::TextBody;
pub use listing::Listing;
pub use ops::{TextCoder, TextModels, Truth};

use crate::place::{Off, UnitId};

/// New code that lines up with old code, instruction by instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// File offset in the new file.
    pub new_at: Off,
    /// File offset in the old file.
    pub old_at: Off,
    /// Length in bytes in the new file.
    pub len: u32,
    /// Whether the bytes are the old ones, references aside; if not, they are literal and `old_at` is the
    /// one instruction that they replace.
    pub same: bool,
}

impl Run {
    /// Where it ends in the new and in the old file.
    fn ends(&self) -> (Off, Off) {
        (
            self.new_at.wrapping_add(self.len),
            self.old_at.wrapping_add(self.len),
        )
    }
}

/// A planned stretch of aligned instructions, in tokens counted from the start of the units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanRun {
    /// First token in the new unit.
    pub new: u32,
    /// Number of tokens.
    pub len: u32,
    /// Old unit.
    pub unit: UnitId,
    /// First token in the old unit.
    pub old: u32,
}
