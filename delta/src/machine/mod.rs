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
mod got;
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
    /// 32-bit x86 constant that gives the address of the global offset table once the address of its
    /// instruction was added. Only a [`Scanner`] knows it.
    GotAdd32,
    /// 32-bit x86 displacement from the global offset table. Only a [`Scanner`] knows it, and where the table is.
    GotDisp32,
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

/// The shape of one instruction, packed so that it travels in a register. Offsets count from its first byte;
/// all but the first four parts are x86 only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Insn(u64);

/// Where the parts of an [`Insn`] lie in it, four bits each: `known` shares those of the flow.
mod packed {
    pub const FIELD_KIND: u32 = 4;
    pub const FIELD_AT: u32 = 8;
    pub const FLOW: u32 = 12;
    pub const KNOWN: u32 = 15;
    pub const OPCODE_AT: u32 = 16;
    pub const MODRM_AT: u32 = 20;
    pub const DISP_AT: u32 = 24;
    pub const DISP_LEN: u32 = 28;
    pub const IMM_AT: u32 = 32;
    pub const IMM_LEN: u32 = 36;
}

impl Default for Insn {
    fn default() -> Insn {
        Insn::raw(0)
    }
}

const FIELD_KINDS: [FieldKind; 12] = [
    FieldKind::Rel8,
    FieldKind::Rel32,
    FieldKind::Rip32,
    FieldKind::Branch26,
    FieldKind::Branch19,
    FieldKind::Branch14,
    FieldKind::Lit19,
    FieldKind::Adr21,
    FieldKind::AdrPage21,
    FieldKind::Lo12,
    FieldKind::GotAdd32,
    FieldKind::GotDisp32,
];

const FLOWS: [Flow; 8] = [
    Flow::Next,
    Flow::Call,
    Flow::Jump,
    Flow::CondJump,
    Flow::Return,
    Flow::Trap,
    Flow::Next,
    Flow::Next,
];

impl Insn {
    /// Bytes to step over.
    const fn raw(len: u8) -> Insn {
        Shape::raw(len).pack()
    }

    #[inline(always)]
    fn part(self, at: u32) -> u8 {
        (self.0 >> at & 15) as u8
    }

    /// An offset; 15 stands for [`ABSENT`].
    #[inline(always)]
    fn offset(self, at: u32) -> u8 {
        let offset = self.part(at);
        if offset == 15 { ABSENT } else { offset }
    }

    /// Length in bytes: 1 to 15 on x86; 4 on AArch64, fewer where the bytes end; 0 only for no bytes at all.
    #[inline(always)]
    pub fn len(self) -> u8 {
        self.part(0)
    }

    /// Whether there were no bytes at all.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The reference field, at most one.
    #[inline(always)]
    pub fn field(self) -> Option<Field> {
        let kind = usize::from(self.part(packed::FIELD_KIND)).checked_sub(1)?;
        Some(Field {
            kind: *FIELD_KINDS.get(kind)?,
            at: self.part(packed::FIELD_AT),
        })
    }

    /// Where control goes.
    #[inline(always)]
    pub fn flow(self) -> Flow {
        FLOWS[usize::from(self.part(packed::FLOW) & 7)]
    }

    /// Whether the bytes were understood. If not, the length is 1 on x86, a word on AArch64, and nothing is set.
    #[inline(always)]
    pub fn known(self) -> bool {
        self.0 >> packed::KNOWN & 1 != 0
    }

    /// First opcode byte: the one after prefixes and REX (so the 0F of an escaped opcode), or the one after
    /// the payload of a VEX, EVEX or XOP prefix.
    #[inline(always)]
    pub fn opcode_at(self) -> u8 {
        self.part(packed::OPCODE_AT)
    }

    /// ModRM byte, or [`ABSENT`].
    #[inline(always)]
    pub fn modrm_at(self) -> u8 {
        self.offset(packed::MODRM_AT)
    }

    /// Displacement of a memory operand, or [`ABSENT`]; the address of `mov` A0 to A3 counts as one.
    #[inline(always)]
    pub fn disp_at(self) -> u8 {
        self.offset(packed::DISP_AT)
    }

    /// Length of the displacement, or 0.
    #[inline(always)]
    pub fn disp_len(self) -> u8 {
        self.part(packed::DISP_LEN)
    }

    /// Immediate, or [`ABSENT`]. Branch displacements count as immediates.
    #[inline(always)]
    pub fn imm_at(self) -> u8 {
        self.offset(packed::IMM_AT)
    }

    /// Length of the immediate (of both, when there are two), or 0.
    #[inline(always)]
    pub fn imm_len(self) -> u8 {
        self.part(packed::IMM_LEN)
    }
}

impl std::fmt::Debug for Insn {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let shape = Shape {
            len: self.len(),
            field: self.field(),
            flow: self.flow(),
            known: self.known(),
            opcode_at: self.opcode_at(),
            modrm_at: self.modrm_at(),
            disp_at: self.disp_at(),
            disp_len: self.disp_len(),
            imm_at: self.imm_at(),
            imm_len: self.imm_len(),
        };
        shape.fmt(f)
    }
}

/// The parts of an [`Insn`] while it is put together.
#[derive(Clone, Copy, Debug)]
struct Shape {
    len: u8,
    field: Option<Field>,
    flow: Flow,
    known: bool,
    opcode_at: u8,
    modrm_at: u8,
    disp_at: u8,
    disp_len: u8,
    imm_at: u8,
    imm_len: u8,
}

impl Shape {
    /// Bytes to step over.
    const fn raw(len: u8) -> Shape {
        Shape {
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

    /// [`ABSENT`] becomes 15, which is no offset in an instruction of at most 15 bytes.
    #[inline(always)]
    const fn pack(self) -> Insn {
        let (kind, at) = match self.field {
            Some(field) => (1 + field.kind as u64, field.at as u64),
            None => (0, 0),
        };
        Insn(
            self.len as u64
                | kind << packed::FIELD_KIND
                | at << packed::FIELD_AT
                | (self.flow as u64) << packed::FLOW
                | (self.known as u64) << packed::KNOWN
                | ((self.opcode_at & 15) as u64) << packed::OPCODE_AT
                | ((self.modrm_at & 15) as u64) << packed::MODRM_AT
                | ((self.disp_at & 15) as u64) << packed::DISP_AT
                | (self.disp_len as u64) << packed::DISP_LEN
                | ((self.imm_at & 15) as u64) << packed::IMM_AT
                | (self.imm_len as u64) << packed::IMM_LEN,
        )
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

    /// Whether what a field means depends on the instructions before it, so that every one of them is passed.
    pub fn has_context(self) -> bool {
        matches!(self, Machine::AArch64 | Machine::X86_32)
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
            let len = usize::from(whole.len());
            prop_assert!((1..=15).contains(&len));
            prop_assert_eq!(machine.decode(&bytes[..len]), whole);
            let cut = machine.decode(&bytes[..end]);
            if end >= len && end > 0 {
                prop_assert_eq!(cut, whole);
            } else {
                prop_assert!(!cut.known() && usize::from(cut.len()) <= end);
            }
            if let Some(field) = whole.field() {
                prop_assert!(usize::from(field.at) + field.kind.bytes() <= len);
            }
            if whole.disp_len() > 0 {
                prop_assert!(whole.disp_at() + whole.disp_len() <= whole.len());
            }
            if whole.imm_len() > 0 {
                prop_assert_eq!(whole.imm_at() + whole.imm_len(), whole.len());
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
