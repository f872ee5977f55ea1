//! The order of the stages, and what each hands to the next.

use super::pads::Pads;
use super::segments::{Segments, code_text};
use super::skeleton::{SkeletonModels, checked_elf, code_skeleton};
use crate::code::{Stream, Streams, Symbols};
use crate::data::{ByteModels, Cover, CoverModels, code_bytes, code_covers};
use crate::elf::{Elf, Parts, Region, RegionKind, address::Addresses};
use crate::file_view::FileView;
use crate::layout::{CodeMap, LayoutModels, NewUnit, OldImage, Unit, code_layout};
use crate::predict::{AddressMap, CodePass, OldCode, TargetModels, Targets};
use crate::recipe::{Recipe, Scripts};
use crate::tables::{Choices, Made, Table, Unwind, World, go, jumps, relocations, symbols};
use crate::text::PlanRun;
use crate::{Error, error::Result};

/// What the writing side knows of the new file.
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

/// Sections of the new file paired with old ones of the same name, first with first.
pub fn pair_sections(old: &Elf, new: &Elf) -> Vec<Option<usize>> {
    let mut taken = vec![false; old.sections.len()];
    let mut pairs = Vec::with_capacity(new.sections.len());
    for section in &new.sections {
        let free = |i: &usize| !taken[*i] && old.sections[*i].name == section.name;
        let found = (0..old.sections.len()).find(free);
        if let Some(i) = found {
            taken[i] = true;
        }
        pairs.push(found);
    }
    pairs
}

/// The code sections of a new file, without units.
pub fn code_sections(elf: &Elf, addresses: &Addresses) -> CodeMap {
    let mut map = CodeMap::new(elf, addresses, &[]);
    map.units.clear();
    map
}

/// Old offsets that are expected against the starts of the regions of a new file.
pub fn hints(old: &OldImage, pairs: &[Option<usize>], regions: &[Region]) -> Vec<u32> {
    let mut end = 0;
    let mut hint = |region: &Region| {
        let (start, len) = match region.kind {
            RegionKind::Section(i) => match pairs[i].map(|j| &old.elf.sections[j]).filter(|s| s.in_file()) {
                Some(s) => (s.offset, s.size),
                None => (end, 0),
            },
            RegionKind::Head => (0, old.elf.head_len),
            RegionKind::Table => old.elf.table,
            RegionKind::Gap => (end, region.len),
        };
        end = start + len;
        start.min(old.file.len()) as u32
    };
    regions.iter().map(&mut hint).collect()
}

/// Memory of the models of each step but those that count their own, in bytes.
const SMALL_MODELS: u64 = 3 << 20;
/// Memory of the models of bytes, and of the tables that are coded before them one by one.
const BYTE_MODELS: u64 = 8 << 20;

/// Codes a new file of `len` bytes and leaves the recipes that make it, in file order. A decoder may give
/// `segments` of code to be decoded at once.
pub fn code_image<'v, S: Symbols>(
    streams: &mut Streams<S>,
    segments: Option<&dyn Segments>,
    old: &OldImage<'v>,
    len: u64,
    plan: Option<&Plan>,
) -> Result<Scripts<'v>> {
    let budget = old.file.budget();
    let mut held_models = budget.held();
    held_models.set(SMALL_MODELS + old.memory())?;
    if len > u64::from(u32::MAX) {
        return Err(Error::DamagedPatch("a file of 4 GiB or more is not coded so"));
    }
    let empty = Parts::default();
    let known = plan.map_or(&empty, |p| &p.parts);
    let parts = code_skeleton(
        streams.get(Stream::Skeleton),
        &mut SkeletonModels::default(),
        &old.parts,
        known,
    )?;
    let elf = checked_elf(&parts, len)?;
    let damaged = || Error::DamagedPatch("its sections do not fit together");
    let addresses = Addresses::of(&elf).ok_or_else(damaged)?;
    let regions = elf.regions(len).ok_or_else(damaged)?;
    let pairs = pair_sections(&old.elf, &elf);
    let choices = Choices::code(streams.get(Stream::Skeleton), &elf, plan.map(|p| &p.choices))?;
    streams.account(&[Stream::Skeleton], HEADERS);

    // Layout: the units of every executable section.
    let mut code = code_sections(&elf, &addresses);
    let mut units: Vec<NewUnit> = Vec::new();
    let mut models = LayoutModels::default();
    let mut held_layout = Vec::new();
    for section in &mut code.sections {
        let paired = pairs[section.section];
        let old_section = old.code.sections.iter().find(|s| Some(s.section) == paired);
        let place = (section.at, section.len, section.addr);
        let truth = plan.map_or(&[][..], |p| {
            let of = |u: &NewUnit| u.at >= section.at && u.at - section.at < section.len;
            let from = p.units.iter().position(of).unwrap_or(p.units.len());
            let count = p.units[from..].iter().take_while(|u| of(u)).count();
            &p.units[from..from + count]
        });
        let first = units.len() as u32;
        let mut held = budget.held();
        units.extend(code_layout(
            streams.get(Stream::Layout),
            &mut models,
            &old.code,
            old_section,
            place,
            truth,
            &mut held,
        )?);
        streams.account(&[Stream::Layout], &elf.sections[section.section].shown());
        held_layout.push(held);
        section.units = (first, units.len() as u32);
    }
    code.units = units
        .iter()
        .map(|u| Unit {
            at: u.at,
            size: u.size,
        })
        .collect();

    // Text: the code without its references.
    drop(models);
    budget.stage("code", units.len() as u64);
    let mut held_body = budget.held();
    let body = code_text(
        streams,
        segments,
        old,
        (&elf, &code),
        &units,
        plan,
        &mut held_body,
    )?;

    // Covers of everything else.
    let mut covers = Vec::new();
    let mut held_covers = budget.held();
    let mut models = CoverModels::default();
    let hints = hints(old, &pairs, &regions);
    let data = |r: &(&Region, u32)| is_data(r.0, &elf, &code, &choices);
    for (region, hint) in regions.iter().zip(hints).filter(data) {
        let place = (region.offset as u32, region.len as u32);
        let truth = plan.map_or(&[][..], |p| {
            let from = p.covers.partition_point(|c| c.new_at < place.0);
            let to = p.covers.partition_point(|c| c.new_at < place.0 + place.1);
            &p.covers[from..to]
        });
        let old_len = old.file.len() as u32;
        code_covers(
            streams.get(Stream::Covers),
            &mut models,
            place,
            old_len,
            hint,
            truth,
            &mut covers,
            &mut held_covers,
        )?;
        streams.account(&[Stream::Covers], &shown(region, &elf));
    }
    streams.get(Stream::Covers).close();

    // The static projection.
    let old_code = OldCode {
        machine: old.machine,
        file: old.file,
        map: &old.code,
    };
    let place = |at: u32| code.addr(at).unwrap_or(0);
    let mut map = AddressMap::default();
    let mut held_map = budget.held();
    held_map
        .set(AddressMap::memory_of(body.len() + units.len() + covers.len() + elf.sections.len()) * 3 / 2)?;
    CodePass::cover_map(old_code, &units, &body, place, &mut map);
    cover_map(old, &elf, &addresses, &pairs, &covers, &mut map);
    map.settle();
    held_map.set(map.memory())?;

    // References of the code.
    let starts: Vec<u32> = units.iter().map(|u| place(u.at)).collect();
    let mut world = World {
        old,
        elf: &elf,
        pairs: &pairs,
        choices: &choices,
        addresses: &addresses,
        covers: &covers,
        code: &code,
        units: &units,
        truth: plan.map(|p| p.bytes),
        targets: Targets::new(old_code, &map, &starts),
    };
    let mut made = Made::default();
    let mut jump_models = jumps::JumpModels::default();
    let mut unwind = Unwind::start(streams, &mut world)?;
    let mut pass = CodePass::new(old_code, &body);
    let mut models = TargetModels::default();
    let mut held_code = budget.held();
    budget.stage("references", len);
    let mut functions = go::Functions::begin(streams.get(Stream::Go), &world)?;
    for section in &code.sections {
        let mut recipe = Recipe::default();
        let mut cursor = section.at;
        let mut pads = Pads::default();
        for index in section.units.0..section.units.1 {
            let unit = &units[index as usize];
            let before = index
                .checked_sub(1)
                .filter(|&i| i >= section.units.0)
                .map(|i| &units[i as usize]);
            pads.fill(
                streams.get(Stream::Layout),
                old,
                (cursor, unit.at),
                before,
                plan,
                &mut recipe,
            )?;
            let truth = plan.map(|p| &p.bytes[unit.at as usize..(unit.at + unit.size) as usize]);
            let addr = place(unit.at);
            let s = streams.get(Stream::Targets);
            pass.unit(s, &mut models, &mut world.targets, unit, addr, truth, &mut recipe)?;
            let mut view = pass.view(unit, addr);
            jumps::unit(
                streams.get(Stream::Jumps),
                &mut jump_models,
                &mut world,
                &mut view,
                &mut made,
            )?;
            if let Some(functions) = &mut functions {
                functions.unit(streams.get(Stream::Go), world.targets.map(), &mut view)?;
            }
            unwind.unit(streams, &mut world, &mut view, index)?;
            let go = functions.as_ref().map_or(0, |f| f.memory());
            let tables = made.memory() + unwind.memory() + go;
            let code = recipe.memory() + pass.memory() + world.targets.memory();
            held_code.set(models.memory() + tables + code)?;
            budget.go_on(1 + functions.as_mut().map_or(0, |f| f.work()))?;
            budget.at(u64::from(unit.at));
            cursor = unit.at + unit.size;
        }
        let end = section.at + section.len;
        let last = section
            .units
            .1
            .checked_sub(1)
            .filter(|&i| i >= section.units.0)
            .map(|i| &units[i as usize]);
        pads.fill(
            streams.get(Stream::Layout),
            old,
            (cursor, end),
            last,
            plan,
            &mut recipe,
        )?;
        let name = elf.sections[section.section].shown();
        streams.account(&[Stream::Layout, Stream::Targets], &name);
        recipe.finish();
        made.sections.push((section.section, recipe));
    }
    drop((pass, models, jump_models));
    drop((body, held_body));
    streams.account(&[Stream::Jumps], "(jump tables)");
    for stream in [Stream::Layout, Stream::Targets, Stream::Jumps] {
        streams.get(stream).close();
    }
    budget.stage("tables", 0);
    let go = functions.as_ref().map_or(0, |f| f.memory());
    held_code.set(made.memory() + world.targets.memory() + unwind.memory() + go)?;
    unwind.finish(streams, &world, &mut made)?;
    let names = |tables: &[Table]| choices.shown(tables, &elf);
    streams.account(&[Stream::Unwind], &names(&[Table::Frames, Table::FrameIndex]));
    streams.account(&[Stream::Exceptions], &names(&[Table::Exceptions]));
    held_code.set(made.memory() + world.targets.memory() + go)?;
    if let Some(functions) = functions {
        functions.finish(streams.get(Stream::Go), &world, &mut made)?;
        streams.account(&[Stream::Go], &names(&[Table::Functions]));
    }
    held_code.set(made.memory() + world.targets.memory() + BYTE_MODELS)?;
    go::words::code(streams.get(Stream::Go), &mut world, &mut made)?;
    streams.account(&[Stream::Go], "(words of Go's data)");
    held_code.set(made.memory() + world.targets.memory() + BYTE_MODELS)?;
    relocations::code(streams.get(Stream::Pointers), &mut world, &mut made)?;
    streams.account(&[Stream::Pointers], &names(&[Table::Relocations]));
    held_code.set(made.memory() + world.targets.memory() + BYTE_MODELS)?;
    symbols::code(streams.get(Stream::Symbols), &world, &mut made)?;
    let tables = [Table::Symbols, Table::Names, Table::Hash, Table::Versions];
    streams.account(&[Stream::Symbols], &names(&tables));
    held_code.set(made.memory() + BYTE_MODELS)?;
    for stream in [
        Stream::Unwind,
        Stream::Exceptions,
        Stream::Go,
        Stream::Pointers,
        Stream::Symbols,
    ] {
        streams.get(stream).close();
    }
    drop(world);
    drop((map, held_map));

    // Everything else, and all recipes in file order.
    made.known.settle();
    let mut models = ByteModels::default();
    let (mut recipes, mut held_recipes) = (Vec::new(), budget.held());
    let mut done = 0;
    for region in &regions {
        let mut recipe = Recipe::default();
        let mut held = budget.held();
        let place = (region.offset as u32, region.len as u32);
        match region.kind {
            RegionKind::Head => recipe.literal(&parts.head),
            RegionKind::Table => recipe.literal(&parts.table),
            RegionKind::Section(i) if i == elf.names => recipe.literal(&parts.names),
            RegionKind::Section(i) if !is_data(region, &elf, &code, &choices) => {
                recipe = made.take(i).ok_or_else(damaged)?;
            }
            _ => {
                let from = covers.partition_point(|c| c.new_at < place.0);
                let to = covers.partition_point(|c| c.new_at < place.0 + place.1);
                let truth = plan.map(|p| &p.bytes[place.0 as usize..(place.0 + place.1) as usize]);
                let s = streams.get(Stream::Bytes);
                code_bytes(
                    s,
                    &mut models,
                    old.file,
                    place,
                    &covers[from..to],
                    &made.known,
                    truth,
                    &mut recipe,
                    &mut held,
                )?;
                streams.account(&[Stream::Bytes], &shown(region, &elf));
            }
        }
        recipe.finish();
        drop(held);
        held_code.set(made.memory() + BYTE_MODELS)?;
        done += recipe.memory();
        held_recipes.set(done)?;
        recipes.push(recipe);
    }
    Ok((recipes, held_recipes))
}

/// Whether a region goes through covers and bytes.
pub fn is_data(region: &Region, elf: &Elf, code: &CodeMap, choices: &Choices) -> bool {
    match region.kind {
        RegionKind::Head | RegionKind::Table => false,
        RegionKind::Section(i) => {
            i != elf.names && choices.of(i).is_none() && code.sections.iter().all(|s| s.section != i)
        }
        RegionKind::Gap => true,
    }
}

/// What the parts of a file are called that are in no section, in reports.
const HEADERS: &str = "(headers)";

fn shown(region: &Region, elf: &Elf) -> String {
    match region.kind {
        RegionKind::Section(i) => elf.sections[i].shown(),
        RegionKind::Head | RegionKind::Table => HEADERS.into(),
        RegionKind::Gap => "(gaps)".into(),
    }
}

/// Adds what the covers, and failing them the section pairs, say of old and new addresses.
fn cover_map(
    old: &OldImage,
    elf: &Elf,
    addresses: &Addresses,
    pairs: &[Option<usize>],
    covers: &[Cover],
    map: &mut AddressMap,
) {
    let mut by_offset: Vec<_> = addresses
        .ranges()
        .iter()
        .filter_map(|r| Some((r.offset?, r.len, r.addr)))
        .collect();
    by_offset.sort_unstable();
    let mut old_by_offset: Vec<_> = old
        .addresses
        .ranges()
        .iter()
        .filter_map(|r| Some((r.offset?, r.len, r.addr)))
        .collect();
    old_by_offset.sort_unstable();
    let addr = |ranges: &[(u32, u32, u32)], at: u32| {
        let after = ranges.partition_point(|r| r.0 <= at);
        let (offset, len, addr) = ranges[after.checked_sub(1)?];
        (at - offset < len).then(|| addr + (at - offset))
    };
    for cover in covers {
        if let (Some(from), Some(to)) = (addr(&old_by_offset, cover.old_at), addr(&by_offset, cover.new_at)) {
            map.add(from, to, cover.len);
        }
    }
    for (new, old_index) in pairs.iter().enumerate().filter_map(|(n, o)| Some((n, (*o)?))) {
        let (from, to) = (&old.elf.sections[old_index], &elf.sections[new]);
        if from.is_loaded() && to.is_loaded() && !to.in_file() {
            map.add(from.addr as u32, to.addr as u32, from.size as u32);
        }
    }
}

/// The regions of a new file that go through covers, with the old offsets expected against their starts.
pub fn data_regions(old: &OldImage, new: &OldImage, choices: &Choices) -> Option<Vec<(Region, u32)>> {
    let pairs = pair_sections(&old.elf, &new.elf);
    let code = code_sections(&new.elf, &new.addresses);
    let regions = new.elf.regions(new.file.len())?;
    let hints = hints(old, &pairs, &regions);
    let all = regions.into_iter().zip(hints);
    Some(
        all.filter(|(region, _)| is_data(region, &new.elf, &code, choices))
            .collect(),
    )
}
