//! Relocations, folded into the words they describe and unfolded again.
//!
//! A relative relocation says only that a word holds an address, and which: so the words of the data sections
//! are coded one by one, address or not, and the rows follow in order. Other rows are coded against old ones.
//! Source of the layout: System V gABI, "Relocation"; linkers put relative rows first, by offset.

mod order;
mod rows;

pub use self::rows::{Form, Row, SLOT_MEMORY, Slot};
use self::rows::{Parts, ROW_MEMORY, sorted, word, word_in};
use super::{BYTE_MODELS, CHUNK, Image, Made, SHF_ALLOC, Spent, Table, TableModel, World};
use crate::budget::{Held, Keep};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::elf::Elf;
use crate::machine::Machine;
use crate::place::{Addr, Off, Place, SectionId, Span};
use crate::predict::{Guess, Locals, Site, TargetModels};
use crate::{Error, error::Result};

/// Most bytes that are set aside before there is anything to put there.
const LARGEST_START: usize = 1 << 20;
const SHF_WRITE: u64 = 1;

/// Words or rows between two counts of memory.
const COUNTED: usize = 1024;

/// Rows looked at on the writing side for one that goes on.
const AHEAD: usize = 64;

/// Kinds of site that target prediction tells apart.
const SLOT: u32 = 32;
const ROW_OFFSET: u32 = 33;
const ROW_ADDEND: u32 = 34;

/// What folded words hold.
const ZEROS: u32 = 0;
const TARGETS: u32 = 1;
const OTHERS: u32 = 2;
/// Their targets, and rows stand in an order of their own.
const UNSORTED: u32 = 3;

/// Sections whose words may be folded, ascending by address: their place, and their file offset.
fn slot_sections(world_elf: &Elf) -> Vec<(Span<Addr>, Off)> {
    let holds = |s: &&crate::elf::Section| {
        s.is_loaded() && s.in_file() && s.flags & (SHF_WRITE | SHF_ALLOC) == SHF_WRITE | SHF_ALLOC
    };
    let mut sections: Vec<_> = world_elf
        .sections
        .iter()
        .filter(holds)
        .map(|s| {
            (
                Span::new(Addr(s.addr as u32), s.size as u32),
                Off(s.offset as u32),
            )
        })
        .collect();
    sections.sort_unstable();
    sections
}

/// Whether the model reproduces a table of a new file: the rows that fold stand in words that are coded.
fn fits(machine: Machine, elf: &Elf, table: SectionId, file: &[u8]) -> bool {
    let (Some(form), Some(rows)) = (Form::of(elf, &elf[table]), parts(machine, elf, table, file)) else {
        return false;
    };
    let sections = slot_sections(elf);
    let unsorted = || holds_targets(elf, file, &rows.folded) && is_alone(machine, elf, table, file);
    if !(ascend(&rows.folded) || unsorted()) {
        return false;
    }
    let told = rows.folded.iter().all(|&(addr, _)| {
        addr.0.is_multiple_of(word(elf))
            && sections
                .iter()
                .any(|(s, _)| addr.since(s.at) < s.len.saturating_sub(word(elf) - 1))
    });
    told && rows.others.iter().all(|r| form.holds(r))
}

/// Whether words ascend by address.
fn ascend(words: &[Slot]) -> bool {
    words.is_sorted_by_key(|w| w.0)
}

/// Whether words hold their targets.
fn holds_targets(elf: &Elf, file: &[u8], words: &[Slot]) -> bool {
    let word = word_in(elf, file);
    words.iter().all(|&(at, target)| word(at) == Some(target.into()))
}

/// Whether no other table has rows that fold: they go to tables by address.
fn is_alone(machine: Machine, elf: &Elf, table: SectionId, file: &[u8]) -> bool {
    let folds = |other| parts(machine, elf, other, file).is_some_and(|rows| !rows.folded.is_empty());
    elf.ids().all(|other| other == table || !folds(other))
}

/// The rows of a section of a file, on the writing side; nothing if it is no table of relocations.
fn parts(machine: Machine, elf: &Elf, table: SectionId, file: &[u8]) -> Option<Parts> {
    let form = Form::of(elf, &elf[table])?;
    let s = &elf[table];
    let bytes = &file[s.offset as usize..(s.offset + s.size) as usize];
    Some(Parts::of(machine, form.rows(machine, bytes, &word_in(elf, file))))
}

/// Folded words of the old file, ascending.
pub fn old_slots(world: &World) -> Result<Vec<Slot>> {
    let (mut slots, mut held) = (Vec::new(), world.account.held());
    for table in world.old.elf.ids() {
        slots.append(&mut old_parts(world, table)?.folded);
        held.set(SLOT_MEMORY * slots.len() as u64)?;
    }
    Ok(sorted(slots))
}

/// Rows of a section of the old file; none if it is no table of relocations.
fn old_parts(world: &World, table: SectionId) -> Result<Parts> {
    let (elf, machine) = (&world.old.elf, world.old.machine);
    let section = &elf[table];
    let mut parts = Parts::default();
    let Some(form) = Form::of(elf, section) else {
        return Ok(parts);
    };
    let held = |addr: Addr| {
        let at = world.old.addresses.offset(addr)?;
        let (mut bytes, len) = ([0; 8], elf.numbers.width());
        world.old.file.read(at.into(), &mut bytes[..len]).ok()?;
        Some(elf.numbers.get(&bytes[..len]))
    };
    let (mut bytes, step) = (Vec::new(), CHUNK - CHUNK % form.row());
    for at in (0..section.size).step_by(step) {
        let len = (section.size - at).min(step as u64);
        world
            .old
            .file
            .read_up_to(section.offset + at, len as usize, &mut bytes)?;
        form.rows(machine, &bytes, &held)
            .for_each(|row| parts.push(machine, row));
        world.account.fits(parts.memory())?;
    }
    parts.settle(machine);
    Ok(parts)
}

/// Folded words of a file, on the writing side, ascending.
pub fn slots_of(machine: Machine, elf: &Elf, bytes: &[u8]) -> Vec<Slot> {
    let tables = elf.ids().filter_map(|table| parts(machine, elf, table, bytes));
    sorted(tables.flat_map(|rows| rows.folded).collect())
}

symbols! {
    /// Folded words, and rows that do not fold.
    struct RowModels {
        in_place(4, 255) {
            /// The folded words hold: 0 zeros, 1 their targets, 2 neither; 3 their targets, and rows do not ascend.
            in_place: tree(2) by() [0];
        }
        slot(14, 255) {
            /// A word folds. `state`: 0 without an old word, 1 if that does not fold, 2 if it does; `h`: for each word so
            /// far whether it folded, the last one lowest; `place`: the word's file offset.
            slot: flag by(state: u32, h: u32, place: u32)
                [
                    hash(1, state),
                    hash(2, state | (h & 0xff) << 2),
                    hash(3, state | (h & 0xffff) << 2),
                    hash(4, state | (h & 0xffffff) << 2),
                    hash(5, h & 0x3f | (place & 0x18) << 6),
                ];
        }
        count(8, 255) {
            /// Folded words that are rows of this table, above how many are left.
            count: signed by() [0];
        }
        follows(8, 255) {
            /// A row continues the next old one. `h`: for each row so far whether it did, the last one lowest.
            follows: flag by(h: u32) [1, hash(2, h & 7)];
        }
        skip(10, 255) {
            /// The old row that it continues, by its distance from the next one; 0 for none.
            skip: number by() [0];
        }
        info(10, 255) {
            /// Kind and symbol are as in the old row, the symbol shifted as in the last row where they were not.
            info: flag by(follows: bool, old: u64) [u32::from(follows), 2 + (old as u32 & 0xffff)];
        }
        kind(12, 255) {
            /// The kind.
            kind: number by() [0];
        }
        symbol(14, 255) {
            /// The symbol, against that of the old row.
            symbol: signed by(kind: u64) [0, kind as u32];
        }
        addend(10, 255) {
            /// The addend is that of the old row.
            addend: flag by(follows: bool, kind: u32) [u32::from(follows), 2 + (kind & 0xffff)];
        }
    }
}

struct Models {
    own: RowModels,
    targets: TargetModels,
}

impl Default for Models {
    fn default() -> Self {
        Models {
            own: RowModels::default(),
            targets: TargetModels::small(),
        }
    }
}

impl Keep for Models {
    fn memory(&self) -> u64 {
        self.own.memory() + self.targets.memory()
    }
}

/// The folded words and all relocation tables of a file.
#[derive(Debug)]
pub struct Relocations;

impl<'w> TableModel<'w> for Relocations {
    const STREAMS: &'static [(Stream, Spent)] = &[(Stream::Pointers, Spent::Sections(&[Table::Relocations]))];
    const MODELS: u64 = BYTE_MODELS;

    fn by_type(elf: &Elf, section: SectionId) -> Option<Table> {
        Form::of(elf, &elf[section]).map(|_| Table::Relocations)
    }

    fn fits(new: Image<'_>) -> impl Fn(SectionId, Table) -> bool {
        move |section, _| fits(new.image.machine, &new.image.elf, section, new.bytes)
    }

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Relocations>> {
        let mut tables = world.choices.sections(Table::Relocations);
        Ok(tables.next().map(|_| Relocations))
    }

    fn finish<S: Symbols>(
        self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        code(streams.get(Stream::Pointers), world, made)
    }
}

/// Codes the folded words and all relocation tables that are modelled.
fn code<S: Symbols>(s: &mut S, world: &mut World, made: &mut Made) -> Result<()> {
    let choices = world.choices;
    let tables: Vec<SectionId> = choices.sections(Table::Relocations).collect();
    let mut m = world.account.lend::<Models>();
    let (mut held_slots, mut held_table) = (world.account.held(), world.account.held());
    let (slots, in_place) = code_slots(s, &mut m, world, made, &mut held_slots)?;
    let mut left = slots.as_slice();
    for table in tables {
        let machine = world.old.machine;
        let form = Form::of(world.elf, &world.elf[table]);
        let form = form.ok_or(Error::damaged("a table of relocations that is none"))?;
        let truth = world
            .truth
            .and_then(|file| parts(machine, world.elf, table, file));
        // The relative rows go to the tables in order; nearly always the first one takes them all.
        let known = truth.as_ref().map_or(0, |t| t.folded.len() as i64);
        let all = left.len() as i64;
        let folded = all.saturating_add(m.own.count(s, known - all));
        let total = world.elf[table].size / form.row() as u64;
        let folded = usize::try_from(folded)
            .ok()
            .filter(|&n| n <= left.len() && n as u64 <= total);
        let folded = folded.ok_or(Error::damaged("a relocation table has too many rows"))?;
        let (mine, rest) = left.split_at(folded);
        left = rest;
        let paired = world.pairs[table.index()];
        let Parts {
            folded: old_folded,
            others: old,
            ..
        } = paired.map_or(Ok(Parts::default()), |paired| old_parts(world, paired))?;
        let mut memory = ROW_MEMORY * old.len() as u64;
        held_table.set(memory + SLOT_MEMORY * old_folded.len() as u64)?;
        let mut bytes = Vec::with_capacity((total as usize * form.row()).min(LARGEST_START));
        let mut put = |row: Row| form.put(row, &mut bytes);
        let mut order = None;
        if in_place == UNSORTED {
            held_table.set(memory + order::memory(mine, &old_folded))?;
            let truth = truth.as_ref().map(|t| &t.folded[..]);
            let coded = order::code(s, mine, &old_folded, world.targets.map(), truth)?;
            memory += 4 * coded.len() as u64;
            order = Some(coded);
        }
        drop(old_folded);
        held_table.set(memory + total * form.row() as u64)?;
        for k in 0..mine.len() {
            let index = order.as_ref().map_or(k, |order| order[k] as usize);
            let (addr, target) = mine[index];
            put(Row {
                offset: addr.into(),
                info: machine.relative(),
                addend: target.into(),
            });
        }
        let mut rows = Rows::of(&old);
        for index in 0..total as usize - folded {
            let left = truth.as_ref().map(|t| t.others.get(index..).unwrap_or_default());
            put(rows.row(s, &mut m, world, left)?);
            if index % COUNTED == 0 {
                made.count(world)?;
            }
            if s.exhausted() {
                return Err(Error::damaged("the pointer stream ends too early"));
            }
        }
        drop((old, order));
        held_table.set(0)?;
        made.section(world, table, bytes)?;
    }
    Ok(())
}

/// Codes which words of the data sections are folded, and their targets.
fn code_slots<S: Symbols>(
    s: &mut S,
    m: &mut Models,
    world: &mut World,
    made: &mut Made,
    held_slots: &mut Held,
) -> Result<(Vec<Slot>, u32)> {
    let old = old_slots(world)?;
    let mut count = |slots: usize, world: &World, made: &mut Made| {
        held_slots.set(SLOT_MEMORY * (old.len() + slots) as u64)?;
        made.count(world)
    };
    count(0, world, made)?;
    let truth = world.truth.map(|t| slots_of(world.old.machine, world.elf, t));
    let known = world.truth.zip(truth.as_deref());
    let in_place = m
        .own
        .in_place(s, known.map_or(0, |(file, slots)| held(world, file, slots)));
    let mut slots = Vec::new();
    let mut locals = Locals::default();
    let mut history = 0u32;
    let mut next_true = truth.as_deref().unwrap_or_default().iter().peekable();
    let size = word(world.elf);
    for (section, at) in slot_sections(world.elf) {
        let mut cover = world.covers.partition_point(|c| c.new_at + c.len <= at);
        let first = section.at.0.next_multiple_of(size);
        for here in (first..section.end().0.saturating_sub(size - 1)).step_by(size as usize) {
            let here = Addr(here);
            let place = at + (here - section.at);
            while world.covers.get(cover).is_some_and(|c| c.new_at + c.len <= place) {
                cover += 1;
            }
            let partner = world.covers.get(cover).filter(|c| c.new_at <= place);
            let partner = partner.and_then(|c| world.old.addresses.addr(c.old_at + (place - c.new_at)));
            let was = partner.map(|a| old.binary_search_by_key(&a, |s| s.0).ok().map(|i| old[i].1));
            let state = match was {
                None => 0,
                Some(None) => 1,
                Some(Some(_)) => 2,
            };
            while next_true.peek().is_some_and(|t| t.0 < here) {
                next_true.next();
            }
            let known = next_true.peek().filter(|t| t.0 == here).map(|t| t.1);
            let is_slot = m.own.slot(s, state, history, place.0, known.is_some());
            history = history << 1 | u32::from(is_slot);
            if !is_slot {
                continue;
            }
            let site = Site {
                kind: SLOT,
                head: hash(history & 0xf, state),
                addr: here,
                ..Site::default()
            };
            let guess = Guess {
                old_target: was.flatten(),
                ..Guess::default()
            };
            let target = world.targets.code(
                s,
                &mut m.targets,
                &site,
                guess,
                &mut locals,
                known.unwrap_or_default(),
            )?;
            slots.push((here, target));
            match in_place {
                ZEROS => made.known.add(place, &[0; 8][..size as usize]),
                TARGETS | UNSORTED => {
                    (made.known).number(place, world.elf.numbers, target.into(), size as usize)
                }
                _ => {}
            }
            if slots.len().is_multiple_of(COUNTED) {
                count(slots.len(), world, made)?;
            }
            if s.exhausted() {
                return Err(Error::damaged("the pointer stream ends too early"));
            }
        }
    }
    count(slots.len(), world, made)?;
    held_slots.set(SLOT_MEMORY * slots.len() as u64)?;
    Ok((slots, in_place))
}

/// On the writing side: what the folded words of a file hold, and whether rows ascend.
fn held(world: &World, file: &[u8], slots: &[Slot]) -> u32 {
    let word = word_in(world.elf, file);
    let all = |holds: &dyn Fn(Addr) -> u64| slots.iter().all(|&(a, t)| word(a) == Some(holds(t)));
    let folded = |table| parts(world.old.machine, world.elf, table, file).map(|rows| rows.folded);
    let mut tables = world.choices.sections(Table::Relocations).filter_map(folded);
    if all(&|target| target.into()) {
        if tables.all(|words| ascend(&words)) {
            TARGETS
        } else {
            UNSORTED
        }
    } else if all(&|_| 0) {
        ZEROS
    } else {
        OTHERS
    }
}

/// Rows that do not fold, each coded against the next old row or one further on.
struct Rows<'r> {
    old: &'r [Row],
    /// The next old row.
    next: usize,
    locals: Locals,
    /// How far symbols moved in the last row where that had to be coded.
    symbol_shift: i64,
    /// For each row so far whether it continued the next old one, the last one lowest.
    history: u32,
}

impl Rows<'_> {
    fn of(old: &[Row]) -> Rows<'_> {
        Rows {
            old,
            next: 0,
            locals: Locals::default(),
            symbol_shift: 0,
            history: 0,
        }
    }

    /// Codes a row.
    fn row<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut Models,
        world: &mut World,
        truth: Option<&[Row]>,
    ) -> Result<Row> {
        let t = truth.and_then(|t| t.first().copied()).unwrap_or_default();
        let ahead = truth.and_then(|t| self.ahead(world, t));
        let (follows, was) = self.partner(s, m, ahead)?;
        let site = Site {
            kind: ROW_OFFSET,
            ..Site::default()
        };
        let guess = Guess {
            old_target: was.map(|r| Addr(r.offset as u32)),
            ..Guess::default()
        };
        let locals = &mut self.locals;
        let offset = (world.targets).code(s, &mut m.targets, &site, guess, locals, Addr(t.offset as u32))?;
        let was = was.unwrap_or_default();
        let info = self.info(s, &mut m.own, follows, was.info, t.info);
        let kind = info as u32 & 0xffff;
        let addend = match m.own.addend(s, follows, kind, t.addend == was.addend) {
            true => was.addend,
            false => self.addend(s, m, world, (kind, was.addend), t.addend)?,
        };
        Ok(Row {
            offset: offset.into(),
            info,
            addend,
        })
    }

    /// On the writing side: how far ahead the old row is that the first of these rows continues: the same one moved, else
    /// the next one, unless that goes on as one that follows.
    fn ahead(&self, world: &World, rows: &[Row]) -> Option<usize> {
        let (row, later) = rows.split_first()?;
        let (from, len) = (self.next, self.old.len());
        let window = &self.old[from.min(len)..(from + AHEAD).min(len)];
        let guess = |r: &Row| world.targets.map().guess(Addr(r.offset as u32));
        let expected = |r: &Row| guess(r) == Addr(row.offset as u32);
        let first = || {
            let next = window.first().filter(|r| r.info as u32 == row.info as u32)?;
            let place = guess(next).into();
            let goes_on = later.iter().take(AHEAD).any(|r| r.offset == place);
            (!goes_on).then_some(0)
        };
        window.iter().position(expected).or_else(first)
    }

    /// Tells whether a row continues the next old one, or which further on; gives that.
    fn partner<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut Models,
        ahead: Option<usize>,
    ) -> Result<(bool, Option<Row>)> {
        let left = self.next < self.old.len();
        let follows = left && m.own.follows(s, self.history, ahead == Some(0));
        let mut partner = None;
        if follows {
            partner = Some(self.next);
        } else if left {
            let skip = m.own.skip(s, ahead.map_or(0, |a| a as u64));
            if skip > 0 {
                let there = |&i: &usize| i < self.old.len();
                partner = self.next.checked_add(skip as usize).filter(there);
                let why = "a relocation continues one that is not there";
                partner.ok_or(Error::damaged(why))?;
            }
        }
        self.history = self.history << 1 | u32::from(follows);
        self.next = partner.map_or(self.next, |i| i + 1);
        Ok((follows, partner.map(|i| self.old[i])))
    }

    /// Codes kind and symbol.
    fn info<S: Symbols>(&mut self, s: &mut S, m: &mut RowModels, follows: bool, old: u64, truth: u64) -> u64 {
        let old_symbol = (old >> 32) as i64;
        let expected = (old_symbol.wrapping_add(self.symbol_shift) as u64) << 32 | old & 0xffff_ffff;
        if m.info(s, follows, old, truth == expected) {
            return expected;
        }
        let kind = m.kind(s, truth & 0xffff_ffff);
        let symbol = m.symbol(s, kind, (truth >> 32) as i64 - old_symbol);
        self.symbol_shift = symbol;
        (old_symbol.saturating_add(symbol) as u64) << 32 | kind & 0xffff_ffff
    }

    /// Codes an addend as an address, against the old one.
    fn addend<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut Models,
        world: &mut World,
        (kind, old): (u32, u64),
        truth: u64,
    ) -> Result<u64> {
        let site = Site {
            kind: ROW_ADDEND,
            head: kind,
            ..Site::default()
        };
        let guess = Guess {
            old_target: Addr::try_from(old).ok().filter(|&a| a > Addr(0)),
            ..Guess::default()
        };
        let (m, locals) = (&mut m.targets, &mut self.locals);
        let addend = world
            .targets
            .code(s, m, &site, guess, locals, Addr(truth as u32))?;
        Ok(addend.into())
    }
}
