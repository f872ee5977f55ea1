//! Code without its references: for each unit, which old instructions it repeats and which it brings.

mod history;
mod listing;
mod literal;
mod marks;
mod ops;
mod recall;
mod shape;

pub use listing::Listing;
pub use literal::LiteralModels;
pub use ops::{OpModels, TextCoder, Truth};

/// New code that lines up with old code, instruction by instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// File offset in the new file.
    pub new_at: u32,
    /// File offset in the old file.
    pub old_at: u32,
    /// Length in bytes in the new file.
    pub len: u32,
    /// Whether the bytes are the old ones, references aside; if not, they are literal and `old_at` is the
    /// one instruction that they replace.
    pub same: bool,
}

/// All code of the new file, references blanked: what is in no `same` run is in `literals`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextBody {
    /// By position in the new file.
    pub runs: Vec<Run>,
    /// Bytes of instructions that no run repeats.
    pub literals: Vec<u8>,
}

/// A planned stretch of aligned instructions, in tokens counted from the start of the units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanRun {
    /// First token in the new unit.
    pub new: u32,
    /// Number of tokens.
    pub len: u32,
    /// Old unit.
    pub unit: u32,
    /// First token in the old unit.
    pub old: u32,
}
