//! Reads a function table: records, tables over code, and the data that belongs to functions.
//!
//! Source of the format: `runtime/symtab.go`, `runtime/runtime2.go` (`_func`), `cmd/internal/obj/pcln.go`.

use crate::elf::Elf;
use crate::elf::go::{self, FunctionTable};
use crate::place::SectionId;

/// Bytes of a record before its lists.
pub const RECORD: usize = 44;
/// Longest list of a record.
const LONGEST_LIST: u32 = 64;
/// Most groups that the data of functions may fall into.
pub const GROUPS: usize = 16;
/// The funcdata of a function that is its inline tree.
pub const INLINE_TREE: usize = 3;
/// The table of a record that tells the inline tree's row.
pub const INLINE_INDEX: usize = 5;
/// A list entry that stands for nothing.
pub const NONE: u32 = u32::MAX;

/// Most stretches of a table over code; the largest functions have a few tens of thousands.
const MOST_STEPS: usize = 1 << 17;

/// A stretch of code, up to `end` bytes after the function's entry, and its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Offset behind the stretch.
    pub end: u32,
    /// The value.
    pub value: i32,
}

/// The record of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Position of its name.
    pub name: u32,
    /// Argument size, position of the deferred return, place of the file list, first line, identifier,
    /// flags, the unused byte.
    pub scalars: [u32; 7],
    /// Positions of its tables: stack size, file, line, then those of `pcdata`.
    pub tables: Vec<u32>,
    /// Positions of its data.
    pub data: Vec<u32>,
}

/// Index in `Record::scalars`.
pub const DEFER: usize = 1;
/// Index in `Record::scalars`.
pub const UNIT: usize = 2;
/// Index in `Record::scalars`.
pub const LINE: usize = 3;

/// A blob of data that functions point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Offset from the start of the data.
    pub at: u32,
    /// Length in bytes.
    pub len: u32,
    /// Group of alignment: blobs of one group stand in the order of first use.
    pub group: u8,
}

/// One side's function table.
#[derive(Debug)]
pub struct GoTable {
    /// The section.
    pub bytes: Vec<u8>,
    /// Its header.
    pub head: FunctionTable,
    /// Where functions begin, relative to the code, ascending.
    pub entries: Vec<u32>,
    /// Data of functions: start and end in the section.
    pub data: (usize, usize),
    /// Its blobs, ascending.
    pub blobs: Vec<Blob>,
}

/// `gofunc` among the words of `moduledata`.
const MODULE_DATA: usize = 40;

/// Where the data of functions begins in the section, as the module's own record tells (Go 1.26).
pub fn data_start(elf: &Elf, section: SectionId, module: Option<&[u8]>) -> Option<usize> {
    let addr = elf.numbers.address(module?, MODULE_DATA * elf.numbers.width())?;
    let section = &elf[section];
    let start = addr.checked_sub(section.addr)?;
    usize::try_from(start).ok().filter(|_| start <= section.size)
}

/// Length of the index over `code` bytes of code (`findfunctab`): a bucket for each 4096 bytes, with a byte
/// for each 256 bytes of them.
pub fn index_len(code: u32) -> usize {
    code.div_ceil(4096) as usize * 4 + code.div_ceil(256) as usize
}

impl GoTable {
    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.bytes.len() + self.entries.len() * 4 + self.blobs.len() * size_of::<Blob>()) as u64
    }

    /// Reads a section; `None` where it makes no sense.
    pub fn read(bytes: Vec<u8>, big_endian: bool, data_start: Option<usize>) -> Option<GoTable> {
        let head = FunctionTable::read(&bytes, big_endian)?;
        let entries: Option<Vec<u32>> = (0..=head.functions).map(|i| head.entry(&bytes, i)).collect();
        let entries = entries?;
        if entries.windows(2).any(|w| w[0] >= w[1]) {
            return None;
        }
        let code = *entries.last()?;
        let start = data_start.unwrap_or(bytes.len());
        let end = match data_start {
            Some(_) => bytes.len().checked_sub(index_len(code))?,
            None => start,
        };
        let mut table = GoTable {
            bytes,
            head,
            entries,
            data: (start, end),
            blobs: Vec::new(),
        };
        if start > end {
            return None;
        }
        table.find_blobs()?;
        Some(table)
    }

    fn find_blobs(&mut self) -> Option<()> {
        let len = (self.data.1 - self.data.0) as u32;
        let mut used = crate::maps::HashMap::default();
        for index in 0..self.functions() {
            let record = self.record(index)?;
            for &at in record.data.iter().filter(|&&at| at < len) {
                let time = used.len() as u32;
                used.entry(at).or_insert(time);
            }
        }
        let mut places: Vec<(u32, u32)> = used.into_iter().collect();
        places.sort_unstable();
        let mut group = 0u8;
        let mut before = None;
        for (index, &(at, time)) in places.iter().enumerate() {
            if before.is_some_and(|b| b > time) {
                group += 1;
            }
            if usize::from(group) >= GROUPS {
                return None;
            }
            before = Some(time);
            let end = places.get(index + 1).map_or(len, |p| p.0);
            self.blobs.push(Blob {
                at,
                len: end - at,
                group,
            });
        }
        Some(())
    }

    /// Number of functions.
    pub fn functions(&self) -> usize {
        self.entries.len() - 1
    }

    /// The function that begins at `entry`.
    pub fn function_at(&self, entry: u32) -> Option<usize> {
        let index = self.entries.binary_search(&entry).ok()?;
        (index < self.functions()).then_some(index)
    }

    /// The record of a function.
    pub fn record(&self, index: usize) -> Option<Record> {
        let at = self.head.record(&self.bytes, index as u32)? as usize;
        let fixed = self.bytes.get(at..at.checked_add(RECORD)?)?;
        let numbers = self.head.numbers;
        let field = |i: usize| numbers.word(fixed, 4 * i).unwrap_or(0);
        let (tables, data) = (field(7), u32::from(fixed[43]));
        if tables > LONGEST_LIST || data > LONGEST_LIST {
            return None;
        }
        let list = |from: usize, count: u32| -> Option<Vec<u32>> {
            (0..count as usize)
                .map(|i| numbers.word(&self.bytes, from + 4 * i))
                .collect()
        };
        let mut all = vec![field(4), field(5), field(6)];
        all.extend(list(at + RECORD, tables)?);
        Some(Record {
            name: field(1),
            scalars: [
                field(2),
                field(3),
                field(8),
                field(9),
                u32::from(fixed[40]),
                u32::from(fixed[41]),
                u32::from(fixed[42]),
            ],
            tables: all,
            data: list(at + RECORD + 4 * tables as usize, data)?,
        })
    }

    /// The string at `at` of a part of the section.
    pub fn string(&self, part: (u32, u32), at: u32) -> &[u8] {
        let from = (part.0 as usize).saturating_add(at as usize);
        let rest = self.bytes.get(from..part.1 as usize).unwrap_or_default();
        let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
        &rest[..end]
    }

    /// The name at a position.
    pub fn name(&self, at: u32) -> &[u8] {
        self.string((self.head.names, self.head.units), at)
    }

    /// All strings of a part with their positions.
    pub fn strings(&self, part: (u32, u32)) -> Vec<u32> {
        let all = &self.bytes[part.0 as usize..part.1 as usize];
        let mut places = Vec::new();
        let mut at = 0;
        while at < all.len() {
            let len = self.string(part, at as u32).len();
            places.push(at as u32);
            at += len + 1;
        }
        places
    }

    /// Where the file names stand.
    pub fn files(&self) -> (u32, u32) {
        (self.head.file_names, self.head.tables)
    }

    /// The file lists of the compilation units.
    pub fn unit_list(&self) -> Vec<u32> {
        let list = &self.bytes[self.head.units as usize..self.head.file_names as usize];
        let word = |w| self.head.numbers.get(w) as u32;
        list.chunks_exact(4).map(word).collect()
    }

    /// All strings of a part.
    pub fn texts(&self, part: (u32, u32)) -> Vec<&[u8]> {
        let mut texts: Vec<_> = self
            .strings(part)
            .into_iter()
            .map(|at| self.string(part, at))
            .collect();
        // What aligns the next part looks like empty strings.
        texts.truncate(
            texts
                .iter()
                .rposition(|n| !n.is_empty())
                .map_or(0, |last| last + 1),
        );
        texts
    }

    /// The file names.
    pub fn file_names(&self) -> Vec<&[u8]> {
        self.texts(self.files())
    }

    /// A table over code.
    pub fn table(&self, at: u32) -> Option<Vec<Step>> {
        let part = self.bytes.get(..self.head.records as usize)?;
        let mut at = (self.head.tables as usize).checked_add(at as usize)?;
        let mut steps = Vec::new();
        let (mut end, mut value) = (0u32, -1i32);
        loop {
            let delta = number(part, &mut at)?;
            if delta == 0 && !steps.is_empty() {
                return Some(steps);
            }
            value = value.wrapping_add((delta >> 1) as i32 ^ -((delta & 1) as i32));
            let len = number(part, &mut at)?.checked_mul(u32::from(self.head.quantum))?;
            end = end.checked_add(len)?;
            if steps.len() == MOST_STEPS {
                return None;
            }
            steps.push(Step { end, value });
        }
    }

    /// The blob at an offset of the data.
    pub fn blob(&self, at: u32) -> Option<(Blob, &[u8])> {
        let index = self.blobs.binary_search_by_key(&at, |b| b.at).ok()?;
        let blob = self.blobs[index];
        let from = self.data.0 + blob.at as usize;
        Some((blob, self.bytes.get(from..from + blob.len as usize)?))
    }
}

/// A number of at most 32 bits in groups of seven, lowest first.
fn number(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(value).ok();
        }
    }
    None
}

/// Writes a table over code as the assembler does.
pub fn write_table(steps: &[Step], quantum: u8, out: &mut Vec<u8>) {
    let (mut end, mut value) = (0u32, -1i32);
    let mut put = |mut n: u32| {
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
    };
    for step in steps {
        let delta = step.value.wrapping_sub(value);
        put((delta << 1 ^ delta >> 31) as u32);
        put(step.end.wrapping_sub(end) / u32::from(quantum));
        (end, value) = (step.end, step.value);
    }
    put(0);
}

/// The table in a section of a file.
pub fn find(elf: &Elf, read: impl Fn(SectionId) -> Option<Vec<u8>>) -> Option<GoTable> {
    let section = go::section(elf)?;
    let module = elf.section(b".go.module").and_then(&read);
    let start = data_start(elf, section, module.as_deref());
    GoTable::read(read(section)?, elf.numbers.big_endian, start)
}

/// Address of the data of functions, as the module's record tells wherever it stands; 0 if it is not found.
///
/// The record begins with the addresses of the function table and of its names, and `gofunc` is word 40 of it
/// (Go 1.20 to 1.26).
pub fn module_data(elf: &Elf, read: impl Fn(SectionId) -> Option<Vec<u8>>) -> u32 {
    let Some(table) = go::section(elf) else { return 0 };
    let start = elf[table].addr;
    let Some(head) = read(table).and_then(|bytes| FunctionTable::read(&bytes, elf.numbers.big_endian)) else {
        return 0;
    };
    let names = start.wrapping_add(u64::from(head.names));
    let size = elf.numbers.width();
    let long = |bytes: &[u8], at: usize| elf.numbers.address(bytes, at);
    for name in [&b".go.module"[..], b".noptrdata", b".data"] {
        let Some(bytes) = elf.section(name).and_then(&read) else {
            continue;
        };
        let found = (0..bytes.len())
            .step_by(size)
            .find(|&at| long(&bytes, at) == Some(start) && long(&bytes, at + size) == Some(names));
        if let Some(data) = found.and_then(|at| long(&bytes, at + MODULE_DATA * size)) {
            return u32::try_from(data).unwrap_or(0);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Numbers;
    use crate::tables::go::builder::{Builder, Frame, Function, rebuilds};
    use proptest::prelude::*;

    fn small(numbers: Numbers) -> Vec<u8> {
        let mut builder = Builder::new(2, numbers);
        let place = builder.add_blob(0, &[1, 0, 0, 0, 0, 0, 0, 0]);
        for (entry, name) in [(0, b"main.main".as_slice()), (32, b"main.other")] {
            let steps = vec![Step { end: 4, value: 7 }, Step { end: 20, value: -3 }];
            let function = Function {
                name: builder.add_name(name),
                scalars: [8, 0, 0, 12, 0, 0, 0],
                tables: vec![Some(steps.clone()), Some(steps), None, None],
                data: vec![Some(place), None],
            };
            builder.function(entry, &function);
        }
        let frame = Frame {
            files: 1,
            units: vec![0],
            file_names: b"main.go\0".to_vec(),
            end: 60,
            align: numbers.width() as u32,
            with_data: true,
            ..Frame::default()
        };
        builder.finish(&frame)
    }

    fn start(bytes: &[u8]) -> Option<usize> {
        Some(bytes.len() - index_len(60) - 8)
    }

    #[test]
    fn a_table_is_rebuilt_from_its_contents() {
        for (is_64, big_endian) in [(false, false), (true, false), (false, true), (true, true)] {
            let numbers = Numbers { is_64, big_endian };
            let bytes = small(numbers);
            let at = start(&bytes);
            let table = GoTable::read(bytes, big_endian, at).unwrap();
            assert_eq!(table.head.numbers, numbers);
            assert_eq!(table.name(table.record(1).unwrap().name), b"main.other");
            assert!(rebuilds(&table));
        }
    }

    proptest! {
        #[test]
        fn damaged_tables_do_no_harm(
            cut in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            is_64: bool,
            big_endian: bool,
        ) {
            let mut bytes = small(Numbers { is_64, big_endian });
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let at = start(&bytes).filter(|_| cut.index(2) == 0);
            bytes.truncate(bytes.len() - cut.index(40));
            if let Some(table) = GoTable::read(bytes, big_endian, at) {
                rebuilds(&table);
            }
        }
    }
}
