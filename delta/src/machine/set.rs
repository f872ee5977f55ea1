//! What the engine asks of an instruction set: all that differs between machines is behind this trait.

use super::{Field, FieldKind, Insn};

/// What a kind of reference field is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Whether the field holds the whole target, not only a page or the part below one.
    pub direct: bool,
    /// Whether it may hold the address of data, such as that of a jump table.
    pub data: bool,
    /// Whether entries of a jump table that it leads to count from where the field itself counts from.
    pub counted: bool,
    /// Whether a shorter instruction would have been chosen for a near target, one that a byte reaches.
    pub long_form: bool,
}

impl Use {
    /// A branch.
    pub const BRANCH: Use = Use {
        direct: true,
        data: false,
        counted: false,
        long_form: false,
    };
    /// An address of code or data.
    pub const DATA: Use = Use {
        data: true,
        ..Use::BRANCH
    };
}

/// One instruction set. `kind` is always one of its own list; of another, `read` gives 0 and `write` false.
///
/// What has a default is so in sets whose instructions are words, coded highest byte first: the opcode and registers
/// stand before constants.
///
/// Everything here decides bytes of patches: a change is a change of the format.
pub(super) trait InstructionSet {
    /// Number of field kinds in its list, at most [`FieldKind::MOST`].
    const KINDS: u8;
    /// Symbol and type of a relative relocation, the type in the low half.
    const RELATIVE: u64;
    /// Instructions before one that must be walked to know what its field counts from: 0 where that never depends
    /// on them, `usize::MAX` where all of the unit do.
    const LEAD_IN: usize;
    /// Bytes of the smallest instruction, in which code distances may be counted.
    const SMALLEST: u8;
    /// What padding is first expected to be made of.
    const PAD: u8;
    /// Whether data stands between instructions.
    const DATA: bool = false;

    /// Decodes the instruction at the start of `bytes`, which may be anything.
    fn decode(bytes: &[u8]) -> Insn;
    /// Data of a class, from 1 on; `None` where there is no such class.
    fn data(_class: u8) -> Option<Insn> {
        None
    }
    /// What a kind is used for.
    fn uses(kind: FieldKind) -> Use;
    /// Cuts an address to the width of the machine.
    #[inline]
    fn address(value: u64) -> u64 {
        value
    }
    /// As [`super::Machine::read`].
    fn read(kind: FieldKind, insn: &[u8], at: u8, len: u8, address: u64) -> u64;
    /// As [`super::Machine::write`].
    fn write(field: Field, insn: &mut [u8], len: u8, address: u64, target: u64) -> bool;
    /// As [`super::Machine::blank`].
    fn blank(kind: FieldKind, insn: &mut [u8], at: u8);

    /// Which bits of byte `at` of an instruction belong to its field and are not coded with the text.
    fn hidden_bits(field: Field, at: usize) -> u8 {
        let mut ones = [0xffu8; 16];
        Self::blank(field.kind, &mut ones, field.at);
        !ones[at & 15]
    }
    /// Where the `n`-th byte coded of an instruction stands in it, with `room` bytes to the end of the unit; `first` is
    /// the first byte, if it is coded first and `n` is not 0.
    #[inline]
    fn place(n: usize, room: usize, _first: u8) -> usize {
        if room >= 4 && n < 4 { 3 - n } else { n }
    }
    /// Length of what is coded where no instruction is; 0 if there always is one.
    #[inline]
    fn stray(room: usize) -> usize {
        if room < 4 { room } else { 0 }
    }
    /// The part of an instruction that the `n`-th byte coded is, known before it.
    #[inline]
    fn part(_insn: &Insn, n: usize) -> u32 {
        n as u32 & 3
    }
    /// The byte of another instruction, of shape `shape`, that is the same part as byte `at` of `insn`.
    #[inline]
    fn counterpart(other: &[u8], _shape: &Insn, _part: u32, at: usize, _insn: &Insn) -> Option<u8> {
        other.get(at).copied()
    }
    /// The opcode of an instruction, registers and operands left out.
    fn opcode(masked: &[u8], insn: &Insn) -> u32;
    /// The register that an instruction seems to write, plus one; a memory operand's base is told apart.
    fn written(masked: &[u8], insn: &Insn) -> u32;
    /// What a reference's instruction is known by.
    fn site(bytes: &[u8], field: Field) -> u32;

    /// What an instruction that is no branch does to the frame: 4 to 14, [`super::NOP`], or 0 for nothing that is
    /// known here.
    fn role(insn: &Insn, bytes: &[u8]) -> u8;
    /// Hash of an instruction without its longer operands.
    fn head(insn: &Insn, bytes: &[u8]) -> u32;
    /// Hash of an instruction without its operands.
    fn look(insn: &Insn, bytes: &[u8]) -> u32 {
        Self::head(insn, bytes)
    }
}

/// [`InstructionSet::part`] of sets with short and long instructions: a byte of the one or of the other.
pub(super) fn part_by_length(insn: &Insn, n: usize) -> u32 {
    match (n, insn.len()) {
        (0, _) => 0,
        (n, 4) => 3 + (n as u32 & 3),
        (n, _) => n as u32 & 3,
    }
}

/// [`InstructionSet::counterpart`] of such sets.
pub(super) fn counterpart_by_length(
    other: &[u8],
    shape: &Insn,
    part: u32,
    at: usize,
    insn: &Insn,
) -> Option<u8> {
    let alike = part == 0 || shape.len() == insn.len();
    other.get(at).copied().filter(|_| alike)
}

/// Holds a set's list of kinds to what an [`Insn`] has room for, when the library is compiled.
pub(super) const fn fits<S: InstructionSet>() {
    assert!(S::KINDS <= FieldKind::MOST);
}
