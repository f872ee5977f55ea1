//! Where the functions are: units of code, and the new layout told in terms of the old one.

mod entries;
mod grammar;
mod objects;
mod old;
mod units;

pub use grammar::LayoutCoder;
pub use old::OldImage;
pub use units::{CodeMap, CodeSection, Function, LONGEST_UNIT, Unit};

/// A unit of the new file as the layout stream tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NewUnit {
    /// File offset of its first byte.
    pub at: u32,
    /// Length in bytes.
    pub size: u32,
    /// Index of the old unit that it continues, plus one; 0 for none.
    pub source: u32,
    /// Whether it has the instructions of that unit, references aside.
    pub whole: bool,
    /// As [`Unit::other_mode`].
    pub other_mode: bool,
}
