//! The references of the code, unit by unit: old bytes in, new bytes out.

use super::{AddressMap, Guess, Locals, Site, TargetModels, Targets};
use crate::code::Symbols;
use crate::file_view::FileView;
use crate::layout::{CodeMap, NewUnit, Unit};
use crate::machine::{Field, Insn, Machine, Scanner};
use crate::place::{Addr, Off, Place as _, Span};
use crate::recipe::Recipe;
use crate::text::{Run, TextBody};
use crate::{Error, error::Result};

/// The old file's code.
#[derive(Clone, Copy)]
pub struct OldCode<'a> {
    /// Instruction set.
    pub machine: Machine,
    /// The file.
    pub file: &'a FileView<'a>,
    /// Its units.
    pub map: &'a CodeMap,
    /// Whether the new file is an object.
    pub objects: bool,
}

/// Goes through the new units in order and finishes each.
pub struct CodePass<'a> {
    old: OldCode<'a>,
    body: &'a TextBody,
    /// Runs of the units to come, and the next one.
    ahead: Box<dyn Iterator<Item = Run> + 'a>,
    next: Option<Run>,
    /// Runs of the unit at hand.
    runs: Vec<Run>,
    literal: usize,
    /// Data among the instructions to come, and the next one.
    data_ahead: Box<dyn Iterator<Item = (Off, u8)> + 'a>,
    data: Option<(Off, u8)>,
    /// Old bytes where they are repeated, literals elsewhere; references become new ones as they are coded.
    bytes: Vec<u8>,
    /// Untouched old bytes of the repeated stretches.
    base: Vec<u8>,
    /// The shape of each instruction.
    shapes: Vec<Insn>,
    locals: Locals,
    by_old: Vec<Run>,
    pointers: Vec<Pointer>,
}

/// A reference from code to an address that may be data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Target in the new file.
    pub new: Addr,
    /// Target in the old file, if old code stands behind the reference.
    pub old: Option<Addr>,
    /// Address from which the entries of a jump table at the target count.
    pub origin: Addr,
    /// The same in the old file.
    pub old_origin: Option<Addr>,
    /// Instruction index in the unit.
    pub index: usize,
    /// Hash of the instruction's leading bytes.
    pub head: u32,
}

/// A unit of the new file, about to be coded.
#[derive(Clone, Copy)]
pub struct NewCode<'u> {
    /// The unit.
    pub unit: &'u NewUnit,
    /// Its address.
    pub addr: Addr,
    /// Its finished bytes, on the writing side.
    pub truth: Option<&'u [u8]>,
}

/// A reference about to be coded.
struct Place {
    /// Instruction index in the unit, and its offset.
    index: usize,
    p: usize,
    field: Field,
    /// The address that the field counts from.
    from: u64,
    old: OldPlace,
    /// Whether the old instruction is the same one.
    same: bool,
    /// How far the last open field was from zero.
    away: u32,
}

/// The old instruction behind a reference: where it is, where it led, and what that was counted from.
struct OldPlace {
    at: Option<Off>,
    target: Option<Addr>,
    from: Option<Addr>,
    /// In objects, what of the field: 0 none is known, 1 it is not open, 2 it is.
    was: u32,
}

/// The walk over the old code behind a new unit.
struct OldSide {
    scanner: Scanner,
    partner: Vec<u8>,
    /// How far the last open field was from zero.
    away: u32,
}

impl OldSide {
    /// What is known of an old instruction. It is `base`, the bytes themselves, or else the one that was replaced.
    #[inline]
    fn place(&mut self, old: OldCode, at: Option<Off>, base: Option<(&[u8], Insn)>) -> Result<OldPlace> {
        let mut known = OldPlace {
            at,
            target: None,
            from: None,
            was: 0,
        };
        let Some((old_at, here)) = at.and_then(|at| Some((at, u64::from(old.map.addr(at)?)))) else {
            return Ok(known);
        };
        let machine = old.machine;
        let (bytes, insn) = match base {
            Some(base) => base,
            None => {
                old.file.read_up_to(u64::from(old_at), 16, &mut self.partner)?;
                (&self.partner[..], machine.decode(&self.partner))
            }
        };
        if let Some((field, from)) = self.scanner.field(&insn, bytes, here) {
            let small = |address: u64| Addr::try_from(address).ok();
            known.target = small(machine.read(field.kind, bytes, field.at, insn.len(), from));
            known.from = small(from);
            if old.objects {
                let away = machine.open(field, bytes, insn.len(), from, here);
                known.was = 1 + u32::from(away.is_some());
                self.away = away.unwrap_or(self.away);
            }
        }
        self.scanner.pass(&insn, bytes, here);
        Ok(known)
    }
}

/// A finished unit, for the tables that belong to it.
pub struct UnitView<'u> {
    /// The new unit.
    pub unit: &'u NewUnit,
    /// Its address.
    pub addr: Addr,
    /// Its bytes.
    pub bytes: &'u [u8],
    /// References from it to addresses that may be data, in order.
    pub pointers: &'u [Pointer],
    /// The shape of each instruction.
    pub shapes: &'u [Insn],
    locals: &'u mut Locals,
    by_old: &'u [Run],
    old: OldCode<'u>,
}

impl UnitView<'_> {
    /// Its instruction starts, with the labels that are known so far.
    pub fn locals(&mut self) -> &mut Locals {
        if self.locals.is_empty() {
            self.locals.fill(self.old.machine, self.bytes, self.shapes);
        }
        self.locals
    }

    /// Where its instructions start; none before [`UnitView::locals`] was asked for.
    pub fn starts(&self) -> &[u32] {
        self.locals.starts()
    }

    /// Instruction set.
    pub fn machine(&self) -> Machine {
        self.old.machine
    }

    /// The old unit's place in the old file.
    pub fn source(&self) -> Option<Unit> {
        self.unit.source.map(|unit| self.old.map.units[unit.index()])
    }

    /// The old unit's address.
    pub fn source_addr(&self) -> Option<Addr> {
        self.old.map.addr(self.source()?.at)
    }

    /// Where an offset of the old unit is in the new one; `None` where no instruction lines up.
    pub fn project(&self, offset: u32) -> Option<u32> {
        let source = self.source().filter(|s| offset <= s.size)?;
        if self.unit.unchanged {
            return (offset <= self.unit.size).then_some(offset);
        }
        if offset == source.size {
            return Some(self.unit.size);
        }
        project(self.by_old, source.at + offset)
            .map(|at| at - self.unit.at)
            .filter(|&o| o <= self.unit.size)
    }

    /// Like [`UnitView::project`], but stays inside the instruction that an old one lines up with. Also tells
    /// whether one does, or the place was only reckoned from those before it.
    pub fn line_up(&self, offset: u32) -> Option<(u32, bool)> {
        let source = self.source().filter(|s| offset < s.size)?;
        if self.unit.unchanged {
            return (offset < self.unit.size).then_some((offset, true));
        }
        let old_at = source.at + offset;
        let after = self.by_old.partition_point(|r| r.old_at <= old_at);
        let run = self.by_old[..after].last().filter(|r| r.old_at >= source.at)?;
        let shift = old_at - run.old_at;
        let within = if run.same {
            shift
        } else {
            shift.min(run.len.saturating_sub(1))
        };
        let at = run.new_at.checked_add(within)?;
        let at = at.0.checked_sub(self.unit.at.0)?;
        let held = shift < if run.same { run.len } else { 16 };
        (at < self.unit.size).then_some((at, held))
    }
}

/// The new file offset that lines up with an old one, by runs in order of old offsets.
fn aligned(by_old: &[Run], old_at: Off) -> Option<Off> {
    let after = by_old.partition_point(|r| r.old_at <= old_at);
    let run = by_old[..after].last().filter(|r| old_at - r.old_at < r.len)?;
    Some(run.new_at + (old_at - run.old_at))
}

/// The new file offset of an old one, by runs in order of old offsets.
fn project(by_old: &[Run], old_at: Off) -> Option<Off> {
    let after = by_old.partition_point(|r| r.old_at <= old_at);
    by_old[..after].last().map(|r| {
        let shift = old_at - r.old_at;
        r.new_at
            .saturating_add(if shift < r.len || r.same { shift } else { r.len })
    })
}

impl<'a> CodePass<'a> {
    /// Before the first unit.
    pub fn new(old: OldCode<'a>, body: &'a TextBody) -> Self {
        let mut ahead = Box::new(body.runs());
        let mut data_ahead = Box::new(body.data());
        CodePass {
            old,
            body,
            next: ahead.next(),
            ahead,
            runs: Vec::new(),
            literal: 0,
            data: data_ahead.next(),
            data_ahead,
            bytes: Vec::new(),
            base: Vec::new(),
            shapes: Vec::new(),
            locals: Locals::default(),
            by_old: Vec::new(),
            pointers: Vec::new(),
        }
    }

    /// Adds what the text says of old and new addresses to the static projection. `place` gives the address
    /// of a new file offset.
    pub fn cover_map(
        old: OldCode,
        units: &[NewUnit],
        body: &TextBody,
        place: impl Fn(Off) -> Addr,
        map: &mut AddressMap,
    ) {
        for (unit, source) in units.iter().filter_map(|unit| Some((unit, unit.source?))) {
            let source = old.map.units[source.index()];
            if let Some(addr) = old.map.addr(source.at) {
                map.add_start(addr, place(unit.at));
            }
        }
        map.reserve(body.len());
        for run in body.runs() {
            if let Some(addr) = old.map.addr(run.old_at) {
                map.add(addr, place(run.new_at), run.len);
            }
        }
    }

    /// Collects the unit's bytes and runs, references still old.
    fn gather(&mut self, unit: &NewUnit) -> Result<()> {
        let end = unit.at + unit.size;
        self.runs.clear();
        self.bytes.clear();
        while (self.bytes.len() as u32) < unit.size {
            let at = unit.at + self.bytes.len() as u32;
            let run = self.next.filter(|r| r.new_at < end);
            match run {
                Some(run) if run.new_at == at && run.same => {
                    let from = self.bytes.len();
                    self.bytes.resize(from + run.len as usize, 0);
                    self.old
                        .file
                        .read(u64::from(run.old_at), &mut self.bytes[from..])?;
                    self.pass(run);
                }
                _ => {
                    let until = match run {
                        Some(run) if run.new_at == at => {
                            self.pass(run);
                            at + run.len
                        }
                        Some(run) => run.new_at,
                        None => end,
                    };
                    let to = self.literal + (until - at) as usize;
                    let literal = self.body.literals.get(self.literal..to);
                    self.bytes
                        .extend_from_slice(literal.ok_or(Error::damaged("literal code is missing"))?);
                    self.literal = to;
                }
            }
        }
        if self.bytes.len() as u32 != unit.size {
            return Err(Error::damaged("code runs past its function"));
        }
        self.base.clone_from(&self.bytes);
        self.shape(unit);
        Ok(())
    }

    /// Finds the unit's instructions, and the data between them.
    fn shape(&mut self, unit: &NewUnit) {
        let machine = self.old.machine;
        self.shapes.clear();
        if !machine.has_data() {
            let mut p = 0;
            while p < self.bytes.len() {
                let insn = machine.decode(&self.bytes[p..]);
                p += usize::from(insn.len());
                self.shapes.push(insn);
            }
            return;
        }
        // An unchanged unit is walked where the old one stands: all its references are still there.
        let source = unit.source.map(|unit| self.old.map.units[unit.index()]);
        let place = source.and_then(|s| self.old.map.addr(s.at));
        let mut walk = unit
            .unchanged
            .then(|| place.map(|place| (Scanner::in_place(machine), place)))
            .flatten();
        let mut p = 0;
        while p < self.bytes.len() {
            let bytes = &self.bytes[p..];
            let insn = match &mut walk {
                Some((scanner, place)) => {
                    let here = u64::from(*place) + p as u64;
                    let insn = scanner.look(bytes, here).0;
                    scanner.pass(&insn, bytes, here);
                    insn
                }
                None => self
                    .data_at(unit, p)
                    .unwrap_or_else(|| machine.decode(&self.bytes[p..])),
            };
            p += usize::from(insn.len());
            self.shapes.push(insn);
        }
    }

    /// The data that stands at an offset in a unit, if any does and has room.
    #[inline]
    fn data_at(&mut self, unit: &NewUnit, p: usize) -> Option<Insn> {
        let at = unit.at + p as u32;
        while self.data.is_some_and(|(next, _)| next < at) {
            self.data = self.data_ahead.next();
        }
        let (_, class) = self.data.filter(|&(next, _)| next == at)?;
        let data = self.old.machine.data(class)?;
        (p + usize::from(data.len()) <= self.bytes.len()).then_some(data)
    }

    fn pass(&mut self, run: Run) {
        self.runs.push(run);
        self.next = self.ahead.next();
    }

    /// Bytes of memory held for the unit at hand.
    pub fn memory(&self) -> u64 {
        let runs = self.runs.len() + self.by_old.len() + self.pointers.len();
        (self.bytes.len() + self.base.len() + 8 * self.shapes.len() + 16 * runs) as u64 + self.locals.memory()
    }

    /// Codes the references of one unit and appends its bytes to `recipe`.
    pub fn unit<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut TargetModels,
        targets: &mut Targets,
        new: NewCode,
        recipe: &mut Recipe,
    ) -> Result<()> {
        let unit = new.unit;
        self.old.machine = self.old.machine.in_mode(unit.other_mode);
        targets.enter(self.old.machine);
        self.gather(unit)?;
        let runs = std::mem::take(&mut self.runs);
        let machine = self.old.machine;
        self.locals.clear();
        self.by_old.clear();
        self.pointers.clear();
        if !unit.unchanged {
            self.locals.fill(machine, &self.bytes, &self.shapes);
            self.by_old.extend_from_slice(&runs);
            self.by_old.sort_by_key(|r| r.old_at);
        }
        let mut scanner = Scanner::in_place(machine);
        let mut old_side = OldSide {
            scanner: Scanner::in_place(machine),
            partner: Vec::new(),
            away: 0,
        };
        let mut run = 0;
        let mut p = 0usize;
        for index in 0..self.shapes.len() {
            let insn = self.shapes[index];
            let at = unit.at + p as u32;
            while runs.get(run).is_some_and(|r| r.new_at + r.len <= at) {
                run += 1;
            }
            let here = new.addr + p as u32;
            let end = p + usize::from(insn.len());
            let field = scanner.field(&insn, &self.bytes[p..], u64::from(here));
            if field.is_none() && !machine.has_context() {
                p = end;
                continue;
            }
            let source = runs.get(run).filter(|r| r.new_at <= at);
            let old_at = source.map(|r| r.old_at + if r.same { at - r.new_at } else { 0 });
            let same = source.is_some_and(|r| r.same);
            let base = same.then(|| (&self.base[p..], insn));
            let old = old_side.place(self.old, old_at, base)?;
            if let Some((field, from)) = field {
                let place = Place {
                    index,
                    p,
                    field,
                    from,
                    old,
                    same,
                    away: old_side.away,
                };
                self.reference(s, m, targets, new, place)?;
            }
            scanner.pass(&insn, &self.bytes[p..], u64::from(here));
            p = end;
            if s.exhausted() {
                return Err(Error::damaged("the target stream ends too early"));
            }
        }
        self.emit(unit, &runs, recipe);
        self.runs = runs;
        Ok(())
    }

    /// Codes one reference and writes it into the unit's bytes.
    #[inline]
    fn reference<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut TargetModels,
        targets: &mut Targets,
        new: NewCode,
        place: Place,
    ) -> Result<()> {
        let (unit, addr) = (new.unit, new.addr);
        let Place {
            index,
            p,
            field,
            from,
            ..
        } = place;
        let (same, old_target) = (place.same, place.old.target);
        let machine = self.old.machine;
        let insn = self.shapes[index];
        let end = p + usize::from(insn.len());
        let bytes = &self.bytes[p..end.min(self.bytes.len())];
        let uses = machine.uses(field.kind);
        let site = Site {
            kind: field.kind.number().into(),
            head: machine.site(bytes, field),
            long_form: uses.long_form,
            addr: addr + p as u32,
            unit: Span::new(addr, unit.size),
            index,
            same,
        };
        let known = new.truth.map_or(0, |t| {
            machine.read(field.kind, &t[p..], field.at, insn.len(), from)
        });
        let known = Addr(known as u32);
        let guess = if uses.direct {
            self.guess(unit, addr, place.old.at, old_target)
        } else {
            Guess {
                old_target,
                ..Guess::default()
            }
        };
        let implied = guess.local.filter(|_| unit.unchanged);
        let open = || {
            let zero = machine.unfilled(field, &self.bytes[p..], insn.len(), from);
            Addr((zero as u32).wrapping_add(place.away))
        };
        let open = (self.old.objects && implied.is_none()).then(open);
        let open = open.filter(|&target| m.open(s, &site, place.old.was, target == known));
        let target = match implied.or(open) {
            Some(target) => target,
            None => targets.code(s, m, &site, guess, &mut self.locals, known)?,
        };
        if uses.data {
            self.pointers.push(Pointer {
                new: target,
                old: old_target,
                origin: if uses.counted { Addr(from as u32) } else { target },
                old_origin: if uses.counted { place.old.from } else { old_target },
                index,
                head: site.head,
            });
        }
        let target = machine.address(widen(from, target));
        let bytes = &mut self.bytes[p..];
        machine.write(field, bytes, insn.len(), from, target);
        Ok(())
    }

    fn guess(&self, unit: &NewUnit, addr: Addr, old_at: Option<Off>, old_target: Option<Addr>) -> Guess {
        let none = Guess {
            old_target,
            ..Guess::default()
        };
        let (Some(old_at), Some(target)) = (old_at, old_target) else {
            return none;
        };
        let Some(section) = self.old.map.section_at(old_at) else {
            return none;
        };
        let target_at = section.at.wrapping_add(target.since(section.addr));
        let source = unit.source.map(|unit| self.old.map.units[unit.index()]);
        let near = source.filter(|s| s.at <= old_at && old_at < s.end());
        let found = near.or_else(|| self.old.map.unit_at(old_at).map(|i| self.old.map.units[i]));
        let Some(old_unit) = found else { return none };
        if target_at < old_unit.at || target_at >= old_unit.end() {
            return none;
        }
        if unit.unchanged {
            return Guess {
                old_target: None,
                local: Some(addr + (target_at - old_unit.at)),
                inside: true,
                old_at: None,
            };
        }
        // A target in the same old unit: where this unit's own runs put it.
        let aligned = aligned(&self.by_old, target_at).map(|at| addr.wrapping_add(at.since(unit.at)));
        let local = aligned.filter(|&local| Span::new(addr, unit.size).holds(local));
        Guess {
            old_target: Some(target),
            local,
            inside: true,
            old_at: Some(Span::new(target_at, old_unit.end() - target_at)),
        }
    }

    fn emit(&self, unit: &NewUnit, runs: &[Run], recipe: &mut Recipe) {
        let mut p = 0usize;
        for run in runs.iter().filter(|r| r.same) {
            let from = (run.new_at - unit.at) as usize;
            let to = from + run.len as usize;
            recipe.literal(&self.bytes[p..from]);
            recipe.copy(run.old_at, &self.base[from..to], &self.bytes[from..to]);
            p = to;
        }
        recipe.literal(&self.bytes[p..]);
    }

    /// The unit that was finished last, for the tables that belong to it.
    pub fn view<'u>(&'u mut self, unit: &'u NewUnit, addr: Addr) -> UnitView<'u> {
        UnitView {
            unit,
            addr,
            bytes: &self.bytes,
            pointers: &self.pointers,
            shapes: &self.shapes,
            locals: &mut self.locals,
            by_old: &self.by_old,
            old: self.old,
        }
    }
}

/// The 64-bit address with these low 32 bits that is nearest to `from`: fields wrap as processors do.
fn widen(from: u64, target: Addr) -> u64 {
    from.wrapping_add_signed(i64::from(target.since(Addr(from as u32)) as i32))
}
