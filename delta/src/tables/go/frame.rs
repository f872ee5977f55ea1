//! The grammar of what stands beside the functions: files, and the file lists of compilation units.

use super::builder::Frame;
use super::names::Names;
use super::reader::{GoTable, NONE};
use crate::code::{Model, Symbols, hash};
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
        self.old.get(old_unit.wrapping_add(file as u32) as usize).copied().unwrap_or(NONE)
    }
}

const SKIP: u32 = 0;
const INSERT: u32 = 1;
const REPLACE: u32 = 2;
/// How far the writer looks for where the old list goes on.
const LOOK: usize = 400;

/// Codes the frame of a table in a section of `room` bytes, the end of the code left out.
pub fn code_frame<S: Symbols>(
    s: &mut S,
    old: Option<&GoTable>,
    was: Option<&Frame>,
    (old_text, text): (u64, u64),
    room: usize,
    truth: Option<(&GoTable, &Frame)>,
) -> Result<(Frame, FileMap)> {
    let damaged = Error::DamagedPatch("Go's file lists make no sense");
    let empty = Frame::default();
    let was = was.unwrap_or(&empty);
    let known = truth.map_or(&empty, |t| t.1);
    let mut numbers = Model::new(1, 12, 255);
    let mut flags = Model::new(1, 8, 255);
    let mut frame = Frame {
        with_data: s.flag(&mut flags, &[1], known.with_data),
        ..Frame::default()
    };
    let gap = s.signed(&mut numbers, &[1], i64::from(known.gap) - i64::from(was.gap));
    let gap = gap.saturating_add(i64::from(was.gap));
    let expected = if was.text == old_text { text } else { was.text };
    let same = s.flag(&mut flags, &[2], known.text == expected);
    frame.text = if same { expected } else { s.number(&mut numbers, &[2], known.text) };

    // File names.
    let names: Vec<&[u8]> = truth.map(|t| t.0.file_names()).unwrap_or_default();
    let old_count = old.map_or(0, |o| o.file_names().len() as i64);
    let count = s.signed(&mut numbers, &[3], names.len() as i64 - old_count).saturating_add(old_count);
    let files = s.signed(&mut numbers, &[4], i64::from(known.files) - count).saturating_add(count);
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
    let count = s.signed(&mut numbers, &[5], truth.len() as i64 - old_count).saturating_add(old_count);
    if count < 0 || count as usize > room / 4 {
        return Err(damaged);
    }
    let mut hit = Model::new(2, 10, 255);
    let mut way = Model::new(2, 10, 255);
    let mut value = Model::new(1, 14, 255);
    let (mut cursor, mut history, mut last) = (0usize, 0u32, 0i64);
    while frame.units.len() < count as usize {
        let index = frame.units.len();
        let at = |k: usize| expected.get(k).copied().flatten();
        let is = |k: usize| truth.get(k).copied();
        let contexts = [hash(1, history & 3), hash(2, history & 0xff)];
        if s.flag(&mut hit, &contexts, at(cursor).is_some() && at(cursor) == is(index)) {
            let word = at(cursor).ok_or(Error::DamagedPatch("Go's file lists make no sense"))?;
            map.units[cursor] = index as u32;
            frame.units.push(word);
            last = order.binary_search(&word).map_or(last, |i| i as i64);
            cursor += 1;
            history <<= 1;
            continue;
        }
        history = history << 1 | 1;
        let again = |k: &usize| (0..3).all(|i| at(cursor + k + i).is_some() && at(cursor + k + i) == is(index + i));
        let skip = if S::READS { None } else { (1..LOOK).find(again) };
        let known = match skip {
            Some(_) => SKIP,
            None if at(cursor).is_some() && at(cursor) == is(index + 1) => INSERT,
            None => REPLACE,
        };
        let way = s.tree(&mut way, &contexts, 2, known);
        if way == SKIP {
            let skip = s.number(&mut numbers, &[6], skip.unwrap_or(0) as u64);
            cursor = cursor.saturating_add(skip.min(1 << 24) as usize);
        } else {
            let true_index = is(index).and_then(|w| order.binary_search(&w).ok());
            let away = true_index.map_or(0, |i| {
                let d = i as i64 - last;
                1 + (d << 1 ^ d >> 63) as u64
            });
            let away = s.number(&mut value, &[1], away);
            let word = if away == 0 {
                NONE
            } else {
                let d = ((away - 1) >> 1) as i64 ^ -(((away - 1) & 1) as i64);
                last = last.saturating_add(d);
                let i = usize::try_from(last).ok().filter(|&i| i < order.len());
                order[i.ok_or(Error::DamagedPatch("Go's file lists make no sense"))?]
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
