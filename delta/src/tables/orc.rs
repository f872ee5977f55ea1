//! Lists of places in a kernel's code: `.orc_unwind_ip`, with what `.orc_unwind` says of each, and of what is patched.
//!
//! A list has distances of four bytes from where they stand. Each place goes on from the next old one whose code lines
//! up with new code, or is coded by the instructions behind which frames change. Source: Linux documentation, "ORC
//! unwinder", and `arch/x86/include/asm/orc_types.h`.

use super::landmarks::Landmarks;
use super::{Image, Made, Spent, Table, TableModel, World};
use crate::budget::{Held, Lent};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::elf::Elf;
use crate::maps::HashMap;
use crate::place::{Addr, Place as _, SectionId};
use crate::predict::UnitView;
use crate::{Error, error::Result};

const IPS: &[u8] = b".orc_unwind_ip";
const ENTRIES: &[u8] = b".orc_unwind";
/// Lists of places that are patched.
const PATCHED: [&[u8]; 4] = [
    b".return_sites",
    b".retpoline_sites",
    b".call_sites",
    b".smp_locks",
];
/// Bytes of a distance, and of what is said of a place.
const DISTANCE: usize = 4;
const ENTRY: usize = 6;

/// What a place is.
const SAME: u32 = 0;
const CHANGED: u32 = 1;
const FRESH: u32 = 2;
const JUMP: u32 = 3;

/// The start of a unit, among the roles of instructions.
const START: u8 = 31;
/// Of a new place behind no instruction that is known, and of an old place.
const UNKNOWN: u8 = 30;
const OLD: u8 = 0;
/// Instructions among which one is looked for that a new place is behind.
const AHEAD: usize = 64;

symbols! {
    /// Lists of places. `list`: 0 with entries, 1 without. `steady`: the place before is the old one before, and the
    /// old one moved as far. `h`: for each place so far what it was, two bits each, the last one lowest. `role`: of
    /// the instruction before, 31 for the start of a unit, 30 for none that is known, 0 for an old
    /// place.
    struct OrcModels {
        row(16, 1023) {
            /// 0 the next old place with its entry, 1 that with another entry, 2 a new place, 3 another old place.
            row: tree(2) by(list: u32, steady: bool, h: u32)
                [
                    hash(hash(1, list), u32::from(steady) << 4 | h & 0xf),
                    hash(hash(2, list), u32::from(steady) << 8 | h & 0xff),
                    hash(hash(3, list), u32::from(steady) << 16 | h & 0xffff),
                ];
        }
        jump(12, 255) {
            /// How far that is from the next one.
            jump: signed by(list: u32) [list, 2];
        }
        changed(8, 255) {
            /// Behind that: it has another entry.
            changed: flag by(list: u32) [list];
        }
        here(12, 255) {
            /// A new place is behind the next instruction of a role. `n`: how many were passed, at most 15.
            here: flag by(role: u8, n: u32, h: u32, before: u16)
                [hash(1, role.into()), hash(hash(2, role.into()), n | (h & 0xf) << 4), hash(hash(3, role.into()), before.into())];
        }
        there(8, 255) {
            /// It is behind one of those.
            there: flag by(list: u32, h: u32) [hash(1, list), hash(hash(2, list), h & 0xf)];
        }
        away(14, 255) {
            /// Where a place behind none of them is, against the one before.
            away: signed by(list: u32) [list, 2];
        }
        part(16, 255) {
            /// Part `i` of an entry, two bytes each, as a difference modulo 2^16: of a new place against that of the one
            /// before, else against the old one. `last`: that difference of the place before. `was`: what it counts from.
            part: signed by(i: u32, role: u8, last: u16, was: u16)
                [
                    hash(hash(1, i), u32::from(role) << 16 | u32::from(last)),
                    hash(hash(hash(2, i), u32::from(role) << 16 | u32::from(last)), was.into()),
                ];
        }
    }
}

/// What an entry says: how the stack pointer's offset, that of the frame pointer, and the registers that they count from.
type Entry = [u16; 3];

fn entry(bytes: &[u8], index: usize) -> Entry {
    let half = |i: usize| {
        let at = index * ENTRY + 2 * i;
        let half = bytes.get(at..).and_then(|b| b.first_chunk());
        half.map_or(0, |h| u16::from_le_bytes(*h))
    };
    [half(0), half(1), half(2)]
}

/// The place that a list at an address names.
fn place(bytes: &[u8], addr: Addr, index: usize) -> Addr {
    let word = bytes.get(index * DISTANCE..).and_then(|b| b.first_chunk());
    let at = addr.wrapping_add((index * DISTANCE) as u32);
    at.wrapping_add(word.map_or(0, |w| u32::from_le_bytes(*w)))
}

/// The entries of a list, if it has some.
fn entries_of(elf: &Elf, list: SectionId) -> Option<SectionId> {
    let count = elf[list].size / DISTANCE as u64;
    let entries = elf.section(ENTRIES).filter(|_| elf[list].name == IPS)?;
    let s = &elf[entries];
    (s.in_file() && s.size == count * ENTRY as u64).then_some(entries)
}

/// The lists of a file.
#[derive(Debug, Default)]
pub struct Orc {
    /// Where instructions of a role end in units that are not as they were, by address.
    events: Vec<(Addr, u8)>,
    landmarks: Landmarks,
}

impl<'w> TableModel<'w> for Orc {
    const STREAMS: &'static [(Stream, Spent)] =
        &[(Stream::Unwind, Spent::Sections(&[Table::Places, Table::Orc]))];
    const MODELS: u64 = 1 << 20;

    fn by_name(elf: &Elf, section: SectionId) -> Option<Table> {
        let s = &elf[section];
        let is_list = s.name == IPS || PATCHED.contains(&s.name.as_slice());
        match s.name.as_slice() {
            _ if elf.is_object() || !s.is_loaded() => None,
            _ if is_list && s.size.is_multiple_of(DISTANCE as u64) => Some(Table::Places),
            ENTRIES => Some(Table::Orc),
            _ => None,
        }
    }

    fn fits(new: Image<'_>) -> impl Fn(SectionId, Table) -> bool {
        let elf = &new.image.elf;
        let entries = elf.section(IPS).and_then(|list| entries_of(elf, list));
        move |section, table| table == Table::Places || entries == Some(section)
    }

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Orc>> {
        Ok(world
            .choices
            .sections(Table::Orc)
            .next()
            .map(|_| Orc::default())
            .or_else(|| {
                let mut lists = world.choices.sections(Table::Places);
                lists.next().map(|_| Orc::default())
            }))
    }

    fn unit<S: Symbols>(
        &mut self,
        _: &mut Streams<S>,
        _: &mut World<'w>,
        view: &mut UnitView,
        _: u32,
        _: &mut Made,
    ) -> Result<()> {
        if !view.unit.unchanged {
            self.landmarks.clear();
            self.landmarks.fill(view);
            self.events.push((view.addr, START));
            let starts = &self.landmarks.starts;
            let all = self.landmarks.events(0);
            self.events
                .extend(all.map(|(k, role)| (view.addr.wrapping_add(starts[k + 1]), role)));
        }
        Ok(())
    }

    fn finish<S: Symbols>(
        mut self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        self.events.sort_unstable();
        let chosen: Vec<SectionId> = world.choices.sections(Table::Orc).collect();
        let lists: Vec<SectionId> = world.choices.sections(Table::Places).collect();
        let with = |list: SectionId| entries_of(world.elf, list).filter(|entries| chosen.contains(entries));
        if chosen
            .iter()
            .any(|&entries| !lists.iter().any(|&list| with(list) == Some(entries)))
        {
            return Err(DAMAGED);
        }
        let mut m = world.account.lend();
        for list in lists {
            let entries = with(list);
            let mut pass = Pass::new(world, &self.events, &mut m, (list, entries))?;
            let (places, said) = pass.code(streams.get(Stream::Unwind))?;
            made.section(world, list, places)?;
            if let Some(entries) = entries {
                made.section(world, entries, said)?;
            }
        }
        Ok(())
    }

    fn memory(&self) -> u64 {
        8 * self.events.len() as u64
    }
}

const DAMAGED: Error = Error::damaged("places in code that do not fit together");

/// A place and what is said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    addr: Addr,
    entry: Entry,
}

/// An old row: where it was, and what it becomes.
#[derive(Clone, Copy, Debug)]
struct Old {
    addr: Addr,
    row: Row,
}

/// One way through a list.
struct Pass<'p, 'w> {
    m: &'p mut Lent<'w, OrcModels>,
    world: &'p World<'w>,
    events: &'p [(Addr, u8)],
    list: SectionId,
    entries: Option<SectionId>,
    /// Old places whose code lines up with new code, in order.
    old: Vec<Old>,
    next: usize,
    history: u32,
    last: Row,
    /// Events up to the last place.
    event: usize,
    /// By part, the last difference of an entry from what it counted from.
    shift: Entry,
    /// The old place before the next one went on, and its place is the last one.
    follows: bool,
    held: Held<'w>,
}

impl<'p, 'w> Pass<'p, 'w> {
    fn new(
        world: &'p World<'w>,
        events: &'p [(Addr, u8)],
        m: &'p mut Lent<'w, OrcModels>,
        (list, entries): (SectionId, Option<SectionId>),
    ) -> Result<Self> {
        let mut held = world.account.held();
        let was = world.pairs[list.index()].map(|i| &world.old.elf[i]);
        let count = was.map_or(0, |s| s.size) / DISTANCE as u64;
        held.set(count * (DISTANCE + ENTRY + size_of::<Old>()) as u64)?;
        let bytes = world.old_bytes(list)?;
        let said = entries.map_or(Ok(Vec::new()), |entries| world.old_bytes(entries))?;
        let addr = was.map_or(Addr(0), |s| Addr(s.addr as u32));
        let map = world.targets.map();
        let mut old = Vec::with_capacity(bytes.len() / DISTANCE);
        for index in 0..bytes.len() / DISTANCE {
            let was = place(&bytes, addr, index);
            if let Some(now) = map.project(was) {
                let row = Row {
                    addr: now,
                    entry: entry(&said, index),
                };
                old.push(Old { addr: was, row });
            }
        }
        Ok(Pass {
            m,
            world,
            events,
            list,
            entries,
            old,
            next: 0,
            history: 0,
            last: Row::default(),
            event: 0,
            shift: Entry::default(),
            follows: false,
            held,
        })
    }

    /// Codes the list, and gives its bytes and those of its entries.
    fn code<S: Symbols>(&mut self, s: &mut S) -> Result<(Vec<u8>, Vec<u8>)> {
        let section = &self.world.elf[self.list];
        let (addr, count) = (Addr(section.addr as u32), section.size as usize / DISTANCE);
        let held = self.old.capacity() as u64 * size_of::<Old>() as u64;
        let truth = self.world.true_bytes(self.list);
        let said = self.entries.and_then(|entries| self.world.true_bytes(entries));
        // On the writing side: where an old place is that goes to an address.
        let mut at = HashMap::default();
        if !S::READS {
            at.extend(
                self.old
                    .iter()
                    .enumerate()
                    .rev()
                    .map(|(i, old)| (old.row.addr, i)),
            );
        }
        let sizes = (count * DISTANCE, self.entries.map_or(0, |_| count * ENTRY));
        self.held.set(held + (sizes.0 + sizes.1) as u64)?;
        let (mut places, mut entries) = (Vec::with_capacity(sizes.0), Vec::with_capacity(sizes.1));
        for k in 0..count {
            let t = Row {
                addr: truth.map_or(Addr(0), |bytes| place(bytes, addr, k)),
                entry: said.map_or(Entry::default(), |bytes| entry(bytes, k)),
            };
            let row = self.row(s, t, at.get(&t.addr).copied())?;
            let here = addr.wrapping_add((k * DISTANCE) as u32);
            places.extend_from_slice(&row.addr.since(here).to_le_bytes());
            if self.entries.is_some() {
                entries.extend(row.entry.iter().flat_map(|half| half.to_le_bytes()));
            }
            if s.exhausted() {
                return Err(Error::damaged("the unwind stream ends too early"));
            }
            if k % 4096 == 0 {
                self.world.account.go_on(1024)?;
            }
        }
        Ok((places, entries))
    }

    /// Codes one place; `found` is the old one that goes there, on the writing side.
    fn row<S: Symbols>(&mut self, s: &mut S, t: Row, found: Option<usize>) -> Result<Row> {
        let list = u32::from(self.entries.is_none());
        let Some(&expected) = self.old.get(self.next) else {
            return Ok(self.fresh(s, t));
        };
        let before = self
            .next
            .checked_sub(1)
            .filter(|_| self.follows)
            .map(|i| self.old[i]);
        let steady = before.is_some_and(|before| {
            let apart = expected.addr.since(before.addr);
            apart == expected.row.addr.since(before.row.addr)
        });
        let known = match found {
            _ if expected.row == t => SAME,
            _ if expected.row.addr == t.addr => CHANGED,
            None => FRESH,
            Some(_) => JUMP,
        };
        let what = self.m.row(s, list, steady, self.history, known);
        self.history = self.history << 2 | what;
        let mut changed = what == CHANGED;
        match what {
            FRESH => return Ok(self.fresh(s, t)),
            JUMP => {
                let away = found.map_or(0, |found| found as i64 - self.next as i64);
                let away = self.m.jump(s, list, away);
                let next = (self.next as i64).checked_add(away);
                self.next = next.and_then(|next| usize::try_from(next).ok()).ok_or(DAMAGED)?;
                let row = self.old.get(self.next).ok_or(DAMAGED)?.row;
                changed = self.m.changed(s, list, row.entry != t.entry);
            }
            _ => {}
        }
        let old = *self.old.get(self.next).ok_or(DAMAGED)?;
        self.next += 1;
        self.follows = true;
        let mut row = old.row;
        if changed && self.entries.is_some() {
            row.entry = self.entry(s, OLD, row.entry, t.entry);
        } else {
            self.shift = Entry::default();
        }
        self.pass(row);
        Ok(row)
    }

    /// Codes a place that continues none.
    fn fresh<S: Symbols>(&mut self, s: &mut S, t: Row) -> Row {
        self.follows = false;
        let list = u32::from(self.entries.is_none());
        let ahead = self.events.get(self.event..).unwrap_or_default();
        let ahead = &ahead[..ahead.len().min(AHEAD)];
        let known = ahead.iter().position(|event| event.0 == t.addr);
        let known = known.filter(|_| self.entries.is_some());
        let mut row = Row::default();
        let mut role = UNKNOWN;
        if !ahead.is_empty() && self.m.there(s, list, self.history, known.is_some()) {
            let mut chosen = ahead.len() - 1;
            for (n, event) in ahead.iter().enumerate() {
                let passed = n.min(15) as u32;
                if self.m.here(
                    s,
                    event.1,
                    passed,
                    self.history,
                    self.last.entry[0],
                    known == Some(n),
                ) {
                    chosen = n;
                    break;
                }
                if s.exhausted() {
                    break;
                }
            }
            (row.addr, role) = ahead[chosen];
        } else {
            let away = i64::from(t.addr.since(self.last.addr) as i32);
            row.addr = self.last.addr.wrapping_add(self.m.away(s, list, away) as u32);
        }
        if self.entries.is_some() {
            self.shift = Entry::default();
            row.entry = self.entry(s, role, self.last.entry, t.entry);
            self.shift = Entry::default();
        }
        self.pass(row);
        row
    }

    /// Codes an entry against another one.
    fn entry<S: Symbols>(&mut self, s: &mut S, role: u8, from: Entry, t: Entry) -> Entry {
        let mut coded = Entry::default();
        for i in 0..coded.len() {
            let away = i64::from(t[i].wrapping_sub(from[i]) as i16);
            let away = self.m.part(s, i as u32, role, self.shift[i], from[i], away) as u16;
            coded[i] = from[i].wrapping_add(away);
            self.shift[i] = away;
        }
        coded
    }

    /// Moves on behind a place.
    fn pass(&mut self, row: Row) {
        self.last = row;
        self.event = self.events.partition_point(|event| event.0 <= row.addr);
    }
}
