//! What the writing side knows of the new file before the first symbol.

use crate::data::Cover;
use crate::elf::Parts;
use crate::file_view::FileView;
use crate::layout::NewUnit;
use crate::tables::Choices;
use crate::text::PlanRun;

/// The new file, and every decision about how it is told.
pub struct Plan<'a> {
    /// The new file.
    pub file: &'a FileView<'a>,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its headers.
    pub parts: Parts,
    /// Its units of code with their old ones.
    pub units: Vec<NewUnit>,
    /// Alignment of each unit that is not whole.
    pub runs: Vec<Vec<PlanRun>>,
    /// Sections with a model of their own.
    pub choices: Choices,
    /// Covers of the other regions, in file order.
    pub covers: Vec<Cover>,
}

/// The covers that begin inside `at..at + len`.
pub fn covers_of(covers: &[Cover], (at, len): (u32, u32)) -> &[Cover] {
    let from = covers.partition_point(|c| c.new_at < at);
    let to = covers.partition_point(|c| c.new_at < at + len);
    &covers[from..to]
}
