//! What the rest of the file says of a symbol's address and size.

use super::row::Row;
use crate::elf::Section;
use crate::place::{Addr, Span, UnitId};
use crate::tables::World;

/// Most guesses of one value.
pub const GUESSES: usize = 6;
/// Where a guess comes from: the unit that continues the old one, the covers, the references decoded so far, the
/// bounds of the section, the symbol before in the same section, the exception table behind that one.
const SOURCES: usize = 6;
const BOUND: usize = 3;
const SEQUENCE: usize = 4;
const EXCEPTION: usize = 5;
/// Classes of symbols that trust the sources alike.
const CLASSES: usize = 64;

/// What was seen of the symbols so far.
#[derive(Clone, Debug)]
pub struct Seen {
    /// By class and source: how often it was right lately, of 65536.
    right: [[u16; SOURCES]; CLASSES],
    /// By section: value and size of the last symbol, and the value of the old one that it continued.
    last: Vec<(u64, u64, Option<u64>)>,
}

impl Seen {
    /// Nothing seen yet.
    pub fn new(sections: usize) -> Self {
        Seen {
            right: [[60000, 58000, 57000, 30000, 20000, 62000]; CLASSES],
            last: vec![(0, 0, None); sections],
        }
    }

    /// Learns a row that continues `old`, or none.
    pub fn learn(&mut self, e: &Expected, old: Option<&Row>, row: &Row) {
        if let Some(last) = self
            .last
            .get_mut(usize::from(row.section))
            .filter(|_| row.has_address())
        {
            *last = (
                row.value,
                row.size,
                old.filter(|o| o.has_address()).map(|o| o.value).or(last.2),
            );
        }
        if old.is_some() {
            for (right, guess) in self.right[class(&e.row)].iter_mut().zip(e.sources) {
                if let Some(guess) = guess {
                    let target = if guess == row.value { 65535 } else { 0 };
                    *right = (i32::from(*right) + (target - i32::from(*right)) / 16) as u16;
                }
            }
        }
    }

    /// Where a new symbol of a section may follow the last one.
    pub fn after(&self, section: u16) -> u64 {
        self.last
            .get(usize::from(section))
            .map_or(0, |l| l.0.wrapping_add(l.1))
    }
}

fn class(row: &Row) -> usize {
    usize::from(row.section & 31) << 1 | usize::from(row.is_function())
}

/// A row that is expected, and how far it can be trusted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// The row.
    pub row: Row,
    /// Guesses of its value, best first, without repeats.
    pub values: [u64; GUESSES],
    /// How many there are.
    pub count: usize,
    /// The guesses by source.
    sources: [Option<u64>; SOURCES],
    /// What the guesses come from and whether they agree.
    pub trust: u32,
}

impl Expected {
    fn add(&mut self, value: u64) {
        if !self.values[..self.count].contains(&value) {
            self.values[self.count] = value;
            self.count += 1;
        }
    }
}

/// Units of both files by address, and sections by index.
pub struct Ground<'w> {
    world: &'w World<'w>,
    /// New units, ascending.
    units: Vec<Span<Addr>>,
    /// Units that no old symbol's unit continues in, by index in `units`, ascending.
    pub free: Vec<u32>,
    /// Addresses of exception tables, ascending.
    exceptions: Vec<Addr>,
    /// The first new unit that continues each old one, by its place in `units`.
    of_old: Vec<Option<UnitId>>,
    /// New section of each old one, 0 for none.
    sections: Vec<u16>,
}

impl<'w> Ground<'w> {
    /// Gathers them.
    pub fn new(world: &'w World<'w>, exceptions: &[(u32, Addr)]) -> Self {
        let mut exceptions: Vec<Addr> = exceptions.iter().map(|e| e.1).collect();
        exceptions.sort_unstable();
        let mut units = Vec::with_capacity(world.units.len());
        let mut of_old = vec![None; world.old.code.units.len()];
        for unit in world.units {
            if let Some(addr) = world.code.addr(unit.at) {
                units.push(Span::new(addr, unit.size));
            }
        }
        units.sort_unstable();
        for unit in world.units {
            let place = unit.source.and_then(|old| of_old.get_mut(old.index()));
            let index = world
                .code
                .addr(unit.at)
                .and_then(|a| units.binary_search(&Span::new(a, unit.size)).ok());
            if let (Some(place @ None), Some(index)) = (place, index) {
                *place = Some(UnitId::of(index as u32));
            }
        }
        let mut sections = vec![0; world.old.elf.sections.len()];
        for (new, old) in world.pairs.iter().enumerate() {
            if let Some(old) = old {
                sections[old.index()] = new as u16;
            }
        }
        Ground {
            world,
            units,
            free: Vec::new(),
            exceptions,
            of_old,
            sections,
        }
    }

    /// Bytes of memory that it holds, and that finding the free units takes.
    pub fn memory(&self) -> u64 {
        let units = self.units.len() * (size_of::<Span<Addr>>() + size_of::<u32>() + size_of::<bool>());
        let old = self.of_old.len() * size_of::<Option<UnitId>>();
        (units + old + self.exceptions.len() * size_of::<Addr>()) as u64
    }

    /// New units, ascending.
    pub fn units(&self) -> &[Span<Addr>] {
        &self.units
    }

    /// Index of the unit that starts at an address.
    pub fn unit(&self, addr: u64) -> Option<usize> {
        let addr = Addr::try_from(addr).ok()?;
        self.units.binary_search_by_key(&addr, |u| u.at).ok()
    }

    /// Finds the units that none of these old rows will name.
    pub fn set_free(&mut self, old: impl Iterator<Item = Row>) {
        let mut named = vec![false; self.units.len()];
        for row in old.filter(|r| r.is_function() && r.has_address()) {
            if let Some(unit) = self.old_unit(row.value).and_then(|i| self.of_old[i]) {
                named[unit.index()] = true;
            }
        }
        self.free = (0..self.units.len() as u32)
            .filter(|&i| !named[i as usize])
            .collect();
    }

    /// The exception table behind the last symbol of the row's section, if it is where such tables are.
    pub fn exception(&self, seen: &Seen, row: &Row) -> Option<u64> {
        let section = self.world.elf.sections.get(usize::from(row.section))?;
        let last = seen.last.get(usize::from(row.section))?.0;
        let next = self.exceptions.partition_point(|&e| u64::from(e) <= last);
        let addr = u64::from(*self.exceptions.get(next)?);
        (row.has_address() && addr >= section.addr && addr - section.addr < section.size).then_some(addr)
    }

    /// The old unit that starts at an address, by index.
    fn old_unit(&self, addr: u64) -> Option<usize> {
        let old = self.world.old;
        let at = old.addresses.offset(Addr::try_from(addr).ok()?)?;
        old.code.unit_at(at).filter(|&i| old.code.units[i].at == at)
    }

    /// What continues an old row whose name is at `name` now.
    pub fn expect(&self, seen: &Seen, old: &Row, name: u32) -> Expected {
        let mut e = Expected {
            row: Row { name, ..*old },
            ..Expected::default()
        };
        let section = usize::from(old.section);
        if let Some(&new) = self.sections.get(section).filter(|_| old.section != 0) {
            e.row.section = new;
        }
        let addr = Addr::try_from(old.value).ok().filter(|_| old.has_address());
        let Some(addr) = addr else {
            e.add(old.value);
            return e;
        };
        let elf = &self.world.old.elf;
        let from = elf.sections.get(section);
        let to = self.world.elf.sections.get(usize::from(e.row.section));
        let old_unit = self.old_unit(old.value);
        let new_unit = old_unit
            .and_then(|i| self.of_old[i])
            .map(|unit| self.units[unit.index()]);
        let projected = self.world.targets.map().project(addr);
        let learned = self.world.targets.remap().get(addr);
        let guesses = &mut e.sources;
        guesses[0] = new_unit.map(|u| u.at.into());
        guesses[1] = projected.map(u64::from);
        guesses[2] = learned.map(|l| l.target.into());
        let bounds = from.zip(to).and_then(|(from, to)| {
            let end = |s: &Section| s.addr.wrapping_add(s.size);
            let at_start = (old.value == from.addr).then_some(to.addr);
            at_start.or((old.value == end(from)).then_some(end(to)))
        });
        guesses[BOUND] = bounds;
        guesses[SEQUENCE] = seen
            .last
            .get(usize::from(e.row.section))
            .and_then(|&(value, _, was)| Some(value.wrapping_add(old.value.wrapping_sub(was?))));
        guesses[EXCEPTION] = self.exception(seen, &e.row);
        let right = &seen.right[class(&e.row)];
        let mut order = [0, 1, 2, 3, 4, 5];
        order.sort_by_key(|&k| std::cmp::Reverse(right[k]));
        // Best source, how much it is trusted, and which others agree with it.
        let mut first = None;
        let mut trust = 0;
        for k in order {
            let Some(guess) = e.sources[k] else { continue };
            if first.is_none() {
                first = Some(guess);
                trust = 1 + k as u32 + 7 * u32::from(right[k] >> 13);
            } else {
                let agrees = first == Some(guess);
                trust |= (if agrees { 1 } else { 1 << 5 }) << (8 + k);
            }
            e.add(guess);
        }
        if e.count == 0 {
            e.add(self.world.targets.map().guess(addr).into());
        }
        e.trust = trust;
        e.row.value = e.values[0];
        e.row.size = self.size(old, old_unit, e.row.value);
        e
    }

    /// The size of what continues an old row, if its value is as coded.
    pub fn resize(&self, old: &Row, value: u64) -> u64 {
        if old.has_address() {
            self.size(old, self.old_unit(old.value), value)
        } else {
            old.size
        }
    }

    fn size(&self, old: &Row, old_unit: Option<usize>, value: u64) -> u64 {
        match (old_unit, self.unit(value)) {
            (Some(was), Some(is)) if old.is_function() => {
                let change = i64::from(self.units[is].len) - i64::from(self.world.old.code.units[was].size);
                let same = u64::from(self.world.old.code.units[was].size) == old.size;
                if same {
                    old.size.wrapping_add_signed(change)
                } else {
                    old.size
                }
            }
            _ => old.size,
        }
    }
}
