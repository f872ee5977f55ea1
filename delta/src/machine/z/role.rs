//! What z instructions do to the frame, and what they look like without their operands.

use super::super::NOP;
use super::decode::opcode;
use crate::hashing::hash;

const FRAME_POINTER: u8 = 11;
const STACK_POINTER: u8 = 15;

/// The register that most instructions write, plus one: where it stands depends on the opcode.
pub fn written(bytes: &[u8]) -> u32 {
    let nibble = |at: usize| bytes.get(at).map_or(0, |&b| 1 + u32::from(b >> 4));
    match bytes.first() {
        Some(0xb2 | 0xb3 | 0xb9) => nibble(3),
        _ => nibble(1),
    }
}

/// As [`super::InstructionSet::role`].
pub fn role(bytes: &[u8]) -> u8 {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let (upper, lower) = (byte(1) >> 4, byte(1) & 15);
    // Base register, and sign of a long displacement.
    let (base, negative) = (byte(2) >> 4, byte(4) >> 7);
    match (byte(0), byte(5)) {
        // bcr, brc, bc, brcl that never branch.
        (0x07, _) if upper == 0 || lower == 0 => NOP,
        (0x47, _) if upper == 0 => NOP,
        (0xa7 | 0xc0, _) if byte(1) == 0x04 => NOP,
        // aghi, agfi, lay, la of the stack pointer, with its sign.
        (0xa7, _) if byte(1) == 0xfb => 4 + (byte(2) >> 7),
        (0xc2, _) if byte(1) == 0xf8 => 4 + (byte(2) >> 7),
        (0xe3, 0x71) if upper == STACK_POINTER => 4 + negative,
        (0x41, _) if upper == STACK_POINTER => 4,
        // lgr of the frame pointer.
        (0xb9, _) if byte(1) == 0x04 && byte(3) == FRAME_POINTER << 4 | STACK_POINTER => 6,
        // stmg, stg; lmg, lg; std, ldgr; ld, lgdr.
        (0xeb, 0x24) if base == STACK_POINTER => 7,
        (0xe3, 0x24) if base == STACK_POINTER => 7,
        (0xeb, 0x04) if base == STACK_POINTER => 8,
        (0xe3, 0x04) if base == STACK_POINTER => 8,
        (0x60, _) if base == STACK_POINTER => 9,
        (0xb3, _) if byte(1) == 0xc1 => 9,
        (0x68, _) if base == STACK_POINTER => 10,
        (0xb3, _) if byte(1) == 0xcd => 10,
        _ => 0,
    }
}

/// Hash of an instruction without most registers and constants; the register that it writes counts.
pub fn head(bytes: &[u8]) -> u32 {
    hash(hash(6, opcode(bytes)), written(bytes))
}
