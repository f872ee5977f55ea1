//! The grammar of a table over code: the old one with its positions and values projected, and what differs.

use super::reader::Step;
use crate::code::{Model, Symbols, hash};
use crate::{Error, error::Result};

/// Models of tables over code.
#[derive(Debug)]
pub struct StepModels {
    exact: Model,
    hit: Model,
    value: Model,
    end_hit: Model,
    end: Model,
    odd: Model,
    more: Model,
    history: [u32; 16],
}

impl Default for StepModels {
    fn default() -> Self {
        StepModels {
            exact: Model::new(4, 14, 255),
            hit: Model::new(4, 14, 255),
            value: Model::new(3, 18, 255),
            end_hit: Model::new(4, 14, 255),
            end: Model::new(3, 18, 255),
            odd: Model::new(2, 8, 255),
            more: Model::new(3, 12, 255),
            history: [0; 16],
        }
    }
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
    let whole = u32::from(under.whole) | u32::from(old.is_some()) << 1;
    if old.is_some() {
        let guess = tidy(expected.iter().enumerate().map(|(i, step)| Step {
            end: step.end,
            value: value(i, None),
        }));
        let h = m.history[kind as usize];
        let contexts = [
            hash(1, kind | whole << 4),
            hash(hash(2, kind | whole << 4), h & 0xff),
            hash(hash(3, kind | whole << 4), under.before),
            hash(hash(4, kind | whole << 4), (expected.len() as u32).min(40)),
        ];
        let exact = s.flag(
            &mut m.exact,
            &contexts,
            truth.is_some_and(|t| t == guess.as_slice()),
        );
        m.history[kind as usize] = h << 1 | u32::from(!exact);
        if exact {
            return Ok(guess);
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    let (mut at, mut last) = (0u32, -1i32);
    let mut next = 0;
    let mut history = 0u32;
    let mut delta = 0i32;
    loop {
        let known = truth.and_then(|t| t.get(steps.len())).copied().unwrap_or_default();
        while expected.get(next).is_some_and(|e| e.end <= at) {
            next += 1;
        }
        let mut index = next;
        let mut guess = expected.get(index).map(|_| value(index, None));
        if guess == Some(last) && !steps.is_empty() && index + 1 < expected.len() {
            index += 1;
            guess = Some(value(index, None));
        }
        let has = u32::from(guess.is_some());
        let mut hit = false;
        if let Some(guess) = guess {
            let contexts = [
                hash(1, kind | (history & 3) << 4),
                hash(hash(2, kind), history & 0xff),
                hash(hash(3, kind), u32::from(index == next) | (history & 3) << 1),
                hash(hash(4, kind), u32::from(guess == last)),
            ];
            hit = s.flag(&mut m.hit, &contexts, guess == known.value);
        }
        let now = match guess {
            Some(guess) if hit => guess,
            _ => {
                let away = guess.map_or(0, |g| g.wrapping_sub(last).clamp(-20, 20)) as u32;
                let contexts = [
                    hash(1, kind | has << 4),
                    hash(hash(2, kind), delta.clamp(-60, 60) as u32),
                    hash(hash(3, kind), away),
                ];
                let by = s.signed(&mut m.value, &contexts, i64::from(known.value.wrapping_sub(last)));
                last.wrapping_add(by as i32)
            }
        };
        if index < expected.len() {
            value(index, Some(now));
        }
        delta = now.wrapping_sub(last);
        let end_guess = expected.get(index).map(|e| e.end).filter(|&e| e > at).or(under.end.filter(|&e| e > at));
        let mut end_hit = false;
        if let Some(guess) = end_guess {
            let contexts = [
                hash(1, kind | u32::from(hit) << 4),
                hash(hash(2, kind | u32::from(hit) << 4), history & 0xff),
                hash(hash(3, kind | u32::from(hit) << 4), (guess - at).min(64)),
                hash(hash(4, kind), u32::from(under.end == Some(guess)) | u32::from(index < expected.len()) << 1),
            ];
            end_hit = s.flag(&mut m.end_hit, &contexts, guess == known.end);
        }
        let end = match end_guess {
            Some(guess) if end_hit => guess,
            _ => {
                let first = under.starts.partition_point(|&x| x <= at);
                let to = under.starts.binary_search(&known.end).ok();
                let to = to.or((known.end == under.size).then_some(under.starts.len()));
                let odd = to.is_none_or(|to| to < first);
                let room = end_guess.map_or(0, |g| 1 + (g - at).min(30));
                if s.flag(&mut m.odd, &[kind, 16], odd) {
                    let contexts = [hash(1, kind), 2, 3];
                    let len = s.number(&mut m.end, &contexts, u64::from(known.end.wrapping_sub(at)));
                    u32::try_from(len).ok().and_then(|len| at.checked_add(len)).unwrap_or(0)
                } else {
                    let contexts = [
                        hash(4, kind),
                        hash(hash(5, kind), room),
                        hash(hash(6, kind), delta.clamp(-60, 60) as u32),
                    ];
                    let count = s.number(&mut m.end, &contexts, to.unwrap_or(0).wrapping_sub(first) as u64);
                    let index = usize::try_from(count).ok().and_then(|c| c.checked_add(first));
                    match index {
                        Some(i) if i < under.starts.len() => under.starts[i],
                        Some(i) if i == under.starts.len() => under.size,
                        _ => 0,
                    }
                }
            }
        };
        if end <= at || end % under.quantum != 0 || s.exhausted() {
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
        let contexts = [hash(1, likely), hash(hash(2, likely), kind), hash(hash(3, likely), history & 3)];
        if s.flag(&mut m.more, &contexts, done) {
            return Ok(steps);
        }
    }
}
