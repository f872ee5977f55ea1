//! Steps through a function and finds its reference fields, one instruction at a time.

use super::aarch64::{self, Pages};
use super::arm::Pools;
use super::loong;
use super::mips::{self, Globals};
use super::ppc::{self, Toc};
use super::riscv::{self, Pairs};
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
enum Passed {
    /// Nothing.
    Nothing,
    /// Pages in registers.
    Pages(Pages),
    /// The address of the global offset table in registers.
    Got(GotBase),
    /// Constants ahead.
    Pools(Pools),
    /// Higher parts of addresses in registers.
    Pairs(Pairs),
    /// The table of contents, and higher halves of addresses in registers.
    Toc(Toc),
    /// Higher parts of addresses in registers.
    Loong(loong::Pairs),
    /// The global pointer, and higher halves of addresses in registers.
    Globals(Globals),
}

impl Scanner {
    /// At the start of a function, of which the bytes may be incomplete or somewhere else than where they are from:
    /// what only stands in the bytes to come, or depends on the address, is not looked for.
    pub fn new(machine: Machine) -> Self {
        let passed = match machine {
            Machine::X86_64 | Machine::Arm | Machine::Thumb | Machine::Z => Passed::Nothing,
            Machine::X86_32 => Passed::Got(GotBase::default()),
            Machine::AArch64 => Passed::Pages(Pages::new()),
            Machine::RiscV64 => Passed::Pairs(Pairs::default()),
            Machine::Ppc64 => Passed::Toc(Toc::default()),
            Machine::Loong64 => Passed::Loong(loong::Pairs::default()),
            Machine::Mips64 => Passed::Globals(Globals::default()),
        };
        Scanner { machine, passed }
    }

    /// At the start of a function that is walked where it stands: bytes and addresses are those of its file, or
    /// references at least have their own.
    pub fn in_place(machine: Machine) -> Self {
        let passed = match machine {
            Machine::Arm | Machine::Thumb => Passed::Pools(Pools::new(machine == Machine::Thumb)),
            _ => return Scanner::new(machine),
        };
        Scanner { machine, passed }
    }

    /// The instruction at the start of `bytes`, and its reference field if it has one, with the address that
    /// the field counts from. Does not move.
    #[inline(always)]
    pub fn look(&self, bytes: &[u8], address: u64) -> (Insn, Option<(Field, u64)>) {
        let mut insn = self.machine.decode(bytes);
        if let Passed::Pools(pools) = &self.passed {
            insn = pools.look(bytes, insn.len(), address).unwrap_or(insn);
        }
        (insn, self.field(&insn, bytes, address))
    }

    /// The reference field of the instruction at the start of `bytes`, which was decoded before; otherwise as
    /// [`Scanner::look`].
    #[inline(always)]
    pub fn field(&self, insn: &Insn, bytes: &[u8], address: u64) -> Option<(Field, u64)> {
        let field = insn.field();
        match (&self.passed, field) {
            (Passed::Pages(pages), Some(field)) if field.kind == aarch64::LO12 => {
                Some((field, aarch64::page_of(pages, bytes)?))
            }
            (Passed::Pairs(pairs), Some(field)) if riscv::is_low(field.kind) => {
                Some((field, pairs.base(bytes)?))
            }
            (Passed::Toc(toc), Some(field)) if ppc::is_counted(field.kind) => {
                Some((field, toc.base(bytes, address)?))
            }
            (Passed::Loong(pairs), Some(field)) if loong::is_low(field.kind) => {
                Some((field, pairs.base(bytes)?))
            }
            (Passed::Globals(globals), Some(field)) if mips::is_counted(field.kind) => {
                Some((field, globals.base(bytes, address)?))
            }
            (Passed::Got(got), None) => got.field(insn, bytes, address),
            (Passed::Pools(pools), Some(field)) => Some(pools.field(field, address)),
            _ => Some((field?, address)),
        }
    }

    /// Goes past the instruction at the start of `bytes`, whose shape is `insn` and whose fields are final.
    #[inline(always)]
    pub fn pass(&mut self, insn: &Insn, bytes: &[u8], address: u64) {
        match &mut self.passed {
            Passed::Nothing => {}
            Passed::Pages(pages) => drop(pages.step(bytes, address)),
            Passed::Got(got) => got.step(bytes, address),
            Passed::Pools(pools) => pools.step(insn, bytes, address),
            Passed::Pairs(pairs) => pairs.step(bytes, address),
            Passed::Toc(toc) => toc.step(insn, bytes, address),
            Passed::Loong(pairs) => pairs.step(bytes, address),
            Passed::Globals(globals) => globals.step(insn, bytes, address),
        }
    }
}
