//! `.eh_frame`, record by record: functions and their bounds come from the layout, exception tables from
//! where they stand; what is left are the call frame instructions and the order.
//!
//! Each unit's part is coded right after its references, while its code is at hand; the section is put
//! together when all units are through.

mod cfa;
mod fit;
mod fresh;
mod kinds;
mod programs;
mod read;
mod rows;
#[cfg(test)]
mod tests;

use super::exceptions::{ExceptionTable, Exceptions};
use super::frame_index;
use super::landmarks::{Body, Landmarks};
use super::{Image, Made, Spent, Table, TableModel, World};
use crate::budget::{Budget, Keep};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::elf::Elf;
use crate::place::{Addr, SectionId, UnitId};
use crate::predict::{Guess, Locals, Site, TargetModels, UnitView};
use crate::{Error, error::Result};
use cfa::Distances;
use fit::UnwindFit;
use programs::Programs;
use read::{FrameTable, Kind, NONE};
use rows::Row;

/// Kinds of the references in frames, beyond the kinds of fields in code.
const PERSONALITY_SITE: u32 = 41;
const LSDA_SITE: u32 = 42;

/// The exception table of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lsda {
    /// The CIE knows of none, or the pointer is null.
    Absent,
    /// A table of its own.
    Own,
    /// The table of an earlier unit.
    Shared(u32),
    /// An address outside the section.
    Other(Addr),
}

impl Lsda {
    fn tag(self) -> u32 {
        match self {
            Lsda::Absent => 0,
            Lsda::Own => 1,
            Lsda::Shared(_) => 2,
            Lsda::Other(_) => 3,
        }
    }
}

/// The FDE of a unit of the new file.
#[derive(Clone, Copy, Debug)]
struct Entry {
    unit: u32,
    lsda: Lsda,
    /// Row of the old unit's FDE, or none.
    old: u32,
    /// Start and length of the program.
    program: (u32, u32),
    /// `nop`s behind it.
    padding: u32,
    kind: u8,
}

symbols! {
    /// Models of kinds of CIE and of FDEs.
    struct FrameModels {
        count(8, 255) {
            /// Kinds of CIE.
            count: number by() [0];
            /// Bytes of the body of a new one.
            length: number by() [1];
        }
        kind_before(10, 255) {
            /// Which old kind: one more than the distance from the first one not taken, 0 for none.
            kind_before: number by() [1, 2];
        }
        byte(12, 255) {
            /// A byte of a body. `last`: the one before, or 0.
            byte: byte by(last: u32) [1, hash(2, last)];
        }
        null(6, 255) {
            /// The personality is null.
            null: flag by() [0];
        }
        present(12, 255) {
            /// The unit has an FDE. `state`: 1 if its source has, plus 2 if there is a source; `h`: for each unit so far
            /// whether it had, the last one lowest.
            present: flag by(state: u32, h: u32)
                [hash(1, state), hash(2, state | (h & 7) << 2), hash(3, state | (h & 0xff) << 2)];
        }
        kind(12, 255) {
            /// The kind is `first`. `state`: 1 if that is what the old kind became, plus 2 if it is the `last` one.
            kind: flag by(state: u32, first: u8, last: u8)
                [
                    hash(1, state),
                    hash(2, state | u32::from(first) << 2),
                    hash(hash(3, state | u32::from(first) << 2), u32::from(last)),
                ];
        }
        other_kind(12, 255) {
            /// Another kind.
            other_kind: byte by(first: u8, last: u8) [hash(1, u32::from(first)), hash(2, u32::from(last))];
        }
        lsda(12, 255) {
            /// The exception table: 0 null, 1 its own, 2 that of an earlier unit, 3 an address. `state`: 0 without an
            /// old FDE, of which else: 1 null, 2 the source's own, 3 another unit's, 4 an address. `modelled`: the
            /// section of such tables is.
            lsda: tree(2) by(state: u32, unchanged: bool, modelled: bool)
                [
                    hash(1, state),
                    hash(2, state | u32::from(unchanged) << 3),
                    hash(3, state | u32::from(modelled) << 3),
                ];
        }
        shared(12, 255) {
            /// Units back to its owner.
            shared: number by() [0];
        }
        padded(10, 255) {
            /// There are as many `nop`s as guessed. `same`: 1 if the program is as long as the old one, plus 2 if there
            /// is one; `last`: 1 if the last record did not end at a multiple of 8, plus 2 if it had 8 or more;
            /// `total`: bytes of the record without them.
            padded: flag by(same: u32, last: u32, total: u32)
                [hash(1, same), hash(2, same | last << 2), hash(3, same | (total & 7) << 2)];
        }
        padding(14, 255) {
            /// `nop`s where they are not as guessed.
            padding: number by(total: u32, guess: u32)
                [hash(1, total & 7), hash(2, total & 7 | guess << 3), hash(3, guess)];
        }
    }
}

/// Codes the unwind tables of a file.
#[derive(Debug, Default)]
pub struct Unwind {
    section: SectionId,
    old: FrameTable,
    truth: Option<FrameTable>,
    kinds: Vec<Kind>,
    /// New kind of each old one.
    kind_of_old: Vec<Option<u8>>,
    last_kind: u8,
    last_padding: u32,
    history: u32,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    len: u32,
    addr: Addr,
    exceptions: Option<(SectionId, Exceptions)>,
    m: FrameModels,
    pointers: PointerModels,
    programs: Programs,
    landmarks: Landmarks,
}

/// Models of the addresses in frames.
#[derive(Debug)]
struct PointerModels {
    target: TargetModels,
    locals: Locals,
}

impl Default for PointerModels {
    fn default() -> Self {
        PointerModels {
            target: TargetModels::small(),
            locals: Locals::default(),
        }
    }
}

impl Keep for PointerModels {
    fn memory(&self) -> u64 {
        self.target.memory()
    }
}

/// The pointers to exception tables, with their units.
fn pointers(table: &FrameTable) -> impl Iterator<Item = (Addr, u32)> + '_ {
    (0..table.of_unit.len() as u32).filter_map(|unit| {
        let fde = table.fde(table.row_of(unit)?)?;
        Some((fde.lsda??, unit))
    })
}

impl<'w> TableModel<'w> for Unwind {
    const STREAMS: &'static [(Stream, Spent)] = &[
        (
            Stream::Unwind,
            Spent::Sections(&[Table::Frames, Table::FrameIndex]),
        ),
        (Stream::Exceptions, Spent::Sections(&[Table::Exceptions])),
    ];

    fn by_name(elf: &Elf, section: SectionId) -> Option<Table> {
        match elf[section].name.as_slice() {
            // Where they lead to only relocations say.
            _ if elf.is_object() => None,
            b".eh_frame" => Some(Table::Frames),
            b".eh_frame_hdr" => Some(Table::FrameIndex),
            b".gcc_except_table" => Some(Table::Exceptions),
            _ => None,
        }
    }

    fn fits(new: Image<'_>) -> impl Fn(SectionId, Table) -> bool {
        let fit = UnwindFit::new(&new.image.elf, &new.image.code, new.bytes);
        move |section, table| fit.holds(section, table)
    }

    /// Reads the old tables and codes the CIEs.
    fn start<S: Symbols>(streams: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Unwind>> {
        let mut unwind = Unwind::default();
        let first = |table| world.choices.sections(table).next();
        let tables = (
            first(Table::Frames),
            first(Table::Exceptions),
            first(Table::FrameIndex),
        );
        let section = match tables {
            (Some(section), ..) => section,
            (None, None, None) => return Ok(None),
            _ => return Err(Error::damaged("it has unwind tables without frames")),
        };
        unwind.exchange(world.account);
        let header = &world.elf[section];
        (unwind.len, unwind.addr) = (header.size as u32, Addr(header.addr as u32));
        unwind.section = section;
        if let Some(old) = world.pairs[section.index()] {
            let addr = Addr(world.old.elf[old].addr as u32);
            let numbers = world.old.elf.numbers;
            unwind.old = FrameTable::read(world.old_bytes(section)?, addr, numbers, &world.old.code);
        }
        if let Some(bytes) = world.true_bytes(section) {
            unwind.truth = Some(FrameTable::read(
                bytes.to_vec(),
                unwind.addr,
                world.elf.numbers,
                world.code,
            ));
        }
        if let Some(section) = tables.1 {
            let old_addr = world.pairs[section.index()].map_or(0, |i| world.old.elf[i].addr as u32);
            let old_addr = Addr(old_addr);
            let old = ExceptionTable::new(world.old_bytes(section)?, old_addr, pointers(&unwind.old));
            let addr = Addr(world.elf[section].addr as u32);
            let truth = world.true_bytes(section).map(<[u8]>::to_vec);
            let truth = truth
                .zip(unwind.truth.as_ref())
                .map(|(bytes, t)| ExceptionTable::new(bytes, addr, pointers(t)));
            unwind.exceptions = Some((section, Exceptions::new(world, section, old, truth)));
        }
        unwind.code_kinds(streams.get(Stream::Unwind), world)?;
        Ok(Some(unwind))
    }

    /// Codes the FDE of a unit and its exception table.
    fn unit<S: Symbols>(
        &mut self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        view: &mut UnitView,
        unit: u32,
        _made: &mut Made,
    ) -> Result<()> {
        let damaged = || Error::damaged("a frame record makes no sense");
        let (s, exceptions_stream) = streams.two(Stream::Unwind, Stream::Exceptions);
        self.landmarks.clear();
        let old_row = view.unit.source.and_then(|u| self.old.row_of(u.number()));
        let old = old_row.and_then(|r| self.old.fde(r));
        let truth_row = self.truth.as_ref().and_then(|t| t.row_of(unit));
        let truth = self.truth.as_ref().zip(truth_row).and_then(|(t, r)| t.fde(r));

        let state = u32::from(old.is_some()) | u32::from(view.unit.source.is_some()) << 1;
        let h = self.history;
        let present = self.m.present(s, state, h, truth.is_some());
        self.history = h << 1 | u32::from(present);
        if !present {
            return Ok(());
        }

        let row_kind = |table: &FrameTable, row: u32| table.rows[row as usize].kind;
        let old_kind = old_row.map(|r| row_kind(&self.old, r));
        let expected = old_kind.and_then(|k| self.kind_of_old[usize::from(k)]);
        let first = expected.unwrap_or(self.last_kind);
        let known = self
            .truth
            .as_ref()
            .zip(truth_row)
            .map_or(0, |(t, r)| row_kind(t, r));
        let state = u32::from(expected.is_some()) | u32::from(first == self.last_kind) << 1;
        let kind = if self.m.kind(s, state, first, self.last_kind, first == known) {
            first
        } else {
            self.m.other_kind(s, first, self.last_kind, known)
        };
        self.last_kind = kind;
        let lsda_field = self.kinds.get(usize::from(kind)).ok_or_else(damaged)?.lsda;
        let distances = Distances {
            factor: self.kinds[usize::from(kind)].code_factor,
            numbers: world.elf.numbers,
        };

        let mut lsda = Lsda::Absent;
        if lsda_field.is_some() {
            let known = self.classify(unit, truth.as_ref().and_then(|t| t.lsda.flatten()));
            lsda = self.code_lsda(s, world, view, unit, old.as_ref().and_then(|o| o.lsda), known)?;
        }

        // The exception table first: some call frame instructions follow its call sites.
        if lsda == Lsda::Own {
            let (_, exceptions) = self.exceptions.as_mut().ok_or_else(damaged)?;
            let old = old.as_ref().and_then(|o| o.lsda.flatten());
            let truth = truth.as_ref().and_then(|t| t.lsda.flatten());
            let s = exceptions_stream;
            let body = &mut Body {
                view: &mut *view,
                landmarks: &mut self.landmarks,
            };
            exceptions.unit(s, world, body, unit, old, truth)?;
        }

        let from = self.bytes.len();
        let old_program = old.as_ref().map(|o| &self.old.bytes[o.program.clone()]);
        let truth_bytes = self.truth.as_ref().zip(truth.as_ref());
        let program = truth_bytes.map(|(t, f)| &t.bytes[f.program.clone()]);
        let body = &mut Body {
            view: &mut *view,
            landmarks: &mut self.landmarks,
        };
        let (programs, out) = (&mut self.programs, &mut self.bytes);
        let old_len = programs.code(s, body, distances, old_program, program, out)?;
        let len = (self.bytes.len() - from) as u32;
        if self.bytes.len() > self.len as usize {
            return Err(Error::damaged("frames are too long"));
        }
        let fixed = 17 + lsda_field.map_or(0, |e| u32::from(e.size));
        let known = program.map_or(0, |p| (p.len() as u32).saturating_sub(len));
        let old_padding = old_program.zip(old_len).map(|(p, l)| (l, p.len() as u32 - l));
        let padding = self.code_padding(s, fixed + len, (len, old_padding), known)?;
        self.entries.push(Entry {
            unit,
            lsda,
            old: old_row.unwrap_or(NONE),
            program: (from as u32, len),
            padding,
            kind,
        });
        Ok(())
    }

    /// Puts the sections together.
    fn finish<S: Symbols>(
        mut self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        let section = self.section;
        let mut places = Vec::new();
        let (mut held, len) = (world.account.held(), u64::from(self.len));
        let rows = self.code_rows(streams.get(Stream::Unwind), &mut held)?;
        if let Some((section, exceptions)) = self.exceptions.take() {
            let owners = rows.iter().filter_map(|row| match row {
                Row::Fde(item) => Some(&self.entries[*item as usize]),
                _ => None,
            });
            let order: Vec<u32> = owners.filter(|e| e.lsda == Lsda::Own).map(|e| e.unit).collect();
            held.set(rows::memory(&rows) + 4 * order.len() as u64)?;
            let addr = Addr(world.elf[section].addr as u32);
            let (bytes, found) =
                exceptions.finish(streams.get(Stream::Exceptions), world.account, addr, &order)?;
            made.section(world, section, bytes)?;
            places = found;
        }
        self.old = FrameTable::default();
        held.set(rows::memory(&rows) + len + size_of_val(&places[..]) as u64)?;
        let bytes = self.assemble(streams.get(Stream::Unwind), world, &rows, &places)?;
        made.exceptions = places;
        let addr = self.addr;
        self.exchange(world.account);
        let count = rows.len();
        drop((self, rows));
        made.count(world)?;
        held.set(len)?;
        if let Some(index) = world.choices.sections(Table::FrameIndex).next() {
            let header = &world.elf[index];
            world.account.fits(frame_index::needs(count, header.size))?;
            let table = frame_index::build(
                world.elf.numbers,
                &bytes,
                addr,
                (Addr(header.addr as u32), header.size as usize),
            );
            made.section(world, index, table)?;
        }
        drop(held);
        made.section(world, section, bytes)
    }

    /// Bytes of memory held.
    fn memory(&self) -> u64 {
        let exceptions = self.exceptions.as_ref().map_or(0, |(_, e)| e.memory());
        (self.entries.len() * size_of::<Entry>() + self.bytes.len()) as u64 + self.old.memory() + exceptions
    }
}

impl Unwind {
    /// Exchanges the models with those that the account keeps: at the start, and at the end.
    fn exchange(&mut self, account: &Budget) {
        std::mem::swap(&mut self.m, &mut account.lend());
        std::mem::swap(&mut self.pointers, &mut account.lend());
        self.programs.exchange(account);
    }

    /// What the pointer of a unit's FDE is, on the writing side.
    fn classify(&self, unit: u32, pointer: Option<Addr>) -> Lsda {
        let Some(addr) = pointer else {
            return Lsda::Absent;
        };
        let table = self.exceptions.as_ref().and_then(|(_, e)| e.truth());
        match table.and_then(|t| Some(t.starts[t.at(addr)?].1)) {
            Some(owner) if owner == unit => Lsda::Own,
            Some(owner) => Lsda::Shared(owner),
            None => Lsda::Other(addr),
        }
    }

    fn code_lsda<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &mut World,
        view: &UnitView,
        unit: u32,
        old: Option<Option<Addr>>,
        known: Lsda,
    ) -> Result<Lsda> {
        let damaged = || Error::damaged("a frame record makes no sense");
        let m = &mut self.m;
        let state = match old {
            None => 0,
            Some(None) => 1,
            Some(Some(addr)) => {
                let table = self.exceptions.as_ref().map(|(_, e)| e.old());
                let owner = table.and_then(|t| Some(t.starts[t.at(addr)?].1));
                match owner {
                    Some(owner) if Some(UnitId::of(owner)) == view.unit.source => 2,
                    Some(_) => 3,
                    None => 4,
                }
            }
        };
        let (unchanged, modelled) = (view.unit.unchanged, self.exceptions.is_some());
        Ok(match m.lsda(s, state, unchanged, modelled, known.tag()) {
            0 => Lsda::Absent,
            1 => Lsda::Own,
            2 => {
                let owner = if let Lsda::Shared(owner) = known { owner } else { 0 };
                let back = m.shared(s, u64::from(unit - owner.min(unit)));
                let owner = u32::try_from(back).ok().and_then(|b| unit.checked_sub(b));
                Lsda::Shared(owner.ok_or_else(damaged)?)
            }
            _ => {
                let known = if let Lsda::Other(addr) = known {
                    addr
                } else {
                    Addr(0)
                };
                let site = Site {
                    kind: LSDA_SITE,
                    addr: view.addr,
                    ..Site::default()
                };
                let guess = Guess {
                    old_target: old.flatten(),
                    local: None,
                    ..Guess::default()
                };
                let PointerModels { target, locals } = &mut self.pointers;
                let target = world.targets.code(s, target, &site, guess, locals, known)?;
                Lsda::Other(target)
            }
        })
    }

    /// Codes the number of `nop`s behind a record that takes `total` bytes without them; `len` and `old` are the
    /// length of its program, and of the old one with the `nop`s there.
    fn code_padding<S: Symbols>(
        &mut self,
        s: &mut S,
        total: u32,
        (len, old): (u32, Option<(u32, u32)>),
        known: u32,
    ) -> Result<u32> {
        // As before, or aligned as before.
        let guess = match old {
            Some((old_len, padding)) if old_len == len => padding,
            Some((old_len, padding)) => {
                let whole = (total + old_len - len.min(total + old_len) + padding).is_multiple_of(8);
                total.next_multiple_of(if whole { 8 } else { 4 }) - total
            }
            None => total.next_multiple_of(if self.last_padding & 1 == 0 { 8 } else { 4 }) - total,
        };
        let same = u32::from(old.is_some_and(|o| o.0 == len)) | u32::from(old.is_some()) << 1;
        let damaged = Error::damaged("frames are too long");
        let mut padding = guess;
        if !self.m.padded(s, same, self.last_padding, total, guess == known) {
            let coded = self.m.padding(s, total, guess, u64::from(known));
            padding = u32::try_from(coded).unwrap_or(u32::MAX);
        }
        if u64::from(padding) + u64::from(total) > u64::from(self.len) {
            return Err(damaged);
        }
        // Only how it is aligned carries over to the next.
        self.last_padding = u32::from(!(total + padding).is_multiple_of(8)) | u32::from(padding >= 8) << 1;
        Ok(padding)
    }
}
