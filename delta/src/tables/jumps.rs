//! Jump tables: distances from the table to places in the function that refers to it.
//!
//! Compilers write a `switch` as 32-bit distances from the table's start, which a `lea` in the function loads.
//! So a table is found through its function, old and new one are paired through the `lea` in the covered code,
//! and each entry is an instruction start of the function.

use super::{Image, Made, Spent, TableModel, World};
use crate::budget::{Keep, Lent};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::elf::address::Addresses;
use crate::layout::OldImage;
use crate::machine::Scanner;
use crate::maps::HashSet;
use crate::place::{Addr, Off, Place, Span};
use crate::predict::{Guess, Pointer, Site, TargetModels, UnitView};
use crate::{Error, error::Result};

/// Bytes of an entry.
const ENTRY: u32 = 4;
/// Fewest and most entries of a table.
const FEWEST: u32 = 2;
const MOST: u32 = 1 << 14;
/// Kind of site that target prediction tells apart.
const SITE: u32 = 40;

symbols! {
    /// Which jump tables there are, and how long.
    struct TableModels {
        count(10, 255) {
            /// Entries above those of the old table.
            count: signed by() [0];
        }
        present(10, 255) {
            /// An instruction that no old one explains leads to a table. `head`: hash of its leading bytes.
            present: flag by(head: u32) [1, hash(2, head)];
        }
        fresh(10, 255) {
            /// Entries of such a table.
            fresh: number by() [0];
        }
    }
}

/// Models of the jump stream.
struct JumpModels {
    own: TableModels,
    targets: TargetModels,
    done: HashSet<Addr>,
}

impl Default for JumpModels {
    fn default() -> Self {
        JumpModels {
            own: TableModels::default(),
            targets: TargetModels::small(),
            done: HashSet::default(),
        }
    }
}

impl Keep for JumpModels {
    fn memory(&self) -> u64 {
        self.own.memory() + self.targets.memory()
    }
}

/// Entries of the table at `base`, which count from `origin`: words that point into the function, up to `limit`.
fn entries(
    (base, origin): (Addr, Addr),
    limit: Addr,
    function: Span<Addr>,
    mut read: impl FnMut(Addr) -> Option<u32>,
    out: &mut Vec<Addr>,
) {
    out.clear();
    let most = (limit.0.saturating_sub(base.0) / ENTRY).min(MOST);
    for k in 0..most {
        let Some(word) = read(base + k * ENTRY) else { break };
        let target = origin.wrapping_add(word);
        if !function.holds(target) {
            break;
        }
        out.push(target);
    }
    if (out.len() as u32) < FEWEST {
        out.clear();
    }
}

/// The end of what a table at `base` may reach: its section, or the next of the addresses that the function
/// refers to, which ascend.
fn limit(addresses: &Addresses, base: Addr, others: &[Addr]) -> Option<Addr> {
    if !base.0.is_multiple_of(ENTRY) {
        return None;
    }
    let range = addresses.range_of(base).filter(|r| r.offset.is_some())?;
    let end = range.addr + range.len;
    let next = others.get(others.partition_point(|&o| o <= base));
    Some(next.map_or(end, |&o| o.min(end)))
}

/// The jump tables of a file.
pub struct Jumps<'w> {
    m: Lent<'w, JumpModels>,
}

impl<'w> TableModel<'w> for Jumps<'w> {
    const STREAMS: &'static [(Stream, Spent)] = &[(Stream::Jumps, Spent::Parts("(jump tables)"))];
    const WITH_CODE: bool = true;

    fn makes(of: Image<'_>) -> Vec<Span<Off>> {
        let image = of.image;
        ranges(image, of.bytes)
    }

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Jumps<'w>>> {
        let mut m: Lent<JumpModels> = world.account.lend();
        m.done.clear();
        Ok(Some(Jumps { m }))
    }

    fn unit<S: Symbols>(
        &mut self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        view: &mut UnitView,
        _index: u32,
        made: &mut Made,
    ) -> Result<()> {
        unit(streams.get(Stream::Jumps), &mut self.m, world, view, made)
    }

    fn finish<S: Symbols>(self, _: &mut Streams<S>, _: &mut World<'w>, _: &mut Made) -> Result<()> {
        Ok(())
    }
}

/// Codes the tables of one unit, after its references.
fn unit<S: Symbols>(
    s: &mut S,
    m: &mut JumpModels,
    world: &mut World,
    view: &mut UnitView,
    made: &mut Made,
) -> Result<()> {
    let pointers: Vec<Pointer> = view.pointers.to_vec();
    let mut tables = Tables::of(world, view, &pointers);
    for pointer in &pointers {
        if !world.is_generic(pointer.new) || m.done.contains(&pointer.new) {
            continue;
        }
        let Some(limit) = limit(world.addresses, pointer.new, &tables.news) else {
            continue;
        };
        tables.read_old(world, pointer);
        tables.read_new(world, pointer, limit);
        let Some(count) = tables.count(s, &mut m.own, pointer, limit)? else {
            continue;
        };
        m.done.insert(pointer.new);
        if count == 0 {
            continue;
        }
        let bytes = tables.code(s, &mut m.targets, (world, view), pointer, count)?;
        if let Some(at) = world.addresses.offset(pointer.new) {
            made.known.add(at, &bytes);
            made.count(world)?;
        }
    }
    Ok(())
}

/// The tables that one unit refers to.
struct Tables {
    /// The unit, and what it was.
    function: Span<Addr>,
    old_function: Option<Span<Addr>>,
    /// What new and old code refer to, ascending.
    news: Vec<Addr>,
    olds: Vec<Addr>,
    /// Entries of the table at hand: of the old one, and of the new one where that is known.
    was: Vec<Addr>,
    known: Vec<Addr>,
}

impl Tables {
    fn of(world: &World, view: &UnitView, pointers: &[Pointer]) -> Tables {
        let mut tables = Tables {
            function: Span::new(view.addr, view.unit.size),
            old_function: view
                .source()
                .and_then(|u| Some(Span::new(world.old.code.addr(u.at)?, u.size))),
            news: pointers.iter().map(|p| p.new).collect(),
            olds: pointers.iter().filter_map(|p| p.old).collect(),
            was: Vec::new(),
            known: Vec::new(),
        };
        tables.news.sort_unstable();
        tables.olds.sort_unstable();
        tables
    }

    /// Reads the old table of a reference, if it had one.
    fn read_old(&mut self, world: &World, pointer: &Pointer) {
        self.was.clear();
        let (Some(base), Some(function)) = (pointer.old, self.old_function) else {
            return;
        };
        let (addresses, file) = (&world.old.addresses, &world.old.file);
        if let Some(limit) = limit(addresses, base, &self.olds) {
            let read = |addr: Addr| {
                let mut word = [0; 4];
                let read = file.read(addresses.offset(addr)?.into(), &mut word);
                read.ok().and_then(|()| world.old.elf.numbers.word(&word, 0))
            };
            let origin = pointer.old_origin.unwrap_or(base);
            entries((base, origin), limit, function, read, &mut self.was);
        }
    }

    /// Reads the new table, where the new file is known.
    fn read_new(&mut self, world: &World, pointer: &Pointer, limit: Addr) {
        let Some(truth) = world.truth else { return };
        let read = |addr: Addr| {
            let at = world.addresses.offset(addr)?.index();
            world.elf.numbers.word(truth, at)
        };
        let place = (pointer.new, pointer.origin);
        entries(place, limit, self.function, read, &mut self.known);
    }

    /// Tells how many entries the new table has; `None` where there is no table.
    fn count<S: Symbols>(
        &self,
        s: &mut S,
        m: &mut TableModels,
        pointer: &Pointer,
        limit: Addr,
    ) -> Result<Option<u32>> {
        let known = self.known.len() as i64;
        let count = if !self.was.is_empty() {
            let usual = self.was.len() as i64;
            usual.saturating_add(m.count(s, known - usual))
        } else if pointer.old.is_none() && m.present(s, pointer.head, known > 0) {
            m.fresh(s, known as u64).min(1 << 40) as i64
        } else {
            return Ok(None);
        };
        let room = (limit - pointer.new) / ENTRY;
        let count = u32::try_from(count).ok().filter(|&n| n <= room.min(MOST));
        let count = count.ok_or(Error::damaged("a jump table is too long"))?;
        Ok(Some(count))
    }

    /// Codes so many entries; their bytes.
    fn code<S: Symbols>(
        &self,
        s: &mut S,
        m: &mut TargetModels,
        (world, view): (&mut World, &mut UnitView),
        pointer: &Pointer,
        count: u32,
    ) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity((count * ENTRY) as usize);
        let mut last = None;
        for k in 0..count as usize {
            let was = self.was.get(k);
            let offset = was.zip(self.old_function).map(|(&t, f)| t - f.at);
            let local = match offset {
                Some(offset) => view.project(offset).map(|o| view.addr + o),
                None => last,
            };
            let repeats = k > 0 && was.is_some_and(|t| Some(t) == self.was.get(k - 1));
            let state =
                u32::from(offset.is_some()) + 2 * u32::from(repeats) + 4 * u32::from(view.unit.unchanged);
            let site = Site {
                kind: SITE,
                head: hash(9, state),
                addr: pointer.new,
                unit: self.function,
                index: pointer.index,
                same: offset.is_some(),
                ..Site::default()
            };
            let guess = Guess {
                local,
                inside: true,
                ..Guess::default()
            };
            let truth = self.known.get(k).copied().unwrap_or(view.addr);
            let target = world.targets.code(s, m, &site, guess, view.locals(), truth)?;
            let entry = target.since(pointer.origin);
            bytes.extend_from_slice(&world.elf.numbers.of_word(entry));
            last = Some(target);
            if s.exhausted() {
                return Err(Error::damaged("the jump stream ends too early"));
            }
        }
        Ok(bytes)
    }
}

/// File ranges of the jump tables of a whole file.
fn ranges(image: &OldImage, bytes: &[u8]) -> Vec<Span<Off>> {
    let (code, addresses) = (&image.code, &image.addresses);
    let mut found = Vec::new();
    let (mut bases, mut origins, mut table) = (Vec::new(), Vec::new(), Vec::new());
    for unit in &code.units {
        let Some(addr) = code.addr(unit.at) else { continue };
        bases.clear();
        origins.clear();
        let content = &bytes[unit.at.index()..unit.end().index()];
        let machine = image.machine.in_mode(unit.other_mode);
        let mut scanner = Scanner::in_place(machine);
        let mut p = 0;
        while p < content.len() {
            let here = u64::from(addr) + p as u64;
            let (insn, field) = scanner.look(&content[p..], here);
            if let Some((field, from)) = field
                && machine.uses(field.kind).data
            {
                let base = machine.read(field.kind, &content[p..], field.at, insn.len(), from);
                let base = Addr(base as u32);
                let counted = machine.uses(field.kind).counted;
                origins.push((base, if counted { Addr(from as u32) } else { base }));
                bases.push(base);
            }
            scanner.pass(&insn, &content[p..], here);
            p += usize::from(insn.len());
        }
        bases.sort_unstable();
        for &(base, origin) in &origins {
            let Some(limit) = limit(addresses, base, &bases) else {
                continue;
            };
            let read = |addr: Addr| {
                let at = addresses.offset(addr)?.index();
                image.elf.numbers.word(bytes, at)
            };
            entries(
                (base, origin),
                limit,
                Span::new(addr, unit.size),
                read,
                &mut table,
            );
            if let Some(at) = addresses.offset(base).filter(|_| !table.is_empty()) {
                found.push(Span::new(at, table.len() as u32 * ENTRY));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::file_view::FileView;

    /// Tables of this program: each stands in the file's constants and leads into one function; and nearly all lead to
    /// instructions alone, as constants that look like a table by chance do not.
    #[test]
    fn tables_of_a_real_program_lead_to_instructions_of_one_function() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let budget = Budget::default();
        let file = FileView::new(&bytes, &budget).unwrap();
        let image = &OldImage::read(&file).unwrap().unwrap();
        let bytes = &bytes[..];
        let found = Jumps::makes(Image { image, bytes });
        assert!(found.len() > 50, "only {} tables", found.len());
        let mut right = 0;
        for &table in &found {
            let base = image.addresses.addr(table.at).unwrap();
            let section = image.addresses.range_of(base).unwrap().section;
            assert_eq!(image.elf[section].name, b".rodata");
            let words = bytes[table.range()].chunks_exact(ENTRY as usize);
            let led = words.map(|word| base.wrapping_add(u32::from_le_bytes(word.try_into().unwrap())));
            let led: Vec<Off> = led.map(|addr| image.addresses.offset(addr).unwrap()).collect();
            let unit = image.code.units[image.code.unit_at(led[0]).unwrap()];
            let mut starts = HashSet::default();
            let mut at = unit.at;
            while at < unit.end() {
                starts.insert(at);
                at += u32::from(image.machine.decode(&bytes[at.index()..]).len());
            }
            assert!(led.iter().all(|&at| Span::new(unit.at, unit.size).holds(at)));
            right += usize::from(led.iter().all(|at| starts.contains(at)));
        }
        assert!(right * 20 > found.len() * 19, "{right} of {}", found.len());
    }
}
