//! What both sides read of the old file before the first symbol.

use super::{CodeMap, Function, entries, objects};
use crate::elf::{Elf, Parts, address::Addresses, frames, go};
use crate::error::Result;
use crate::file_view::FileView;
use crate::machine::Machine;

/// The old file, read.
pub struct OldImage<'a> {
    /// Its bytes.
    pub file: &'a FileView<'a>,
    /// Its headers as bytes.
    pub parts: Parts,
    /// Its section map.
    pub elf: Elf,
    /// Its loaded sections.
    pub addresses: Addresses,
    /// Its instruction set.
    pub machine: Machine,
    /// Its code.
    pub code: CodeMap,
}

impl<'a> OldImage<'a> {
    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.code.units.len() as u64 * 8 + self.parts.memory()
    }

    /// Reads a file; `Ok(None)` where it is no ELF of the kind that is modelled.
    pub fn read(file: &'a FileView<'a>) -> Result<Option<OldImage<'a>>> {
        let Some(elf) = Elf::read(file)? else {
            return Ok(None);
        };
        let class = if elf.numbers.is_64 { 2 } else { 1 };
        let Some(machine) = Machine::from_elf(elf.machine, class, !elf.numbers.big_endian) else {
            return Ok(None);
        };
        let Some(addresses) = Addresses::of(&elf) else {
            return Ok(None);
        };
        if elf.get(elf.names).is_none() || elf.regions(file.len()).is_none() {
            return Ok(None);
        }
        let code = CodeMap::new(&elf, &addresses, &functions(file, &elf, &addresses, machine)?);
        let parts = Parts::read(file, &elf)?;
        Ok(Some(OldImage {
            file,
            parts,
            elf,
            addresses,
            machine,
            code,
        }))
    }
}

/// Where the functions of a file are, ascending and disjoint.
fn functions(file: &FileView, elf: &Elf, addresses: &Addresses, machine: Machine) -> Result<Vec<Function>> {
    if elf.is_object() {
        return objects::functions(file, elf, machine);
    }
    let mut functions = Vec::new();
    if let Some(index) = elf.section(b".eh_frame").filter(|&i| elf[i].in_file()) {
        let section = &elf[index];
        functions = frames::functions(elf, index, &file.bytes(section.offset, section.size)?);
    }
    if functions.is_empty() {
        functions = go::functions(file, elf)?;
    }
    if functions.is_empty() && machine.has_modes() {
        return entries::functions(file, elf, addresses, machine);
    }
    Ok(functions.into_iter().filter_map(Function::of).collect())
}
