//! All code of the new file before its references are known, held compactly.

use super::Run;
use crate::cursor::{Cursor, fold, put_varint, unfold};
use crate::place::{Off, Place};

/// All code of the new file, references blanked: what is in no `same` run is in `literals`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextBody {
    /// Runs but the last, packed: distance from the end of the one before in the new and in the old file, length.
    packed: Vec<u8>,
    /// The last one, which may still grow.
    last: Option<Run>,
    /// The one before.
    before: Run,
    count: usize,
    /// Bytes of instructions that no run repeats.
    pub literals: Vec<u8>,
    /// Data between instructions, packed: distance from the one before and class.
    data: Vec<u8>,
    /// Where the last one is.
    data_at: Off,
}

impl TextBody {
    /// Appends a run; runs come by position in the new file.
    pub fn push(&mut self, run: Run) {
        self.flush();
        self.last = Some(run);
    }

    /// Appends a run that may continue the last one, if both are in the unit at `unit_at`.
    pub fn join(&mut self, unit_at: Off, run: Run) {
        if let Some(last) = &mut self.last
            && last.same
            && last.new_at >= unit_at
            && last.new_at + last.len == run.new_at
            && last.old_at + last.len == run.old_at
        {
            last.len += run.len;
            return;
        }
        self.push(run);
    }

    fn flush(&mut self) {
        let Some(run) = self.last.take() else { return };
        let (new_at, old_at) = self.before.ends();
        let old = i64::from(run.old_at) - i64::from(old_at);
        put_varint(&mut self.packed, u64::from(run.new_at.since(new_at)));
        put_varint(&mut self.packed, fold(old));
        put_varint(&mut self.packed, u64::from(run.len) << 1 | u64::from(run.same));
        self.before = run;
        self.count += 1;
    }

    /// Appends the code of units that come later in the file.
    pub fn append(&mut self, later: TextBody) {
        for run in later.runs() {
            self.push(run);
        }
        self.literals.extend_from_slice(&later.literals);
        for (at, class) in later.data() {
            self.mark(at, class);
        }
    }

    /// Notes that what starts at `at` is data of a class, unless that is 0; ascending.
    #[inline]
    pub fn mark(&mut self, at: Off, class: u8) {
        if class > 0 {
            let away = at.since(self.data_at);
            put_varint(&mut self.data, u64::from(away) << 3 | u64::from(class & 7));
            self.data_at = at;
        }
    }

    /// Data between the instructions of units that are not unchanged, by position in the new file: place and class.
    pub fn data(&self) -> impl Iterator<Item = (Off, u8)> + '_ {
        let mut packed = Cursor::new(&self.data);
        let mut at = Off(0);
        std::iter::from_fn(move || {
            let next = packed.varint().ok()?;
            at = at.wrapping_add((next >> 3) as u32);
            Some((at, next as u8 & 7))
        })
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.count + usize::from(self.last.is_some())
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.packed.len() + self.literals.len() + self.data.len()) as u64
    }

    /// The runs, by position in the new file.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        let mut packed = Cursor::new(&self.packed);
        let mut before = Run::default();
        let unpacked = std::iter::from_fn(move || {
            let (new_at, old_at) = before.ends();
            let new = packed.varint().ok()? as u32;
            let old = packed.varint().ok()?;
            let len = packed.varint().ok()?;
            let old = unfold(old);
            before = Run {
                new_at: new_at.wrapping_add(new),
                old_at: Off((i64::from(old_at) + old) as u32),
                len: (len >> 1) as u32,
                same: len & 1 == 1,
            };
            Some(before)
        });
        unpacked.chain(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_come_back(steps in prop::collection::vec((0u32..300, any::<u32>(), 1u32..1 << 20, any::<bool>()), 0..50)) {
            let mut body = TextBody::default();
            let mut runs = Vec::new();
            let mut end = Off(0);
            for (gap, old_at, len, same) in steps {
                let run = Run { new_at: end + gap, old_at: Off(old_at), len, same };
                end = run.new_at + len;
                body.push(run);
                runs.push(run);
            }
            prop_assert_eq!(body.len(), runs.len());
            prop_assert_eq!(body.runs().collect::<Vec<_>>(), runs);
        }
    }

    #[test]
    fn runs_that_continue_each_other_are_one() {
        let run = |new_at, old_at| Run {
            new_at: Off(new_at),
            old_at: Off(old_at),
            len: 4,
            same: true,
        };
        let mut body = TextBody::default();
        body.join(Off(0), run(0, 10));
        body.join(Off(0), run(4, 14));
        body.join(Off(8), run(8, 18));
        assert_eq!(body.len(), 2);
    }
}
