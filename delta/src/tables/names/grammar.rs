//! The names of one string table, each against an old one.

use super::places::{Places, unused};
use super::spell::Speller;
use super::tokens::{self, Span, TokenMap};
use super::{NONE, Names, Starts, pair};
use crate::budget::{Budget, Held, Lent};
use crate::code::{Symbols, hash, symbols};
use crate::place::Off;
use crate::recipe::Recipe;
use crate::{Error, error::Result};

/// Longest old name that predicts a new one, in bytes.
const LONGEST: usize = 1 << 16;

/// How a new name relates to the old one at hand.
const SAME: u32 = 0;
const TOKENS: u32 = 1;
const EDIT: u32 = 2;
/// The old one at hand is another.
const SPELL: u32 = 3;
const SKIP: u32 = 4;
const JUMP: u32 = 5;
/// Counted on from the new name before.
const NEXT: u32 = 6;
/// The old one that an interrupted run goes on with.
const BACK: u32 = 7;

/// Series of numbered names that are remembered.
const SERIES: usize = 4;
/// New tokens that are remembered.
const RECENT: usize = 128;

symbols! {
    /// Models of names, afresh for each table. `unsure`: tokens of the old name whose new form is not known, at most
    /// 3. `history`: for each name so far whether it was not as expected, the last one lowest. `step`: 1 plus the last
    /// step of a counted name, at most 6; 0 where the name before was none.
    struct Models {
        follows(14, 1023) {
            /// The name is the expected old one with its tokens replaced. `len`: bytes of that.
            follows: flag by(unsure: u32, history: u32, len: usize)
                [
                    hash(1, unsure | (history & 1) << 2),
                    hash(hash(2, unsure), history & 15),
                    hash(hash(3, unsure), history & 255),
                    hash(4, len.min(63) as u32),
                ];
        }
        kind(10, 255) {
            /// How it relates to the expected one; `history` with this name in it. `none`: there is no series yet.
            kind: tree(3) by(unsure: u32, none: bool, history: u32, step: u32)
                [hash(1, unsure | u32::from(none) << 2), hash(hash(2, history & 7), step)];
        }
        skip(12, 255) {
            /// Old names that are skipped.
            skip: number by(history: u32) [0, history & 7];
        }
        jump(14, 255) {
            /// The old name against the expected one.
            jump: signed by() [0];
        }
        relation(10, 255) {
            /// How it relates to another old name, coded by `kind`.
            relation: tree(2) by(unsure: u32, kind: u32) [hash(1, unsure), hash(2, kind)];
        }
        token(12, 255) {
            /// A token is as expected. `how`: 1 if it stood in the name before, plus 2 if it was learned; `i`: its
            /// number; `len`: bytes of the old one.
            token: flag by(how: u32, i: usize, len: usize)
                [hash(1, how), hash(2, (i as u32).min(7)), hash(3, how | (len as u32) << 2)];
        }
        shift(12, 255) {
            /// A number of a counted name against the expected one. `dot`: it stands behind a dot.
            shift: signed by(dot: bool) [u32::from(dot), 2];
        }
        length(12, 255) {
            /// Bytes of a new token.
            length: number by(old: usize) [old as u32, 255];
        }
        letter(12, 1023) {
            /// A byte of it. `alphabet`: 1 if the old one is of hexadecimal digits, plus 2 if of decimal ones.
            letter: byte by(alphabet: u32) [alphabet];
        }
        count(12, 255) {
            /// The number of a counted name, against one more than the last. `first`: the first byte of the name.
            count: signed by(step: u32, first: u32) [hash(1, step), hash(2, first), hash(hash(3, first), step)];
        }
        back(8, 255) {
            /// Which interrupted run goes on.
            back: tree(3) by(history: u32) [0, history & 7];
        }
        which(8, 255) {
            /// Which series goes on, the latest first.
            which: tree(2) by(step: u32) [0, 1 + step];
        }
        recent(10, 255) {
            /// Which of the new tokens coded before, from 1, counted on from the one behind the token coded before in
            /// this name if there is one (`after`); 0 for none. `old`: bytes of the old token.
            recent: number by(after: bool, old: usize)
                [hash(1, u32::from(after) | u32::from(old > 20) << 1), hash(2, old as u32)];
        }
    }
}

/// A table being coded.
pub struct Coder<'c> {
    m: Lent<'c, Models>,
    old_table: &'c [u8],
    old_at: u32,
    names: &'c mut Names,
    speller: Speller<'c>,
    map: TokenMap,
    spans: Vec<Span>,
    recipe: &'c mut Recipe,
    /// The last step of a counted name.
    step: u32,
    /// The last new name of each series, latest first.
    series: Vec<u32>,
    /// New tokens that were coded, latest last.
    recent: Vec<Vec<u8>>,
}

impl<'c> Coder<'c> {
    /// Before the first name; `old` is the old table and where it stands in its file.
    pub fn new(
        account: &'c Budget,
        old: (&'c [u8], u32),
        names: &'c mut Names,
        recipe: &'c mut Recipe,
    ) -> Self {
        Coder {
            m: account.lend(),
            old_table: old.0,
            old_at: old.1,
            names,
            speller: Speller::new(account),
            map: TokenMap::default(),
            spans: Vec::new(),
            recipe,
            step: 0,
            series: Vec::new(),
            recent: Vec::new(),
        }
    }

    /// Codes all names of a new table of `size` bytes.
    pub fn table<S: Symbols>(
        &mut self,
        s: &mut S,
        size: usize,
        truth: Option<&[u8]>,
        held: &mut Held,
    ) -> Result<()> {
        let true_starts = truth.map(Starts::of).unwrap_or_default();
        let pairs = truth
            .map(|t| pair::pair(self.old_table, &self.names.old, t, &true_starts))
            .unwrap_or_default();
        let count = self.names.old.len();
        self.names.of_old = vec![NONE; count];
        let mut places = Places::default();
        let mut history = 0u32;
        while self.names.table.len() < size {
            let i = self.names.starts.len();
            let known = truth.map_or(&[][..], |t| true_starts.name(t, i));
            let pair = pairs.get(i).copied().unwrap_or(NONE);
            places.expected = unused(places.expected, |j| self.is_used(j)).min(count);
            let expected = places.expected;
            let (mut guess, unsure) = self.predict(expected);
            let follows = pair as usize == expected && known == guess;
            let follows = self.m.follows(s, unsure, history, guess.len(), follows) && expected < count;
            history = history << 1 | u32::from(!follows);
            let mut source = expected;
            let mut relation = SAME;
            if !follows {
                let known_relation = self.relation_of(&places, pair, known);
                let none = self.series.is_empty();
                relation = self.m.kind(s, unsure, none, history, self.step, known_relation);
                if relation == NEXT {
                    guess = self.next(s, known)?;
                } else if relation >= SKIP {
                    source = self.source(s, &places, relation, history, pair)?;
                    let (other, unsure) = self.predict(source);
                    let known_relation = if known == other {
                        SAME
                    } else {
                        self.by_tokens(source, known)
                    };
                    guess = other;
                    relation = self.m.relation(s, unsure, relation, known_relation);
                }
                if relation < SPELL && source >= count {
                    return Err(Error::damaged("a name continues one that is not there"));
                }
            }
            self.name(s, source, relation, guess, known)?;
            if relation != NEXT {
                self.step = 0;
            }
            if relation < SPELL {
                places.go(source, |j| self.is_used(j));
                self.names.of_old[source] = i as u32;
                self.names.source.push(source as u32);
            } else {
                self.names.source.push(NONE);
            }
            self.enter(i);
            if i.is_multiple_of(1024) {
                held.set(self.memory())?;
            }
            if s.exhausted() {
                return Err(Error::damaged("the names end too early"));
            }
        }
        if self.names.table.len() > size {
            return Err(Error::damaged("the names are too long"));
        }
        held.set(self.memory())
    }

    fn memory(&self) -> u64 {
        self.names.memory() + self.recipe.memory() + self.map.memory()
    }

    fn is_used(&self, old: usize) -> bool {
        self.names.of_old.get(old).is_some_and(|&new| new != NONE)
    }

    /// How a name relates to the expected one, on the writing side.
    fn relation_of(&self, places: &Places, pair: u32, known: &[u8]) -> u32 {
        let expected = places.expected;
        match pair {
            NONE if self.series_of(known).is_some() => NEXT,
            NONE => SPELL,
            p if p as usize == expected => self.by_tokens(expected, known),
            p if places.left(|j| self.is_used(j)).any(|j| j == p as usize) => BACK,
            p if p as usize > expected && p as usize - expected < 1 << 12 => SKIP,
            _ => JUMP,
        }
    }

    /// The old name that a new one continues, where it is not the expected one.
    fn source<S: Symbols>(
        &mut self,
        s: &mut S,
        places: &Places,
        relation: u32,
        history: u32,
        pair: u32,
    ) -> Result<usize> {
        let (expected, count) = (places.expected, self.names.old.len());
        let source = if relation == BACK {
            let left: Vec<usize> = places.left(|j| self.is_used(j)).collect();
            let which = left.iter().position(|&j| j == pair as usize).unwrap_or(0);
            let which = self.m.back(s, history, which as u32);
            left.get(which as usize).copied().unwrap_or(usize::MAX)
        } else if relation == SKIP {
            let skip = (pair as usize).wrapping_sub(expected) as u64;
            let skip = self.m.skip(s, history, skip);
            expected.saturating_add(skip.min(1 << 32) as usize)
        } else {
            let jump = self.m.jump(s, i64::from(pair) - expected as i64);
            usize::try_from((expected as i64).saturating_add(jump)).unwrap_or(usize::MAX)
        };
        if source < count {
            Ok(source)
        } else {
            Err(Error::damaged("a name continues one that is not there"))
        }
    }

    /// The series that a name continues.
    fn series_of(&self, name: &[u8]) -> Option<usize> {
        let last = |&i: &u32| self.names.starts.name(&self.names.table, i as usize);
        self.series
            .iter()
            .position(|i| tokens::is_numbered_like(last(i), name))
    }

    /// Remembers the last name if it may begin a series.
    fn enter(&mut self, index: usize) {
        let name = self.names.starts.name(&self.names.table, index);
        if !tokens::ends_in_number(name) {
            return;
        }
        match self.series_of(name) {
            Some(at) => {
                self.series.remove(at);
            }
            None => self.series.truncate(SERIES - 1),
        }
        self.series.insert(0, index as u32);
    }

    /// The last new name of a series, counted on.
    fn next<S: Symbols>(&mut self, s: &mut S, known: &[u8]) -> Result<Vec<u8>> {
        let damaged = Error::damaged("a name counts on from one without a number");
        let which = self.series_of(known).unwrap_or(0) as u32;
        let which = self.m.which(s, self.step, which);
        let Some(&index) = self.series.get(which as usize) else {
            return Err(damaged);
        };
        let last = self.names.starts.name(&self.names.table, index as usize);
        let Some(span) = tokens::number(last) else {
            return Err(damaged);
        };
        let value = tokens::value(last, span);
        let truth = tokens::number(known).map_or(0, |span| tokens::value(known, span));
        let first = u32::from(last[0]);
        let step = self.m.count(s, self.step, first, truth as i64 - value as i64 - 1);
        let number = (value as i64 + 1)
            .checked_add(step)
            .and_then(|n| u64::try_from(n).ok());
        let mut out = Vec::new();
        tokens::renumber(last, span, number.ok_or(damaged)?, &mut out);
        self.step = 1 + step.clamp(-1, 5).unsigned_abs() as u32;
        Ok(out)
    }

    /// The new form of an old name as far as its tokens are known, and how many are not, at most 3.
    fn predict(&mut self, index: usize) -> (Vec<u8>, u32) {
        let mut out = Vec::new();
        if index >= self.names.old.len() {
            return (out, 0);
        }
        let old = self.names.old.name(self.old_table, index);
        if old.len() > LONGEST {
            return (out, 0);
        }
        tokens::find(old, &mut self.spans);
        let mut unsure = 0;
        let new: Vec<_> = self
            .spans
            .iter()
            .map(|&(a, b)| {
                self.map.get(old, (a, b)).unwrap_or_else(|| {
                    unsure += 1;
                    old[a..b].into()
                })
            })
            .collect();
        tokens::replace(old, &self.spans, |i| &new[i], &mut out);
        (out, unsure.min(3))
    }

    /// Whether a name that the prediction misses is coded by its tokens alone.
    fn by_tokens(&self, index: usize, name: &[u8]) -> u32 {
        let old = self.names.old.name(self.old_table, index);
        let (mut spans, mut new, mut out) = (Vec::new(), Vec::new(), Vec::new());
        tokens::find(old, &mut spans);
        tokens::find(name, &mut new);
        if spans.is_empty() || spans.len() != new.len() || old.len() > LONGEST {
            return EDIT;
        }
        tokens::replace(old, &spans, |i| &name[new[i].0..new[i].1], &mut out);
        if out == name { TOKENS } else { EDIT }
    }

    /// Appends one name.
    fn name<S: Symbols>(
        &mut self,
        s: &mut S,
        source: usize,
        relation: u32,
        mut guess: Vec<u8>,
        known: &[u8],
    ) -> Result<()> {
        let first = self.names.table.len();
        if relation == EDIT || relation == SPELL {
            self.speller.spell(s, &guess, known, &mut self.names.table)?;
        } else {
            if relation == TOKENS {
                guess = self.tokens(s, source, known)?;
            }
            self.names.table.extend_from_slice(&guess);
            self.names.table.push(0);
        }
        let end = self.names.table.len();
        let made = &self.names.table[first..end];
        self.names.starts.push(end as u32);
        if relation < SPELL {
            learn(
                &mut self.map,
                self.names.old.name(self.old_table, source),
                &made[..made.len() - 1],
            );
            let (from, to) = self.names.old.place(source);
            let old = &self.old_table[from as usize..to as usize];
            if old.len() == made.len() {
                self.recipe.copy(Off(self.old_at + from), old, made);
                return Ok(());
            }
        }
        self.recipe.literal(made);
        Ok(())
    }

    /// The old name with each of its tokens coded.
    fn tokens<S: Symbols>(&mut self, s: &mut S, source: usize, known: &[u8]) -> Result<Vec<u8>> {
        let old = self.names.old.name(self.old_table, source);
        let (mut spans, counted) = (Vec::new(), tokens::is_counted(old));
        tokens::find(old, &mut spans);
        tokens::find(known, &mut self.spans);
        let mut new: Vec<Vec<u8>> = Vec::with_capacity(spans.len());
        for (i, &(a, b)) in spans.iter().enumerate() {
            let token = &old[a..b];
            let truth = self.spans.get(i).map_or(&[][..], |&(a, b)| &known[a..b]);
            // The same token twice in a name is the same both times.
            let mut twins = spans[..i].iter().filter(|_| !counted);
            let twin = twins.position(|&(c, d)| &old[c..d] == token);
            let learned = self.map.get(old, (a, b));
            let how = u32::from(twin.is_some()) | u32::from(learned.is_some()) << 1;
            let expected = match twin {
                Some(k) => new[k].clone(),
                None => learned.map_or_else(|| token.to_vec(), |new| new.into_owned()),
            };
            let coded = if self.m.token(s, how, i, token.len(), truth == expected) {
                expected
            } else if counted {
                let number = |digits: &[u8]| tokens::value(digits, (0, digits.len())) as i64;
                let dot = tokens::is_behind_dot(old, (a, b));
                let away = number(truth).wrapping_sub(number(&expected));
                let moved = number(&expected).checked_add(self.m.shift(s, dot, away));
                let moved = moved.and_then(|n| u64::try_from(n).ok());
                let damaged = Error::damaged("a name's number is below zero");
                moved.ok_or(damaged)?.to_string().into_bytes()
            } else {
                self.token(s, token, new.last(), truth)?
            };
            new.push(coded);
        }
        let mut out = Vec::new();
        tokens::replace(old, &spans, |i| &new[i], &mut out);
        Ok(out)
    }
}

impl Coder<'_> {
    /// A new token that the map of tokens does not give: that behind the last one, a recent one, or letters.
    fn token<S: Symbols>(
        &mut self,
        s: &mut S,
        old: &[u8],
        before: Option<&Vec<u8>>,
        truth: &[u8],
    ) -> Result<Vec<u8>> {
        let after = before
            .and_then(|b| self.recent.iter().rposition(|t| t == b))
            .map(|i| i + 1);
        let ranks = |k: usize| (after.unwrap_or(0) + k) % self.recent.len().max(1);
        let recent = self.recent.len();
        let rank = (0..recent)
            .find(|&k| self.recent[ranks(k)] == truth)
            .map_or(0, |k| k as u64 + 1);
        let rank = self.m.recent(s, after.is_some(), old.len(), rank) as usize;
        if let Some(k) = rank.checked_sub(1).filter(|&k| k < recent) {
            return Ok(self.recent[ranks(k)].clone());
        }
        let hex = old
            .iter()
            .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        let decimal = old.iter().all(u8::is_ascii_digit);
        let alphabet = u32::from(hex) | u32::from(decimal) << 1;
        let length = self.m.length(s, old.len(), truth.len() as u64);
        if length > tokens::LONGEST as u64 {
            return Err(Error::damaged("a token is too long"));
        }
        let letter = |k| truth.get(k).copied().unwrap_or(0);
        let coded: Vec<u8> = (0..length as usize)
            .map(|k| self.m.letter(s, alphabet, letter(k)))
            .collect();
        if recent == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(coded.clone());
        Ok(coded)
    }
}

/// Learns what the tokens of a name became.
fn learn(map: &mut TokenMap, old: &[u8], new: &[u8]) {
    let (mut was, mut is) = (Vec::new(), Vec::new());
    tokens::find(old, &mut was);
    if was.is_empty() {
        return;
    }
    tokens::find(new, &mut is);
    if was.len() == is.len() {
        for (&was, &is) in was.iter().zip(&is) {
            map.learn((old, was), (new, is));
        }
    }
}
