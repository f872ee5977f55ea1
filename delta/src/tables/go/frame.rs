//! The grammar of what stands beside the functions: files, and the file lists of compilation units.

use super::builder::Frame;
use super::names::Names;
use super::reader::{GoTable, NONE};
use crate::code::{Symbols, hash, symbols};
use crate::cursor::{fold, unfold};
use crate::maps::HashMap;
use crate::{Error, error::Result};

/// Old positions to new ones.
#[derive(Debug, Default)]
pub struct FileMap {
    /// For each entry of the old file lists, the new one that continues it.
    units: Vec<u32>,
    /// The old file lists.
    old: Vec<u32>,
}

impl FileMap {
    /// The new entry for an old one.
    pub fn unit(&self, old: u32) -> Option<u32> {
        self.units.get(old as usize).copied().filter(|&u| u != NONE)
    }

    /// The new number of a file in its list, given those of the list.
    pub fn file(&self, old_unit: u32, unit: u32, file: i32) -> i32 {
        let entry = old_unit.wrapping_add(file as u32);
        self.unit(entry).map_or(file, |e| e.wrapping_sub(unit) as i32)
    }

    /// Position of the old name of a file, which tells files apart.
    pub fn identity(&self, old_unit: u32, file: i32) -> u32 {
        self.old
            .get(old_unit.wrapping_add(file as u32) as usize)
            .copied()
            .unwrap_or(NONE)
    }
}

const SKIP: u32 = 0;
const INSERT: u32 = 1;
const REPLACE: u32 = 2;
/// How far the writer looks for where the old list goes on.
const LOOK: usize = 400;

symbols! {
    /// What stands beside the functions. `h`: for each entry of the file lists so far whether it was not the expected one,
    /// the last one lowest.
    struct FrameModels {
        flags(8, 255) {
            /// The table holds the data of functions.
            with_data: flag by() [1];
            /// The address of the code is the expected one: that of `.text` if the old one is, else the old one.
            text: flag by() [2];
            /// Parts are aligned as pointers are (else to 32 bytes).
            align: flag by() [3];
        }
        numbers(12, 255) {
            /// Bytes between the header and what follows, above those of the old table.
            gap: signed by() [1];
            /// The address of the code.
            address: number by() [2];
            /// File names, above those of the old table.
            names: signed by() [3];
            /// The header's number of files, above that of names.
            files: signed by() [4];
            /// Entries of the file lists, above those of the old table.
            entries: signed by() [5];
            /// Old entries skipped.
            skip: number by() [6];
        }
        hit(10, 255) {
            /// An entry is the expected one.
            hit: flag by(h: u32) [hash(1, h & 3), hash(2, h & 0xff)];
        }
        way(10, 255) {
            /// What else: 0 old entries are skipped, 1 an entry is inserted, 2 it replaces one.
            way: tree(2) by(h: u32) [hash(1, h & 3), hash(2, h & 0xff)];
        }
        value(14, 255) {
            /// The new entry: 0 none, else one more than the folded distance, in the order of names, to the last one.
            value: number by() [1];
        }
    }
}

/// A frame that is coded.
pub struct Coded<'t> {
    /// The old table and its frame.
    pub old: Option<&'t GoTable>,
    /// The old frame.
    pub was: Option<&'t Frame>,
    /// The address of the code, in the old file and in the new one.
    pub text: (u64, u64),
    /// Bytes of the section, and of a pointer.
    pub room: usize,
    /// Bytes of a pointer.
    pub pointer: usize,
    /// The new table and its frame, on the writing side.
    pub truth: Option<(&'t GoTable, &'t Frame)>,
}

/// Names of files in a new table.
#[derive(Default)]
struct FileNames {
    /// Where each begins.
    places: HashMap<Vec<u8>, u32>,
    /// Where they begin, in order.
    order: Vec<u32>,
}

fn damaged() -> Error {
    Error::damaged("Go's file lists make no sense")
}

/// Codes the frame of a table, the end of the code left out.
pub fn code_frame<S: Symbols>(s: &mut S, coded: &Coded) -> Result<(Frame, FileMap)> {
    let mut m = FrameModels::default();
    let mut frame = coded.header(s, &mut m)?;
    let names = coded.names(s, &mut m, &mut frame)?;
    let map = coded.lists(s, &mut m, &mut frame, &names)?;
    Ok((frame, map))
}

impl Coded<'_> {
    /// Codes how the table begins, and where its code does.
    fn header<S: Symbols>(&self, s: &mut S, m: &mut FrameModels) -> Result<Frame> {
        let empty = Frame::default();
        let was = self.was.unwrap_or(&empty);
        let known = self.truth.map_or(&empty, |t| t.1);
        let pointer = self.pointer as u32;
        let with_data = m.with_data(s, known.with_data);
        let align = match m.align(s, known.align == pointer) {
            true => pointer,
            false => 32,
        };
        let gap = m.gap(s, i64::from(known.gap) - i64::from(was.gap));
        let gap = u32::try_from(gap.saturating_add(i64::from(was.gap)));
        let gap = gap.map_err(|_| Error::damaged("Go's tables are too far apart"))?;
        if gap as usize > self.room {
            return Err(damaged());
        }
        let (old_text, text) = self.text;
        let expected = if was.text == old_text { text } else { was.text };
        let same = m.text(s, known.text == expected);
        Ok(Frame {
            with_data,
            align,
            gap,
            text: if same { expected } else { m.address(s, known.text) },
            ..Frame::default()
        })
    }

    /// Codes the names of files.
    fn names<S: Symbols>(&self, s: &mut S, m: &mut FrameModels, frame: &mut Frame) -> Result<FileNames> {
        let old = self.old;
        let names: Vec<&[u8]> = self.truth.map(|t| t.0.file_names()).unwrap_or_default();
        let old_count = old.map_or(0, |o| o.file_names().len() as i64);
        let count = m.names(s, names.len() as i64 - old_count);
        let count = count.saturating_add(old_count);
        let known = self.truth.map_or(0, |t| i64::from(t.1.files));
        let files = m.files(s, known.wrapping_sub(count)).saturating_add(count);
        frame.files = u32::try_from(files).map_err(|_| Error::damaged("Go's files are too many"))?;
        let mut coder = Names::new(old, old.map_or((0, 0), GoTable::files), !S::READS);
        let mut found = FileNames::default();
        for index in 0..count.max(0) as usize {
            let name = coder.code(s, 0, old, coder.next(), names.get(index).copied())?;
            let at = frame.file_names.len() as u32;
            frame.file_names.extend_from_slice(&name);
            frame.file_names.push(0);
            found.places.entry(name).or_insert(at);
            found.order.push(at);
            if frame.file_names.len() > self.room || s.exhausted() {
                return Err(damaged());
            }
        }
        Ok(found)
    }

    /// Codes the file lists of all compilation units, one behind the other.
    fn lists<S: Symbols>(
        &self,
        s: &mut S,
        m: &mut FrameModels,
        frame: &mut Frame,
        names: &FileNames,
    ) -> Result<FileMap> {
        let part = self.old.map_or((0, 0), GoTable::files);
        let old = self.old.map(GoTable::unit_list).unwrap_or_default();
        let place = |at: u32| names.places.get(self.old?.string(part, at)).copied();
        let expected = |&at: &u32| if at == NONE { Some(NONE) } else { place(at) };
        let truth = self.truth.map_or(&[][..], |t| &t.1.units);
        let old_count = old.len() as i64;
        let count = m.entries(s, truth.len() as i64 - old_count);
        let count = count.saturating_add(old_count);
        if count < 0 || count as usize > self.room / 4 {
            return Err(damaged());
        }
        let mut list = List {
            expected: old.iter().map(expected).collect(),
            truth,
            order: &names.order,
            map: vec![NONE; old.len()],
            cursor: 0,
            history: 0,
            last: 0,
        };
        while frame.units.len() < count as usize {
            list.entry(s, m, &mut frame.units)?;
            if s.exhausted() {
                return Err(damaged());
            }
        }
        let units = list.map;
        Ok(FileMap { units, old })
    }
}

/// File lists while they are coded.
struct List<'l> {
    /// What the old entries should be now.
    expected: Vec<Option<u32>>,
    truth: &'l [u32],
    /// Where names begin, in order.
    order: &'l [u32],
    /// The new entry that continues each old one.
    map: Vec<u32>,
    /// The next old entry.
    cursor: usize,
    history: u32,
    /// The last name, as a place in `order`.
    last: i64,
}

impl List<'_> {
    fn at(&self, k: usize) -> Option<u32> {
        self.expected.get(k).copied().flatten()
    }

    fn is(&self, k: usize) -> Option<u32> {
        self.truth.get(k).copied()
    }

    /// Codes an entry, or how many old ones are skipped before it.
    fn entry<S: Symbols>(&mut self, s: &mut S, m: &mut FrameModels, units: &mut Vec<u32>) -> Result<()> {
        let index = units.len();
        let (before, at) = (self.history, self.at(self.cursor));
        if m.hit(s, before, at.is_some() && at == self.is(index)) {
            let word = at.ok_or_else(damaged)?;
            self.map[self.cursor] = index as u32;
            units.push(word);
            let place = self.order.binary_search(&word);
            self.last = place.map_or(self.last, |i| i as i64);
            self.cursor += 1;
            self.history <<= 1;
            return Ok(());
        }
        self.history = self.history << 1 | 1;
        let (skip, known) = if S::READS { (None, 0) } else { self.way(index) };
        match m.way(s, before, known) {
            SKIP => {
                let skip = m.skip(s, skip.unwrap_or(0) as u64);
                self.cursor = self.cursor.saturating_add(skip.min(1 << 24) as usize);
            }
            way => {
                units.push(self.word(s, m, index)?);
                self.cursor += usize::from(way == REPLACE);
            }
        }
        Ok(())
    }

    /// On the writing side: how an entry is coded that is not the expected one, and how many old ones are skipped.
    fn way(&self, index: usize) -> (Option<usize>, u32) {
        let alike = |old: usize, new: usize| self.at(old).is_some() && self.at(old) == self.is(new);
        let meet = |old: usize, new: usize| (0..3).all(|i| alike(old + i, new + i));
        let skip = (1..LOOK).find(|k| meet(self.cursor + k, index));
        let insert = (1..LOOK).find(|k| meet(self.cursor, index + k));
        let way = match (skip, insert) {
            (Some(skip), Some(insert)) if insert < skip => INSERT,
            (Some(_), _) => SKIP,
            (None, Some(_)) => INSERT,
            (None, None) => REPLACE,
        };
        (skip, way)
    }

    /// Codes what an entry is, against the last one.
    fn word<S: Symbols>(&mut self, s: &mut S, m: &mut FrameModels, index: usize) -> Result<u32> {
        let known = self.is(index).and_then(|w| self.order.binary_search(&w).ok());
        let away = known.map_or(0, |i| 1 + fold(i as i64 - self.last));
        let Some(folded) = m.value(s, away).checked_sub(1) else {
            return Ok(NONE);
        };
        self.last = self.last.saturating_add(unfold(folded));
        let word = usize::try_from(self.last).ok().and_then(|i| self.order.get(i));
        word.copied().ok_or_else(damaged)
    }
}
