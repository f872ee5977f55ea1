//! Where the functions are: units of code, and the new layout coded in terms of the old one.

mod entries;
mod grammar;
mod objects;
mod old;
mod units;

pub use grammar::LayoutCoder;
pub use old::OldImage;
pub use units::{CodeMap, CodeSection, Function, LONGEST_UNIT, Unit};

use crate::place::{Off, UnitId};

/// A unit of the new file as the layout stream tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NewUnit {
    /// File offset of its first byte.
    pub at: Off,
    /// Length in bytes.
    pub size: u32,
    /// The old unit that it continues.
    pub source: Option<UnitId>,
    /// Whether it has the instructions of that unit, references aside.
    pub unchanged: bool,
    /// As [`Unit::other_mode`].
    pub other_mode: bool,
}
