//! The records of `.eh_frame` in their order.

use super::read::{Kind, NONE};
use super::{Entry, Lsda, Unwind};
use crate::code::{Model, Symbols, hash};
use crate::elf::encoded::Encoding;
use crate::tables::World;
use crate::tables::order::{Order, OrderModels};
use crate::{Error, error::Result};

const FDE: u32 = 0;
const CIE: u32 = 1;
const STRAY: u32 = 2;
const END: u32 = 3;

#[derive(Debug)]
struct RowModels {
    order: OrderModels,
    row: Model,
    kind: Model,
    stray: Model,
    tail: Model,
    byte: Model,
}

/// An FDE, as its bytes are made from it.
struct Fde<'a> {
    start: u32,
    size: u32,
    cie: u32,
    lsda: Option<(Encoding, Option<u32>)>,
    program: &'a [u8],
    padding: u32,
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_le_bytes());
}

fn put_cie(out: &mut Vec<u8>, addr: u32, kind: &Kind) {
    put(out, kind.body.len() as u32 + 4);
    put(out, 0);
    let from = out.len();
    out.extend_from_slice(&kind.body);
    if let Some((encoding, at)) = kind.field {
        let place = addr.wrapping_add((from + at) as u32);
        encoding.write(&mut out[from + at..], place, kind.personality);
    }
}

fn put_fde(out: &mut Vec<u8>, addr: u32, fde: &Fde) {
    let at = out.len() as u32;
    let field = fde.lsda.map_or(0, |(e, _)| u32::from(e.size));
    put(out, 13 + field + fde.program.len() as u32 + fde.padding);
    put(out, (at + 4).wrapping_sub(fde.cie));
    put(out, fde.start.wrapping_sub(addr.wrapping_add(at + 8)));
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

impl Unwind {
    /// Brings the records into their order; `lsdas` are the addresses of exception tables by units.
    pub(super) fn assemble<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &World,
        lsdas: &[(u32, u32)],
    ) -> Result<Vec<u8>> {
        let damaged = || Error::DamagedPatch("frame records are out of order");
        let mut m = RowModels {
            order: OrderModels::default(),
            row: Model::new(3, 12, 255),
            kind: Model::new(2, 12, 255),
            stray: Model::new(2, 14, 255),
            tail: Model::new(1, 10, 255),
            byte: Model::new(1, 10, 255),
        };
        let mut old_order = vec![None; self.old.rows.len()];
        for (item, entry) in self.entries.iter().enumerate() {
            if let Some(place) = old_order.get_mut(entry.old as usize) {
                *place = Some(item as u32);
            }
        }
        let mut order = Order::new(self.entries.iter().map(|e| e.kind), &old_order);
        drop(old_order);
        let mut out: Vec<u8> = Vec::with_capacity(self.len as usize);
        let mut latest: Vec<Option<u32>> = vec![None; self.kinds.len()];
        let mut left = self.entries.len();
        let mut rows = 0;
        let mut history = 0u32;
        let mut last_start = self.addr;
        loop {
            let truth = self.truth.as_ref().map(|t| t.rows.get(rows).copied());
            let known = truth.map_or(0, |row| match row {
                None => END,
                Some(row) if row.is_cie => CIE,
                Some(row) if row.unit == NONE => STRAY,
                Some(_) => FDE,
            });
            let truth = truth.flatten();
            rows += 1;
            let old_row = self.old.rows.get(order.cursor() as usize).copied();
            let state = old_row.map_or(2, |r| u32::from(r.is_cie))
                | u32::from(order.neighbour().is_some()) << 2
                | u32::from(left == 0) << 3;
            let contexts = [
                hash(1, state),
                hash(2, state | (history & 0xff) << 4),
                hash(3, history & 3),
            ];
            let row = s.tree(&mut m.row, &contexts, 2, known);
            history = history << 2 | row;
            match row {
                FDE => {
                    let item = truth.map(|t| self.entries.partition_point(|e| e.unit < t.unit) as u32);
                    let entry = &self.entries[order.next(s, &mut m.order, item)? as usize];
                    let cie = latest[usize::from(entry.kind)].ok_or_else(damaged)?;
                    let fde = self.fde(entry, cie, world, lsdas).ok_or_else(damaged)?;
                    last_start = fde.start;
                    put_fde(&mut out, self.addr, &fde);
                    left = left.saturating_sub(1);
                }
                CIE => {
                    let old_kind = old_row.filter(|r| r.is_cie).map(|r| usize::from(r.kind));
                    let expected = old_kind.and_then(|k| self.kind_of_old[k]);
                    let first = u32::from(expected.unwrap_or(255));
                    let known = truth.map_or(0, |t| t.kind);
                    let kind = s.byte(
                        &mut m.kind,
                        &[hash(1, first), hash(2, latest.len() as u32)],
                        known,
                    );
                    let at = latest.get_mut(usize::from(kind)).ok_or_else(damaged)?;
                    *at = Some(out.len() as u32);
                    put_cie(&mut out, self.addr, &self.kinds[usize::from(kind)]);
                    if old_row.is_some_and(|r| r.is_cie) {
                        order.pass(order.cursor());
                    }
                    order.enter(kind);
                }
                STRAY => {
                    let at = truth.map_or(0, |t| t.at);
                    self.stray(
                        s,
                        &mut m,
                        (rows - 1) as u32,
                        at,
                        &latest,
                        &mut last_start,
                        &mut out,
                    )?;
                }
                _ => break,
            }
            if out.len() > self.len as usize || s.exhausted() {
                return Err(damaged());
            }
        }
        // What follows the last record: the terminator.
        let rest = self.len as usize - out.len();
        let known = self.truth.as_ref().map(|t| &t.bytes[out.len()..]);
        let zeros = known.is_none_or(|k| k.iter().all(|&b| b == 0));
        if s.flag(&mut m.tail, &[0], zeros) {
            out.resize(self.len as usize, 0);
            return Ok(out);
        }
        for i in 0..rest {
            out.push(s.byte(&mut m.byte, &[0], known.map_or(0, |k| k[i])));
            if s.exhausted() {
                return Err(damaged());
            }
        }
        Ok(out)
    }

    fn fde<'a>(&'a self, entry: &Entry, cie: u32, world: &World, lsdas: &[(u32, u32)]) -> Option<Fde<'a>> {
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
    #[allow(clippy::too_many_arguments)]
    fn stray<S: Symbols>(
        &mut self,
        s: &mut S,
        m: &mut RowModels,
        row: u32,
        at: u32,
        latest: &[Option<u32>],
        last_start: &mut u32,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let damaged = || Error::DamagedPatch("a frame record makes no sense");
        debug_assert!(self.truth.is_none() || at as usize == out.len());
        let truth = self.truth.as_ref().and_then(|t| Some((t, t.fde(row)?)));
        let known = self.truth.as_ref().map_or(0, |t| t.rows[row as usize].kind);
        let kind = s.byte(&mut m.kind, &[3, 4], known);
        let cie = latest
            .get(usize::from(kind))
            .copied()
            .flatten()
            .ok_or_else(damaged)?;
        let away = truth
            .as_ref()
            .map_or(0, |(_, t)| i64::from(t.start) - i64::from(*last_start));
        let away = s.signed(&mut m.stray, &[1, 2], away);
        let start = u32::try_from(i64::from(*last_start).saturating_add(away)).map_err(|_| damaged())?;
        let size = s.number(
            &mut m.stray,
            &[3, 4],
            truth.as_ref().map_or(0, |(_, t)| u64::from(t.size)),
        );
        let size = u32::try_from(size).map_err(|_| damaged())?;
        *last_start = start;
        let mut lsda = None;
        if let Some(encoding) = self.kinds[usize::from(kind)].lsda {
            let known = truth
                .as_ref()
                .and_then(|(_, t)| t.lsda.flatten())
                .map_or(0, |a| u64::from(a) + 1);
            let addr = s.number(&mut m.stray, &[5, 6], known);
            let addr = addr.checked_sub(1).map(u32::try_from).transpose();
            lsda = Some((encoding, addr.map_err(|_| damaged())?));
        }
        let program = truth
            .as_ref()
            .map_or(&[][..], |(t, f)| &t.bytes[f.program.clone()]);
        let mut bytes = Vec::new();
        self.programs.raw(s, program, &mut bytes)?;
        let fde = Fde {
            start,
            size,
            cie,
            lsda,
            program: &bytes,
            padding: 0,
        };
        put_fde(out, self.addr, &fde);
        Ok(())
    }
}
