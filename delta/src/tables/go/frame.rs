//! The grammar of what stands beside the functions: files, and the file lists of compilation units.

use super::builder::Frame;
use super::names::Names;
use super::reader::{GoTable, NONE};
use crate::code::{Symbols, hash, symbols};
use crate::cursor::{fold, unfold};
use crate::{Error, error::Result};
use std::collections::HashMap;

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

/// Codes the frame of a table in a section of `room` bytes, the end of the code left out.
pub fn code_frame<S: Symbols>(
    s: &mut S,
    old: Option<&GoTable>,
    was: Option<&Frame>,
    (old_text, text): (u64, u64),
    (room, pointer): (usize, usize),
    truth: Option<(&GoTable, &Frame)>,
) -> Result<(Frame, FileMap)> {
    let damaged = Error::DamagedPatch("Go's file lists make no sense");
    let empty = Frame::default();
    let was = was.unwrap_or(&empty);
    let known = truth.map_or(&empty, |t| t.1);
    let mut m = FrameModels::default();
    let mut frame = Frame {
        with_data: m.with_data(s, known.with_data),
        ..Frame::default()
    };
    let pointer = pointer as u32;
    frame.align = if m.align(s, known.align == pointer) {
        pointer
    } else {
        32
    };
    let gap = m.gap(s, i64::from(known.gap) - i64::from(was.gap));
    let gap = gap.saturating_add(i64::from(was.gap));
    let expected = if was.text == old_text { text } else { was.text };
    let same = m.text(s, known.text == expected);
    frame.text = if same { expected } else { m.address(s, known.text) };
    // File names.
    let names: Vec<&[u8]> = truth.map(|t| t.0.file_names()).unwrap_or_default();
    let old_count = old.map_or(0, |o| o.file_names().len() as i64);
    let count = m
        .names(s, names.len() as i64 - old_count)
        .saturating_add(old_count);
    let files = m.files(s, i64::from(known.files).wrapping_sub(count));
    let files = files.saturating_add(count);
    let part = old.map_or((0, 0), GoTable::files);
    let mut coder = Names::new(old, part, !S::READS);
    let mut places: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut order = Vec::new();
    for index in 0..count.max(0) as usize {
        let name = coder.code(s, 0, old, coder.next(), names.get(index).copied())?;
        let at = frame.file_names.len() as u32;
        frame.file_names.extend_from_slice(&name);
        frame.file_names.push(0);
        places.entry(name).or_insert(at);
        order.push(at);
        if frame.file_names.len() > room || s.exhausted() {
            return Err(damaged);
        }
    }
    frame.gap = u32::try_from(gap).map_err(|_| Error::DamagedPatch("Go's tables are too far apart"))?;
    frame.files = u32::try_from(files).map_err(|_| Error::DamagedPatch("Go's files are too many"))?;
    if frame.gap as usize > room {
        return Err(damaged);
    }
    // File lists.
    let old_list = old.map(GoTable::unit_list).unwrap_or_default();
    let expected: Vec<Option<u32>> = old_list
        .iter()
        .map(|&at| match at {
            NONE => Some(NONE),
            at => old.and_then(|o| places.get(o.string(part, at)).copied()),
        })
        .collect();
    let mut map = FileMap {
        units: vec![NONE; old_list.len()],
        old: old_list,
    };
    let truth = &known.units;
    let old_count = expected.len() as i64;
    let count = m
        .entries(s, truth.len() as i64 - old_count)
        .saturating_add(old_count);
    if count < 0 || count as usize > room / 4 {
        return Err(damaged);
    }
    let (mut cursor, mut history, mut last) = (0usize, 0u32, 0i64);
    while frame.units.len() < count as usize {
        let index = frame.units.len();
        let at = |k: usize| expected.get(k).copied().flatten();
        let is = |k: usize| truth.get(k).copied();
        let before = history;
        if m.hit(s, before, at(cursor).is_some() && at(cursor) == is(index)) {
            let word = at(cursor).ok_or(Error::DamagedPatch("Go's file lists make no sense"))?;
            map.units[cursor] = index as u32;
            frame.units.push(word);
            last = order.binary_search(&word).map_or(last, |i| i as i64);
            cursor += 1;
            history <<= 1;
            continue;
        }
        history = history << 1 | 1;
        let meet =
            |old: usize, new: usize| (0..3).all(|i| at(old + i).is_some() && at(old + i) == is(new + i));
        let (mut skip, mut insert) = (None, None);
        if !S::READS {
            skip = (1..LOOK).find(|k| meet(cursor + k, index));
            insert = (1..LOOK).find(|k| meet(cursor, index + k));
        }
        let known = match (skip, insert) {
            (Some(skip), Some(insert)) if insert < skip => INSERT,
            (Some(_), _) => SKIP,
            (None, Some(_)) => INSERT,
            (None, None) => REPLACE,
        };
        let way = m.way(s, before, known);
        if way == SKIP {
            let skip = m.skip(s, skip.unwrap_or(0) as u64);
            cursor = cursor.saturating_add(skip.min(1 << 24) as usize);
        } else {
            let true_index = is(index).and_then(|w| order.binary_search(&w).ok());
            let away = true_index.map_or(0, |i| 1 + fold(i as i64 - last));
            let word = if let Some(folded) = m.value(s, away).checked_sub(1) {
                last = last.saturating_add(unfold(folded));
                let i = usize::try_from(last).ok().filter(|&i| i < order.len());
                order[i.ok_or(Error::DamagedPatch("Go's file lists make no sense"))?]
            } else {
                NONE
            };
            frame.units.push(word);
            if way == REPLACE {
                cursor += 1;
            }
        }
        if s.exhausted() {
            return Err(damaged);
        }
    }
    Ok((frame, map))
}
