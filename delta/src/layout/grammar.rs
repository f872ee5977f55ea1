//! The layout stream: for each new unit its old unit, its size and the padding before it.

use super::{CodeMap, CodeSection, LONGEST_UNIT, NewUnit, Unit};
use crate::budget::{Budget, Held, Lent};
use crate::code::{Symbols, hash, symbols};
use crate::place::{Addr, Off, UnitId};
use crate::{Error, error::Result};

symbols! {
    /// Models of the layout stream. `h`: for each of the last four units whether it continued the expected one, the
    /// last one lowest. `wholes`: for each unit with a source so far whether it is unchanged, the last one lowest.
    struct LayoutModels {
        count(6, 255) {
            /// Units of the section, against the old one's.
            count: signed by() [0];
        }
        next(14, 255) {
            /// The unit continues the expected one.
            next: flag by(h: u32, wholes: u32) [hash(1, h & 3), hash(2, h), hash(3, wholes & 7 | h << 3 & 0x18)];
        }
        kind(10, 255) {
            /// How the source is coded.
            kind: tree(2) by(h: u32) [hash(1, 0), hash(2, h)];
        }
        skip(12, 255) {
            /// Old units that are skipped.
            skip: number by(h: u32) [0, 1 + (h & 3)];
        }
        jump(14, 255) {
            /// The source against the expected unit.
            jump: signed by() [0];
        }
        unchanged(14, 255) {
            /// The unit is unchanged. `follows`: it continues the expected one. `small`: a sixteenth of the source's
            /// size, at most 15; 0 without a source.
            unchanged: flag by(wholes: u32, follows: bool, small: u32)
                [hash(1, wholes & 7), hash(2, wholes & 63), hash(3, u32::from(follows)), hash(4, small)];
        }
        size(18, 255) {
            /// Size against the source's.
            change: signed by(small: u32) [0, hash(2, small)];
            /// Size of a unit without a source.
            size: number by() [1, 2];
        }
        gap(16, 255) {
            /// The gap before the unit, against what `alignment` makes it, which is `predicted`.
            gap: signed by(alignment: u32, predicted: u32, follows: bool)
                [hash(1, alignment), hash(2, alignment << 8 | predicted & 63), hash(3, u32::from(follows))];
        }
        mode(6, 255) {
            /// The unit is of the expected of two instruction sets, which is the second if `expected`: that of the
            /// source, else that of the unit before.
            mode: flag by(known: bool, expected: bool) [2 * u32::from(known) + u32::from(expected)];
        }
    }
}

/// Alignment that most units of a section keep.
fn usual_alignment(old: &CodeMap, section: &CodeSection) -> u32 {
    let units = &old.units[section.units.start as usize..section.units.end as usize];
    let aligned = |a: u32| {
        units
            .iter()
            .filter(|u| (section.addr + (u.at - section.at)).0.is_multiple_of(a))
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

/// Codes the units of one section after the other.
pub struct LayoutCoder<'o> {
    m: Lent<'o, LayoutModels>,
    old: &'o CodeMap,
    /// Whether units are of one of two instruction sets.
    modes: bool,
}

/// Where the next unit of a section is expected, and how it went so far.
struct Course {
    /// Alignment of most units of the old section.
    usual: u32,
    /// The old unit that the next one continues, if all goes on.
    expected: i64,
    /// Whether each unit so far continued the expected one, and whether each was unchanged; the last one lowest.
    history: u32,
    wholes: u32,
    /// Mode of the last unit.
    mode: bool,
}

/// The old unit of a new one, by index, and whether it was the expected one.
struct Source {
    index: i64,
    unit: Option<(usize, Unit)>,
    follows: bool,
}

impl<'o> LayoutCoder<'o> {
    /// At the first section.
    pub fn new(old: &'o CodeMap, modes: bool, account: &'o Budget) -> Self {
        LayoutCoder {
            m: account.lend(),
            old,
            modes,
        }
    }

    /// Codes the units of one new section, counted in `held`; `truth` holds them on the writing side.
    pub fn section<S: Symbols>(
        &mut self,
        s: &mut S,
        old_section: Option<&CodeSection>,
        section: &CodeSection,
        truth: &[NewUnit],
        held: &mut Held,
    ) -> Result<Vec<NewUnit>> {
        let (at, len, addr) = (section.at, section.len, section.addr);
        let range = old_section.map_or(0..0, |section| section.units.clone());
        let mut course = Course {
            usual: old_section.map_or(16, |section| usual_alignment(self.old, section)),
            expected: i64::from(range.start),
            history: 0,
            wholes: 0,
            mode: false,
        };
        let usual_count = i64::from(range.end - range.start);
        let count = self.m.count(s, truth.len() as i64 - usual_count) + usual_count;
        if count < 0 || count > i64::from(len) {
            return Err(Error::damaged("a section has an impossible number of functions"));
        }
        let mut units = Vec::new();
        let mut cursor = at;
        for index in 0..count as usize {
            let t = truth.get(index).copied().unwrap_or_default();
            let source = self.source(s, &mut course, &t)?;
            let (unchanged, size) = self.size(s, &mut course, &source, &t);
            let other_mode = self.mode(s, &mut course, &source, &t);
            let (predicted, gap) = self.gap(s, &course, &source, (cursor, addr + (cursor - at)), &t);
            let start = i64::from(cursor).saturating_add(predicted).saturating_add(gap);
            let end = start.saturating_add(size);
            let too_long = size > i64::from(LONGEST_UNIT);
            if start < i64::from(cursor)
                || size < 1
                || too_long
                || end > i64::from(at) + i64::from(len)
                || s.exhausted()
            {
                return Err(Error::damaged("a function lies outside its section"));
            }
            units.push(NewUnit {
                at: Off(start as u32),
                size: size as u32,
                source: source.unit.map(|(index, _)| UnitId::of(index as u32)),
                unchanged,
                other_mode,
            });
            cursor = Off(end as u32);
            if units.len() % CHECKED == 0 {
                held.set(units.len() as u64 * UNIT_MEMORY)?;
            }
            if source.index >= 0 {
                course.expected = source.index + 1;
            }
        }
        held.set(units.len() as u64 * UNIT_MEMORY)?;
        Ok(units)
    }

    /// Codes which old unit a new one continues.
    fn source<S: Symbols>(&mut self, s: &mut S, course: &mut Course, t: &NewUnit) -> Result<Source> {
        let m = &mut self.m;
        let expected = course.expected;
        let fits = |source: i64| source >= 0 && source < self.old.units.len() as i64;
        let known = t.source.map_or(-1, |source| i64::from(source.number()));
        let h = course.history & 15;
        let follows = fits(expected) && m.next(s, h, course.wholes, known == expected);
        let index = if follows {
            expected
        } else {
            let kind = kind_of(known, expected);
            match m.kind(s, h, kind) {
                0 => -1,
                1 => {
                    let skip = (known - expected - 1).max(0) as u64;
                    let skip = m.skip(s, h, skip);
                    expected
                        .saturating_add(1)
                        .saturating_add(skip.min(1 << 40) as i64)
                }
                _ => expected.saturating_add(m.jump(s, known - expected)),
            }
        };
        if index != -1 && !fits(index) {
            return Err(Error::damaged("a function continues one that is not there"));
        }
        course.history = course.history << 1 | u32::from(follows);
        Ok(Source {
            index,
            unit: usize::try_from(index).ok().map(|i| (i, self.old.units[i])),
            follows,
        })
    }

    /// Codes whether a unit is unchanged, and its size.
    fn size<S: Symbols>(
        &mut self,
        s: &mut S,
        course: &mut Course,
        source: &Source,
        t: &NewUnit,
    ) -> (bool, i64) {
        let m = &mut self.m;
        let from = source.unit;
        let small = from.map_or(0, |(_, u)| (u.size / 16).min(15));
        let unchanged = from.is_some() && m.unchanged(s, course.wholes, source.follows, small, t.unchanged);
        if from.is_some() {
            course.wholes = course.wholes << 1 | u32::from(unchanged);
        }
        let size = match from {
            Some((_, u)) if unchanged => i64::from(u.size),
            Some((_, u)) => {
                let change = i64::from(t.size) - i64::from(u.size);
                let change = m.change(s, small, change);
                i64::from(u.size).saturating_add(change)
            }
            None => m.size(s, u64::from(t.size)).min(1 << 40) as i64,
        };
        (unchanged, size)
    }

    /// Codes which of two instruction sets a unit is of: that of the old unit if it is unchanged.
    fn mode<S: Symbols>(&mut self, s: &mut S, course: &mut Course, source: &Source, t: &NewUnit) -> bool {
        if !self.modes {
            return false;
        }
        let expected = source.unit.map_or(course.mode, |(_, unit)| unit.other_mode);
        let same = self
            .m
            .mode(s, source.unit.is_some(), expected, t.other_mode == expected);
        course.mode = expected == same;
        course.mode
    }

    /// Codes the padding before a unit, as alignment predicts it and the rest; `cursor` is where that begins, by
    /// offset and address.
    fn gap<S: Symbols>(
        &mut self,
        s: &mut S,
        course: &Course,
        source: &Source,
        cursor: (Off, Addr),
        t: &NewUnit,
    ) -> (i64, i64) {
        let (at, here) = cursor;
        let alignment = source.unit.map_or(course.usual, |(i, u)| {
            expected_alignment(self.old, i, u.at, course.usual)
        });
        let predicted = here.0.next_multiple_of(alignment) - here.0;
        let gap = i64::from(t.at) - i64::from(at) - i64::from(predicted);
        let gap = self.m.gap(s, alignment, predicted, source.follows, gap);
        (i64::from(predicted), gap)
    }
}

fn kind_of(known: i64, expected: i64) -> u32 {
    match known {
        -1 => 0,
        k if k > expected && k - expected < 64 => 1,
        _ => 2,
    }
}

/// What the new unit is aligned to, going by the old one.
fn expected_alignment(old: &CodeMap, index: usize, at: Off, usual: u32) -> u32 {
    let Some(section) = old.section_at(at) else {
        return usual;
    };
    let addr = section.addr + (at - section.at);
    let before = match index.checked_sub(1) {
        Some(previous) if index as u32 > section.units.start => at - old.units[previous].end(),
        _ => 0,
    };
    let kept = 1u32 << addr.0.trailing_zeros().min(6);
    if before >= 16 { kept } else { kept.min(usual) }
}
