//! Stage 1, PARSE: what both sides read of an ELF file, by a frozen policy over plain header records.
//!
//! Nothing here fails for being strange: a file that does not fit is simply not an [`Elf`], and goes through
//! generic matching.

pub mod address;
pub mod encoded;
pub mod exceptions;
pub mod frames;
pub mod go;
mod numbers;
mod parts;
mod sections;

pub use numbers::Numbers;
pub use parts::Parts;
pub use sections::{Region, RegionKind};

use crate::place::SectionId;
use crate::{error::Result, file_view::FileView};
use goblin::container::{Container, Ctx, Endian};
use goblin::elf::section_header::{SHF_EXECINSTR, SHT_NOBITS, SHT_NULL};
use goblin::elf::{Header, SectionHeader};
use std::ops::Index;

/// Most sections that the ELF reading accepts.
const MAX_SECTIONS: usize = 4096;
/// Largest section-name table that the ELF reading accepts, in bytes.
const MAX_NAMES: u64 = 1 << 20;

/// One section: its header record and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Name bytes, without the terminating zero.
    pub name: Vec<u8>,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// `sh_addr`.
    pub addr: u64,
    /// `sh_offset`.
    pub offset: u64,
    /// `sh_size`.
    pub size: u64,
    /// `sh_link`.
    pub link: SectionId,
    /// `sh_info`.
    pub info: u32,
    /// `sh_entsize`.
    pub entsize: u64,
}

impl Section {
    /// The name, for people.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// Whether the section has bytes in the file.
    pub fn in_file(&self) -> bool {
        self.kind != SHT_NOBITS && self.kind != SHT_NULL && self.size > 0
    }
    /// Whether its bytes are loaded at its address.
    pub fn is_loaded(&self) -> bool {
        self.flags & 2 != 0 && self.addr != 0
    }
    /// Whether its header says that there is code in it.
    pub fn is_executable(&self) -> bool {
        self.flags & u64::from(SHF_EXECINSTR) != 0
    }
}

/// The skeleton of an ELF file: header and section map. All offsets are below 4 GiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// How wide its addresses are, and in which order bytes stand.
    pub numbers: Numbers,
    /// `e_machine`.
    pub machine: u16,
    /// `e_type`.
    pub kind: u16,
    /// Bytes at the start of the file that hold ELF and program headers.
    pub head_len: u64,
    /// Position and length of the section header table.
    pub table: (u64, u64),
    /// Index of the section-name table.
    pub names: SectionId,
    /// What was subtracted from the addresses of loaded sections, so that they fit 32 bits: 0 where they do.
    pub base: u64,
    /// Sections in table order.
    pub sections: Vec<Section>,
}

/// Where the three parts of a skeleton are, as the file header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// ELF and program headers: length from the start of the file.
    pub head_len: u64,
    /// Section headers: position and length.
    pub table: (u64, u64),
}

fn context(header: &Header) -> Option<Ctx> {
    let container = match header.e_ident[4] {
        1 => Container::Little,
        2 => Container::Big,
        _ => return None,
    };
    let order = match header.e_ident[5] {
        1 => Endian::Little,
        2 => Endian::Big,
        _ => return None,
    };
    Some(Ctx::new(container, order))
}

/// The file header at the start of some bytes, by the class that it says: an object has nothing behind it.
fn header(first: &[u8]) -> Option<Header> {
    let len = match first.get(4)? {
        1 => 52,
        2 => 64,
        _ => return None,
    };
    let bytes = first.get(..len).filter(|bytes| bytes.starts_with(b"\x7fELF"))?;
    goblin::elf::Elf::parse_header(bytes).ok()
}

/// Reads the file header; `None` if the file is not an ELF that this policy accepts.
pub fn places(first: &[u8]) -> Option<Places> {
    let header = header(first)?;
    context(&header)?;
    let is_64 = header.e_ident[4] == 2;
    let (ehsize, phentsize, shentsize) = if is_64 { (64, 56, 64) } else { (52, 32, 40) };
    if u64::from(header.e_ehsize) != ehsize || header.e_shnum == 0 || header.e_shentsize != shentsize {
        return None;
    }
    let programs = u64::from(header.e_phnum) * u64::from(header.e_phentsize);
    let head_len = if header.e_phnum == 0 {
        ehsize
    } else if header.e_phentsize == phentsize && header.e_phoff == ehsize {
        ehsize + programs
    } else {
        return None;
    };
    let table_len = u64::from(header.e_shnum) * u64::from(shentsize);
    let fits = usize::from(header.e_shnum) <= MAX_SECTIONS && header.e_shoff < u64::from(u32::MAX);
    fits.then_some(Places {
        head_len,
        table: (header.e_shoff, table_len),
    })
}

/// Position and length of the section-name table, from the file header and the section headers.
pub fn names_place(first: &[u8], table: &[u8]) -> Option<(u64, u64)> {
    let header = header(first)?;
    let rows = SectionHeader::parse_from(table, 0, header.e_shnum.into(), context(&header)?).ok()?;
    let names = rows.get(usize::from(header.e_shstrndx))?;
    let fits = names.sh_type == 3 && names.sh_size <= MAX_NAMES && names.sh_offset < u64::from(u32::MAX);
    fits.then_some((names.sh_offset, names.sh_size))
}

const ET_REL: u16 = 1;
const SHF_ALLOC: u64 = 2;
/// Where the addresses that are given to an object's sections end.
const OBJECT_END: u64 = 1 << 31;
/// Zero-filled sections of an object begin at multiples of this many bytes.
const ZERO_FILLED_UNIT: u64 = 64;

/// Gives the sections of an object addresses, if none has one: where they stand in the file, and behind it for those
/// that do not.
fn place_object(sections: &mut [Section]) {
    let loaded = |s: &&mut Section| s.flags & SHF_ALLOC != 0 && s.size > 0;
    let ends = sections.iter().map(|s| {
        if s.in_file() {
            s.offset.saturating_add(s.size)
        } else {
            0
        }
    });
    let mut end = ends.max().unwrap_or(0);
    if sections.iter().any(|s| s.addr != 0) {
        return;
    }
    for section in sections.iter_mut().filter(loaded) {
        if section.in_file() {
            section.addr = section.offset;
        } else if section.size < OBJECT_END && end < OBJECT_END {
            section.addr = end.next_multiple_of(ZERO_FILLED_UNIT);
            end = section.addr + section.size;
        }
    }
}

/// Bases are multiples of this many bytes, and so far below the first section.
const BASE_UNIT: u64 = 1 << 20;

/// What to subtract from the addresses of loaded sections: 0 if all end below 2^32.
fn base_of(sections: &[Section]) -> u64 {
    let loaded = || sections.iter().filter(|s| s.is_loaded());
    let first = loaded().map(|s| s.addr).min().unwrap_or(0);
    let high = loaded().any(|s| s.addr + s.size >= u64::from(u32::MAX));
    let base = first / BASE_UNIT * BASE_UNIT;
    if high { base.saturating_sub(BASE_UNIT) } else { 0 }
}

impl Index<SectionId> for Elf {
    type Output = Section;
    fn index(&self, id: SectionId) -> &Section {
        &self.sections[id.index()]
    }
}

impl Elf {
    /// Assembles the skeleton from its three parts; `None` if they do not fit together.
    pub fn from_parts(first: &[u8], table: &[u8], names: &[u8]) -> Option<Elf> {
        let places = places(first)?;
        let header = header(first)?;
        let rows = SectionHeader::parse_from(table, 0, header.e_shnum.into(), context(&header)?).ok()?;
        let mut sections = Vec::with_capacity(rows.len());
        for row in rows {
            let name = names.get(row.sh_name..).unwrap_or_default();
            let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
            let section = Section {
                name: name[..end].to_vec(),
                kind: row.sh_type,
                flags: row.sh_flags,
                addr: row.sh_addr,
                offset: row.sh_offset,
                size: row.sh_size,
                link: SectionId(row.sh_link),
                info: row.sh_info,
                entsize: row.sh_entsize,
            };
            let last = section.offset.checked_add(section.size)?;
            section.addr.checked_add(section.size)?;
            if section.in_file() && last > u64::from(u32::MAX) {
                return None;
            }
            sections.push(section);
        }
        if header.e_type == ET_REL {
            place_object(&mut sections);
        }
        let base = base_of(&sections);
        for section in sections.iter_mut().filter(|s| s.is_loaded()) {
            section.addr -= base;
        }
        Some(Elf {
            numbers: Numbers {
                is_64: header.e_ident[4] == 2,
                big_endian: header.e_ident[5] == 2,
            },
            machine: header.e_machine,
            kind: header.e_type,
            head_len: places.head_len,
            table: places.table,
            names: SectionId(header.e_shstrndx.into()),
            base,
            sections,
        })
    }

    /// Reads the skeleton of a file; `Ok(None)` where it is no ELF of the kind that is modelled.
    pub fn read(file: &FileView) -> Result<Option<Elf>> {
        if file.len() < 64 || file.len() > u64::from(u32::MAX) {
            return Ok(None);
        }
        let first = file.bytes(0, 64)?;
        let Some(places) = places(&first) else {
            return Ok(None);
        };
        let inside = |at: u64, len: u64| at.checked_add(len).is_some_and(|end| end <= file.len());
        if !inside(places.table.0, places.table.1) || !inside(0, places.head_len) {
            return Ok(None);
        }
        let table = file.bytes(places.table.0, places.table.1)?;
        let Some(names) = names_place(&first, &table).filter(|n| inside(n.0, n.1)) else {
            return Ok(None);
        };
        let names = file.bytes(names.0, names.1)?;
        let elf = Elf::from_parts(&first, &table, &names);
        Ok(elf.filter(|e| {
            e.sections
                .iter()
                .all(|s| !s.in_file() || inside(s.offset, s.size))
        }))
    }

    /// Whether it is an object, not linked yet: its sections have the addresses that [`place_object`] gave them.
    pub fn is_object(&self) -> bool {
        self.kind == ET_REL
    }

    /// The numbers of its sections.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = SectionId> + Clone + use<> {
        SectionId::all(self.sections.len())
    }

    /// The section with a number, if there is one.
    pub fn get(&self, id: SectionId) -> Option<&Section> {
        self.sections.get(id.index())
    }

    /// The first section with this name.
    pub fn section(&self, name: &[u8]) -> Option<SectionId> {
        self.ids().find(|&id| self[id].name == name)
    }

    /// The file offset of a loaded address.
    pub fn offset_of(&self, addr: u64) -> Option<u64> {
        let holds = |s: &&Section| s.is_loaded() && s.in_file() && addr >= s.addr && addr - s.addr < s.size;
        self.sections
            .iter()
            .find(holds)
            .map(|s| s.offset + (addr - s.addr))
    }
}
