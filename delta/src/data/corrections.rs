//! What is wrong in a cover: where, and the right bytes.

use crate::code::{ByteContext, ByteGuess, ByteModel, Symbols, hash, symbols};
use crate::{Error, error::Result};

/// Bytes that are coded to be right at once.
const BLOCK: usize = 512;
/// Memory of the contexts, as a power of two.
const MEMORY_BITS: u32 = 20;
/// Changes remembered by the bytes behind them, as a power of two.
const CHANGE_BITS: u32 = 12;

symbols! {
    /// Where corrections are.
    struct WrongModels {
        clean(10, 255) {
            /// A piece of a cover is right. `size`: bit length of its length.
            clean: flag by(size: u32) [1, hash(2, size)];
        }
        block(12, 255) {
            /// A block of it is right. `before`: for each earlier block of the piece whether it was not, the last
            /// one lowest.
            block: flag by(before: u32, size: u32) [hash(1, before & 3), hash(2, before & 0xff), hash(3, size)];
        }
        wrong(18, 1023) {
            /// A byte is wrong.
            wrong: flag by(f: &Foresight)
                [
                    two(1, f.o(0) | f.o(1) << 9 | f.o(-1) << 18, 0),
                    f.own,
                    two(3, f.history & 0xfff, f.carry | f.phase << 2),
                    two(4, f.since | f.phase << 7, f.lately),
                    two(5, f.strides | f.phase << 5, f.repeats.min(3)),
                    two(6, f.o(-1) | f.o(-2) << 9 | f.o(-3) << 18, f.history & 15 | f.carry << 4),
                    two(7, f.o(0) | f.history & 15 | f.carry << 4, f.phase),
                    two(8, f.next, f.history & 7 | f.carry << 3),
                ];
        }
    }
}

/// The state behind corrections.
#[derive(Debug, Default)]
pub struct Corrections {
    models: WrongModels,
    right: Option<ByteModel>,
    /// By the old bytes that follow: the last change there, and how often it repeated.
    changes: Vec<(u8, u8)>,
    /// By the old bytes from there: the last new byte, and how often it repeated.
    values: Vec<(u8, u8)>,
    /// Whether each of the last bytes was wrong, newest lowest.
    history: u64,
    /// The last changes, newest lowest.
    last: u32,
}

impl Corrections {
    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        let right = self.right.as_ref().map_or(0, ByteModel::memory);
        self.models.memory() + right + 2 * (self.changes.len() + self.values.len()) as u64
    }

    /// Lays `known` bytes over `bytes`, which stand at `at` in the new file and are `base` in the old one, and
    /// corrects the rest.
    pub fn code<S: Symbols>(
        &mut self,
        s: &mut S,
        base: &[u8],
        at: u32,
        known: &[(usize, &[u8])],
        truth: Option<&[u8]>,
        bytes: &mut [u8],
    ) -> Result<()> {
        let mut open = vec![true; bytes.len()];
        for (from, right) in known {
            bytes[*from..from + right.len()].copy_from_slice(right);
            open[*from..from + right.len()].fill(false);
        }
        let clean = truth.is_some_and(|t| t[..bytes.len()] == *bytes);
        let size = 32 - (bytes.len() as u32).leading_zeros();
        if self.models.clean(s, size, clean) {
            return Ok(());
        }
        if self.changes.is_empty() {
            self.changes = vec![(0, 0); 1 << CHANGE_BITS];
            self.values = vec![(0, 0); 1 << CHANGE_BITS];
        }
        let mut before = 0u32;
        for from in (0..bytes.len()).step_by(BLOCK) {
            let to = (from + BLOCK).min(bytes.len());
            let clean = truth.is_some_and(|t| t[from..to] == bytes[from..to]);
            let dirty = !self.models.block(s, before, size, clean);
            before = before << 1 | u32::from(dirty);
            if dirty {
                let mut place = Place {
                    base,
                    bytes,
                    at,
                    i: from,
                };
                while place.i < to {
                    if open[place.i] {
                        self.byte(s, &mut place, truth);
                    } else {
                        self.history <<= 1;
                    }
                    place.i += 1;
                }
            } else {
                self.history = 0;
            }
            if s.exhausted() {
                return Err(Error::damaged("a byte stream ends too early"));
            }
        }
        Ok(())
    }

    /// Codes whether a byte is right, and the right one if not.
    fn byte<S: Symbols>(&mut self, s: &mut S, place: &mut Place, truth: Option<&[u8]>) {
        let i = place.i;
        let next = two(place.o(1), place.o(2), place.o(3));
        let own = two(place.o(0), next, 1);
        let slot = |key: u32| (key >> (32 - CHANGE_BITS)) as usize;
        let (change, value) = (self.changes[slot(next)], self.values[slot(own)]);
        let f = Foresight::new(place, self.history, (own, next), u32::from(change.1));
        let wrong = truth.is_some_and(|t| t[i] != f.place.bytes[i]);
        let wrong = self.models.wrong(s, &f, wrong);
        self.history = self.history << 1 | u64::from(wrong);
        if !wrong {
            return;
        }
        let known = f.right(self.last, change, value);
        let right = self.right.get_or_insert_with(|| ByteModel::new(MEMORY_BITS));
        let right = s.mixed_byte(right, &known, truth.map_or(0, |t| t[i]));
        let by = right.wrapping_sub(place.bytes[i]);
        place.bytes[i] = right;
        self.last = self.last << 8 | u32::from(by);
        learn(&mut self.changes[slot(next)], by);
        learn(&mut self.values[slot(own)], right);
    }
}

fn two(seed: u32, a: u32, b: u32) -> u32 {
    hash(hash(seed, a), b)
}

// symbols: What corrections go by:
/// A byte of a piece, `i`, that stands at `at + i` of the new file.
struct Place<'p> {
    /// The old bytes.
    base: &'p [u8],
    /// The new ones, right up to `i`.
    bytes: &'p mut [u8],
    at: u32,
    i: usize,
}

impl Place<'_> {
    /// The old byte so many behind, 0x100 outside the piece.
    fn o(&self, k: isize) -> u32 {
        let i = self.i.checked_add_signed(k);
        i.and_then(|i| self.base.get(i)).map_or(0x100, |&b| u32::from(b))
    }

    /// The new byte so many before, 0x100 outside the piece.
    fn n(&self, k: usize) -> u32 {
        let i = self.i.checked_sub(k);
        i.map_or(0x100, |i| u32::from(self.bytes[i]))
    }
}

/// What is known before a byte of a cover.
struct Foresight<'f> {
    place: &'f Place<'f>,
    /// Place in the new file modulo 8.
    phase: u32,
    /// For each of the last 32 bytes whether it was wrong, the last one lowest.
    history: u32,
    /// Bytes since a wrong one, at most 64, and wrong ones of the last 32, at most 15.
    since: u32,
    lately: u32,
    /// Whether the bytes 4, 8, 16, 24 and 33 before were wrong, the first lowest.
    strides: u32,
    /// 2 if the byte before was wrong, and 1 if that one became lower: a carry is likely to change this one.
    carry: u32,
    /// Of the old bytes from here, and of the three behind this one.
    own: u32,
    next: u32,
    /// How often the last change before the same three bytes was repeated.
    repeats: u32,
}

impl<'f> Foresight<'f> {
    fn new(place: &'f Place<'f>, history: u64, (own, next): (u32, u32), repeats: u32) -> Foresight<'f> {
        let strides =
            history >> 3 & 1 | history >> 6 & 2 | history >> 13 & 4 | history >> 20 & 8 | history >> 28 & 16;
        let before = history & 1 != 0;
        Foresight {
            place,
            phase: place.at.wrapping_add(place.i as u32) & 7,
            history: history as u32,
            since: history.trailing_zeros(),
            lately: (history & 0xffff_ffff).count_ones().min(15),
            strides: strides as u32,
            carry: u32::from(before) << 1 | u32::from(before && place.n(1) < place.o(-1)),
            own,
            next,
            repeats,
        }
    }
    // end

    fn o(&self, k: isize) -> u32 {
        self.place.o(k)
    }

    fn n(&self, k: usize) -> u32 {
        self.place.n(k)
    }

    /// Before the right byte in place of a wrong one. `last` are the last changes, the last one lowest; `change` is
    /// the last one before the same three old bytes, `value` the last new byte where the same old ones stood, each
    /// with how often it was repeated.
    fn right(&self, last: u32, change: (u8, u8), value: (u8, u8)) -> ByteContext {
        let f = self;
        let wrong = f.place.bytes[f.place.i];
        let guess = |byte: u8, confidence: u8| match byte == wrong {
            true => ByteGuess::default(),
            false => ByteGuess { byte, confidence },
        };
        // symbols: Contexts of the mixed byte in place of a wrong one:
        ByteContext {
            contexts: [
                two(1, f.o(0), 0),
                two(3, f.o(0) | f.o(1) << 9, f.phase),
                two(4, last & 0xffff, f.phase),
                two(6, f.n(1) | f.n(2) << 9, f.phase),
                two(7, f.n(4) | f.n(8) << 9, f.phase),
                two(8, f.o(0) | f.o(-1) << 9, f.n(1)),
                f.own,
            ],
            runs: [
                two(1, f.own, f.o(-1)),
                two(2, f.n(1) | f.n(2) << 9 | f.n(3) << 18, 0),
                two(3, f.o(0) | f.o(-1) << 9 | f.o(-2) << 18, 0),
            ],
            guesses: [
                guess(wrong.wrapping_add(last as u8), 1 + f.phase as u8),
                guess(wrong.wrapping_add(change.0), change.1),
                guess(value.0, value.1),
            ],
            class: f.phase | f.carry << 3,
        }
        // end
    }
}

/// Keeps what was seen last, and how often in a row.
fn learn(entry: &mut (u8, u8), seen: u8) {
    *entry = if entry.0 == seen {
        (seen, (entry.1 + 1).min(31))
    } else {
        (seen, 1)
    };
}
