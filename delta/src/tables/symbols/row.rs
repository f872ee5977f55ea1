//! Rows of a symbol table, of either class. Source of the layout: System V gABI, "Symbol Table".

use crate::elf::{Elf, Numbers};
use std::ops::Range;

/// Bytes of the longer kind of row.
pub const LONGEST: usize = 24;

/// `st_shndx` of undefined symbols, and the first of the reserved ones.
pub const UNDEFINED: u16 = 0;
pub const RESERVED: u16 = 0xff00;
/// Types of `st_info`.
pub const FUNCTION: u8 = 2;
pub const SECTION: u8 = 3;
pub const THREAD_LOCAL: u8 = 6;
pub const INDIRECT_FUNCTION: u8 = 10;

/// One symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub name: u32,
    pub info: u8,
    pub other: u8,
    pub section: u16,
    pub value: u64,
    pub size: u64,
}

/// Bytes of a row.
pub fn len(numbers: Numbers) -> usize {
    if numbers.is_64 { 24 } else { 16 }
}

impl Row {
    /// Reads a row of [`len`] bytes of a file; addresses are those of its section map.
    pub fn read(elf: &Elf, b: &[u8]) -> Row {
        let half = |at: usize| elf.numbers.get(&b[at..at + 2]) as u16;
        let word = |at: usize| elf.numbers.get(&b[at..at + 4]) as u32;
        let long = |at: usize| elf.numbers.get(&b[at..at + 8]);
        let row = if elf.numbers.is_64 {
            Row {
                name: word(0),
                info: b[4],
                other: b[5],
                section: half(6),
                value: long(8),
                size: long(16),
            }
        } else {
            let (value, size) = (word(4).into(), word(8).into());
            Row {
                name: word(0),
                info: b[12],
                other: b[13],
                section: half(14),
                value,
                size,
            }
        };
        Row {
            value: row.value.wrapping_sub(row.away(elf)),
            ..row
        }
    }

    /// How far its value is from the address that it means: by the base, in an object by where its section is.
    fn away(&self, elf: &Elf) -> u64 {
        let section = elf.sections.get(usize::from(self.section));
        match (self.has_address(), elf.is_object()) {
            (false, _) => 0,
            (true, true) => section.map_or(0, |s| s.addr.wrapping_neg()),
            (true, false) => elf.base,
        }
    }

    /// The bytes of a row, the first [`len`] of what is returned.
    pub fn bytes(&self, elf: &Elf) -> [u8; LONGEST] {
        let value = self.value.wrapping_add(self.away(elf));
        let mut out = [0; LONGEST];
        let mut put = |field: Range<usize>, number| elf.numbers.put(&mut out[field], number);
        put(0..4, self.name.into());
        let rest = if elf.numbers.is_64 {
            put(8..16, value);
            put(16..24, self.size);
            4
        } else {
            put(4..8, value);
            put(8..12, self.size);
            12
        };
        put(rest + 2..rest + 4, self.section.into());
        out[rest] = self.info;
        out[rest + 1] = self.other;
        out
    }

    /// Type of the symbol.
    pub fn kind(&self) -> u8 {
        self.info & 15
    }

    /// Whether it names code.
    pub fn is_function(&self) -> bool {
        matches!(self.kind(), FUNCTION | INDIRECT_FUNCTION)
    }

    /// Whether its value is an address.
    pub fn has_address(&self) -> bool {
        self.section != UNDEFINED && self.section < RESERVED && self.kind() != THREAD_LOCAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Section;
    use crate::place::SectionId;

    #[test]
    fn rows_come_back() {
        let bytes: Vec<u8> = (1..25).collect();
        let section = Section {
            name: Vec::new(),
            kind: 1,
            flags: 2,
            addr: 0x5000,
            offset: 0x5000,
            size: 1,
            link: SectionId(0),
            info: 0,
            entsize: 0,
        };
        let elf = |is_64, big_endian, kind, base| Elf {
            numbers: Numbers { is_64, big_endian },
            machine: 62,
            kind,
            head_len: 64,
            table: (0, 0),
            names: SectionId(0),
            base,
            sections: vec![section.clone(); 0x1000],
        };
        for (kind, base, big) in [
            (2, 0, false),
            (2, 1 << 40, false),
            (1, 0, false),
            (2, 0, true),
            (1, 0, true),
        ] {
            let (long, short) = (elf(true, big, kind, base), elf(false, big, kind, base));
            let (long_row, short_row) = (Row::read(&long, &bytes), Row::read(&short, &bytes[..16]));
            assert_eq!(long_row.bytes(&long)[..], bytes[..]);
            assert_eq!(short_row.bytes(&short)[..16], bytes[..16]);
            assert_eq!(long_row.section, if big { 0x0708 } else { 0x0807 });
        }
        let (object, linked) = (elf(true, false, 1, 0), elf(true, false, 2, 0));
        let (inside, plain) = (Row::read(&object, &bytes), Row::read(&linked, &bytes));
        assert_eq!(inside.value, plain.value + 0x5000);
    }
}
