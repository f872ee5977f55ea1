//! The grammar of reference targets: the learned map, the static projection, or the target spelled out.

use super::code::OldCode;
use super::locals::{ANY, Label, Locals, Origin, look};
use super::{AddressMap, Remap};
use crate::code::{Symbols, hash, symbols};
use crate::machine::Machine;
use crate::place::{Addr, Off, Place, Span};
use crate::{Error, error::Result};

/// How a target is spelled out when no guess is right.
const RECENT: u32 = 0;
const LOCAL: u32 = 1;
const UNIT: u32 = 2;
const ADDRESS: u32 = 3;

const RING: usize = 32;

/// Bits of a label but its rank: which place it counts from, back or ahead, class.
const KEY_BITS: u32 = 5;
const BACK: u32 = 4;
const PLACE: u32 = 3;

/// Candidates for a label that are asked about one by one.
const SCANNED: u32 = 8;

/// Where a reference stands, as far as prediction cares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Site {
    /// Kind of the field, or of the table column.
    pub kind: u32,
    /// Hash of the instruction's leading bytes, or of the row's kind.
    pub head: u32,
    /// Address of the field.
    pub addr: Addr,
    /// The unit that it stands in.
    pub unit: Span<Addr>,
    /// Instruction index in the unit.
    pub index: usize,
    /// Whether the old bytes come from a repeated run.
    pub same: bool,
    /// Whether a shorter instruction would have reached a near target.
    pub long_form: bool,
}

impl Site {
    /// Bit length of the distance to an instruction.
    fn away(&self, index: usize) -> u32 {
        32 - (index.abs_diff(self.index) as u32).leading_zeros()
    }
}

/// What the old file says of a reference.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guess {
    /// The old target.
    pub old_target: Option<Addr>,
    /// Where a target inside the old unit is in the new one.
    pub local: Option<Addr>,
    /// Whether the old target is inside the old unit.
    pub inside: bool,
    /// From where the old target lies in the old file to the end of its unit, if it is inside the old unit.
    pub old_at: Option<Span<Off>>,
}

/// What the first guess of a target comes from; of what was learned, how often in a row it was right.
#[derive(Clone, Copy)]
enum Provenance {
    /// What was learned and what covers or the unit say are the same.
    Agreed(u32),
    /// They are not: what was learned.
    Disputed(u32),
    /// Nothing but what was learned.
    Learned(u32),
    /// Nothing was learned.
    Projected,
    /// The cover before, or nothing at all.
    Loose,
}

impl Provenance {
    /// As the models know it; `inside`: the old target is inside the old unit.
    #[inline]
    fn context(self, inside: bool) -> u32 {
        let number = match self {
            Provenance::Agreed(right) => 2 + right,
            Provenance::Disputed(right) => 6 + right,
            Provenance::Learned(right) => 10 + right,
            Provenance::Projected => 14,
            Provenance::Loose => 15,
        };
        number | u32::from(inside) << 4
    }
}

symbols! {
    /// Targets. `site`: the reference. `from`: what the first guess comes from, with r how often in a row the learned
    /// target was right: 2 + r learned and projected or local alike, 6 + r learned, the other differs, 10 + r learned
    /// alone, 14 projected or local alone, 15 loose or none; plus 16 if the old target is inside the old unit.
    pub struct TargetModels {
        open(12, 255) {
            /// The field is open. `was`: 0 no old field is known, 1 the old one is not open, 2 it is.
            open: flag by(site: &Site, was: u32)
                [
                    hash(1, was | u32::from(site.same) << 2 | site.kind << 3),
                    hash(hash(2, was | u32::from(site.same) << 2), site.head),
                ];
        }
        hit(16, 255) {
            /// The target is the first guess. `h`: for each guess so far whether it was wrong, the last one lowest.
            hit: flag by(site: &Site, from: u32, h: u32)
                [
                    hash(1, from | u32::from(site.same) << 5 | site.kind << 6),
                    hash(hash(2, from | u32::from(site.same) << 5), h & 0xff),
                    hash(hash(3, from), site.head),
                    hash(4, h & 0xfff | u32::from(site.same) << 12),
                ];
        }
        second(12, 255) {
            /// It is the second guess.
            second: flag by(site: &Site, from: u32) [hash(1, from), hash(2, site.kind)];
        }
        way(14, 255) {
            /// How it is spelled out: 0 one of the last 32 outside targets, 1 a label, 2 a unit, 3 an address.
            way: tree(2) by(site: &Site, from: u32)
                [hash(1, site.kind | from << 8), hash(2, site.head), hash(hash(3, site.head), from)];
        }
        ring(12, 255) {
            /// Which of the last outside targets, the last one 0.
            ring: tree(5) by(site: &Site) [hash(1, site.kind), hash(2, site.head)];
        }
        label(16, 255) {
            /// A label but its rank: class, plus 4 if it lies back, plus 8 times the place that it counts from.
            /// `guessed`: there is a guess inside the unit; `open`: bit length of the distance to the next leader without
            /// a label, 15 if there is none; `home`: one more than that to the home of the reference, 0 if there is
            /// none; `last`: the label before.
            label: tree(KEY_BITS) by(site: &Site, from: u32, guessed: bool, open: u32, home: u32, last: u32)
                [
                    hash(1, site.kind | u32::from(guessed) << 8),
                    hash(2, site.head),
                    hash(3, from),
                    hash(hash(4, site.head), open),
                    hash(hash(5, open), last),
                    hash(hash(6, from), u32::from(guessed) | last << 1),
                    hash(7, site.kind | home << 8),
                ];
        }
        far(16, 255) {
            /// The rank is 8 or more. `key`: the label; `last`: the label before; `length`: bit length of the unit's
            /// number of instructions; `away`: bit length of the distance to the first candidate ahead.
            far: flag by(site: &Site, key: u32, last: u32, length: u32, away: u32)
                [
                    hash(1, key | site.kind << 7),
                    hash(hash(2, key), site.head),
                    hash(hash(3, key), last | length << 8),
                    hash(4, key | away << 7),
                ];
        }
        rank(16, 255) {
            /// By how much it is above 8; in a coding without models the rank itself.
            rank: number by(site: &Site, key: u32)
                [hash(1, key), hash(2, key | site.kind << 8), hash(3, site.head)];
        }
        stop(18 or 16, 255) {
            /// The candidate is the target. `state`: the label, plus 32 if the candidate looks as the old target did, 64
            /// if it does not; `looks`: of the candidate and of the instruction before it; `away`: bit length of the
            /// distance to the reference; `near`: distance to the last label's target, at most 3.
            stop: flag by(site: &Site, state: u32, rank: u32, looks: (u16, u16), away: u32, near: u32, last: u32)
                [
                    hash(1, state | site.kind << 7 | rank << 14),
                    hash(hash(2, state | u32::from(looks.0) << 8), u32::from(looks.1)),
                    hash(hash(3, state), site.head ^ rank.min(7)),
                    hash(4, state | away << 7 | rank.min(3) << 12),
                    hash(5, state | near << 7 | last << 9 | rank.min(7) << 14),
                    hash(hash(6, state | away << 7), u32::from(looks.0)),
                ];
        }
        unit(20 or 16, 255) {
            /// A unit by its number, in as many bits as the number of units has, at most 24. `before`: units that begin
            /// at the reference or before; `last`: the unit spelled before.
            unit: tree(width) by(width: u32, site: &Site, before: u32, last: u32)
                [1, hash(2, before >> 4), hash(3, last), hash(4, site.head)];
        }
        address(18 or 16, 255) {
            /// An address, counted from the guess (`guessed`) or from the last one spelled.
            address: signed by(site: &Site, from: u32, guessed: bool)
                [hash(1, u32::from(guessed)), hash(hash(2, site.kind), from)];
        }
    }
}

/// Codes targets one after the other and learns from each.
pub struct Targets<'a> {
    old: OldCode<'a>,
    map: &'a AddressMap,
    /// Addresses of the new units, ascending.
    units: &'a [Addr],
    remap: Remap,
    ring: [Addr; RING],
    ring_at: usize,
    last_address: Addr,
    last_unit: u32,
    /// The label spelled last, and the instruction that it named.
    last_label: (u32, usize),
    history: u32,
}

impl<'a> Targets<'a> {
    /// With nothing learned yet.
    pub fn new(old: OldCode<'a>, map: &'a AddressMap, units: &'a [Addr]) -> Self {
        Targets {
            old,
            map,
            units,
            remap: Remap::default(),
            ring: [Addr(0); RING],
            ring_at: 0,
            last_address: Addr(0),
            last_unit: 0,
            last_label: (0, 0),
            history: 0,
        }
    }

    /// What comes next stands in code of this instruction set.
    pub fn enter(&mut self, machine: Machine) {
        self.old.machine = machine;
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.remap.memory()
    }

    /// What was learned so far.
    pub fn remap(&self) -> &Remap {
        &self.remap
    }

    /// The static projection.
    pub fn map(&self) -> &AddressMap {
        self.map
    }

    /// Codes one target; `locals` are the instructions of the unit.
    pub fn code<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut TargetModels,
        site: &Site,
        guess: Guess,
        locals: &mut Locals,
        truth: Addr,
    ) -> Result<Addr> {
        let inside = |t: Addr| site.unit.holds(t);
        let known = guess.old_target.and_then(|t| self.remap.get(t));
        let learned = known.filter(|l| !guess.inside || inside(l.target));
        let (map, outside) = (self.map, guess.old_target.filter(|_| !guess.inside));
        let projected = outside.and_then(|t| map.project(t));
        let loose = || outside.map(|t| map.guess(t));
        let (first, provenance) = match (guess.local.or(projected), learned) {
            (Some(p), Some(l)) if l.target == p => (Some(p), Provenance::Agreed(l.confidence)),
            (Some(_), Some(l)) => (Some(l.target), Provenance::Disputed(l.confidence)),
            (None, Some(l)) => (Some(l.target), Provenance::Learned(l.confidence)),
            (Some(p), None) => (Some(p), Provenance::Projected),
            (None, None) => (loose(), Provenance::Loose),
        };
        let from = provenance.context(guess.inside);
        let mut found = None;
        if let Some(first) = first {
            let hit = m.hit(s, site, from, self.history, first == truth);
            self.history = self.history << 1 | u32::from(!hit);
            if hit {
                found = Some(first);
            } else {
                let second = match (guess.local.or(projected), learned) {
                    (Some(p), Some(_)) if p != first => Some(p),
                    (_, Some(l)) if l.previous != l.target => Some(l.previous),
                    _ => None,
                };
                if let Some(second) = second
                    && m.second(s, site, from, second == truth)
                {
                    found = Some(second);
                }
            }
        }
        let target = match found {
            Some(target) => target,
            None => {
                let missed = Missed {
                    site,
                    from,
                    loose: guess.local.or_else(loose),
                    old_at: guess.old_at,
                    locals,
                };
                self.spell(s, m, &missed, truth)?
            }
        };
        if let Some(old) = guess.old_target {
            self.remap.learn(old, known, target);
        }
        if inside(target) {
            locals.mark(target - site.unit.at, Some(site.index));
        } else if !self.ring.contains(&target) {
            self.ring[self.ring_at % RING] = target;
            self.ring_at += 1;
        }
        Ok(target)
    }

    /// What the old instruction at a place looks like; 0 if that is not known.
    fn old_look(&self, place: Span<Off>) -> u16 {
        let (machine, mut first) = (self.old.machine, [0; 16]);
        let bytes = &mut first[..place.len.min(16) as usize];
        match self.old.file.read(place.at.into(), bytes) {
            Ok(()) => look(machine, bytes, &machine.decode(bytes)),
            Err(_) => 0,
        }
    }

    /// Tells which of the instructions that a label's class and direction leave is meant, nearest first: the first
    /// few are asked about one by one, how many more to pass is coded as a number.
    fn stop<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut TargetModels,
        missed: &Missed,
        (origin, key, known): (Origin, u32, u32),
    ) -> Result<Addr> {
        let Missed { site, locals, .. } = *missed;
        let mut candidates = locals.candidates(origin, key & ANY, key & BACK != 0);
        let last_key = self.last_label.0;
        let length = 32 - (locals.starts().len() as u32).leading_zeros();
        let far = site.away(origin.first_ahead());
        let index = if m.far(s, site, key, last_key, length, far, known >= SCANNED) {
            let more = m.rank(s, site, key, u64::from(known.saturating_sub(SCANNED)));
            let passed = usize::try_from(more.saturating_add(u64::from(SCANNED))).ok();
            passed.and_then(|n| candidates.nth(n)).ok_or_else(nowhere)?
        } else {
            self.ask(s, m, missed, (key, known), candidates)?
        };
        self.last_label = (key, index);
        let start = locals.starts().get(index).copied();
        start.map(|start| site.unit.at + start).ok_or_else(nowhere)
    }

    /// Asks of one candidate after the other whether it is the one of that rank.
    fn ask<S: Symbols>(
        &self,
        s: &mut S,
        m: &mut TargetModels,
        missed: &Missed,
        (key, known): (u32, u32),
        mut candidates: impl Iterator<Item = usize>,
    ) -> Result<usize> {
        let Missed { site, locals, .. } = *missed;
        let (last_key, last_index) = self.last_label;
        let wanted = missed.old_at.map_or(0, |at| self.old_look(at));
        let mut rank = 0;
        loop {
            let index = candidates.next().ok_or_else(nowhere)?;
            if rank + 1 == SCANNED {
                return Ok(index);
            }
            let looks = locals.looks(index);
            let alike = match wanted {
                0 => 0,
                w if w == looks.0 => 1,
                _ => 2,
            };
            let (state, away) = (key | alike << KEY_BITS, site.away(index));
            let near = index.abs_diff(last_index).min(3) as u32;
            if m.stop(s, site, state, rank, looks, away, near, last_key, rank == known) {
                return Ok(index);
            }
            rank += 1;
            if s.exhausted() {
                return Err(nowhere());
            }
        }
    }

    /// Tells a target in one of four ways.
    fn spell<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut TargetModels,
        missed: &Missed,
        truth: Addr,
    ) -> Result<Addr> {
        let Missed { site, from, .. } = *missed;
        let (mut label, mut in_ring, mut unit, mut way) = (None, None, None, ADDRESS);
        if !S::READS {
            label = shortest(missed, truth.since(site.unit.at));
            in_ring = (0..RING).find(|&k| self.ring[(self.ring_at + RING - 1 - k) % RING] == truth);
            unit = self.units.binary_search(&truth).ok();
            way = match (label, in_ring, unit) {
                (Some(_), ..) if site.unit.holds(truth) => LOCAL,
                (_, Some(_), _) => RECENT,
                (_, _, Some(_)) => UNIT,
                _ => ADDRESS,
            };
        }
        match m.way(s, site, from, way) {
            RECENT => {
                let k = m.ring(s, site, in_ring.unwrap_or(0) as u32);
                Ok(self.ring[(self.ring_at + RING - 1 - k as usize) % RING])
            }
            LOCAL => self.label(s, m, missed, label.unwrap_or_default()),
            UNIT => {
                let width = 32 - (self.units.len() as u32).leading_zeros();
                let before = self.units.partition_point(|&u| u <= site.addr) as u32;
                let known = unit.unwrap_or(0) as u32;
                let unit = m.unit(s, width.min(24), site, before, self.last_unit, known);
                self.last_unit = unit;
                self.units.get(unit as usize).copied().ok_or_else(nowhere)
            }
            _ => {
                let base = missed.loose.unwrap_or(self.last_address);
                let known = i64::from(truth) - i64::from(base);
                let away = m.address(s, site, from, missed.loose.is_some(), known);
                let target = i64::from(base).saturating_add(away);
                let target = Addr::try_from(target).map_err(|_| nowhere())?;
                self.last_address = target;
                Ok(target)
            }
        }
    }

    /// Tells a target in the unit by its label.
    fn label<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut TargetModels,
        missed: &Missed,
        (place, label): (u32, Label),
    ) -> Result<Addr> {
        let Missed {
            site, locals, from, ..
        } = *missed;
        let key = label.class | u32::from(label.back) << 2 | place << PLACE;
        let home = locals.home(site.index);
        let ahead = locals.candidates(Origin::at(site.index), 0, false).next();
        let open = ahead.map_or(15, |i| site.away(i));
        let home = home.map_or(0, |h| 1 + site.away(h));
        let guessed = missed.near().is_some();
        let key = m.label(s, site, from, guessed, open, home, self.last_label.0, key);
        let class = key & ANY;
        let origin = origin(missed, key >> PLACE, class).ok_or_else(nowhere)?;
        if s.is_modelled() {
            return self.stop(s, m, missed, (origin, key, label.rank));
        }
        let rank = m.rank(s, site, key, u64::from(label.rank));
        let rank = u32::try_from(rank).unwrap_or(u32::MAX);
        let back = key & BACK != 0;
        let start = locals.resolve(origin, Label { class, back, rank });
        start.map(|start| site.unit.at + start).ok_or_else(nowhere)
    }
}

fn nowhere() -> Error {
    Error::damaged("a reference goes nowhere")
}

/// A reference whose target no guess gave.
struct Missed<'m> {
    site: &'m Site,
    /// What the first guess came from.
    from: u32,
    /// That guess, if it was none of the sure ones too.
    loose: Option<Addr>,
    /// From where the old target lies in the old file to the end of its unit.
    old_at: Option<Span<Off>>,
    locals: &'m Locals,
}

impl Missed<'_> {
    /// A wrong guess inside the unit is often not far off: labels count from there.
    fn near(&self) -> Option<u32> {
        let unit = self.site.unit;
        self.loose
            .filter(|&guess| unit.holds(guess))
            .map(|guess| guess - unit.at)
    }
}

/// The places that a label may count from, by number: where the reference was expected or else where it stands,
/// the jump that leads to its block, and where the last jump went.
fn origin(missed: &Missed, place: u32, class: u32) -> Option<Origin> {
    let Missed { site, locals, .. } = *missed;
    match place {
        0 => Some(match missed.near() {
            Some(offset) => Origin::at(locals.at(offset)),
            None if site.long_form && class != ANY => locals.beyond_short(site.index),
            None => Origin::at(site.index),
        }),
        1 => locals.home(site.index).map(Origin::at),
        2 => locals.last().map(Origin::at),
        _ => None,
    }
}

/// The label of a target with the lowest rank, and the place that it counts from.
fn shortest(missed: &Missed, target: u32) -> Option<(u32, Label)> {
    let locals = missed.locals;
    let from = |place| {
        let label = locals.label(origin(missed, place, 0)?, target)?;
        Some((place, label))
    };
    let bits = |&(_, label): &(u32, Label)| 32 - label.rank.leading_zeros();
    let any = || {
        let label = locals.label_as(ANY, origin(missed, 0, ANY)?, locals.index(target)?)?;
        Some((0, label))
    };
    (0..3).filter_map(from).min_by_key(bits).or_else(any)
}
