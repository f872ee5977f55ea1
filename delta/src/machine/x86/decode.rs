//! Finds the length, flow and reference field of one x86 instruction.
//!
//! Layout of an instruction (Intel SDM volume 2, section 2.1): prefixes, opcode, ModRM, SIB, displacement,
//! immediate. Neither operands nor mnemonics are worked out, and encodings that a processor would refuse
//! only for their operands are accepted.

use super::super::{Flow, Insn, Shape, packed};
use super::RIP32;
use super::tables::{self, Forms, Op, special};

/// Most bytes an instruction may take.
const LONGEST: usize = 15;
/// The decoder looks at a fixed window, so that every index is masked and none is checked.
const WINDOW: usize = 16;
type Window = [u8; WINDOW];

/// Prefixes that matter for the shape, as bits.
mod prefix {
    pub const OPERAND: u8 = 1;
    pub const ADDRESS: u8 = 2;
    pub const REPNE: u8 = 4;
    pub const REP: u8 = 8;
    pub const LOCK: u8 = 16;
    pub const REX: u8 = 32;
    pub const REX_W: u8 = 64;
    /// None of these may precede a VEX, EVEX or XOP prefix.
    pub const NOT_BEFORE_VEX: u8 = OPERAND | REPNE | REP | LOCK | REX;
}

/// Decodes one instruction of 64-bit (`WIDE`) or 32-bit code.
#[inline]
pub(super) fn decode<const WIDE: bool>(bytes: &[u8]) -> Insn {
    if let Some(window) = bytes.first_chunk::<WINDOW>() {
        return decode_window::<WIDE>(window);
    }
    let mut window = [0; WINDOW];
    for (to, from) in window.iter_mut().zip(bytes) {
        *to = *from;
    }
    let insn = decode_window::<WIDE>(&window);
    if usize::from(insn.len()) <= bytes.len() {
        insn
    } else {
        Insn::raw(bytes.len().min(1) as u8)
    }
}

#[inline(always)]
fn byte(window: &Window, at: usize) -> u8 {
    window[at & (WINDOW - 1)]
}

#[inline(always)]
fn decode_window<const WIDE: bool>(window: &Window) -> Insn {
    common::<WIDE>(window).unwrap_or_else(|| general::<WIDE>(window))
}

/// Decodes an instruction of at most one legacy prefix (66, F2 or F3), a REX prefix, and an opcode whose shape
/// needs no closer look: one look-up for the opcode and one for the ModRM byte. [`general`] says the same.
#[inline(always)]
fn common<const WIDE: bool>(window: &Window) -> Option<Insn> {
    let word = window.first_chunk().map_or(0, |w| u64::from_le_bytes(*w));
    match word & 0xff {
        0x66 => after_legacy::<WIDE>(word >> 8, 1, if WIDE { 1 } else { 3 }),
        0xf2 | 0xf3 => after_legacy::<WIDE>(word >> 8, 1, 0),
        _ => after_legacy::<WIDE>(word, 0, 0),
    }
}

/// The instruction of operand class `class` that begins with `word`, behind `legacy` prefixes.
#[inline(always)]
fn after_legacy<const WIDE: bool>(word: u64, legacy: u64, class: usize) -> Option<Insn> {
    let forms = if WIDE {
        &tables::FORMS_64
    } else {
        &tables::FORMS_32
    };
    // Half of the instructions have one, so that it is hard to guess: no branch.
    let rex = WIDE & (word & 0xf0 == 0x40);
    let class = if rex & (word & 8 != 0) { 2 } else { class };
    let opcode = if rex { word >> 8 } else { word };
    let prefixes = legacy + u64::from(rex);
    if opcode & 0xff == 0x0f {
        with_operands::<WIDE>(&forms[class][1], opcode >> 8, prefixes)
    } else {
        with_operands::<WIDE>(&forms[class][0], opcode, prefixes)
    }
}

/// Adds what the ModRM byte says to the form of an opcode, whose last byte is the lowest of `last`.
#[inline(always)]
fn with_operands<const WIDE: bool>(forms: &Forms, last: u64, prefixes: u64) -> Option<Insn> {
    let operands = if WIDE {
        &tables::OPERANDS_64
    } else {
        &tables::OPERANDS_32
    };
    let opcode = (last & 0xff) as usize;
    let base = forms.base[opcode];
    let operand = operands[(last >> 8 & 0xff) as usize] & forms.open[opcode];
    // [`tables::SIB_MOD0`], with no base register.
    let no_base = (operand >> tables::ASK_SIB & 1 != 0) & (last >> 16 & 7 == 5);
    if no_base | (base == 0) {
        return None;
    }
    let insn = base + forms.step[opcode] * prefixes + (operand & tables::ADDED);
    let absent = (operand >> tables::NO_DISP & 15) << packed::DISP_AT;
    let field_at = (insn >> packed::DISP_AT & operand >> packed::FIELD_AT & 15) << packed::FIELD_AT;
    Some(Insn(insn | absent | field_at))
}

/// Decodes any instruction.
fn general<const WIDE: bool>(window: &Window) -> Insn {
    let one = if WIDE { &tables::ONE_64 } else { &tables::ONE_32 };
    let (mut at, mut prefixes) = (0, 0);
    let mut op = one[usize::from(byte(window, at))];
    if matches!(op & tables::SPECIAL, special::PREFIX | special::REX) {
        (at, prefixes) = skip_prefixes::<WIDE>(window);
        if at >= LONGEST {
            return Insn::raw(1);
        }
        op = one[usize::from(byte(window, at))];
    }
    if op & tables::SPECIAL == 0 {
        return finish::<WIDE>(window, op, at, at, prefixes);
    }
    match op & tables::SPECIAL {
        special::ESCAPE => escaped::<WIDE>(window, at, prefixes),
        special::OFFSET => offset::<WIDE>(at, prefixes),
        special::INVALID => Insn::raw(1),
        special::VEX2 | special::VEX3 | special::EVEX | special::XOP => {
            vector::<WIDE>(window, op, at, prefixes)
        }
        _ => finish::<WIDE>(window, by_modrm(op, byte(window, at + 1)), at, at, prefixes),
    }
}

/// Walks the legacy and REX prefixes; a REX prefix counts only right before the opcode.
fn skip_prefixes<const WIDE: bool>(window: &Window) -> (usize, u8) {
    let mut at = 0;
    let mut prefixes = 0;
    while at < LONGEST {
        let byte = byte(window, at);
        let before = prefixes & !(prefix::REX | prefix::REX_W);
        prefixes = match byte {
            0x66 => before | prefix::OPERAND,
            0x67 => before | prefix::ADDRESS,
            0xf2 => before | prefix::REPNE,
            0xf3 => before | prefix::REP,
            0xf0 => before | prefix::LOCK,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => before,
            0x40..=0x4f if WIDE => before | prefix::REX | (byte & 8) << 3,
            _ => break,
        };
        at += 1;
    }
    (at, prefixes)
}

/// Decodes from the 0F at `at`.
#[inline(always)]
fn escaped<const WIDE: bool>(window: &Window, at: usize, prefixes: u8) -> Insn {
    let second = byte(window, at + 1);
    let mut op = tables::TWO[usize::from(second)];
    match op & tables::SPECIAL {
        0 => {}
        special::ESCAPE => {
            let op = if second == 0x38 {
                tables::MODRM
            } else {
                tables::MODRM | tables::ONE_BYTE
            };
            return finish::<WIDE>(window, op, at + 2, at, prefixes);
        }
        // ModRM names two registers whatever its mod field says.
        special::REGISTERS => {
            let insn = Shape {
                modrm_at: (at + 2) as u8,
                opcode_at: at as u8,
                ..Shape::raw(1)
            };
            return bounded(insn, at + 3);
        }
        special::EXTRQ => {
            let pair = prefixes & (prefix::OPERAND | prefix::REPNE) != 0;
            op = tables::MODRM | if pair { tables::PAIR } else { 0 };
        }
        _ => return Insn::raw(1),
    }
    finish::<WIDE>(window, op, at + 1, at, prefixes)
}

/// Settles the opcodes whose immediate or flow depends on the ModRM byte.
fn by_modrm(op: Op, modrm: u8) -> Op {
    let plain = op & !tables::SPECIAL;
    let reg = modrm >> 3 & 7;
    match op & tables::SPECIAL {
        special::TEST if reg > 1 => plain & !tables::IMM,
        special::GROUP5 => match reg {
            2 | 3 => plain | tables::flow(Flow::Call),
            4 | 5 => plain | tables::flow(Flow::Jump),
            _ => plain,
        },
        special::XBEGIN if modrm == 0xf8 => plain | tables::BRANCH | tables::flow(Flow::CondJump),
        _ => plain,
    }
}

/// A `mov` between the accumulator and an address that stands in the instruction.
#[cold]
fn offset<const WIDE: bool>(at: usize, prefixes: u8) -> Insn {
    let short = prefixes & prefix::ADDRESS != 0;
    let disp_len = match (WIDE, short) {
        (true, false) => 8,
        (false, true) => 2,
        _ => 4,
    };
    let insn = Shape {
        opcode_at: at as u8,
        disp_at: at as u8 + 1,
        disp_len,
        ..Shape::raw(1)
    };
    bounded(insn, at + 1 + usize::from(disp_len))
}

/// VEX, EVEX and XOP instructions (Intel SDM volume 2, sections 2.3 and 2.7; AMD64 manual volume 3, section
/// 1.8), or the older instructions that share their first byte.
fn vector<const WIDE: bool>(window: &Window, op: Op, at: usize, prefixes: u8) -> Insn {
    const IMM8: Op = tables::MODRM | tables::ONE_BYTE;
    const IMM32: Op = tables::MODRM | tables::DWORD;
    let payload = byte(window, at + 1);
    let kind = op & tables::SPECIAL;
    let older = if kind == special::XOP {
        payload & 0x1f < 8
    } else {
        !WIDE && payload < 0xc0
    };
    if older {
        return finish::<WIDE>(window, tables::MODRM, at, at, prefixes);
    }
    if prefixes & prefix::NOT_BEFORE_VEX != 0 {
        return Insn::raw(1);
    }
    let (map, opcode_at) = match kind {
        special::VEX2 => (1, at + 2),
        special::EVEX if payload & 8 != 0 || byte(window, at + 2) & 4 == 0 => return Insn::raw(1),
        special::EVEX => (payload & 7, at + 4),
        _ => (payload & 0x1f, at + 3),
    };
    let op = match (map, byte(window, opcode_at)) {
        (1, 0x77) => 0,
        (1, 0x70..=0x73 | 0xc2 | 0xc4..=0xc6) => IMM8,
        (3 | 8, _) => IMM8,
        (7 | 10, _) => IMM32,
        (1 | 2 | 5 | 6 | 9, _) => tables::MODRM,
        _ => return Insn::raw(1),
    };
    finish::<WIDE>(window, op, opcode_at, opcode_at, prefixes)
}

/// Adds what follows the opcode, whose last byte is at `last`. What is there and what is not is chosen without
/// branches: hardly anything about the next instruction can be guessed.
#[inline(always)]
fn finish<const WIDE: bool>(window: &Window, op: Op, last: usize, opcode_at: usize, prefixes: u8) -> Insn {
    let modrm_at = last + 1;
    let has_modrm = op & tables::MODRM != 0;
    let small = !WIDE && prefixes & prefix::ADDRESS != 0;
    let modrm = usize::from(byte(window, modrm_at));
    let shape = if small {
        tables::MODRM_16[modrm]
    } else {
        tables::MODRM_32[modrm]
    };
    let shape = if has_modrm { shape } else { 0 };
    let sib = usize::from(shape & tables::SIB != 0);
    let no_index_base = (shape & tables::SIB_MOD0 != 0) & (byte(window, modrm_at + 1) & 7 == 5);
    let disp_len = if no_index_base { 4 } else { shape & tables::DISP };
    let disp_at = modrm_at + usize::from(has_modrm) + sib;
    let imm_at = disp_at + usize::from(disp_len);
    let kind = op & tables::IMM;
    let class = operand_class::<WIDE>(prefixes);
    let imm_len = tables::IMM_LEN[class][usize::from(kind)];
    let len = imm_at + usize::from(imm_len);

    // Under a 67 prefix the sum is cut to 32 bits; too rare to be worth a field.
    let rip = WIDE & (shape & tables::NO_BASE != 0) & (prefixes & prefix::ADDRESS == 0);
    let (field_kind, field_at) = match tables::branch_field(op, class, imm_len) {
        0 if rip => (1 + RIP32.number() as u64, disp_at),
        0 => (0, 0),
        branch => (branch, imm_at),
    };
    if len > LONGEST {
        return Insn::raw(1);
    }
    let offset = |there: bool, at: usize| if there { at as u64 } else { 15 };
    Insn(
        len as u64
            | field_kind << packed::FIELD_KIND
            | (field_at as u64) << packed::FIELD_AT
            | u64::from(tables::flow_bits(op)) << packed::FLOW
            | 1 << packed::KNOWN
            | (opcode_at as u64 & 15) << packed::OPCODE_AT
            | offset(has_modrm, modrm_at) << packed::MODRM_AT
            | offset(disp_len != 0, disp_at) << packed::DISP_AT
            | u64::from(disp_len) << packed::DISP_LEN
            | offset(kind != 0, imm_at) << packed::IMM_AT
            | u64::from(imm_len) << packed::IMM_LEN,
    )
}

/// Row of [`tables::IMM_LEN`].
#[inline(always)]
fn operand_class<const WIDE: bool>(prefixes: u8) -> usize {
    match (
        prefixes & prefix::REX_W != 0,
        prefixes & prefix::OPERAND != 0,
        WIDE,
    ) {
        (true, _, _) => 2,
        (_, false, _) => 0,
        (_, true, true) => 1,
        (_, true, false) => 3,
    }
}

/// Completes an instruction, unless it is longer than any may be.
#[inline(always)]
fn bounded(insn: Shape, len: usize) -> Insn {
    if len > LONGEST {
        return Insn::raw(1);
    }
    let known = Shape {
        len: len as u8,
        known: true,
        ..insn
    };
    known.pack()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BEFORE: &[&[u8]] = &[
        &[],
        &[0x66],
        &[0xf2],
        &[0xf3],
        &[0x48],
        &[0x41],
        &[0x66, 0x4c],
        &[0xf3, 0x45],
        &[0x0f],
        &[0x48, 0x0f],
        &[0x66, 0x0f],
        &[0xf2, 0x49, 0x0f],
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200_000))]
        #[test]
        fn common_and_general_say_the_same(
            before in prop::sample::select(BEFORE),
            mut window: Window,
        ) {
            window[..before.len()].copy_from_slice(before);
            if let Some(insn) = common::<true>(&window) {
                prop_assert_eq!(insn, general::<true>(&window));
            }
            if let Some(insn) = common::<false>(&window) {
                prop_assert_eq!(insn, general::<false>(&window));
            }
        }
    }
}
