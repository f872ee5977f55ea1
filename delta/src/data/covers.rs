//! The cover stream of one region: uncovered length, source, covered length, in turn.

use super::Cover;
use crate::budget::{Budget, Held, Lent};
use crate::code::{Symbols, hash, symbols};
use crate::place::{Off, Place, Span};
use crate::{Error, error::Result};

symbols! {
    /// Models of the cover stream.
    struct CoverModels {
        rest(8, 255) {
            /// 0: a cover to the end from here as expected; 1: literal to the end; 2: anything else. `first`: 1 for
            /// the first cover of a region, else 0. `last`: bit length of the length of the cover before in the
            /// region, 0 at its start.
            rest: tree(2) by(first: u32, last: u32) [hash(1, first), hash(2, last.min(3) | first << 2)];
        }
        gap(14, 255) {
            /// Bytes before the cover.
            gap: number by(first: u32, last: u32) [hash(1, first), hash(2, last)];
        }
        source(16, 255) {
            /// Old offset against the expected one.
            source: signed by(gap: u64, last: u32) [hash(1, gap.min(16) as u32), hash(2, last)];
        }
        length(14, 255) {
            /// Bytes of the cover. `expected`: whether its old offset is.
            length: number by(expected: bool, last: u32) [hash(1, u32::from(expected)), hash(2, last)];
        }
    }
}

/// Covers between two looks at how much memory they take.
const CHECKED: usize = 1 << 12;

/// Codes the covers of one region after the other.
pub struct CoverCoder<'a> {
    m: Lent<'a, CoverModels>,
    old_len: u32,
    /// The covers so far, in file order.
    pub covers: Vec<Cover>,
}

impl<'a> CoverCoder<'a> {
    /// At the first region; the old file has `old_len` bytes.
    pub fn new(old_len: u32, account: &'a Budget) -> CoverCoder<'a> {
        CoverCoder {
            m: account.lend(),
            old_len,
            covers: Vec::new(),
        }
    }

    /// Codes the covers of the new bytes of a region; `hint` is the old offset expected against their start. The memory
    /// of all covers so far is counted in `held`.
    pub fn region<S: Symbols>(
        &mut self,
        s: &mut S,
        Span { at, len }: Span<Off>,
        hint: Off,
        truth: &[Cover],
        held: &mut Held,
    ) -> Result<()> {
        let (m, out, old_len) = (&mut *self.m, &mut self.covers, self.old_len);
        let damaged = || Error::damaged("a cover reaches past its region");
        let end = at + len;
        let mut cursor = at;
        let mut expected = i64::from(hint);
        let mut last = 0u32;
        let mut index = 0;
        while cursor < end {
            let t = truth.get(index);
            let first = u32::from(index == 0);
            let kind = match t {
                Some(t) if t.new_at == cursor && t.len == end - cursor && i64::from(t.old_at) == expected => {
                    0
                }
                None => 1,
                _ => 2,
            };
            let kind = m.rest(s, first, last, kind);
            if kind == 1 {
                break;
            }
            let (mut gap, mut old_at, mut length) = (0, expected, u64::from(end - cursor));
            if kind != 0 {
                let known = t.copied().unwrap_or_default();
                gap = m.gap(s, first, last, u64::from(known.new_at.since(cursor)));
                let source = i64::from(known.old_at) - i64::from(known.new_at.since(cursor)) - expected;
                let source = m.source(s, gap, last, source);
                old_at = expected.saturating_add(source).saturating_add_unsigned(gap);
                length = m.length(s, source == 0, last, u64::from(known.len));
            }
            let from = u64::from(cursor).saturating_add(gap);
            let to = from.saturating_add(length);
            let fits = to <= u64::from(end) && length > 0 && old_at >= 0;
            if !fits || (old_at as u64).saturating_add(length) > u64::from(old_len) || s.exhausted() {
                return Err(damaged());
            }
            let cover = Cover {
                new_at: Off(from as u32),
                old_at: Off(old_at as u32),
                len: length as u32,
            };
            last = 32 - cover.len.leading_zeros();
            cursor = Off(to as u32);
            expected = old_at + length as i64;
            out.push(cover);
            index += 1;
            if index % CHECKED == 0 {
                held.set((out.len() * size_of::<Cover>()) as u64)?;
            }
        }
        held.set((out.len() * size_of::<Cover>()) as u64)
    }
}
