//! Function bounds of machines whose files may have no table of them: from symbols, unwind indices, relocations and
//! calls.
//!
//! Addresses of code say by their lowest bit of which instruction set a function is; an index of unwind entries does
//! not, so it takes what is known of the function before.

use super::units::Function;
use crate::elf::{Elf, Section, address::Addresses};
use crate::error::Result;
use crate::file_view::FileView;
use crate::machine::Machine;
use crate::place::Addr;

const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHT_REL: u32 = 9;
const SHT_DYNSYM: u32 = 11;
const SHT_ARM_EXIDX: u32 = 0x7000_0001;
/// Symbol type of a function.
const STT_FUNC: u8 = 2;
/// A Thumb instruction that does nothing: padding between functions.
const NOP: [u8; 2] = [0x00, 0xbf];

fn word(row: &[u8], at: usize) -> u32 {
    let word = row.get(at..).and_then(|r| r.first_chunk());
    word.map_or(0, |w| u32::from_le_bytes(*w))
}

/// What a table says of where code is: an address, and its mode if it is known.
type Seeds = Vec<(Addr, Option<bool>)>;

/// Function bounds, ascending and disjoint.
pub fn functions(
    file: &FileView,
    elf: &Elf,
    addresses: &Addresses,
    machine: Machine,
) -> Result<Vec<Function>> {
    let executable = |addr: Addr| {
        let range = addresses.range_of(addr).filter(|r| r.offset.is_some());
        range.is_some_and(|r| elf[r.section].is_executable())
    };
    let mut seeds = Seeds::new();
    for section in elf.sections.iter().filter(|s| s.in_file()) {
        seeds_of(file, addresses, machine, section, &mut seeds)?;
    }
    seeds.retain(|&(addr, _)| executable(addr));
    // What is known of an address comes before what is not.
    seeds.sort_by_key(|&(addr, mode)| (addr, mode.is_none()));
    seeds.dedup_by_key(|seed| seed.0);
    let mut mode = seeds.iter().find_map(|seed| seed.1).unwrap_or_default();
    let mut entries = Vec::with_capacity(seeds.len());
    for (addr, known) in seeds {
        mode = known.unwrap_or(mode);
        entries.push((addr, mode));
    }
    let mut found = Vec::new();
    for range in addresses.ranges() {
        let Some(at) = range.offset.filter(|_| executable(range.addr)) else {
            continue;
        };
        let code = file.bytes(at.into(), range.len.into())?;
        machine.find_functions(&code, range.addr, &mut entries, &executable);
        found.push((range.addr, code));
    }
    let mut functions = Vec::with_capacity(entries.len());
    for (begin, code) in found {
        let end = begin + code.len() as u32;
        let from = entries.partition_point(|e| e.0 < begin);
        let to = entries.partition_point(|e| e.0 < end);
        for i in from..to {
            let (addr, other_mode) = entries[i];
            let next = entries[..to].get(i + 1).map_or(end, |e| e.0);
            let body = &code[(addr - begin) as usize..(next - begin) as usize];
            let padded = body.len() > 2 && next < end && body.ends_with(&NOP);
            let size = next - addr - if padded { 2 } else { 0 };
            functions.push(Function {
                addr,
                size,
                other_mode,
            });
        }
    }
    Ok(functions)
}

/// Adds what one section says of where code is.
fn seeds_of(
    file: &FileView,
    addresses: &Addresses,
    machine: Machine,
    section: &Section,
    seeds: &mut Seeds,
) -> Result<()> {
    let row = match section.kind {
        SHT_SYMTAB | SHT_DYNSYM => 16,
        SHT_REL | SHT_ARM_EXIDX => 8,
        SHT_RELA => 12,
        _ => return Ok(()),
    };
    let marked = |addr: u32| (Addr(addr & !1), Some(addr & 1 == 1));
    for row in file
        .bytes(section.offset, section.size)?
        .chunks_exact(row)
        .zip(0u32..)
    {
        let (row, index) = row;
        match section.kind {
            SHT_SYMTAB | SHT_DYNSYM => {
                let function = row[12] & 15 == STT_FUNC && row[14..16] != [0, 0];
                seeds.extend(function.then(|| marked(word(row, 4))));
            }
            SHT_ARM_EXIDX => {
                let here = (section.addr as u32).wrapping_add(index.wrapping_mul(8));
                let away = (word(row, 0) << 1) as i32 >> 1;
                seeds.push((Addr(here.wrapping_add_signed(away) & !1), None));
            }
            _ if u64::from(word(row, 4)) == machine.relative() => {
                let held = match (section.kind, addresses.offset(Addr(word(row, 0)))) {
                    (SHT_RELA, _) => word(row, 8),
                    (_, Some(at)) if u64::from(at) + 4 <= file.len() => word(&file.bytes(at.into(), 4)?, 0),
                    _ => continue,
                };
                seeds.push(marked(held));
            }
            _ => {}
        }
    }
    Ok(())
}
