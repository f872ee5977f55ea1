//! Steps through a function and finds its reference fields, one instruction at a time.

use super::aarch64::{self, Pages};
use super::x86::GotBase;
use super::{Field, Insn, Machine};

/// A walk over the instructions of one function, first to last.
#[derive(Clone, Debug)]
pub struct Scanner {
    machine: Machine,
    passed: Passed,
}

/// What the instructions passed leave to those that follow.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for each look at a single instruction: nothing is allocated"
)]
enum Passed {
    /// Nothing.
    Nothing,
    /// Pages in registers.
    Pages(Pages),
    /// The address of the global offset table in registers.
    Got(GotBase),
}

impl Scanner {
    /// At the start of a function.
    pub fn new(machine: Machine) -> Self {
        let passed = match machine {
            Machine::X86_64 => Passed::Nothing,
            Machine::X86_32 => Passed::Got(GotBase::default()),
            Machine::AArch64 => Passed::Pages(Pages::new()),
        };
        Scanner { machine, passed }
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
        let field = insn.field();
        match (&self.passed, field) {
            (Passed::Pages(pages), Some(field)) if field.kind == aarch64::LO12 => {
                Some((field, aarch64::page_of(pages, bytes)?))
            }
            (Passed::Got(got), None) => got.field(insn, bytes, address),
            _ => Some((field?, address)),
        }
    }

    /// Goes past the instruction at the start of `bytes`, whose fields are final.
    #[inline]
    pub fn pass(&mut self, bytes: &[u8], address: u64) {
        match &mut self.passed {
            Passed::Nothing => {}
            Passed::Pages(pages) => drop(pages.step(bytes, address)),
            Passed::Got(got) => got.step(bytes, address),
        }
    }
}
