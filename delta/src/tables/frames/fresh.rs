//! A call frame instruction that the old program does not have.

use super::cfa::{ADVANCE, CFA_OFFSET, Distances, LONGEST, Op, operands, put_advance};
use super::programs::ProgramModels;
use crate::code::Symbols;
use crate::elf::encoded::{put_uleb, uleb};
use crate::tables::landmarks::Landmarks;
use crate::{Error, error::Result};

/// Where the instructions of a program may stand: behind those of a unit, at multiples of a factor.
#[derive(Clone, Copy)]
pub struct Stops<'p> {
    /// What stands out in the unit.
    pub landmarks: &'p Landmarks,
    /// How they are written: in units of the code alignment factor.
    pub distances: Distances,
}

/// A program as far as it is coded, op by op.
#[derive(Debug)]
pub struct State<'o> {
    /// Its bytes, behind what was there.
    pub out: &'o mut Vec<u8>,
    /// Place that the next instructions are about.
    pub here: u32,
    /// Last two opcodes.
    pub before: (u8, u8),
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

impl State<'_> {
    /// At the start of a program.
    pub fn new(out: &mut Vec<u8>) -> State<'_> {
        State {
            out,
            here: 0,
            before: (0, 0),
            offset: 0,
            highest: 0,
            last: [0; 16],
            kept: Vec::new(),
        }
    }

    /// Takes note of an opcode.
    pub fn note(&mut self, opcode: u8) {
        self.before = (opcode, self.before.0);
    }

    /// Takes note of an instruction that is no advance, which stands from a place of the bytes on.
    pub fn pass(&mut self, from: usize) {
        let bytes = &self.out[from..];
        let opcode = bytes[0];
        let first = uleb(bytes, 1).map_or((0, 1), |(v, at)| (v, at));
        self.last[class_of(opcode)] = first.0;
        match opcode {
            0x0a => self.kept.push(self.offset),
            0x0b => self.offset = self.kept.pop().unwrap_or(self.offset),
            CFA_OFFSET => self.offset = first.0,
            0x0c => self.offset = uleb(bytes, first.1).map_or(0, |v| v.0),
            _ => {}
        }
        self.highest = self.highest.max(self.offset);
        self.note(opcode);
    }
}

impl ProgramModels {
    /// Codes one instruction that the guess does not have.
    pub fn fresh<S: Symbols>(
        &mut self,
        s: &mut S,
        stops: Stops,
        (guess, step): (u32, u32),
        truth: Option<(&Op, &[u8])>,
        state: &mut State,
    ) -> Result<()> {
        let damaged = || Error::damaged("a frame program makes no sense");
        let bytes = truth.map_or(&[][..], |(op, t)| &t[op.bytes.0 as usize..op.bytes.1 as usize]);
        let place = truth.and_then(|(op, _)| op.place);
        let known = if place.is_some() {
            ADVANCE
        } else {
            bytes.first().copied().unwrap_or(0)
        };
        let before = state.before;
        let at_body = state.offset == state.highest;
        let opcode = self.opcode(s, before, step, guess, at_body, state.last[15], known);
        if opcode == ADVANCE {
            let wide = truth.map_or(0, |t| t.0.wide);
            return self.advance(s, stops, (place, wide), state);
        }
        let (numbers, block) = operands(opcode).ok_or_else(damaged)?;
        let from = state.out.len();
        state.out.push(opcode);
        let mut at = 1;
        for k in 0..numbers + u32::from(block) {
            let known = uleb(bytes, at);
            at = known.map_or(at, |k| k.1);
            let known = known.map_or(0, |k| k.0);
            let key = u32::from(opcode) | k << 8;
            let is_offset = opcode == CFA_OFFSET || opcode == 0x0c && k == 1;
            let value = if is_offset {
                let (below, away) = (
                    state.highest - state.offset,
                    i64::from(known) - i64::from(state.offset),
                );
                let away = self.offset(s, key, below, state.offset, before, away);
                u32::try_from(i64::from(state.offset).saturating_add(away)).map_err(|_| damaged())?
            } else {
                let last = state.last[class_of(opcode)];
                let value = self.operand(s, key, last, state.offset, before, u64::from(known));
                u32::try_from(value).map_err(|_| damaged())?
            };
            put_uleb(state.out, value, 0);
            if k == numbers {
                let block = bytes.get(at..).unwrap_or_default();
                if value as usize > LONGEST {
                    return Err(damaged());
                }
                let mut last = (0, 0);
                for i in 0..value as usize {
                    let byte = self.byte(s, last, block.get(i).copied().unwrap_or(0));
                    last = (u32::from(byte), last.0);
                    state.out.push(byte);
                }
            }
        }
        state.pass(from);
        Ok(())
    }

    /// Codes an advance: to behind an instruction that moves the stack pointer, else by its distance.
    fn advance<S: Symbols>(
        &mut self,
        s: &mut S,
        stops: Stops,
        (place, wide): (Option<u32>, u8),
        state: &mut State,
    ) -> Result<()> {
        let (landmarks, factor) = (stops.landmarks, stops.distances.factor.max(1));
        let first = landmarks.from(state.here);
        let here = state.here;
        let reached = |k: usize| landmarks.starts[k + 1];
        let usable = |k: usize| (reached(k) - here).is_multiple_of(factor);
        let mut events = landmarks.events(first);
        let found = place.is_some_and(|p| events.any(|(k, _)| reached(k) == p && usable(k)));
        let form = if wide > 0 { 2 } else { u32::from(!found) };
        let before = state.before;
        let form = self.escape(s, before, form);
        let mut distance = None;
        if form == 0 {
            let mut passed = 0u32;
            let mut iter = landmarks.events(first).peekable();
            while let Some((k, role)) = iter.next() {
                let role = u32::from(role);
                let next = iter.peek().map_or(0, |&(_, r)| u32::from(r));
                let (below, found) = (state.highest - state.offset, Some(reached(k)) == place);
                if self.walk(s, role, next, passed, below, before, found) {
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
            let distance_coded = self.distance(s, before, u64::from(known));
            distance = u32::try_from(distance_coded).ok();
        }
        let damaged = || Error::damaged("a frame program makes no sense");
        let distance = distance.ok_or_else(damaged)?;
        let mut forced = 0;
        if form == 2 {
            forced = self.width(s, u64::from(wide)) as u8;
        }
        put_advance(state.out, stops.distances.numbers, distance, forced);
        let reached = distance.checked_mul(factor).and_then(|d| d.checked_add(here));
        state.here = reached.ok_or_else(damaged)?;
        state.note(ADVANCE);
        Ok(())
    }
}
