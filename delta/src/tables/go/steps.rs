//! The grammar of a table over code: the old one with its positions and values projected, and what differs.

use super::reader::Step;
use crate::code::{Symbols, hash, symbols};
use crate::{Error, error::Result};

symbols! {
    /// Tables over code. `kind`: which of the function's tables, at most 15. `h`: two bits for each stretch so far, the
    /// last one lowest: 2 if its value was not the guess, plus 1 if its end was not.
    struct StretchModels {
        exact(14, 255) {
            /// The table is the old one, its ends and values moved. `state`: `kind`, plus 16 if the code is the old one,
            /// plus 32; `missed`: for each table of the kind whether it was not, the last one lowest; `before`: the same
            /// of the tables of this function; `count`: stretches of the old one.
            exact: flag by(state: u32, missed: u32, before: u32, count: usize)
                [
                    hash(1, state),
                    hash(hash(2, state), missed & 0xff),
                    hash(hash(3, state), before),
                    hash(hash(4, state), (count as u32).min(40)),
                ];
        }
        hit(14, 255) {
            /// The value is the guess. `place`: 1 if the old stretch is the first one that ends behind this place, plus 2
            /// if that begins here; `again`: 1 if the guess is the value before, plus 2 as in `place`.
            hit: flag by(kind: u32, h: u32, place: u32, again: u32)
                [
                    hash(1, kind | (h & 3) << 4),
                    hash(hash(2, kind), h & 0xff),
                    hash(hash(3, kind), place | (h & 3) << 2),
                    hash(hash(4, kind), again | (h & 15) << 2),
                ];
        }
        value(18, 255) {
            /// By how much it is above the one before (`last`). `guessed`: 1 if there is a guess, `away`: by how much
            /// that is above `last`, from -20 to 20 (0 without one); `rise`: by how much `last` was above the one before.
            value: signed by(kind: u32, guessed: u32, away: i32, last: i32, rise: i32)
                [
                    hash(1, kind | guessed << 4),
                    hash(hash(2, kind), rise.clamp(-60, 60) as u32),
                    hash(hash(3, kind), away as u32),
                    hash(hash(4, kind), last as u32),
                    hash(hash(hash(5, kind), last as u32), rise as u32),
                ];
        }
        end_hit(14, 255) {
            /// The end is the guess. `state`: `kind`, plus 16 if the value was the guess; `len`: length of the stretch if
            /// it is; `which`: 1 if the guess is the end of the function's first table, plus 2 if there is an old stretch.
            end_hit: flag by(kind: u32, state: u32, h: u32, len: u32, which: u32)
                [
                    hash(1, state),
                    hash(hash(2, state), h & 0xff),
                    hash(hash(3, state), len.min(64)),
                    hash(hash(4, kind), which),
                ];
        }
        odd(8, 255) {
            /// The end is no start of an instruction and not that of the function.
            odd: flag by(kind: u32) [kind, 16];
        }
        end(18, 255) {
            /// The length of the stretch then.
            odd_end: number by(kind: u32) [hash(1, kind), 2, 3];
            /// The instruction that it ends at, from the first one behind its start; one behind the last is the
            /// function's end. `room`: one more than the length by the guess, at most 31; 0 without one; `rise`: by how
            /// much this value is above the one before.
            end: number by(kind: u32, room: u32, rise: i32)
                [
                    hash(4, kind),
                    hash(hash(5, kind), room),
                    hash(hash(6, kind), rise.clamp(-60, 60) as u32),
                ];
        }
        more(12, 255) {
            /// It was the last stretch. `likely`: 1 if it ends where the function's first table does, else 0; for the
            /// first table 3 if it ends where the old one does, else 2.
            last: flag by(kind: u32, likely: u32, h: u32)
                [hash(1, likely), hash(hash(2, likely), kind), hash(hash(3, likely), h & 3)];
        }
    }
}

/// Models of tables over code, and how those of each kind went.
#[derive(Debug, Default)]
pub struct StepModels {
    own: StretchModels,
    history: [u32; 16],
}

impl StepModels {
    /// Whether the last table of a kind was not as expected.
    pub fn missed(&self, kind: u32) -> bool {
        self.history[kind.min(15) as usize] & 1 != 0
    }
}

/// What is known of the code under a table.
#[derive(Clone, Copy, Debug)]
pub struct Under<'u> {
    /// Which of the function's tables it is.
    pub kind: u32,
    /// Whether the code is the old one.
    pub unchanged: bool,
    /// Starts of the instructions, if there are any.
    pub starts: &'u [u32],
    /// Length of the code.
    pub size: u32,
    /// Where another table of the function ended.
    pub end: Option<u32>,
    /// Smallest instruction.
    pub quantum: u32,
    /// Most stretches that it may have.
    pub limit: usize,
    /// Whether the tables before were as expected.
    pub before: u32,
}

/// Old stretches with their ends projected.
pub type Expected<'e> = &'e [Step];

/// Cleans projected stretches up: ascending ends, no value twice in a row.
fn tidy(steps: impl Iterator<Item = Step>) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::new();
    for step in steps {
        let end = out.last().map_or(0, |s| s.end);
        match out.last_mut() {
            _ if step.end <= end => {}
            Some(last) if last.value == step.value => last.end = step.end,
            _ => out.push(step),
        }
    }
    out
}

/// Codes a table. `value` gives what an old stretch's value should be now, by its index, and learns what it
/// is.
pub fn code_steps<S: Symbols>(
    s: &mut S,
    m: &mut StepModels,
    under: &Under,
    old: Option<Expected>,
    value: &mut dyn FnMut(usize, Option<i32>) -> i32,
    truth: Option<&[Step]>,
) -> Result<Vec<Step>> {
    if let Some(expected) = old
        && let Some(guess) = exact(s, m, under, expected, value, truth)
    {
        return Ok(guess);
    }
    let mut telling = Telling {
        m: &mut m.own,
        under,
        kind: under.kind.min(15),
        expected: old.unwrap_or(&[]),
        next: 0,
        at: 0,
        last: -1,
        rise: 0,
        history: 0,
    };
    let mut steps: Vec<Step> = Vec::new();
    loop {
        let known = truth.and_then(|t| t.get(steps.len()));
        let known = known.copied().unwrap_or_default();
        let (step, hits) = telling.step(s, value, known);
        let Step { end, .. } = step;
        let odd = end < telling.at || end % under.quantum != 0;
        if odd || steps.len() >= under.limit || s.exhausted() {
            return Err(Error::damaged("a table over code makes no sense"));
        }
        steps.push(step);
        telling.pass(step, hits);
        let done = truth.is_some_and(|t| t.len() == steps.len());
        if telling.ends(s, end, done) {
            return Ok(steps);
        }
    }
}

/// Tells whether a table is what the old one should be now; it, if so.
fn exact<S: Symbols>(
    s: &mut S,
    m: &mut StepModels,
    under: &Under,
    expected: Expected,
    value: &mut dyn FnMut(usize, Option<i32>) -> i32,
    truth: Option<&[Step]>,
) -> Option<Vec<Step>> {
    let kind = under.kind.min(15);
    let guess = tidy(expected.iter().enumerate().map(|(i, step)| Step {
        end: step.end,
        value: value(i, None),
    }));
    let h = m.history[kind as usize];
    let state = kind | u32::from(under.unchanged) << 4 | 1 << 5;
    let known = truth.is_some_and(|t| t == guess.as_slice());
    let exact = m.own.exact(s, state, h, under.before, expected.len(), known);
    m.history[kind as usize] = h << 1 | u32::from(!exact);
    exact.then_some(guess)
}

/// A table while its stretches are coded one after the other.
struct Telling<'t> {
    m: &'t mut StretchModels,
    under: &'t Under<'t>,
    kind: u32,
    /// Old stretches, and the first that ends behind what was coded.
    expected: Expected<'t>,
    next: usize,
    /// Where the last stretch ended, its value, and by how much that was above the one before.
    at: u32,
    last: i32,
    rise: i32,
    /// For each stretch so far two bits: its value was not the expected one, nor was its end; the last one lowest.
    history: u32,
}

/// The old stretch that a new one goes by.
struct Partner {
    index: usize,
    /// What its value should be now.
    guess: Option<i32>,
    /// It begins where the new one does.
    begins: bool,
    /// It is the next one.
    is_next: bool,
}

impl Telling<'_> {
    /// Codes a stretch; tells whether its value and its end were the expected ones.
    fn step<S: Symbols>(
        &mut self,
        s: &mut S,
        value: &mut dyn FnMut(usize, Option<i32>) -> i32,
        known: Step,
    ) -> (Step, [bool; 2]) {
        let partner = self.partner(value);
        let (now, hit) = self.value(s, &partner, known.value);
        let old = self.expected.get(partner.index);
        if old.is_some() && (hit || partner.begins) {
            value(partner.index, Some(now));
        }
        self.rise = now.wrapping_sub(self.last);
        let ahead = |&end: &u32| end > self.at;
        let guess = old.map(|e| e.end).filter(ahead);
        let guess = guess.or(self.under.end.filter(ahead));
        let is_old = u32::from(old.is_some());
        let mut end_hit = None;
        if let Some(guess) = guess {
            let state = self.kind | u32::from(hit) << 4;
            let which = u32::from(self.under.end == Some(guess)) | is_old << 1;
            let (len, known) = (guess - self.at, guess == known.end);
            let hit = (self.m).end_hit(s, self.kind, state, self.history, len, which, known);
            end_hit = hit.then_some(guess);
        }
        let end = match end_hit {
            Some(end) => end,
            None => self.end(s, guess, known.end),
        };
        (Step { end, value: now }, [hit, end_hit.is_some()])
    }

    /// Finds the old stretch to go by.
    fn partner(&mut self, value: &mut dyn FnMut(usize, Option<i32>) -> i32) -> Partner {
        let expected = self.expected;
        while expected.get(self.next).is_some_and(|e| e.end <= self.at) {
            self.next += 1;
        }
        let mut index = self.next;
        let mut guess = expected.get(index).map(|_| value(index, None));
        let begins = match index.checked_sub(1) {
            Some(before) => expected[before].end == self.at,
            None => self.at == 0,
        };
        // Inside an old stretch whose value came already, the next one begins early.
        if guess == Some(self.last) && !begins && index + 1 < expected.len() {
            index += 1;
            guess = Some(value(index, None));
        }
        Partner {
            index,
            guess,
            begins,
            is_next: index == self.next,
        }
    }

    /// Codes a value, and whether it is the expected one.
    fn value<S: Symbols>(&mut self, s: &mut S, partner: &Partner, known: i32) -> (i32, bool) {
        let (kind, last, guess) = (self.kind, self.last, partner.guess);
        if let Some(guess) = guess {
            let begins = u32::from(partner.begins) << 1;
            let place = u32::from(partner.is_next) | begins;
            let again = u32::from(guess == last) | begins;
            if (self.m).hit(s, kind, self.history, place, again, guess == known) {
                return (guess, true);
            }
        }
        let has = u32::from(guess.is_some());
        let away = guess.map_or(0, |g| g.wrapping_sub(last).clamp(-20, 20));
        let by = i64::from(known.wrapping_sub(last));
        let by = (self.m).value(s, kind, has, away, last, self.rise, by);
        (last.wrapping_add(by as i32), false)
    }

    /// Codes an end that is not the expected one; 0 where there is none.
    fn end<S: Symbols>(&mut self, s: &mut S, guess: Option<u32>, known: u32) -> u32 {
        let (under, at) = (self.under, self.at);
        let first = under.starts.partition_point(|&x| x <= at);
        let to = under.starts.binary_search(&known).ok();
        let to = to.or((known == under.size).then_some(under.starts.len()));
        let odd = to.is_none_or(|to| to < first);
        if self.m.odd(s, self.kind, odd) {
            let len = self.m.odd_end(s, self.kind, u64::from(known.wrapping_sub(at)));
            let len = u32::try_from(len).ok();
            return len.and_then(|len| at.checked_add(len)).unwrap_or(0);
        }
        let room = guess.map_or(0, |g| 1 + (g - at).min(30));
        let count = to.unwrap_or(0).wrapping_sub(first) as u64;
        let count = self.m.end(s, self.kind, room, self.rise, count);
        let index = usize::try_from(count).ok().and_then(|c| c.checked_add(first));
        match index {
            Some(i) if i < under.starts.len() => under.starts[i],
            Some(i) if i == under.starts.len() => under.size,
            _ => 0,
        }
    }

    /// Goes on behind a stretch.
    fn pass(&mut self, step: Step, [hit, end_hit]: [bool; 2]) {
        self.history = self.history << 2 | u32::from(!hit) << 1 | u32::from(!end_hit);
        (self.at, self.last) = (step.end, step.value);
    }

    /// Codes whether the last stretch was the last one of the table.
    fn ends<S: Symbols>(&mut self, s: &mut S, end: u32, done: bool) -> bool {
        let likely = match self.under.end {
            Some(e) => u32::from(e == end),
            None => 2 + u32::from(self.expected.last().is_some_and(|e| e.end == end)),
        };
        self.m.last(s, self.kind, likely, self.history, done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;
    use crate::budget::Budget;
    use crate::code::{ModelledReader, ModelledWriter};
    use proptest::prelude::*;

    /// Stretches as the reader gives them: none ends before the one before.
    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec((0u32..40, -5i32..60), 1..20).prop_map(|all| {
            let mut end = 0;
            let step = |(len, value)| {
                end += len;
                Step { end, value }
            };
            all.into_iter().map(step).collect()
        })
    }

    /// Codes two tables, one after the other; each value is one above the old one.
    fn code<S: Symbols>(
        s: &mut S,
        under: &Under,
        old: Option<Expected>,
        truth: [Option<&[Step]>; 2],
    ) -> Result<[Vec<Step>; 2]> {
        let mut m = StepModels::default();
        let mut value = |i: usize, _: Option<i32>| old.map_or(0, |o| o[i].value + 1);
        let first = code_steps(s, &mut m, under, old, &mut value, truth[0])?;
        let second = code_steps(s, &mut m, under, None, &mut value, truth[1])?;
        Ok([first, second])
    }

    proptest! {
        #[test]
        fn any_table_comes_back(
            (old, new) in (prop::option::of(steps()), steps()),
            as_expected: bool,
            starts in prop::collection::btree_set(0u32..800, 0..60),
            (kind, unchanged, end) in (0u32..20, any::<bool>(), prop::option::of(1u32..800)),
        ) {
            let expected = old.as_ref().map(|old| tidy(old.iter().map(|s| Step { value: s.value + 1, ..*s })));
            // No table is empty; one whose every stretch is leaves nothing to expect.
            let new = expected.filter(|e| as_expected && !e.is_empty()).unwrap_or(new);
            let starts: Vec<u32> = starts.into_iter().collect();
            let size = new.last().map_or(0, |s| s.end);
            let under = Under { kind, unchanged, starts: &starts, size, end, quantum: 1, limit: 100, before: 1 };
            let budget = Budget::unlimited(&Silent);
            let mut writer = ModelledWriter::default();
            let written = code(&mut writer, &under, old.as_deref(), [Some(&new), Some(&new)]).unwrap();
            prop_assert_eq!(&written, &[new.clone(), new]);
            let stream = writer.finish();
            let read = code(&mut ModelledReader::new(&stream, &budget), &under, old.as_deref(), [None, None]);
            prop_assert_eq!(read.unwrap(), written);
        }

        #[test]
        fn any_stream_ends_within_the_limit(
            old in prop::option::of(steps()),
            stream in prop::collection::vec(any::<u8>(), 0..60),
            quantum in prop::sample::select(vec![1u32, 4]),
        ) {
            let under = Under {
                kind: 2, unchanged: false, starts: &[4, 8, 20], size: 40, end: Some(32), quantum, limit: 30, before: 0,
            };
            let budget = Budget::unlimited(&Silent);
            let read = code(&mut ModelledReader::new(&stream, &budget), &under, old.as_deref(), [None, None]);
            for steps in read.into_iter().flatten() {
                prop_assert!(steps.windows(2).all(|w| w[0].end <= w[1].end));
            }
        }
    }
}
