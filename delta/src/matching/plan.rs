//! Puts the matchers together: everything that the encoder decides before the first symbol is written.

use super::align::Aligner;
use super::bytes::ByteIndex;
use super::tokens::Tokens;
use super::units;
use crate::error::Result;
use crate::file_view::FileView;
use crate::image::{OldImage, Plan, data_regions, hint, pair_sections};
use crate::layout::NewUnit;
use crate::tables::Choices;

/// Plans the patch from one ELF file to another; `None` where the new file is not modelled like the old one.
pub fn plan<'a>(
    old: &OldImage,
    old_bytes: &[u8],
    file: &'a FileView<'a>,
    bytes: &'a [u8],
) -> Result<Option<Plan<'a>>> {
    let Some(new) = OldImage::read(file)? else {
        return Ok(None);
    };
    if new.machine != old.machine {
        return Ok(None);
    }
    let choices = Choices::new(&new.elf, |_, _| true);
    let regions = data_regions(&new.elf, &new.addresses, file.len(), &choices);
    let Some(regions) = regions else { return Ok(None) };

    let old_tokens = Tokens::scan(old.machine, &old.code, old_bytes);
    let new_tokens = Tokens::scan(old.machine, &new.code, bytes);
    let paired = units::pair(&old_tokens, &new_tokens);
    let aligner = Aligner::new((&old_tokens, old_bytes), (&new_tokens, bytes));
    let mut layout = Vec::with_capacity(paired.len());
    let mut runs = Vec::with_capacity(paired.len());
    for (index, (unit, source)) in new.code.units.iter().zip(&paired).enumerate() {
        let whole = source.is_some_and(|j| {
            old_tokens.unit_hash[j as usize] == new_tokens.unit_hash[index]
                && old.code.units[j as usize].size == unit.size
        });
        layout.push(NewUnit {
            at: unit.at,
            size: unit.size,
            source: source.map_or(0, |j| j + 1),
            whole,
        });
        runs.push(if whole {
            Vec::new()
        } else {
            aligner.align(index, *source)
        });
    }

    let old_data: Vec<_> =
        data_regions(&old.elf, &old.addresses, old.file.len(), &Choices::default()).unwrap_or_default();
    let ranges: Vec<_> = old_data
        .iter()
        .map(|r| r.offset as usize..(r.offset + r.len) as usize)
        .collect();
    let index = ByteIndex::new(old_bytes, &ranges);
    let pairs = pair_sections(&old.elf, &new.elf);
    let mut covers = Vec::new();
    let mut last = 0;
    for region in &regions {
        let hint = hint(old, &pairs, region, last);
        let range = region.offset as usize..(region.offset + region.len) as usize;
        covers.extend(index.covers(bytes, range, Some(hint as usize)));
        last = covers.last().map_or(u64::from(hint), |c: &crate::data::Cover| {
            u64::from(c.old_at + c.len)
        });
    }
    Ok(Some(Plan {
        file,
        bytes,
        parts: new.parts,
        units: layout,
        runs,
        choices,
        covers,
    }))
}
