//! What the writing side knows of the new file before the first symbol.

use crate::data::Cover;
use crate::elf::Parts;
use crate::file_view::FileView;
use crate::layout::NewUnit;
use crate::place::{Off, Span};
use crate::tables::Choices;
use crate::text::PlanRun;

/// The new file, and every decision about how it is coded.
pub struct Plan<'a> {
    /// The new file.
    pub file: &'a FileView<'a>,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its headers.
    pub parts: Parts,
    /// Its units of code with their old ones.
    pub units: Vec<NewUnit>,
    /// Alignment of each unit that is not unchanged.
    pub runs: Vec<Vec<PlanRun>>,
    /// Sections with a model of their own.
    pub choices: Choices,
    /// Covers of the other regions, in file order.
    pub covers: Vec<Cover>,
}

/// The covers that begin inside a stretch.
pub fn covers_of(covers: &[Cover], place: Span<Off>) -> &[Cover] {
    let from = covers.partition_point(|c| c.new_at < place.at);
    let to = covers.partition_point(|c| c.new_at < place.end());
    &covers[from..to]
}
