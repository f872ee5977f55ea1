//! Call frame instructions of one function: the old ones with their places projected, and what differs.

use super::cfa::{ADVANCE, CFA_OFFSET, LONGEST, Op, put_advance, strip};
use super::fresh::State;
use crate::code::{Model, Symbols, hash};
use crate::predict::UnitView;
use crate::tables::landmarks::Landmarks;
use crate::{Error, error::Result};

/// Longest products of two programs' lengths that are aligned with care.
const ALIGNED: usize = 1 << 20;

/// Most substitutions that are remembered within a program.
const SWAPS: usize = 16;

/// Models of the programs.
#[derive(Debug)]
pub struct ProgramModels {
    whole: Model,
    raw: Model,
    same: Model,
    step: Model,
    pub(super) opcode: Model,
    pub(super) operand: Model,
    pub(super) offset: Model,
    pub(super) byte: Model,
    pub(super) walk: Model,
    pub(super) escape: Model,
    pub(super) distance: Model,
    pub(super) length: Model,
    history: u32,
}

impl Default for ProgramModels {
    fn default() -> Self {
        ProgramModels {
            whole: Model::new(3, 12, 255),
            raw: Model::new(1, 6, 255),
            same: Model::new(4, 14, 255),
            step: Model::new(3, 14, 255),
            opcode: Model::new(4, 16, 255),
            operand: Model::new(4, 16, 255),
            offset: Model::new(3, 14, 255),
            byte: Model::new(3, 16, 255),
            walk: Model::new(4, 16, 255),
            escape: Model::new(2, 10, 255),
            distance: Model::new(2, 14, 255),
            length: Model::new(1, 10, 255),
            history: 0,
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
    old_ops: Vec<Op>,
    guess: Vec<Op>,
    new_ops: Vec<Op>,
    guessed: Vec<u8>,
}

impl Programs {
    /// Codes the program of a unit, without `nop`s at its end, and appends it to `out`; gives the length of
    /// the old program, also without.
    #[allow(clippy::too_many_arguments)]
    pub fn code<S: Symbols>(
        &mut self,
        s: &mut S,
        view: &UnitView,
        landmarks: &mut Landmarks,
        factor: u32,
        old: Option<&[u8]>,
        truth: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Option<u32>> {
        let truth = truth.map(|t| strip(t, factor, &mut self.new_ops));
        self.guessed.clear();
        let mut raw_old = None;
        if let Some(old) = old.filter(|o| o.len() <= LONGEST) {
            let len = strip(old, factor, &mut self.old_ops).0.len();
            self.predict(view, old, factor);
            raw_old = Some(&old[..len]);
        } else {
            self.guess.clear();
        }
        let old_len = raw_old.map(|o| o.len() as u32);
        let h = self.m.history;
        if let Some(old) = raw_old {
            let whole = u32::from(view.unit.whole);
            let hit = truth.is_some_and(|t| t.0 == self.guessed);
            let contexts = [
                hash(1, whole | (h & 7) << 1),
                hash(2, whole | (self.guess.len().min(63) as u32) << 1),
                hash(3, whole | (h & 0xff) << 1),
            ];
            let hit = s.flag(&mut self.m.whole, &contexts, hit);
            self.m.history = h << 1 | u32::from(!hit);
            if hit {
                out.extend_from_slice(&self.guessed);
                return Ok(old_len);
            }
            if old != self.guessed {
                let hit = truth.is_some_and(|t| t.0 == old);
                if s.flag(&mut self.m.whole, &[hash(4, whole), 5, 6], hit) {
                    out.extend_from_slice(old);
                    return Ok(old_len);
                }
            }
        }
        if s.flag(&mut self.m.raw, &[0], truth.is_some_and(|t| !t.1)) {
            self.raw(s, truth.map_or(&[], |t| t.0), out)?;
            return Ok(old_len);
        }
        landmarks.fill(view);
        let from = out.len();
        let old = raw_old.unwrap_or_default();
        let steps = truth.map(|t| self.plan(t.0, old));
        self.steps(s, landmarks, factor, old, truth.map(|t| t.0), steps, out)?;
        if out.len() - from > LONGEST {
            return Err(Error::DamagedPatch("a frame program is too long"));
        }
        Ok(old_len)
    }

    /// Codes a program as bytes.
    pub fn raw<S: Symbols>(&mut self, s: &mut S, truth: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let len = s.number(&mut self.m.length, &[0], truth.len() as u64);
        if len > LONGEST as u64 {
            return Err(Error::DamagedPatch("a frame program is too long"));
        }
        let mut before = (0, 0);
        for i in 0..len as usize {
            let contexts = [1, hash(2, before.0), hash(hash(3, before.0), before.1)];
            let byte = s.byte(&mut self.m.byte, &contexts, truth.get(i).copied().unwrap_or(0));
            before = (u32::from(byte), before.0);
            out.push(byte);
        }
        Ok(())
    }

    /// Makes the guess: the old instructions, their places projected.
    fn predict(&mut self, view: &UnitView, old: &[u8], factor: u32) {
        self.guess.clear();
        let mut here = 0;
        for op in &self.old_ops {
            let mut op = *op;
            if let Some(place) = op.place {
                match view.project(place).filter(|&p| p > here) {
                    Some(p) => here = p - (p - here) % factor.max(1),
                    None => continue,
                }
                op.place = Some(here);
            }
            self.guess.push(op);
        }
        here = 0;
        for op in &self.guess {
            if let Some(place) = op.place {
                put_advance(&mut self.guessed, (place - here) / factor.max(1), op.wide);
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

    #[allow(clippy::too_many_arguments)]
    fn steps<S: Symbols>(
        &mut self,
        s: &mut S,
        landmarks: &Landmarks,
        factor: u32,
        old: &[u8],
        truth: Option<&[u8]>,
        plan: Option<Vec<u32>>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        const SAME: u32 = 4;
        let damaged = || Error::DamagedPatch("a frame program makes no sense");
        let mut state = State::default();
        let mut plan = plan.into_iter().flatten();
        let mut swaps: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut swapped = Vec::new();
        let (mut i, mut j, mut history) = (0, 0, 0u32);
        let from = out.len();
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
                let dead = u32::from(guess.place.is_some_and(|p| p <= state.here));
                let contexts = [
                    hash(1, opcode | dead << 9),
                    hash(2, history & 15 | dead << 4),
                    hash(hash(3, opcode), u32::from(state.before.0) | dead << 9),
                    hash(hash(4, opcode), history & 3 | u32::from(state.before.0) << 2),
                ];
                let same = s.flag(&mut self.m.same, &contexts, known == Some(SAME));
                history = history << 1 | u32::from(!same);
                if same {
                    match guess.place {
                        Some(place) => {
                            let distance = place.checked_sub(state.here).ok_or_else(damaged)?;
                            put_advance(out, distance / factor.max(1), guess.wide);
                            state.here = place;
                            state.note(ADVANCE);
                        }
                        None => {
                            out.extend_from_slice(&swapped);
                            state.pass(&swapped);
                        }
                    }
                    (i, j) = (i + 1, j + 1);
                    step = Some(SAME);
                }
            }
            if step.is_none() {
                let contexts = [
                    hash(1, opcode),
                    hash(hash(2, opcode), u32::from(state.before.0)),
                    hash(hash(3, u32::from(state.before.0)), history & 7),
                ];
                let step = s.tree(&mut self.m.step, &contexts, 2, known.unwrap_or(0));
                match step {
                    END => return Ok(()),
                    SKIP => i += 1,
                    _ => {
                        let op = truth.and_then(|t| Some((self.new_ops.get(j)?, t)));
                        let m = &mut self.m;
                        let at = out.len();
                        m.fresh(s, landmarks, factor, (opcode, step), op, &mut state, out)?;
                        let made = out[at..].first() == Some(&CFA_OFFSET) && opcode == u32::from(CFA_OFFSET);
                        if let Some(guess) = guess.filter(|_| made && step == REPLACE) {
                            let was = &old[guess.bytes.0 as usize..guess.bytes.1 as usize];
                            swaps.retain(|(from, _)| from != was);
                            swaps.truncate(SWAPS - 1);
                            swaps.insert(0, (was.to_vec(), out[at..].to_vec()));
                        }
                        j += 1;
                        i += usize::from(step == REPLACE);
                    }
                }
                if i > self.guess.len() || s.exhausted() {
                    return Err(damaged());
                }
            }
            if out.len() - from > LONGEST {
                return Err(Error::DamagedPatch("a frame program is too long"));
            }
        }
    }
}
