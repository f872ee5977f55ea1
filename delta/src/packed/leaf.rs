//! ELF files among the bytes of an inside: where they end, and what they are called. The encoder's alone.

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

/// The length of the ELF file that these bytes begin with: up to the end of its last section or of the table of them.
pub fn elf_len(bytes: &[u8]) -> Option<usize> {
    let head = bytes
        .get(..64)
        .filter(|head| head.starts_with(&MAGIC) && head[5] == 1)?;
    let wide = match head[4] {
        1 => false,
        2 => true,
        _ => return None,
    };
    let number = |at: u64, len: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let field = bytes.get(at..at.checked_add(len)?)?;
        Some(field.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    };
    let (word, at, of) = if wide { (8, 0x28, 0x3a) } else { (4, 0x20, 0x2e) };
    let (table, size, count) = (number(at, word)?, number(of, 2)?, number(of + 2, 2)?);
    if table == 0 || count == 0 || count > SECTIONS || size != if wide { 64 } else { 40 } {
        return None;
    }
    let mut end = table.checked_add(size * count)?;
    for section in 0..count {
        let at = table + section * size;
        let [kind, offset, len] = if wide { [4, 0x18, 0x20] } else { [4, 0x10, 0x14] };
        if number(at + kind, 4)? != 8 {
            end = end.max(number(at + offset, word)?.checked_add(number(at + len, word)?)?);
        }
    }
    usize::try_from(end).ok().filter(|&end| end <= bytes.len())
}

/// The name in the header of an archive (tar, cpio) that ends where a member begins.
pub fn name_before(bytes: &[u8], at: usize) -> &[u8] {
    tar(bytes, at).or_else(|| cpio(bytes, at)).unwrap_or_default()
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
