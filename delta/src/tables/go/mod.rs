//! Go's function table, `.gopclntab`, told function by function: contents, from which the linker's order gives
//! every position.
//!
//! Names, tables over code and the data of functions are shared, and stand in the order of first use; so a
//! function is told as its name, its source lines and the like, each against the old function that its code
//! continues, code offsets projected along the code. The index over the code is made anew.

mod builder;
mod frame;
mod lines;
mod names;
mod reader;
mod steps;
pub mod words;

use self::builder::{Builder, ELSEWHERE, Frame, Function, Place, Tree};
use self::frame::FileMap;
use self::lines::Lines;
use self::names::Names;
use self::reader::{DEFER, GoTable, INLINE_INDEX, INLINE_TREE, LINE, NONE, Record, Step, UNIT};
use self::steps::{StepModels, Under, code_steps};
use super::{Made, Table, World};
use crate::code::{Model, Symbols, hash};
use crate::elf::Elf;
use crate::predict::{AddressMap, UnitView};
use crate::{Error, error::Result};
use std::collections::HashMap;

/// Tables of a record in the order in which they are told: files come first, lines need them.
const FILES: usize = 1;
const LINES: usize = 2;
/// The funcdata of a function that describes objects on the stack.
const STACK_OBJECTS: usize = 2;
/// The funcdata of a wrapper that points to what it wraps.
const WRAPPED: usize = 7;
/// How far the writer looks for the old row that a row of an inline tree continues.
const LOOK: usize = 200;

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
        let old_steps = |index: usize| -> Option<Vec<Step>> {
            let at = *old.as_ref()?.tables.get(index)?;
            if at == 0 { None } else { old_table?.table(at) }
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
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn data<S: Symbols>(
        &mut self,
        s: &mut S,
        map: &AddressMap,
        kind: usize,
        (old, old_table): (Option<&Record>, Option<&GoTable>),
        (truth, truth_table): (Option<&Record>, Option<&GoTable>),
        view: &mut Option<&mut UnitView>,
        starts: &mut Vec<u32>,
        whole: bool,
        inline_files: &HashMap<i32, u32>,
        rows_map: &mut Vec<i32>,
        project: &dyn Fn(&Option<&mut UnitView>, u32) -> u32,
    ) -> Result<Option<Place>> {
        let old_at = old.and_then(|o| o.data.get(kind)).copied().unwrap_or(NONE);
        let true_at = truth.and_then(|t| t.data.get(kind)).copied().unwrap_or(NONE);
        let column = (kind as u32).min(15);
        let has = u32::from(old.is_some()) | u32::from(whole) << 1;
        let contexts = [
            hash(4, column << 1 | u32::from(old_at != NONE)),
            hash(hash(5, column), has),
            hash(hash(6, column), u32::from(old_at != NONE) | has << 1),
        ];
        if !s.flag(&mut self.m.present, &contexts, true_at != NONE) {
            return Ok(None);
        }
        if !self.frame.with_data {
            // The data stands in another section: only its position is told.
            let known = self.elsewhere.get(&old_at).copied();
            let (old_base, new_base) = self.bases.module;
            let from = old_at.wrapping_add(old_base);
            let guess = match known {
                _ if old_at == NONE => self.last_data,
                Some(at) => at,
                None => map.guess(from).wrapping_sub(new_base),
            };
            let contexts = [
                hash(
                    7,
                    column | u32::from(known.is_some()) << 4 | u32::from(old_at != NONE) << 5,
                ),
                hash(hash(8, column), self.missed & 7),
            ];
            let hit = s.flag(&mut self.m.place, &contexts, true_at == guess);
            self.missed = self.missed << 1 | u32::from(!hit);
            let mut at = guess;
            if !hit {
                // What differs from the map differs alike for a while.
                let again = guess.wrapping_add(self.last_away);
                let known = [hash(9, column), hash(10, self.missed & 15)];
                if s.flag(&mut self.m.place, &known, true_at == again) {
                    at = again;
                } else {
                    let by = true_at.wrapping_sub(guess) as i32;
                    let by = s.signed(&mut self.m.word, &[hash(5, column), 6], i64::from(by));
                    at = guess.wrapping_add(by as u32);
                    self.last_away = by as u32;
                }
            }
            if old_at != NONE {
                self.elsewhere.insert(old_at, at);
            }
            self.last_data = at;
            return Ok(Some((ELSEWHERE, at)));
        }
        let was = old_table.filter(|_| old_at != NONE).and_then(|t| t.blob(old_at));
        let known = truth_table.and_then(|t| t.blob(true_at));
        let old_group = was.map_or(0, |(blob, _)| blob.group);
        if kind == INLINE_TREE {
            let known = truth.zip(truth_table).and_then(|(r, t)| builder::tree_of(t, r));
            if whole || starts.is_empty() {
                // Starts are only needed where the code changed.
                if let Some(v) = view.as_mut().filter(|_| !whole) {
                    starts.extend_from_slice(v.locals().starts());
                }
            }
            let rows = was.map(|(_, rows)| rows);
            let tree = self.tree(
                s,
                (old_table, truth_table),
                rows,
                known.as_ref(),
                old_group,
                view,
                starts,
                whole,
                inline_files,
                rows_map,
                project,
            )?;
            return Ok(Some(self.builder.add_tree(&tree)));
        }

        // Content.
        let mut guess = was.map(|(_, content)| content.to_vec());
        if let Some(guess) = &mut guess {
            let mut moved = |at: usize, bases: (u32, u32)| {
                if let Some(word) = guess.get_mut(at..at + 4) {
                    let old = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                    let new = self.masks.get(&old.wrapping_add(bases.0)).copied();
                    let new = new.unwrap_or_else(|| map.guess(old.wrapping_add(bases.0)));
                    word.copy_from_slice(&new.wrapping_sub(bases.1).to_le_bytes());
                }
            };
            let len = was.map_or(0, |w| w.1.len());
            match kind {
                STACK_OBJECTS => (20..len).step_by(16).for_each(|at| moved(at, self.bases.data)),
                WRAPPED => moved(0, self.bases.text),
                _ => {}
            }
        }
        let truth = known.map(|(_, content)| content);
        let contexts = [
            hash(1, column | u32::from(guess.is_some()) << 4),
            hash(hash(2, column), has),
            hash(hash(3, column), self.history & 3),
        ];
        let hit = guess.is_some()
            && s.flag(
                &mut self.m.same,
                &contexts,
                truth.is_some() && truth == guess.as_deref(),
            );
        let content = match guess {
            Some(guess) if hit => guess,
            guess => self.content(s, kind, &guess.unwrap_or_default(), truth)?,
        };
        if let Some((_, old)) = was.filter(|_| kind == STACK_OBJECTS && !hit) {
            for (a, b) in old
                .chunks_exact(4)
                .zip(content.chunks_exact(4))
                .skip(5)
                .step_by(4)
            {
                let word = |w: &[u8]| u32::from_le_bytes([w[0], w[1], w[2], w[3]]);
                self.masks.insert(
                    word(a).wrapping_add(self.bases.data.0),
                    word(b).wrapping_add(self.bases.data.1),
                );
            }
        }

        // Place: one that has this content already, or a new one.
        let seen = self.builder.blobs(&content);
        let before = self.places.get(&old_at).copied().filter(|p| seen.contains(p));
        let expected = before.or_else(|| seen.iter().find(|p| p.0 == old_group).copied());
        let truth = known.map(|(blob, _)| (self.true_places.get(&true_at).copied(), blob.group));
        let fits = match (expected, truth) {
            (Some(place), Some((known, _))) => known == Some(place),
            (None, Some((known, group))) => known.is_none() && group == old_group && was.is_some(),
            _ => false,
        };
        let contexts = [
            hash(1, column | u32::from(expected.is_some()) << 4),
            hash(
                2,
                (seen.len() as u32).min(3) | u32::from(was.is_some()) << 2 | u32::from(old_group) << 3,
            ),
        ];
        let place = if s.flag(&mut self.m.place, &contexts, fits) {
            expected.unwrap_or_else(|| self.builder.add_blob(old_group, &content))
        } else {
            let index = truth
                .and_then(|t| t.0)
                .and_then(|p| seen.iter().position(|q| *q == p));
            let index = s.number(&mut self.m.choice, &[1], index.map_or(0, |i| i as u64 + 1));
            match usize::try_from(index).unwrap_or(usize::MAX).checked_sub(1) {
                Some(i) => *seen.get(i).ok_or(Error::DamagedPatch("Go's data is not there"))?,
                None => {
                    let contexts = hash(2, column << 16 | content.len() as u32);
                    let group = s.tree(
                        &mut self.m.choice,
                        &[contexts],
                        4,
                        truth.map_or(0, |t| u32::from(t.1)),
                    );
                    self.builder.add_blob(group as u8, &content)
                }
            }
        };
        if old_at != NONE {
            self.places.insert(old_at, place);
        }
        if known.is_some() {
            self.true_places.insert(true_at, place);
        }
        Ok(Some(place))
    }

    fn content<S: Symbols>(
        &mut self,
        s: &mut S,
        kind: usize,
        guess: &[u8],
        truth: Option<&[u8]>,
    ) -> Result<Vec<u8>> {
        let truth = truth.unwrap_or_default();
        let column = (kind as u32).min(15);
        let contexts = [hash(1, column), hash(hash(2, column), guess.len() as u32)];
        let by = s.signed(
            &mut self.m.len,
            &contexts,
            truth.len() as i64 - guess.len() as i64,
        );
        let len = by.saturating_add(guess.len() as i64);
        let len = usize::try_from(len).ok().filter(|&l| l <= self.room);
        let len = len.ok_or(Error::DamagedPatch("Go's data is too long"))?;
        let mut out = Vec::new();
        while out.len() < len {
            let at = out.len();
            if (kind == STACK_OBJECTS || kind == WRAPPED) && len - at >= 4 {
                let word = |bytes: &[u8]| {
                    bytes
                        .get(at..at + 4)
                        .map_or(0, |w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
                };
                let (was, is) = (word(guess), word(truth));
                let phase = column << 4 | if at < 8 { 8 } else { (at as u32 / 4) & 3 };
                let contexts = [hash(1, phase), hash(hash(2, phase), u32::from(at < guess.len()))];
                let mut now = was;
                if !s.flag(&mut self.m.word_hit, &contexts, was == is) {
                    let by = s.signed(&mut self.m.word, &contexts, i64::from(is) - i64::from(was));
                    now = was.wrapping_add(by as u32);
                }
                out.extend_from_slice(&now.to_le_bytes());
            } else {
                let byte = |back: usize| at.checked_sub(back).map_or(256, |i| u32::from(out[i]));
                let was = guess.get(at).map_or(256, |&b| u32::from(b));
                let contexts = [
                    hash(hash(1, column), was),
                    hash(hash(2, column), byte(1) | was << 12),
                    hash(hash(3, column), byte(1) | byte(2) << 9),
                    hash(hash(4, column), byte(4) | (at as u32).min(16) << 9),
                ];
                let value = s.byte(&mut self.m.byte, &contexts, truth.get(at).copied().unwrap_or(0));
                out.push(value);
            }
            if s.exhausted() {
                return Err(Error::DamagedPatch("Go's data ends too early"));
            }
        }
        Ok(out)
    }

    #[allow(clippy::too_many_arguments)]
    fn tree<S: Symbols>(
        &mut self,
        s: &mut S,
        (old_table, truth_table): (Option<&GoTable>, Option<&GoTable>),
        old_rows: Option<&[u8]>,
        truth: Option<&Tree>,
        group: u8,
        view: &mut Option<&mut UnitView>,
        starts: &[u32],
        whole: bool,
        inline_files: &HashMap<i32, u32>,
        rows_map: &mut Vec<i32>,
        project: &dyn Fn(&Option<&mut UnitView>, u32) -> u32,
    ) -> Result<Tree> {
        let word =
            |row: &[u8], at: usize| u32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
        let old: Vec<&[u8]> = old_rows.unwrap_or_default().chunks_exact(16).collect();
        let old_name = |i: usize| old_table.map_or(&[][..], |t| t.name(word(old[i], 4)));
        let key = |i: usize| inline_files.get(&(i as i32)).copied().unwrap_or(NONE);
        let mut tree = Tree {
            group,
            ..Tree::default()
        };
        let has = u32::from(old_rows.is_some()) | u32::from(whole) << 1;
        let know = truth.map_or(&[][..], |t| &t.rows);
        let true_name = |i: usize| Some(truth_table?.name(*truth?.names.get(i)?));
        let true_row = |i: usize| know.get(16 * i..16 * i + 16);
        if old_rows.is_some() {
            let mut names = Vec::new();
            for (i, row) in old.iter().enumerate() {
                let line = self.lines.project(key(i), word(row, 12) as i32) as u32;
                for w in [word(row, 0), 0, project(view, word(row, 8)), line] {
                    tree.rows.extend_from_slice(&w.to_le_bytes());
                }
                names.push(old_name(i));
            }
            let contexts = [hash(1, has), hash(hash(2, has), self.history & 15)];
            let same = truth.is_some_and(|t| t.rows == tree.rows && t.group == group)
                && (0..names.len()).all(|i| true_name(i) == Some(names[i]));
            if s.flag(&mut self.m.tree, &contexts, same) {
                rows_map.extend(0..old.len() as i32);
                for (i, row) in old.iter().enumerate() {
                    let now = word(&tree.rows[16 * i..], 12) as i32;
                    self.lines.learn(key(i), word(row, 12) as i32, now);
                    let place = self.name(s, names[i], Some(word(row, 4)), truth.map(|t| t.names[i]))?;
                    tree.names.push(place);
                }
                return Ok(tree);
            }
            tree.rows.clear();
        }
        let old_count = old.len() as i64;
        let true_count = know.len() as i64 / 16;
        let count = s
            .signed(&mut self.m.len, &[hash(3, has), 4], true_count - old_count)
            .saturating_add(old_count);
        let count = usize::try_from(count).ok().filter(|&c| c <= self.room / 16);
        let count = count.ok_or(Error::DamagedPatch("an inline tree is too long"))?;
        tree.group = s.tree(
            &mut self.m.choice,
            &[hash(3, u32::from(group))],
            4,
            truth.map_or(0, |t| u32::from(t.group)),
        ) as u8;
        rows_map.resize(old.len(), -1);
        let (mut cursor, mut history) = (0usize, 0u32);
        for i in 0..count {
            let known = true_row(i);
            let known_name = true_name(i);
            let continues = |j: usize| {
                j < old.len()
                    && Some(old_name(j)) == known_name
                    && known.is_some_and(|k| word(k, 0) == word(old[j], 0))
            };
            let mut from = None;
            if cursor < old.len() {
                let contexts = [hash(1, history & 3), hash(2, history & 0xff), 3];
                let next = s.flag(&mut self.m.row, &contexts, continues(cursor));
                history = history << 1 | u32::from(!next);
                if next {
                    from = Some(cursor);
                } else {
                    let skip = if S::READS {
                        None
                    } else {
                        (1..LOOK).find(|k| continues(cursor + k))
                    };
                    let skip = s.number(&mut self.m.row_skip, &[1], skip.unwrap_or(0) as u64);
                    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                    if skip > 0 {
                        from = cursor.checked_add(skip).filter(|&j| j < old.len());
                        from.ok_or(Error::DamagedPatch("an inline tree continues nothing"))?;
                    }
                }
            }
            let mut row = [0u32; 4];
            let name;
            let k = |at: usize| known.map_or(0, |k| word(k, at));
            let (mut pc, mut line) = (0, 0);
            if let Some(j) = from {
                cursor = j + 1;
                rows_map[j] = i as i32;
                row[0] = word(old[j], 0);
                name = old_name(j).to_vec();
                pc = project(view, word(old[j], 8));
                line = self.lines.project(key(j), word(old[j], 12) as i32);
            } else {
                row[0] = s.number(&mut self.m.numbers, &[3], u64::from(k(0))) as u32;
                name = self.names.code(s, 2, old_table, None, known_name)?;
                if let Some(&known_line) = self.first_lines.get(&name) {
                    line = known_line;
                }
            }
            let missed = u32::from(from.is_none());
            row[2] = self.pc(s, starts, pc, missed, k(8))?;
            let contexts = [hash(1, missed), hash(2, history & 15)];
            row[3] = line as u32;
            if !s.flag(&mut self.m.line_hit, &contexts, k(12) == row[3]) {
                let by = s.signed(
                    &mut self.m.line,
                    &contexts,
                    i64::from(k(12) as i32) - i64::from(line),
                );
                row[3] = line.wrapping_add(by as i32) as u32;
            }
            if let Some(j) = from {
                self.lines.learn(key(j), word(old[j], 12) as i32, row[3] as i32);
            }
            let was = from.map(|j| word(old[j], 4));
            tree.names
                .push(self.name(s, &name, was, truth.map(|t| t.names[i]))?);
            self.first_lines.insert(name, row[3] as i32);
            for w in row {
                tree.rows.extend_from_slice(&w.to_le_bytes());
            }
            if s.exhausted() {
                return Err(Error::DamagedPatch("an inline tree ends too early"));
            }
        }
        Ok(tree)
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

    /// Codes an offset in the code of a function.
    fn pc<S: Symbols>(
        &mut self,
        s: &mut S,
        starts: &[u32],
        guess: u32,
        missed: u32,
        truth: u32,
    ) -> Result<u32> {
        let m = &mut self.m;
        if s.flag(
            &mut m.pc_hit,
            &[hash(1, missed), hash(2, u32::from(starts.is_empty()))],
            truth == guess,
        ) {
            return Ok(guess);
        }
        let base = starts.partition_point(|&x| x < guess);
        let index = starts.binary_search(&truth).ok();
        if s.flag(&mut m.pc_hit, &[3, 4], index.is_some()) {
            let by = index.map_or(0, |i| i as i64 - base as i64);
            let at = s
                .signed(&mut m.pc, &[hash(1, missed), 2], by)
                .saturating_add(base as i64);
            let at = usize::try_from(at).ok().and_then(|i| starts.get(i));
            return at
                .copied()
                .ok_or(Error::DamagedPatch("an inlined call is nowhere"));
        }
        let by = s.signed(
            &mut m.pc,
            &[hash(3, missed), 4],
            i64::from(truth) - i64::from(guess),
        );
        Ok(guess.wrapping_add(by as u32))
    }
}
