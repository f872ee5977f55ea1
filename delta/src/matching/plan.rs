//! Puts the matchers together: everything that the encoder decides before the first symbol is written.

use super::align::Aligner;
use super::covers::{Side, Sides};
use super::tokens::Tokens;
use super::{names, units};
use crate::error::{Error, Result};
use crate::file_view::FileView;
use crate::layout::{NewUnit, OldImage};
use crate::pipeline::{Plan, data_regions};
use crate::place::UnitId;
use crate::predict::AddressMap;
use crate::tables::{Choices, Image, Table, Tables};
use crate::text::PlanRun;
use crate::{Options, Progress, threads};

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
    let choices = Tables::fitting(Image { image: &new, bytes });
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
            source: source.map(UnitId::of),
            unchanged: source.is_some_and(|j| {
                old_tokens.unit_hash[j as usize] == new_tokens.unit_hash[index]
                    && old.code.units[j as usize].size == unit.size
                    && old.code.units[j as usize].other_mode == unit.other_mode
            }),
            other_mode: unit.other_mode,
        })
        .collect();
    // Each unit on its own, so the order in which threads take them changes nothing.
    let align = |index: usize| {
        if layout[index].unchanged || progress.cancelled() {
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
    let old_regions = data_regions(old, old, &Choices::default()).unwrap_or_default();
    let sides = Sides {
        old: Side::of(old, old_bytes, &old_regions),
        new: Side::of(&new, bytes, &regions),
        relocated: choices.sections(Table::Relocations).next().is_some(),
    };
    let covers = sides.covers(map);
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
        let Some(source) = unit.source else {
            continue;
        };
        let at = old.code.units[source.index()].at;
        let (Some(from), Some(to)) = (old.code.addr(at), new.code.addr(unit.at)) else {
            continue;
        };
        map.add_start(from, to);
        if unit.unchanged {
            map.add(from, to, unit.size);
        }
        for run in &runs[index] {
            let old_at = old_tokens.at[old_tokens.of(run.unit.index()).start + run.old as usize];
            let first = new_tokens.of(index).start + run.new as usize;
            let new_at = new_tokens.at[first];
            let end = new_tokens
                .at
                .get(first + run.len as usize)
                .map_or(unit.at + unit.size, |&e| e);
            if let (Some(from), Some(to)) = (old.code.addr(old_at), new.code.addr(new_at)) {
                map.add(from, to, end.0.saturating_sub(new_at.0));
            }
        }
    }
    map
}
