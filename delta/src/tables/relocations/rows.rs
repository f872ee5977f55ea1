//! Rows of relocation tables in their four forms, and the words that relative rows fill.
//!
//! Rows with addends hold the target of a relative relocation, rows without leave it in the word. Source of the
//! layout: System V gABI, "Relocation".

use crate::elf::{Elf, Numbers, Section};
use crate::machine::Machine;
use crate::place::Addr;

const SHT_RELA: u32 = 4;
const SHT_REL: u32 = 9;
const SHF_ALLOC: u64 = 2;

/// How a table writes its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    numbers: Numbers,
    addends: bool,
}

/// One row, in the form that 64-bit files give it: symbol above 32 bits of type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Address that is filled.
    pub offset: u64,
    /// Symbol and type.
    pub info: u64,
    /// Addend; 0 in rows without, but for relative ones, where it is what the word holds.
    pub addend: u64,
}

/// What a word of a file holds, by address.
pub type Words<'w> = &'w dyn Fn(Addr) -> Option<u64>;

impl Form {
    /// The form of a loaded table of relocations; `None` for any other section.
    pub fn of(elf: &Elf, section: &Section) -> Option<Form> {
        Form::of_any(elf, section).filter(|_| section.flags & SHF_ALLOC != 0)
    }

    /// The form of a table of an object; `None` for any other section.
    pub fn of_object(elf: &Elf, section: &Section) -> Option<Form> {
        Form::of_any(elf, section).filter(|_| elf.is_object() && section.flags & SHF_ALLOC == 0)
    }

    fn of_any(elf: &Elf, section: &Section) -> Option<Form> {
        let addends = match section.kind {
            SHT_RELA => true,
            SHT_REL => false,
            _ => return None,
        };
        let form = Form {
            numbers: elf.numbers,
            addends,
        };
        let whole = section.size.is_multiple_of(form.row() as u64);
        (whole && section.in_file()).then_some(form)
    }

    /// Bytes of a row.
    pub fn row(self) -> usize {
        self.word() * if self.addends { 3 } else { 2 }
    }

    /// Whether rows have addends.
    pub fn has_addends(self) -> bool {
        self.addends
    }

    fn word(self) -> usize {
        self.numbers.width()
    }

    /// All rows of a table.
    pub fn rows<'b>(
        self,
        machine: Machine,
        bytes: &'b [u8],
        words: Words<'b>,
    ) -> impl Iterator<Item = Row> + 'b {
        let read = move |row: &[u8], k: usize| self.numbers.get(&row[k * self.word()..][..self.word()]);
        let row = move |row: &[u8]| {
            let (offset, info) = (read(row, 0), read(row, 1));
            let info = if self.numbers.is_64 {
                info
            } else {
                info >> 8 << 32 | info & 0xff
            };
            let held = || Addr::try_from(offset).ok().and_then(words);
            let addend = if self.addends {
                read(row, 2)
            } else if info == machine.relative() {
                // A word outside the file makes a row that does not fold.
                held().unwrap_or(u64::MAX)
            } else {
                0
            };
            Row { offset, info, addend }
        };
        bytes.chunks_exact(self.row()).map(row)
    }

    /// Appends a row to a table.
    pub fn put(self, row: Row, out: &mut Vec<u8>) {
        let info = if self.numbers.is_64 {
            row.info
        } else {
            row.info >> 32 << 8 | row.info & 0xff
        };
        let words = [row.offset, info, row.addend];
        for word in &words[..self.row() / self.word()] {
            self.numbers.push(out, *word, self.word());
        }
    }

    /// Whether the table can say all that a row says.
    pub fn holds(self, row: &Row) -> bool {
        let small = |v: u64| u32::try_from(v).is_ok();
        small(row.offset)
            && if self.addends {
                small(row.addend)
            } else {
                row.addend == 0
            }
    }
}

/// Bytes of a word that a relocation fills.
pub fn word(elf: &Elf) -> u32 {
    elf.numbers.width() as u32
}

/// The word at an address, read from the bytes of the file.
pub fn word_in<'b>(elf: &'b Elf, bytes: &'b [u8]) -> impl Fn(Addr) -> Option<u64> + 'b {
    let size = word(elf) as usize;
    move |addr| {
        let at = usize::try_from(elf.offset_of(addr.into())?).ok()?;
        bytes
            .get(at..at.checked_add(size)?)
            .map(|word| elf.numbers.get(word))
    }
}

/// A word that a relative row fills, and its target.
pub type Slot = (Addr, Addr);

/// The rows of one table, one after the other.
#[derive(Debug, Default)]
pub struct Parts {
    /// The relative rows at the front, each of another word: they fold into those.
    pub folded: Vec<Slot>,
    /// All others.
    pub others: Vec<Row>,
    /// Whether words were not told by address.
    unsorted: bool,
}

impl Parts {
    /// All rows of a table.
    pub fn of(machine: Machine, all: impl IntoIterator<Item = Row>) -> Parts {
        let mut parts = Parts::default();
        all.into_iter().for_each(|row| parts.push(machine, row));
        parts.settle(machine);
        parts
    }

    /// Adds the next row.
    pub fn push(&mut self, machine: Machine, row: Row) {
        let small = |number: u64| u32::try_from(number).ok().filter(|&n| n < u32::MAX).map(Addr);
        match (small(row.offset), small(row.addend)) {
            (Some(at), Some(target)) if row.info == machine.relative() && self.others.is_empty() => {
                self.unsorted |= self.folded.last().is_some_and(|last| last.0 >= at);
                self.folded.push((at, target));
            }
            _ => self.others.push(row),
        }
    }

    /// Ends the table: from a word that is filled again on nothing folds.
    pub fn settle(&mut self, machine: Machine) {
        if !self.unsorted {
            return;
        }
        let mut places: Vec<(Addr, u32)> = self.folded.iter().map(|slot| slot.0).zip(0..).collect();
        places.sort_unstable();
        let again = places.windows(2).filter(|w| w[0].0 == w[1].0).map(|w| w[1].1);
        let front = again.min().map_or(self.folded.len(), |again| again as usize);
        let rest = self.folded.drain(front..).map(|(at, target)| Row {
            offset: at.into(),
            info: machine.relative(),
            addend: target.into(),
        });
        self.others.splice(..0, rest);
    }

    /// Bytes of memory that they take while they are read.
    pub fn memory(&self) -> u64 {
        let sorted = if self.unsorted { 2 } else { 1 };
        sorted * SLOT_MEMORY * self.folded.len() as u64 + ROW_MEMORY * self.others.len() as u64
    }
}

/// Bytes of a folded word, and of a row that is kept.
pub const SLOT_MEMORY: u64 = size_of::<Slot>() as u64;
pub const ROW_MEMORY: u64 = size_of::<Row>() as u64;

/// The folded words of all tables, ascending.
pub fn sorted(mut slots: Vec<Slot>) -> Vec<Slot> {
    slots.sort_unstable();
    slots.dedup_by_key(|slot| slot.0);
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What a table says is read and written again in each form, whatever the words hold.
        #[test]
        fn rows_are_written_as_they_were_read(
            is_64: bool,
            big_endian: bool,
            addends: bool,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            held: Option<u64>,
        ) {
            let form = Form { numbers: Numbers { is_64, big_endian }, addends };
            for machine in Machine::ALL {
                let words = |_| held;
                let rows: Vec<Row> = form.rows(machine, &bytes, &words).collect();
                let mut out = Vec::new();
                rows.iter().for_each(|&row| form.put(row, &mut out));
                prop_assert_eq!(&out[..], &bytes[..rows.len() * form.row()]);
                prop_assert_eq!(rows.len(), bytes.len() / form.row());
            }
        }
    }

    #[test]
    fn a_relative_row_without_addend_takes_it_from_the_word() {
        let form = Form {
            numbers: Numbers::default(),
            addends: false,
        };
        let table = [0x10, 0x20, 0, 0, 8, 0, 0, 0, 0x14, 0x20, 0, 0, 6, 5, 0, 0];
        let words = |addr| (addr == Addr(0x2010)).then_some(0x1234);
        let rows: Vec<Row> = form.rows(Machine::X86_32, &table, &words).collect();
        assert_eq!(
            rows[0],
            Row {
                offset: 0x2010,
                info: 8,
                addend: 0x1234
            }
        );
        assert_eq!(
            rows[1],
            Row {
                offset: 0x2014,
                info: 5 << 32 | 6,
                addend: 0
            }
        );
        let folded = |rows: Vec<Row>| Parts::of(Machine::X86_32, rows).folded.len();
        assert_eq!(folded(rows), 1);
        let none = form.rows(Machine::X86_32, &table, &|_| None).collect();
        assert_eq!(folded(none), 0, "a word outside the file does not fold");
    }

    #[test]
    fn rows_fold_in_any_order_up_to_a_word_that_is_filled_again() {
        let row = |offset: u64| Row {
            offset,
            info: Machine::X86_64.relative(),
            addend: 9,
        };
        let rows = [24, 8, 16, 32, 8, 40, 24].map(row);
        for whole in [&rows[..4], &rows] {
            let parts = Parts::of(Machine::X86_64, whole.iter().copied());
            assert_eq!((parts.folded.len(), &parts.others[..]), (4, &whole[4..]));
        }
    }
}
