//! The shape of one instruction, the same for all instruction sets.

/// A kind of reference field: a number in the list of its instruction set, such as [`super::x86::REL32`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct FieldKind(u8);

impl FieldKind {
    /// Kinds that a list may have: [`Insn`] has five bits, and one value of them for none.
    pub const MOST: u8 = 31;

    /// The kind with this number.
    pub(super) const fn new(number: u8) -> FieldKind {
        assert!(number < FieldKind::MOST);
        FieldKind(number)
    }

    /// Its number, which is part of the format.
    #[inline(always)]
    pub const fn number(self) -> u8 {
        self.0
    }
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
pub struct Insn(pub(super) u64);

/// Where the parts of an [`Insn`] lie in it, four bits each, five for the kind: `known` shares those of the flow.
pub(super) mod packed {
    pub const FIELD_KIND: u32 = 4;
    pub const FIELD_AT: u32 = 9;
    pub const FLOW: u32 = 13;
    pub const KNOWN: u32 = 16;
    pub const OPCODE_AT: u32 = 17;
    pub const MODRM_AT: u32 = 21;
    pub const DISP_AT: u32 = 25;
    pub const DISP_LEN: u32 = 29;
    pub const IMM_AT: u32 = 33;
    pub const IMM_LEN: u32 = 37;
    pub const DATA: u32 = 41;
}

impl Default for Insn {
    fn default() -> Insn {
        Insn::raw(0)
    }
}

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
    pub(super) const fn raw(len: u8) -> Insn {
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
        let kind = ((self.0 >> packed::FIELD_KIND) as u8 & FieldKind::MOST).checked_sub(1)?;
        Some(Field {
            kind: FieldKind(kind),
            at: self.part(packed::FIELD_AT),
        })
    }

    /// The same, as data of a class that its machine numbers from 1 on.
    pub(super) const fn as_data(self, class: u8) -> Insn {
        Insn(self.0 | (class as u64 & 7) << packed::DATA)
    }

    /// The class of data between instructions; 0 for an instruction.
    #[inline(always)]
    pub fn data_class(self) -> u8 {
        (self.0 >> packed::DATA) as u8 & 7
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
pub(super) struct Shape {
    pub len: u8,
    pub field: Option<Field>,
    pub flow: Flow,
    pub known: bool,
    pub opcode_at: u8,
    pub modrm_at: u8,
    pub disp_at: u8,
    pub disp_len: u8,
    pub imm_at: u8,
    pub imm_len: u8,
}

impl Shape {
    /// Bytes to step over.
    pub const fn raw(len: u8) -> Shape {
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
    pub const fn pack(self) -> Insn {
        let (kind, at) = match self.field {
            Some(field) => (1 + field.kind.0 as u64, field.at as u64),
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
