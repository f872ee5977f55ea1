//! Reads machine code just far enough to find the fields that hold addresses.
//!
//! [`Machine::decode`] gives the length, the flow and the reference field of one instruction; [`Machine::read`],
//! [`Machine::write`] and [`Machine::blank`] turn a field into a target address and back. What a field counts from
//! may depend on the instructions before it, which a [`Scanner`] follows.
//!
//! Each instruction set is a folder with one type, whose trait is all that the rest of the engine can ask for; a set
//! is known once it stands in [`Machine`] and in the list of `dispatch`. Encoder and decoder both walk code with
//! this module, so all that it computes is part of the format: a fix to a table is a new format version. It accepts
//! any bytes; what it doesn't know, it steps over.

pub mod aarch64;
pub mod arm;
mod bases;
mod bits;
mod insn;
pub mod loong;
pub mod mips;
pub mod ppc;
pub mod riscv;
mod scan;
mod set;
#[cfg(test)]
mod tests;
mod words;
pub mod x86;
pub mod z;

pub use insn::{ABSENT, Field, FieldKind, Flow, Insn};
pub use scan::Scanner;
pub use set::Use;

use crate::place::Addr;
use insn::{Shape, packed};
use set::InstructionSet;

/// An instruction that does nothing, among the roles of instructions.
pub const NOP: u8 = 16;

/// An instruction set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Machine {
    /// x86 in 64-bit mode.
    X86_64,
    /// x86 in 32-bit mode.
    X86_32,
    /// AArch64.
    AArch64,
    /// 32-bit ARM; a file of this machine has functions of [`Machine::Thumb`] too.
    Arm,
    /// Thumb-2.
    Thumb,
    /// RISC-V of 64 bits.
    RiscV64,
    /// PowerPC of 64 bits, little-endian.
    Ppc64,
    /// LoongArch of 64 bits.
    Loong64,
    /// MIPS of 64 bits, little-endian.
    Mips64,
    /// z/Architecture, big-endian.
    Z,
}

/// The expression with `$set` standing for the type of the machine's instruction set.
macro_rules! dispatch {
    ($machine:expr, $set:ident => $result:expr) => {
        match $machine {
            Machine::X86_64 => {
                type $set = x86::X86<true>;
                $result
            }
            Machine::X86_32 => {
                type $set = x86::X86<false>;
                $result
            }
            Machine::AArch64 => {
                type $set = aarch64::AArch64;
                $result
            }
            Machine::Arm => {
                type $set = arm::Arm;
                $result
            }
            Machine::Thumb => {
                type $set = arm::Thumb;
                $result
            }
            Machine::RiscV64 => {
                type $set = riscv::RiscV;
                $result
            }
            Machine::Ppc64 => {
                type $set = ppc::Ppc64;
                $result
            }
            Machine::Loong64 => {
                type $set = loong::Loong;
                $result
            }
            Machine::Mips64 => {
                type $set = mips::Mips64;
                $result
            }
            Machine::Z => {
                type $set = z::Z;
                $result
            }
        }
    };
}

impl Machine {
    /// All of them.
    pub const ALL: [Machine; 10] = [
        Machine::X86_64,
        Machine::X86_32,
        Machine::AArch64,
        Machine::Arm,
        Machine::Thumb,
        Machine::RiscV64,
        Machine::Ppc64,
        Machine::Loong64,
        Machine::Mips64,
        Machine::Z,
    ];

    /// Picks the instruction set of an ELF file by `e_machine`, `EI_CLASS` (1 or 2) and byte order (gABI,
    /// "ELF header"); `None` for all others. x32 and ILP32 files are of class 1 and hold 64-bit code.
    pub fn from_elf(e_machine: u16, class: u8, little_endian: bool) -> Option<Machine> {
        match (e_machine, class, little_endian) {
            (62, 1 | 2, true) => Some(Machine::X86_64),
            (3, 1, true) => Some(Machine::X86_32),
            (183, 1 | 2, true) => Some(Machine::AArch64),
            (40, 1, true) => Some(Machine::Arm),
            (243, 2, true) => Some(Machine::RiscV64),
            (21, 2, true) => Some(Machine::Ppc64),
            (258, 2, true) => Some(Machine::Loong64),
            (8, 2, true) => Some(Machine::Mips64),
            (22, 2, false) => Some(Machine::Z),
            _ => None,
        }
    }

    /// Whether functions of a file are of one of two instruction sets.
    pub fn has_modes(self) -> bool {
        self.in_mode(false) != self.in_mode(true)
    }

    /// The instruction set of a function, which is the `other` one of the two that its machine has.
    #[inline]
    pub fn in_mode(self, other: bool) -> Machine {
        match self {
            Machine::Arm | Machine::Thumb if other => Machine::Thumb,
            Machine::Arm | Machine::Thumb => Machine::Arm,
            machine => machine,
        }
    }

    /// Whether data stands between instructions, of classes that a [`Scanner`] in place finds.
    #[inline]
    pub fn has_data(self) -> bool {
        dispatch!(self, S => S::DATA)
    }

    /// Data of a class, from 1 on; `None` where there is no such class.
    #[inline]
    pub fn data(self, class: u8) -> Option<Insn> {
        dispatch!(self, S => S::data(class))
    }

    /// Adds to `entries` where functions of `code` at `addr` begin, as far as calls tell; `all` says which addresses
    /// are code.
    pub fn find_functions(
        self,
        code: &[u8],
        addr: Addr,
        entries: &mut Vec<(Addr, bool)>,
        all: &dyn Fn(Addr) -> bool,
    ) {
        match self {
            Machine::Arm | Machine::Thumb => arm::functions(code, addr, entries, all),
            _ => {}
        }
    }

    /// Symbol and type of a relative relocation.
    pub fn relative(self) -> u64 {
        dispatch!(self, S => S::RELATIVE)
    }

    /// Instructions before one that are walked for what its field counts from: 0 where that never depends on
    /// them, `usize::MAX` where all of the unit are.
    #[inline]
    pub fn lead_in(self) -> usize {
        dispatch!(self, S => S::LEAD_IN)
    }

    /// Whether what a field means depends on the instructions before it, so that every one of them is passed.
    #[inline]
    pub fn has_context(self) -> bool {
        self.lead_in() > 0
    }

    /// Bytes of the smallest instruction, in which tables may count distances in code.
    pub fn smallest(self) -> u8 {
        dispatch!(self, S => S::SMALLEST)
    }

    /// What padding is first expected to be made of.
    pub fn pad(self) -> u8 {
        dispatch!(self, S => S::PAD)
    }

    /// Decodes the instruction at the start of `bytes`, which may be anything. Bytes that are no
    /// instruction, or only the start of one, come back with `known` unset.
    #[inline]
    pub fn decode(self, bytes: &[u8]) -> Insn {
        dispatch!(self, S => S::decode(bytes))
    }

    /// Whether a kind stands in the machine's list.
    pub fn lists(self, kind: FieldKind) -> bool {
        dispatch!(self, S => kind.number() < S::KINDS)
    }

    /// What a kind of field is used for.
    #[inline]
    pub fn uses(self, kind: FieldKind) -> Use {
        dispatch!(self, S => S::uses(kind))
    }

    /// Cuts an address to the width of the machine.
    #[inline]
    pub fn address(self, value: u64) -> u64 {
        dispatch!(self, S => S::address(value))
    }

    /// The target address of a field of the instruction of `len` bytes at `address`, which is where the field
    /// counts from if a [`Scanner`] says so. Arithmetic wraps, as the processor's does; 0 if the field isn't
    /// inside `insn`.
    #[inline]
    pub fn read(self, kind: FieldKind, insn: &[u8], at: u8, len: u8, address: u64) -> u64 {
        dispatch!(self, S => S::read(kind, insn, at, len, address))
    }

    /// Makes a field point to `target`; arguments as in [`Machine::read`]. Of the target of a page, only
    /// the page counts. False, and nothing written, if the target is out of reach or not a whole number of
    /// units away, or the field isn't inside `insn`.
    #[inline]
    pub fn write(self, field: Field, insn: &mut [u8], len: u8, address: u64, target: u64) -> bool {
        dispatch!(self, S => S::write(field, insn, len, address, target))
    }

    /// Sets the bits of a field to zero and leaves the others; nothing if it isn't inside `insn`.
    #[inline]
    pub fn blank(self, kind: FieldKind, insn: &mut [u8], at: u8) {
        dispatch!(self, S => S::blank(kind, insn, at))
    }

    /// How far the target of a field is from where it would be with all bits zero, if the field is *open*: it is zero, or
    /// leads into its own instruction or right behind it. In an object, a linker fills such a field. Arguments as in
    /// [`Machine::read`]; `here` is the address of the instruction.
    pub fn open(self, field: Field, insn: &[u8], len: u8, from: u64, here: u64) -> Option<u32> {
        let target = self.read(field.kind, insn, field.at, len, from);
        let away = target.wrapping_sub(self.unfilled(field, insn, len, from)) as u32;
        (away == 0 || target.wrapping_sub(here) <= u64::from(len)).then_some(away)
    }

    /// The target of a field if all its bits were zero; arguments as in [`Machine::read`].
    pub fn unfilled(self, field: Field, insn: &[u8], len: u8, from: u64) -> u64 {
        let (mut zero, first) = ([0; 16], insn.len().min(16));
        zero[..first].copy_from_slice(&insn[..first]);
        self.blank(field.kind, &mut zero[..first], field.at);
        self.read(field.kind, &zero[..first], field.at, len, from)
    }

    /// Which bits of byte `at` of an instruction belong to its field and are not coded with the text.
    #[inline]
    pub fn hidden_bits(self, field: Field, at: usize) -> u8 {
        dispatch!(self, S => S::hidden_bits(field, at))
    }

    /// Where the `n`-th byte coded of an instruction stands in it, with `room` bytes to the end of the unit; `first` is
    /// the first byte, known behind the first one coded if it is that.
    #[inline]
    pub fn place(self, n: usize, room: usize, first: u8) -> usize {
        dispatch!(self, S => S::place(n, room, first))
    }

    /// Length of what is coded where no instruction is; 0 if there always is one.
    #[inline]
    pub fn stray(self, room: usize) -> usize {
        dispatch!(self, S => S::stray(room))
    }

    /// The part that the `n`-th byte coded is, going by those before it (in `insn`, those to come were zero).
    #[inline]
    pub fn part(self, insn: &Insn, n: usize) -> u32 {
        dispatch!(self, S => S::part(insn, n))
    }

    /// The byte of another instruction, of shape `shape`, that is the same part as byte `at` of `insn`.
    #[inline]
    pub fn counterpart(self, other: &[u8], shape: &Insn, part: u32, at: usize, insn: &Insn) -> Option<u8> {
        dispatch!(self, S => S::counterpart(other, shape, part, at, insn))
    }

    /// The opcode of an instruction, registers and operands left out.
    #[inline]
    pub fn opcode(self, masked: &[u8], insn: &Insn) -> u32 {
        dispatch!(self, S => S::opcode(masked, insn))
    }

    /// The register that an instruction seems to write, plus one; plus 17 if it is the base of a memory operand.
    #[inline]
    pub fn written(self, masked: &[u8], insn: &Insn) -> u32 {
        dispatch!(self, S => S::written(masked, insn))
    }

    /// What a reference's instruction is known by.
    #[inline]
    pub fn site(self, bytes: &[u8], field: Field) -> u32 {
        dispatch!(self, S => S::site(bytes, field))
    }

    /// What an instruction that is no branch does to the frame: 4 to 14, [`NOP`], or 0 for nothing that is known.
    pub fn role(self, insn: &Insn, bytes: &[u8]) -> u8 {
        dispatch!(self, S => S::role(insn, bytes))
    }

    /// Hash of an instruction without its longer operands.
    pub fn head(self, insn: &Insn, bytes: &[u8]) -> u32 {
        dispatch!(self, S => S::head(insn, bytes))
    }

    /// Hash of an instruction without its operands.
    pub fn look(self, insn: &Insn, bytes: &[u8]) -> u32 {
        dispatch!(self, S => S::look(insn, bytes))
    }
}
