//! Instructions that no old ones explain, byte by byte, their reference fields left out.

use crate::code::{Model, Symbols, hash};
use crate::machine::{Field, Machine, Scanner};

/// What precedes an instruction, for prediction.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// Hashes of the last instructions' leading bytes, newest first.
    pub heads: [u32; 3],
    /// The last eight blanked bytes, newest lowest.
    pub bytes: u64,
}

impl History {
    /// Goes past an instruction.
    pub fn pass(&mut self, masked: &[u8]) {
        let mut head = masked.len() as u32;
        for &b in masked.iter().take(3) {
            head = hash(head, u32::from(b));
        }
        self.heads = [head, self.heads[0], self.heads[1]];
        for &b in masked {
            self.bytes = self.bytes << 8 | u64::from(b);
        }
    }
}

/// Models of literal instructions.
#[derive(Debug)]
pub struct LiteralModels {
    byte: Model,
    stray: Model,
}

impl Default for LiteralModels {
    fn default() -> Self {
        LiteralModels { byte: Model::new(7, 22, 255), stray: Model::new(1, 8, 255) }
    }
}

/// Codes one instruction, at most `room` bytes, with `partner` the blanked old one that it replaces; `truth`
/// holds its blanked bytes. Leaves the blanked bytes in `out`.
#[allow(clippy::too_many_arguments)]
pub fn code_instruction<S: Symbols>(
    s: &mut S,
    m: &mut LiteralModels,
    machine: Machine,
    scanner: &Scanner,
    history: &History,
    partner: &[u8],
    room: usize,
    truth: &[u8],
    out: &mut Vec<u8>,
) {
    out.clear();
    let mut raw = [0u8; 16];
    let mut prefix = 0u32;
    let mut bytes = history.bytes;
    let mut n = 0;
    let mut stray = 0;
    // Fixed-width words are told opcode byte first, then registers, so that fields are known before they come.
    let order = if machine == Machine::AArch64 && room >= 4 { [3, 0, 1, 2] } else { [0, 1, 2, 3] };
    loop {
        let at = order.get(n).copied().unwrap_or(n);
        let (insn, field) = scanner.look(&raw[..room.min(16)], 0);
        let blank = match field {
            Some((field, _)) if n > 0 => blank_bits(machine, field, at),
            _ => 0,
        };
        if n == 1 && !(machine == Machine::AArch64 && room >= 4) {
            // Bytes that are no instruction are told apart: zeros in place of the bytes to come can't.
            let known = machine.decode(truth).known;
            if s.flag(&mut m.stray, &[u32::from(raw[0])], !known) {
                stray = if machine == Machine::AArch64 { room } else { 1 };
            }
        }
        if n > 0 && (n >= room || n == stray || stray == 0 && insn.known && n >= usize::from(insn.len)) {
            break;
        }
        if blank != 0xff {
            let old = partner.get(at).copied();
            let old_key = old.map_or(256, u32::from) | (n as u32) << 9;
            let last = |k: u32| (bytes & ((1 << (8 * k)) - 1)) as u32;
            let contexts = [
                hash(prefix, 1),
                hash(prefix, history.heads[0]),
                hash(hash(prefix, history.heads[0]), history.heads[1]),
                hash(hash(hash(prefix, history.heads[0]), history.heads[1]), history.heads[2]),
                hash(last(2), 5 + (n as u32) * 16),
                hash(hash(last(4), (bytes >> 32) as u8 as u32), 6),
                hash(hash(prefix, old_key), 7),
            ];
            let known = truth.get(at).copied().unwrap_or(0);
            raw[at] = s.byte(&mut m.byte, &contexts, known);
        }
        prefix = hash(prefix, 0x100 | u32::from(raw[at]));
        bytes = bytes << 8 | u64::from(raw[at]);
        n += 1;
    }
    out.extend_from_slice(&raw[..n]);
    let (_, field) = scanner.look(out, 0);
    if let Some((field, _)) = field {
        machine.blank(field.kind, out, field.at);
    }
}

/// Which bits of byte `at` belong to the field.
fn blank_bits(machine: Machine, field: Field, at: usize) -> u8 {
    let mut ones = [0xffu8; 16];
    machine.blank(field.kind, &mut ones, field.at);
    !ones[at]
}
