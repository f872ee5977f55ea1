//! A model of bytes under many contexts at once: bit histories in hashed slots, guesses, one gated mixer.
//!
//! After lpaq and paq8 (M. Mahoney): a context finds a slot for each half of the byte, with the histories of the
//! fifteen decisions of that half, so that it costs two memory accesses a byte. Long contexts, mostly followed
//! by one and the same byte, only remember that byte: a guess, like those that the caller brings.

use super::logistic::{squash, stretch};
use super::model::RECIPROCALS;
use super::range::Bits;
use super::states::{NEXT, SEEN};
use crate::hashing::hash;

/// Contexts of one byte.
pub const CONTEXTS: usize = 7;
/// Contexts of one byte that only remember what followed.
pub const RUNS: usize = 3;
/// Guesses that the caller brings.
pub const GUESSES: usize = 3;

/// Values of a guess's confidence.
const CONFIDENCES: usize = 64;
/// Values of the class that picks mixing weights.
const CLASSES: usize = 64;
const ALL_GUESSES: usize = GUESSES + RUNS;
const _: () = assert!(ALL_GUESSES <= 8, "one byte of a word each");
/// What is mixed: the contexts, the guesses and a constant, and zeros that make it fill a line of the cache.
const INPUTS: usize = 16;
const CONSTANT: usize = CONTEXTS + ALL_GUESSES;
const _: () = assert!(CONSTANT < INPUTS);

const LINE: usize = 64;
/// Slots of a line; their check bytes stand first.
const SLOTS: usize = 4;
/// Histories of a slot.
const STATES: usize = 15;
/// Lines of a page of memory, within which both halves of a byte stay.
const PAGE_LINES: u32 = 64;

/// Entries of the table of runs, as a power of two.
const RUN_BITS: u32 = 18;
/// Most that a run counts, and where it is so long that one other byte doesn't end it.
const LONGEST_RUN: u32 = 60;
const LONG_RUN: u32 = 4;

/// A mixing weight of one.
const ONE: i32 = 1 << 27;
/// How far a weight moves: the product of input (1/256) and error (1/16384), shifted down.
const RATE: u32 = 3;
/// An error (in 1/16384) too small to move weights.
const SLIGHT: u16 = 256;
/// A chance moves by one part in this many in the end.
const LIMIT: u32 = 255;

/// A byte that something outside the model expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteGuess {
    /// The byte.
    pub byte: u8,
    /// How much it was right so far, in a scale of its source's, up to 63; 0 if there is no guess.
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
    pub guesses: [ByteGuess; GUESSES],
    /// Picks mixing weights, below 64.
    pub class: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u8; LINE]);

/// One set of mixing weights.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Weights([i32; INPUTS]);

/// The inputs under the sum of two sets of weights. On its own, so that it is compiled to vector instructions.
#[inline(never)]
fn mix(inputs: &[i16; INPUTS], a: &Weights, b: &Weights) -> i32 {
    let mut weights = [0i16; INPUTS];
    for (weight, (a, b)) in weights.iter_mut().zip(a.0.iter().zip(&b.0)) {
        *weight = (a.wrapping_add(*b) >> 16) as i16;
    }
    let products = inputs
        .iter()
        .zip(&weights)
        .map(|(&i, &w)| i32::from(i) * i32::from(w));
    products.fold(0, i32::wrapping_add)
}

/// Moves weights by an error, likewise.
#[inline(never)]
fn teach(inputs: &[i16; INPUTS], error: i16, a: &mut Weights, b: &mut Weights) {
    for (&input, (a, b)) in inputs.iter().zip(a.0.iter_mut().zip(&mut b.0)) {
        let step = (i32::from(input) * i32::from(error)) >> RATE;
        *a = a.wrapping_add(step);
        *b = b.wrapping_add(step);
    }
}

/// The byte of the guess that was right most.
#[inline(always)]
fn surest(guesses: &[ByteGuess; ALL_GUESSES]) -> u8 {
    let surer = |best: ByteGuess, &guess: &ByteGuess| {
        if guess.confidence > best.confidence {
            guess
        } else {
            best
        }
    };
    guesses.iter().fold(ByteGuess::default(), surer).byte
}

/// Histories of the contexts at hand, from index 1.
type Slots = [[u8; STATES + 1]; CONTEXTS];

/// What is known of a byte while its bits are coded.
struct Byte {
    /// The slots of all contexts for the half at hand.
    slots: Slots,
    standing: Standing,
    /// Where the weights of its class begin.
    class: usize,
}

/// The guesses that the bits of a byte did not refute yet.
struct Standing {
    /// One bit for each that stands.
    mask: u32,
    /// The bytes expected, the first lowest.
    bytes: u64,
    /// Where each guess's chances are, by depth.
    places: [usize; ALL_GUESSES],
}

impl Standing {
    fn new(guesses: &[ByteGuess; ALL_GUESSES]) -> Self {
        let mut standing = Standing {
            mask: 0,
            bytes: 0,
            places: [0; ALL_GUESSES],
        };
        for (g, guess) in guesses.iter().enumerate() {
            standing.mask |= u32::from(guess.confidence != 0) << g;
            standing.bytes |= u64::from(guess.byte) << (8 * g);
            standing.places[g] = (g * CONFIDENCES + (usize::from(guess.confidence) & (CONFIDENCES - 1))) * 8;
        }
        standing
    }

    /// The bit that each guess expects at a depth, by number of the guess.
    #[inline(always)]
    fn ones(&self, depth: usize) -> u32 {
        let lowest = self.bytes >> (7 - depth) & 0x0101_0101_0101_0101;
        (lowest.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    }

    /// Calls `f` with the number and the place of each guess that stands.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        let mut left = self.mask;
        while left != 0 {
            let g = left.trailing_zeros() as usize;
            f(g, self.places[g]);
            left &= left - 1;
        }
    }
}

/// An adaptive probability: 22 bits, and 10 bits of count.
type Chance = u32;

#[inline(always)]
fn learn(chance: &mut Chance, bit: bool) {
    let count = *chance & 1023;
    let p = (*chance >> 10) as i32;
    let target = if bit { (1 << 22) - 1 } else { 0 };
    let step = (i64::from(target - p) * i64::from(RECIPROCALS[count as usize])) >> 16;
    *chance = ((p + step as i32) as u32) << 10 | (count + u32::from(count < LIMIT));
}

/// The adaptive state.
#[derive(Debug)]
pub struct ByteModel {
    lines: Vec<Line>,
    /// From the top: a check of 16 bits, a byte, a count.
    runs: Vec<u32>,
    /// By context and history: chance of a one.
    histories: Box<[Chance; CONTEXTS * 256]>,
    /// By guess, confidence and position in the byte: chance that the guess is right.
    rights: Box<[Chance; ALL_GUESSES * CONFIDENCES * 8]>,
    by_class: Box<[Weights; CLASSES * 8]>,
    by_node: Box<[Weights; 256]>,
}

impl ByteModel {
    /// A model with contexts in `1 << bits` bytes, `bits` at most 30.
    pub fn new(bits: u32) -> Self {
        let expected = |i: usize| {
            let [zeros, ones] = SEEN[i & 255].map(u32::from);
            ((2 * ones + 1) * ((1 << 22) - 1) / (2 * (zeros + ones) + 2)) << 10
        };
        ByteModel {
            lines: vec![Line([0; LINE]); 1 << (bits - LINE.trailing_zeros())],
            runs: vec![0; 1 << RUN_BITS],
            histories: Box::new(std::array::from_fn(expected)),
            rights: Box::new([3 << 30; ALL_GUESSES * CONFIDENCES * 8]),
            by_class: Box::new([Weights([ONE / 10; INPUTS]); CLASSES * 8]),
            by_node: Box::new([Weights([ONE / 10; INPUTS]); 256]),
        }
    }

    /// Bytes of memory that the model holds.
    pub fn memory(&self) -> u64 {
        (self.lines.len() * LINE
            + (self.runs.len() + self.histories.len() + self.rights.len()) * 4
            + (self.by_class.len() + self.by_node.len()) * INPUTS * 4) as u64
    }

    /// Finds or makes the slot of a hash: where it starts in its line.
    #[inline(always)]
    fn find(line: &mut Line, check: u8) -> usize {
        let bytes = &mut line.0;
        let checks = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let differ = checks ^ (u32::from(check) * 0x0101_0101);
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

    /// Where the run of a key may be, or in the entry beside it.
    #[inline(always)]
    fn run_place(&self, key: u32) -> usize {
        (key ^ key >> 15) as usize & (self.runs.len() - 1)
    }

    /// Finds or makes the run of a key.
    #[inline(always)]
    fn find_run(&mut self, key: u32) -> usize {
        let check = key >> 16;
        let first = self.run_place(key);
        let second = first ^ 1;
        let count = |at: usize| self.runs[at] & 0xff;
        match (self.runs[first] >> 16 == check, self.runs[second] >> 16 == check) {
            (true, _) => first,
            (_, true) => second,
            _ => {
                let (least, most) = if count(first) <= count(second) {
                    (first, second)
                } else {
                    (second, first)
                };
                self.runs[most] -= u32::from(count(most) > 0);
                self.runs[least] = check << 16;
                least
            }
        }
    }

    /// Adds a byte to a run.
    fn extend_run(&mut self, at: usize, byte: u32) {
        let run = &mut self.runs[at];
        let count = *run & 0xff;
        if count > 0 && *run >> 8 & 0xff == byte {
            *run += u32::from(count < LONGEST_RUN);
        } else if count >= LONG_RUN {
            *run = (*run & !0xff) | (count / 4);
        } else {
            *run = *run & 0xffff_0000 | byte << 8 | 1;
        }
    }

    /// Reads a byte of each line, so that memory brings all of them at once before the first is needed.
    #[inline(always)]
    fn touch(&self, keys: &[u32; CONTEXTS]) -> u8 {
        keys.iter()
            .fold(0, |touched, &key| touched ^ self.lines[self.line(key)].0[0])
    }

    /// Finds the slots of all contexts for one half of a byte, and brings their histories.
    #[inline(always)]
    fn open(&mut self, keys: &[u32; CONTEXTS], starts: &mut [usize; CONTEXTS], slots: &mut Slots) {
        for i in 0..CONTEXTS {
            let at = self.line(keys[i]);
            let line = &mut self.lines[at];
            starts[i] = Self::find(line, keys[i] as u8);
            slots[i][1..].copy_from_slice(&line.0[starts[i]..starts[i] + STATES]);
        }
    }

    /// The keys of the second half, behind the bits of the first: in the same page, for the sake of the address cache.
    #[inline(always)]
    fn other_half(keys: &[u32; CONTEXTS], node: u32) -> [u32; CONTEXTS] {
        let spread = node.wrapping_mul(0x9E37_79B1);
        keys.map(|key| key ^ spread >> 24 ^ (spread >> 10 & (PAGE_LINES - 1) << 8))
    }

    #[inline(always)]
    fn line(&self, key: u32) -> usize {
        (key >> 8) as usize & (self.lines.len() - 1)
    }

    /// Codes one byte.
    pub(super) fn code<B: Bits>(&mut self, bits: &mut B, known: &ByteContext, value: u8) -> u8 {
        let mut guesses = [ByteGuess::default(); ALL_GUESSES];
        guesses[..GUESSES].copy_from_slice(&known.guesses);
        let mut keys: [u32; CONTEXTS] = std::array::from_fn(|i| {
            let key = hash(known.contexts[i], i as u32).wrapping_mul(0x9E37_79B1);
            key ^ key >> 15
        });
        let run_keys: [u32; RUNS] =
            std::array::from_fn(|r| hash(known.runs[r], 0x100 + r as u32).wrapping_mul(0x9E37_79B1));
        let touched = run_keys
            .iter()
            .fold(0, |touched, &key| touched ^ self.runs[self.run_place(key)]);
        std::hint::black_box(touched ^ u32::from(self.touch(&keys)));
        let mut runs = [0usize; RUNS];
        for r in 0..RUNS {
            runs[r] = self.find_run(run_keys[r]);
            let run = self.runs[runs[r]];
            guesses[GUESSES + r] = ByteGuess {
                byte: (run >> 8) as u8,
                confidence: run as u8,
            };
        }
        let mut starts = [0usize; CONTEXTS];
        let mut byte = Byte {
            slots: [[0; STATES + 1]; CONTEXTS],
            standing: Standing::new(&guesses),
            class: (known.class as usize & (CLASSES - 1)) * 8,
        };
        // What the second half needs is asked for along with the first's: by the byte, or by the best guess at it.
        let likely = if B::READS { surest(&guesses) } else { value };
        let later = Self::other_half(&keys, u32::from(1 << 4 | likely >> 4));
        std::hint::black_box(self.touch(&later));
        let mut node = 1u32;
        for half in 0..2 {
            if half == 1 {
                keys = Self::other_half(&keys, node);
                std::hint::black_box(self.touch(&keys));
            }
            self.open(&keys, &mut starts, &mut byte.slots);
            let mut inner = 1usize;
            for depth in half * 4..half * 4 + 4 {
                let bit = value >> (7 - depth) & 1 != 0;
                let bit = self.decide(bits, &mut byte, (node, inner, depth), bit);
                node = node << 1 | u32::from(bit);
                inner = inner << 1 | usize::from(bit);
            }
            for i in 0..CONTEXTS {
                let at = self.line(keys[i]);
                self.lines[at].0[starts[i]..starts[i] + STATES].copy_from_slice(&byte.slots[i][1..]);
            }
        }
        for at in runs {
            self.extend_run(at, node & 0xff);
        }
        node as u8
    }

    /// Codes one bit: `node` are the bits of the byte before it, `inner` those of its half, behind a one.
    #[inline(always)]
    fn decide<B: Bits>(
        &mut self,
        bits: &mut B,
        byte: &mut Byte,
        (node, inner, depth): (u32, usize, usize),
        bit: bool,
    ) -> bool {
        let Byte {
            slots,
            standing,
            class,
        } = byte;
        let mut inputs = [0i16; INPUTS];
        let mut states = [0; CONTEXTS];
        for i in 0..CONTEXTS {
            states[i] = usize::from(slots[i][inner & 15]);
            inputs[i] = stretch(self.histories[i * 256 + states[i]] >> 16) as i16;
        }
        let ones = standing.ones(depth);
        standing.each(|g, at| {
            let p = stretch(self.rights[at + depth] >> 16) as i16;
            inputs[CONTEXTS + g] = if ones >> g & 1 != 0 { p } else { -p };
        });
        let agreeing = standing.mask as usize & ((1 << GUESSES) - 1);
        inputs[CONSTANT] = 256;
        let (a, b) = (
            &mut self.by_class[*class + agreeing],
            &mut self.by_node[node as usize & 255],
        );
        let p = squash(mix(&inputs, a, b) >> (ONE.trailing_zeros() - 16));
        let bit = bits.bit(p, bit);
        let error = (((i32::from(bit) << 16) - p as i32) >> 2) as i16;
        // Where nothing was wrong there is nothing to learn about the weights.
        if error.unsigned_abs() >= SLIGHT {
            teach(&inputs, error, a, b);
        }
        for (i, state) in states.into_iter().enumerate() {
            learn(&mut self.histories[i * 256 + state], bit);
            slots[i][inner & 15] = NEXT[state][usize::from(bit)];
        }
        standing.each(|g, at| learn(&mut self.rights[at + depth], bit == (ones >> g & 1 != 0)));
        standing.mask &= if bit { ones } else { !ones };
        bit
    }
}
