//! What becomes of an object's symbols, and of its old rows for code, which no table of the new file need be paired with.

use super::super::relocations::{Form, Row};
use super::super::{Made, World};
use crate::elf::{Elf, Section};
use crate::error::Result;
use crate::place::{Addr, SectionId};
use crate::tables::names::NONE;
use crate::tables::symbols::{section_of, went};

/// Both files' symbols that the rows of some tables name, and the old rows for code that name them.
#[derive(Debug, Default)]
pub struct Names {
    /// New symbol for each old one, or [`NONE`].
    of_old: Vec<u32>,
    /// The section whose symbol it is, or 0.
    pub old: Vec<u16>,
    pub new: Vec<u16>,
    /// By where their fields go.
    pub code: Vec<Old>,
}

/// A row of the old file; of a table for code with what becomes of its field.
#[derive(Clone, Copy, Debug, Default)]
pub struct Old {
    pub row: Row,
    /// Where the field goes, and whether no cover says so.
    pub place: Addr,
    pub unsure: bool,
    /// Times that a field stood before the last one in its table so far: assemblers write some rows behind the others.
    pub run: u32,
}

/// The old table of symbols that a new one continues.
fn continued(world: &World, link: SectionId) -> Option<SectionId> {
    let old = (*world.pairs.get(link.index())?)?;
    world.old.elf[old].in_file().then_some(old)
}

/// The old tables for code whose rows name symbols of that table, with where that code is.
fn of_code(elf: &Elf, symbols: SectionId) -> impl Iterator<Item = (&Section, Form, Addr)> {
    elf.ids().zip(&elf.sections).filter_map(move |(table, s)| {
        let form = Form::of_object(elf, s).filter(|_| s.link == symbols)?;
        let code = target(elf, table).filter(|s| is_code(s))?;
        Some((s, form, Addr(code.addr as u32)))
    })
}

impl Names {
    /// The names of the tables that name symbols of that new table.
    pub fn of(world: &World, link: SectionId, made: &Made) -> Result<Names> {
        let mut names = Names::default();
        let (elf, mut rows_of_old) = (&world.old.elf, Vec::new());
        if let Some(symbols) = continued(world, link) {
            let s = &elf[symbols];
            let was = world.old.file.bytes(s.offset, s.size)?;
            names.old = section_of(elf, &was);
            names.code = code_rows(world, symbols)?;
            rows_of_old = was;
        }
        if let Some((_, rows)) = made.symbols.iter().find(|(table, _)| *table == link) {
            names.new = section_of(world.elf, &rows.bytes);
            names.of_old = vec![NONE; names.old.len()];
            for (new, &old) in rows.source.iter().enumerate() {
                if let Some(place) = names.of_old.get_mut(old as usize) {
                    *place = new as u32;
                }
            }
            let map = world.targets.map();
            let files = [(elf, &rows_of_old[..]), (world.elf, &rows.bytes[..])];
            went(files, &|addr| map.project(addr), &mut names.of_old);
        }
        Ok(names)
    }

    /// Bytes of memory that making them takes at most.
    pub fn needs(world: &World, link: SectionId) -> u64 {
        let elf = &world.old.elf;
        let Some(symbols) = continued(world, link) else {
            return 0;
        };
        let rows = |(s, form, _): (&Section, Form, Addr)| s.size + s.size / form.row() as u64 * 3 * ROW;
        let new = world.elf.get(link).map_or(0, |s| s.size);
        3 * elf[symbols].size + new + of_code(elf, symbols).map(rows).sum::<u64>()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        2 * (2 * self.of_old.len() + self.old.len() + self.new.len()) as u64 + ROW * self.code.len() as u64
    }

    /// What an old symbol became; itself where that is not known.
    pub fn now(&self, old: u64) -> u64 {
        let new = self.of_old.get(usize::try_from(old).unwrap_or(usize::MAX));
        new.filter(|&&new| new != NONE).map_or(old, |&new| new.into())
    }
}

/// Bytes of an old row that is kept.
pub const ROW: u64 = size_of::<Old>() as u64;

/// The old rows for code, by where their fields go.
fn code_rows(world: &World, symbols: SectionId) -> Result<Vec<Old>> {
    let map = world.targets.map();
    let mut all = Vec::new();
    for (s, form, addr) in of_code(&world.old.elf, symbols) {
        let bytes = world.old.file.bytes(s.offset, s.size)?;
        world.account.go_on(1 + s.size / form.row() as u64 / 16)?;
        let rows = form.rows(world.old.machine, &bytes, &|_| None);
        let (mut last, mut run) = (0, 0);
        all.extend(rows.map(|row| {
            let addr = addr.wrapping_add(row.offset as u32);
            run += u32::from(row.offset < last);
            last = row.offset;
            Old {
                row,
                place: map.guess(addr),
                unsure: map.project(addr).is_none(),
                run,
            }
        }));
    }
    all.sort_by_key(|old| (old.place, old.unsure));
    Ok(all)
}

/// The section that a table is for.
pub fn target(elf: &Elf, table: SectionId) -> Option<&Section> {
    elf.get(SectionId(elf[table].info))
}

/// Whether a section is code.
pub fn is_code(section: &Section) -> bool {
    section.is_loaded() && section.is_executable()
}
