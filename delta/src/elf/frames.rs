//! Frame description entries of `.eh_frame`: where functions start and end, stripped or not.
//!
//! Source of the format: Linux Standard Base Core 5.0, 10.6; DWARF 5, 6.4.

use super::encoded::{Encoding, uleb};
use super::{Elf, Numbers};
use crate::place::{Addr, SectionId};
use std::ops::Range;

/// The pointer encoding that is modelled: relative to the field, four signed bytes.
pub const PCREL_SDATA4: u8 = 0x1b;

/// One record of `.eh_frame`, as far as function bounds need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fde {
    /// Offset of the record in the section.
    pub at: u32,
    /// Address of the function's first byte.
    pub start: u64,
    /// Length of the function in bytes.
    pub size: u32,
}

/// What a CIE says of its FDEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cie {
    /// Encoding of code addresses.
    pub pointer: u8,
    /// Encoding of the pointer to exception tables, if there is one.
    pub lsda: Option<u8>,
    /// Encoding and offset in the section of the pointer to the personality routine, if there is one.
    pub personality: Option<(u8, usize)>,
    /// Code alignment factor.
    pub code_factor: u32,
    /// Offset of the initial instructions in the section.
    pub program: usize,
    /// Whether an augmentation length is present in its FDEs.
    pub sized: bool,
}

/// Reads the CIE whose length field is at `at`.
pub fn cie(numbers: Numbers, section: &[u8], at: usize) -> Option<Cie> {
    let length = numbers.word(section, at)? as usize;
    let record = section.get(..at.checked_add(4)?.checked_add(length)?)?;
    if numbers.word(record, at + 4)? != 0 {
        return None;
    }
    let mut p = at + 8;
    // Version 3 has another form of the return address's register, which reads alike below 128.
    if !matches!(*record.get(p)?, 1 | 3) {
        return None;
    }
    p += 1;
    let letters_at = p;
    while *record.get(p)? != 0 {
        p += 1;
    }
    let letters = &record[letters_at..p];
    p += 1;
    let (code_factor, next) = uleb(record, p)?;
    let (_, next) = uleb(record, next)?;
    let (_, next) = uleb(record, next)?;
    p = next;
    let mut cie = Cie {
        pointer: 0,
        lsda: None,
        personality: None,
        code_factor,
        program: p,
        sized: false,
    };
    let Some((b'z', rest)) = letters.split_first() else {
        return letters.is_empty().then_some(cie);
    };
    cie.sized = true;
    let (data_len, next) = uleb(record, p)?;
    p = next;
    cie.program = p.checked_add(data_len as usize)?;
    for letter in rest {
        match letter {
            b'R' => cie.pointer = *record.get(p)?,
            b'L' => cie.lsda = Some(*record.get(p)?),
            b'P' => {
                cie.personality = Some((*record.get(p)?, p + 1));
                match *record.get(p)? & 0x0f {
                    0 | 4 | 12 => p += 8,
                    3 | 11 => p += 4,
                    _ => return None,
                }
            }
            b'S' | b'B' => continue,
            _ => return None,
        }
        p += 1;
    }
    Some(cie)
}

/// One record of `.eh_frame`: its bounds in the section, and for an FDE the offset of its CIE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset of the length field.
    pub at: usize,
    /// Offset behind the record.
    pub end: usize,
    /// Offset of the CIE that it names; `None` if it is one.
    pub cie: Option<usize>,
}

/// The records in section order, up to the terminator or the first one that makes no sense.
pub fn records(numbers: Numbers, section: &[u8]) -> impl Iterator<Item = Record> + '_ {
    let mut at = 0usize;
    std::iter::from_fn(move || {
        let length = numbers.word(section, at)?;
        if length == 0 || length == u32::MAX {
            return None;
        }
        let end = at
            .checked_add(4 + length as usize)
            .filter(|&e| e >= at + 8 && e <= section.len())?;
        let id = numbers.word(section, at + 4)? as usize;
        let cie = match id {
            0 => None,
            _ => Some((at + 4).checked_sub(id)?),
        };
        let record = Record { at, end, cie };
        at = end;
        Some(record)
    })
}

/// What an FDE says, beside its CIE and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdeBody {
    /// Address of the function's first byte.
    pub start: Addr,
    /// Length of the function in bytes.
    pub size: u32,
    /// Its exception table, if the CIE says that there is a field for it; `Some(None)` is a null pointer.
    pub lsda: Option<Option<Addr>>,
    /// Its instructions, by offsets in the section.
    pub program: Range<usize>,
}

/// Reads an FDE of the modelled form; `addr` is the section's address and `lsda` the encoding in its CIE.
pub fn fde(
    numbers: Numbers,
    section: &[u8],
    record: &Record,
    addr: Addr,
    lsda: Option<Encoding>,
) -> Option<FdeBody> {
    let bytes = section.get(..record.end)?;
    let place = |at: usize| addr.wrapping_add(at as u32);
    let start = place(record.at + 8).wrapping_add(numbers.word(bytes, record.at + 8)?);
    let size = numbers.word(bytes, record.at + 12)?;
    let data = record.at + 17;
    if usize::from(*bytes.get(data - 1)?) != lsda.map_or(0, |e| usize::from(e.size)) {
        return None;
    }
    let (lsda, program) = match lsda {
        Some(e) => (
            Some(e.read(bytes, data, place(data))?),
            data + usize::from(e.size),
        ),
        None => (None, data),
    };
    (program <= record.end).then_some(FdeBody {
        start,
        size,
        lsda,
        program: program..record.end,
    })
}

/// All FDEs with modelled encodings, in section order; reading stops at the first record that makes no sense.
pub fn fdes(numbers: Numbers, section: &[u8], addr: u64) -> Vec<Fde> {
    let mut found = Vec::new();
    let mut cached: Option<(usize, Option<Cie>)> = None;
    for record in records(numbers, section) {
        let Some(cie_at) = record.cie else { continue };
        if cached.is_none_or(|(cached_at, _)| cached_at != cie_at) {
            cached = Some((cie_at, cie(numbers, section, cie_at)));
        }
        if let Some((_, Some(cie))) = cached
            && cie.pointer == PCREL_SDATA4
            && record.end >= record.at + 16
            && let (Some(start), Some(size)) = (
                numbers.word(section, record.at + 8),
                numbers.word(section, record.at + 12),
            )
        {
            let start = addr
                .wrapping_add(record.at as u64 + 8)
                .wrapping_add(start as i32 as u64);
            found.push(Fde {
                at: record.at as u32,
                start,
                size,
            });
        }
    }
    found
}

/// Function bounds of a file, ascending and disjoint: `(address, size)`.
pub fn functions(elf: &Elf, section: SectionId, bytes: &[u8]) -> Vec<(u64, u32)> {
    let mut all: Vec<_> = fdes(elf.numbers, bytes, elf[section].addr)
        .iter()
        .map(|f| (f.start, f.size))
        .collect();
    all.sort_unstable();
    let mut end = 0;
    all.retain(|&(start, size)| {
        let fits = size > 0 && start >= end && start.checked_add(u64::from(size)).is_some();
        if fits {
            end = start + u64::from(size);
        }
        fits
    });
    all
}
