//! What instruction sets have in common whose instructions are little-endian words of four bytes.

use super::bits::word_of;
use super::{Field, FieldKind, Flow, Insn, Shape};

/// Decodes one instruction, by the reference field that a word may have and by where control goes. Whole words are
/// always known: unallocated ones have no field.
#[inline(always)]
pub fn decode(
    bytes: &[u8],
    kind_of: impl Fn(u32) -> Option<FieldKind>,
    flow_of: impl Fn(u32) -> Flow,
) -> Insn {
    let Some(word) = word_of(bytes) else {
        return Insn::raw(bytes.len().min(4) as u8);
    };
    let shape = Shape {
        field: kind_of(word).map(|kind| Field { kind, at: 0 }),
        flow: flow_of(word),
        known: true,
        ..Shape::raw(4)
    };
    shape.pack()
}

/// Instructions behind a higher part of an address that are looked at for the other.
const AHEAD: usize = 6;

/// What is added to a higher part by the first of the next few instructions that `completes` it; 0 where one before
/// that `ends` its register, jumps for good, or calls.
pub fn low_part(
    rest: &[u8],
    completes: impl Fn(u32) -> Option<i64>,
    flow_of: impl Fn(u32) -> Flow,
    ends: impl Fn(u32) -> bool,
) -> i64 {
    for word in rest.chunks_exact(4).take(AHEAD).filter_map(word_of) {
        if let Some(low) = completes(word) {
            return low;
        }
        if ends(word) || !matches!(flow_of(word), Flow::Next | Flow::CondJump) {
            break;
        }
    }
    0
}
