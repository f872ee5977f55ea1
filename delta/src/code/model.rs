//! A context-mixed binary model: one counter for each context, one mixer for all of them.
//!
//! Counters and gated linear mixing in the logistic domain after PAQ and lpaq (M. Mahoney).

use super::logistic::{squash, stretch};
use super::range::Bits;

/// Most contexts that one model mixes.
pub const MAX_CONTEXTS: usize = 8;

const fn reciprocals() -> [u16; 1024] {
    let mut table = [0u16; 1024];
    let mut n = 0;
    while n < 1024 {
        table[n] = (65536 * 2 / (2 * n + 3)) as u16;
        n += 1;
    }
    table
}
/// 65536 / (n + 1.5): the share of a counter that moves after `n` decisions.
pub(super) static RECIPROCALS: [u16; 1024] = reciprocals();

/// Weight sets: one for each class of decision inside a symbol.
const SETS: usize = 128;

/// The adaptive state behind one kind of symbol.
#[derive(Debug)]
pub struct Model {
    /// 22 bits of probability, 10 bits of count.
    slots: Vec<u32>,
    weights: Vec<i32>,
    /// What each weight starts as.
    weight: i32,
    trained: [u16; SETS],
    contexts: usize,
    shift: u32,
    limit: u32,
}

impl Model {
    /// A model of `contexts` contexts over a table of `1 << bits` counters.
    ///
    /// `limit` bounds how slowly a counter adapts (1 / limit); 1023 at most.
    pub fn new(contexts: usize, bits: u32, limit: u32) -> Self {
        assert!(contexts <= MAX_CONTEXTS && limit < 1024);
        let weight = if contexts == 1 {
            65536
        } else {
            65536 * 14 / (10 * contexts as i32)
        };
        Model {
            slots: Vec::new(),
            weights: Vec::new(),
            weight,
            trained: [0; SETS],
            contexts,
            shift: 32 - bits,
            limit,
        }
    }

    /// Bytes of memory that the model holds.
    pub fn memory(&self) -> u64 {
        (self.slots.len() * 4 + self.weights.len() * 4) as u64
    }

    /// Makes the tables: a model that is never asked costs nothing.
    #[cold]
    fn open(&mut self) {
        self.slots = vec![1 << 31; 1 << (32 - self.shift)];
        self.weights = vec![self.weight; SETS * MAX_CONTEXTS];
    }

    /// Codes one decision: `node` tells decisions of one symbol apart, `set` picks the mixer's weights.
    #[inline]
    pub(super) fn code<const N: usize, B: Bits>(
        &mut self,
        bits: &mut B,
        contexts: &[u32; N],
        node: u32,
        set: usize,
        bit: bool,
    ) -> bool {
        debug_assert_eq!(N, self.contexts);
        if self.slots.is_empty() {
            self.open();
        }
        let set = set & (SETS - 1);
        let weights = &mut self.weights[set * MAX_CONTEXTS..][..N];
        let (mut at, mut inputs) = ([0usize; N], [0i32; N]);
        for i in 0..N {
            let spread = (contexts[i] ^ (node + ((i as u32) << 24)).wrapping_mul(0x9E37_79B1))
                .wrapping_mul(0xC2B2_AE35);
            at[i] = (spread >> self.shift) as usize;
            inputs[i] = stretch(self.slots[at[i]] >> 16);
        }
        let mut dot = 0i64;
        for i in 0..N {
            dot += i64::from(inputs[i]) * i64::from(weights[i]);
        }
        let mixed = squash((dot >> 16) as i32);
        let bit = bits.bit(mixed, bit);
        if N > 1 {
            let trained = u32::from(self.trained[set]);
            let rate = 12 + (trained >> 6).min(4);
            self.trained[set] = (trained + 1).min(1 << 15) as u16;
            let error = ((i32::from(bit)) << 16) - mixed as i32;
            for i in 0..N {
                weights[i] += ((i64::from(inputs[i]) * i64::from(error)) >> rate) as i32;
            }
        }
        let target = if bit { (1 << 22) - 1 } else { 0 };
        for slot in at {
            let state = &mut self.slots[slot];
            let (p, count) = ((*state >> 10) as i32, *state & 1023);
            let step = (i64::from(target - p) * i64::from(RECIPROCALS[count as usize])) >> 16;
            *state = ((p + step as i32) as u32) << 10 | (count + u32::from(count < self.limit));
        }
        bit
    }
}
