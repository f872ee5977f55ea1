//! Go's function table, `.gopclntab`, told function by function: contents, from which the linker's order gives
//! every position.
//!
//! Names, tables over code and the data of functions are shared, and stand in the order of first use; so a
//! function is told as its name, its source lines and the like, each against the old function that its code
//! continues, code offsets projected along the code. The index over the code is made anew.

mod builder;
mod data;
mod frame;
mod lines;
mod names;
mod reader;
mod steps;
pub mod words;

use self::builder::{Builder, Frame, Function, Place};
use self::frame::FileMap;
use self::lines::Lines;
use self::names::Names;
use self::reader::{DEFER, GoTable, INLINE_INDEX, LINE, NONE, Record, Step, UNIT};
use self::steps::{StepModels, Under, code_steps};
use super::{Made, Table, World};
use crate::code::{Model, Symbols, hash};
use crate::elf::Elf;
use crate::predict::{AddressMap, UnitView};
use crate::{Error, error::Result};
use std::cell::Cell;
use std::collections::HashMap;

/// Tables of a record in the order in which they are told: files come first, lines need them.
const FILES: usize = 1;
const LINES: usize = 2;

/// Whether the model gives a new table back.
pub fn fits(elf: &Elf, bytes: &[u8]) -> bool {
    let read = |i: usize| {
        let s = &elf.sections[i];
        bytes
            .get(s.offset as usize..(s.offset + s.size) as usize)
            .map(<[u8]>::to_vec)
    };
    reader::find(elf, read).is_some_and(|table| builder::rebuilds(&table))
}

#[derive(Debug)]
struct Models {
    extra: Model,
    numbers: Model,
    is_function: Model,
    scalars: Model,
    scalar: Model,
    scalar_value: Model,
    count: Model,
    present: Model,
    same: Model,
    len: Model,
    word: Model,
    word_hit: Model,
    byte: Model,
    place: Model,
    choice: Model,
    tree: Model,
    row: Model,
    row_skip: Model,
    pc_hit: Model,
    pc: Model,
    line_hit: Model,
    line: Model,
    steps: StepModels,
}

impl Default for Models {
    fn default() -> Self {
        Models {
            extra: Model::new(1, 8, 255),
            numbers: Model::new(1, 12, 255),
            is_function: Model::new(1, 8, 255),
            scalars: Model::new(2, 10, 255),
            scalar: Model::new(2, 10, 255),
            scalar_value: Model::new(2, 14, 255),
            count: Model::new(2, 10, 255),
            present: Model::new(3, 12, 255),
            same: Model::new(3, 12, 255),
            len: Model::new(2, 12, 255),
            word: Model::new(2, 14, 255),
            word_hit: Model::new(2, 10, 255),
            byte: Model::new(4, 18, 255),
            place: Model::new(2, 10, 255),
            choice: Model::new(1, 10, 255),
            tree: Model::new(2, 10, 255),
            row: Model::new(3, 12, 255),
            row_skip: Model::new(1, 10, 255),
            pc_hit: Model::new(2, 12, 255),
            pc: Model::new(2, 14, 255),
            line_hit: Model::new(2, 12, 255),
            line: Model::new(2, 14, 255),
            steps: StepModels::default(),
        }
    }
}

/// The addresses that positions in the table count from, old and new.
#[derive(Clone, Copy, Debug, Default)]
struct Bases {
    text: (u32, u32),
    data: (u32, u32),
    /// Data of functions.
    module: (u32, u32),
}

/// Tells the table, unit by unit.
#[derive(Debug)]
pub struct Functions {
    section: usize,
    room: usize,
    code_len: u32,
    old: Option<GoTable>,
    truth: Option<GoTable>,
    builder: Builder,
    frame: Frame,
    known: Option<Frame>,
    files: FileMap,
    lines: Lines,
    names: Names,
    bases: Bases,
    m: Models,
    /// True functions told so far.
    told: usize,
    /// Where the last function began.
    entry: u32,
    /// Where the last unit ended.
    end: u32,
    /// Old positions of data to new places.
    places: HashMap<u32, Place>,
    /// Old positions of names to new ones.
    name_places: HashMap<u32, u32>,
    /// On the writing side: the true table's.
    true_places: HashMap<u32, Place>,
    /// Old positions of pointer masks to new ones.
    masks: HashMap<u32, u32>,
    /// First lines of inlined functions, by name.
    first_lines: HashMap<Vec<u8>, i32>,
    /// Old positions of data in another section to new ones.
    elsewhere: HashMap<u32, u32>,
    last_data: u32,
    last_away: u32,
    missed: u32,
    last_unit: u32,
    last_line: u32,
    quantum: u8,
    history: u32,
    /// Stretches of old tables read since it was asked.
    work: u64,
}

fn base(elf: &Elf, name: &[u8]) -> u32 {
    elf.section(name).map_or(0, |i| elf.sections[i].addr as u32)
}

impl Functions {
    /// At the first unit, where the table is modelled.
    pub fn begin<S: Symbols>(s: &mut S, world: &World) -> Result<Option<Functions>> {
        let Some(section) = world.choices.sections(Table::Functions).next() else {
            return Ok(None);
        };
        let room = world.elf.sections[section].size as usize;
        let read_old = |i: usize| {
            let s = &world.old.elf.sections[i];
            s.in_file()
                .then(|| world.old.file.bytes(s.offset, s.size).ok())
                .flatten()
        };
        let old = reader::find(&world.old.elf, read_old);
        let truth = match world.truth {
            Some(_) => reader::find(world.elf, |i| world.true_bytes(i).map(<[u8]>::to_vec)),
            None => None,
        };
        let was = old.as_ref().and_then(builder::frame_of);
        let known = truth.as_ref().and_then(builder::frame_of);
        let text = world.elf.section(b".text").map(|i| &world.elf.sections[i]);
        let old_base = reader::module_data(&world.old.elf, read_old);
        let true_base = match world.truth {
            Some(_) => reader::module_data(world.elf, |i| world.true_bytes(i).map(<[u8]>::to_vec)),
            None => 0,
        };
        let mut bases = Bases {
            module: (old_base, 0),
            text: (base(&world.old.elf, b".text"), base(world.elf, b".text")),
            data: (base(&world.old.elf, b".rodata"), base(world.elf, b".rodata")),
        };
        let (frame, files) = frame::code_frame(
            s,
            old.as_ref(),
            was.as_ref(),
            (u64::from(bases.text.0), u64::from(bases.text.1)),
            room,
            truth.as_ref().zip(known.as_ref()),
        )?;
        let mut m = Models::default();
        let guess = i64::from(world.targets.map().guess(old_base));
        let by = s.signed(&mut m.numbers, &[4], i64::from(true_base) - guess);
        bases.module.1 = guess.wrapping_add(by) as u32;
        let quantum = truth.as_ref().map_or(1, |t| t.head.quantum);
        let quantum = if s.flag(&mut m.is_function, &[0], quantum == 1) {
            1
        } else {
            4
        };
        let part = old.as_ref().map_or((0, 0), |o| (o.head.names, o.head.units));
        let names = Names::new(old.as_ref(), part, !S::READS);
        let mut functions = Functions {
            section,
            room,
            code_len: text.map_or(0, |t| t.size as u32),
            old,
            truth,
            builder: Builder::new(quantum),
            frame,
            known,
            files,
            lines: Lines::default(),
            names,
            bases,
            m,
            told: 0,
            entry: 0,
            end: 0,
            places: HashMap::new(),
            name_places: HashMap::new(),
            true_places: HashMap::new(),
            masks: HashMap::new(),
            first_lines: HashMap::new(),
            elsewhere: HashMap::new(),
            last_data: 0,
            last_away: 0,
            missed: 0,
            last_unit: 0,
            last_line: 0,
            quantum,
            history: 0,
            work: 0,
        };
        if !functions.frame.with_data {
            functions.all_names(s)?;
        }
        Ok(Some(functions))
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        const MAPPED: usize = 24;
        let mapped = self.places.len() + self.name_places.len() + self.masks.len() + self.elsewhere.len();
        let named = self.first_lines.len() * 3;
        let old = self.old.as_ref().map_or(0, |o| o.memory());
        old + self.builder.memory() + ((mapped + named) * MAPPED) as u64 + self.names.memory()
    }

    /// Work done since this was asked last: old tables are read once for each function that names them.
    pub fn work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    /// Tells all names at once, where the inline trees that hold most of them stand in another section.
    fn all_names<S: Symbols>(&mut self, s: &mut S) -> Result<()> {
        let part = |t: &GoTable| (t.head.names, t.head.units);
        let list = |t: &GoTable| {
            t.texts(part(t))
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        };
        let truth = self.truth.as_ref().map(list).unwrap_or_default();
        let old = self.old.as_ref().map_or(0, |t| t.texts(part(t)).len() as i64);
        let count = s
            .signed(&mut self.m.numbers, &[5], truth.len() as i64 - old)
            .saturating_add(old);
        for index in 0..count.max(0) as usize {
            let expected = self.names.next();
            let known = truth.get(index).map(Vec::as_slice);
            let name = self.names.code(s, 3, self.old.as_ref(), expected, known)?;
            let place = self.builder.add_name(&name);
            if let Some(at) = self
                .names
                .last()
                .filter(|&at| self.old.as_ref().is_some_and(|o| o.name(at) == name))
            {
                self.name_places.entry(at).or_insert(place);
            }
            if self.builder.len() > self.room + 64 || s.exhausted() {
                return Err(Error::DamagedPatch("Go's names do not fit their section"));
            }
        }
        Ok(())
    }

    fn true_entry(&self) -> Option<u32> {
        let truth = self.truth.as_ref()?;
        truth
            .entries
            .get(self.told)
            .copied()
            .filter(|_| self.told < truth.functions())
    }

    /// Tells functions that are no unit, before `entry`.
    fn extras<S: Symbols>(&mut self, s: &mut S, map: &AddressMap, before: u32) -> Result<()> {
        let count = self.truth.as_ref().map_or(0, |t| {
            let all = &t.entries[..t.functions()];
            all.partition_point(|&e| e < before).saturating_sub(self.told)
        });
        let count = s.number(&mut self.m.extra, &[1], count as u64);
        for _ in 0..count {
            let away = self.true_entry().map_or(0, |e| e.wrapping_sub(self.entry));
            let away = s
                .number(&mut self.m.numbers, &[1], u64::from(away))
                .min(u64::from(u32::MAX));
            self.function(s, map, self.entry.wrapping_add(away as u32), None)?;
        }
        Ok(())
    }

    /// Tells what begins at a finished unit.
    pub fn unit<S: Symbols>(&mut self, s: &mut S, map: &AddressMap, view: &mut UnitView) -> Result<()> {
        let entry = view.addr.wrapping_sub(self.bases.text.1);
        if entry >= self.code_len {
            return Ok(());
        }
        self.extras(s, map, entry)?;
        let is = self.true_entry() == Some(entry);
        if s.flag(&mut self.m.is_function, &[1], is) {
            self.function(s, map, entry, Some(view))?;
        }
        self.end = entry + view.unit.size;
        Ok(())
    }

    /// Tells what is left and hands the section over.
    pub fn finish<S: Symbols>(mut self, s: &mut S, world: &World, made: &mut Made) -> Result<()> {
        self.extras(s, world.targets.map(), u32::MAX)?;
        let end = self.known.as_ref().map_or(0, |k| i64::from(k.end));
        let end = s.signed(&mut self.m.numbers, &[2], end - i64::from(self.end));
        let damaged = || Error::DamagedPatch("Go's function table does not fit its section");
        let end = u32::try_from(end.saturating_add(i64::from(self.end))).map_err(|_| damaged())?;
        if self.builder.len() + reader::index_len(end) > self.room + 64 {
            return Err(damaged());
        }
        self.frame.end = end;
        let bytes = self.builder.finish(&self.frame);
        if bytes.len() != self.room {
            return Err(damaged());
        }
        made.section(world, self.section, bytes)
    }

    fn function<S: Symbols>(
        &mut self,
        s: &mut S,
        map: &AddressMap,
        entry: u32,
        mut view: Option<&mut UnitView>,
    ) -> Result<()> {
        let old_table = self.old.take();
        let truth_table = self.truth.take();
        let result = self.told_function(s, map, entry, &mut view, old_table.as_ref(), truth_table.as_ref());
        (self.old, self.truth) = (old_table, truth_table);
        self.told += 1;
        self.entry = entry;
        if self.builder.len() > self.room + 64 {
            return Err(Error::DamagedPatch(
                "Go's function table does not fit its section",
            ));
        }
        result
    }

    fn told_function<S: Symbols>(
        &mut self,
        s: &mut S,
        map: &AddressMap,
        entry: u32,
        view: &mut Option<&mut UnitView>,
        old_table: Option<&GoTable>,
        truth_table: Option<&GoTable>,
    ) -> Result<()> {
        // Both sides of the function.
        let old = view.as_ref().and_then(|v| {
            let addr = v.source_addr()?;
            let index = old_table?.function_at(addr.wrapping_sub(self.bases.text.0))?;
            old_table?.record(index)
        });
        let truth = truth_table.and_then(|t| t.record(self.told));
        let whole = view.as_ref().is_some_and(|v| v.unit.whole);
        let size = view.as_ref().map_or(0, |v| v.unit.size);
        let project = |view: &Option<&mut UnitView>, at: u32| -> u32 {
            let Some(v) = view else { return at };
            let Some(source) = v.source() else { return at };
            if at >= source.size {
                return v.unit.size.saturating_add(at - source.size);
            }
            v.project(at).unwrap_or(0)
        };
        let work = Cell::new(0);
        let old_steps = |index: usize| -> Option<Vec<Step>> {
            let at = *old.as_ref()?.tables.get(index)?;
            let steps = if at == 0 { None } else { old_table?.table(at) };
            work.set(work.get() + steps.as_ref().map_or(0, |s| s.len() as u64));
            steps
        };
        let mut f = Function::default();

        // Name and scalars.
        let true_name = truth
            .as_ref()
            .zip(truth_table)
            .map(|(t, table)| table.name(t.name));
        let expected = old.as_ref().map(|o| o.name).or_else(|| self.names.next());
        let name = self
            .names
            .code(s, u32::from(old.is_some()), old_table, expected, true_name)?;
        let was = old.as_ref().map(|o| o.name);
        f.name = self.name(s, &name, was, truth.as_ref().map(|t| t.name))?;
        let old_files = old_steps(FILES);
        let old_unit = old.as_ref().map_or(0, |o| o.scalars[UNIT]);
        let by_file: Vec<(u32, u32)> = old_files
            .unwrap_or_default()
            .iter()
            .map(|x| (x.end, self.files.identity(old_unit, x.value)))
            .collect();
        let identity = |at: u32| {
            let found = by_file.get(by_file.partition_point(|x| x.0 <= at));
            found.or(by_file.last()).map_or(NONE, |x| x.1)
        };
        let mut guess = old.as_ref().map_or([0; 7], |o| o.scalars);
        if old.is_some() {
            guess[DEFER] = if guess[DEFER] == 0 {
                0
            } else {
                project(view, guess[DEFER])
            };
            guess[UNIT] = self.files.unit(old_unit).unwrap_or(self.last_unit);
            guess[LINE] = self.lines.project(identity(0), guess[LINE] as i32) as u32;
        } else {
            guess[UNIT] = self.last_unit;
            guess[LINE] = self.last_line;
        }
        let known = truth.as_ref().map_or([0; 7], |t| t.scalars);
        let has = u32::from(old.is_some()) | u32::from(whole) << 1;
        let m = &mut self.m;
        f.scalars = guess;
        if !s.flag(
            &mut m.scalars,
            &[hash(1, has), hash(hash(2, has), self.history & 15)],
            known == guess,
        ) {
            self.history = self.history << 1 | 1;
            for (i, value) in f.scalars.iter_mut().enumerate() {
                let column = i as u32;
                let contexts = [hash(1, column | has << 4), hash(2, column)];
                if !s.flag(&mut m.scalar, &contexts, known[i] == *value) {
                    let by = i64::from(known[i]) - i64::from(*value);
                    *value = value.wrapping_add(s.signed(&mut m.scalar_value, &contexts, by) as u32);
                }
            }
        } else {
            self.history <<= 1;
        }
        for value in &mut f.scalars[4..] {
            *value &= 0xff;
        }
        let unit = f.scalars[UNIT];
        (self.last_unit, self.last_line) = (unit, f.scalars[LINE]);
        if let Some(o) = &old {
            self.lines
                .learn(identity(0), o.scalars[LINE] as i32, f.scalars[LINE] as i32);
        }
        // How many tables and data.
        let counts = |r: &Option<Record>| {
            r.as_ref()
                .map_or((4, 7), |r| (r.tables.len() as u32, r.data.len() as u32))
        };
        let (old_counts, true_counts) = (counts(&old), counts(&truth));
        let tables = s.tree(&mut m.count, &[hash(1, old_counts.0), 2], 7, true_counts.0);
        let data = s.tree(&mut m.count, &[hash(3, old_counts.1), 4], 7, true_counts.1);
        if tables < 3 {
            return Err(Error::DamagedPatch("a Go function lacks its tables"));
        }
        f.tables = vec![None; tables as usize];

        // Files, then data with the inline tree, then the other tables.
        let mut starts = Vec::new();
        let mut total = None;
        let mut limit = self.room;
        let mut before = 0;
        let inline_files: HashMap<i32, u32> = match old_steps(INLINE_INDEX) {
            Some(steps) => {
                let mut found = HashMap::new();
                let mut at = 0;
                for step in steps {
                    found.entry(step.value).or_insert_with(|| identity(at));
                    at = step.end;
                }
                found
            }
            None => HashMap::new(),
        };
        let mut rows_map: Vec<i32> = Vec::new();
        let order = [FILES]
            .into_iter()
            .chain((0..f.tables.len()).filter(|&i| i != FILES));
        for index in order {
            if index == 0 {
                // Everything but files may use the data.
                for kind in 0..data as usize {
                    let place = self.data(
                        s,
                        map,
                        kind,
                        (old.as_ref(), old_table),
                        (truth.as_ref(), truth_table),
                        view,
                        &mut starts,
                        whole,
                        &inline_files,
                        &mut rows_map,
                        &project,
                    )?;
                    f.data.push(place);
                }
            }
            let old_at = old
                .as_ref()
                .and_then(|o| o.tables.get(index))
                .copied()
                .unwrap_or(0);
            let true_at = truth
                .as_ref()
                .and_then(|t| t.tables.get(index))
                .copied()
                .unwrap_or(0);
            let column = (index as u32).min(15);
            let contexts = [
                hash(1, column << 1 | u32::from(old_at != 0)),
                hash(hash(2, column), has),
                hash(hash(3, column), u32::from(total.is_some())),
            ];
            if !s.flag(&mut self.m.present, &contexts, true_at != 0) {
                continue;
            }
            let true_steps = truth_table
                .filter(|_| true_at != 0)
                .and_then(|t| t.table(true_at));
            let was = old_steps(index);
            let mut projected = was.clone().unwrap_or_default();
            let mut at = 0;
            let mut keys = Vec::new();
            for step in &mut projected {
                keys.push(identity(at));
                at = step.end;
                step.end = project(view, step.end);
            }
            if !whole
                && starts.is_empty()
                && let Some(v) = view.as_mut()
            {
                starts.extend_from_slice(v.locals().starts());
            }
            let under = Under {
                kind: column,
                whole,
                starts: &starts,
                size,
                end: total,
                quantum: u32::from(self.quantum),
                limit,
                before,
            };
            let old_values = was.as_deref().unwrap_or_default();
            let (lines, files) = (&mut self.lines, &self.files);
            let mut value = |i: usize, now: Option<i32>| {
                let old_value = old_values[i].value;
                match index {
                    FILES => files.file(old_unit, unit, old_value),
                    LINES => {
                        if let Some(now) = now {
                            lines.learn(keys[i], old_value, now);
                        }
                        lines.project(keys[i], old_value)
                    }
                    INLINE_INDEX => match usize::try_from(old_value).ok().and_then(|v| rows_map.get(v)) {
                        Some(&row) => row,
                        None => old_value,
                    },
                    _ => old_value,
                }
            };
            let given = was.as_ref().map(|_| projected.as_slice());
            let steps = code_steps(
                s,
                &mut self.m.steps,
                &under,
                given,
                &mut value,
                true_steps.as_deref(),
            )?;
            let missed = self.m.steps.missed(column);
            before = before << 1 | u32::from(missed);
            limit = limit.saturating_sub(steps.len());
            total = total.or(steps.last().map(|x| x.end));
            f.tables[index] = Some(steps);
        }
        self.builder.function(entry, &f);
        self.work += work.get();
        Ok(())
    }

    /// Codes which of the names that read alike is meant: the one that the old one was, or a new one.
    fn name<S: Symbols>(
        &mut self,
        s: &mut S,
        name: &[u8],
        old: Option<u32>,
        truth: Option<u32>,
    ) -> Result<u32> {
        let seen = self.builder.names_like(name);
        let known = old.and_then(|at| self.name_places.get(&at)).copied();
        let expected = known.filter(|p| seen.contains(p));
        let place = if seen.is_empty() {
            None
        } else {
            let guess = match (expected, old) {
                (Some(place), _) => Some(place),
                (None, Some(_)) => None,
                (None, None) => seen.first().copied(),
            };
            let known = truth.filter(|t| seen.contains(t));
            let contexts = [
                hash(5, u32::from(expected.is_some()) | u32::from(old.is_some()) << 1),
                hash(6, (seen.len() as u32).min(3) | u32::from(guess.is_some()) << 2),
            ];
            if s.flag(&mut self.m.place, &contexts, known == guess) {
                guess
            } else {
                let index = known
                    .and_then(|t| seen.iter().position(|&p| p == t))
                    .map_or(0, |i| i as u64 + 1);
                let index = s.number(&mut self.m.choice, &[4], index);
                match usize::try_from(index).unwrap_or(usize::MAX).checked_sub(1) {
                    Some(i) => Some(*seen.get(i).ok_or(Error::DamagedPatch("a name is not there"))?),
                    None => None,
                }
            }
        };
        let place = place.unwrap_or_else(|| self.builder.add_name(name));
        if let Some(old) = old {
            self.name_places.insert(old, place);
        }
        Ok(place)
    }
}
