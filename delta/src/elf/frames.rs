//! Function bounds from `.eh_frame`: they are there in stripped files too.
//!
//! Source of the format: Linux Standard Base Core 5.0, 10.6; DWARF 5, 6.4.

use super::Elf;

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

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

/// Reads one LEB128 number of at most 32 bits at `at`; gives it and the position behind it.
pub fn uleb(bytes: &[u8], mut at: usize) -> Option<(u32, usize)> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((u32::try_from(value).ok()?, at));
        }
    }
    None
}

/// What a CIE says of its FDEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cie {
    /// Encoding of code addresses.
    pub pointer: u8,
    /// Encoding of the pointer to exception tables, if there is one.
    pub lsda: Option<u8>,
    /// Code alignment factor.
    pub code_factor: u32,
    /// Offset of the initial instructions in the section.
    pub program: usize,
    /// Whether an augmentation length is present in its FDEs.
    pub sized: bool,
}

/// Reads the CIE whose length field is at `at`.
pub fn cie(section: &[u8], at: usize) -> Option<Cie> {
    let length = word(section, at)? as usize;
    let record = section.get(..at.checked_add(4)?.checked_add(length)?)?;
    if word(record, at + 4)? != 0 {
        return None;
    }
    let mut p = at + 8;
    if *record.get(p)? != 1 {
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
            b'P' => match *record.get(p)? & 0x0f {
                0 | 4 | 12 => p += 8,
                3 | 11 => p += 4,
                _ => return None,
            },
            b'S' | b'B' => continue,
            _ => return None,
        }
        p += 1;
    }
    Some(cie)
}

/// All FDEs with modelled encodings, in section order; reading stops at the first record that makes no sense.
pub fn fdes(section: &[u8], addr: u64) -> Vec<Fde> {
    let mut found = Vec::new();
    let mut at = 0usize;
    let mut cached: Option<(usize, Option<Cie>)> = None;
    while let Some(length) = word(section, at) {
        if length == 0 || length == u32::MAX {
            break;
        }
        let Some(end) = at
            .checked_add(4 + length as usize)
            .filter(|&e| e <= section.len())
        else {
            break;
        };
        let Some(id) = word(section, at + 4) else { break };
        if id != 0 {
            let Some(cie_at) = (at + 4).checked_sub(id as usize) else {
                break;
            };
            if cached.is_none_or(|(cached_at, _)| cached_at != cie_at) {
                cached = Some((cie_at, cie(section, cie_at)));
            }
            if let Some((_, Some(cie))) = cached
                && cie.pointer == PCREL_SDATA4
                && let (Some(start), Some(size)) = (word(section, at + 8), word(section, at + 12))
                && end >= at + 16
            {
                let start = addr.wrapping_add(at as u64 + 8).wrapping_add(start as i32 as u64);
                found.push(Fde {
                    at: at as u32,
                    start,
                    size,
                });
            }
        }
        at = end;
    }
    found
}

/// Function bounds of a file, ascending and disjoint: `(address, size)`.
pub fn functions(elf: &Elf, section: usize, bytes: &[u8]) -> Vec<(u64, u32)> {
    let mut all: Vec<_> = fdes(bytes, elf.sections[section].addr)
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
