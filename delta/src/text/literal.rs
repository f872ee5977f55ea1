//! Instructions that no old ones explain, byte by byte, their reference fields left out.

use super::history::History;
use super::recall::{Recall, Trail};
use crate::code::{ByteContext, ByteGuess, ByteModel, CONTEXTS, RUNS, Symbols, digest, hash, symbols};
use crate::machine::{Insn, Machine, Scanner};

/// Memory of the contexts, as a power of two.
const CONTEXT_BITS: u32 = 23;

symbols! {
    /// What literal instructions are, but for their bytes.
    struct KindModels {
        stray(8, 255) {
            /// The bytes are no instruction. `first`: the first one that is known.
            stray: flag by(first: u8) [u32::from(first)];
        }
        whole(14, 255) {
            /// The instruction is the likely one, of `len` bytes. `h`: how often such a place was right, at most 31, plus
            /// 64 if it equals the partner, plus 128 if the partner is replaced; `opcode`: of the instruction before.
            whole: flag by(h: u32, opcode: u32, first: u8, len: usize)
                [
                    hash(1, h),
                    hash(hash(2, h), opcode),
                    hash(hash(3, (h & 31).min(3)), u32::from(first) | (len as u32) << 8),
                ];
        }
        class(14, 255) {
            /// The class of data, 0 for an instruction. `opcodes`: of the instructions before; `replaces`: the partner is
            /// replaced.
            class: tree(3) by(opcodes: [u32; 4], replaces: bool)
                [
                    hash(1, opcodes[0]),
                    hash(hash(2, opcodes[0]), opcodes[1]),
                    hash(hash(3, opcodes[0]), u32::from(replaces)),
                ];
        }
    }
}

/// Models of literal instructions.
#[derive(Debug)]
pub struct LiteralModels {
    byte: ByteModel,
    kinds: KindModels,
}

impl Default for LiteralModels {
    fn default() -> Self {
        LiteralModels {
            byte: ByteModel::new(CONTEXT_BITS),
            kinds: KindModels::default(),
        }
    }
}

impl LiteralModels {
    /// Bytes of memory that the models hold.
    pub fn memory(&self) -> u64 {
        self.byte.memory() + self.kinds.memory()
    }
}

/// What both sides know around a literal instruction.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The machine.
    pub machine: Machine,
    /// The walk through the unit, before the instruction.
    pub scanner: &'a Scanner,
    /// The instructions before.
    pub history: &'a History,
    /// Earlier places like this one.
    pub recall: &'a Recall<'a>,
    /// The blanked old instruction that it stands for, or that it may stand for; or nothing.
    pub partner: &'a [u8],
    /// Whether it does stand for the partner.
    pub replaces: bool,
    /// Bytes to the end of the unit.
    pub room: usize,
}

/// An instruction as far as it is known.
struct Progress {
    raw: [u8; 16],
    /// Bytes known.
    n: usize,
    /// Hash of the bytes known.
    prefix: u32,
    /// The last eight bytes known, this instruction's and those before.
    bytes: u64,
    /// Whether all bytes were the partner's, the old trail's, the new trail's.
    agrees: [bool; 3],
}

/// Codes one instruction, or data between instructions; `truth` are its blanked bytes and the class of data. Leaves
/// the blanked bytes in `out`; where the unit ends inside an instruction, that is all the rest of it. Gives the class.
pub fn code_instruction<S: Symbols>(
    s: &mut S,
    m: &mut LiteralModels,
    around: &Surroundings,
    (truth, class): (&[u8], u8),
    out: &mut Vec<u8>,
) -> u8 {
    let machine = around.machine;
    let room = around.room.min(16);
    let mut stray = 0;
    let partner = s.is_modelled().then(|| Partner::new(around));
    let (mut insn, mut field) = (Insn::default(), None);
    let mut missed = false;
    if s.is_modelled()
        && let Some((bytes, len, hits)) = around.recall.likely(around.scanner, room)
    {
        let equal = around.partner == &bytes[..len];
        let known = class == 0 && truth == &bytes[..len];
        let h = hits.min(31) | u32::from(equal) << 6 | u32::from(around.replaces) << 7;
        if m.kinds
            .whole(s, h, around.history.opcodes[0], bytes[0], len, known)
        {
            out.clear();
            out.extend_from_slice(&bytes[..len]);
            return 0;
        }
        missed = true;
    }
    let mut known = Progress {
        raw: [0; 16],
        n: 0,
        prefix: 0,
        bytes: around.history.bytes,
        agrees: [true, !missed, !missed],
    };
    if machine.has_data() {
        let class = m
            .kinds
            .class(s, around.history.opcodes, around.replaces, class.into()) as u8;
        if let Some(data) = machine.data(class).filter(|data| usize::from(data.len()) <= room) {
            code_data(s, m, around, (&data, truth), &mut known);
            out.clear();
            out.extend_from_slice(&known.raw[..usize::from(data.len())]);
            return class;
        }
    }
    let field = loop {
        let (n, at) = (known.n, machine.place(known.n, room, known.raw[0]));
        // The first byte of the operands is no part of the shape, nor is what follows it. Without any byte, a
        // partner's context is all that asks for a shape.
        let settled = match n {
            0 => partner.is_none(),
            _ if !insn.known() => false,
            _ => n > usize::from(insn.disp_at().min(insn.imm_at())),
        };
        if !settled {
            (insn, field) = around.scanner.look(&known.raw[..room], 0);
        }
        if n == 1 && machine.stray(room) > 0 {
            // Bytes that are no instruction are told apart: zeros in place of the bytes to come can't.
            let unknown = !S::READS && !machine.decode(truth).known();
            if m.kinds.stray(s, known.raw[0], unknown) {
                stray = machine.stray(room);
            }
        }
        let complete = n == stray || stray == 0 && insn.known() && n >= usize::from(insn.len());
        if n > 0 && (n >= room.min(15) || complete) {
            break field.filter(|_| complete && stray == 0);
        }
        let blank = match field {
            Some((field, _)) if n > 0 => machine.hidden_bits(field, at),
            _ => 0,
        };
        if blank != 0xff {
            let truth = truth.get(at).copied().unwrap_or(0);
            if let Some(partner) = &partner {
                let previous = n
                    .checked_sub(1)
                    .map(|n| known.raw[machine.place(n, room, known.raw[0])]);
                let (context, expected) = known.context(around, partner, &insn, at, previous, blank);
                let byte = s.mixed_byte(&mut m.byte, &context, truth);
                known.raw[at] = byte;
                for (agrees, expected) in known.agrees.iter_mut().zip(expected) {
                    *agrees &= expected == Some(byte);
                }
            } else {
                known.raw[at] = s.raw(truth);
            }
        }
        known.prefix = hash(known.prefix, 0x100 | u32::from(known.raw[at]));
        known.bytes = known.bytes << 8 | u64::from(known.raw[at]);
        known.n += 1;
    };
    out.clear();
    out.extend_from_slice(&known.raw[..known.n]);
    if let Some((field, _)) = field {
        machine.blank(field.kind, out, field.at);
    }
    0
}

/// Codes the bytes of data; those of a reference are zero.
fn code_data<S: Symbols>(
    s: &mut S,
    m: &mut LiteralModels,
    around: &Surroundings,
    (data, truth): (&Insn, &[u8]),
    known: &mut Progress,
) {
    if data.field().is_some() {
        return;
    }
    let partner = s.is_modelled().then(|| Partner::new(around));
    let mut previous = None;
    for n in 0..usize::from(data.len()) {
        let at = around.machine.place(n, usize::from(data.len()), 0);
        let truth = truth.get(at).copied().unwrap_or(0);
        known.n = n;
        let byte = match &partner {
            Some(partner) => {
                let (context, _) = known.context(around, partner, data, at, previous, 0);
                s.mixed_byte(&mut m.byte, &context, truth)
            }
            None => s.raw(truth),
        };
        known.raw[at] = byte;
        known.prefix = hash(known.prefix, 0x100 | u32::from(byte));
        known.bytes = known.bytes << 8 | u64::from(byte);
        previous = Some(byte);
    }
}

/// The partner's shape.
struct Partner {
    shape: Insn,
    hash: u32,
}

impl Partner {
    fn new(around: &Surroundings) -> Self {
        Partner {
            shape: around.machine.decode(around.partner),
            hash: digest(around.partner),
        }
    }
}

impl Progress {
    /// What predicts the byte at `at`, and what the partner and the trails expect there.
    fn context(
        &self,
        around: &Surroundings,
        partner: &Partner,
        insn: &Insn,
        at: usize,
        previous: Option<u8>,
        blank: u8,
    ) -> (ByteContext, [Option<u8>; 3]) {
        let (machine, history, recall) = (around.machine, around.history, around.recall);
        // symbols: Contexts of the mixed byte of an instruction, and what they are made of:
        let unit = history.unit;
        let part = machine.part(insn, self.n);
        let old = match around.partner {
            [] => None,
            bytes => machine.counterpart(bytes, &partner.shape, part, at, insn),
        };
        let trusted = u32::from(self.agrees[0]) | u32::from(around.replaces) << 1;
        let old_key = old.map_or(256, u32::from) | part << 9 | trusted << 14;
        let opcode = machine.opcode(&self.raw, insn) | part << 16;
        let before = previous.map_or(history.heads[0], u32::from);
        let prefix = hash(self.prefix, u32::from(blank));
        let [o0, o1, o2, o3] = history.opcodes;
        let [f0, f1] = history.full;
        let opcodes = (o0 | o1 << 16).wrapping_add((o2 | o3 << 16).wrapping_mul(0x85EB_CA6B));
        let last_two = (self.bytes & 0xffff) as u32;
        let last_five = hash(self.bytes as u32, (self.bytes >> 32) as u32 & 0xff);
        let contexts: [u32; CONTEXTS] = [
            hash(opcode, history.written & 0xffff),
            hash(hash(old_key, before), part),
            // The same substitution, and the same operands, in this function.
            hash(unit, old_key),
            hash(last_two, self.n as u32),
            last_five,
            opcode,
            hash(hash(prefix, o0), o1),
        ];
        let runs: [u32; RUNS] = [
            hash(hash(prefix, f0), f1),
            hash(hash(prefix, partner.hash), unit),
            hash(hash(prefix, opcodes), history.heads[0]),
        ];
        let confidence = 1 + (part & 15) + 16 * u32::from(self.agrees[0]) + 31 * u32::from(around.replaces);
        let partner_guess = old.map(|byte| ByteGuess {
            byte,
            confidence: confidence as u8,
        });
        let guesses = [
            partner_guess.unwrap_or_default(),
            guess(&recall.old, at, self.agrees[1]),
            guess(&recall.new, at, self.agrees[2]),
        ];
        let expected = [
            old,
            Some(recall.old.expected[at & 15]),
            Some(recall.new.expected[at & 15]),
        ];
        let class = (part & 15) | trusted << 4;
        // end
        (
            ByteContext {
                contexts,
                runs,
                guesses,
                class,
            },
            expected,
        )
    }
}

/// What a trail expects, and how far it is to be trusted.
fn guess(trail: &Trail, at: usize, agrees: bool) -> ByteGuess {
    if trail.hits == 0 {
        return ByteGuess::default();
    }
    let length = if trail.hits < 16 {
        trail.hits
    } else {
        (12 + (32 - trail.hits.leading_zeros())).min(24)
    };
    ByteGuess {
        byte: trail.expected[at & 15],
        confidence: 1 + length as u8 + if agrees { 32 } else { 0 },
    }
}
