//! `.eh_frame` taken apart: kinds of CIE, rows in section order, and the row of each unit of code.

use crate::elf::Numbers;
use crate::elf::encoded::Encoding;
use crate::elf::frames::{Cie, FdeBody, PCREL_SDATA4, Record, cie, fde, records};
use crate::layout::CodeMap;
use crate::place::{Addr, Span};

/// No unit, or no row.
pub const NONE: u32 = u32::MAX;
/// Most kinds of CIE.
pub const KINDS: usize = 250;
/// Longest CIE, in bytes.
pub const LONGEST_CIE: usize = 1 << 12;

/// A CIE, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its bytes behind length and identifier, the pointer to the personality routine zeroed.
    pub body: Vec<u8>,
    /// The personality routine, or the word that points to it.
    pub personality: Option<Addr>,
    /// Encoding of that pointer, and its offset in `body`.
    pub field: Option<(Encoding, usize)>,
    /// Encoding of the pointers to exception tables.
    pub lsda: Option<Encoding>,
    /// Code alignment factor.
    pub code_factor: u32,
}

impl Kind {
    /// Reads a CIE from its body; `None` if it is not of the modelled form. The personality stays unknown.
    pub fn new(body: Vec<u8>, numbers: Numbers) -> Option<Kind> {
        let mut record = numbers.of_word((body.len() + 4) as u32).to_vec();
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(&body);
        let Cie {
            pointer,
            lsda,
            personality,
            code_factor,
            sized,
            ..
        } = cie(numbers, &record, 0)?;
        let mut kind = Kind {
            body,
            personality: None,
            field: None,
            lsda: None,
            code_factor,
        };
        if pointer != PCREL_SDATA4 || !sized {
            return None;
        }
        if let Some(lsda) = lsda {
            kind.lsda = Some(Encoding::of(lsda, numbers)?);
        }
        if let Some((byte, at)) = personality {
            let (encoding, at) = (Encoding::of(byte, numbers)?, at - 8);
            let field = kind.body.get_mut(at..at + usize::from(encoding.size))?;
            field.fill(0);
            kind.field = Some((encoding, at));
        }
        Some(kind)
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Offset of its length field in the section.
    pub at: u32,
    /// Offset behind it.
    pub end: u32,
    /// Unit of code that it describes, or [`NONE`].
    pub unit: u32,
    /// Its CIE's kind.
    pub kind: u8,
    /// Whether it is a CIE itself.
    pub is_cie: bool,
}

/// A section taken apart.
#[derive(Clone, Debug, Default)]
pub struct FrameTable {
    /// The section.
    pub bytes: Vec<u8>,
    /// Its address.
    pub addr: Addr,
    /// How its file writes numbers.
    numbers: Numbers,
    /// Kinds of CIE, in order of appearance.
    pub kinds: Vec<Kind>,
    /// Records in section order.
    pub rows: Vec<Row>,
    /// Row of each unit of code, or [`NONE`].
    pub of_unit: Vec<u32>,
    /// Offset behind the last record.
    pub end: u32,
    /// Whether every record is of the modelled form.
    pub clean: bool,
    /// FDEs of no unit.
    pub strays: u32,
}

/// The unit of code with these bounds.
fn unit_of(code: &CodeMap, start: Addr, size: u32) -> Option<usize> {
    let holds = |s: &&crate::layout::CodeSection| Span::new(s.addr, s.len).holds(start);
    let section = code.sections.iter().find(holds)?;
    let at = section.at + (start - section.addr);
    let index = code.unit_at(at)?;
    (code.units[index].at == at && code.units[index].size == size).then_some(index)
}

impl FrameTable {
    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.bytes.len() + self.rows.len() * size_of::<Row>() + self.of_unit.len() * 4) as u64
    }

    /// Takes a section at `addr` apart.
    pub fn read(bytes: Vec<u8>, addr: Addr, numbers: Numbers, code: &CodeMap) -> FrameTable {
        let mut table = FrameTable {
            addr,
            numbers,
            of_unit: vec![NONE; code.units.len()],
            clean: true,
            ..FrameTable::default()
        };
        // Kind of each CIE by its offset, and the last CIE of each kind.
        let mut cies: Vec<(usize, Option<u8>)> = Vec::new();
        let mut latest: Vec<usize> = Vec::new();
        for record in records(numbers, &bytes) {
            table.end = record.end as u32;
            let row = |kind, unit, is_cie| Row {
                at: record.at as u32,
                end: record.end as u32,
                unit,
                kind,
                is_cie,
            };
            let Some(cie_at) = record.cie else {
                let kind = table.kind_of(&bytes, &record, numbers);
                cies.push((record.at, kind));
                table.clean &= kind.is_some();
                if let Some(kind) = kind {
                    latest.resize(table.kinds.len(), 0);
                    latest[usize::from(kind)] = record.at;
                    table.rows.push(row(kind, NONE, true));
                }
                continue;
            };
            let known = cies.binary_search_by_key(&cie_at, |c| c.0);
            let kind = known.ok().and_then(|i| cies[i].1);
            let body =
                kind.and_then(|k| fde(numbers, &bytes, &record, addr, table.kinds[usize::from(k)].lsda));
            let (Some(kind), Some(body)) = (kind, body) else {
                table.clean = false;
                continue;
            };
            table.clean &= latest[usize::from(kind)] == cie_at;
            let unit = unit_of(code, body.start, body.size).filter(|&u| table.of_unit[u] == NONE);
            if let Some(unit) = unit {
                table.of_unit[unit] = table.rows.len() as u32;
            } else {
                table.strays += 1;
            }
            table.rows.push(row(kind, unit.map_or(NONE, |u| u as u32), false));
        }
        table.bytes = bytes;
        table
    }

    fn kind_of(&mut self, bytes: &[u8], record: &Record, numbers: Numbers) -> Option<u8> {
        if record.end - record.at > LONGEST_CIE {
            return None;
        }
        let body = bytes[record.at + 8..record.end].to_vec();
        let mut kind = Kind::new(body, numbers)?;
        if let Some((encoding, at)) = kind.field {
            let at = record.at + 8 + at;
            kind.personality = encoding.read(bytes, at, self.addr.wrapping_add(at as u32))?;
        }
        let found = self.kinds.iter().position(|k| *k == kind);
        if found.is_none() && self.kinds.len() < KINDS {
            self.kinds.push(kind);
            return Some(self.kinds.len() as u8 - 1);
        }
        found.map(|k| k as u8)
    }

    /// What the FDE of a row says.
    pub fn fde(&self, row: u32) -> Option<FdeBody> {
        let row = self.rows.get(row as usize).filter(|r| !r.is_cie)?;
        let record = Record {
            at: row.at as usize,
            end: row.end as usize,
            cie: None,
        };
        fde(
            self.numbers,
            &self.bytes,
            &record,
            self.addr,
            self.kinds[usize::from(row.kind)].lsda,
        )
    }

    /// The row of a unit.
    pub fn row_of(&self, unit: u32) -> Option<u32> {
        self.of_unit.get(unit as usize).copied().filter(|&r| r != NONE)
    }
}
