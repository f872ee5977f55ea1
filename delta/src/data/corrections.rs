//! What is wrong in a cover: where, and the right bytes.

use crate::code::{ByteContext, ByteModel, Guess, Model, Symbols, hash};
use crate::{Error, error::Result};

/// Bytes that are told to be right at once.
const BLOCK: usize = 512;
/// Memory of the contexts, as a power of two.
const MEMORY_BITS: u32 = 20;
/// Changes remembered by the bytes behind them, as a power of two.
const CHANGE_BITS: u32 = 12;

/// The state behind corrections.
#[derive(Debug)]
pub struct Corrections {
    clean: Model,
    block: Model,
    wrong: Model,
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

impl Default for Corrections {
    fn default() -> Self {
        Corrections {
            clean: Model::new(2, 10, 255),
            block: Model::new(3, 12, 255),
            wrong: Model::new(8, 18, 1023),
            right: None,
            changes: Vec::new(),
            values: Vec::new(),
            history: 0,
            last: 0,
        }
    }
}

impl Corrections {
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
        if s.flag(&mut self.clean, &[1, hash(2, size)], clean) {
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
            let contexts = [hash(1, before & 3), hash(2, before & 0xff), hash(3, size)];
            let dirty = !s.flag(&mut self.block, &contexts, clean);
            before = before << 1 | u32::from(dirty);
            if dirty {
                self.block(s, base, (from, to), at, &open, truth, bytes);
            } else {
                self.history = 0;
            }
            if s.exhausted() {
                return Err(Error::DamagedPatch("a byte stream ends too early"));
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn block<S: Symbols>(
        &mut self,
        s: &mut S,
        base: &[u8],
        (from, to): (usize, usize),
        at: u32,
        open: &[bool],
        truth: Option<&[u8]>,
        bytes: &mut [u8],
    ) {
        for i in from..to {
            if !open[i] {
                self.history <<= 1;
                continue;
            }
            let o = |k: isize| -> u32 {
                i.checked_add_signed(k)
                    .and_then(|i| base.get(i))
                    .map_or(0x100, |&b| u32::from(b))
            };
            let n = |k: usize| -> u32 { i.checked_sub(k).map_or(0x100, |i| u32::from(bytes[i])) };
            let phase = at.wrapping_add(i as u32) & 7;
            let history = self.history;
            let two = |seed: u32, a: u32, b: u32| hash(hash(seed, a), b);
            let next = two(o(1), o(2), o(3));
            let own = two(o(0), next, 1);
            let (change_at, value_at) = (
                (next >> (32 - CHANGE_BITS)) as usize,
                (own >> (32 - CHANGE_BITS)) as usize,
            );
            let (change, value) = (self.changes[change_at], self.values[value_at]);
            let since = history.trailing_zeros();
            let strides = (history >> 3 & 1
                | history >> 6 & 2
                | history >> 13 & 4
                | history >> 20 & 8
                | history >> 28 & 16) as u32;
            let lately = (history & 0xffff_ffff).count_ones().min(15);
            // A carry out of the byte before is likely to change this one.
            let carry = u32::from(history & 1 != 0) << 1 | u32::from(history & 1 != 0 && n(1) < o(-1));
            let contexts = [
                two(1, o(0) | o(1) << 9 | o(-1) << 18, 0),
                own,
                two(3, (history & 0xfff) as u32, carry | phase << 2),
                two(4, since | phase << 7, lately),
                two(5, strides | phase << 5, u32::from(change.1.min(3))),
                two(
                    6,
                    o(-1) | o(-2) << 9 | o(-3) << 18,
                    (history & 15) as u32 | carry << 4,
                ),
                two(7, o(0) | (history & 15) as u32 | carry << 4, phase),
                two(8, next, (history & 7) as u32 | carry << 3),
            ];
            let wrong = truth.is_some_and(|t| t[i] != bytes[i]);
            let wrong = s.flag(&mut self.wrong, &contexts, wrong);
            self.history = history << 1 | u64::from(wrong);
            if wrong {
                let old = bytes[i];
                let guess = |byte: u8, confidence: u32| {
                    if byte == old {
                        Guess::default()
                    } else {
                        Guess {
                            byte,
                            confidence: confidence as u8,
                        }
                    }
                };
                let last = self.last as u8;
                let known = ByteContext {
                    contexts: [
                        two(1, o(0), 0),
                        two(3, o(0) | o(1) << 9, phase),
                        two(4, self.last & 0xffff, phase),
                        two(6, n(1) | n(2) << 9, phase),
                        two(7, n(4) | n(8) << 9, phase),
                        two(8, o(0) | o(-1) << 9, n(1)),
                        own,
                    ],
                    runs: [
                        two(1, own, o(-1)),
                        two(2, n(1) | n(2) << 9 | n(3) << 18, 0),
                        two(3, o(0) | o(-1) << 9 | o(-2) << 18, 0),
                    ],
                    guesses: [
                        guess(old.wrapping_add(last), 1 + u32::from(phase as u8)),
                        guess(old.wrapping_add(change.0), u32::from(change.1)),
                        guess(value.0, u32::from(value.1)),
                    ],
                    class: phase | carry << 3,
                };
                let right = self.right.get_or_insert_with(|| ByteModel::new(MEMORY_BITS));
                bytes[i] = s.mixed_byte(right, &known, truth.map_or(0, |t| t[i]));
                let by = bytes[i].wrapping_sub(old);
                self.last = self.last << 8 | u32::from(by);
                learn(&mut self.changes[change_at], by);
                learn(&mut self.values[value_at], bytes[i]);
            }
        }
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
