//! Go's function table, `.gopclntab`, coded function by function: contents, from which the linker's order gives
//! every position.
//!
//! Names, tables over code and the data of functions are shared, and stand in the order of first use; so a
//! function is coded as its name, its source lines and the like, each against the old function that its code
//! continues, code offsets projected along the code. The index over the code is made anew.

mod builder;
mod data;
mod frame;
mod function;
mod lines;
mod models;
mod names;
mod reader;
mod steps;
pub mod words;

use self::builder::{Builder, Frame, Place};
use self::frame::FileMap;
use self::lines::Lines;
use self::models::Models;
use self::names::Names;
use self::reader::GoTable;
use super::{Image, Made, Spent, Table, TableModel, World};
use crate::code::{Stream, Streams, Symbols};
use crate::elf::{Elf, Numbers};
use crate::machine::Machine;
use crate::maps::HashMap;
use crate::place::{Addr, Place as _, SectionId};
use crate::predict::{AddressMap, UnitView};
use crate::{Error, error::Result};

/// Whether the model gives a new table back.
fn fits(machine: Machine, elf: &Elf, bytes: &[u8]) -> bool {
    let read = |id: SectionId| {
        let s = &elf[id];
        bytes
            .get(s.offset as usize..(s.offset + s.size) as usize)
            .map(<[u8]>::to_vec)
    };
    reader::find(elf, read).is_some_and(|table| {
        let head = &table.head;
        let counts = head.quantum == 1 || head.quantum == machine.smallest();
        counts && head.numbers == elf.numbers && builder::rebuilds(&table)
    })
}

/// The addresses that positions in the table count from, old and new.
#[derive(Clone, Copy, Debug, Default)]
struct Bases {
    text: (Addr, Addr),
    data: (Addr, Addr),
    /// Data of functions.
    module: (Addr, Addr),
}

/// Tells the table, unit by unit.
#[derive(Debug)]
pub struct Functions {
    section: SectionId,
    room: usize,
    code_len: u32,
    /// How the new file writes numbers, and the old one did.
    numbers: Numbers,
    old_numbers: Numbers,
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
    /// True functions coded so far.
    coded: usize,
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
    masks: HashMap<Addr, Addr>,
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

fn base(elf: &Elf, name: &[u8]) -> Addr {
    elf.section(name).map_or(Addr(0), |i| Addr(elf[i].addr as u32))
}

impl Functions {
    /// At the first unit, where the table is modelled.
    fn begin<S: Symbols>(s: &mut S, world: &World) -> Result<Option<Functions>> {
        let Some(section) = world.choices.sections(Table::Functions).next() else {
            return Ok(None);
        };
        let room = world.elf[section].size as usize;
        let pointer = world.elf.numbers.width();
        let read_old = |id: SectionId| {
            let s = &world.old.elf[id];
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
        let text = world.elf.section(b".text").map(|i| &world.elf[i]);
        let old_base = Addr(reader::module_data(&world.old.elf, read_old));
        let true_base = match world.truth {
            Some(_) => reader::module_data(world.elf, |i| world.true_bytes(i).map(<[u8]>::to_vec)),
            None => 0,
        };
        let mut bases = Bases {
            module: (old_base, Addr(0)),
            text: (base(&world.old.elf, b".text"), base(world.elf, b".text")),
            data: (base(&world.old.elf, b".rodata"), base(world.elf, b".rodata")),
        };
        let coded = frame::Coded {
            old: old.as_ref(),
            was: was.as_ref(),
            text: (u64::from(bases.text.0), u64::from(bases.text.1)),
            room,
            pointer,
            truth: truth.as_ref().zip(known.as_ref()),
        };
        let (frame, files) = frame::code_frame(s, &coded)?;
        let mut m = Models::default();
        let guess = i64::from(world.targets.map().guess(old_base));
        let by = m.own.module(s, i64::from(true_base) - guess);
        bases.module.1 = Addr(guess.wrapping_add(by) as u32);
        let quantum = truth.as_ref().map_or(1, |t| t.head.quantum);
        let quantum = if m.own.quantum(s, quantum == 1) {
            1
        } else {
            world.old.machine.smallest()
        };
        let part = old.as_ref().map_or((0, 0), |o| (o.head.names, o.head.units));
        let names = Names::new(old.as_ref(), part, !S::READS);
        let mut functions = Functions {
            section,
            room,
            code_len: text.map_or(0, |t| t.size as u32),
            numbers: world.elf.numbers,
            old_numbers: world.old.elf.numbers,
            old,
            truth,
            builder: Builder::new(quantum, world.elf.numbers),
            frame,
            known,
            files,
            lines: Lines::default(),
            names,
            bases,
            m,
            coded: 0,
            entry: 0,
            end: 0,
            places: HashMap::default(),
            name_places: HashMap::default(),
            true_places: HashMap::default(),
            masks: HashMap::default(),
            first_lines: HashMap::default(),
            elsewhere: HashMap::default(),
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
        let count = self.m.own.names(s, truth.len() as i64 - old).saturating_add(old);
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
                return Err(Error::damaged("Go's names do not fit their section"));
            }
        }
        Ok(())
    }

    fn true_entry(&self) -> Option<u32> {
        let truth = self.truth.as_ref()?;
        truth
            .entries
            .get(self.coded)
            .copied()
            .filter(|_| self.coded < truth.functions())
    }

    /// Tells functions that are no unit, before `entry`.
    fn extras<S: Symbols>(&mut self, s: &mut S, map: &AddressMap, before: u32) -> Result<()> {
        let count = self.truth.as_ref().map_or(0, |t| {
            let all = &t.entries[..t.functions()];
            all.partition_point(|&e| e < before).saturating_sub(self.coded)
        });
        let count = self.m.own.extra(s, count as u64);
        for _ in 0..count {
            let away = self.true_entry().map_or(0, |e| e.wrapping_sub(self.entry));
            let away = self.m.own.away(s, u64::from(away)).min(u64::from(u32::MAX));
            self.function(s, map, self.entry.wrapping_add(away as u32), None)?;
        }
        Ok(())
    }
}

impl<'w> TableModel<'w> for Functions {
    const STREAMS: &'static [(Stream, Spent)] = &[(Stream::Go, Spent::Sections(&[Table::Functions]))];

    fn by_name(elf: &Elf, section: SectionId) -> Option<Table> {
        (crate::elf::go::section(elf) == Some(section)).then_some(Table::Functions)
    }

    fn fits(new: Image<'_>) -> impl Fn(SectionId, Table) -> bool {
        move |_, _| fits(new.image.machine, &new.image.elf, new.bytes)
    }

    fn start<S: Symbols>(streams: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Functions>> {
        Functions::begin(streams.get(Stream::Go), world)
    }

    /// Tells what begins at a finished unit.
    fn unit<S: Symbols>(
        &mut self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        view: &mut UnitView,
        _index: u32,
        _made: &mut Made,
    ) -> Result<()> {
        let (s, map) = (streams.get(Stream::Go), world.targets.map());
        let entry = view.addr.since(self.bases.text.1);
        if entry >= self.code_len {
            return Ok(());
        }
        self.extras(s, map, entry)?;
        let is = self.true_entry() == Some(entry);
        if self.m.own.is_function(s, is) {
            self.function(s, map, entry, Some(view))?;
        }
        self.end = entry + view.unit.size;
        Ok(())
    }

    /// Tells what is left and hands the section over.
    fn finish<S: Symbols>(
        mut self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        let s = streams.get(Stream::Go);
        self.extras(s, world.targets.map(), u32::MAX)?;
        let end = self.known.as_ref().map_or(0, |k| i64::from(k.end));
        let end = self.m.own.end(s, end - i64::from(self.end));
        let damaged = || Error::damaged("Go's function table does not fit its section");
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

    /// Bytes of memory held.
    fn memory(&self) -> u64 {
        const MAPPED: usize = 24;
        let mapped = self.places.len() + self.name_places.len() + self.masks.len() + self.elsewhere.len();
        let named = self.first_lines.len() * 3;
        let old = self.old.as_ref().map_or(0, |o| o.memory());
        old + self.builder.memory() + ((mapped + named) * MAPPED) as u64 + self.names.memory()
    }

    /// Work done since this was asked last: old tables are read once for each function that names them.
    fn work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }
}
