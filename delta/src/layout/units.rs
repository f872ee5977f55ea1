//! Executable sections cut into units: functions, and the stretches between them that are no padding.

use crate::elf::{Elf, address::Addresses};
use crate::place::{Addr, Off, SectionId, Span};
use std::ops::Range;

/// Consecutive bytes of code that are matched and coded together, usually a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Unit {
    /// File offset of the first byte.
    pub at: Off,
    /// Length in bytes.
    pub size: u32,
    /// Whether it is of the other one of two instruction sets, as [`crate::machine::Machine::in_mode`] has it.
    pub other_mode: bool,
}

/// Where a function is, and of which instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Address of its first byte.
    pub addr: Addr,
    /// Length in bytes.
    pub size: u32,
    /// As [`Unit::other_mode`].
    pub other_mode: bool,
}

impl Function {
    /// By address and length, where there is one instruction set; `None` where that is no address of the image.
    pub fn of((addr, size): (u64, u32)) -> Option<Function> {
        let addr = addr.try_into().ok()?;
        Some(Function {
            addr,
            size,
            other_mode: false,
        })
    }
}

impl Unit {
    /// File offset behind the last byte.
    pub fn end(&self) -> Off {
        self.at + self.size
    }
}

/// One executable section and its units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeSection {
    /// Section index.
    pub section: SectionId,
    /// File offset.
    pub at: Off,
    /// Length in bytes.
    pub len: u32,
    /// Address of the first byte.
    pub addr: Addr,
    /// The numbers of its units.
    pub units: Range<u32>,
}

/// All executable sections of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeMap {
    /// In file order.
    pub sections: Vec<CodeSection>,
    /// In file order.
    pub units: Vec<Unit>,
}

/// Gaps between functions below this many bytes are padding.
const LONGEST_PAD: u32 = 64;
/// Longest unit, in bytes: one is held at a time. Longer stretches are cut at multiples of it.
pub const LONGEST_UNIT: u32 = 1 << 20;

impl CodeMap {
    /// Cuts the executable sections at the bounds of functions, which ascend and are disjoint.
    pub fn new(elf: &Elf, addresses: &Addresses, functions: &[Function]) -> CodeMap {
        let mut map = CodeMap::default();
        let mut ranges: Vec<_> = addresses.ranges().to_vec();
        ranges.sort_by_key(|r| r.offset);
        for range in ranges {
            let Some(at) = range.offset else { continue };
            if !elf[range.section].is_executable() {
                continue;
            }
            let first = map.units.len() as u32;
            let (begin, end) = (
                u64::from(range.addr),
                u64::from(range.addr) + u64::from(range.len),
            );
            let from = functions.partition_point(|f| u64::from(f.addr) < begin);
            let mut cursor = begin;
            // What is between functions is taken for what was before it, or else for what comes.
            let first_one = functions.get(from).filter(|f| u64::from(f.addr) < end);
            let mut mode = first_one.is_some_and(|f| f.other_mode);
            let place = |a: u64| at + (a - begin) as u32;
            for &Function {
                addr: start,
                size,
                other_mode,
            } in &functions[from..]
            {
                let start = u64::from(start);
                let stop = start + u64::from(size);
                if start < cursor || stop > end {
                    continue;
                }
                map.gap((place(cursor), place(start)), at, mode);
                mode = other_mode;
                map.unit(place(start), size, mode);
                cursor = stop;
            }
            map.gap((place(cursor), place(end)), at, mode);
            let units = first..map.units.len() as u32;
            let section = range.section;
            map.sections.push(CodeSection {
                section,
                at,
                len: range.len,
                addr: range.addr,
                units,
            });
        }
        map
    }

    /// Makes a unit of what lies between two functions, unless it can only be padding.
    fn gap(&mut self, (from, to): (Off, Off), section_at: Off, mode: bool) {
        let starts_section = from == section_at && from < to;
        if !starts_section && to - from < LONGEST_PAD {
            return;
        }
        let at = if starts_section {
            from
        } else {
            Off((from.0 + 15) & !15)
        };
        self.unit(at, to - at, mode);
    }

    /// Makes a unit, or several where it would be too long.
    fn unit(&mut self, mut at: Off, mut size: u32, other_mode: bool) {
        while size > LONGEST_UNIT {
            self.units.push(Unit {
                at,
                size: LONGEST_UNIT,
                other_mode,
            });
            (at, size) = (at + LONGEST_UNIT, size - LONGEST_UNIT);
        }
        self.units.push(Unit { at, size, other_mode });
    }

    /// The code section that holds a file offset.
    pub fn section_at(&self, at: Off) -> Option<&CodeSection> {
        let after = self.sections.partition_point(|s| s.at <= at);
        let section = &self.sections[after.checked_sub(1)?];
        (at - section.at < section.len).then_some(section)
    }

    /// Index of the unit that holds a file offset.
    pub fn unit_at(&self, at: Off) -> Option<usize> {
        let index = self.units.partition_point(|u| u.at <= at).checked_sub(1)?;
        (at - self.units[index].at < self.units[index].size).then_some(index)
    }

    /// Address of a file offset inside an executable section.
    pub fn addr(&self, at: Off) -> Option<Addr> {
        self.section_at(at).map(|s| s.addr + (at - s.at))
    }

    /// The padding between a unit and the next one, or the section's end.
    pub fn pad_after(&self, unit: usize) -> Span<Off> {
        let from = self.units[unit].end();
        let to = match self.section_at(self.units[unit].at) {
            Some(s) if (unit as u32) + 1 < s.units.end => self.units[unit + 1].at,
            Some(s) => s.at + s.len,
            None => from,
        };
        Span::new(from, to.0.saturating_sub(from.0))
    }
}
