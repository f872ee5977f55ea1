//! The edit of one unit: repeat, replace, insert, or go on elsewhere, instruction by instruction.

use super::history::History;
use super::literal::{LiteralModels, Surroundings, code_instruction};
use super::marks::Marks;
use super::recall::Recall;
use super::{Listing, PlanRun, Run, TextBody};
use crate::budget::{Budget, Keep};
use crate::code::{Symbols, digest, hash, symbols};
use crate::file_view::FileView;
use crate::layout::{CodeMap, NewUnit};
use crate::machine::{Machine, Scanner};
use crate::place::{Off, UnitId};
use crate::{Error, error::Result};

/// What to do at an instruction that the old code does not simply continue.
const REPLACE: u32 = 0;
const INSERT: u32 = 1;
const GO_NEAR: u32 = 2;
const GO_FAR: u32 = 3;

/// How far ahead an inserted instruction is looked for in the mapped unit.
const HINT_REACH: usize = 16;

symbols! {
    /// What is done at each instruction of a unit. `h`: the last sixteen decisions, two bits each, the last one lowest:
    /// 0 repeated, 1 replaced, 2 inserted or gone on near, 3 gone on far. `before`: the instructions before.
    struct OpModels {
        same(18, 255) {
            /// The instruction at the cursor is repeated.
            same: flag by(h: u32, here: &Here, before: &History)
                [
                    hash(1, h & 0xff),
                    hash(2, h & 0xffff),
                    hash(hash(3, h & 0xf), here.head),
                    hash(hash(4, h & 0xff), before.heads[0]),
                    hash(5, u32::from(here.far) | (h & 0xffff) << 1),
                    hash(6, here.look),
                    hash(hash(7, here.look), before.full[0]),
                ];
        }
        kind(16, 255) {
            /// What else is done: 0 replace, 1 insert, 2 go on near, 3 go on far. `there`: 0 if there is an instruction
            /// at the cursor, else 1. `room`: bytes that are left of the unit.
            kind: tree(2) by(h: u32, there: u32, room: usize, here: &Here, before: &History)
                [
                    hash(1, h & 0xf | there << 8),
                    hash(2, h & 0xff | there << 8),
                    hash(3, before.heads[0]),
                    hash(hash(4, h & 0xf), (room as u32).min(8) | there << 8),
                    hash(hash(5, here.look), there),
                    hash(hash(6, here.look), before.heads[0]),
                ];
        }
        near(16, 255) {
            /// Where to go in the mapped unit, counted from the hint. `from_far`: 0 if the cursor is in the mapped unit,
            /// else 1; `followed`: instructions that inserted ones were taken for since, `since`: instructions of the
            /// new unit since, both at most 15.
            near: signed by(h: u32, from_far: u32, followed: u32, since: u32, before: &History)
                [
                    hash(1, from_far),
                    hash(2, h & 0xff),
                    hash(3, from_far | followed << 1 | since << 5),
                    hash(4, from_far | since << 1),
                    hash(hash(5, before.heads[0]), from_far),
                ];
        }
        far_unit(18, 255) {
            /// The unit to go to, counted from the last one gone to.
            far_unit: signed by(h: u32) [1, hash(2, h & 0xf)];
        }
        far_at(18, 255) {
            /// The instruction there, counted from the last one gone to if it is the same unit (`again`).
            far_at: signed by(h: u32, again: bool)
                [hash(1, u32::from(again)), hash(2, u32::from(again) | (h & 0xf) << 1)];
        }
    }
}

/// The instruction at the cursor, as far as contexts go by it; all zero if there is none.
#[derive(Clone, Copy, Default)]
struct Here {
    /// Hash of its first byte and its length.
    head: u32,
    /// Digest of its bytes.
    look: u32,
    /// It is not in the mapped unit.
    far: bool,
}

/// The models of edits and of literals.
#[derive(Debug, Default)]
pub struct TextModels {
    ops: OpModels,
    literals: LiteralModels,
}

impl Keep for TextModels {
    fn memory(&self) -> u64 {
        self.ops.memory() + self.literals.memory()
    }
}

/// The writing side's knowledge of a unit.
#[derive(Clone, Copy, Debug)]
pub struct Truth<'a> {
    /// The new unit.
    pub listing: &'a Listing,
    /// Aligned stretches, ascending.
    pub plan: &'a [PlanRun],
}

/// Codes units one after the other.
pub struct TextCoder<'a> {
    machine: Machine,
    old: &'a FileView<'a>,
    map: &'a CodeMap,
    near: Listing,
    far: Listing,
    marks: Marks,
    last_far: (UnitId, u32),
    recall: Recall<'a>,
}

impl<'a> TextCoder<'a> {
    /// At the first unit.
    pub fn new(machine: Machine, old: &'a FileView<'a>, map: &'a CodeMap, account: &'a Budget) -> Self {
        TextCoder {
            machine,
            old,
            map,
            near: Listing::new(machine),
            far: Listing::new(machine),
            marks: Marks::default(),
            last_far: (UnitId::of(0), 0),
            recall: Recall::new(machine, account),
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        let listings = self.near.memory() + self.far.memory();
        self.recall.memory() + listings + self.marks.memory()
    }

    /// Turns the far listing to an instruction of a unit; false if there is no such instruction.
    fn load_far(&mut self, unit: UnitId, index: usize) -> Result<bool> {
        let found = self.map.units.get(unit.index()).copied();
        let bounds = found.ok_or(Error::damaged("it copies from a function that is not there"))?;
        let far = &self.far;
        if far.unit != Some(unit)
            || !(far.first + self.machine.lead_in().min(index)..far.first + far.len()).contains(&index)
        {
            let lead = self.machine.lead_in();
            let first = index.saturating_sub(lead);
            let machine = self.machine.in_mode(bounds.other_mode);
            let place = self.marks.offset(machine, self.old, (unit, bounds), first)?;
            let Some(offset) = place else { return Ok(false) };
            self.far.open_at(self.machine, unit, bounds, first, offset);
        }
        self.far.reach(self.old, index - self.far.first)
    }

    /// Codes one unit into `body`.
    pub fn code<S: Symbols, L: Symbols>(
        &mut self,
        (ops, literals): (&mut S, &mut L),
        m: &mut TextModels,
        unit: &NewUnit,
        truth: Option<Truth>,
        body: &mut TextBody,
    ) -> Result<()> {
        if unit.unchanged {
            let source = unit
                .source
                .ok_or(Error::damaged("an unchanged function continues none"))?;
            let source = self.map.units[source.index()];
            body.push(Run {
                new_at: unit.at,
                old_at: source.at,
                len: unit.size,
                same: true,
            });
            return Ok(());
        }
        let (recalls, remembers) = (
            literals.is_modelled(),
            literals.is_modelled() || ops.is_modelled(),
        );
        let mut edit = self.begin(unit, (recalls, remembers))?;
        let (mut token, mut run) = (0usize, 0usize);
        while edit.p < unit.size as usize {
            let target = truth.and_then(|t| {
                while t.plan.get(run).is_some_and(|r| (r.new + r.len) as usize <= token) {
                    run += 1;
                }
                let r = t.plan.get(run).filter(|r| r.new as usize <= token)?;
                Some((r.unit, r.old + (token as u32 - r.new)))
            });
            let room = unit.size as usize - edit.p;
            match edit.step(ops, &mut m.ops, target, truth.map(|t| (t.listing, token)), room)? {
                Step::Same(old_at, len) => edit.repeat(unit.at, old_at, len, body)?,
                Step::Literal(old_at) => {
                    let known = truth.map_or((&[][..], 0), |t| {
                        (t.listing.token(token), t.listing.shapes[token].data_class())
                    });
                    edit.literal(literals, &mut m.literals, (unit, old_at), known, body)?;
                }
            }
            if let Some(t) = truth {
                while token < t.listing.len() && (t.listing.starts[token] as usize) < edit.p {
                    token += 1;
                }
                // A plan that repeats what differs tells another file than the new one.
                let starts = token < t.listing.len() && t.listing.starts[token] as usize == edit.p;
                if !starts && edit.p < unit.size as usize {
                    return Err(Error::SelfCheck("the plan of a function leads out of step"));
                }
            }
            if ops.exhausted() || literals.exhausted() {
                return Err(Error::damaged("a code stream ends too early"));
            }
        }
        Ok(())
    }

    /// At the first instruction of a unit; what was coded is kept for literals, and for contexts, as asked.
    fn begin<'c>(&'c mut self, unit: &NewUnit, (recalls, remembers): (bool, bool)) -> Result<Edit<'c, 'a>> {
        self.machine = self.machine.in_mode(unit.other_mode);
        self.recall.enter(self.machine);
        let mapped = unit.source;
        if let Some(index) = mapped {
            let bounds = self.map.units[index.index()];
            self.near.load(self.machine, self.old, index, bounds)?;
            self.last_far = (index, 0);
        }
        Ok(Edit {
            scanner: Scanner::new(self.machine),
            coder: self,
            cursor: mapped.map(|_| (false, 0)),
            home: 0,
            hint: 0,
            mapped,
            since: 0,
            history: 0,
            forced: false,
            p: 0,
            before: History::of_unit(unit.at),
            instruction: Vec::with_capacity(16),
            recalls,
            remembers,
        })
    }
}

enum Step {
    Same(Off, usize),
    Literal(Option<Off>),
}

struct Edit<'c, 'a> {
    coder: &'c mut TextCoder<'a>,
    /// Whether in the far unit, and the next instruction there.
    cursor: Option<(bool, usize)>,
    /// Where the mapped unit was left.
    home: usize,
    /// The instruction of the mapped unit that a literal may stand for.
    hint: usize,
    mapped: Option<UnitId>,
    /// Instructions since the mapped unit was left.
    since: u32,
    history: u32,
    /// A move was just coded, so the next instruction is repeated.
    forced: bool,
    /// Offset of the instruction at hand in the new unit.
    p: usize,
    scanner: Scanner,
    /// The instructions before it.
    before: History,
    /// A buffer for it.
    instruction: Vec<u8>,
    recalls: bool,
    remembers: bool,
}

impl Edit<'_, '_> {
    /// Repeats the instruction at the cursor, which stands at `old_at`.
    #[inline]
    fn repeat(&mut self, unit_at: Off, old_at: Off, len: usize, body: &mut TextBody) -> Result<()> {
        let machine = self.coder.machine;
        let (far, index) = self.cursor.unwrap_or((false, 0));
        let listing = if far { &self.coder.far } else { &self.coder.near };
        let token = listing.token(index);
        let shape = listing.shapes[index];
        if self.remembers {
            self.before.pass(machine, token, &shape);
        }
        self.scanner.pass(&shape, token, self.p as u64);
        body.mark(unit_at + self.p as u32, shape.data_class());
        if self.recalls {
            self.instruction.clear();
            self.instruction.extend_from_slice(token);
            self.coder.recall.pass(&self.instruction, true, self.coder.old)?;
        }
        self.advance()?;
        let run = Run {
            new_at: unit_at + self.p as u32,
            old_at,
            len: len as u32,
            same: true,
        };
        body.join(unit_at, run);
        self.p += len;
        Ok(())
    }

    /// Codes an instruction that no old one repeats; it replaces the one at `old_at`, if it replaces one.
    #[inline]
    fn literal<L: Symbols>(
        &mut self,
        s: &mut L,
        m: &mut LiteralModels,
        (unit, old_at): (&NewUnit, Option<Off>),
        known: (&[u8], u8),
        body: &mut TextBody,
    ) -> Result<()> {
        let machine = self.coder.machine;
        if self.recalls {
            self.coder.recall.find(self.coder.old, self.coder.map)?;
        }
        let mut instruction = std::mem::take(&mut self.instruction);
        let partner = match old_at {
            Some(_) => {
                let (listing, index) = self.source();
                listing.token(index)
            }
            None => self.hinted(),
        };
        let around = Surroundings {
            machine,
            scanner: &self.scanner,
            history: &self.before,
            recall: &self.coder.recall,
            partner,
            replaces: old_at.is_some(),
            room: unit.size as usize - self.p,
        };
        let class = code_instruction(s, m, &around, known, &mut instruction);
        let shape = machine
            .data(class)
            .unwrap_or_else(|| machine.decode(&instruction));
        if self.remembers {
            self.before.pass(machine, &instruction, &shape);
        }
        if self.recalls {
            self.coder.recall.pass(&instruction, false, self.coder.old)?;
        }
        self.scanner.pass(&shape, &instruction, self.p as u64);
        body.mark(unit.at + self.p as u32, class);
        body.literals.extend_from_slice(&instruction);
        let len = instruction.len();
        match old_at {
            None => self.follow(&instruction),
            Some(old_at) => {
                self.advance()?;
                body.push(Run {
                    new_at: unit.at + self.p as u32,
                    old_at,
                    len: len as u32,
                    same: false,
                });
            }
        }
        self.instruction = instruction;
        self.p += len;
        Ok(())
    }

    fn listing(&self, far: bool) -> &Listing {
        if far { &self.coder.far } else { &self.coder.near }
    }

    fn source(&self) -> (&Listing, usize) {
        let (far, index) = self.cursor.unwrap_or((false, 0));
        (self.listing(far), index)
    }

    /// The instruction of the mapped unit that an inserted one may stand for.
    fn hinted(&self) -> &[u8] {
        let near = &self.coder.near;
        if self.mapped.is_some() && self.hint < near.len() {
            near.token(self.hint)
        } else {
            &[]
        }
    }

    /// Goes past the instruction of the mapped unit that an inserted one looks like.
    fn follow(&mut self, inserted: &[u8]) {
        self.since += 1;
        if self.mapped.is_none() {
            return;
        }
        let machine = self.coder.machine;
        let near = &self.coder.near;
        let end = near.len().min(self.hint + HINT_REACH);
        let equal = (self.hint..end).find(|&i| near.is(i, inserted));
        let alike = || {
            let wanted = machine.opcode(inserted, &machine.decode(inserted));
            let at = |i: usize| machine.opcode(near.token(i), &near.shapes[i]);
            (self.hint..end.min(self.hint + HINT_REACH / 2)).find(|&i| at(i) == wanted)
        };
        if let Some(found) = equal.or_else(alike) {
            self.hint = found + 1;
        }
    }

    fn advance(&mut self) -> Result<()> {
        if let Some((far, index)) = self.cursor {
            let next = index + 1;
            if far {
                self.since += 1;
            } else {
                self.home = next;
                self.hint = next;
                self.since = 0;
            }
            let coder = &mut *self.coder;
            let more = if far {
                coder.far.reach(coder.old, next)?
            } else {
                next < coder.near.len()
            };
            self.cursor = more.then_some((far, next));
        }
        Ok(())
    }

    /// Decides on one instruction; on the writing side `target` is where the plan aligns it.
    fn step<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut OpModels,
        target: Option<(UnitId, u32)>,
        truth: Option<(&Listing, usize)>,
        room: usize,
    ) -> Result<Step> {
        loop {
            let place = self.cursor.map(|(far, index)| {
                let listing = self.listing(far);
                (listing.unit, (listing.first + index) as u32)
            });
            let wanted = target.map(|(unit, index)| (Some(unit), index));
            let aligned = target.is_some() && place == wanted;
            let mut here = Here::default();
            if let Some((far, index)) = self.cursor {
                let listing = self.listing(far);
                let bytes = listing.token(index);
                let equal = aligned
                    && truth.is_some_and(|(new, token)| {
                        new.token(token) == bytes && new.kinds[token] == listing.kinds[index]
                    });
                let (at, len) = (listing.at + listing.starts[index], bytes.len());
                if s.is_modelled() {
                    let head = hash(u32::from(bytes[0]), bytes.len() as u32);
                    let look = digest(bytes);
                    here = Here { head, look, far };
                }
                let same = self.forced || m.same(s, self.history, &here, &self.before, equal);
                self.forced = false;
                if same {
                    if len > room {
                        return Err(Error::damaged("an instruction reaches past its function"));
                    }
                    self.history <<= 2;
                    return Ok(Step::Same(at, len));
                }
            }
            let known = match target {
                Some(_) if aligned => REPLACE,
                Some((unit, _)) if Some(unit) == self.mapped => GO_NEAR,
                Some(_) => GO_FAR,
                None => INSERT,
            };
            let there = u32::from(self.cursor.is_none());
            let op = m.kind(s, self.history, there, room, &here, &self.before, known);
            self.history = self.history << 2 | (1 + (op & 1) + u32::from(op >= GO_NEAR));
            match op {
                REPLACE => {
                    let Some((far, index)) = self.cursor else {
                        return Err(Error::damaged("it replaces an instruction that is not there"));
                    };
                    let listing = self.listing(far);
                    return Ok(Step::Literal(Some(listing.at + listing.starts[index])));
                }
                INSERT => return Ok(Step::Literal(None)),
                GO_NEAR => self.go_near(s, m, target)?,
                _ => self.go_far(s, m, target)?,
            }
            self.forced = true;
            if s.exhausted() {
                return Err(Error::damaged("a code stream ends too early"));
            }
        }
    }

    fn go_near<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut OpModels,
        target: Option<(UnitId, u32)>,
    ) -> Result<()> {
        let base = self.hint as i64;
        let to = target.map_or(0, |t| i64::from(t.1)) - base;
        let from_far = u32::from(self.cursor.is_none_or(|c| c.0));
        let followed = (self.hint - self.home).min(15) as u32;
        let since = self.since.min(15);
        let away = m.near(s, self.history, from_far, followed, since, &self.before, to);
        let to = base.saturating_add(away);
        let index = usize::try_from(to)
            .ok()
            .filter(|&i| self.mapped.is_some() && i < self.coder.near.len());
        let index = index.ok_or(Error::damaged("it goes past its old function"))?;
        self.cursor = Some((false, index));
        self.since = 0;
        Ok(())
    }

    fn go_far<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut OpModels,
        target: Option<(UnitId, u32)>,
    ) -> Result<()> {
        let (last_unit, last_at) = self.coder.last_far;
        let (unit, at) = target.unwrap_or((UnitId::of(0), 0));
        let away = m.far_unit(
            s,
            self.history,
            i64::from(unit.number()) - i64::from(last_unit.number()),
        );
        let unit = i64::from(last_unit.number()).saturating_add(away);
        let unit = u32::try_from(unit).map_err(|_| Error::damaged("it copies from nowhere"))?;
        let unit = UnitId::of(unit);
        let again = unit == last_unit;
        let base = if again { i64::from(last_at) } else { 0 };
        let index = base.saturating_add(m.far_at(s, self.history, again, i64::from(at) - base));
        let there = match usize::try_from(index).ok() {
            Some(i) if self.coder.load_far(unit, i)? => Some(i),
            _ => None,
        };
        let index = there.ok_or(Error::damaged("it copies from past a function"))?;
        self.coder.last_far = (unit, index as u32);
        self.cursor = Some((true, index - self.coder.far.first));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;
    use crate::code::ModelledWriter;
    use crate::layout::Unit;

    /// A plan that repeats an instruction of another length is an error of the writer: there is no listing behind the end.
    #[test]
    fn a_plan_that_is_out_of_step_is_an_error() {
        let (machine, budget) = (Machine::X86_64, Budget::unlimited(&Silent));
        let old: &[u8] = &[0x90, 0x66, 0x90, 0x90];
        let new: &[u8] = &[0x90, 0xb8, 1, 2, 3, 4];
        let old_view = FileView::new(&old, &budget).unwrap();
        let new_view = FileView::new(&new, &budget).unwrap();
        let unit = |size: usize| Unit {
            at: Off(0),
            size: size as u32,
            other_mode: false,
        };
        let map = CodeMap {
            sections: Vec::new(),
            units: vec![unit(old.len())],
        };
        let mut listing = Listing::new(machine);
        listing
            .load(machine, &new_view, UnitId::of(0), unit(new.len()))
            .unwrap();
        assert_eq!(listing.len(), 2);
        let coded = |first: u32| {
            let plan = [PlanRun {
                new: 0,
                len: 1,
                unit: UnitId::of(0),
                old: first,
            }];
            let truth = Truth {
                listing: &listing,
                plan: &plan,
            };
            let to = NewUnit {
                at: Off(0),
                size: new.len() as u32,
                source: Some(UnitId::of(0)),
                unchanged: false,
                other_mode: false,
            };
            let (mut ops, mut literals) = (ModelledWriter::default(), ModelledWriter::default());
            let mut coder = TextCoder::new(machine, &old_view, &map, &budget);
            coder.code(
                (&mut ops, &mut literals),
                &mut TextModels::default(),
                &to,
                Some(truth),
                &mut TextBody::default(),
            )
        };
        // The first instruction is the same one, the second takes a byte more.
        assert!(coded(0).is_ok());
        assert!(matches!(coded(1), Err(Error::SelfCheck(_))));
    }
}
