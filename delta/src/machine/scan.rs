//! Steps through a function and finds its reference fields, one instruction at a time.

use super::aarch64::{base_of, word_of};
use super::got::GotBase;
use super::{Field, FieldKind, Insn, Machine, Pages};

/// A walk over the instructions of one function, first to last.
#[derive(Clone, Debug)]
pub struct Scanner {
    machine: Machine,
    pages: Pages,
    got: GotBase,
}

impl Scanner {
    /// At the start of a function.
    pub fn new(machine: Machine) -> Self {
        Scanner {
            machine,
            pages: Pages::new(),
            got: GotBase::default(),
        }
    }

    /// The instruction at the start of `bytes`, and its reference field if it has one, with the address that
    /// the field counts from. Does not move.
    #[inline]
    pub fn look(&self, bytes: &[u8], address: u64) -> (Insn, Option<(Field, u64)>) {
        let insn = self.machine.decode(bytes);
        (insn, self.field(&insn, bytes, address))
    }

    /// The reference field of the instruction at the start of `bytes`, which was decoded before; otherwise as
    /// [`Scanner::look`].
    #[inline]
    pub fn field(&self, insn: &Insn, bytes: &[u8], address: u64) -> Option<(Field, u64)> {
        match insn.field() {
            Some(field) if field.kind == FieldKind::Lo12 => {
                let page = word_of(bytes).and_then(|word| self.pages.page(base_of(word)));
                page.map(|page| (field, page))
            }
            Some(field) => Some((field, address)),
            None if self.machine == Machine::X86_32 => self.got.field(insn, bytes, address),
            None => None,
        }
    }

    /// Goes past the instruction at the start of `bytes`, whose fields are final.
    #[inline]
    pub fn pass(&mut self, bytes: &[u8], address: u64) {
        match self.machine {
            Machine::AArch64 => drop(self.pages.step(bytes, address)),
            Machine::X86_32 => self.got.step(bytes, address),
            Machine::X86_64 => {}
        }
    }
}
