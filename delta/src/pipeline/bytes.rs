//! The bytes of what is left, and all recipes in file order.

use super::covers::Covers;
use super::plan::covers_of;
use super::regions::place;
use super::tables::Finished;
use super::{Facts, Io};
use crate::code::{Stream, Symbols};
use crate::data::{ByteCoder, Piece};
use crate::elf::RegionKind;
use crate::recipe::{Recipe, Scripts};
use crate::{Error, error::Result};

/// Codes the bytes of the generic regions and puts every region's recipe in its place.
pub fn code<'b, S: Symbols>(
    io: &mut Io<'b, S>,
    facts: &Facts,
    covers: &Covers,
    finished: Finished,
) -> Result<Scripts<'b>> {
    let Finished {
        mut made,
        held: _held,
    } = finished;
    made.known.settle();
    let mut coder = ByteCoder::new(facts.old.file, io.account);
    let (mut recipes, mut held_recipes) = (Vec::new(), io.account.held());
    let mut done = 0;
    for region in &facts.new.regions {
        let mut recipe = Recipe::default();
        let mut held_recipe = io.account.held();
        let parts = &facts.new.parts;
        match region.kind {
            RegionKind::Head => recipe.literal(&parts.head),
            RegionKind::Table => recipe.literal(&parts.table),
            RegionKind::Section(i) if i == facts.new.elf.names => recipe.literal(&parts.names),
            RegionKind::Section(i) if !facts.is_data(region) => {
                let damaged = Error::damaged("its sections do not fit together");
                recipe = made.take(i).ok_or(damaged)?;
            }
            _ => {
                let place = place(region);
                let piece = Piece {
                    at: place.at,
                    len: place.len,
                    covers: covers_of(&covers.list, place),
                    known: &made.known,
                    truth: facts.plan.map(|p| &p.bytes[place.range()]),
                };
                let s = io.streams.get(Stream::Bytes);
                coder.piece(s, &piece, &mut recipe, &mut held_recipe)?;
                io.streams.account(&[Stream::Bytes], &facts.shown(region));
            }
        }
        recipe.finish();
        drop(held_recipe);
        made.count_rest()?;
        done += recipe.memory();
        held_recipes.set(done)?;
        recipes.push(recipe);
    }
    Ok((recipes, held_recipes))
}
