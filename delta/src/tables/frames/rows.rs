//! The records of `.eh_frame` in their order.

use super::read::{Kind, NONE};
use super::{Entry, Lsda, Unwind};
use crate::budget::Held;
use crate::code::{Symbols, hash, symbols};
use crate::elf::Numbers;
use crate::elf::encoded::Encoding;
use crate::place::{Addr, Place};
use crate::tables::World;
use crate::tables::order::{Order, OrderModels};
use crate::{Error, error::Result};

const FDE: u32 = 0;
const CIE: u32 = 1;
const STRAY: u32 = 2;
const END: u32 = 3;

symbols! {
    /// Models of records.
    struct RowModels {
        row(12, 255) {
            /// What the next record is. `state`: what stands at the place in the old order, 1 a CIE, 0 an FDE, 2
            /// nothing, plus 4 if there is a neighbour, plus 8 if no FDE is left; `history`: for each record so far two
            /// bits, the last one lowest.
            row: tree(2) by(state: u32, history: u32)
                [hash(1, state), hash(2, state | (history & 0xff) << 4), hash(3, history & 3)];
        }
        kind(12, 255) {
            /// A CIE is what the old one became.
            follows: flag by() [1, 2];
            /// The kind of a CIE. `first`: what the old one became, or 255.
            cie: byte by(first: u32) [hash(1, first), 3];
            /// The kind of a stray FDE.
            stray_kind: byte by() [3, 4];
        }
        stray(14, 255) {
            /// The start of a stray FDE against the last one's.
            start: signed by() [1, 2];
            /// Its size.
            size: number by() [3, 4];
            /// Its exception table plus one, 0 for none.
            lsda: number by() [5, 6];
        }
    }
}

symbols! {
    /// Models of what follows the last record.
    struct RestModels {
        rest(10, 255) {
            /// All of it is zero.
            zeros: flag by() [1 << 20];
            /// A byte.
            byte: byte by() [0];
        }
    }
}

/// An FDE, as its bytes are made from it.
struct Fde<'a> {
    start: Addr,
    size: u32,
    cie: u32,
    lsda: Option<(Encoding, Option<Addr>)>,
    program: &'a [u8],
    padding: u32,
}

fn put_cie(out: &mut Vec<u8>, numbers: Numbers, addr: Addr, kind: &Kind) {
    let put = |out: &mut Vec<u8>, word: u32| out.extend_from_slice(&numbers.of_word(word));
    put(out, kind.body.len() as u32 + 4);
    put(out, 0);
    let from = out.len();
    out.extend_from_slice(&kind.body);
    if let Some((encoding, at)) = kind.field {
        let place = addr.wrapping_add((from + at) as u32);
        encoding.write(&mut out[from + at..], place, kind.personality);
    }
}

fn put_fde(out: &mut Vec<u8>, numbers: Numbers, addr: Addr, fde: &Fde) {
    let put = |out: &mut Vec<u8>, word: u32| out.extend_from_slice(&numbers.of_word(word));
    let at = out.len() as u32;
    let field = fde.lsda.map_or(0, |(e, _)| u32::from(e.size));
    put(out, 13 + field + fde.program.len() as u32 + fde.padding);
    put(out, (at + 4).wrapping_sub(fde.cie));
    put(out, fde.start.since(addr.wrapping_add(at + 8)));
    put(out, fde.size);
    out.push(field as u8);
    if let Some((encoding, target)) = fde.lsda {
        let from = out.len();
        out.resize(from + field as usize, 0);
        encoding.write(&mut out[from..], addr.wrapping_add(from as u32), target);
    }
    out.extend_from_slice(fde.program);
    out.resize(out.len() + fde.padding as usize, 0);
}

/// A record in its order.
#[derive(Clone, Debug)]
pub(super) enum Row {
    /// A CIE of this kind.
    Cie(u8),
    /// The FDE of a unit, by its entry.
    Fde(u32),
    /// An FDE that describes no unit.
    Stray(Box<Stray>),
}

#[derive(Clone, Debug)]
pub(super) struct Stray {
    start: Addr,
    size: u32,
    kind: u8,
    lsda: Option<Addr>,
    program: Vec<u8>,
}

/// Bytes that a record counts for, and an FDE of no unit beside its program.
const ROW_MEMORY: u64 = 16;
const STRAY_MEMORY: u64 = 64;

impl Stray {
    fn memory(&self) -> u64 {
        STRAY_MEMORY + self.program.len() as u64
    }
}

/// Bytes of memory that records hold.
pub(super) fn memory(rows: &[Row]) -> u64 {
    let strays = rows.iter().map(|row| match row {
        Row::Stray(stray) => stray.memory(),
        _ => 0,
    });
    ROW_MEMORY * rows.len() as u64 + strays.sum::<u64>()
}

impl Unwind {
    /// Codes the order of the records.
    pub(super) fn code_rows<S: Symbols>(&mut self, s: &mut S, held: &mut Held) -> Result<Vec<Row>> {
        let damaged = || Error::damaged("frame records are out of order");
        let (mut m, mut orders) = (RowModels::default(), OrderModels::default());
        let needs = Order::needs(self.entries.len(), self.old.rows.len());
        held.set(needs)?;
        let mut old_order = vec![None; self.old.rows.len()];
        for (item, entry) in self.entries.iter().enumerate() {
            if let Some(place) = old_order.get_mut(entry.old as usize) {
                *place = Some(item as u32);
            }
        }
        let mut order = Order::new(self.entries.iter().map(|e| e.kind), &old_order);
        drop(old_order);
        let mut rows = Vec::with_capacity(self.entries.len() + self.kinds.len());
        let mut left = self.entries.len();
        let (mut size, mut strays) = (0usize, 0);
        let mut history = 0u32;
        let mut last_start = self.addr;
        loop {
            let truth = self.truth.as_ref().map(|t| t.rows.get(rows.len()).copied());
            let known = truth.map_or(0, |row| match row {
                None => END,
                Some(row) if row.is_cie => CIE,
                Some(row) if row.unit == NONE => STRAY,
                Some(_) => FDE,
            });
            let truth = truth.flatten();
            let old_row = self.old.rows.get(order.cursor() as usize).copied();
            let state = old_row.map_or(2, |r| u32::from(r.is_cie))
                | u32::from(order.neighbour().is_some()) << 2
                | u32::from(left == 0) << 3;
            let row = m.row(s, state, history, known);
            history = history << 2 | row;
            let row = match row {
                FDE => {
                    let item = truth.map(|t| self.entries.partition_point(|e| e.unit < t.unit) as u32);
                    let item = order.next(s, &mut orders, item)?;
                    left = left.saturating_sub(1);
                    Row::Fde(item)
                }
                CIE => {
                    let old_kind = old_row.filter(|r| r.is_cie).map(|r| usize::from(r.kind));
                    let expected = old_kind.and_then(|k| self.kind_of_old[k]);
                    let first = u32::from(expected.unwrap_or(255));
                    let hit = truth.is_some_and(|t| Some(t.kind) == expected);
                    let kind = match expected {
                        Some(kind) if m.follows(s, hit) => kind,
                        _ => {
                            let known = truth.map_or(0, |t| t.kind);
                            m.cie(s, first, known)
                        }
                    };
                    if usize::from(kind) >= self.kinds.len() {
                        return Err(damaged());
                    }
                    if old_row.is_some_and(|r| r.is_cie) {
                        order.pass(order.cursor());
                    }
                    order.enter(kind);
                    size += self.kinds[usize::from(kind)].body.len();
                    Row::Cie(kind)
                }
                STRAY => {
                    let stray = self.stray(s, &mut m, rows.len() as u32, &mut last_start)?;
                    size += stray.program.len();
                    strays += stray.memory();
                    Row::Stray(Box::new(stray))
                }
                _ => break,
            };
            // Every record takes 17 bytes at least, a CIE a few less.
            size += 8;
            rows.push(row);
            if size > self.len as usize || s.exhausted() {
                return Err(damaged());
            }
            if rows.len().is_multiple_of(1024) {
                held.set(needs + ROW_MEMORY * rows.len() as u64 + strays)?;
            }
        }
        held.set(memory(&rows))?;
        Ok(rows)
    }

    /// Puts the records together; `lsdas` are the addresses of exception tables by units.
    pub(super) fn assemble<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &World,
        rows: &[Row],
        lsdas: &[(u32, Addr)],
    ) -> Result<Vec<u8>> {
        let damaged = || Error::damaged("frame records are out of order");
        let numbers = world.elf.numbers;
        let mut out: Vec<u8> = Vec::with_capacity(self.len as usize);
        let mut latest: Vec<Option<u32>> = vec![None; self.kinds.len()];
        for row in rows {
            match row {
                Row::Cie(kind) => {
                    latest[usize::from(*kind)] = Some(out.len() as u32);
                    put_cie(&mut out, numbers, self.addr, &self.kinds[usize::from(*kind)]);
                }
                Row::Fde(item) => {
                    let entry = &self.entries[*item as usize];
                    let cie = latest[usize::from(entry.kind)].ok_or_else(damaged)?;
                    let fde = self.fde(entry, cie, world, lsdas).ok_or_else(damaged)?;
                    put_fde(&mut out, numbers, self.addr, &fde);
                }
                Row::Stray(stray) => {
                    let fde = Fde {
                        start: stray.start,
                        size: stray.size,
                        cie: latest[usize::from(stray.kind)].ok_or_else(damaged)?,
                        lsda: self.kinds[usize::from(stray.kind)].lsda.map(|e| (e, stray.lsda)),
                        program: &stray.program,
                        padding: 0,
                    };
                    put_fde(&mut out, numbers, self.addr, &fde);
                }
            }
            if out.len() > self.len as usize {
                return Err(damaged());
            }
        }
        // What follows the last record: the terminator.
        let rest = self.len as usize - out.len();
        let known = self.truth.as_ref().map(|t| &t.bytes[out.len()..]);
        let zeros = known.is_none_or(|k| k.iter().all(|&b| b == 0));
        let mut m = RestModels::default();
        if m.zeros(s, zeros) {
            out.resize(self.len as usize, 0);
            return Ok(out);
        }
        for i in 0..rest {
            out.push(m.byte(s, known.map_or(0, |k| k[i])));
            if s.exhausted() {
                return Err(damaged());
            }
        }
        Ok(out)
    }

    fn fde<'a>(&'a self, entry: &Entry, cie: u32, world: &World, lsdas: &[(u32, Addr)]) -> Option<Fde<'a>> {
        let unit = world.units.get(entry.unit as usize)?;
        let address = |unit: u32| {
            let i = lsdas.binary_search_by_key(&unit, |l| l.0).ok()?;
            Some(lsdas[i].1)
        };
        let lsda = match entry.lsda {
            Lsda::Absent => None,
            Lsda::Own => Some(address(entry.unit)?),
            Lsda::Shared(owner) => Some(address(owner)?),
            Lsda::Other(addr) => Some(addr),
        };
        let (from, len) = (entry.program.0 as usize, entry.program.1 as usize);
        Some(Fde {
            start: world.code.addr(unit.at)?,
            size: unit.size,
            cie,
            lsda: self.kinds[usize::from(entry.kind)].lsda.map(|e| (e, lsda)),
            program: &self.bytes[from..from + len],
            padding: entry.padding,
        })
    }

    /// Codes an FDE that describes no unit.
    fn stray<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut RowModels,
        row: u32,
        last_start: &mut Addr,
    ) -> Result<Stray> {
        let damaged = || Error::damaged("a frame record makes no sense");
        let truth = self.truth.as_ref().and_then(|t| Some((t, t.fde(row)?)));
        let known = self.truth.as_ref().map_or(0, |t| t.rows[row as usize].kind);
        let kind = m.stray_kind(s, known);
        let has_lsda = self
            .kinds
            .get(usize::from(kind))
            .ok_or_else(damaged)?
            .lsda
            .is_some();
        let away = truth
            .as_ref()
            .map_or(0, |(_, t)| i64::from(t.start) - i64::from(*last_start));
        let away = m.start(s, away);
        let start = Addr::try_from(i64::from(*last_start).saturating_add(away)).map_err(|_| damaged())?;
        let size = truth.as_ref().map_or(0, |(_, t)| u64::from(t.size));
        let size = u32::try_from(m.size(s, size)).map_err(|_| damaged())?;
        *last_start = start;
        let mut lsda = None;
        if has_lsda {
            let known = truth.as_ref().and_then(|(_, t)| t.lsda.flatten());
            let addr = m.lsda(s, known.map_or(0, |a| u64::from(a) + 1));
            let addr = addr.checked_sub(1).map(Addr::try_from).transpose();
            lsda = addr.map_err(|_| damaged())?;
        }
        let program = truth
            .as_ref()
            .map_or(&[][..], |(t, f)| &t.bytes[f.program.clone()]);
        let mut bytes = Vec::new();
        self.programs.raw(s, program, &mut bytes)?;
        Ok(Stray {
            start,
            size,
            kind,
            lsda,
            program: bytes,
        })
    }
}
