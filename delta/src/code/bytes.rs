//! A model of bytes under many contexts at once: bit histories in hashed slots, guesses, one gated mixer.
//!
//! After lpaq and paq8 (M. Mahoney): each context finds a slot of sixteen bytes for each half of the byte, with
//! a check byte and the histories of the fifteen decisions of that half, so that a context costs two memory
//! accesses a byte.

use super::logistic::{squash, stretch};
use super::model::hash;
use super::range::Bits;
use super::states::NEXT;

/// Contexts of one byte.
pub const CONTEXTS: usize = 9;
/// Contexts that only remember the byte that followed.
pub const RUNS: usize = 3;
const ALL: usize = GUESSES + RUNS;
/// Guesses of one byte.
pub const GUESSES: usize = 3;
/// Values of a guess's confidence.
pub const CONFIDENCES: usize = 64;
/// Values of the class that picks mixing weights.
pub const CLASSES: usize = 32;

const INPUTS: usize = 16;
const LINE: usize = 64;
/// Slots of a line; their check bytes stand first.
const SLOTS: usize = 4;
/// Histories of a slot.
const STATES: usize = 15;

/// A byte that something outside the model expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guess {
    /// The byte.
    pub byte: u8,
    /// How much it was right so far, in the caller's scale; 0 if there is no guess.
    pub confidence: u8,
}

/// What is known before a byte.
#[derive(Clone, Copy, Debug)]
pub struct ByteContext {
    /// Hashes, each of them predicting on its own.
    pub contexts: [u32; CONTEXTS],
    /// Hashes that are mostly followed by one byte.
    pub runs: [u32; RUNS],
    /// Guesses, by source.
    pub guesses: [Guess; GUESSES],
    /// Picks mixing weights.
    pub class: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u8; LINE]);

/// An adaptive probability: 22 bits, and 10 bits of count.
type Chance = u32;

#[inline(always)]
fn learn(chance: &mut Chance, bit: bool, limit: u32) {
    let count = *chance & 1023;
    let p = (*chance >> 10) as i32;
    let target = if bit { (1 << 22) - 1 } else { 0 };
    let step = (i64::from(target - p) * i64::from(super::model::RECIPROCALS[count as usize])) >> 16;
    *chance = ((p + step as i32) as u32) << 10 | (count + u32::from(count < limit));
}

/// The adaptive state.
#[derive(Debug)]
pub struct ByteModel {
    lines: Vec<Line>,
    /// Check, byte and count, from the top 16, 8 and 8 bits.
    runs: Vec<u32>,
    /// By context and history: chance of a one.
    histories: Vec<Chance>,
    /// By guess, confidence and position in the byte: chance that the guess is right.
    rights: Vec<Chance>,
    by_class: Vec<[i32; INPUTS]>,
    by_node: Vec<[i32; INPUTS]>,
    tune: u32,
    e: u32,
}

const ONE: i32 = 1 << 27;
const STATES_LIMIT: u32 = 255;
const RIGHTS_LIMIT: u32 = 255;

impl ByteModel {
    /// A model with slots in `1 << bits` bytes.
    pub fn new(bits: u32) -> Self {
        let weight = ONE / 10;
        ByteModel {
            lines: vec![Line([0; LINE]); 1 << (bits - 6)],
            runs: vec![0; 1 << std::env::var("R").ok().and_then(|t| t.parse().ok()).unwrap_or(20)],
            histories: (0..CONTEXTS * 256)
                .map(|i| {
                    let [n0, n1] = super::states::SEEN[i & 255].map(u32::from);
                    ((2 * n1 + 1) * ((1 << 22) - 1) / (2 * (n0 + n1) + 2)) << 10
                })
                .collect(),
            rights: vec![3 << 30; ALL * CONFIDENCES * 8],
            by_class: vec![[weight; INPUTS]; CLASSES * 8],
            by_node: vec![[weight; INPUTS]; 256],
            e: std::env::var("E").ok().and_then(|t| t.parse().ok()).unwrap_or(3),
            tune: std::env::var("T").ok().and_then(|t| u32::from_str_radix(&t, 16).ok()).unwrap_or(0),
        }
    }

    /// Bytes of memory that the model holds.
    pub fn memory(&self) -> u64 {
        (self.lines.len() * LINE
            + (self.histories.len() + self.rights.len()) * 4
            + (self.by_class.len() + self.by_node.len()) * INPUTS * 4) as u64
    }

    /// Finds or makes the slot of a hash: where it starts in its line.
    #[inline(always)]
    fn find(line: &mut Line, check: u8) -> usize {
        let bytes = &mut line.0;
        let checks = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let differ = checks ^ u32::from(check) * 0x0101_0101;
        let equal = differ.wrapping_sub(0x0101_0101) & !differ & 0x8080_8080;
        if equal != 0 {
            return SLOTS + STATES * (equal.trailing_zeros() as usize >> 3);
        }
        let mut least = 0;
        for i in 1..SLOTS {
            if bytes[SLOTS + STATES * i] < bytes[SLOTS + STATES * least] {
                least = i;
            }
        }
        bytes[least] = check;
        let at = SLOTS + STATES * least;
        bytes[at..at + STATES].fill(0);
        at
    }

    /// Codes one byte.
    pub(super) fn code<B: Bits>(&mut self, bits: &mut B, known: &ByteContext, value: u8) -> u8 {
        let mut node = 1u32;
        let mut keys = [0u32; CONTEXTS];
        let mut starts = [0usize; CONTEXTS];
        let mut slots = [[0u8; 1 + STATES]; CONTEXTS];
        let mut guesses = [Guess::default(); ALL];
        guesses[..GUESSES].copy_from_slice(&known.guesses);
        let mut run_at = [0usize; RUNS];
        let mask = self.runs.len() - 1;
        for r in 0..RUNS {
            let key = hash(if self.tune >> (16 + r) & 1 == 0 { known.runs[r] } else { 0 }, 77 + r as u32).wrapping_mul(0x9E37_79B1);
            let check = key & 0xffff_0000;
            let first = (key ^ key >> 15) as usize & mask;
            let entry = self.runs[first];
            let other = self.runs[first ^ 1];
            run_at[r] = if entry & 0xffff_0000 == check { first } 
                else if other & 0xffff_0000 == check { first ^ 1 }
                else {
                let at = if entry & 0xff <= other & 0xff { first } else { first ^ 1 };
                self.runs[first ^ first ^ at ^ 1] -= u32::from(self.runs[at ^ 1] & 0xff > 0);
                self.runs[at] = check;
                at
            };
            let entry = self.runs[run_at[r]];
            guesses[GUESSES + r] = Guess { byte: (entry >> 8) as u8, confidence: (entry & 0xff) as u8 };
        }
        let class = (known.class as usize & (CLASSES - 1)) * 8;
        for half in 0..2 {
            let mask = self.lines.len() - 1;
            for i in 0..CONTEXTS {
                if half == 0 {
                    let key = hash(if self.tune >> i & 1 == 0 { known.contexts[i] } else { 0 }, i as u32).wrapping_mul(0x9E37_79B1);
                    keys[i] = key ^ key >> 15;
                } else {
                    let spread = node.wrapping_mul(0x9E37_79B1);
                    keys[i] ^= spread >> 24;
                    keys[i] ^= (spread >> 10) & 0x3f00;
                }
            }
            // Ask memory for all lines before the first is needed.
            let mut touched = 0;
            for key in keys {
                touched ^= self.lines[(key >> 8) as usize & mask].0[0];
            }
            std::hint::black_box(touched);
            for i in 0..CONTEXTS {
                let line = &mut self.lines[(keys[i] >> 8) as usize & mask];
                starts[i] = Self::find(line, keys[i] as u8);
                slots[i][1..].copy_from_slice(&line.0[starts[i]..starts[i] + STATES]);
            }
            let mut inner = 1usize;
            for k in 0..4 {
                let depth = half * 4 + k;
                let mut inputs = [0i16; INPUTS];
                for i in 0..CONTEXTS {
                    let state = slots[i][inner & 15] as usize;
                    inputs[i] = stretch(self.histories[i * 256 + state] >> 16) as i16;
                }
                // Which guesses still stand, and which bit they expect.
                let mut agreeing = 0;
                let mut at = [0usize; ALL];
                let mut expects = [false; ALL];
                for g in 0..ALL {
                    let guess = guesses[g];
                    let stands =
                        guess.confidence != 0 && (u32::from(guess.byte) | 256) >> (8 - depth) == node;
                    if stands {
                        at[g] = 1 + (g * CONFIDENCES + (guess.confidence as usize & (CONFIDENCES - 1))) * 8 + depth;
                        expects[g] = guess.byte >> (7 - depth) & 1 != 0;
                        agreeing |= (1 << g) & 7;
                        let p = stretch(self.rights[at[g] - 1] >> 16) as i16;
                        inputs[CONTEXTS + g] = if expects[g] { p } else { -p };
                    }
                }
                inputs[CONTEXTS + ALL] = 256;
                let a = &mut self.by_class[class + agreeing];
                let b = &mut self.by_node[node as usize & 255];
                let mut dot = 0i32;
                for i in 0..INPUTS {
                    dot = dot.wrapping_add(i32::from(inputs[i]) * i32::from((a[i].wrapping_add(b[i]) >> 16) as i16));
                }
                let p = squash(dot >> 11);
                let bit = bits.bit(p, value >> (7 - depth) & 1 != 0);
                let error = (((i32::from(bit) << 16) - p as i32) >> 2) as i16;
                for i in 0..INPUTS {
                    let step = (i32::from(inputs[i]) * i32::from(error)) >> self.e;
                    a[i] = a[i].wrapping_add(step);
                    b[i] = b[i].wrapping_add(step);
                }
                for i in 0..CONTEXTS {
                    let state = &mut slots[i][inner & 15];
                    learn(&mut self.histories[i * 256 + *state as usize], bit, STATES_LIMIT);
                    *state = NEXT[*state as usize][usize::from(bit)];
                }
                for g in 0..ALL {
                    if at[g] != 0 {
                        learn(&mut self.rights[at[g] - 1], bit == expects[g], RIGHTS_LIMIT);
                    }
                }
                node = node << 1 | u32::from(bit);
                inner = inner << 1 | usize::from(bit);
            }
            for i in 0..CONTEXTS {
                let line = &mut self.lines[(keys[i] >> 8) as usize & mask].0;
                line[starts[i]..starts[i] + STATES].copy_from_slice(&slots[i][1..]);
            }
        }
        for at in run_at {
            let entry = &mut self.runs[at];
            if *entry & 0xff == 0 {
                *entry = *entry & 0xffff_0000 | (node & 0xff) << 8 | 1;
            } else if *entry >> 8 & 0xff == node & 0xff {
                *entry += u32::from(*entry & 0xff < 60);
            } else {
                *entry = if *entry & 0xff > 3 { (*entry & !0xff) | (*entry & 0xff) / 4 } else {*entry & 0xffff_0000 | (node & 0xff) << 8 | 1};
            }
        }
        node as u8
    }
}
