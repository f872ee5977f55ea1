//! Go's function table, `.gopclntab`: function bounds that are there in stripped files too.
//!
//! Source of the format: `runtime/symtab.go`, `runtime/runtime2.go` and `cmd/link/internal/ld/pcln.go` of Go
//! 1.20 to 1.26, which share the magic number `0xfffffff1`.

use super::{Elf, Numbers, Section};
use crate::error::Result;
use crate::file_view::FileView;
use crate::place::SectionId;

/// First number of a table of Go 1.20 or later; two zeros follow.
pub const MAGIC: u32 = 0xffff_fff1;
/// Length of the header in bytes, for pointers of as many.
pub fn header_len(pointer: usize) -> usize {
    8 + 8 * pointer
}
/// Most functions that a table may have.
const MAX_FUNCTIONS: u64 = 1 << 24;

/// The header of the table. All positions are relative to the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionTable {
    /// How its file writes numbers; pointers have 4 or 8 bytes.
    pub numbers: Numbers,
    /// Smallest instruction in bytes: the unit of code distances in its tables.
    pub quantum: u8,
    /// Number of functions.
    pub functions: u32,
    /// Number of file names.
    pub files: u32,
    /// Position of the function names.
    pub names: u32,
    /// Position of the file lists of the compilation units.
    pub units: u32,
    /// Position of the file names.
    pub file_names: u32,
    /// Position of the tables over code.
    pub tables: u32,
    /// Position of the list of functions and of their records.
    pub records: u32,
}

impl FunctionTable {
    /// Reads the header at the start of `bytes`, whose file has its bytes in this order; `None` where it makes no
    /// sense.
    pub fn read(bytes: &[u8], big_endian: bool) -> Option<FunctionTable> {
        let &[.., 0, 0, quantum, pointer] = bytes.first_chunk::<8>()? else {
            return None;
        };
        let numbers = Numbers {
            is_64: pointer == 8,
            big_endian,
        };
        let size = numbers.width();
        let known = numbers.word(bytes, 0) == Some(MAGIC) && matches!(pointer, 4 | 8);
        if !known || bytes.len() < header_len(size) {
            return None;
        }
        let long = |index: usize| {
            let at = 8 + size * index;
            numbers.get(&bytes[at..at + size])
        };
        let (functions, files) = (long(0), long(1));
        let mut before = header_len(size) as u64;
        for index in 3..8 {
            if long(index) < before || long(index) > bytes.len() as u64 {
                return None;
            }
            before = long(index);
        }
        let room = bytes.len() as u64 - before;
        let fits = matches!(quantum, 1 | 2 | 4)
            && functions > 0
            && functions <= MAX_FUNCTIONS
            && functions * 8 + 4 <= room
            && files <= bytes.len() as u64;
        fits.then_some(FunctionTable {
            numbers,
            quantum,
            functions: functions as u32,
            files: files as u32,
            names: long(3) as u32,
            units: long(4) as u32,
            file_names: long(5) as u32,
            tables: long(6) as u32,
            records: long(7) as u32,
        })
    }

    /// Where the code of function `index` begins, relative to the start of the code; for the number of
    /// functions, where the code ends.
    pub fn entry(&self, bytes: &[u8], index: u32) -> Option<u32> {
        self.numbers
            .word(bytes, self.records as usize + index as usize * 8)
    }

    /// Position of the record of function `index`.
    pub fn record(&self, bytes: &[u8], index: u32) -> Option<u32> {
        let at = self.records as usize + index as usize * 8 + 4;
        self.numbers.word(bytes, at)?.checked_add(self.records)
    }
}

/// The section that holds the table, if it begins with it.
pub fn section(elf: &Elf) -> Option<SectionId> {
    let names: [&[u8]; 2] = [b".gopclntab", b".data.rel.ro.gopclntab"];
    let index = names.iter().find_map(|name| elf.section(name))?;
    elf[index].in_file().then_some(index)
}

/// Function bounds `(address, size)`, ascending and disjoint; none without a table that makes sense.
///
/// Entries count from the start of `.text`; padding at the end of a function is not part of it.
pub fn functions(file: &FileView, elf: &Elf) -> Result<Vec<(u64, u32)>> {
    let Some(index) = section(elf) else {
        return Ok(Vec::new());
    };
    let text = elf.section(b".text").map(|i| &elf[i]);
    let Some(text) = text.filter(|t| t.in_file() && t.size <= u64::from(u32::MAX)) else {
        return Ok(Vec::new());
    };
    let section = &elf[index];
    let bytes = file.bytes(section.offset, section.size)?;
    let code = file.bytes(text.offset, text.size)?;
    let table = FunctionTable::read(&bytes, elf.numbers.big_endian);
    Ok(table.map_or(Vec::new(), |table| bounds(&bytes, &table, text, &code)))
}

fn bounds(bytes: &[u8], table: &FunctionTable, text: &Section, code: &[u8]) -> Vec<(u64, u32)> {
    let mut found = Vec::new();
    let pad = if table.quantum == 1 { 0xcc } else { 0 };
    for index in 0..table.functions {
        let (Some(start), Some(end)) = (table.entry(bytes, index), table.entry(bytes, index + 1)) else {
            break;
        };
        let Some(body) = code.get(start as usize..end as usize) else {
            continue;
        };
        let used = body.iter().rposition(|&b| b != pad).map_or(0, |last| last + 1);
        let size = used.next_multiple_of(usize::from(table.quantum)).min(body.len());
        if size > 0 {
            found.push((text.addr + u64::from(start), size as u32));
        }
    }
    // Entries of a damaged table may stand in any order.
    found.sort_unstable();
    let mut end = 0;
    found.retain(|&(start, size)| {
        let fits = start >= end;
        if fits {
            end = start + u64::from(size);
        }
        fits
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(size: u64) -> Section {
        Section {
            name: b".text".to_vec(),
            kind: 1,
            flags: 6,
            addr: 0x1000,
            offset: 0,
            size,
            link: SectionId(0),
            entsize: 0,
            info: 0,
        }
    }

    fn found(numbers: Numbers, bytes: &[u8], size: u64, code: &[u8]) -> Vec<(u64, u32)> {
        let table = FunctionTable::read(bytes, numbers.big_endian);
        table.map_or(Vec::new(), |table| bounds(bytes, &table, &text(size), code))
    }

    const ORDERS: [Numbers; 2] = [
        Numbers {
            is_64: true,
            big_endian: false,
        },
        Numbers {
            is_64: true,
            big_endian: true,
        },
    ];

    fn table(numbers: Numbers, entries: &[u32]) -> Vec<u8> {
        let mut bytes = numbers.of_word(MAGIC).to_vec();
        bytes.extend([0, 0, 1, 8]);
        for value in [entries.len() as u64 - 1, 1, 0, 72, 72, 72, 72, 72] {
            numbers.push(&mut bytes, value, 8);
        }
        for entry in entries {
            bytes.extend(numbers.of_word(*entry));
            bytes.extend([0; 4]);
        }
        bytes
    }

    #[test]
    fn functions_end_before_their_padding() {
        let mut code = vec![0x90; 96];
        code[20..32].fill(0xcc);
        code[90..].fill(0xcc);
        for numbers in ORDERS {
            let found = found(numbers, &table(numbers, &[0, 32, 96]), 96, &code);
            assert_eq!(found, [(0x1000, 20), (0x1020, 58)]);
        }
    }

    #[test]
    fn entries_in_no_order_leave_disjoint_functions() {
        let code = vec![0x90; 96];
        let [numbers, other] = ORDERS;
        let table = table(numbers, &[32, 96, 0, 64, 200, 8]);
        assert!(found(other, &table, 96, &code).is_empty());
        let found = found(numbers, &table, 96, &code);
        assert!(found.windows(2).all(|w| w[0].0 + u64::from(w[0].1) <= w[1].0));
    }

    proptest! {
        #[test]
        fn damaged_tables_do_no_harm(
            entries in prop::collection::vec(any::<u32>(), 1..20),
            cut in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            big_endian: bool,
        ) {
            let numbers = ORDERS[usize::from(big_endian)];
            let mut bytes = table(numbers, &entries);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            found(numbers, &bytes, 64, &[0x90; 64]);
        }
    }
}
