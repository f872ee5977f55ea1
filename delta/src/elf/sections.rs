//! The file as consecutive regions: headers, sections, and the gaps between them.

use super::{Elf, Section};
use crate::place::SectionId;

/// What a region of a file is, as its headers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// ELF header and program headers.
    Head,
    /// The section header table.
    Table,
    /// A section, by its index.
    Section(SectionId),
    /// Bytes that no header claims.
    Gap,
}

/// Consecutive bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte, as an offset in the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// What it is.
    pub kind: RegionKind,
}

impl Elf {
    /// Cuts a file of `len` bytes into regions in file order; `None` where sections overlap.
    pub fn regions(&self, len: u64) -> Option<Vec<Region>> {
        let mut parts = vec![
            Region {
                offset: 0,
                len: self.head_len,
                kind: RegionKind::Head,
            },
            Region {
                offset: self.table.0,
                len: self.table.1,
                kind: RegionKind::Table,
            },
        ];
        let claims = |s: &&Section| s.in_file();
        for (id, s) in self.ids().zip(&self.sections).filter(|(_, s)| claims(s)) {
            parts.push(Region {
                offset: s.offset,
                len: s.size,
                kind: RegionKind::Section(id),
            });
        }
        parts.sort_by_key(|r| (r.offset, r.len));
        let mut regions = Vec::with_capacity(parts.len() * 2);
        let mut at = 0;
        for part in parts {
            if part.offset < at {
                return None;
            }
            if part.offset > at {
                regions.push(Region {
                    offset: at,
                    len: part.offset - at,
                    kind: RegionKind::Gap,
                });
            }
            at = part.offset.checked_add(part.len)?;
            regions.push(part);
        }
        if at > len {
            return None;
        }
        if at < len {
            regions.push(Region {
                offset: at,
                len: len - at,
                kind: RegionKind::Gap,
            });
        }
        Some(regions)
    }
}
