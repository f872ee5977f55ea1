//! The models of LZMA and its range coder, and what symbols cost by them, as liblzma counts it.

/// A probability of zero, in parts of 2,048.
pub type Probability = u16;

const TOTAL: u32 = 1 << 11;
const EVEN: Probability = 1 << 10;
const TOP: u32 = 1 << 24;

/// What no symbol costs.
pub const INFINITE: u32 = 1 << 30;

/// Sixteenths of a bit by probability.
const PRICES: [u8; 128] = {
    let mut prices = [0; 128];
    let mut i = 8;
    while i < TOTAL {
        let (mut w, mut bits, mut round) = (i, 0, 0);
        while round < 4 {
            w *= w;
            bits <<= 1;
            while w >= 1 << 16 {
                w >>= 1;
                bits += 1;
            }
            round += 1;
        }
        prices[(i >> 4) as usize] = ((11 << 4) - 15 - bits) as u8;
        i += 16;
    }
    prices
};

/// What a bit costs.
pub fn price(probability: Probability, bit: bool) -> u32 {
    let index = if bit { probability ^ 0x7ff } else { probability } >> 4;
    u32::from(PRICES[usize::from(index)])
}

/// What a symbol of so many bits costs, the highest first.
pub fn tree_price(tree: &[Probability], bits: u32, symbol: u32) -> u32 {
    let (mut node, mut sum) = (symbol + (1 << bits), 0);
    while node > 1 {
        sum += price(tree[node as usize >> 1], node & 1 == 1);
        node >>= 1;
    }
    sum
}

/// The same, the lowest bit first.
pub fn reverse_price(tree: &[Probability], bits: u32, symbol: u32) -> u32 {
    let (mut node, mut sum) = (1, 0);
    for at in 0..bits {
        let bit = symbol >> at & 1;
        sum += price(tree[node], bit == 1);
        node = node << 1 | bit as usize;
    }
    sum
}

/// What direct bits cost.
pub fn direct_price(bits: u32) -> u32 {
    bits << 4
}

/// The probabilities of one literal.
pub type Literal = [Probability; 0x300];

/// Which probabilities a literal behind a match has, bit by bit, and the bits.
pub fn matched(byte: u8, before: u8) -> impl Iterator<Item = (usize, bool)> {
    let (mut symbol, mut before, mut offset) = (u32::from(byte) | 0x100, u32::from(before), 0x100);
    std::iter::from_fn(move || {
        if symbol >= 1 << 16 {
            return None;
        }
        before <<= 1;
        let index = offset + (before & offset) + (symbol >> 8);
        let bit = symbol >> 7 & 1 == 1;
        symbol <<= 1;
        offset &= !(before ^ symbol);
        Some((index as usize, bit))
    })
}

/// The encoder of bits.
pub struct Range {
    low: u64,
    range: u32,
    cache: u8,
    held: u64,
    /// What was written.
    pub out: Vec<u8>,
}

impl Default for Range {
    fn default() -> Range {
        Range {
            low: 0,
            range: u32::MAX,
            cache: 0,
            held: 1,
            out: Vec::new(),
        }
    }
}

impl Range {
    fn shift(&mut self) {
        if (self.low as u32) < 0xff00_0000 || self.low >> 32 != 0 {
            let carry = (self.low >> 32) as u8;
            for _ in 0..self.held {
                self.out.push(self.cache.wrapping_add(carry));
                self.cache = 0xff;
            }
            self.held = 0;
            self.cache = (self.low >> 24) as u8;
        }
        self.held += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn normalize(&mut self) {
        if self.range < TOP {
            self.shift();
            self.range <<= 8;
        }
    }

    /// Codes a bit.
    pub fn bit(&mut self, probability: &mut Probability, bit: bool) {
        self.normalize();
        let bound = (self.range >> 11) * u32::from(*probability);
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
            *probability -= *probability >> 5;
        } else {
            self.range = bound;
            *probability += (TOTAL as u16 - *probability) >> 5;
        }
    }

    /// Codes a symbol of so many bits, the highest first.
    pub fn tree(&mut self, tree: &mut [Probability], bits: u32, symbol: u32) {
        let mut node = 1;
        for at in (0..bits).rev() {
            let bit = symbol >> at & 1;
            self.bit(&mut tree[node], bit == 1);
            node = node << 1 | bit as usize;
        }
    }

    /// The same, the lowest bit first.
    pub fn reverse(&mut self, tree: &mut [Probability], bits: u32, symbol: u32) {
        let mut node = 1;
        for at in 0..bits {
            let bit = symbol >> at & 1;
            self.bit(&mut tree[node], bit == 1);
            node = node << 1 | bit as usize;
        }
    }

    /// Codes bits that nothing foresees.
    pub fn direct(&mut self, value: u32, bits: u32) {
        for at in (0..bits).rev() {
            self.normalize();
            self.range >>= 1;
            if value >> at & 1 == 1 {
                self.low += u64::from(self.range);
            }
        }
    }

    /// Bytes that there will be if it ends here.
    pub fn len(&self) -> u64 {
        self.out.len() as u64 + self.held + 4
    }

    /// Ends it and gives the bytes.
    pub fn finish(&mut self) -> Vec<u8> {
        self.normalize();
        (0..5).for_each(|_| self.shift());
        std::mem::take(self).out
    }
}

/// Lengths of matches, and what they cost.
pub struct Lengths {
    choice: [Probability; 2],
    low: [[Probability; 8]; 4],
    mid: [[Probability; 8]; 4],
    high: [Probability; 256],
    prices: [[u32; 272]; 4],
    /// Lengths that are priced, and uses until they are priced again.
    count: usize,
    until: [usize; 4],
}

impl Lengths {
    /// At first, where matches are priced up to `nice` bytes.
    pub fn new(nice: usize) -> Lengths {
        let mut lengths = Lengths {
            choice: [EVEN; 2],
            low: [[EVEN; 8]; 4],
            mid: [[EVEN; 8]; 4],
            high: [EVEN; 256],
            prices: [[0; 272]; 4],
            count: nice - 1,
            until: [0; 4],
        };
        (0..4).for_each(|state| lengths.set_prices(state));
        lengths
    }

    fn set_prices(&mut self, state: usize) {
        self.until[state] = self.count;
        let [first, second] = self.choice;
        let low = price(first, false);
        let mid = price(first, true) + price(second, false);
        let high = price(first, true) + price(second, true);
        for (symbol, to) in (0..).zip(&mut self.prices[state][..self.count]) {
            *to = match symbol {
                0..8 => low + tree_price(&self.low[state], 3, symbol),
                8..16 => mid + tree_price(&self.mid[state], 3, symbol - 8),
                _ => high + tree_price(&self.high, 8, symbol - 16),
            };
        }
    }

    /// What a length costs.
    pub fn price(&self, len: usize, state: usize) -> u32 {
        self.prices[state][len - 2]
    }

    /// Codes a length.
    pub fn code(&mut self, range: &mut Range, len: usize, state: usize) {
        // Prices follow from what was before it.
        self.until[state] -= 1;
        if self.until[state] == 0 {
            self.set_prices(state);
        }
        let symbol = len as u32 - 2;
        range.bit(&mut self.choice[0], symbol >= 8);
        match symbol {
            0..8 => range.tree(&mut self.low[state], 3, symbol),
            _ => {
                range.bit(&mut self.choice[1], symbol >= 16);
                match symbol {
                    8..16 => range.tree(&mut self.mid[state], 3, symbol - 8),
                    _ => range.tree(&mut self.high, 8, symbol - 16),
                }
            }
        }
    }
}

/// What was told last: the lower numbers after a literal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(u8);

impl State {
    /// As an index.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }
    /// Whether a literal was last.
    pub fn is_literal(self) -> bool {
        self.0 < 7
    }
    /// After a literal.
    pub fn literal(self) -> State {
        State(match self.0 {
            0..4 => 0,
            4..10 => self.0 - 3,
            _ => self.0 - 6,
        })
    }
    /// After a match.
    pub fn matched(self) -> State {
        State(if self.is_literal() { 7 } else { 10 })
    }
    /// After a match at a distance that was used before.
    pub fn repeated(self) -> State {
        State(if self.is_literal() { 8 } else { 11 })
    }
    /// After a match of one byte.
    pub fn short(self) -> State {
        State(if self.is_literal() { 9 } else { 11 })
    }
}

/// Distances below this are modelled by themselves.
pub const FULL: usize = 128;
/// Slots of distances: below the first one whole, below the second one with modelled bits.
pub const FIRST_SLOT: u32 = 4;
/// See `FIRST_SLOT`.
pub const LAST_SLOT: u32 = 14;

/// The slot of a distance: its highest two bits, and how many there are.
pub fn slot(distance: u32) -> u32 {
    match distance {
        0..4 => distance,
        _ => {
            let top = distance.ilog2();
            2 * top + (distance >> (top - 1) & 1)
        }
    }
}

/// How the bits behind a slot are counted: how many, and the distance with none of them set.
pub fn behind(slot: u32) -> (u32, u32) {
    let bits = (slot >> 1) - 1;
    (bits, (2 | slot & 1) << bits)
}

/// All models.
pub struct Models {
    pub literals: Vec<Literal>,
    pub is_match: [[Probability; 4]; 12],
    pub is_repeated: [Probability; 12],
    /// Whether it is another distance than the last one, than the one before, and than that before.
    pub is_other: [[Probability; 12]; 3],
    pub is_long: [[Probability; 4]; 12],
    pub slots: [[Probability; 64]; 4],
    pub near: [Probability; FULL],
    pub aligned: [Probability; 16],
    pub lengths: Lengths,
    pub repeated_lengths: Lengths,
}

impl Models {
    /// At first.
    pub fn new(nice: usize) -> Models {
        Models {
            literals: vec![[EVEN; 0x300]; 8],
            is_match: [[EVEN; 4]; 12],
            is_repeated: [EVEN; 12],
            is_other: [[EVEN; 12]; 3],
            is_long: [[EVEN; 4]; 12],
            slots: [[EVEN; 64]; 4],
            near: [EVEN; FULL],
            aligned: [EVEN; 16],
            lengths: Lengths::new(nice),
            repeated_lengths: Lengths::new(nice),
        }
    }
}
