//! The units of the new code, section by section.

use super::regions::code_sections;
use super::skeleton::NewFile;
use super::{Io, Plan};
use crate::budget::Held;
use crate::code::{Stream, Symbols};
use crate::error::Result;
use crate::layout::{CodeMap, CodeSection, LayoutCoder, NewUnit, OldImage, Unit};
use crate::place::Addr;

/// Where the code of the new file is, and which old code each unit continues.
pub struct Layout<'b> {
    /// Sections and units.
    pub code: CodeMap,
    /// The units, with their old ones.
    pub units: Vec<NewUnit>,
    _held: Vec<Held<'b>>,
}

impl Layout<'_> {
    /// The address of a unit; 0 where that has none.
    pub fn addr(&self, unit: &NewUnit) -> Addr {
        self.code.addr(unit.at).unwrap_or_default()
    }
}

impl Plan<'_> {
    /// The planned units of a section.
    fn units_of(&self, section: &CodeSection) -> &[NewUnit] {
        let of = |u: &NewUnit| u.at >= section.at && u.at - section.at < section.len;
        let from = self.units.iter().position(of).unwrap_or(self.units.len());
        let count = self.units[from..].iter().take_while(|u| of(u)).count();
        &self.units[from..from + count]
    }
}

/// Codes the units of every executable section.
pub fn code<'b, S: Symbols>(
    io: &mut Io<'b, S>,
    old: &OldImage,
    new: &NewFile,
    plan: Option<&Plan>,
) -> Result<Layout<'b>> {
    let mut stage = io.stage([]);
    let mut code = code_sections(&new.elf, &new.addresses);
    let mut units: Vec<NewUnit> = Vec::new();
    let mut coder = LayoutCoder::new(&old.code, old.machine.has_modes(), stage.account());
    let mut all_held = Vec::new();
    for section in &mut code.sections {
        let paired = new.pairs[section.section.index()];
        let old_section = old.code.sections.iter().find(|s| Some(s.section) == paired);
        let truth = plan.map_or(&[][..], |p| p.units_of(section));
        let first = units.len() as u32;
        let mut held = stage.account().held();
        let s = stage.get(Stream::Layout);
        units.extend(coder.section(s, old_section, section, truth, &mut held)?);
        stage.spent_on(&new.elf[section.section].shown(), &[Stream::Layout]);
        all_held.push(held);
        section.units = first..units.len() as u32;
    }
    let bounds = |u: &NewUnit| Unit {
        at: u.at,
        size: u.size,
        other_mode: u.other_mode,
    };
    code.units = units.iter().map(bounds).collect();
    Ok(Layout {
        code,
        units,
        _held: all_held,
    })
}
