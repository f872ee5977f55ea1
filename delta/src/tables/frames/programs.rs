//! Call frame instructions of one function: the old ones with their places projected, and what differs.

use super::cfa::{ADVANCE, CFA_OFFSET, Distances, LONGEST, Op, put_advance, strip};
use super::fresh::{State, Stops};
use crate::budget::Budget;
use crate::code::{Symbols, hash, symbols};
use crate::predict::UnitView;
use crate::tables::landmarks::Body;
use crate::{Error, error::Result};

/// Longest products of two programs' lengths that are aligned with care.
const ALIGNED: usize = 1 << 20;

/// Most substitutions that are remembered within a program.
const SWAPS: usize = 16;

symbols! {
    /// Models of programs. `before`: the last two opcodes, the last one first, 0x40 for any advance.
    pub struct ProgramModels {
        whole(12, 255) {
            /// It is the projected old one. `h`: for each program so far whether it was not, the last one lowest;
            /// `count`: instructions of that.
            whole: flag by(unchanged: bool, h: u32, count: usize)
                [
                    hash(1, u32::from(unchanged) | (h & 7) << 1),
                    hash(2, u32::from(unchanged) | (count.min(63) as u32) << 1),
                    hash(3, u32::from(unchanged) | (h & 0xff) << 1),
                ];
            /// It is the old one byte for byte.
            old: flag by(unchanged: bool) [hash(4, u32::from(unchanged)), 5, 6];
        }
        raw(6, 255) {
            /// It goes as bytes.
            raw: flag by() [0];
        }
        same(14, 255) {
            /// The next instruction is the guessed one, of `opcode`. `dead`: the guess is an advance to a place that is
            /// passed; `history`: for each guess so far whether it was not taken, the last one lowest.
            same: flag by(opcode: u32, dead: bool, history: u32, before: (u8, u8))
                [
                    hash(1, opcode | u32::from(dead) << 9),
                    hash(2, history & 15 | u32::from(dead) << 4),
                    hash(hash(3, opcode), u32::from(before.0) | u32::from(dead) << 9),
                    hash(hash(4, opcode), history & 3 | u32::from(before.0) << 2),
                ];
        }
        step(14, 255) {
            /// 0 replace, 1 insert, 2 skip, 3 end. `opcode`: 256 without a guess.
            step: tree(2) by(opcode: u32, history: u32, before: (u8, u8))
                [
                    hash(1, opcode),
                    hash(hash(2, opcode), u32::from(before.0)),
                    hash(hash(3, u32::from(before.0)), history & 7),
                ];
        }
        opcode(16, 255) {
            /// A new instruction. `guess`: the opcode at hand; `at_body`: the frame is as large as it was at most;
            /// `last`: operand of the last instruction 0x80 to 0xbf.
            opcode: byte by(before: (u8, u8), step: u32, guess: u32, at_body: bool, last: u32)
                [
                    hash(1, u32::from(before.0) | step << 8),
                    hash(hash(2, before.0.into()), before.1.into()),
                    hash(hash(3, before.0.into()), guess | step << 9),
                    hash(hash(4, before.0.into()), u32::from(at_body) | last << 1),
                ];
        }
        operand(16, 255) {
            /// An operand that is no frame offset. `key`: the opcode plus 256 times the operand's number; `last`: first
            /// operand of the last instruction of its class; `offset`: that of the frame.
            operand: number by(key: u32, last: u32, offset: u32, before: (u8, u8))
                [
                    hash(1, key),
                    hash(hash(2, key), last),
                    hash(hash(3, key), offset),
                    hash(hash(4, key), u32::from(before.0) | last << 8),
                ];
        }
        offset(14, 255) {
            /// A frame offset against the current one. `below`: that from the highest so far.
            offset: signed by(key: u32, below: u32, offset: u32, before: (u8, u8))
                [
                    hash(1, key | u32::from(before.0) << 16),
                    hash(hash(2, key), below),
                    hash(hash(3, u32::from(before.1) | u32::from(before.0) << 8), offset),
                ];
        }
        byte(16, 255) {
            /// A byte of a block, or of a program that goes as bytes. `last`: the two before, the last one first.
            byte: byte by(last: (u32, u32)) [1, hash(2, last.0), hash(hash(3, last.0), last.1)];
        }
        walk(16, 255) {
            /// An advance goes behind this landmark. `role`, `next`: its role and that of the next one, or 0; `passed`:
            /// those before it; `below`: the current frame offset from the highest.
            walk: flag by(role: u32, next: u32, passed: u32, below: u32, before: (u8, u8))
                [
                    hash(1, role | u32::from(before.0) << 8),
                    hash(hash(2, role | u32::from(before.0) << 8), before.1.into()),
                    hash(hash(3, role | next << 8), before.0.into()),
                    hash(hash(4, role | passed.min(7) << 8), below),
                ];
        }
        escape(10, 255) {
            /// How an advance is coded: 0 to behind a landmark, 1 by its distance, 2 by its distance and width.
            escape: tree(2) by(before: (u8, u8)) [1, hash(2, before.0.into())];
        }
        distance(14, 255) {
            /// The distance of an advance.
            distance: number by(before: (u8, u8)) [1, hash(2, before.0.into())];
        }
        length(10, 255) {
            /// Bytes of a program that goes as such.
            length: number by() [0];
            /// Width of an advance.
            width: number by() [1];
        }
    }
}

const REPLACE: u32 = 0;
const INSERT: u32 = 1;
const SKIP: u32 = 2;
const END: u32 = 3;

/// Codes the programs of one section.
#[derive(Debug, Default)]
pub struct Programs {
    m: ProgramModels,
    /// For each program so far whether it was not the projected old one, the last one lowest.
    history: u32,
    old_ops: Vec<Op>,
    guess: Vec<Op>,
    new_ops: Vec<Op>,
    guessed: Vec<u8>,
}

impl Programs {
    /// Exchanges the models with those that the account keeps.
    pub fn exchange(&mut self, account: &Budget) {
        std::mem::swap(&mut self.m, &mut account.lend());
    }

    /// Codes the program of a unit, without `nop`s at its end, and appends it to `out`; gives the length of
    /// the old program, also without.
    pub fn code<S: Symbols>(
        &mut self,
        s: &mut S,
        body: &mut Body,
        distances: Distances,
        old: Option<&[u8]>,
        truth: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Option<u32>> {
        let Body { view, landmarks } = body;
        let truth = truth.map(|t| strip(t, distances, &mut self.new_ops));
        self.guessed.clear();
        let mut raw_old = None;
        if let Some(old) = old.filter(|o| o.len() <= LONGEST) {
            let len = strip(old, distances, &mut self.old_ops).0.len();
            self.predict(view, old, distances);
            raw_old = Some(&old[..len]);
        } else {
            self.guess.clear();
        }
        let old_len = raw_old.map(|o| o.len() as u32);
        let h = self.history;
        if let Some(old) = raw_old {
            let unchanged = view.unit.unchanged;
            let hit = truth.is_some_and(|t| t.0 == self.guessed);
            let hit = self.m.whole(s, unchanged, h, self.guess.len(), hit);
            self.history = h << 1 | u32::from(!hit);
            if hit {
                out.extend_from_slice(&self.guessed);
                return Ok(old_len);
            }
            if old != self.guessed {
                let hit = truth.is_some_and(|t| t.0 == old);
                if self.m.old(s, unchanged, hit) {
                    out.extend_from_slice(old);
                    return Ok(old_len);
                }
            }
        }
        if self.m.raw(s, truth.is_some_and(|t| !t.1)) {
            self.raw(s, truth.map_or(&[], |t| t.0), out)?;
            return Ok(old_len);
        }
        landmarks.fill(view);
        let from = out.len();
        let old = raw_old.unwrap_or_default();
        let steps = truth.map(|t| self.plan(t.0, old));
        let known = truth.map(|t| t.0).zip(steps);
        let stops = Stops { landmarks, distances };
        self.steps(s, stops, old, known, out)?;
        if out.len() - from > LONGEST {
            return Err(Error::damaged("a frame program is too long"));
        }
        Ok(old_len)
    }

    /// Codes a program as bytes.
    pub fn raw<S: Symbols>(&mut self, s: &mut S, truth: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let len = self.m.length(s, truth.len() as u64);
        if len > LONGEST as u64 {
            return Err(Error::damaged("a frame program is too long"));
        }
        let mut before = (0, 0);
        for i in 0..len as usize {
            let byte = self.m.byte(s, before, truth.get(i).copied().unwrap_or(0));
            before = (u32::from(byte), before.0);
            out.push(byte);
        }
        Ok(())
    }

    /// Makes the guess: the old instructions, their places projected.
    fn predict(&mut self, view: &UnitView, old: &[u8], distances: Distances) {
        let factor = distances.factor.max(1);
        self.guess.clear();
        let mut here = 0;
        for op in &self.old_ops {
            let mut op = *op;
            if let Some(place) = op.place {
                match view.project(place).filter(|&p| p > here) {
                    Some(p) => here = p - (p - here) % factor,
                    None => continue,
                }
                op.place = Some(here);
            }
            self.guess.push(op);
        }
        here = 0;
        for op in &self.guess {
            if let Some(place) = op.place {
                put_advance(
                    &mut self.guessed,
                    distances.numbers,
                    (place - here) / factor,
                    op.wide,
                );
                here = place;
            } else {
                self.guessed
                    .extend_from_slice(&old[op.bytes.0 as usize..op.bytes.1 as usize]);
            }
        }
    }

    /// The cheapest steps from the guess to the new program: what to do with each guessed instruction.
    fn plan(&self, new: &[u8], old: &[u8]) -> Vec<u32> {
        const SAME: u32 = 4;
        let (n, m) = (self.guess.len(), self.new_ops.len());
        let bytes = |op: &Op, of: &[u8]| of[op.bytes.0 as usize..op.bytes.1 as usize].to_vec();
        let pair = |i: usize, j: usize| {
            let (a, b) = (&self.guess[i], &self.new_ops[j]);
            match (a.place, b.place) {
                (Some(p), Some(q)) if p == q && a.wide == b.wide => (0, SAME),
                (Some(_), Some(_)) => (2, REPLACE),
                (None, None) => {
                    let (x, y) = (bytes(a, old), bytes(b, new));
                    if x == y {
                        (0, SAME)
                    } else if x[0] == y[0] {
                        (2, REPLACE)
                    } else {
                        (9, REPLACE)
                    }
                }
                _ => (9, REPLACE),
            }
        };
        let mut steps = Vec::new();
        if n * m > ALIGNED || n == 0 {
            steps.resize(m, INSERT);
            steps.push(END);
            return steps;
        }
        // Costs from each pair of positions to the ends.
        let mut cost = vec![0u32; (n + 1) * (m + 1)];
        let at = |i: usize, j: usize| i * (m + 1) + j;
        for i in (0..=n).rev() {
            for j in (0..=m).rev() {
                cost[at(i, j)] = match (i < n, j < m) {
                    (_, false) => 0,
                    (false, true) => cost[at(i, j + 1)] + 3,
                    (true, true) => (cost[at(i + 1, j + 1)] + pair(i, j).0)
                        .min(cost[at(i, j + 1)] + 3)
                        .min(cost[at(i + 1, j)] + 1),
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while j < m {
            let here = cost[at(i, j)];
            if i < n && here == cost[at(i + 1, j + 1)] + pair(i, j).0 {
                steps.push(pair(i, j).1);
                (i, j) = (i + 1, j + 1);
            } else if i < n && here == cost[at(i + 1, j)] + 1 {
                steps.push(SKIP);
                i += 1;
            } else {
                steps.push(INSERT);
                j += 1;
            }
        }
        steps.push(END);
        steps
    }

    /// Codes a program instruction by instruction; what is `known` of it on the writing side are its bytes and the steps
    /// that lead to them.
    fn steps<S: Symbols>(
        &mut self,
        s: &mut S,
        stops: Stops,
        old: &[u8],
        known: Option<(&[u8], Vec<u32>)>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        const SAME: u32 = 4;
        let damaged = || Error::damaged("a frame program makes no sense");
        let (truth, plan) = known.unzip();
        let from = out.len();
        let mut state = State::new(out);
        let mut plan = plan.into_iter().flatten();
        let mut swaps: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut swapped = Vec::new();
        let (mut i, mut j, mut history) = (0, 0, 0u32);
        loop {
            let mut known = plan.next();
            let guess = self.guess.get(i).copied();
            // A frame that grew or shrank did so throughout.
            swapped.clear();
            if let Some(guess) = guess.filter(|g| g.place.is_none()) {
                let bytes = &old[guess.bytes.0 as usize..guess.bytes.1 as usize];
                let swap = swaps.iter().find(|(from, _)| from == bytes);
                swapped.extend_from_slice(swap.map_or(bytes, |(_, to)| to));
                let new = truth
                    .zip(self.new_ops.get(j))
                    .filter(|(_, op)| op.place.is_none());
                let hit = new.is_some_and(|(t, op)| t[op.bytes.0 as usize..op.bytes.1 as usize] == swapped);
                known = match known {
                    Some(SAME | REPLACE) => Some(if hit { SAME } else { REPLACE }),
                    other => other,
                };
            }
            let opcode = guess.map_or(256, |g| match g.place {
                Some(_) => u32::from(ADVANCE),
                None => u32::from(old[g.bytes.0 as usize]),
            });
            let mut step = None;
            if let Some(guess) = guess {
                let dead = guess.place.is_some_and(|p| p <= state.here);
                let known = known == Some(SAME);
                let same = self.m.same(s, opcode, dead, history, state.before, known);
                history = history << 1 | u32::from(!same);
                if same {
                    match guess.place {
                        Some(place) => {
                            let distance = place.checked_sub(state.here).ok_or_else(damaged)?;
                            let distance = distance / stops.distances.factor.max(1);
                            put_advance(state.out, stops.distances.numbers, distance, guess.wide);
                            state.here = place;
                            state.note(ADVANCE);
                        }
                        None => {
                            let from = state.out.len();
                            state.out.extend_from_slice(&swapped);
                            state.pass(from);
                        }
                    }
                    (i, j) = (i + 1, j + 1);
                    step = Some(SAME);
                }
            }
            if step.is_none() {
                let step = self.m.step(s, opcode, history, state.before, known.unwrap_or(0));
                match step {
                    END => return Ok(()),
                    SKIP => i += 1,
                    _ => {
                        let op = truth.and_then(|t| Some((self.new_ops.get(j)?, t)));
                        let m = &mut self.m;
                        let at = state.out.len();
                        m.fresh(s, stops, (opcode, step), op, &mut state)?;
                        let made =
                            state.out[at..].first() == Some(&CFA_OFFSET) && opcode == u32::from(CFA_OFFSET);
                        if let Some(guess) = guess.filter(|_| made && step == REPLACE) {
                            let was = &old[guess.bytes.0 as usize..guess.bytes.1 as usize];
                            swaps.retain(|(from, _)| from != was);
                            swaps.truncate(SWAPS - 1);
                            swaps.insert(0, (was.to_vec(), state.out[at..].to_vec()));
                        }
                        j += 1;
                        i += usize::from(step == REPLACE);
                    }
                }
                if i > self.guess.len() || s.exhausted() {
                    return Err(damaged());
                }
            }
            if state.out.len() - from > LONGEST {
                return Err(Error::damaged("a frame program is too long"));
            }
        }
    }
}
