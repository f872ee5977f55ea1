//! Says, for every x86 opcode byte, which bytes follow it: the frozen tables behind the length decoder.
//!
//! Each grid has a row per high nibble and a letter per opcode, so that it can be laid beside the opcode
//! maps of the Intel SDM (volume 2, appendix A); the AMD-only rows follow the AMD64 manual, volume 3,
//! appendix A. Both sides of a patch decode with these tables: a changed letter is a changed format.
//!
//! | letter | bytes after the opcode | letter | bytes after the opcode |
//! |---|---|---|---|
//! | `.` | none | `m` | ModRM |
//! | `b` | imm8 | `i` | ModRM, imm8 |
//! | `w` | imm16 | `I` | ModRM, imm16/32 by operand size |
//! | `z` | imm16/32 by operand size | `v` | imm16/32/64 by operand size |
//! | `e` | imm16, imm8 (`enter`) | `o` | address-sized offset (`mov` to and from memory) |
//! | `c` | rel32, a call | `f` `F` | far pointer, a call or a jump |
//! | `g` `s` | rel32 or rel8, a jump | `J` `j` | rel32 or rel8, a conditional jump |
//! | `r` `R` | none or imm16, a return | `t` `T` | none or ModRM, a trap |
//! | `3` `4` | ModRM, imm8 or imm16/32 if its reg field is 0 or 1 | `5` | ModRM, flow by its reg field |
//! | `7` | as `I`; `xbegin` when the ModRM byte is F8 | `n` | ModRM that always names registers |
//! | `q` | ModRM, two imm8 under a 66 or F2 prefix | `p` | a legacy prefix |
//! | `x` | a REX prefix | `E` | escape to the 0F maps |
//! | `V` `W` `X` `P` | VEX2, VEX3, EVEX, XOP, or the older instruction | `!` | not an instruction |

use super::super::{Flow, packed};
use super::{REL8, REL32, RIP32};

/// One opcode's packed description.
pub(super) type Op = u16;

/// Bits of the immediate kind.
pub(super) const IMM: Op = 0x000f;
/// A ModRM byte follows.
pub(super) const MODRM: Op = 0x0010;
/// The decoder has to look closer: the rest of the shape is in the [`SPECIAL`] bits.
pub(super) const SPECIAL: Op = 0x0f00;
/// The immediate is a branch displacement.
pub(super) const BRANCH: Op = 0x1000;
const FLOW_SHIFT: u32 = 5;

/// Immediate kinds: columns of [`IMM_LEN`].
const NONE: Op = 0;
const BYTE: Op = 1;
const WORD: Op = 2;
/// imm16 or imm32 by operand size.
pub(super) const FULL: Op = 3;
const WIDE: Op = 4;
const ENTER: Op = 5;
const FAR: Op = 6;
const NEAR: Op = 7;
/// imm32 whatever the prefixes.
pub(super) const DWORD: Op = 8;
/// imm8, imm8.
pub(super) const PAIR: Op = 9;
/// imm8.
pub(super) const ONE_BYTE: Op = BYTE;

/// Immediate length by operand class and kind. Classes: 32-bit; 16-bit in 64-bit mode; REX.W; 16-bit in
/// 32-bit mode. A near branch of 64-bit mode ignores the 66 prefix, as Intel's processors do.
pub(super) const IMM_LEN: [[u8; 16]; 4] = [
    [0, 1, 2, 4, 4, 3, 6, 4, 4, 2, 0, 0, 0, 0, 0, 0],
    [0, 1, 2, 2, 2, 3, 4, 4, 4, 2, 0, 0, 0, 0, 0, 0],
    [0, 1, 2, 4, 8, 3, 6, 4, 4, 2, 0, 0, 0, 0, 0, 0],
    [0, 1, 2, 2, 2, 3, 4, 2, 4, 2, 0, 0, 0, 0, 0, 0],
];

/// Values of the [`SPECIAL`] bits.
pub(super) mod special {
    use super::Op;
    pub const PREFIX: Op = 0x0100;
    pub const REX: Op = 0x0200;
    pub const ESCAPE: Op = 0x0300;
    pub const VEX2: Op = 0x0400;
    pub const VEX3: Op = 0x0500;
    pub const EVEX: Op = 0x0600;
    pub const XOP: Op = 0x0700;
    pub const TEST: Op = 0x0800;
    pub const GROUP5: Op = 0x0900;
    pub const XBEGIN: Op = 0x0a00;
    pub const REGISTERS: Op = 0x0b00;
    pub const EXTRQ: Op = 0x0c00;
    pub const OFFSET: Op = 0x0d00;
    pub const INVALID: Op = 0x0f00;
}

/// Packs a flow class.
pub(super) const fn flow(flow: Flow) -> Op {
    (flow as Op) << FLOW_SHIFT
}

/// The flow class of an opcode, as a number.
#[inline(always)]
pub(super) const fn flow_bits(op: Op) -> Op {
    op >> FLOW_SHIFT & 7
}

const fn op(letter: u8) -> Op {
    match letter {
        b'.' => NONE,
        b'm' => MODRM,
        b'b' => BYTE,
        b'i' => MODRM | BYTE,
        b'w' => WORD,
        b'I' => MODRM | FULL,
        b'z' => FULL,
        b'v' => WIDE,
        b'e' => ENTER,
        b'o' => special::OFFSET,
        b'c' => NEAR | BRANCH | flow(Flow::Call),
        b'f' => FAR | flow(Flow::Call),
        b'F' => FAR | flow(Flow::Jump),
        b'g' => NEAR | BRANCH | flow(Flow::Jump),
        b's' => BYTE | BRANCH | flow(Flow::Jump),
        b'J' => NEAR | BRANCH | flow(Flow::CondJump),
        b'j' => BYTE | BRANCH | flow(Flow::CondJump),
        b'r' => flow(Flow::Return),
        b'R' => WORD | flow(Flow::Return),
        b't' => flow(Flow::Trap),
        b'T' => MODRM | flow(Flow::Trap),
        b'3' => MODRM | BYTE | special::TEST,
        b'4' => MODRM | FULL | special::TEST,
        b'5' => MODRM | special::GROUP5,
        b'7' => MODRM | FULL | special::XBEGIN,
        b'n' => MODRM | special::REGISTERS,
        b'q' => MODRM | special::EXTRQ,
        b'p' => special::PREFIX,
        b'x' => special::REX,
        b'E' => special::ESCAPE,
        b'V' => MODRM | special::VEX2,
        b'W' => MODRM | special::VEX3,
        b'X' => MODRM | special::EVEX,
        b'P' => MODRM | special::XOP,
        b'!' => special::INVALID,
        _ => panic!("unknown letter in an opcode grid"),
    }
}

/// Reads a grid at compile time: sixteen rows of sixteen letters, spaces ignored.
const fn grid(rows: [&str; 16]) -> [Op; 256] {
    let mut table = [0; 256];
    let mut row = 0;
    let mut opcode = 0;
    while row < 16 {
        let letters = rows[row].as_bytes();
        let mut at = 0;
        while at < letters.len() {
            if letters[at] != b' ' {
                table[opcode] = op(letters[at]);
                opcode += 1;
            }
            at += 1;
        }
        row += 1;
        assert!(opcode == row * 16, "a row of an opcode grid has sixteen letters");
    }
    table
}

/// One-byte opcodes of 64-bit mode.
pub(super) static ONE_64: [Op; 256] = grid([
    "m m m m b z ! !  m m m m b z ! E", // 00 add, or
    "m m m m b z ! !  m m m m b z ! !", // 10 adc, sbb
    "m m m m b z p !  m m m m b z p !", // 20 and, sub
    "m m m m b z p !  m m m m b z p !", // 30 xor, cmp
    "x x x x x x x x  x x x x x x x x", // 40 REX
    ". . . . . . . .  . . . . . . . .", // 50 push, pop
    "! ! X m p p p p  z I b i . . . .", // 60 movsxd, push, imul, ins, outs
    "j j j j j j j j  j j j j j j j j", // 70 jcc
    "i I ! i m m m m  m m m m m m m P", // 80 group 1, test, xchg, mov, lea, pop
    ". . . . . . . .  . . ! . . . . .", // 90 nop, xchg, cwd, wait, pushf
    "o o o o . . . .  b z . . . . . .", // A0 mov, string operations, test
    "b b b b b b b b  v v v v v v v v", // B0 mov
    "i i R r W V i 7  e . R r t b ! r", // C0 shifts, ret, VEX, mov, enter, leave, int, iret
    "m m m m ! ! ! .  m m m m m m m m", // D0 shifts, xlat, x87
    "j j j j b b b b  c g ! s . . . .", // E0 loop, jrcxz, in, out, call, jmp
    "p t p p t . 3 4  . . . . . . m 5", // F0 int1, hlt, test, flags, groups 4 and 5
]);

/// One-byte opcodes of 32-bit mode.
pub(super) static ONE_32: [Op; 256] = grid([
    "m m m m b z . .  m m m m b z . E", // 00 add, or, push and pop of segments
    "m m m m b z . .  m m m m b z . .", // 10 adc, sbb
    "m m m m b z p .  m m m m b z p .", // 20 and, sub, daa, das
    "m m m m b z p .  m m m m b z p .", // 30 xor, cmp, aaa, aas
    ". . . . . . . .  . . . . . . . .", // 40 inc, dec
    ". . . . . . . .  . . . . . . . .", // 50 push, pop
    ". . X m p p p p  z I b i . . . .", // 60 pusha, popa, bound, arpl
    "j j j j j j j j  j j j j j j j j", // 70 jcc
    "i I i i m m m m  m m m m m m m P", // 80 group 1, test, xchg, mov, lea, pop
    ". . . . . . . .  . . f . . . . .", // 90 nop, xchg, cwd, far call
    "o o o o . . . .  b z . . . . . .", // A0 mov, string operations, test
    "b b b b b b b b  v v v v v v v v", // B0 mov
    "i i R r W V i 7  e . R r t b . r", // C0 shifts, ret, les, lds, mov, enter, int, iret
    "m m m m b b . .  m m m m m m m m", // D0 shifts, aam, aad, salc, xlat, x87
    "j j j j b b b b  c g F s . . . .", // E0 loop, jecxz, in, out, call, jmp
    "p t p p t . 3 4  . . . . . . m 5", // F0 int1, hlt, test, flags, groups 4 and 5
]);

/// Opcodes after 0F. The maps 0F 38 and 0F 3A need no grid: ModRM, and ModRM with imm8.
pub(super) static TWO: [Op; 256] = grid([
    "m m m m ! . . r  . . ! t ! m . i", // 00 syscall, sysret, ud2, prefetch, femms, 3DNow!
    "m m m m m m m m  m m m m m m m m", // 10 mov, hints, endbr, nop
    "n n n n ! ! ! !  m m m m m m m m", // 20 mov of control registers, conversions
    ". . . . . r ! .  E ! E ! ! ! ! !", // 30 msr, sysenter, sysexit, getsec, the three-byte maps
    "m m m m m m m m  m m m m m m m m", // 40 cmov
    "m m m m m m m m  m m m m m m m m", // 50 vector arithmetic
    "m m m m m m m m  m m m m m m m m", // 60 packs, moves
    "i i i i m m m .  q m ! ! m m m m", // 70 shuffles, shifts, emms, extrq, insertq
    "J J J J J J J J  J J J J J J J J", // 80 jcc
    "m m m m m m m m  m m m m m m m m", // 90 setcc
    ". . . m i m m m  . . r m i m m m", // A0 cpuid, bt, shld, rsm, fences, imul
    "m m m m m m m m  m T i m m m m m", // B0 cmpxchg, movzx, popcnt, ud1, bit tests
    "m m i m i i i m  . . . . . . . .", // C0 xadd, cmp, insert, shuffle, bswap
    "m m m m m m m m  m m m m m m m m", // D0 vector integers
    "m m m m m m m m  m m m m m m m m", // E0 vector integers
    "m m m m m m m m  m m m m m m m T", // F0 vector integers, ud0
]);

/// ModRM byte to addressing: bits 0..=2 the displacement length, and the flags below.
pub(super) static MODRM_32: [u8; 256] = modrm_32();
/// The same for 16-bit addressing, which has no SIB byte.
pub(super) static MODRM_16: [u8; 256] = modrm_16();
/// A SIB byte follows the ModRM byte.
pub(super) const SIB: u8 = 0x10;
/// No base register: relative to the next instruction in 64-bit mode, absolute in 32-bit mode.
pub(super) const NO_BASE: u8 = 0x20;
/// With a SIB byte: its base field 5 means no base register and a 32-bit displacement.
pub(super) const SIB_MOD0: u8 = 0x40;
/// Bits of the displacement length.
pub(super) const DISP: u8 = 0x07;

const fn modrm_32() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match (byte >> 6, byte & 7) {
            (0, 4) => SIB | SIB_MOD0,
            (0, 5) => NO_BASE | 4,
            (0, _) | (3, _) => 0,
            (1, 4) => SIB | 1,
            (1, _) => 1,
            (_, 4) => SIB | 4,
            _ => 4,
        };
        byte += 1;
    }
    table
}

const fn modrm_16() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match (byte >> 6, byte & 7) {
            (0, 6) | (2, _) => 2,
            (1, _) => 1,
            _ => 0,
        };
        byte += 1;
    }
    table
}

/// What each opcode makes of an instruction, packed as an [`super::Insn`].
#[derive(Clone, Copy)]
pub(super) struct Forms {
    /// The instruction without prefixes, displacement and SIB byte; 0 if it takes a closer look.
    pub base: [u64; 256],
    /// What each byte of prefixes adds.
    pub step: [u64; 256],
    /// The parts that operands add to.
    pub open: [u64; 256],
}

/// By operand class, and whether 0F precedes the opcode.
pub(super) static FORMS_64: [[Forms; 2]; 4] = all_forms(&ONE_64);
pub(super) static FORMS_32: [[Forms; 2]; 4] = all_forms(&ONE_32);

/// What a ModRM byte adds, if it comes with the opcode ([`ADDED`]), and what follows from it. In the place of a
/// field: 15 if that is where the displacement is.
pub(super) static OPERANDS_64: [u64; 256] = operands(true);
pub(super) static OPERANDS_32: [u64; 256] = operands(false);

/// What operands add to an instruction: all of its parts, but for where a field is.
pub(super) const ADDED: u64 = (1 << ASK_SIB) - 1 - (15 << packed::FIELD_AT);
/// Bit of operands, above the parts of an instruction: [`SIB_MOD0`].
pub(super) const ASK_SIB: u32 = packed::IMM_LEN + 4;
/// Four bits of operands: 15 without a displacement.
pub(super) const NO_DISP: u32 = ASK_SIB + 4;

/// The kind of field that an immediate is, packed. In 32-bit code a 66 prefix cuts a branch's target to 16 bits:
/// no field.
#[inline(always)]
pub(super) const fn branch_field(op: Op, class: usize, imm_len: u8) -> u64 {
    match imm_len {
        1 if op & BRANCH != 0 && class != 3 => 1 + REL8.number() as u64,
        4 if op & BRANCH != 0 && class != 3 => 1 + REL32.number() as u64,
        _ => 0,
    }
}

/// Base, step and open parts of one opcode.
const fn form(op: Op, class: usize, escape: u64) -> [u64; 3] {
    if op & SPECIAL != 0 {
        return [0; 3];
    }
    let imm_len = IMM_LEN[class][(op & IMM) as usize];
    let (has_modrm, has_imm) = (op & MODRM != 0, op & IMM != 0);
    let (modrm, imm) = (has_modrm as u64, has_imm as u64);
    let end = 1 + escape + modrm;
    let field = branch_field(op, class, imm_len);
    let branch = (field != 0) as u64;
    let modrm_at = if has_modrm { 1 + escape } else { 15 };
    let disp_at = if has_modrm { end } else { 15 };
    let imm_at = if has_imm { end } else { 15 };
    let base = (end + imm_len as u64)
        | field << packed::FIELD_KIND
        | (end * branch) << packed::FIELD_AT
        | (flow_bits(op) as u64) << packed::FLOW
        | 1 << packed::KNOWN
        | modrm_at << packed::MODRM_AT
        | disp_at << packed::DISP_AT
        | imm_at << packed::IMM_AT
        | (imm_len as u64) << packed::IMM_LEN;
    let step = 1
        | branch << packed::FIELD_AT
        | 1 << packed::OPCODE_AT
        | modrm << packed::MODRM_AT
        | modrm << packed::DISP_AT
        | imm << packed::IMM_AT;
    let open = 15
        | 31 << packed::FIELD_KIND
        | 15 << packed::FIELD_AT
        | 15 << packed::DISP_AT
        | 15 << packed::DISP_LEN
        | (15 * imm) << packed::IMM_AT
        | 15 << NO_DISP
        | 1 << ASK_SIB;
    [base, step, if has_modrm { open } else { 0 }]
}

const fn forms(ops: &[Op; 256], class: usize, escape: u64) -> Forms {
    let mut forms = Forms {
        base: [0; 256],
        step: [0; 256],
        open: [0; 256],
    };
    let mut opcode = 0;
    while opcode < 256 {
        [forms.base[opcode], forms.step[opcode], forms.open[opcode]] = form(ops[opcode], class, escape);
        opcode += 1;
    }
    forms
}

const fn all_forms(one: &[Op; 256]) -> [[Forms; 2]; 4] {
    let mut all = [[forms(one, 0, 0); 2]; 4];
    let mut class = 0;
    while class < 4 {
        all[class] = [forms(one, class, 0), forms(&TWO, class, 1)];
        class += 1;
    }
    all
}

const fn operands(wide: bool) -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let shape = MODRM_32[byte];
        let (sib, disp) = ((shape & SIB != 0) as u64, (shape & DISP) as u64);
        let mut added =
            (sib + disp) | sib << packed::DISP_AT | disp << packed::DISP_LEN | (sib + disp) << packed::IMM_AT;
        if disp == 0 {
            added |= 15 << NO_DISP;
        }
        if shape & SIB_MOD0 != 0 {
            added |= 1 << ASK_SIB;
        }
        if wide && shape & NO_BASE != 0 {
            added |= (1 + RIP32.number() as u64) << packed::FIELD_KIND | 15 << packed::FIELD_AT;
        }
        table[byte] = added;
        byte += 1;
    }
    table
}
