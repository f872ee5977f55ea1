//! Fields of new code that nothing fills yet: a linker does, and rows of the table for that code say with what.

use crate::machine::Scanner;
use crate::place::Addr;
use crate::predict::UnitView;

/// A field that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Its address.
    pub addr: Addr,
    /// What its instruction is known by.
    pub site: u32,
}

/// The open fields of a file, once they are sorted by address.
#[derive(Debug, Default)]
pub struct Fields {
    all: Vec<Open>,
}

impl Fields {
    /// Adds those of a unit: see [`crate::machine::Machine::open`].
    pub fn unit(&mut self, view: &UnitView) {
        let (machine, mut p) = (view.machine(), 0);
        let mut scanner = Scanner::new(machine);
        for &insn in view.shapes {
            let (bytes, here) = (&view.bytes[p..], u64::from(view.addr) + p as u64);
            let len = insn.len();
            let open = |&(field, from): &(_, u64)| machine.open(field, bytes, len, from, here).is_some();
            if let Some((field, _)) = scanner.field(&insn, bytes, here).filter(open) {
                self.all.push(Open {
                    addr: view.addr.wrapping_add(p as u32 + u32::from(field.at)),
                    site: machine.site(&bytes[..usize::from(len).min(bytes.len())], field),
                });
            }
            scanner.pass(&insn, bytes, here);
            p += usize::from(len);
        }
    }

    /// Sorts them, once all are there.
    pub fn sort(&mut self) {
        self.all.sort_unstable_by_key(|open| open.addr);
    }

    /// Those of a stretch of addresses.
    pub fn within(&self, addr: u64, size: u64) -> &[Open] {
        let from = |addr: u64| self.all.partition_point(|open| u64::from(open.addr) < addr);
        &self.all[from(addr)..from(addr.saturating_add(size))]
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.all.capacity() as u64 * size_of::<Open>() as u64
    }
}
