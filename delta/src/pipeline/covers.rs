//! The covers of everything that is not code and has no model of its own.

use super::plan::covers_of;
use super::regions::{hints, place};
use super::{Facts, Io};
use crate::budget::Held;
use crate::code::{Stream, Symbols};
use crate::data::{Cover, CoverCoder};
use crate::error::Result;

/// The covers of the new file, in file order.
pub struct Covers<'b> {
    /// All of them.
    pub list: Vec<Cover>,
    _held: Held<'b>,
}

/// Codes the covers of every generic region.
pub fn code<'b, S: Symbols>(io: &mut Io<'b, S>, facts: &Facts) -> Result<Covers<'b>> {
    let mut stage = io.stage([Stream::Covers]);
    let mut coder = CoverCoder::new(facts.old.file.len() as u32, stage.account());
    let mut held = stage.account().held();
    let hints = hints(facts.old, &facts.new.pairs, &facts.new.regions);
    for (region, hint) in facts.new.regions.iter().zip(hints) {
        if !facts.is_data(region) {
            continue;
        }
        let place = place(region);
        let truth = facts.plan.map_or(&[][..], |p| covers_of(&p.covers, place));
        coder.region(stage.get(Stream::Covers), place, hint, truth, &mut held)?;
        stage.spent_on(&facts.shown(region), &[Stream::Covers]);
    }
    Ok(Covers {
        list: coder.covers,
        _held: held,
    })
}
