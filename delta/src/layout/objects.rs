//! Function bounds of objects, which are not linked yet: their symbols say them.

use super::units::Function;
use crate::elf::Elf;
use crate::error::Result;
use crate::file_view::FileView;
use crate::machine::Machine;
use crate::place::Addr;
use std::cmp::Reverse;

const SHT_SYMTAB: u32 = 2;
/// Symbol type of a function.
const STT_FUNC: u8 = 2;

/// Function bounds, ascending and disjoint: of those that overlap the one that begins first, then the longest.
pub fn functions(file: &FileView, elf: &Elf, machine: Machine) -> Result<Vec<Function>> {
    let mut all = Vec::new();
    let row = if elf.numbers.is_64 { 24 } else { 16 };
    for table in elf
        .sections
        .iter()
        .filter(|s| s.kind == SHT_SYMTAB && s.in_file())
    {
        let rows = file.bytes(table.offset, table.size)?;
        all.extend(
            rows.chunks_exact(row)
                .filter_map(|row| function(elf, machine, row)),
        );
    }
    all.sort_unstable_by_key(|f| (f.addr, Reverse(f.size), f.other_mode));
    let mut end = 0u64;
    all.retain(|f| {
        let apart = u64::from(f.addr) >= end;
        if apart {
            end = u64::from(f.addr) + u64::from(f.size);
        }
        apart
    });
    Ok(all)
}

/// The function that a symbol names, if it does and stands in code of the file.
fn function(elf: &Elf, machine: Machine, row: &[u8]) -> Option<Function> {
    let number = |at: usize, len: usize| elf.numbers.get(&row[at..at + len]);
    let (info, section, value, size) = match elf.numbers.is_64 {
        true => (row[4], number(6, 2), number(8, 8), number(16, 8)),
        false => (row[12], number(14, 2), number(4, 4), number(8, 4)),
    };
    let section = elf.sections.get(section as usize)?;
    let is_code = section.is_executable() && section.in_file() && section.is_loaded();
    // An odd address is of the other instruction set.
    let odd = if machine.has_modes() { value & 1 } else { 0 };
    let inside = size > 0 && value <= section.size && size <= section.size - (value - odd);
    (info & 15 == STT_FUNC && is_code && inside).then(|| Function {
        addr: Addr((section.addr + (value - odd)) as u32),
        size: size as u32,
        other_mode: odd != 0,
    })
}
