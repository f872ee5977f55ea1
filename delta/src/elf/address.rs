//! Addresses and file offsets, one to the other. Modelled files keep both below 4 GiB.

use super::Elf;
use crate::place::{Addr, Off, Place, SectionId};

/// A loaded section's place in memory and, unless it is zero-filled, in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
    /// First file offset; `None` for zero-filled sections.
    pub offset: Option<Off>,
    /// Section index.
    pub section: SectionId,
}

/// The loaded sections, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    ranges: Vec<Range>,
}

const SHF_TLS: u64 = 1 << 10;

impl Addresses {
    /// Collects them; `None` where an address does not fit 32 bits or ranges overlap.
    pub fn of(elf: &Elf) -> Option<Addresses> {
        let mut ranges = Vec::new();
        for (section, s) in elf.ids().zip(&elf.sections) {
            let zero_filled = !s.in_file();
            if !s.is_loaded() || s.size == 0 || (zero_filled && s.flags & SHF_TLS != 0) {
                continue;
            }
            s.addr.checked_add(s.size).filter(|&e| e < u64::from(u32::MAX))?;
            ranges.push(Range {
                addr: Addr(s.addr as u32),
                len: s.size as u32,
                offset: (!zero_filled).then_some(Off(s.offset as u32)),
                section,
            });
        }
        ranges.sort_by_key(|r| (r.addr, r.len));
        let disjoint = ranges.windows(2).all(|w| w[0].addr + w[0].len <= w[1].addr);
        disjoint.then_some(Addresses { ranges })
    }

    /// Ranges, ascending.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The range that holds an address.
    pub fn range_of(&self, addr: Addr) -> Option<&Range> {
        let after = self.ranges.partition_point(|r| r.addr <= addr);
        let range = &self.ranges[after.checked_sub(1)?];
        (addr - range.addr < range.len).then_some(range)
    }

    /// The address of a file offset.
    pub fn addr(&self, offset: Off) -> Option<Addr> {
        let holds = |r: &&Range| r.offset.is_some_and(|at| offset.since(at) < r.len);
        self.ranges
            .iter()
            .find(holds)
            .map(|r| r.addr + (offset - r.offset.unwrap_or_default()))
    }

    /// The file offset of an address.
    pub fn offset(&self, addr: Addr) -> Option<Off> {
        let range = self.range_of(addr)?;
        Some(range.offset? + (addr - range.addr))
    }
}
