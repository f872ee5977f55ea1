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
    pub whole: bool,
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
    let kind = under.kind.min(15);
    let expected = old.unwrap_or(&[]);
    if old.is_some() {
        let guess = tidy(expected.iter().enumerate().map(|(i, step)| Step {
            end: step.end,
            value: value(i, None),
        }));
        let h = m.history[kind as usize];
        let state = kind | u32::from(under.whole) << 4 | 1 << 5;
        let known = truth.is_some_and(|t| t == guess.as_slice());
        let exact = m.own.exact(s, state, h, under.before, expected.len(), known);
        m.history[kind as usize] = h << 1 | u32::from(!exact);
        if exact {
            return Ok(guess);
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    let (mut at, mut last) = (0u32, -1i32);
    let mut next = 0;
    let mut history = 0u32;
    let mut rise = 0i32;
    loop {
        let known = truth
            .and_then(|t| t.get(steps.len()))
            .copied()
            .unwrap_or_default();
        while expected.get(next).is_some_and(|e| e.end <= at) {
            next += 1;
        }
        let mut index = next;
        let mut guess = expected.get(index).map(|_| value(index, None));
        let begins = match next.checked_sub(1) {
            Some(before) => expected[before].end == at,
            None => at == 0,
        };
        // Inside an old stretch whose value came already, the next one begins early.
        if guess == Some(last) && !begins && index + 1 < expected.len() {
            index += 1;
            guess = Some(value(index, None));
        }
        let has = u32::from(guess.is_some());
        let mut hit = false;
        if let Some(guess) = guess {
            let place = u32::from(index == next) | u32::from(begins) << 1;
            let again = u32::from(guess == last) | u32::from(begins) << 1;
            hit = m.own.hit(s, kind, history, place, again, guess == known.value);
        }
        let now = match guess {
            Some(guess) if hit => guess,
            _ => {
                let away = guess.map_or(0, |g| g.wrapping_sub(last).clamp(-20, 20));
                let by = i64::from(known.value.wrapping_sub(last));
                let by = m.own.value(s, kind, has, away, last, rise, by);
                last.wrapping_add(by as i32)
            }
        };
        if index < expected.len() && (hit || begins) {
            value(index, Some(now));
        }
        rise = now.wrapping_sub(last);
        let end_guess = expected
            .get(index)
            .map(|e| e.end)
            .filter(|&e| e > at)
            .or(under.end.filter(|&e| e > at));
        let mut end_hit = false;
        if let Some(guess) = end_guess {
            let state = kind | u32::from(hit) << 4;
            let which = u32::from(under.end == Some(guess)) | u32::from(index < expected.len()) << 1;
            let known = guess == known.end;
            end_hit = m.own.end_hit(s, kind, state, history, guess - at, which, known);
        }
        let end = match end_guess {
            Some(guess) if end_hit => guess,
            _ => {
                let first = under.starts.partition_point(|&x| x <= at);
                let to = under.starts.binary_search(&known.end).ok();
                let to = to.or((known.end == under.size).then_some(under.starts.len()));
                let odd = to.is_none_or(|to| to < first);
                let room = end_guess.map_or(0, |g| 1 + (g - at).min(30));
                if m.own.odd(s, kind, odd) {
                    let len = m.own.odd_end(s, kind, u64::from(known.end.wrapping_sub(at)));
                    u32::try_from(len)
                        .ok()
                        .and_then(|len| at.checked_add(len))
                        .unwrap_or(0)
                } else {
                    let count = to.unwrap_or(0).wrapping_sub(first) as u64;
                    let count = m.own.end(s, kind, room, rise, count);
                    let index = usize::try_from(count).ok().and_then(|c| c.checked_add(first));
                    match index {
                        Some(i) if i < under.starts.len() => under.starts[i],
                        Some(i) if i == under.starts.len() => under.size,
                        _ => 0,
                    }
                }
            }
        };
        if end <= at || end % under.quantum != 0 || steps.len() >= under.limit || s.exhausted() {
            return Err(Error::DamagedPatch("a table over code makes no sense"));
        }
        steps.push(Step { end, value: now });
        history = history << 2 | u32::from(!hit) << 1 | u32::from(!end_hit);
        (at, last) = (end, now);
        let done = truth.is_some_and(|t| t.len() == steps.len());
        let likely = match under.end {
            Some(e) => u32::from(e == end),
            None => 2 + u32::from(expected.last().is_some_and(|e| e.end == end)),
        };
        if m.own.last(s, kind, likely, history, done) {
            return Ok(steps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;
    use crate::budget::Budget;
    use crate::code::{ModelledReader, ModelledWriter};
    use proptest::prelude::*;

    /// Stretches as the reader gives them: each ends behind the one before.
    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec((1u32..40, -5i32..60), 1..20).prop_map(|all| {
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
            (kind, whole, end) in (0u32..20, any::<bool>(), prop::option::of(1u32..800)),
        ) {
            let expected = old.as_ref().map(|old| tidy(old.iter().map(|s| Step { value: s.value + 1, ..*s })));
            let new = expected.filter(|_| as_expected).unwrap_or(new);
            let starts: Vec<u32> = starts.into_iter().collect();
            let size = new.last().map_or(0, |s| s.end);
            let under = Under { kind, whole, starts: &starts, size, end, quantum: 1, limit: 100, before: 1 };
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
                kind: 2, whole: false, starts: &[4, 8, 20], size: 40, end: Some(32), quantum, limit: 30, before: 0,
            };
            let budget = Budget::unlimited(&Silent);
            let read = code(&mut ModelledReader::new(&stream, &budget), &under, old.as_deref(), [None, None]);
            for steps in read.into_iter().flatten() {
                prop_assert!(steps.windows(2).all(|w| w[0].end < w[1].end));
            }
        }
    }
}
