//! Reads machine code just far enough to find the fields that hold addresses.
//!
//! Three instruction sets: x86-64, 32-bit x86 and AArch64. [`Machine::decode`] gives the length, the flow
//! and the reference field of one instruction; [`Machine::read`], [`Machine::write`] and [`Machine::blank`]
//! turn a field into a target address and back. AArch64 splits an address over two instructions, `adrp` and
//! one that adds the low twelve bits: [`Pages`] pairs them.
//!
//! Encoder and decoder both walk code with this module, so all that it computes is part of the format: a
//! fix to a table is a new format version. It accepts any bytes; what it doesn't know, it steps over.
//!
//! Sources: Intel SDM volume 2 (chapter 2 and appendix A), AMD64 manual volume 3, Arm ARM chapter C4.

mod aarch64;
mod field;
mod pages;
mod scan;
mod x86;
mod x86_tables;

pub use pages::{LowPart, Pages};
pub use scan::Scanner;

/// Kinds of reference field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum FieldKind {
    /// x86 short jump, `loop` or `jrcxz`: one signed byte, counted from the end of the instruction.
    Rel8,
    /// x86 `call`, `jmp`, `jcc` or `xbegin`: four signed bytes, counted from the end of the instruction.
    Rel32,
    /// x86-64 memory operand relative to the end of the instruction, immediates included.
    Rip32,
    /// AArch64 `b` and `bl`: 26 bits, in words.
    Branch26,
    /// AArch64 `b.cond`, `cbz` and `cbnz`: 19 bits, in words.
    Branch19,
    /// AArch64 `tbz` and `tbnz`: 14 bits, in words.
    Branch14,
    /// AArch64 load of a literal: 19 bits, in words.
    Lit19,
    /// AArch64 `adr`: 21 bits, in bytes.
    Adr21,
    /// AArch64 `adrp`: 21 bits, in pages of 4 KiB. Its target is a page.
    AdrPage21,
    /// AArch64 unsigned twelve-bit immediate that may complete an `adrp`, in units that the instruction
    /// sets. Only [`Pages`] knows whether it does, and which page it counts from.
    Lo12,
}

/// A reference field and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// What the bits mean.
    pub kind: FieldKind,
    /// Offset of its first byte in the instruction; 0 on AArch64, where fields share a word with the opcode.
    pub at: u8,
}

/// Where control goes after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Flow {
    /// To the next instruction. System calls and software interrupts with a number count as this, and so do
    /// `erets`, `eretu`, `uiret` and `skinit`, which hide among the forms of opcode 0F 01.
    Next,
    /// To a callee, then to the next instruction; direct, indirect or far.
    Call,
    /// Elsewhere, always; direct, indirect or far.
    Jump,
    /// Elsewhere or to the next instruction.
    CondJump,
    /// To the caller, or back from an interrupt or a system call.
    Return,
    /// Nowhere: `int3`, `int1`, `ud0`, `ud1`, `ud2`, `hlt`; `brk`, `hlt`, `udf` and `dcps` on AArch64.
    Trap,
}

/// In [`Insn`]: there is no such byte.
pub const ABSENT: u8 = 0xff;

/// The shape of one instruction. Offsets count from its first byte; the ones after `known` are x86 only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// Length in bytes: 1 to 15 on x86; 4 on AArch64, fewer where the bytes end; 0 only for no bytes at all.
    pub len: u8,
    /// The reference field, at most one.
    pub field: Option<Field>,
    /// Where control goes.
    pub flow: Flow,
    /// Whether the bytes were understood. If not, `len` is 1 on x86, a word on AArch64, and nothing is set.
    pub known: bool,
    /// First opcode byte: the one after prefixes and REX (so the 0F of an escaped opcode), or the one after
    /// the payload of a VEX, EVEX or XOP prefix.
    pub opcode_at: u8,
    /// ModRM byte, or [`ABSENT`].
    pub modrm_at: u8,
    /// Displacement of a memory operand, or [`ABSENT`]; the address of `mov` A0 to A3 counts as one.
    pub disp_at: u8,
    /// Length of the displacement, or 0.
    pub disp_len: u8,
    /// Immediate, or [`ABSENT`]. Branch displacements count as immediates.
    pub imm_at: u8,
    /// Length of the immediate (of both, when there are two), or 0.
    pub imm_len: u8,
}

impl Insn {
    /// Bytes to step over.
    const fn raw(len: u8) -> Insn {
        Insn {
            len,
            field: None,
            flow: Flow::Next,
            known: false,
            opcode_at: 0,
            modrm_at: ABSENT,
            disp_at: ABSENT,
            disp_len: 0,
            imm_at: ABSENT,
            imm_len: 0,
        }
    }
}

/// An instruction set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Machine {
    /// x86 in 64-bit mode.
    X86_64,
    /// x86 in 32-bit mode.
    X86_32,
    /// AArch64.
    AArch64,
}

impl Machine {
    /// Picks the instruction set of an ELF file by `e_machine`, `EI_CLASS` (1 or 2) and byte order (gABI,
    /// "ELF header"); `None` for all others. x32 and ILP32 files are of class 1 and hold 64-bit code.
    pub fn from_elf(e_machine: u16, class: u8, little_endian: bool) -> Option<Machine> {
        match (e_machine, class, little_endian) {
            (62, 1 | 2, true) => Some(Machine::X86_64),
            (3, 1, true) => Some(Machine::X86_32),
            (183, 1 | 2, true) => Some(Machine::AArch64),
            _ => None,
        }
    }

    /// Decodes the instruction at the start of `bytes`, which may be anything. Bytes that are no
    /// instruction, or only the start of one, come back with `known` unset.
    #[inline]
    pub fn decode(self, bytes: &[u8]) -> Insn {
        match self {
            Machine::X86_64 => x86::decode::<true>(bytes),
            Machine::X86_32 => x86::decode::<false>(bytes),
            Machine::AArch64 => aarch64::decode(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MACHINES: [Machine; 3] = [Machine::X86_64, Machine::X86_32, Machine::AArch64];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        /// Any bytes decode to something that lies inside them, and what follows them doesn't matter.
        #[test]
        fn arbitrary_bytes_decode(machine in prop::sample::select(&MACHINES[..]), bytes: [u8; 40], end in 0usize..24) {
            let whole = machine.decode(&bytes);
            let len = usize::from(whole.len);
            prop_assert!((1..=15).contains(&len));
            prop_assert_eq!(machine.decode(&bytes[..len]), whole);
            let cut = machine.decode(&bytes[..end]);
            if end >= len && end > 0 {
                prop_assert_eq!(cut, whole);
            } else {
                prop_assert!(!cut.known && usize::from(cut.len) <= end);
            }
            if let Some(field) = whole.field {
                prop_assert!(usize::from(field.at) + field.kind.bytes() <= len);
            }
            if whole.disp_len > 0 {
                prop_assert!(whole.disp_at + whole.disp_len <= whole.len);
            }
            if whole.imm_len > 0 {
                prop_assert_eq!(whole.imm_at + whole.imm_len, whole.len);
            }
        }
    }

    #[test]
    fn machines_are_picked_by_the_elf_header() {
        assert_eq!(Machine::from_elf(62, 2, true), Some(Machine::X86_64));
        assert_eq!(Machine::from_elf(3, 1, true), Some(Machine::X86_32));
        assert_eq!(Machine::from_elf(183, 2, true), Some(Machine::AArch64));
        assert_eq!(Machine::from_elf(183, 2, false), None);
        assert_eq!(Machine::from_elf(3, 2, true), None);
        assert_eq!(Machine::from_elf(243, 2, true), None);
    }
}
