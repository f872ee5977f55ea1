//! `.gcc_except_table`: the exception tables of the functions, and how they stand in the section.

mod fields;
mod lsda;
mod sites;

use super::World;
use super::landmarks::Body;
use super::order::{Order, OrderModels};
use crate::budget::Budget;
use crate::code::{Symbols, hash, symbols};
use crate::elf::Numbers;
use crate::elf::encoded::OMIT;
use crate::elf::exceptions::{Lsda, fill_types};
use crate::place::{Addr, SectionId};
use crate::{Error, error::Result};
use lsda::{Coded, LsdaModels, code_lsda};

/// The bytes of a table, and where each unit's part of it is.
type Placed = (Vec<u8>, Vec<(u32, Addr)>);

/// No table.
const NONE: u32 = u32::MAX;
/// No type.
const NO_TYPE: Addr = Addr(u32::MAX);
/// Alignment of tables, in bytes.
const ALIGNMENT: u32 = 4;

/// The section and which unit owns which place in it.
#[derive(Clone, Debug, Default)]
pub struct ExceptionTable {
    /// The section.
    pub bytes: Vec<u8>,
    /// Its address.
    pub addr: Addr,
    /// Offset and unit of each table, ascending; a table that several units share belongs to the first.
    pub starts: Vec<(u32, u32)>,
}

impl ExceptionTable {
    /// Collects the tables from the pointers `(address, unit)`.
    pub fn new(bytes: Vec<u8>, addr: Addr, pointers: impl Iterator<Item = (Addr, u32)>) -> ExceptionTable {
        let inside = |p: &(Addr, u32)| p.0 >= addr && ((p.0 - addr) as usize) < bytes.len();
        let mut starts: Vec<_> = pointers.filter(inside).map(|(a, u)| (a - addr, u)).collect();
        starts.sort_unstable();
        starts.dedup_by_key(|s| s.0);
        ExceptionTable { bytes, addr, starts }
    }

    /// The table at an address, by its place in `starts`.
    pub fn at(&self, addr: Addr) -> Option<usize> {
        let offset = addr.0.checked_sub(self.addr.0)?;
        self.starts.binary_search_by_key(&offset, |s| s.0).ok()
    }

    /// From the start of a table to the start of the next.
    pub fn extent(&self, index: usize) -> (Addr, &[u8]) {
        let from = self.starts[index].0;
        let to = self
            .starts
            .get(index + 1)
            .map_or(self.bytes.len(), |s| s.0 as usize);
        (self.addr.wrapping_add(from), &self.bytes[from as usize..to])
    }
}

/// A table of the new file.
#[derive(Clone, Copy, Debug)]
struct Entry {
    unit: u32,
    /// Place in the old section's order, or none.
    old: u32,
    /// Length of the old table, if it was understood.
    old_len: u32,
    /// Start and length of its bytes.
    bytes: (u32, u32),
    /// Start and number of its types.
    types: (u32, u32),
    encoding: u8,
    specs: u32,
}

/// Codes the exception tables of a file.
#[derive(Debug, Default)]
pub struct Exceptions {
    old: ExceptionTable,
    truth: Option<ExceptionTable>,
    /// How the new and the old file write numbers.
    numbers: Numbers,
    old_numbers: Numbers,
    /// Length of the new section.
    len: u32,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    types: Vec<Addr>,
    m: LsdaModels,
    raw: RawModels,
    last_way: u32,
    /// Old bytes that may still be read; what is past them counts as absent.
    budget: u64,
}

impl Exceptions {
    /// Before the first unit.
    pub fn new(
        world: &World,
        section: SectionId,
        old: ExceptionTable,
        truth: Option<ExceptionTable>,
    ) -> Exceptions {
        let len = world.elf[section].size as u32;
        let mut exceptions = Exceptions {
            budget: 16 * (u64::from(len) + old.bytes.len() as u64),
            old,
            truth,
            numbers: world.elf.numbers,
            old_numbers: world.old.elf.numbers,
            len,
            ..Exceptions::default()
        };
        exceptions.exchange(world.account);
        exceptions
    }

    /// Exchanges the models with those that the account keeps: at the start, and at the end.
    fn exchange(&mut self, account: &Budget) {
        std::mem::swap(&mut self.m, &mut account.lend());
        std::mem::swap(&mut self.raw, &mut account.lend());
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        let tables = self.entries.len() * size_of::<Entry>() + self.bytes.len() + self.types.len() * 4;
        (tables + self.old.bytes.len() + self.old.starts.len() * 8) as u64
    }

    /// The new section, on the writing side.
    pub fn truth(&self) -> Option<&ExceptionTable> {
        self.truth.as_ref()
    }

    /// The old section.
    pub fn old(&self) -> &ExceptionTable {
        &self.old
    }

    /// Codes the table of a unit; `old` and `truth` are its addresses.
    pub fn unit<S: Symbols>(
        &mut self,
        s: &mut S,
        world: &mut World,
        body: &mut Body,
        unit: u32,
        old: Option<Addr>,
        truth: Option<Addr>,
    ) -> Result<()> {
        let place = old.and_then(|a| self.old.at(a));
        let mut was = None;
        if let Some(place) = place {
            let (addr, bytes) = self.old.extent(place);
            if let Some(rest) = self.budget.checked_sub(bytes.len() as u64) {
                self.budget = rest;
                was = Lsda::read(bytes, addr, self.old_numbers);
            }
        }
        let found = self.truth.as_ref().and_then(|t| Some(t.extent(t.at(truth?)?)));
        let is = found.and_then(|(addr, bytes)| Lsda::read(bytes, addr, self.numbers));
        let from = self.bytes.len();
        let limit = self.len as usize - from.min(self.len as usize);
        let mut entry = Entry {
            unit,
            old: place.map_or(NONE, |p| p as u32),
            old_len: was.as_ref().map_or(NONE, |(_, len)| *len as u32),
            bytes: (from as u32, 0),
            types: (self.types.len() as u32, 0),
            encoding: 0,
            specs: 0,
        };
        let plain = found.is_none() || is.is_some();
        if self.raw.plain(s, plain) {
            let coded = Coded {
                old: was.as_ref().map(|(l, _)| l),
                truth: is.as_ref().map(|(l, _)| l),
                numbers: self.numbers,
                limit,
            };
            let lsda = code_lsda(s, &mut self.m, &mut world.targets, body, &coded)?;
            lsda.emit(&mut self.bytes, self.numbers);
            let sites = lsda.sites.iter().map(|s| (s.start, s.end));
            body.landmarks.sites.extend(sites);
            self.types.extend(lsda.types.iter().map(|t| t.unwrap_or(NO_TYPE)));
            entry.types.1 = lsda.types.len() as u32;
            (entry.encoding, entry.specs) = (lsda.types_encoding, lsda.specs.len() as u32);
        } else {
            let truth = found.map_or(&[][..], |(_, b)| b);
            let bytes = self.raw.code(s, truth, limit)?;
            self.bytes.extend_from_slice(&bytes);
        }
        if self.bytes.len() > self.len as usize {
            return Err(Error::damaged("exception tables are too long"));
        }
        entry.bytes.1 = (self.bytes.len() - from) as u32;
        self.entries.push(entry);
        Ok(())
    }

    /// Puts the tables into the section, mostly in the order of the units' frames, `by_frames`; gives its bytes,
    /// and the address of the table of each unit that has one, by units.
    pub fn finish<S: Symbols>(
        mut self,
        s: &mut S,
        account: &Budget,
        addr: Addr,
        by_frames: &[u32],
    ) -> Result<Placed> {
        let (count, mut held) = (self.entries.len(), account.held());
        let lists = size_of::<Entry>() + 2 * size_of::<u32>() + size_of::<(u32, Addr)>();
        let order = Order::needs(count, self.old.starts.len());
        held.set((count * lists) as u64 + order + u64::from(self.len))?;
        let of_unit: Vec<u32> = self.entries.iter().map(|e| e.unit).collect();
        let entry_of = |unit: &u32| of_unit.binary_search(unit).ok();
        let mut rank = vec![NONE; self.entries.len()];
        let mut entries = Vec::with_capacity(self.entries.len());
        for entry in by_frames.iter().filter_map(entry_of) {
            rank[entry] = entries.len() as u32;
            entries.push(self.entries[entry]);
        }
        if entries.len() != self.entries.len() {
            return Err(Error::damaged("an exception table belongs to no frame"));
        }
        self.entries = entries;
        let mut old_order = vec![None; self.old.starts.len()];
        for (item, entry) in self.entries.iter().enumerate() {
            if let Some(place) = old_order.get_mut(entry.old as usize) {
                *place = Some(item as u32);
            }
        }
        let groups = self.entries.iter().map(|_| 0);
        let mut order = Order::new(groups, &old_order);
        order.enter(0);
        let mut models = OrderModels::default();
        let mut truth_items = Vec::new();
        if let Some(truth) = &self.truth {
            let item = |(_, unit): &(u32, u32)| entry_of(unit).map(|e| rank[e]);
            truth_items.extend(truth.starts.iter().map(item));
        }
        let mut out: Vec<u8> = Vec::with_capacity(self.len as usize);
        let mut places = Vec::with_capacity(self.entries.len());
        let mut before = Some((0, 0));
        for i in 0..self.entries.len() {
            let known = truth_items.get(i).copied().flatten();
            let entry = self.entries[order.next(s, &mut models, known)? as usize];
            let until = self.truth.as_ref().map(|t| t.starts[i].0 as usize);
            self.gap(s, &mut out, before, Some(entry), until)?;
            before = Some((entry.old, entry.old_len)).filter(|b| b.0 != NONE && b.1 != NONE);
            let (at, len) = (entry.bytes.0 as usize, entry.bytes.1 as usize);
            let from = out.len();
            out.extend_from_slice(&self.bytes[at..at + len]);
            let place = addr.wrapping_add(from as u32);
            let types = &self.types[entry.types.0 as usize..][..entry.types.1 as usize];
            let types: Vec<_> = types.iter().map(|&t| Some(t).filter(|&t| t != NO_TYPE)).collect();
            let specs = entry.specs as usize;
            fill_types(
                &types,
                (entry.encoding, specs),
                &mut out[from..],
                place,
                self.numbers,
            );
            places.push((entry.unit, place));
        }
        let until = self.truth.as_ref().map(|t| t.bytes.len());
        self.gap(s, &mut out, before, None, until)?;
        if out.len() != self.len as usize {
            return Err(Error::damaged("exception tables do not fill their section"));
        }
        self.exchange(account);
        places.sort_unstable();
        Ok((out, places))
    }

    /// Fills up to the next table, on the writing side up to `until`: with nothing, with zeros that align it, with
    /// those and what followed the old table `before` (its place and length), else with bytes.
    fn gap<S: Symbols>(
        &mut self,
        s: &mut S,
        out: &mut Vec<u8>,
        before: Option<(u32, u32)>,
        next: Option<Entry>,
        until: Option<usize>,
    ) -> Result<()> {
        const NOTHING: u32 = 0;
        const ALIGNED: u32 = 1;
        const AS_OLD: u32 = 2;
        const BYTES: u32 = 3;
        let from = out.len() as u32;
        let limit = (self.len - from.min(self.len)) as usize;
        let usual = (from.next_multiple_of(ALIGNMENT) - from) as usize;
        let old = match before {
            _ if out.is_empty() => &self.old.bytes[..self.old.starts.first().map_or(0, |s| s.0 as usize)],
            Some((place, len)) if (place as usize) < self.old.starts.len() => {
                let rest = self.old.extent(place as usize).1.get(len as usize..);
                rest.unwrap_or_default()
            }
            _ => &[],
        };
        let old = &old[old.iter().take_while(|&&b| b == 0).count()..];
        let truth = self.truth.as_ref().zip(until);
        let known = truth.map_or(&[][..], |(t, u)| &t.bytes[out.len().min(u)..u]);
        let aligned = known
            .split_at_checked(usual)
            .filter(|k| k.0.iter().all(|&b| b == 0));
        let way = match aligned {
            _ if known.is_empty() && usual > 0 => NOTHING,
            Some((_, [])) => ALIGNED,
            Some((_, rest)) if rest == old => AS_OLD,
            _ => BYTES,
        };
        // Tables with types are aligned, those without may not be.
        let typed = next.map_or(2, |e| u32::from(e.encoding != OMIT));
        let (is_old, last) = (!old.is_empty(), self.last_way);
        let way = self.raw.way(s, usual as u32, typed, is_old, last, way);
        self.last_way = way;
        let zeros = if way == ALIGNED || way == AS_OLD { usual } else { 0 };
        let tail = if way == AS_OLD { old } else { &[] };
        if zeros + tail.len() > limit {
            return Err(Error::damaged("exception tables are too long"));
        }
        out.resize(out.len() + zeros, 0);
        out.extend_from_slice(tail);
        if way == BYTES {
            let bytes = self.raw.code(s, known, limit)?;
            out.extend_from_slice(&bytes);
        }
        Ok(())
    }
}

symbols! {
    /// Models of what has no structure, and of how tables stand.
    struct RawModels {
        plain(6, 255) {
            /// The table has the usual form.
            plain: flag by() [0];
        }
        way(10, 255) {
            /// What stands before the next table: 0 nothing, 1 zeros up to a multiple of 4, 2 those and what stood
            /// behind the old table that the last one continues, 3 bytes. `usual`: zeros up to there; `typed`: 1 if
            /// the next table has types, 0 if not, 2 behind the last one; `old`: something but zeros stood there;
            /// `last`: the answer before.
            way: tree(2) by(usual: u32, typed: u32, old: bool, last: u32)
                [
                    hash(1, usual | typed << 2 | u32::from(old) << 4),
                    hash(2, typed << 2 | usual),
                    hash(hash(3, usual | typed << 2 | u32::from(old) << 4), last),
                ];
        }
        length(12, 255) {
            /// Raw bytes.
            length: number by() [0];
        }
        byte(14, 255) {
            /// One of them. `last`: the one before, or 0.
            byte: byte by(last: u32) [1, hash(2, last)];
        }
    }
}

impl RawModels {
    /// Codes bytes that nothing explains, at most `limit`.
    fn code<S: Symbols>(&mut self, s: &mut S, truth: &[u8], limit: usize) -> Result<Vec<u8>> {
        let len = self.length(s, truth.len() as u64);
        if len > limit as u64 {
            return Err(Error::damaged("exception tables are too long"));
        }
        let mut out = Vec::new();
        let mut last = 0;
        for i in 0..len as usize {
            let known = truth.get(i).copied().unwrap_or(0);
            let value = self.byte(s, last, known);
            last = u32::from(value);
            out.push(value);
            if s.exhausted() {
                return Err(Error::damaged("an exception stream ends too early"));
            }
        }
        Ok(out)
    }
}
