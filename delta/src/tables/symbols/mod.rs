//! Symbol tables: each row continues an old one, at the address that the rest of the file gives it.
//!
//! The names come first, so that an old row whose name is gone is passed over without a word.

mod fields;
mod grammar;
mod ground;
mod pair;
mod row;
mod versions;

pub use self::grammar::Rows;
use self::row::Row;
use super::{BYTE_MODELS, Image, Made, Spent, Table, TableModel, World, hash, names};
use crate::code::{Stream, Streams, Symbols};
use crate::elf::{Elf, Section};
use crate::error::Result;
use crate::place::{Addr, SectionId};

const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_HASH: u32 = 5;
const SHT_DYNSYM: u32 = 11;
const SHT_GNU_HASH: u32 = 0x6fff_fff6;
const SHT_GNU_VERSYM: u32 = 0x6fff_ffff;

/// Whether the models reproduce a section of a new file, by its table: symbols are whole rows whose names are
/// in a table that is modelled; what hangs on them needs them.
pub fn fits(elf: &Elf, bytes: &[u8], table: Table, section: SectionId) -> bool {
    let content = |id: SectionId| {
        let s = &elf[id];
        &bytes[s.offset as usize..(s.offset + s.size) as usize]
    };
    let link = elf[section].link;
    let symbols = elf.get(link).filter(|s| is_symbols(s));
    match table {
        Table::Names => names::fits(content(section)),
        Table::Symbols => {
            let Some(strings) = names_of(elf, section) else {
                return false;
            };
            let (rows, names) = (content(section), content(strings));
            let len = row::len(elf.numbers);
            let inside = |r: &[u8]| (Row::read(elf, r).name as usize) < names.len();
            names::fits(names) && rows.len().is_multiple_of(len) && rows.chunks_exact(len).all(inside)
        }
        _ if symbols.is_none() || !fits(elf, bytes, Table::Symbols, link) => false,
        Table::Versions => versions::fits(
            elf[section].size,
            (content(link).len() / row::len(elf.numbers)) as u64,
        ),
        Table::Hash => {
            let kind = elf[section].kind;
            let strings = names_of(elf, link).map_or(&[][..], content);
            hash::fits(kind, elf.numbers, content(section), content(link), strings)
        }
        _ => false,
    }
}

fn is_symbols(section: &Section) -> bool {
    matches!(section.kind, SHT_SYMTAB | SHT_DYNSYM) && section.in_file()
}

/// The string table of a symbol table.
fn names_of(elf: &Elf, section: SectionId) -> Option<SectionId> {
    let link = elf[section].link;
    elf.get(link)
        .filter(|s| s.kind == SHT_STRTAB && s.in_file() && link != elf.names)
        .map(|_| link)
}

/// Hands over address and name of every function that the symbol tables of a file name.
pub fn functions(elf: &Elf, bytes: &[u8], mut each: impl FnMut(Addr, &[u8])) {
    let content = |s: &Section| {
        bytes
            .get(s.offset as usize..(s.offset + s.size) as usize)
            .unwrap_or_default()
    };
    for table in elf.sections.iter().filter(|s| is_symbols(s)) {
        let Some(strings) = elf.get(table.link).filter(|s| s.in_file()) else {
            continue;
        };
        let strings = content(strings);
        for row in content(table).chunks_exact(row::len(elf.numbers)) {
            let row = Row::read(elf, row);
            let name = strings.get(row.name as usize..).unwrap_or_default();
            let end = name.iter().position(|&b| b == 0).unwrap_or(0);
            if let Ok(addr) = Addr::try_from(row.value)
                && row.is_function()
                && row.has_address()
                && end > 0
            {
                each(addr, &name[..end]);
            }
        }
    }
}

/// For each row of a table the section whose symbol it is, or 0.
pub fn section_of(elf: &Elf, rows: &[u8]) -> Vec<u16> {
    let rows = rows
        .chunks_exact(row::len(elf.numbers))
        .map(|r| Row::read(elf, r));
    let section = |r: Row| if r.kind() == row::SECTION { r.section } else { 0 };
    rows.map(section).collect()
}

/// Says of old symbols that have an address, and are neither sections nor known everywhere, which new one has the
/// address that theirs goes to: labels are called by numbers, and those shift. `of_old` has a new row for each old one,
/// or [`names::NONE`], and keeps it where that is there or there is no other.
pub fn went([old, new]: [(&Elf, &[u8]); 2], project: &dyn Fn(Addr) -> Option<Addr>, of_old: &mut [u32]) {
    let len = |(elf, _): (&Elf, _)| row::len(elf.numbers);
    let local = |r: &Row| r.has_address() && r.kind() != row::SECTION && r.info >> 4 == 0;
    let address = |r: &Row| Addr::try_from(r.value).ok().filter(|_| local(r));
    let rows = new.1.chunks_exact(len(new)).map(|r| Row::read(new.0, r));
    let at = |(k, r): (usize, Row)| Some((address(&r)?, r.info, k as u32));
    let mut known: Vec<(Addr, u8, u32)> = rows.enumerate().filter_map(at).collect();
    known.sort_unstable();
    let rows = old.1.chunks_exact(len(old)).map(|r| Row::read(old.0, r));
    for (was, is) in rows.zip(of_old) {
        let Some(addr) = address(&was).and_then(project) else {
            continue;
        };
        // Of many in one place none is looked at but the first: a file may have all its labels there.
        let first = known.partition_point(|k| (k.0, k.1) < (addr, was.info));
        let first = known.get(first).filter(|k| (k.0, k.1) == (addr, was.info));
        let stays = || known.binary_search(&(addr, was.info, *is)).is_ok();
        if let Some(first) = first.filter(|_| !stays()) {
            *is = first.2;
        }
    }
}

/// All symbol tables of a file, with what hangs on them.
#[derive(Debug)]
pub struct SymbolTables;

impl<'w> TableModel<'w> for SymbolTables {
    const STREAMS: &'static [(Stream, Spent)] = &[(
        Stream::Symbols,
        Spent::Sections(&[Table::Symbols, Table::Names, Table::Hash, Table::Versions]),
    )];
    const MODELS: u64 = BYTE_MODELS;

    fn by_type(elf: &Elf, section: SectionId) -> Option<Table> {
        match elf[section].kind {
            SHT_SYMTAB | SHT_DYNSYM => Some(Table::Symbols),
            SHT_STRTAB if section != elf.names => Some(Table::Names),
            SHT_HASH | SHT_GNU_HASH => Some(Table::Hash),
            SHT_GNU_VERSYM => Some(Table::Versions),
            _ => None,
        }
    }

    fn fits(new: Image<'_>) -> impl Fn(SectionId, Table) -> bool {
        move |section, table| fits(&new.image.elf, new.bytes, table, section)
    }

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<SymbolTables>> {
        Ok(world.choices.sections(Table::Names).next().map(|_| SymbolTables))
    }

    fn finish<S: Symbols>(
        self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        code(streams.get(Stream::Symbols), world, made)
    }
}

/// Codes all symbol tables with what hangs on them; keeps their recipes in `made`.
fn code<S: Symbols>(s: &mut S, world: &World, made: &mut Made) -> Result<()> {
    let mut models = world.account.lend::<grammar::Models>();
    let mut ground = None;
    let (mut held, mut held_ground) = (world.account.held(), world.account.held());
    for strings in world.choices.sections(Table::Names) {
        let names = names::code(s, world, strings, made)?;
        held.set(names.memory())?;
        for table in world.choices.sections(Table::Symbols) {
            if names_of(world.elf, table) != Some(strings) {
                continue;
            }
            let ground: &mut ground::Ground =
                ground.get_or_insert_with(|| ground::Ground::new(world, &made.exceptions));
            held_ground.set(ground.memory())?;
            let coded = grammar::Coded {
                section: table,
                world,
                names: &names,
            };
            let rows = grammar::code(s, &mut models, &coded, ground, made)?;
            held.set(names.memory() + rows.memory())?;
            let hangs = |id: &SectionId| world.elf[*id].link == table;
            for section in world.choices.sections(Table::Versions).filter(hangs) {
                versions::code(s, world, &rows, section, made)?;
            }
            for section in world.choices.sections(Table::Hash).filter(hangs) {
                hash::code(s, world, &rows.bytes, &names, section, made)?;
            }
            if world.choices.sections(Table::Objects).any(|i| hangs(&i)) {
                made.symbols.push((table, rows));
            }
            held.set(names.memory())?;
        }
    }
    Ok(())
}
