//! Huffman codes and blocks as zlib and GNU gzip choose them: ties, lengths above the limit, kinds of block.

use super::bits::Bits;

const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const LENGTHS: usize = 19;
const END: usize = 256;
const HEAP: usize = 2 * LITERALS + 1;

/// Extra bits of length codes 257 to 285, of distance codes, and of codes for lengths of codes.
const LENGTH_EXTRA: [u8; 29] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const DISTANCE_EXTRA: [u8; DISTANCES] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];
const RUN_EXTRA: [u8; LENGTHS] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7];

/// The order in which lengths of the codes for lengths stand.
const ORDER: [usize; LENGTHS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Code, its extra bits and their value, of a length from 3 to 258.
fn length_code(length: usize) -> (usize, u8, u32) {
    match length - 3 {
        255 => (28, 0, 0),
        over if over < 8 => (over, 0, 0),
        over => {
            let extra = over.ilog2() - 2;
            let code = (extra as usize + 1) * 4 + (over >> extra) - 4;
            (code, extra as u8, (over & ((1 << extra) - 1)) as u32)
        }
    }
}

/// The same of a distance from 1.
fn distance_code(distance: usize) -> (usize, u8, u32) {
    let over = distance - 1;
    if over < 4 {
        return (over, 0, 0);
    }
    let extra = over.ilog2() - 1;
    let code = extra as usize * 2 + (over >> extra);
    (code, extra as u8, (over & ((1 << extra) - 1)) as u32)
}

fn fixed_literal_bits(symbol: usize) -> u8 {
    match symbol {
        0..144 | 280.. => 8,
        144..256 => 9,
        _ => 7,
    }
}

/// A code: lengths and reversed bits for each symbol.
struct Code {
    lengths: Vec<u8>,
    words: Vec<u16>,
    /// The highest symbol in use.
    last: usize,
    /// Bits of all symbols with their extra bits, by this code and by the fixed one.
    cost: i64,
    fixed_cost: i64,
}

/// What is coded: its extra bits, the longest word, and the lengths of the fixed code.
struct Kind {
    extra: fn(usize) -> u8,
    longest: usize,
    fixed: Option<fn(usize) -> u8>,
}

const OF_LITERALS: Kind = Kind {
    extra: |n| if n > END { LENGTH_EXTRA[n - END - 1] } else { 0 },
    longest: 15,
    fixed: Some(fixed_literal_bits),
};
const OF_DISTANCES: Kind = Kind {
    extra: |n| DISTANCE_EXTRA[n],
    longest: 15,
    fixed: Some(|_| 5),
};
const OF_RUNS: Kind = Kind {
    extra: |n| RUN_EXTRA[n],
    longest: 7,
    fixed: None,
};

/// The heap that orders nodes by frequency, then by depth.
struct Heap<'f> {
    nodes: Vec<usize>,
    frequency: &'f mut [u32],
    depth: Vec<u8>,
}

impl Heap<'_> {
    fn before(&self, a: usize, b: usize) -> bool {
        (self.frequency[a], self.depth[a]) <= (self.frequency[b], self.depth[b])
    }

    /// Moves the node at place `k`, counted from 1, down to where it belongs.
    fn sink(&mut self, mut k: usize) {
        let moved = self.nodes[k - 1];
        let mut j = 2 * k;
        while j <= self.nodes.len() {
            if j < self.nodes.len() && self.before(self.nodes[j], self.nodes[j - 1]) {
                j += 1;
            }
            if self.before(moved, self.nodes[j - 1]) {
                break;
            }
            self.nodes[k - 1] = self.nodes[j - 1];
            k = j;
            j *= 2;
        }
        self.nodes[k - 1] = moved;
    }
}

impl Code {
    /// The code for these frequencies; at least two symbols get a word.
    fn of(counts: &[u32], kind: &Kind) -> Code {
        let elements = counts.len();
        let mut frequency = counts.to_vec();
        frequency.resize(2 * elements + 1, 0);
        let mut code = Code {
            lengths: vec![0; elements],
            words: vec![0; elements],
            last: 0,
            cost: 0,
            fixed_cost: 0,
        };
        let mut nodes: Vec<usize> = (0..elements).filter(|&n| counts[n] > 0).collect();
        let mut last = nodes.last().map_or(-1, |&n| n as isize);
        while nodes.len() < 2 {
            let forced = if last < 2 {
                last += 1;
                last as usize
            } else {
                0
            };
            nodes.push(forced);
            frequency[forced] = 1;
            code.cost -= 1;
            code.fixed_cost -= kind.fixed.map_or(0, |fixed| i64::from(fixed(forced)));
        }
        code.last = last as usize;
        let mut heap = Heap {
            nodes,
            frequency: &mut frequency,
            depth: vec![0; 2 * elements + 1],
        };
        (1..=heap.nodes.len() / 2).rev().for_each(|k| heap.sink(k));
        let mut parent = vec![0; 2 * elements + 1];
        let mut taken = Vec::with_capacity(HEAP);
        let mut node = elements;
        while heap.nodes.len() >= 2 {
            let a = heap.nodes.swap_remove(0);
            heap.sink(1);
            let b = heap.nodes[0];
            taken.extend([a, b]);
            heap.frequency[node] = heap.frequency[a] + heap.frequency[b];
            heap.depth[node] = heap.depth[a].max(heap.depth[b]) + 1;
            (parent[a], parent[b]) = (node, node);
            heap.nodes[0] = node;
            node += 1;
            heap.sink(1);
        }
        code.measure(&taken, &parent, &frequency, node - 1, kind);
        code.assign();
        code
    }

    /// Lengths from the tree; `taken` are its nodes but for the root, the rarest first.
    fn measure(&mut self, taken: &[usize], parent: &[usize], frequency: &[u32], root: usize, kind: &Kind) {
        let elements = self.lengths.len();
        let mut bits = vec![0; root + 1];
        let mut count = [0usize; 17];
        let mut over = 0isize;
        for &n in taken.iter().rev() {
            let deep = bits[parent[n]] + 1;
            bits[n] = deep.min(kind.longest);
            over += isize::from(deep > kind.longest);
            if n >= elements {
                continue;
            }
            count[bits[n]] += 1;
            let extra = (kind.extra)(n);
            self.cost += i64::from(frequency[n]) * (bits[n] as i64 + i64::from(extra));
            if let Some(fixed) = kind.fixed {
                self.fixed_cost += i64::from(frequency[n]) * i64::from(fixed(n) + extra);
            }
        }
        if over > 0 {
            while over > 0 {
                let above = (1..kind.longest).rev().find(|&b| count[b] > 0).unwrap_or(1);
                count[above] -= 1;
                count[above + 1] += 2;
                count[kind.longest] -= 1;
                over -= 2;
            }
            let mut leaves = taken.iter().copied().filter(|&n| n < elements);
            for length in (1..=kind.longest).rev() {
                for n in leaves.by_ref().take(count[length]) {
                    self.cost += (length as i64 - bits[n] as i64) * i64::from(frequency[n]);
                    bits[n] = length;
                }
            }
        }
        for &n in taken.iter().filter(|&&n| n < elements) {
            self.lengths[n] = bits[n] as u8;
        }
    }

    /// Words from lengths (RFC 1951, 3.2.2).
    fn assign(&mut self) {
        let mut next = [0u16; 17];
        let mut word = 0u16;
        for (length, next) in next.iter_mut().enumerate().take(16).skip(1) {
            *next = word;
            word = word
                .wrapping_add(self.lengths.iter().filter(|&&l| usize::from(l) == length).count() as u16)
                << 1;
        }
        for (word, &length) in self.words.iter_mut().zip(&self.lengths) {
            if length > 0 {
                let at = &mut next[usize::from(length)];
                *word = at.reverse_bits() >> (16 - length);
                *at += 1;
            }
        }
    }

    fn fixed(elements: usize, bits: fn(usize) -> u8) -> Code {
        let mut code = Code {
            lengths: (0..elements).map(bits).collect(),
            words: vec![0; elements],
            last: 0,
            cost: 0,
            fixed_cost: 0,
        };
        code.assign();
        code
    }

    fn put(&self, bits: &mut Bits, symbol: usize) {
        bits.put(u32::from(self.words[symbol]), self.lengths[symbol]);
    }

    /// The lengths as symbols 0 to 18 with the value of their extra bits.
    fn runs(&self) -> Vec<(usize, u32)> {
        let lengths = &self.lengths[..=self.last];
        let (mut runs, mut before, mut at) = (Vec::new(), None, 0);
        while at < lengths.len() {
            let length = lengths[at];
            let (most, least) = match (length, before) {
                (0, _) => (138, 3),
                (_, Some(same)) if same == length => (6, 3),
                _ => (7, 4),
            };
            let count = lengths[at..]
                .iter()
                .take(most)
                .take_while(|&&l| l == length)
                .count();
            if count < least {
                runs.extend((0..count).map(|_| (usize::from(length), 0)));
            } else if length != 0 {
                let sent = usize::from(before != Some(length));
                runs.extend((0..sent).map(|_| (usize::from(length), 0)));
                runs.push((16, (count - sent - 3) as u32));
            } else if count <= 10 {
                runs.push((17, count as u32 - 3));
            } else {
                runs.push((18, count as u32 - 11));
            }
            before = Some(length);
            at += count;
        }
        runs
    }
}

/// Symbols of the block that is being made.
pub struct Block {
    /// Distance (0: none) and literal or length.
    symbols: Vec<(u16, u16)>,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    matches: usize,
}

impl Block {
    /// Room for so many symbols.
    pub fn new(room: usize) -> Block {
        let mut block = Block {
            symbols: Vec::with_capacity(room),
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
            matches: 0,
        };
        block.literals[END] = 1;
        block
    }

    /// Adds a literal.
    pub fn literal(&mut self, byte: u8) {
        self.symbols.push((0, u16::from(byte)));
        self.literals[usize::from(byte)] += 1;
    }

    /// Adds a match.
    pub fn matched(&mut self, distance: usize, length: usize) {
        self.symbols.push((distance as u16, length as u16));
        self.literals[END + 1 + length_code(length).0] += 1;
        self.distances[distance_code(distance).0] += 1;
        self.matches += 1;
    }

    /// How many symbols there are.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether GNU gzip ends a block here of its own accord: it has covered `text` bytes in few bits.
    pub fn well_packed(&self, text: usize) -> bool {
        let distances = self.distances.iter().zip(DISTANCE_EXTRA);
        let bits: usize = distances
            .map(|(&n, extra)| n as usize * (5 + usize::from(extra)))
            .sum();
        let about = (self.len() * 8 + bits) >> 3;
        self.matches < self.len() / 2 && about < text / 2
    }

    /// Writes the block and begins the next; `text` is what it covers, where that is still at hand.
    pub fn finish(&mut self, bits: &mut Bits, text: Option<&[u8]>, last: bool) {
        let literals = Code::of(&self.literals, &OF_LITERALS);
        let distances = Code::of(&self.distances, &OF_DISTANCES);
        let runs = [literals.runs(), distances.runs()].concat();
        let mut counts = [0u32; LENGTHS];
        runs.iter().for_each(|&(symbol, _)| counts[symbol] += 1);
        let lengths = Code::of(&counts, &OF_RUNS);
        let sent = ORDER
            .iter()
            .rposition(|&n| lengths.lengths[n] != 0)
            .unwrap_or(3)
            .max(3)
            + 1;
        let own = literals.cost + distances.cost + lengths.cost + 3 * sent as i64 + 14;
        let fixed = literals.fixed_cost + distances.fixed_cost;
        let (own, fixed) = ((own + 10) >> 3, (fixed + 10) >> 3);
        let least = own.min(fixed);
        bits.put(u32::from(last), 1);
        match text.filter(|text| text.len() as i64 + 4 <= least && text.len() <= 0xffff) {
            Some(text) => bits.stored(text),
            None if fixed == least => {
                bits.put(1, 2);
                let codes = [
                    Code::fixed(288, fixed_literal_bits),
                    Code::fixed(DISTANCES, |_| 5),
                ];
                self.put(bits, &codes[0], &codes[1]);
            }
            None => {
                bits.put(2, 2);
                bits.put(literals.last as u32 - 256, 5);
                bits.put(distances.last as u32, 5);
                bits.put(sent as u32 - 4, 4);
                ORDER[..sent]
                    .iter()
                    .for_each(|&n| bits.put(u32::from(lengths.lengths[n]), 3));
                for (symbol, value) in runs {
                    lengths.put(bits, symbol);
                    bits.put(value, RUN_EXTRA[symbol]);
                }
                self.put(bits, &literals, &distances);
            }
        }
        if last {
            bits.align();
        }
        self.symbols.clear();
        (self.literals, self.distances, self.matches) = ([0; LITERALS], [0; DISTANCES], 0);
        self.literals[END] = 1;
    }

    fn put(&self, bits: &mut Bits, literals: &Code, distances: &Code) {
        for &(distance, value) in &self.symbols {
            if distance == 0 {
                literals.put(bits, usize::from(value));
                continue;
            }
            let (code, extra, rest) = length_code(usize::from(value));
            literals.put(bits, END + 1 + code);
            bits.put(rest, extra);
            let (code, extra, rest) = distance_code(usize::from(distance));
            distances.put(bits, code);
            bits.put(rest, extra);
        }
        literals.put(bits, END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        assert_eq!(length_code(3), (0, 0, 0));
        assert_eq!(length_code(10), (7, 0, 0));
        assert_eq!(length_code(11), (8, 1, 0));
        assert_eq!(length_code(257), (27, 5, 30));
        assert_eq!(length_code(258), (28, 0, 0));
        assert_eq!(distance_code(4), (3, 0, 0));
        assert_eq!(distance_code(5), (4, 1, 0));
        assert_eq!(distance_code(32768), (29, 13, 8191));
    }
}
