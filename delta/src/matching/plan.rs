//! Puts the matchers together: everything that the encoder decides before the first symbol is written.

use super::align::Aligner;
use super::bytes::ByteIndex;
use super::tokens::Tokens;
use super::{names, units};
use crate::data::Cover;
use crate::elf::{Region, RegionKind};
use crate::error::{Error, Result};
use crate::file_view::FileView;
use crate::layout::{NewUnit, OldImage};
use crate::pipeline::{Plan, data_regions};
use crate::predict::AddressMap;
use crate::tables::{Choices, Table, UnwindFit, go, index, jumps, relocations, symbols};
use crate::text::PlanRun;
use crate::{Options, Progress, threads};

/// Rounds of matching Go's data, each with words renewed by the covers of the one before.
const GO_ROUNDS: usize = 2;

/// Plans the patch from one ELF file to another; `None` where the new file is not modelled like the old one.
pub fn plan<'a>(
    old: &OldImage,
    old_bytes: &[u8],
    file: &'a FileView<'a>,
    bytes: &'a [u8],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Option<Plan<'a>>> {
    let Some(new) = OldImage::read(file)? else {
        return Ok(None);
    };
    if new.machine != old.machine {
        return Ok(None);
    }
    let symbols = options.symbols;
    let go_on = || {
        if progress.cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    };
    let unwind = UnwindFit::new(&new.elf, &new.code, bytes);
    let choices = Choices::new(&new.elf, |section, table| match table {
        Table::Functions => go::fits(new.machine, &new.elf, bytes),
        Table::Index => index::fits(&new.elf, section, bytes),
        Table::Relocations => relocations::fits(new.machine, &new.elf, section, bytes),
        Table::Symbols | Table::Names | Table::Hash | Table::Versions => {
            symbols::fits(&new.elf, bytes, table, section)
        }
        Table::Frames | Table::FrameIndex | Table::Exceptions => unwind.holds(section, table),
    });
    let regions = data_regions(old, &new, &choices);
    let Some(regions) = regions else { return Ok(None) };

    let old_tokens = Tokens::scan(old.machine, &old.code, old_bytes);
    let new_tokens = Tokens::scan(old.machine, &new.code, bytes);
    go_on()?;
    let old_names = names::of_units(&old.elf, &old.code, old_bytes, symbols.map(|s| s.0));
    let new_names = names::of_units(&new.elf, &new.code, bytes, symbols.map(|s| s.1));
    let paired = units::pair(&old_tokens, &new_tokens, (&old_names, &new_names));
    go_on()?;
    let aligner = Aligner::new((&old_tokens, old_bytes), (&new_tokens, bytes));
    let layout: Vec<NewUnit> = (new.code.units.iter().zip(&paired).enumerate())
        .map(|(index, (unit, source))| NewUnit {
            at: unit.at,
            size: unit.size,
            source: source.map_or(0, |j| j + 1),
            whole: source.is_some_and(|j| {
                old_tokens.unit_hash[j as usize] == new_tokens.unit_hash[index]
                    && old.code.units[j as usize].size == unit.size
                    && old.code.units[j as usize].other_mode == unit.other_mode
            }),
            other_mode: unit.other_mode,
        })
        .collect();
    // Each unit on its own, so the order in which threads take them changes nothing.
    let align = |index: usize| {
        if layout[index].whole || progress.cancelled() {
            Vec::new()
        } else {
            aligner.align(index, paired[index])
        }
    };
    let runs: Vec<Vec<PlanRun>> = threads::each(options.threads, layout.len(), align);
    go_on()?;
    drop(aligner);
    let map = code_map(old, &new, &layout, &runs, (&old_tokens, &new_tokens));
    drop((old_tokens, new_tokens));
    let covers = cover(old, old_bytes, &new, bytes, &regions, map);
    Ok(Some(Plan {
        file,
        bytes,
        parts: new.parts,
        units: layout,
        runs,
        choices,
        covers,
    }))
}

/// What the aligned code says of old and new addresses.
fn code_map(
    old: &OldImage,
    new: &OldImage,
    layout: &[NewUnit],
    runs: &[Vec<PlanRun>],
    (old_tokens, new_tokens): (&Tokens, &Tokens),
) -> AddressMap {
    let mut map = AddressMap::default();
    for (index, unit) in layout.iter().enumerate() {
        let Some(source) = unit.source.checked_sub(1) else {
            continue;
        };
        let at = old.code.units[source as usize].at;
        let (Some(from), Some(to)) = (old.code.addr(at), new.code.addr(unit.at)) else {
            continue;
        };
        map.add(from, to, if unit.whole { unit.size } else { 1 });
        for run in &runs[index] {
            let old_at = old_tokens.at[old_tokens.of(run.unit as usize).start + run.old as usize];
            let first = new_tokens.of(index).start + run.new as usize;
            let new_at = new_tokens.at[first];
            let end = new_tokens
                .at
                .get(first + run.len as usize)
                .map_or(unit.at + unit.size, |&e| e);
            if let (Some(from), Some(to)) = (old.code.addr(old_at), new.code.addr(new_at)) {
                map.add(from, to, end.saturating_sub(new_at));
            }
        }
    }
    map
}

/// Covers of the regions that are not code. Words that hold addresses are compared by where they point, so
/// the sections without such words come first.
fn cover(
    old: &OldImage,
    old_bytes: &[u8],
    new: &OldImage,
    bytes: &[u8],
    regions: &[(Region, u32)],
    mut map: AddressMap,
) -> Vec<Cover> {
    let old_data = data_regions(old, old, &Choices::default()).unwrap_or_default();
    let old_slots = relocations::slots_of(old.machine, &old.elf, old_bytes);
    let new_slots = relocations::slots_of(new.machine, &new.elf, bytes);
    let pointed = |image: &OldImage, slots: &[(u32, u32)], region: &Region| {
        let RegionKind::Section(i) = region.kind else {
            return false;
        };
        let s = &image.elf.sections[i];
        let first = slots.partition_point(|slot| u64::from(slot.0) < s.addr);
        s.is_loaded()
            && slots
                .get(first)
                .is_some_and(|slot| u64::from(slot.0) - s.addr < s.size)
    };
    let range = |r: &Region| r.offset as usize..(r.offset + r.len) as usize;

    let (with, without): (Vec<_>, Vec<_>) = old_data
        .iter()
        .map(|r| &r.0)
        .partition(|r| pointed(old, &old_slots, r));
    let mut covers = Vec::new();
    let find = |index: &ByteIndex, new_bytes: &[u8], with_words: bool, covers: &mut Vec<Cover>| {
        for (region, hint) in regions
            .iter()
            .filter(|r| pointed(new, &new_slots, &r.0) == with_words)
        {
            covers.extend(index.covers(new_bytes, range(region), Some(*hint as usize)));
        }
    };
    // Jump tables are made from the code, and routines from the index: to the matcher they are zero.
    let blank = |image: &OldImage, bytes: &[u8]| {
        let mut blanked = bytes.to_vec();
        let jumps = jumps::ranges(image.machine, &image.code, &image.addresses, bytes);
        let named = index::personalities(&image.elf, &image.addresses, bytes);
        for (at, len) in jumps.into_iter().chain(named) {
            blanked[at as usize..][..len as usize].fill(0);
        }
        blanked
    };
    let (old_blanked, blanked) = (blank(old, old_bytes), blank(new, bytes));
    let (old_bytes, bytes) = (&old_blanked[..], &blanked[..]);
    let plain: Vec<_> = without.iter().map(&range).collect();
    find(&ByteIndex::new(old_bytes, &plain), bytes, false, &mut covers);
    let learn = |map: &mut AddressMap, covers: &[Cover]| {
        for cover in covers {
            if let (Some(from), Some(to)) =
                (old.addresses.addr(cover.old_at), new.addresses.addr(cover.new_at))
            {
                map.add(from, to, cover.len);
            }
        }
    };
    if crate::elf::go::section(&new.elf).is_some() {
        // Go's offsets move with what they point to; once that is known, matching finds the rest.
        for _ in 0..GO_ROUNDS {
            let mut so_far = map.clone();
            learn(&mut so_far, &covers);
            so_far.settle();
            let renewed = go::words::renewed(old, new, &covers, &so_far, (old_bytes, bytes));
            covers.clear();
            find(&ByteIndex::new(&renewed, &plain), bytes, false, &mut covers);
        }
    }
    learn(&mut map, &covers);
    map.settle();
    let label = |image: &OldImage, labelled: &mut [u8], slots: &[(u32, u32)], to: &dyn Fn(u32) -> u32| {
        for &(addr, target) in slots {
            if let Some(word) = image
                .addresses
                .offset(addr)
                .and_then(|at| labelled.get_mut(at as usize..at as usize + 8))
            {
                word.copy_from_slice(&(u64::from(to(target)) | 0xe1 << 56).to_le_bytes());
            }
        }
    };
    let (mut old_labelled, mut new_labelled) = (old_blanked, blanked);
    label(old, &mut old_labelled, &old_slots, &|t| map.guess(t));
    label(new, &mut new_labelled, &new_slots, &|t| t);
    let words: Vec<_> = with.iter().map(range).collect();
    find(
        &ByteIndex::new(&old_labelled, &words),
        &new_labelled,
        true,
        &mut covers,
    );
    covers.sort_unstable_by_key(|c| c.new_at);
    covers
}
