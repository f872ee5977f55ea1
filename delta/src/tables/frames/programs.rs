//! Call frame instructions of one function: the old ones with their places projected, and what differs.
//!
//! Source of the format: DWARF 5, 6.4.2.

use crate::code::{Model, Symbols, hash};
use crate::elf::encoded::{put_uleb, uleb, uleb_len};
use crate::predict::UnitView;
use crate::tables::landmarks::Landmarks;
use crate::{Error, error::Result};

/// Longest program that is coded by instructions.
const LONGEST: usize = 1 << 16;
/// Longest products of two programs' lengths that are aligned with care.
const ALIGNED: usize = 1 << 20;

/// Most substitutions that are remembered within a program.
const SWAPS: usize = 16;

const SAME_OFFSET: u8 = 0x0e;
const ADVANCE: u8 = 0x40;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Op {
    /// Where it advances to, from the start of the function; `None` if it is no advance.
    place: Option<u32>,
    /// Bytes of the distance, where more than it needs; else 0.
    wide: u8,
    /// Its bytes in the program.
    bytes: (u32, u32),
}

/// How many numbers follow an opcode, and whether a block does; `None` for those that are not modelled.
fn operands(opcode: u8) -> Option<(u32, bool)> {
    Some(match opcode {
        0x00 | 0x0a | 0x0b | 0x2d | 0xc0..=0xff => (0, false),
        0x06..=0x08 | 0x0d | 0x0e | 0x13 | 0x2e | 0x80..=0xbf => (1, false),
        0x05 | 0x09 | 0x0c | 0x11 | 0x12 | 0x14 | 0x15 | 0x2f => (2, false),
        0x0f => (0, true),
        0x10 | 0x16 => (1, true),
        _ => return None,
    })
}

fn width_of(distance: u32) -> u8 {
    match distance {
        0..0x40 => 0,
        0x40..0x100 => 1,
        0x100..0x1_0000 => 2,
        _ => 4,
    }
}

/// Reads a program; `None` where it would not come out again byte for byte. The `nop`s at its end are left
/// out.
fn parse(program: &[u8], factor: u32, ops: &mut Vec<Op>) -> Option<usize> {
    ops.clear();
    let (mut at, mut here, mut end, mut count) = (0usize, 0u32, 0, 0);
    while at < program.len() {
        let from = at;
        let opcode = program[at];
        at += 1;
        let mut op = Op {
            place: None,
            wide: 0,
            bytes: (0, 0),
        };
        let width = match opcode {
            0x40..0x80 => Some(0),
            0x02 => Some(1),
            0x03 => Some(2),
            0x04 => Some(4),
            _ => None,
        };
        if let Some(width) = width {
            let mut distance = u32::from(opcode & 0x3f);
            if width > 0 {
                let field = program.get(at..at + width)?;
                distance = field.iter().rev().fold(0, |d, &b| d << 8 | u32::from(b));
                at += width;
            }
            here = here.checked_add(distance.checked_mul(factor)?)?;
            op.place = Some(here);
            op.wide = if width_of(distance) as usize == width {
                0
            } else {
                width as u8
            };
        } else {
            let (numbers, block) = operands(opcode)?;
            for k in 0..numbers + u32::from(block) {
                let (value, next) = uleb(program, at)?;
                // Signed operands may end in a byte that an unsigned one would do without.
                if (next - at) as u32 != uleb_len(value) {
                    return None;
                }
                at = next;
                if k == numbers {
                    at = at.checked_add(value as usize).filter(|&a| a <= program.len())?;
                }
            }
        }
        op.bytes = (from as u32, at as u32);
        ops.push(op);
        if opcode != 0 {
            (end, count) = (at, ops.len());
        }
    }
    ops.truncate(count);
    Some(end)
}

fn put_advance(out: &mut Vec<u8>, distance: u32, wide: u8) {
    match width_of(distance).max(wide) {
        0 => out.push(ADVANCE | distance as u8),
        1 => out.extend_from_slice(&[0x02, distance as u8]),
        2 => {
            out.push(0x03);
            out.extend_from_slice(&(distance as u16).to_le_bytes());
        }
        _ => {
            out.push(0x04);
            out.extend_from_slice(&distance.to_le_bytes());
        }
    }
}

/// Models of the programs.
#[derive(Debug)]
pub struct ProgramModels {
    whole: Model,
    raw: Model,
    same: Model,
    step: Model,
    opcode: Model,
    operand: Model,
    offset: Model,
    byte: Model,
    walk: Model,
    escape: Model,
    distance: Model,
    length: Model,
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

/// What is known while a program is coded op by op.
#[derive(Clone, Debug, Default)]
struct State {
    /// Place that the next instructions are about.
    here: u32,
    /// Last two opcodes.
    before: (u8, u8),
    /// Offset of the frame from the stack pointer, and its highest value so far.
    offset: u32,
    highest: u32,
    /// First operand of the last instruction of each class.
    last: [u32; 16],
    kept: Vec<u32>,
}

fn class_of(opcode: u8) -> usize {
    match opcode {
        0x80..=0xbf => 15,
        _ => usize::from(opcode & 15),
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
                        let made =
                            out[at..].first() == Some(&SAME_OFFSET) && opcode == u32::from(SAME_OFFSET);
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

/// A program without the `nop`s at its end, and whether it was understood; if not, without zeros at its end.
fn strip<'p>(program: &'p [u8], factor: u32, ops: &mut Vec<Op>) -> (&'p [u8], bool) {
    if let Some(end) = parse(program, factor, ops).filter(|_| program.len() <= LONGEST) {
        return (&program[..end], true);
    }
    ops.clear();
    let zeros = program.iter().rev().take_while(|&&b| b == 0).count();
    (&program[..program.len() - zeros], false)
}

impl State {
    fn note(&mut self, opcode: u8) {
        self.before = (opcode, self.before.0);
    }

    /// Takes note of an instruction that is no advance.
    fn pass(&mut self, bytes: &[u8]) {
        let opcode = bytes[0];
        let first = uleb(bytes, 1).map_or((0, 1), |(v, at)| (v, at));
        self.last[class_of(opcode)] = first.0;
        match opcode {
            0x0a => self.kept.push(self.offset),
            0x0b => self.offset = self.kept.pop().unwrap_or(self.offset),
            SAME_OFFSET => self.offset = first.0,
            0x0c => self.offset = uleb(bytes, first.1).map_or(0, |v| v.0),
            _ => {}
        }
        self.highest = self.highest.max(self.offset);
        self.note(opcode);
    }
}

impl ProgramModels {
    /// Codes one instruction that the guess does not have.
    #[allow(clippy::too_many_arguments)]
    fn fresh<S: Symbols>(
        &mut self,
        s: &mut S,
        landmarks: &Landmarks,
        factor: u32,
        (guess, step): (u32, u32),
        truth: Option<(&Op, &[u8])>,
        state: &mut State,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let damaged = || Error::DamagedPatch("a frame program makes no sense");
        let bytes = truth.map_or(&[][..], |(op, t)| &t[op.bytes.0 as usize..op.bytes.1 as usize]);
        let place = truth.and_then(|(op, _)| op.place);
        let known = if place.is_some() {
            ADVANCE
        } else {
            bytes.first().copied().unwrap_or(0)
        };
        let (b0, b1) = (u32::from(state.before.0), u32::from(state.before.1));
        let at_body = u32::from(state.offset == state.highest);
        let contexts = [
            hash(1, b0 | step << 8),
            hash(hash(2, b0), b1),
            hash(hash(3, b0), guess | step << 9),
            hash(hash(4, b0), at_body | state.last[15] << 1),
        ];
        let opcode = s.byte(&mut self.opcode, &contexts, known);
        if opcode == ADVANCE {
            let wide = truth.map_or(0, |t| t.0.wide);
            return self.advance(s, landmarks, factor, (place, wide), state, out);
        }
        let (numbers, block) = operands(opcode).ok_or_else(damaged)?;
        let from = out.len();
        out.push(opcode);
        let mut at = 1;
        for k in 0..numbers + u32::from(block) {
            let known = uleb(bytes, at);
            at = known.map_or(at, |k| k.1);
            let known = known.map_or(0, |k| k.0);
            let key = u32::from(opcode) | k << 8;
            let is_offset = opcode == SAME_OFFSET || opcode == 0x0c && k == 1;
            let value = if is_offset {
                let contexts = [
                    hash(1, key | b0 << 16),
                    hash(hash(2, key), state.highest - state.offset),
                    hash(hash(3, b1 | b0 << 8), state.offset),
                ];
                let away = i64::from(known) - i64::from(state.offset);
                let away = s.signed(&mut self.offset, &contexts, away);
                u32::try_from(i64::from(state.offset).saturating_add(away)).map_err(|_| damaged())?
            } else {
                let last = state.last[class_of(opcode)];
                let contexts = [
                    hash(1, key),
                    hash(hash(2, key), last),
                    hash(hash(3, key), state.offset),
                    hash(hash(4, key), b0 | last << 8),
                ];
                let value = s.number(&mut self.operand, &contexts, u64::from(known));
                u32::try_from(value).map_err(|_| damaged())?
            };
            put_uleb(out, value, 0);
            if k == numbers {
                let block = bytes.get(at..).unwrap_or_default();
                if value as usize > LONGEST {
                    return Err(damaged());
                }
                let mut before = (0, 0);
                for i in 0..value as usize {
                    let contexts = [1, hash(2, before.0), hash(hash(3, before.0), before.1)];
                    let byte = s.byte(&mut self.byte, &contexts, block.get(i).copied().unwrap_or(0));
                    before = (u32::from(byte), before.0);
                    out.push(byte);
                }
            }
        }
        let bytes = &out[from..];
        state.pass(bytes);
        Ok(())
    }

    /// Codes an advance: to behind an instruction that moves the stack pointer, else by its distance.
    fn advance<S: Symbols>(
        &mut self,
        s: &mut S,
        landmarks: &Landmarks,
        factor: u32,
        (place, wide): (Option<u32>, u8),
        state: &mut State,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let factor = factor.max(1);
        let first = landmarks.from(state.here);
        let here = state.here;
        let reached = |k: usize| landmarks.starts[k + 1];
        let usable = |k: usize| (reached(k) - here).is_multiple_of(factor);
        let mut events = landmarks.events(first);
        let found = place.is_some_and(|p| events.any(|(k, _)| reached(k) == p && usable(k)));
        let form = if wide > 0 { 2 } else { u32::from(!found) };
        let (b0, b1) = (u32::from(state.before.0), u32::from(state.before.1));
        let form = s.tree(&mut self.escape, &[1, hash(2, b0)], 2, form);
        let mut distance = None;
        if form == 0 {
            let mut passed = 0u32;
            let mut iter = landmarks.events(first).peekable();
            while let Some((k, role)) = iter.next() {
                let role = u32::from(role);
                let next = iter.peek().map_or(0, |&(_, r)| u32::from(r));
                let contexts = [
                    hash(1, role | b0 << 8),
                    hash(hash(2, role | b0 << 8), b1),
                    hash(hash(3, role | next << 8), b0),
                    hash(hash(4, role | passed.min(7) << 8), state.highest - state.offset),
                ];
                if s.flag(&mut self.walk, &contexts, Some(reached(k)) == place) {
                    distance = Some((reached(k) - here) / factor);
                    break;
                }
                passed += 1;
                if s.exhausted() {
                    break;
                }
            }
        } else {
            let known = place.map_or(0, |p| (p - here) / factor);
            let distance_coded = s.number(&mut self.distance, &[1, hash(2, b0)], u64::from(known));
            distance = u32::try_from(distance_coded).ok();
        }
        let damaged = || Error::DamagedPatch("a frame program makes no sense");
        let distance = distance.ok_or_else(damaged)?;
        let mut forced = 0;
        if form == 2 {
            forced = s.number(&mut self.length, &[1], u64::from(wide)) as u8;
        }
        put_advance(out, distance, forced);
        let reached = distance.checked_mul(factor).and_then(|d| d.checked_add(here));
        state.here = reached.ok_or_else(damaged)?;
        state.note(ADVANCE);
        Ok(())
    }
}
