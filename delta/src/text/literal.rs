//! Instructions that no old ones explain, byte by byte, their reference fields left out.

use super::history::History;
use super::recall::{Recall, Trail};
use crate::code::{ByteContext, ByteModel, CONTEXTS, Guess, RUNS, Symbols, hash};
use crate::machine::{ABSENT, Field, Insn, Machine, Scanner};

/// Models of literal instructions.
#[derive(Debug)]
pub struct LiteralModels {
    byte: ByteModel,
}

impl Default for LiteralModels {
    fn default() -> Self {
        LiteralModels { byte: ByteModel::new(std::env::var("K").ok().and_then(|t| t.parse().ok()).unwrap_or(23)) }
    }
}

/// What part of an instruction a byte is.
fn part(machine: Machine, insn: &Insn, n: usize) -> u32 {
    if machine == Machine::AArch64 {
        return n as u32 & 3;
    }
    let n = n as u8;
    let within = |at: u8, len: u8| at != ABSENT && n >= at && n < at + len;
    if n < insn.opcode_at {
        0
    } else if n == insn.opcode_at {
        1
    } else if n == insn.modrm_at {
        3
    } else if within(insn.disp_at, insn.disp_len) {
        if insn.disp_len == 1 { 5 } else { (6 + u32::from(n - insn.disp_at)).min(9) }
    } else if within(insn.imm_at, insn.imm_len) {
        if insn.imm_len == 1 { 10 } else { (11 + u32::from(n - insn.imm_at)).min(15) }
    } else if insn.modrm_at != ABSENT && n == insn.modrm_at + 1 {
        4
    } else {
        2
    }
}

/// The byte of an old instruction that plays the same part.
fn counterpart(machine: Machine, old: &[u8], shape: &Insn, part: u32, at: usize, insn: &Insn) -> Option<u8> {
    if machine == Machine::AArch64 {
        return old.get(at).copied();
    }
    let from = |start: u8, len: u8, k: u32| {
        (start != ABSENT && k < u32::from(len)).then(|| old.get(usize::from(start) + k as usize).copied()).flatten()
    };
    match part {
        3 => from(shape.modrm_at, 1, 0),
        4 => from(shape.modrm_at, 2, 1),
        5 => from(shape.disp_at, shape.disp_len, 0),
        6..=9 => from(shape.disp_at, shape.disp_len, part - 6),
        10 => from(shape.imm_at, shape.imm_len, 0),
        11..=15 => from(shape.imm_at, shape.imm_len, part - 11),
        1 => from(shape.opcode_at, 1, 0),
        2 => from(shape.opcode_at, 4, (at as u32).saturating_sub(u32::from(insn.opcode_at))),
        _ => old.get(at).copied(),
    }
}

/// Codes one instruction, at most `room` bytes, with `partner` the blanked old one that it replaces; `truth`
/// holds the blanked bytes from here on. Leaves the blanked bytes in `out`; where the unit ends inside an
/// instruction, that is all the rest of it.
#[allow(clippy::too_many_arguments)]
pub fn code_instruction<S: Symbols>(
    s: &mut S,
    m: &mut LiteralModels,
    machine: Machine,
    scanner: &Scanner,
    history: &History,
    recall: &Recall,
    (partner, sure, next_opcode): (&[u8], bool, u32),
    room: usize,
    truth: &[u8],
    out: &mut Vec<u8>,
) {
    out.clear();
    let mut raw = [0u8; 16];
    let mut prefix = 0u32;
    let mut bytes = history.bytes;
    let mut n = 0;
    let mut agreed = true;
    let partner = if !sure && !flag(0) { &[] } else { partner };
    let shape = machine.decode(partner);
    let partner_hash = partner.iter().fold(0, |h, &b| hash(h, u32::from(b) + 1));
    let (mut trusted_old, mut trusted_new) = (true, true);
    // Fixed-width words are told opcode byte first, then registers, so that fields are known before they come.
    let order = if machine == Machine::AArch64 && room >= 4 { if flag(1) { [3, 2, 1, 0] } else { [3, 0, 1, 2] } } else { [0, 1, 2, 3] };
    let [h0, _, _, _] = history.heads;
    let [f0, f1, f2, _] = history.full;
    loop {
        let at = order.get(n).copied().unwrap_or(n);
        let (insn, field) = scanner.look(&raw[..room.min(16)], 0);
        let blank = match field {
            Some((field, _)) if n > 0 => blank_bits(machine, field, at),
            _ => 0,
        };
        if n > 0 && n >= usize::from(insn.len).min(room) {
            break;
        }
        if blank != 0xff {
            let part = part(machine, &insn, n);
            let old = if partner.is_empty() { None } else { counterpart(machine, partner, &shape, part, at, &insn) };
            let old_key = old.map_or(256, u32::from) | part << 9 | u32::from(agreed) << 14 | u32::from(sure) << 15;
            let prefix = hash(prefix, u32::from(blank));
            let last = |k: u32| (bytes & ((1 << (8 * k)) - 1)) as u32;
            let opcode = u32::from(raw[usize::from(insn.opcode_at) & 15]) | part << 8;
            let [o0, o1, o2, o3] = history.opcodes;
            let ops = (o0 | o1 << 16).wrapping_add((o2 | o3 << 16).wrapping_mul(0x85EB_CA6B));
            let previous = if n > 0 { u32::from(raw[order.get(n - 1).copied().unwrap_or(n - 1)]) } else { h0 };
            let trails = u32::from(recall.old.expected[at]) | u32::from(recall.new.expected[at]) << 8
                | u32::from(trusted_old && recall.old.hits > 0) << 16 | u32::from(trusted_new && recall.new.hits > 0) << 17;
            let w = history.written;
            let contexts: [u32; CONTEXTS] = [
                hash(prefix, o0),
                hash(prefix, old_key),
                hash(hash(history.unit, old_key), 8),
                hash(hash(history.unit, opcode), previous),
                hash(last(2), 5 + (n as u32) * 16),
                hash(opcode, 7),
                hash(hash(prefix, w & 0xff), 9),
                hash(hash(old_key, opcode), o0),
                hash(hash(prefix, o0), o1),
            ];
            let mem = if n > usize::from(insn.modrm_at) {
                let modrm = raw[usize::from(insn.modrm_at)];
                u32::from(modrm & 0xc7) | u32::from(if modrm & 7 == 4 { raw[usize::from(insn.modrm_at) + 1] } else { 0 }) << 8 | u32::from(raw[0] & 1) << 16
            } else { 0 };
            let sofar = if part >= 5 { previous } else { 0 };
            let mut contexts = contexts;
            let cand = [
                0,
                hash(prefix, o0),
                hash(prefix, old_key),
                hash(hash(old_key, opcode), o0),
                hash(hash(hash(history.unit, mem), part), sofar),
                hash(hash(hash(history.unit, opcode), w & 0xff), previous),
                hash(hash(prefix, next_opcode), o0),
                hash(hash(prefix, old_key), next_opcode),
                hash(hash(opcode, w & 0xffff), 3),
                hash(hash(opcode, w & 0xffffff), previous),
                hash(hash(history.unit, prefix), o0),
                hash(hash(prefix, partner_hash), 2),
                hash(hash(prefix, partner_hash), h0),
                hash(hash(opcode, ops), previous),
                hash(hash(old_key, w & 0xff), opcode),
                hash(hash(history.unit, old_key), opcode),
                hash(hash(trails, part), previous),
                hash(hash(trails, part), old_key),
                hash(hash(last(4), (bytes >> 32) as u32 & 0xffff), 4),
                hash(hash(mem, part), sofar),
                hash(hash(hash(history.unit, old_key), w & 0xff), part),
                hash(hash(hash(old_key, previous), part), 11),
            ];
            for (slot, x) in [0, 1, 7].into_iter().zip(picks()) {
                contexts[slot] = cand[*x];
            }
            let f01 = hash(hash(prefix, f0), f1);
            let runs: [u32; RUNS] = [
                hash(f01, 1),
                hash(hash(prefix, partner_hash), history.unit),
                hash(hash(prefix, ops), h0),
            ];
            let known = truth.get(at).copied().unwrap_or(0);
            let guesses = [
                Guess {
                    byte: old.unwrap_or(0),
                    confidence: if old.is_some() { (1 + (part & 15) + u32::from(agreed) * 16 + u32::from(sure) * 31) as u8 } else { 0 },
                },
                guess(trusted_old, &recall.old, at),
                guess(trusted_new, &recall.new, at),
            ];
            let known_now = ByteContext { contexts, runs, guesses, class: part + 16 * u32::from(agreed) };
            raw[at] = s.mixed_byte(&mut m.byte, &known_now, known);
            agreed &= old == Some(raw[at]);
            trusted_old &= recall.old.expected[at] == raw[at];
            trusted_new &= recall.new.expected[at] == raw[at];
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

/// What a trail expects, and how far it is to be trusted.
fn guess(trusted: bool, trail: &Trail, at: usize) -> Guess {
    if trail.hits == 0 {
        return Guess::default();
    }
    let length = if trail.hits < 16 { trail.hits } else { (12 + (32 - trail.hits.leading_zeros())).min(24) };
    let confidence = 1 + length as u8 + if trusted { 32 } else { 0 };
    Guess { byte: trail.expected[at & 15], confidence }
}

/// Which bits of byte `at` belong to the field.
fn blank_bits(machine: Machine, field: Field, at: usize) -> u8 {
    let mut ones = [0xffu8; 16];
    machine.blank(field.kind, &mut ones, field.at);
    !ones[at]
}

fn flag(i: u32) -> bool {
    static F: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    F.get_or_init(|| std::env::var("F").ok().and_then(|t| t.parse().ok()).unwrap_or(0)) >> i & 1 != 0
}

fn picks() -> &'static [usize] {
    static F: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    F.get_or_init(|| std::env::var("X").ok().map(|t| t.split(',').map(|x| x.parse().unwrap()).collect()).unwrap_or_default())
}
