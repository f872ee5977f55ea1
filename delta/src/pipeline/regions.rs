//! The regions of a new file, and what each is set against in the old one.

use super::Facts;
use crate::elf::{Elf, Region, RegionKind, address::Addresses};
use crate::layout::{CodeMap, OldImage};
use crate::place::{Off, SectionId, Span};
use crate::tables::Choices;

/// What the parts of a file are called that are in no section, in reports.
pub const HEADERS: &str = "(headers)";

/// Sections of the new file paired with old ones of the same name, first with first.
pub fn pair_sections(old: &Elf, new: &Elf) -> Vec<Option<SectionId>> {
    let mut taken = vec![false; old.sections.len()];
    let mut pairs = Vec::with_capacity(new.sections.len());
    for section in &new.sections {
        let free = |id: &SectionId| !taken[id.index()] && old[*id].name == section.name;
        let found = old.ids().find(free);
        if let Some(id) = found {
            taken[id.index()] = true;
        }
        pairs.push(found);
    }
    pairs
}

/// The code sections of a new file, without units.
pub fn code_sections(elf: &Elf, addresses: &Addresses) -> CodeMap {
    let mut map = CodeMap::new(elf, addresses, &[]);
    map.units.clear();
    map
}

/// Old offsets that are expected against the starts of the regions of a new file.
pub fn hints(old: &OldImage, pairs: &[Option<SectionId>], regions: &[Region]) -> Vec<Off> {
    let mut end = 0;
    let mut hint = |region: &Region| {
        let (start, len) = match region.kind {
            RegionKind::Section(i) => match pairs[i.index()].map(|j| &old.elf[j]).filter(|s| s.in_file()) {
                Some(s) => (s.offset, s.size),
                None => (end, 0),
            },
            RegionKind::Head => (0, old.elf.head_len),
            RegionKind::Table => old.elf.table,
            RegionKind::Gap => (end, region.len),
        };
        end = start + len;
        Off(start.min(old.file.len()) as u32)
    };
    regions.iter().map(&mut hint).collect()
}

/// Whether a region goes through covers and bytes.
fn is_data(region: &Region, elf: &Elf, code: &CodeMap, choices: &Choices) -> bool {
    match region.kind {
        RegionKind::Head | RegionKind::Table => false,
        RegionKind::Section(i) => {
            i != elf.names && choices.of(i).is_none() && code.sections.iter().all(|s| s.section != i)
        }
        RegionKind::Gap => true,
    }
}

impl Facts<'_> {
    /// Whether a region goes through covers and bytes.
    pub fn is_data(&self, region: &Region) -> bool {
        is_data(region, &self.new.elf, &self.layout.code, &self.new.choices)
    }

    /// What a region is called in reports.
    pub fn shown(&self, region: &Region) -> String {
        match region.kind {
            RegionKind::Section(i) => self.new.elf[i].shown(),
            RegionKind::Head | RegionKind::Table => HEADERS.into(),
            RegionKind::Gap => "(gaps)".into(),
        }
    }
}

/// Where a region is, in a file below 4 GiB.
pub fn place(region: &Region) -> Span<Off> {
    Span::new(Off(region.offset as u32), region.len as u32)
}

/// The regions of a new file that go through covers, with the old offsets expected against their starts.
pub fn data_regions(old: &OldImage, new: &OldImage, choices: &Choices) -> Option<Vec<(Region, Off)>> {
    let pairs = pair_sections(&old.elf, &new.elf);
    let code = code_sections(&new.elf, &new.addresses);
    let regions = new.elf.regions(new.file.len())?;
    let hints = hints(old, &pairs, &regions);
    let all = regions.into_iter().zip(hints);
    Some(
        all.filter(|(region, _)| is_data(region, &new.elf, &code, choices))
            .collect(),
    )
}
