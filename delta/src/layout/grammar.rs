//! The layout stream: for each new unit its old unit, its size and the padding before it.

use super::{CodeMap, CodeSection, NewUnit};
use crate::budget::Held;
use crate::code::{Model, Symbols, hash};
use crate::{Error, error::Result};

/// Models of the layout stream.
#[derive(Debug)]
pub struct LayoutModels {
    count: Model,
    next: Model,
    kind: Model,
    skip: Model,
    jump: Model,
    whole: Model,
    size: Model,
    gap: Model,
}

impl Default for LayoutModels {
    fn default() -> Self {
        LayoutModels {
            count: Model::new(1, 6, 255),
            next: Model::new(3, 14, 255),
            kind: Model::new(2, 10, 255),
            skip: Model::new(2, 12, 255),
            jump: Model::new(1, 14, 255),
            whole: Model::new(4, 14, 255),
            size: Model::new(2, 18, 255),
            gap: Model::new(3, 16, 255),
        }
    }
}

/// Alignment that most units of a section keep.
fn usual_alignment(old: &CodeMap, section: &CodeSection) -> u32 {
    let units = &old.units[section.units.0 as usize..section.units.1 as usize];
    let aligned = |a: u32| {
        units
            .iter()
            .filter(|u| (u.at - section.at + section.addr).is_multiple_of(a))
            .count()
    };
    let most = units.len() - units.len() / 10;
    [16, 8, 4, 2]
        .into_iter()
        .find(|&a| !units.is_empty() && aligned(a) >= most)
        .unwrap_or(1)
}

/// Bytes that a unit takes: itself, its bounds and its address.
const UNIT_MEMORY: u64 = 28;
/// Units between two looks at how much memory they take.
const CHECKED: usize = 1 << 12;

/// Codes the units of one new section, counted in `held`; `truth` holds them on the writing side.
pub fn code_layout<S: Symbols>(
    s: &mut S,
    m: &mut LayoutModels,
    old: &CodeMap,
    old_section: Option<&CodeSection>,
    section: (u32, u32, u32),
    truth: &[NewUnit],
    held: &mut Held,
) -> Result<Vec<NewUnit>> {
    let (at, len, addr) = section;
    let usual = old_section.map_or(16, |section| usual_alignment(old, section));
    let range = old_section.map_or((0, 0), |section| section.units);
    let usual_count = range.1 - range.0;
    let count = s.signed(&mut m.count, &[0], truth.len() as i64 - i64::from(usual_count));
    let count = count + i64::from(usual_count);
    if count < 0 || count > i64::from(len) {
        return Err(Error::DamagedPatch(
            "a section has an impossible number of functions",
        ));
    }
    let mut units = Vec::new();
    let mut cursor = at;
    let mut expected = i64::from(range.0);
    let mut history = 0u32;
    let mut wholes = 0u32;
    for index in 0..count as usize {
        let t = truth.get(index).copied().unwrap_or_default();
        let fits = |source: i64| source >= 0 && source < old.units.len() as i64;
        let known = i64::from(t.source) - 1;
        let h = history & 15;
        let contexts = [hash(1, h & 3), hash(2, h), hash(3, wholes & 7 | h << 3 & 0x18)];
        let follows = fits(expected) && s.flag(&mut m.next, &contexts, known == expected);
        let source = if follows {
            expected
        } else {
            match s.tree(
                &mut m.kind,
                &[hash(1, 0), hash(2, h)],
                2,
                kind_of(known, expected),
            ) {
                0 => -1,
                1 => {
                    let skip = s.number(
                        &mut m.skip,
                        &[0, 1 + (h & 3)],
                        (known - expected - 1).max(0) as u64,
                    );
                    expected
                        .saturating_add(1)
                        .saturating_add(skip.min(1 << 40) as i64)
                }
                _ => expected.saturating_add(s.signed(&mut m.jump, &[0], known - expected)),
            }
        };
        if source != -1 && !fits(source) {
            return Err(Error::DamagedPatch("a function continues one that is not there"));
        }
        history = history << 1 | u32::from(follows);
        let from = usize::try_from(source).ok().map(|i| (i, old.units[i]));
        let small = from.map_or(0, |(_, u)| (u.size / 16).min(15));
        let contexts = [
            hash(1, wholes & 7),
            hash(2, wholes & 63),
            hash(3, u32::from(follows)),
            hash(4, small),
        ];
        let whole = from.is_some() && s.flag(&mut m.whole, &contexts, t.whole);
        if from.is_some() {
            wholes = wholes << 1 | u32::from(whole);
        }
        let size = match from {
            Some((_, u)) if whole => i64::from(u.size),
            Some((_, u)) => {
                let change = s.signed(
                    &mut m.size,
                    &[0, hash(2, small)],
                    i64::from(t.size) - i64::from(u.size),
                );
                i64::from(u.size).saturating_add(change)
            }
            None => s.number(&mut m.size, &[1, 2], u64::from(t.size)).min(1 << 40) as i64,
        };
        let alignment = from.map_or(usual, |(i, u)| expected_alignment(old, i, u.at, usual));
        let here = addr + (cursor - at);
        let predicted = here.next_multiple_of(alignment) - here;
        let contexts = [
            hash(1, alignment),
            hash(2, alignment << 8 | predicted & 63),
            hash(3, u32::from(follows)),
        ];
        let gap = s.signed(
            &mut m.gap,
            &contexts,
            i64::from(t.at) - i64::from(cursor) - i64::from(predicted),
        );
        let start = i64::from(cursor)
            .saturating_add(i64::from(predicted))
            .saturating_add(gap);
        let end = start.saturating_add(size);
        if start < i64::from(cursor) || size < 1 || end > i64::from(at) + i64::from(len) || s.exhausted() {
            return Err(Error::DamagedPatch("a function lies outside its section"));
        }
        units.push(NewUnit {
            at: start as u32,
            size: size as u32,
            source: (source + 1) as u32,
            whole,
        });
        cursor = end as u32;
        if units.len() % CHECKED == 0 {
            held.set(units.len() as u64 * UNIT_MEMORY)?;
        }
        if source >= 0 {
            expected = source + 1;
        }
    }
    held.set(units.len() as u64 * UNIT_MEMORY)?;
    Ok(units)
}

fn kind_of(known: i64, expected: i64) -> u32 {
    match known {
        -1 => 0,
        k if k > expected && k - expected < 64 => 1,
        _ => 2,
    }
}

/// What the new unit is aligned to, going by the old one.
fn expected_alignment(old: &CodeMap, index: usize, at: u32, usual: u32) -> u32 {
    let Some(section) = old.section_at(at) else {
        return usual;
    };
    let addr = section.addr + (at - section.at);
    let before = match index.checked_sub(1) {
        Some(previous) if index as u32 > section.units.0 => at - old.units[previous].end(),
        _ => 0,
    };
    let kept = 1u32 << addr.trailing_zeros().min(6);
    if before >= 16 { kept } else { kept.min(usual) }
}
