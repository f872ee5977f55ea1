//! Finds the flow and the reference field of one AArch64 instruction.
//!
//! Every instruction is a little-endian word. The patterns are those of the Arm ARM, section C4.1 ("A64
//! instruction set encoding"): data processing with an immediate, branches, loads and stores.

use super::super::{FieldKind, Flow};
use super::{ADR_PAGE21, ADR21, BRANCH14, BRANCH19, BRANCH26, LIT19, LO12};

/// The reference field that a word holds, by its top byte first.
#[inline]
pub fn kind_of(word: u32) -> Option<FieldKind> {
    match word >> 24 {
        0x14..=0x17 | 0x94..=0x97 => Some(BRANCH26),
        // b.cond and bc.cond; cbz and cbnz of w and x registers.
        0x54 | 0x34 | 0x35 | 0xb4 | 0xb5 => Some(BRANCH19),
        // tbz and tbnz of the low and the high bits.
        0x36 | 0x37 | 0xb6 | 0xb7 => Some(BRANCH14),
        // ldr of w, x, s, d and q registers, ldrsw, prfm.
        0x18 | 0x58 | 0x98 | 0xd8 | 0x1c | 0x5c | 0x9c => Some(LIT19),
        0x10 | 0x30 | 0x50 | 0x70 => Some(ADR21),
        0x90 | 0xb0 | 0xd0 | 0xf0 => Some(ADR_PAGE21),
        // add of x registers, with bits 23 and 22, the shift, clear.
        0x91 if word & 0x00c0_0000 == 0 => Some(LO12),
        // Loads and stores with an unsigned offset, by size; opc is in bits 23 and 22.
        0x39 | 0x79 => Some(LO12),
        0xb9 | 0xf9 if word & 0x00c0_0000 != 0x00c0_0000 => Some(LO12),
        0x3d => Some(LO12),
        0x7d | 0xbd | 0xfd if word & 0x0080_0000 == 0 => Some(LO12),
        _ => None,
    }
}

/// The base register of a [`LO12`] word; 31 stands for the stack pointer.
#[inline]
pub fn base_of(word: u32) -> u8 {
    (word >> 5 & 31) as u8
}

/// Where control goes.
#[inline]
pub fn flow_of(word: u32) -> Flow {
    match word >> 24 {
        0x14..=0x17 => Flow::Jump,
        0x94..=0x97 => Flow::Call,
        0x54 | 0x34..=0x37 | 0xb4..=0xb7 => Flow::CondJump,
        // br, blr, ret, eret, drps, and the forms that authenticate the pointer (bit 24).
        0xd6 | 0xd7 if word >> 16 & 31 == 31 => match word >> 21 & 7 {
            0 => Flow::Jump,
            1 => Flow::Call,
            2 | 4 | 5 => Flow::Return,
            _ => Flow::Next,
        },
        // Exceptions: brk, hlt, dcps. Those that come back (svc, hvc, smc) go on.
        0xd4 if matches!(word >> 21 & 7, 1 | 2 | 5) => Flow::Trap,
        0x00 if word >> 16 == 0 => Flow::Trap,
        _ => Flow::Next,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Insn, Machine};
    use super::*;

    fn decode(bytes: &[u8]) -> Insn {
        Machine::AArch64.decode(bytes)
    }

    /// Words with their assembly, field, flow, and the target when they stand at 0x40_0000.
    const VECTORS: &[(u32, &str, Option<FieldKind>, Flow, u64)] = &[
        (0x1400_0001, "b +4", Some(BRANCH26), Flow::Jump, 0x40_0004),
        (0x17ff_ffff, "b -4", Some(BRANCH26), Flow::Jump, 0x3f_fffc),
        (0x9400_0400, "bl +0x1000", Some(BRANCH26), Flow::Call, 0x40_1000),
        (0x5400_0040, "b.eq +8", Some(BRANCH19), Flow::CondJump, 0x40_0008),
        (0x54ff_ffe1, "b.ne -4", Some(BRANCH19), Flow::CondJump, 0x3f_fffc),
        (
            0x3400_0080,
            "cbz w0, +16",
            Some(BRANCH19),
            Flow::CondJump,
            0x40_0010,
        ),
        (
            0xb5ff_ff83,
            "cbnz x3, -16",
            Some(BRANCH19),
            Flow::CondJump,
            0x3f_fff0,
        ),
        (
            0x3600_0040,
            "tbz w0, #0, +8",
            Some(BRANCH14),
            Flow::CondJump,
            0x40_0008,
        ),
        (
            0xb707_ffe1,
            "tbnz x1, #32, -4",
            Some(BRANCH14),
            Flow::CondJump,
            0x3f_fffc,
        ),
        (0x5800_0041, "ldr x1, +8", Some(LIT19), Flow::Next, 0x40_0008),
        (0x9c00_0060, "ldr q0, +12", Some(LIT19), Flow::Next, 0x40_000c),
        (0x1000_0000, "adr x0, .", Some(ADR21), Flow::Next, 0x40_0000),
        (0x7000_0000, "adr x0, +3", Some(ADR21), Flow::Next, 0x40_0003),
        (0x70ff_ffe0, "adr x0, -1", Some(ADR21), Flow::Next, 0x3f_ffff),
        (
            0xb000_0000,
            "adrp x0, +1 page",
            Some(ADR_PAGE21),
            Flow::Next,
            0x40_1000,
        ),
        (
            0xf0ff_ffe0,
            "adrp x0, -1 page",
            Some(ADR_PAGE21),
            Flow::Next,
            0x3f_f000,
        ),
        (0x9100_4020, "add x0, x1, #16", Some(LO12), Flow::Next, 0x40_0010),
        (0x9140_4020, "add x0, x1, #16, lsl #12", None, Flow::Next, 0),
        (0x1100_4020, "add w0, w1, #16", None, Flow::Next, 0),
        (
            0x3940_0420,
            "ldrb w0, [x1, #1]",
            Some(LO12),
            Flow::Next,
            0x40_0001,
        ),
        (
            0x7940_0420,
            "ldrh w0, [x1, #2]",
            Some(LO12),
            Flow::Next,
            0x40_0002,
        ),
        (
            0xb980_0420,
            "ldrsw x0, [x1, #4]",
            Some(LO12),
            Flow::Next,
            0x40_0004,
        ),
        (0xf940_0420, "ldr x0, [x1, #8]", Some(LO12), Flow::Next, 0x40_0008),
        (0xf900_0420, "str x0, [x1, #8]", Some(LO12), Flow::Next, 0x40_0008),
        (
            0xf980_0420,
            "prfm pldl1keep, [x1, #8]",
            Some(LO12),
            Flow::Next,
            0x40_0008,
        ),
        (
            0x3dc0_0420,
            "ldr q0, [x1, #16]",
            Some(LO12),
            Flow::Next,
            0x40_0010,
        ),
        (0xfd40_0420, "ldr d0, [x1, #8]", Some(LO12), Flow::Next, 0x40_0008),
        (0xfdc0_0420, "unallocated", None, Flow::Next, 0),
        (0xf9c0_0420, "unallocated", None, Flow::Next, 0),
        (0xf840_8420, "ldr x0, [x1], #8", None, Flow::Next, 0),
        (0xd61f_0220, "br x17", None, Flow::Jump, 0),
        (0xd63f_0100, "blr x8", None, Flow::Call, 0),
        (0xd65f_03c0, "ret", None, Flow::Return, 0),
        (0xd65f_0bff, "retaa", None, Flow::Return, 0),
        (0xd71f_0801, "braa x0, x1", None, Flow::Jump, 0),
        (0xd73f_0801, "blraa x0, x1", None, Flow::Call, 0),
        (0xd69f_03e0, "eret", None, Flow::Return, 0),
        (0xd420_0020, "brk #1", None, Flow::Trap, 0),
        (0xd440_0000, "hlt #0", None, Flow::Trap, 0),
        (0xd400_0001, "svc #0", None, Flow::Next, 0),
        (0x0000_0000, "udf #0", None, Flow::Trap, 0),
        (0xd503_201f, "nop", None, Flow::Next, 0),
        (0xd503_233f, "paciasp", None, Flow::Next, 0),
        (0xd53b_d040, "mrs x0, tpidr_el0", None, Flow::Next, 0),
        (0xa9bf_7bfd, "stp x29, x30, [sp, #-16]!", None, Flow::Next, 0),
        (0xaa01_03e0, "mov x0, x1", None, Flow::Next, 0),
        (0x1e60_4020, "fmov d0, d1", None, Flow::Next, 0),
    ];

    #[test]
    fn the_vectors_decode() {
        for &(word, assembly, kind, flow, target) in VECTORS {
            let bytes = word.to_le_bytes();
            let insn = decode(&bytes);
            assert_eq!(insn.field().map(|f| f.kind), kind, "{assembly}");
            assert_eq!(
                (insn.flow(), insn.len(), insn.known()),
                (flow, 4, true),
                "{assembly}"
            );
            if let Some(kind) = kind {
                assert_eq!(
                    Machine::AArch64.read(kind, &bytes, 0, 4, 0x40_0000),
                    target,
                    "{assembly}"
                );
            }
        }
    }

    #[test]
    fn the_end_of_the_bytes_is_raw() {
        for len in 0..4 {
            assert_eq!(decode(&[0x14; 3][..len]), Insn::raw(len as u8));
        }
    }
}
