//! Deflate exactly as zlib, Chromium's zlib and GNU gzip write it, level by level: what both sides compute, frozen with
//! the format.
//!
//! Facts from RFC 1951 and from what the programs write: a window of twice 32 KiB that slides by half, chains of
//! places with the same hash of three bytes, matches put off for a better one at the next byte, blocks that end after
//! so many symbols. GNU gzip differs from zlib at the end of the input and in where it ends blocks, Chromium's zlib,
//! which is Node's, in the hash.

mod bits;
mod style;
mod trees;

use bits::Bits;
pub use style::{Style, Writer};
use trees::Block;

const HALF: usize = 1 << 15;
const WINDOW: usize = 2 * HALF;
const LEAST: usize = 3;
const MOST: usize = 258;
/// Bytes that must lie ahead for a match to be found without a look at the end.
const AHEAD: usize = MOST + LEAST + 1;
const FARTHEST: usize = HALF - AHEAD;
/// A match of three bytes farther than this is not worth its bits.
const TOO_FAR: usize = 4096;

/// Steps along a chain for one unit of work, and bytes that every step of the window counts.
const STEPS: u64 = 16;

/// How hard a level tries.
struct Effort {
    /// A match at hand of this length: search a quarter as long.
    good: usize,
    /// No search at the next byte from this length on; without laziness, none of its bytes are remembered above.
    lazy: usize,
    /// The search ends at this length.
    nice: usize,
    chain: usize,
}

fn effort(level: u8) -> Effort {
    let (good, lazy, nice, chain) = match level {
        1 => (4, 4, 8, 4),
        2 => (4, 5, 16, 8),
        3 => (4, 6, 32, 32),
        4 => (4, 4, 16, 16),
        5 => (8, 16, 32, 32),
        6 => (8, 16, 128, 128),
        7 => (8, 32, 128, 256),
        8 => (32, 128, 258, 1024),
        _ => (32, 258, 258, 4096),
    };
    Effort {
        good,
        lazy,
        nice,
        chain,
    }
}

/// An encoder: text in, stream out.
pub struct Deflate {
    style: Style,
    /// GNU gzip is the writer.
    gnu: bool,
    effort: Effort,
    window: Vec<u8>,
    /// The newest place of each hash, and the one before each place; 0 is none.
    head: Vec<u16>,
    before: Vec<u16>,
    at: usize,
    ahead: usize,
    /// Where the block began, if that is still in the window.
    block_at: isize,
    block: Block,
    /// The match at the byte before: its length, and where it is.
    length: usize,
    found: usize,
    /// Whether the byte before waits to be coded.
    waiting: bool,
    /// Nothing more comes.
    ended: bool,
    bits: Bits,
    steps: u64,
}

impl Deflate {
    /// Bytes of memory that one holds.
    pub const MEMORY: u64 = (WINDOW + 2 * (HALF * 2 + HALF) + 4 * HALF + WINDOW) as u64;

    /// Begins a stream.
    pub fn new(style: Style) -> Deflate {
        let hashes = style.writer.hashes();
        Deflate {
            style,
            gnu: style.writer == Writer::Gnu,
            effort: effort(style.level),
            window: vec![0; WINDOW],
            head: vec![0; hashes],
            before: vec![0; HALF],
            at: 0,
            ahead: 0,
            block_at: 0,
            block: Block::new(HALF),
            length: LEAST - 1,
            found: 0,
            waiting: false,
            ended: false,
            bits: Bits::default(),
            steps: 0,
        }
    }

    /// Takes text in.
    pub fn push(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            let end = self.at + self.ahead;
            let n = text.len().min(WINDOW - end);
            self.window[end..end + n].copy_from_slice(&text[..n]);
            self.ahead += n;
            text = &text[n..];
            if self.at + self.ahead == WINDOW {
                self.run();
                self.slide();
            }
        }
    }

    /// Ends the stream.
    pub fn finish(&mut self) {
        self.run();
        self.slide();
        self.ended = true;
        let end = self.at + self.ahead;
        if self.gnu {
            let stop = (end + LEAST - 1).min(WINDOW);
            self.window[end..stop].fill(0);
        }
        self.run();
        if self.waiting {
            self.block.literal(self.window[self.at - 1]);
            self.waiting = false;
        }
        self.flush(true);
    }

    /// What was written since this was last asked, and the units of work that it took.
    pub fn take(&mut self, out: &mut Vec<u8>) -> u64 {
        out.append(&mut self.bits.bytes);
        std::mem::take(&mut self.steps) / STEPS
    }

    /// Moves the window on by half, if the place is far enough.
    fn slide(&mut self) {
        if self.at < HALF + FARTHEST {
            return;
        }
        self.window.copy_within(HALF.., 0);
        self.at -= HALF;
        self.found = self.found.wrapping_sub(HALF);
        self.block_at -= HALF as isize;
        for place in self.head.iter_mut().chain(&mut self.before) {
            *place = place.saturating_sub(HALF as u16);
        }
    }

    fn run(&mut self) {
        if self.style.level < 4 {
            self.greedy()
        } else {
            self.lazy()
        }
    }

    fn goes_on(&mut self) -> bool {
        if self.ended && !self.gnu {
            self.slide();
        }
        self.ahead >= AHEAD || self.ended && self.ahead > 0
    }

    /// Remembers the place, and gives the newest one with the same hash.
    fn insert(&mut self, at: usize) -> usize {
        if at + LEAST > WINDOW {
            return 0;
        }
        let byte = |i| self.window.get(at + i).copied().unwrap_or(0);
        let hash = self.style.hash([byte(0), byte(1), byte(2), byte(3)]) & (self.head.len() - 1);
        let newest = self.head[hash];
        self.before[at & (HALF - 1)] = newest;
        self.head[hash] = at as u16;
        usize::from(newest)
    }

    /// Remembers this place, where enough lies ahead for that.
    fn insert_here(&mut self) -> usize {
        if self.gnu || self.ahead >= LEAST {
            return self.insert(self.at);
        }
        0
    }

    /// Whether a place can be searched from.
    fn in_reach(&self, candidate: usize) -> bool {
        candidate != 0 && self.at - candidate <= FARTHEST && (!self.gnu || self.at <= WINDOW - AHEAD)
    }

    /// The longest match at this place that is longer than `length`, along the chain from a place.
    fn search(&mut self, mut candidate: usize, length: usize) -> usize {
        let limit = self.at.saturating_sub(FARTHEST);
        let mut chain = self.effort.chain;
        if length >= self.effort.good {
            chain >>= 2;
        }
        let nice = if self.gnu {
            self.effort.nice
        } else {
            self.effort.nice.min(self.ahead)
        };
        let mut best = length;
        let scan = &self.window[self.at..(self.at + MOST).min(WINDOW)];
        loop {
            self.steps += 1;
            let other = &self.window[candidate..];
            let may = best < scan.len() && other[best] == scan[best] && other[best - 1] == scan[best - 1];
            if may && other[..2] == scan[..2] {
                let length = scan.iter().zip(other).take_while(|(a, b)| a == b).count();
                self.steps += length as u64 / 16;
                if length > best {
                    self.found = candidate;
                    best = length;
                    if length >= nice {
                        break;
                    }
                }
            }
            candidate = usize::from(self.before[candidate & (HALF - 1)]);
            chain = chain.saturating_sub(1);
            if candidate <= limit || chain == 0 {
                break;
            }
        }
        best.min(self.ahead)
    }

    /// Levels 4 to 9: a match waits whether the next byte has a longer one.
    fn lazy(&mut self) {
        while self.goes_on() {
            self.steps += 1;
            let newest = self.insert_here();
            let (length, found) = (self.length, self.found);
            self.length = LEAST - 1;
            if length < self.effort.lazy && self.in_reach(newest) {
                self.length = self.search(newest, length);
                if self.length == LEAST && self.at.wrapping_sub(self.found) > TOO_FAR {
                    self.length = LEAST - 1;
                }
            }
            if length >= LEAST && self.length <= length {
                let insert_end = self.at + self.ahead;
                self.block.matched((self.at - 1).wrapping_sub(found), length);
                let full = self.full(self.at);
                self.ahead -= length - 1;
                for _ in 0..length - 2 {
                    self.at += 1;
                    if self.gnu || self.at + LEAST <= insert_end {
                        self.insert(self.at);
                    }
                }
                self.waiting = false;
                self.length = LEAST - 1;
                self.at += 1;
                if full {
                    self.flush(false);
                }
                continue;
            }
            if self.waiting {
                self.block.literal(self.window[self.at - 1]);
                if self.full(self.at) {
                    self.flush(false);
                }
            }
            self.waiting = true;
            self.at += 1;
            self.ahead -= 1;
        }
    }

    /// Levels 1 to 3: the first match is taken.
    fn greedy(&mut self) {
        while self.goes_on() {
            self.steps += 1;
            let newest = self.insert_here();
            let mut length = 0;
            if self.in_reach(newest) {
                length = self.search(newest, LEAST - 1);
            }
            let full;
            if length >= LEAST {
                self.block.matched(self.at - self.found, length);
                full = self.full(self.at);
                self.ahead -= length;
                if length <= self.effort.lazy && (self.gnu || self.ahead >= LEAST) {
                    for at in self.at + 1..self.at + length {
                        self.insert(at);
                    }
                }
                self.at += length;
            } else {
                self.block.literal(self.window[self.at]);
                full = self.full(self.at);
                self.at += 1;
                self.ahead -= 1;
            }
            if full {
                self.flush(false);
            }
        }
    }

    /// Whether the block ends with the symbol just added.
    fn full(&self, at: usize) -> bool {
        let symbols = self.block.len();
        if !self.gnu {
            return symbols == self.style.writer.symbols();
        }
        if self.style.level > 2 && symbols.is_multiple_of(4096) {
            let text = at.wrapping_add_signed(-self.block_at);
            if self.block.well_packed(text) {
                return true;
            }
        }
        symbols == self.style.writer.symbols()
    }

    fn flush(&mut self, last: bool) {
        let from = usize::try_from(self.block_at).ok();
        let text = from.map(|from| &self.window[from..self.at]);
        self.block.finish(&mut self.bits, text, last);
        self.block_at = self.at as isize;
    }
}
