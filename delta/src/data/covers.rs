//! The cover stream of one region: uncovered length, source, covered length, in turn.
//!
//! Most covers go on where the last one ended, or come back from a short copy of something far away to where the file
//! went on before.

use super::Cover;
use crate::budget::{Budget, Held, Lent};
use crate::code::{Symbols, hash, symbols};
use crate::place::{Off, Place, Span};
use crate::{Error, error::Result};

symbols! {
    /// Models of the cover stream.
    struct CoverModels {
        kind(12, 255) {
            /// 0: a cover to the end from here as expected; 1: literal to the end; 2: a cover as expected; 3: from where
            /// the last one ended; 4: from home; 5: from near home; 6, 7: from anywhere. `before`: kind of the last cover
            /// of the region, and eight times that of the one before. `last`: bit length of the last one's length, 0 at
            /// the start of a region.
            kind: tree(3) by(before: u32, last: u32) [hash(1, before), hash(2, last | (before & 7) << 8)];
        }
        gap(14, 255) {
            /// Bytes before the cover.
            gap: number by(kind: u32, last: u32) [hash(1, kind), hash(2, last | kind << 8)];
        }
        source(16, 255) {
            /// Old offset against home, or of a cover from anywhere against the expected one.
            source: signed by(kind: u32, gap: u64, last: u32)
                [hash(1, gap.min(16) as u32 | kind << 8), hash(2, last | kind << 8)];
        }
        length(14, 255) {
            /// Bytes of the cover.
            length: number by(kind: u32, last: u32) [hash(1, kind), hash(2, last | kind << 8)];
        }
    }
}

/// Kinds of covers that go on; see `kind`.
const EXPECTED: u32 = 2;
const INSERTED: u32 = 3;
const HOME: u32 = 4;
const NEAR_HOME: u32 = 5;
const ANYWHERE: u32 = 6;

/// Bytes of a cover that make its end home, wherever it came from.
const LONG: u32 = 192;
/// How far from home is near, for the writer.
const NEAR: u64 = 1 << 12;

/// Where a region has come to in the old file.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// Behind the last cover.
    pub here: i64,
    /// Behind the last one that was not a short copy from elsewhere.
    pub home: i64,
    is_home: bool,
}

impl Lines {
    /// At the start of a region.
    pub fn new(hint: i64) -> Self {
        Lines {
            here: hint,
            home: hint,
            is_home: true,
        }
    }

    /// How a cover from `old_at`, behind `gap` bytes without one, is told: kind and source.
    fn tell(&self, old_at: i64, gap: u64) -> (u32, i64) {
        let from_expected = old_at - self.here - gap as i64;
        let from_home = old_at - self.home;
        let is_near = from_home.unsigned_abs() < NEAR.min(from_expected.unsigned_abs());
        match () {
            () if from_expected == 0 => (EXPECTED, 0),
            () if old_at == self.here => (INSERTED, 0),
            () if from_home == 0 => (HOME, 0),
            () if is_near => (NEAR_HOME, from_home),
            () => (ANYWHERE, from_expected),
        }
    }

    /// Where a cover comes from that is told so.
    fn find(&self, kind: u32, gap: u64, source: i64) -> i64 {
        let expected = self.here.saturating_add_unsigned(gap);
        match kind {
            EXPECTED => expected,
            INSERTED => self.here,
            HOME => self.home,
            NEAR_HOME => self.home.saturating_add(source),
            _ => expected.saturating_add(source),
        }
    }

    /// Goes past a cover of this kind.
    fn pass(&mut self, kind: u32, old_at: i64, len: u32) {
        self.here = old_at + i64::from(len);
        self.is_home &= kind < HOME;
        self.is_home |= matches!(kind, HOME | NEAR_HOME) || len >= LONG;
        if self.is_home {
            self.home = self.here;
        }
    }

    /// Goes past a cover, behind `gap` bytes without one.
    pub fn go_past(&mut self, old_at: i64, gap: u64, len: u32) {
        self.pass(self.tell(old_at, gap).0, old_at, len);
    }

    /// Whether this is home.
    pub fn are_home(&self) -> bool {
        self.is_home
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
        let mut lines = Lines::new(i64::from(hint));
        let (mut before, mut last) = (0u32, 0u32);
        let mut index = 0;
        while cursor < end {
            let t = truth.get(index);
            let known = t.copied().unwrap_or_default();
            let gap = t.map_or(0, |t| u64::from(t.new_at.since(cursor)));
            let (kind, source) = lines.tell(i64::from(known.old_at), gap);
            let kind = match t {
                Some(t) if kind == EXPECTED && gap == 0 && t.len == end - cursor => 0,
                None => 1,
                _ => kind,
            };
            let kind = m.kind(s, before, last, kind);
            if kind == 1 {
                break;
            }
            let (mut from, mut old_at, mut length) = (u64::from(cursor), lines.here, u64::from(end - cursor));
            if kind != 0 {
                let gap = m.gap(s, kind, last, gap);
                from = from.saturating_add(gap);
                let source = match kind {
                    NEAR_HOME.. => m.source(s, kind, gap, last, source),
                    _ => 0,
                };
                old_at = lines.find(kind, gap, source);
                length = m.length(s, kind, last, u64::from(known.len));
            }
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
            before = kind | (before & 7) << 3;
            last = 32 - cover.len.leading_zeros();
            cursor = Off(to as u32);
            lines.pass(kind, old_at, cover.len);
            out.push(cover);
            index += 1;
            if index % CHECKED == 0 {
                held.set((out.len() * size_of::<Cover>()) as u64)?;
            }
        }
        held.set((out.len() * size_of::<Cover>()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;
    use crate::code::{ModelledReader, ModelledWriter};
    use proptest::prelude::*;

    const OLD: u32 = 1 << 20;

    fn code<S: Symbols>(s: &mut S, len: u32, truth: &[Cover]) -> Vec<Cover> {
        let budget = Budget::unlimited(&Silent);
        let mut coder = CoverCoder::new(OLD, &budget);
        let region = Span::new(Off(0), len);
        coder
            .region(s, region, Off(0), truth, &mut budget.held())
            .unwrap();
        coder.covers.clone()
    }

    /// Tells covers, reads them again, and says what that took.
    fn round_trip(len: u32, covers: &[Cover]) -> usize {
        let mut writer = ModelledWriter::default();
        code(&mut writer, len, covers);
        let stream = writer.finish();
        let budget = Budget::unlimited(&Silent);
        assert_eq!(code(&mut ModelledReader::new(&stream, &budget), len, &[]), covers);
        stream.len()
    }

    /// Covers one behind the other: gap, old place and length of each.
    fn laid_out(rows: &[(u32, u32, u32)]) -> (u32, Vec<Cover>) {
        let mut at = 0;
        let cover = |&(gap, old_at, len): &(u32, u32, u32)| {
            let new_at = Off(at + gap);
            at += gap + len;
            let old_at = Off(old_at);
            Cover { new_at, old_at, len }
        };
        let covers = rows.iter().map(cover).collect();
        (at + 5, covers)
    }

    proptest! {
        #[test]
        fn covers_come_out_as_they_went_in(rows in prop::collection::vec((0..40u32, 0..OLD / 2, 1..400u32, 0..6u32), 0..60)) {
            let (mut lines, mut told) = (Lines::new(0), Vec::new());
            for (gap, far, len, way) in rows {
                let near = i64::from(far % 90) - 45;
                let old_at = match way {
                    0 => lines.here + i64::from(gap),
                    1 => lines.here,
                    2 => lines.home,
                    3 => lines.home + near,
                    _ => i64::from(far),
                };
                let old_at = old_at.clamp(0, i64::from(OLD / 2));
                lines.go_past(old_at, u64::from(gap), len);
                told.push((gap, old_at as u32, len));
            }
            let (len, covers) = laid_out(&told);
            round_trip(len, &covers);
        }
    }

    #[test]
    fn coming_back_from_a_short_copy_takes_little() {
        // Records inserted in a list: each is copied from elsewhere, and the list goes on where it was.
        let (mut back, mut astray) = (Vec::new(), Vec::new());
        for i in 0..200u32 {
            let (home, far) = (i * 1000, i * 7919 % 300_000 + 400_000);
            back.extend([(0, home, 1000), (0, far, 50)]);
            let anywhere = (i * i).wrapping_mul(0x9E37_79B1) >> 22;
            astray.extend([(0, home + anywhere, 1000), (0, far, 50)]);
        }
        let [back, astray] = [back, astray].map(|rows| laid_out(&rows));
        let (back, astray) = (round_trip(back.0, &back.1), round_trip(astray.0, &astray.1));
        assert!(
            back + 150 < astray,
            "{back} bytes, and {astray} where nothing says how far"
        );
    }
}
