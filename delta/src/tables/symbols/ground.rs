//! What the rest of the file says of a symbol's address and size.

use super::row::Row;
use crate::tables::World;

/// Most guesses of one value.
pub const GUESSES: usize = 4;

/// A row that is expected, and how far it can be trusted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// The row.
    pub row: Row,
    /// Guesses of its value, best first, without repeats.
    pub values: [u64; GUESSES],
    /// How many there are.
    pub count: usize,
    /// What the guesses come from and whether they agree.
    pub trust: u32,
}

impl Expected {
    fn add(&mut self, value: u64) -> bool {
        let new = !self.values[..self.count].contains(&value);
        if new {
            self.values[self.count] = value;
            self.count += 1;
        }
        new
    }
}

/// Units of both files by address, and sections by index.
pub struct Ground<'w> {
    world: &'w World<'w>,
    /// New units: address and size, ascending.
    units: Vec<(u32, u32)>,
    /// Index in `units` of the first new unit that continues each old one, plus one.
    of_old: Vec<u32>,
    /// New section of each old one, 0 for none.
    sections: Vec<u16>,
}

impl<'w> Ground<'w> {
    /// Gathers them.
    pub fn new(world: &'w World<'w>) -> Self {
        let mut units = Vec::with_capacity(world.units.len());
        let mut of_old = vec![0; world.old.code.units.len()];
        for unit in world.units {
            if let Some(addr) = world.code.addr(unit.at) {
                units.push((addr, unit.size));
            }
        }
        units.sort_unstable();
        for unit in world.units {
            let place = unit.source.checked_sub(1).and_then(|i| of_old.get_mut(i as usize));
            let index = world.code.addr(unit.at).and_then(|a| units.binary_search(&(a, unit.size)).ok());
            if let (Some(place @ 0), Some(index)) = (place, index) {
                *place = index as u32 + 1;
            }
        }
        let mut sections = vec![0; world.old.elf.sections.len()];
        for (new, old) in world.pairs.iter().enumerate() {
            if let Some(old) = old {
                sections[*old] = new as u16;
            }
        }
        Ground { world, units, of_old, sections }
    }

    /// New units: address and size, ascending.
    pub fn units(&self) -> &[(u32, u32)] {
        &self.units
    }

    /// Index of the unit that starts at an address.
    pub fn unit(&self, addr: u64) -> Option<usize> {
        let addr = u32::try_from(addr).ok()?;
        self.units.binary_search_by_key(&addr, |u| u.0).ok()
    }

    /// The old unit that starts at an address, by index.
    fn old_unit(&self, addr: u64) -> Option<usize> {
        let old = self.world.old;
        let at = old.addresses.offset(u32::try_from(addr).ok()?)?;
        old.code.unit_at(at).filter(|&i| old.code.units[i].at == at)
    }

    /// What continues an old row whose name is at `name` now.
    pub fn expect(&self, old: &Row, name: u32) -> Expected {
        let mut e = Expected { row: Row { name, ..*old }, ..Expected::default() };
        let section = usize::from(old.section);
        if let Some(&new) = self.sections.get(section).filter(|_| old.section != 0) {
            e.row.section = new;
        }
        let addr = u32::try_from(old.value).ok().filter(|_| old.has_address());
        let Some(addr) = addr else {
            e.add(old.value);
            return e;
        };
        let elf = &self.world.old.elf;
        let from = elf.sections.get(section);
        let to = self.world.elf.sections.get(usize::from(e.row.section));
        let old_unit = self.old_unit(old.value);
        let new_unit =
            old_unit.map(|i| self.of_old[i]).filter(|&i| i > 0).map(|i| self.units[i as usize - 1]);
        let projected = self.world.targets.map().project(addr);
        let learned = self.world.targets.remap().get(addr);
        let mut differ = 0;
        for (bit, guess) in
            [new_unit.map(|u| u.0), projected, learned.map(|l| l.target)].into_iter().enumerate()
        {
            if let Some(guess) = guess {
                differ |= (1 << bit) << (3 * u32::from(e.count > 0 && e.add(guess.into())));
                e.add(guess.into());
            }
        }
        // Symbols of a section's start or end stay there.
        if let (Some(from), Some(to)) = (from, to) {
            let at_end = old.value == from.addr.wrapping_add(from.size) && old.value != from.addr;
            let base = if at_end { to.addr.wrapping_add(to.size) } else { to.addr };
            let was = if at_end { from.addr.wrapping_add(from.size) } else { from.addr };
            let moved = base.wrapping_add(old.value.wrapping_sub(was));
            if (old.value == was || e.count == 0) && e.count > 0 && !e.values[..e.count].contains(&moved) {
                // Such a symbol is more likely the section's than that of what lies there.
                e.values.copy_within(..e.count, 1);
                e.values[0] = moved;
                e.count += 1;
                differ |= 1 << 6;
            } else {
                e.add(moved);
            }
        }
        e.trust = differ | u32::from(old.is_function()) << 7;
        e.row.value = e.values[0];
        e.row.size = self.size(old, old_unit, e.row.value);
        e
    }

    /// The size of what continues an old row, if its value is as told.
    pub fn resize(&self, old: &Row, value: u64) -> u64 {
        if old.has_address() { self.size(old, self.old_unit(old.value), value) } else { old.size }
    }

    fn size(&self, old: &Row, old_unit: Option<usize>, value: u64) -> u64 {
        match (old_unit, self.unit(value)) {
            (Some(was), Some(is)) if old.is_function() => {
                let change = i64::from(self.units[is].1) - i64::from(self.world.old.code.units[was].size);
                let same = u64::from(self.world.old.code.units[was].size) == old.size;
                if same { old.size.wrapping_add_signed(change) } else { old.size }
            }
            _ => old.size,
        }
    }
}
