//! The static projection: what layout, text and covers say of old and new addresses.

use super::Facts;
use super::covers::Covers;
use super::segments::Text;
use crate::budget::{Budget, Held};
use crate::data::Cover;
use crate::elf::address::Addresses;
use crate::error::Result;
use crate::place::{Addr, Off, Span};
use crate::predict::{AddressMap, CodePass};

/// The projection, held in memory.
pub struct Projection<'b> {
    /// Old addresses to new ones.
    pub map: AddressMap,
    _held: Held<'b>,
}

/// Puts the projection together.
pub fn of<'b>(
    account: &'b Budget<'b>,
    facts: &Facts,
    text: &Text,
    covers: &Covers,
) -> Result<Projection<'b>> {
    let (layout, body) = (facts.layout, &text.body);
    let mut map = AddressMap::default();
    let mut held = account.held();
    let spans = body.len() + layout.units.len() + covers.list.len() + facts.new.elf.sections.len();
    held.set(AddressMap::memory_of(spans) * 3)?;
    let place = |at: Off| layout.code.addr(at).unwrap_or_default();
    CodePass::cover_map(facts.old_code(), &layout.units, body, place, &mut map);
    cover_map(facts, &covers.list, &mut map);
    map.settle();
    held.set(map.memory())?;
    Ok(Projection { map, _held: held })
}

/// Sections in the file, by offset: place and address.
fn by_offset(addresses: &Addresses) -> Vec<(Span<Off>, Addr)> {
    let ranges = addresses.ranges().iter();
    let mut all: Vec<_> = ranges
        .filter_map(|r| Some((Span::new(r.offset?, r.len), r.addr)))
        .collect();
    all.sort_unstable();
    all
}

/// Adds what the covers, and failing them the section pairs, say of old and new addresses.
fn cover_map(facts: &Facts, covers: &[Cover], map: &mut AddressMap) {
    let (old, new) = (facts.old, facts.new);
    let (old_ranges, new_ranges) = (by_offset(&old.addresses), by_offset(&new.addresses));
    let addr = |ranges: &[(Span<Off>, Addr)], at: Off| {
        let after = ranges.partition_point(|r| r.0.at <= at);
        let (place, addr) = ranges[after.checked_sub(1)?];
        place.holds(at).then(|| addr + (at - place.at))
    };
    for cover in covers {
        if let (Some(from), Some(to)) = (addr(&old_ranges, cover.old_at), addr(&new_ranges, cover.new_at)) {
            map.add(from, to, cover.len);
        }
    }
    let pairs = new.elf.ids().zip(&new.pairs);
    for (new_index, old_index) in pairs.filter_map(|(n, o)| Some((n, (*o)?))) {
        let (from, to) = (&old.elf[old_index], &new.elf[new_index]);
        if from.is_loaded() && to.is_loaded() && !to.in_file() {
            map.add(Addr(from.addr as u32), Addr(to.addr as u32), from.size as u32);
        }
    }
}
