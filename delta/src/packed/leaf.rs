//! ELF files among the bytes of an inside: where they end, and what they are called. The encoder's alone.

use super::ar;
use crate::elf::Numbers;
use goblin::elf::section_header::{SHF_COMPRESSED, SHF_EXECINSTR, SHT_NOBITS, SHT_PROGBITS};
use std::ops::Range;

/// An ELF file in an inside.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Where in the inside it is.
    pub range: Range<usize>,
    /// What the container around it calls it, if that is known.
    pub name: Vec<u8>,
}

/// How an ELF file begins.
pub const MAGIC: [u8; 4] = *b"\x7fELF";

/// Section headers that are looked at.
const SECTIONS: u64 = 4096;

/// A section of an ELF file as its header says it, places and lengths unchecked.
pub struct Section {
    kind: u64,
    flags: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
    /// How the file writes its numbers.
    pub numbers: Numbers,
}

impl Section {
    /// Whether it takes room in the file.
    fn has_bytes(&self) -> bool {
        self.kind != u64::from(SHT_NOBITS)
    }

    /// Whether its header says that it is packed.
    pub fn is_packed(&self) -> bool {
        self.flags & u64::from(SHF_COMPRESSED) != 0 && self.has_bytes()
    }
}

/// Whether there is code in an ELF file.
pub fn has_code(file: &[u8]) -> bool {
    let code = |s: &Section| {
        s.kind == u64::from(SHT_PROGBITS) && s.flags & u64::from(SHF_EXECINSTR) != 0 && s.len > 0
    };
    table(file).is_some_and(|(_, all)| all.iter().any(code))
}

/// The sections of the ELF file that these bytes begin with, in the order of their table.
pub fn sections(bytes: &[u8]) -> Vec<Section> {
    table(bytes).map_or(Vec::new(), |(_, all)| all)
}

/// The length of the ELF file that these bytes begin with: up to the end of its last section or of the table of them.
pub fn elf_len(bytes: &[u8]) -> Option<usize> {
    let (mut end, all) = table(bytes)?;
    for section in all.iter().filter(|section| section.has_bytes()) {
        end = end.max(section.offset.checked_add(section.len)?);
    }
    usize::try_from(end).ok().filter(|&end| end <= bytes.len())
}

/// The end of the table of sections, and these.
fn table(bytes: &[u8]) -> Option<(u64, Vec<Section>)> {
    let head = bytes.get(..64).filter(|head| head.starts_with(&MAGIC))?;
    let big_endian = match head[5] {
        1 => false,
        2 => true,
        _ => return None,
    };
    let is_64 = match head[4] {
        1 => false,
        2 => true,
        _ => return None,
    };
    let numbers = Numbers { is_64, big_endian };
    let number = |at: u64, len: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        bytes
            .get(at..at.checked_add(len)?)
            .map(|field| numbers.get(field))
    };
    let word = numbers.width();
    let (at, of) = if is_64 { (0x28, 0x3a) } else { (0x20, 0x2e) };
    let (table, size, count) = (number(at, word)?, number(of, 2)?, number(of + 2, 2)?);
    if table == 0 || count == 0 || count > SECTIONS || size != if is_64 { 64 } else { 40 } {
        return None;
    }
    let end = table.checked_add(size * count)?;
    let mut all = Vec::new();
    for section in 0..count {
        let at = table + section * size;
        let [offset, len] = if is_64 { [0x18, 0x20] } else { [0x10, 0x14] };
        all.push(Section {
            kind: number(at + 4, 4)?,
            flags: number(at + 8, word)?,
            offset: number(at + offset, word)?,
            len: number(at + len, word)?,
            numbers,
        });
    }
    Some((end, all))
}

/// The names of what stands in the bytes of one level, asked for in order.
pub struct Names<'b> {
    bytes: &'b [u8],
    /// What the level is called.
    name: &'b [u8],
    /// Where archives of `ar` were looked for so far.
    seen: usize,
    /// The last of them: what it is called, and its list of long names.
    archive: (&'b [u8], &'b [u8]),
}

impl<'b> Names<'b> {
    /// Of what is called `name`, at its start.
    pub fn new(bytes: &'b [u8], name: &'b [u8]) -> Names<'b> {
        Names {
            bytes,
            name,
            seen: 0,
            archive: Default::default(),
        }
    }

    /// What begins here is called so by the archive around it.
    pub fn at(&mut self, at: usize) -> Vec<u8> {
        let member = ar::name(self.bytes, at, b"").map(|_| self.member(at));
        member.unwrap_or_else(|| self.alone(at).to_vec())
    }

    /// The name of a member of an archive of `ar`, behind that of the archive.
    fn member(&mut self, at: usize) -> Vec<u8> {
        while let Some(ahead) = self.bytes.get(self.seen..at).and_then(|b| find(b, &ar::MAGIC)) {
            let begin = self.seen + ahead;
            let archive = &self.bytes[begin..];
            let long = ar::long_names(archive).map(|range| &archive[range]);
            self.archive = (self.alone(begin), long.unwrap_or_default());
            self.seen = begin + 1;
        }
        // The first bytes of one may stand here.
        self.seen = self.seen.max((at + 1).saturating_sub(ar::MAGIC.len()));
        let (archive, long) = self.archive;
        let member = ar::name(self.bytes, at, long).unwrap_or_default();
        [archive, b"/", member].concat()
    }

    /// By the header of an archive of tar or cpio that ends here, or as the level.
    fn alone(&self, at: usize) -> &'b [u8] {
        if at == 0 {
            return self.name;
        }
        let name = tar(self.bytes, at).or_else(|| cpio(self.bytes, at));
        name.unwrap_or_default()
    }
}

fn tar(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let head = bytes.get(at.checked_sub(512)?..at)?;
    let name = head.get(..100).filter(|_| head[257..262] == *b"ustar")?;
    name.split(|&b| b == 0).next()
}

/// The longest name in an archive of cpio that is looked for, with header and padding.
const CPIO: usize = 110 + 512;

fn cpio(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let before = bytes.get(at.saturating_sub(CPIO)..at)?;
    let head = before
        .windows(6)
        .rposition(|w| w == b"070701" || w == b"070702")?;
    let name = before.get(head + 110..)?;
    name.split(|&b| b == 0).next()
}

/// Where bytes first stand.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == wanted[0])?;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
}
