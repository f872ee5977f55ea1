//! Relocations of an object, which is not linked yet: each row continues an old one, its field, its symbol and what it
//! leads to are where those went.
//!
//! A row has a field in the section that the table is for, a symbol, and mostly an addend, which with the symbol of a
//! section says where in it. Source of the layout: System V gABI, "Relocation".

mod fields;
mod old;

use self::fields::{Fields, Open};
use self::old::{Names, Old, ROW, is_code, target};
use super::relocations::{Form, Row};
use super::{BYTE_MODELS, Made, Spent, Table, TableModel, World};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::elf::{Elf, Section};
use crate::place::{Addr, Place as _, SectionId};
use crate::predict::UnitView;
use crate::{Error, error::Result};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a row is.
const SAME: u64 = 0;
const CHANGED: u64 = 1;
const FRESH: u64 = 2;
const SKIP: u64 = 3;

/// Old rows among which one is looked for that a new one continues.
const AHEAD: usize = 64;
/// Symbols that are remembered.
const RECENT: usize = 15;
/// What a field of code counts from is behind it.
const BEHIND: u64 = 4;

symbols! {
    /// Rows of objects. `site`: 1 if the table is for code, plus twice the type of the old row. `unsure`: 1 if no cover
    /// holds the field of the old row, plus 2 if none holds what it leads to. `sight`: what of the field of the next old
    /// row and the next open one: 0 the table is not for code, 1 no field is open, 2 they are the same, 3 the open one
    /// comes first, 4 the old row's, 5 no old row is left. `h`: for each row so far what it was, two bits each, the last
    /// one lowest. `kind`: type of the row. `look`: what the instruction of an open field is known by, 0 for another.
    struct RowModels {
        row(16, 1023) {
            /// 0 as foreseen of the next old row, 1 that with changes, 2 a new one, 3 some old rows are skipped.
            row: number by(site: u32, unsure: u32, sight: u32, h: u32)
                [
                    hash(hash(1, site), unsure | sight << 2),
                    hash(hash(2, unsure | sight << 2), h & 0xff),
                    hash(hash(hash(3, site), unsure | sight << 2), h & 0xffff),
                ];
        }
        skip(12, 255) {
            /// Old rows that are skipped, less one. `before`: those whose field stands before the next open one, less one.
            skip: number by(site: u32, before: u32) [hash(1, before), hash(hash(2, site), before)];
        }
        changed(8, 255) {
            /// Behind that: 1 if the row is not as foreseen.
            changed: number by(unsure: u32) [unsure];
        }
        hit(12, 255) {
            /// Part `i` of a changed row is as foreseen: 0 the field, 1 type and symbol, 2 the addend. `missed`: the parts
            /// before that were not, a bit each.
            hit: flag by(i: u32, site: u32, unsure: u32, missed: u32)
                [hash(hash(1, i), missed), hash(hash(2, site), i), hash(hash(3, i), unsure | missed << 2)];
        }
        open(12, 255) {
            /// Which of the open fields behind that of the row before, from 1; 0 for another.
            open: number by(site: u32, sight: u32) [hash(1, sight), hash(hash(2, site), sight)];
        }
        offset(14, 255) {
            /// Where the field is against that of the row before. `last`: how far that one was from the one before it, at
            /// most 255.
            offset: signed by(site: u32, last: u32) [hash(1, site & 1), hash(hash(2, site), last)];
        }
        kind(12, 255) {
            /// The type, against that of the row before.
            kind: signed by(site: u32, before: u32, look: u32)
                [hash(1, site & 1), hash(hash(2, site), before), hash(hash(3, look), before)];
        }
        recent(14, 255) {
            /// Which of the symbols used last, from 1; 0 for another.
            recent: tree(4) by(site: u32, kind: u32, look: u32)
                [hash(1, site & 1), hash(2, kind), hash(hash(3, kind), look)];
        }
        symbol(14, 255) {
            /// The symbol, against the last one of that type.
            symbol: signed by(site: u32, kind: u32) [hash(1, site & 1), hash(hash(2, site), kind)];
        }
        addend(16, 255) {
            /// The addend, against what is foreseen of it (`foreseen`), else against that of the row before with this
            /// symbol if it is that of a section (`inside`), or of this type.
            addend: signed by(kind: u32, inside: bool, foreseen: bool)
                [
                    hash(1, u32::from(inside) | u32::from(foreseen) << 1),
                    hash(hash(2, kind), u32::from(inside) | u32::from(foreseen) << 1),
                ];
        }
    }
}

/// All such tables of a file.
#[derive(Debug, Default)]
pub struct Objects {
    fields: Fields,
}

impl<'w> TableModel<'w> for Objects {
    const STREAMS: &'static [(Stream, Spent)] = &[(Stream::Pointers, Spent::Parts("(relocations)"))];
    const MODELS: u64 = BYTE_MODELS;

    fn by_type(elf: &Elf, section: SectionId) -> Option<Table> {
        Form::of_object(elf, &elf[section]).map(|_| Table::Objects)
    }

    fn fits(_: super::Image<'_>) -> impl Fn(SectionId, Table) -> bool {
        |_, _| true
    }

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Objects>> {
        let any = world.choices.sections(Table::Objects).next();
        Ok(any.map(|_| Objects::default()))
    }

    fn unit<S: Symbols>(
        &mut self,
        _: &mut Streams<S>,
        _: &mut World<'w>,
        view: &mut UnitView,
        _: u32,
        _: &mut Made,
    ) -> Result<()> {
        self.fields.unit(view);
        Ok(())
    }

    fn memory(&self) -> u64 {
        self.fields.memory()
    }

    fn finish<S: Symbols>(
        mut self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        let mut models = world.account.lend::<RowModels>();
        let mut held = world.account.held();
        let mut fields = world.account.held();
        fields.set(self.fields.memory())?;
        self.fields.sort();
        let mut names: BTreeMap<SectionId, Names> = BTreeMap::new();
        for table in world.choices.sections(Table::Objects) {
            let link = world.elf[table].link;
            if !names.contains_key(&link) {
                let known: u64 = names.values().map(Names::memory).sum();
                held.set(known + Names::needs(world, link))?;
                names.insert(link, Names::of(world, link, made)?);
                held.set(names.values().map(Names::memory).sum())?;
            }
            let bytes = match names.get(&link) {
                Some(names) => {
                    let known = (&*world, names, &self.fields);
                    self::table(streams.get(Stream::Pointers), &mut models, known, table)?
                }
                None => Vec::new(),
            };
            made.section(world, table, bytes)?;
        }
        made.symbols.clear();
        Ok(())
    }
}

/// The section of a symbol that is a section's, if it is loaded.
fn inside<'e>(elf: &'e Elf, sections: &[u16], info: u64) -> Option<&'e Section> {
    let section = *sections.get((info >> 32) as usize)?;
    let section = elf.sections.get(usize::from(section)).filter(|_| section != 0)?;
    section.is_loaded().then_some(section)
}

/// What is foreseen of an old row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Foreseen {
    row: Row,
    unsure: u32,
}

/// One way through a table.
struct Pass<'p, 'w> {
    m: &'p mut RowModels,
    world: &'p World<'w>,
    names: &'p Names,
    old: Vec<Old>,
    /// Whether rows have addends.
    addends: bool,
    /// The code that the table is for, if it is, and the fields that are open there; how many of them were passed.
    code: Option<&'p Section>,
    open: &'p [Open],
    passed: usize,
    next: usize,
    history: u32,
    /// The row before, and how far its field was from the one before that.
    last: Row,
    step: u64,
    /// Symbols used lately, the last one first, and the last one by type.
    recent: Vec<u64>,
    symbols: BTreeMap<u32, u64>,
    /// The last addend by symbol, where that is a section's, and by type.
    by_symbol: BTreeMap<u64, u64>,
    by_kind: BTreeMap<u64, u64>,
}

/// Codes the rows of one table, and gives its bytes.
fn table<S: Symbols>(
    s: &mut S,
    m: &mut RowModels,
    (world, names, fields): (&World, &Names, &Fields),
    table: SectionId,
) -> Result<Vec<u8>> {
    let damaged = Error::damaged("a table of relocations that is none");
    let form = Form::of_object(world.elf, &world.elf[table]).ok_or(damaged)?;
    let mut held = world.account.held();
    let code = target(world.elf, table).filter(|s| is_code(s));
    let mut old = Vec::new();
    if let Some(code) = code {
        let from = |addr: u64| names.code.partition_point(|old| u64::from(old.place) < addr);
        let went = &names.code[from(code.addr)..from(code.addr + code.size)];
        held.set(went.len() as u64 * 2 * ROW)?;
        old = went.to_vec();
        old.sort_by_key(|old| old.run);
    } else if let Some(paired) = world.pairs[table.index()]
        && let Some(form) = Form::of_object(&world.old.elf, &world.old.elf[paired])
    {
        let size = world.old.elf[paired].size;
        held.set(size + size / form.row() as u64 * 2 * ROW)?;
        let bytes = world.old_bytes(table)?;
        let rows = form.rows(world.old.machine, &bytes, &|_| None).map(|row| Old {
            row,
            ..Old::default()
        });
        old = rows.collect();
    }
    let truth = world
        .true_bytes(table)
        .map(|bytes| form.rows(world.old.machine, bytes, &|_| None).collect::<Vec<_>>());
    let kept = held;
    let mut rows = world.account.held();
    let mut pass = Pass {
        m,
        world,
        names,
        old,
        addends: form.has_addends(),
        code,
        open: code.map_or(&[], |code| fields.within(code.addr, code.size)),
        passed: 0,
        next: 0,
        history: 0,
        last: Row::default(),
        step: 0,
        recent: Vec::new(),
        symbols: BTreeMap::new(),
        by_symbol: BTreeMap::new(),
        by_kind: BTreeMap::new(),
    };
    let (mut bytes, count) = (Vec::new(), world.elf[table].size as usize / form.row());
    for k in 0..count {
        let ahead = truth.as_ref().and_then(|t| t.get(k..));
        let row = pass.row(s, ahead)?;
        pass.pass(row);
        form.put(row, &mut bytes);
        if s.exhausted() {
            return Err(Error::damaged("the pointer stream ends too early"));
        }
        if k % 1024 == 0 {
            world.account.go_on(64)?;
            let listed = ENTRY * (pass.symbols.len() + pass.by_symbol.len() + pass.by_kind.len()) as u64;
            rows.set(2 * bytes.len() as u64 + listed)?;
        }
    }
    drop(kept);
    Ok(bytes)
}

/// Bytes that an addend remembered counts for.
const ENTRY: u64 = 48;

impl Pass<'_, '_> {
    /// What becomes of an old row.
    fn foresee(&self, index: usize) -> Foreseen {
        let (
            world,
            Old {
                row: old,
                place,
                unsure,
                ..
            },
        ) = (self.world, self.old[index]);
        let map = world.targets.map();
        let mut unsure = u32::from(unsure);
        let offset = match self.code {
            Some(code) => place.since(Addr(code.addr as u32)).into(),
            None => {
                let before = index.checked_sub(1).map_or(0, |i| self.old[i].row.offset);
                self.last.offset.wrapping_add(old.offset.wrapping_sub(before))
            }
        };
        let info = self.names.now(old.info >> 32) << 32 | old.info & 0xffff_ffff;
        let (was, is) = (
            inside(&world.old.elf, &self.names.old, old.info),
            inside(world.elf, &self.names.new, info),
        );
        let mut addend = old.addend;
        if let (true, Some(was), Some(is)) = (self.addends, was, is) {
            let behind = if self.code.is_some() { BEHIND } else { 0 };
            let into = addend.wrapping_add(behind);
            if into == was.size {
                addend = is.size.wrapping_sub(behind);
            } else if into < was.size {
                let addr = Addr((was.addr as u32).wrapping_add(into as u32));
                unsure |= u32::from(map.project(addr).is_none()) << 1;
                let now = map.guess(addr).since(Addr(is.addr as u32));
                addend = i64::from(now as i32).wrapping_sub(behind as i64) as u64;
            }
        }
        let row = Row { offset, info, addend };
        Foreseen { row, unsure }
    }

    /// On the writing side: the old row that a new one continues, from the next one on.
    fn partner(&self, ahead: &[Row]) -> Option<usize> {
        let t = ahead.first()?;
        let all = self.next..self.old.len().min(self.next + AHEAD);
        let foreseen: Vec<Row> = all.map(|index| self.foresee(index).row).collect();
        let place = |r: &Row, t: &Row| {
            if self.code.is_some() {
                r.offset == t.offset
            } else {
                r.addend == t.addend
            }
        };
        let alike = |r: &Row, t: &Row| r.info == t.info && place(r, t);
        let found = foreseen.iter().position(|r| r == t);
        let found = found.or_else(|| foreseen.iter().position(|r| alike(r, t)));
        let found = found.or_else(|| {
            let mut all = foreseen.iter().filter(|_| self.code.is_some());
            all.position(|r| r.offset == t.offset)
        });
        // A row between others that go on was changed.
        let between = || {
            let (here, behind) = (foreseen.first()?, foreseen.get(1)?);
            let goes_on = ahead.get(1).is_some_and(|t| alike(behind, t));
            (goes_on && (here.info == t.info || place(here, t))).then_some(0)
        };
        found.or_else(between).map(|away| self.next + away)
    }

    /// Codes one row; `ahead` begins with it, on the writing side.
    fn row<S: Symbols>(&mut self, s: &mut S, ahead: Option<&[Row]>) -> Result<Row> {
        let t = ahead.and_then(|t| t.first()).copied().unwrap_or_default();
        if self.next >= self.old.len() {
            return Ok(self.fresh(s, t));
        }
        let foreseen = self.foresee(self.next);
        let site = self.site(self.old[self.next].row);
        let sight = self.sight();
        let right = ahead.is_some() && foreseen.row == t;
        let partner = match right {
            true => Some(self.next),
            false => ahead.and_then(|ahead| self.partner(ahead)),
        };
        let known = match partner {
            _ if right => SAME,
            None => FRESH,
            Some(index) if index == self.next => CHANGED,
            Some(_) => SKIP,
        };
        let what = self.m.row(s, site, foreseen.unsure, sight, self.history, known);
        let what = what.min(SKIP);
        self.history = self.history << 2 | what as u32;
        match what {
            SAME => {
                self.next += 1;
                Ok(foreseen.row)
            }
            CHANGED => {
                self.next += 1;
                Ok(self.changed(s, (site, foreseen), t))
            }
            SKIP => {
                let skip = partner.map_or(0, |p| (p - self.next).saturating_sub(1));
                let skip = self.m.skip(s, site, self.before(), skip as u64);
                let index = usize::try_from(skip)
                    .ok()
                    .and_then(|n| self.next.checked_add(n)?.checked_add(1));
                let index = index.filter(|&i| i < self.old.len());
                let index = index.ok_or(Error::damaged("a relocation continues one that is not there"))?;
                self.next = index + 1;
                let foreseen = self.foresee(index);
                let differs = u64::from(foreseen.row != t);
                match self.m.changed(s, foreseen.unsure, differs) {
                    0 => Ok(foreseen.row),
                    _ => Ok(self.changed(s, (self.site(self.old[index].row), foreseen), t)),
                }
            }
            _ => Ok(self.fresh(s, t)),
        }
    }

    /// What of the field of the next old row and the next open one.
    fn sight(&self) -> u32 {
        match (self.code, self.open.get(self.passed), self.old.get(self.next)) {
            (None, ..) => 0,
            (_, None, _) => 1,
            (.., None) => 5,
            (_, Some(open), Some(old)) => match open.addr.cmp(&old.place) {
                Ordering::Equal => 2,
                Ordering::Less => 3,
                Ordering::Greater => 4,
            },
        }
    }

    /// Old rows behind the next one, at most 15, whose field stands before the next open one too.
    fn before(&self) -> u32 {
        let open = self.open.get(self.passed).map_or(Addr(0), |open| open.addr);
        let behind = self.old.iter().skip(self.next + 1).take(15);
        behind.take_while(|old| old.place < open).count() as u32
    }

    fn site(&self, old: Row) -> u32 {
        u32::from(self.code.is_some()) | (old.info as u32) << 1
    }

    /// Codes a row that is not as foreseen.
    fn changed<S: Symbols>(&mut self, s: &mut S, (site, foreseen): (u32, Foreseen), t: Row) -> Row {
        let Foreseen { row: mut new, unsure } = foreseen;
        let mut missed = 0;
        if !self.m.hit(s, 0, site, unsure, missed, new.offset == t.offset) {
            missed |= 1;
            new.offset = self.offset(s, site, t);
        }
        if !self.m.hit(s, 1, site, unsure, missed, new.info == t.info) {
            missed |= 2;
            new.info = self.info(s, site, new.offset, t);
        }
        if self.addends && !self.m.hit(s, 2, site, unsure, missed, new.addend == t.addend) {
            let away = t.addend.wrapping_sub(new.addend) as i64;
            let inside = inside(self.world.elf, &self.names.new, new.info).is_some();
            let away = self.m.addend(s, new.info as u32, inside, true, away);
            new.addend = new.addend.wrapping_add_signed(away);
        }
        new
    }

    /// Codes a row that continues none.
    fn fresh<S: Symbols>(&mut self, s: &mut S, t: Row) -> Row {
        let site = self.site(self.last);
        let offset = self.offset(s, site, t);
        let info = self.info(s, site, offset, t);
        if !self.addends {
            return Row {
                offset,
                info,
                addend: 0,
            };
        }
        let inside = inside(self.world.elf, &self.names.new, info).is_some();
        let last = match inside {
            true => self.by_symbol.get(&(info >> 32)),
            false => self.by_kind.get(&(info & 0xffff_ffff)),
        };
        let last = last.copied().unwrap_or(0);
        let away = self
            .m
            .addend(s, info as u32, inside, false, t.addend.wrapping_sub(last) as i64);
        Row {
            offset,
            info,
            addend: last.wrapping_add_signed(away),
        }
    }

    /// Codes where the field is.
    fn offset<S: Symbols>(&mut self, s: &mut S, site: u32, t: Row) -> u64 {
        if let Some(code) = self.code.filter(|_| self.passed < self.open.len()) {
            let ahead = &self.open[self.passed..];
            let place = |open: &Open| u64::from(open.addr).wrapping_sub(code.addr);
            let found = || {
                let near = &ahead[..ahead.len().min(AHEAD)];
                near.binary_search_by_key(&t.offset, place)
                    .map_or(0, |k| k as u64 + 1)
            };
            let known = if S::READS { 0 } else { found() };
            let sight = self.sight();
            let open = self.m.open(s, site, sight, known).checked_sub(1);
            if let Some(open) = open.and_then(|k| ahead.get(usize::try_from(k).ok()?)) {
                return place(open);
            }
        }
        let away = t.offset.wrapping_sub(self.last.offset) as i64;
        let away = self.m.offset(s, site, self.step.min(255) as u32, away);
        self.last.offset.wrapping_add_signed(away)
    }

    /// What the instruction of the open field there is known by; 0 if there is none.
    fn look(&self, offset: u64) -> u32 {
        let addr = self.code.map_or(0, |code| code.addr.wrapping_add(offset));
        let found = self.open.binary_search_by_key(&addr, |open| open.addr.into());
        found.map_or(0, |k| self.open[k].site)
    }

    /// Codes type and symbol of a row whose field is known.
    fn info<S: Symbols>(&mut self, s: &mut S, site: u32, offset: u64, t: Row) -> u64 {
        let (before, look) = (self.last.info as u32, self.look(offset));
        let away = i64::from(t.info as u32) - i64::from(before);
        let kind = before.wrapping_add(self.m.kind(s, site, before, look, away) as u32);
        let symbol = t.info >> 32;
        let recent = self.recent.iter().position(|&r| r == symbol);
        let recent = self
            .m
            .recent(s, site, kind, look, recent.map_or(0, |k| k as u32 + 1));
        let symbol = match recent.checked_sub(1).and_then(|k| self.recent.get(k as usize)) {
            Some(&symbol) => symbol,
            None => {
                let last = self.symbols.get(&kind).copied().unwrap_or(self.last.info >> 32);
                let away = self.m.symbol(s, site, kind, symbol.wrapping_sub(last) as i64);
                last.wrapping_add_signed(away) & 0xffff_ffff
            }
        };
        symbol << 32 | u64::from(kind)
    }

    /// Moves on behind a row.
    fn pass(&mut self, row: Row) {
        let symbol = row.info >> 32;
        let at = self.recent.iter().position(|&r| r == symbol);
        match at {
            Some(at) => self.recent[..=at].rotate_right(1),
            None => {
                self.recent.truncate(RECENT - 1);
                self.recent.insert(0, symbol);
            }
        }
        if inside(self.world.elf, &self.names.new, row.info).is_some() {
            self.by_symbol.insert(symbol, row.addend);
        } else {
            self.by_kind.insert(row.info & 0xffff_ffff, row.addend);
        }
        self.symbols.insert(row.info as u32, symbol);
        if let Some(code) = self.code {
            let addr = code.addr.saturating_add(row.offset);
            self.passed = self.open.partition_point(|open| u64::from(open.addr) <= addr);
        }
        self.step = row.offset.wrapping_sub(self.last.offset);
        self.last = row;
    }
}
