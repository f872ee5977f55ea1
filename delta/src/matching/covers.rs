//! Covers of the regions that are not code.
//!
//! Words that hold addresses are compared by where they lead, so the sections without such words come first: they say
//! where the others lead to.

use super::bytes::{ByteIndex, DATA};
use crate::data::Cover;
use crate::elf::{Region, RegionKind, go as go_elf};
use crate::layout::OldImage;
use crate::place::{Addr, Off, Span};
use crate::predict::AddressMap;
use crate::tables::words::{self, Labelled};
use crate::tables::{Image, Tables, go, relocations};
use std::ops::Range;

/// Rounds of matching words that relocations do not tell, each by the covers of the one before.
const ROUNDS: usize = 2;

/// A file to be matched.
pub struct Side<'f> {
    image: &'f OldImage<'f>,
    /// Its bytes, those of tables that are made from others as zeros.
    bytes: Vec<u8>,
    /// Where its data are, with the old place that is expected against each.
    regions: &'f [(Region, Off)],
    /// Words that relocations fill, ascending: address and target.
    slots: Vec<(Addr, Addr)>,
}

impl<'f> Side<'f> {
    /// Of a file with these bytes and regions of data.
    pub fn of(image: &'f OldImage<'f>, bytes: &[u8], regions: &'f [(Region, Off)]) -> Self {
        let mut blanked = bytes.to_vec();
        for place in Tables::makes(Image { image, bytes }) {
            blanked[place.range()].fill(0);
        }
        Side {
            image,
            bytes: blanked,
            regions,
            slots: relocations::slots_of(image.machine, &image.elf, bytes),
        }
    }

    /// Whether a region has words that relocations fill.
    fn has_slots(&self, region: &Region) -> bool {
        let RegionKind::Section(i) = region.kind else {
            return false;
        };
        let s = &self.image.elf[i];
        let first = self.slots.partition_point(|slot| u64::from(slot.0) < s.addr);
        let next = self.slots.get(first);
        s.is_loaded() && next.is_some_and(|slot| u64::from(slot.0) - s.addr < s.size)
    }

    /// File ranges of the regions with such words, or of those without.
    fn ranges(&self, slots: bool) -> Vec<Range<usize>> {
        let regions = self.regions.iter().map(|r| &r.0);
        regions
            .filter(|r| self.has_slots(r) == slots)
            .map(range)
            .collect()
    }

    /// The bytes with such words set to where they lead, as `to` says, and marked.
    fn labelled(&self, bytes: &[u8], to: impl Fn(Addr) -> Addr) -> Vec<u8> {
        let mut labelled = bytes.to_vec();
        for &(addr, target) in &self.slots {
            let at = self.image.addresses.offset(addr);
            if let Some(word) = at.and_then(|at| labelled.get_mut(Span::new(at, 8).range())) {
                word.copy_from_slice(&(u64::from(to(target)) | 0xe1 << 56).to_le_bytes());
            }
        }
        labelled
    }

    /// For words that relocations do not tell.
    fn words(&self) -> Labelled<'_> {
        Labelled {
            image: self.image,
            bytes: &self.bytes,
            regions: self.regions,
        }
    }
}

fn range(region: &Region) -> Range<usize> {
    region.offset as usize..(region.offset + region.len) as usize
}

/// Both files.
pub struct Sides<'f> {
    /// The old one.
    pub old: Side<'f>,
    /// The new one.
    pub new: Side<'f>,
    /// Whether a table of relocations is modelled.
    pub relocated: bool,
}

impl Sides<'_> {
    /// All covers, in file order; `map` is what the code says of addresses.
    pub fn covers(&self, mut map: AddressMap) -> Vec<Cover> {
        let mut covers = self.find((&self.old.bytes, &self.new.bytes), false);
        let is_go = go_elf::section(&self.new.image.elf).is_some();
        if is_go || words::applies(&self.new.image.elf, self.relocated) {
            // Such words move with what they lead to; once that is known, matching finds the rest.
            for _ in 0..ROUNDS {
                covers = self.by_words(is_go, &covers, map.clone());
            }
        }
        // Go's types stand in words that relocations fill then.
        let by_types = (is_go && self.relocated).then(|| map.clone());
        self.learn(&mut map, &covers);
        map.settle();
        let new = self.new.labelled(&self.new.bytes, |t| t);
        let old = self.old.labelled(&self.old.bytes, |t| map.guess(t));
        let mut relocated = self.find((&old, &new), true);
        if let Some(code) = by_types {
            // Their offsets lead to each other, and elsewhere.
            for _ in 0..ROUNDS {
                let all = [&covers[..], &relocated].concat();
                let mut map = code.clone();
                self.learn(&mut map, &all);
                map.settle();
                let renewed = self.renewed(&all, &map);
                covers = self.find((&renewed, &self.new.bytes), false);
                let old = self.old.labelled(&renewed, |t| map.guess(t));
                relocated = self.find((&old, &new), true);
            }
        }
        covers.extend(relocated);
        covers.sort_unstable_by_key(|c| c.new_at);
        covers
    }

    /// The old bytes of a Go file with words as they should be in the new one.
    fn renewed(&self, covers: &[Cover], map: &AddressMap) -> Vec<u8> {
        let files = go::words::Files {
            old: self.old.image,
            new: self.new.image,
            bytes: (&self.old.bytes, &self.new.bytes),
            slots: self.relocated.then_some(&self.old.slots),
        };
        go::words::renewed(&files, covers, map)
    }

    /// Covers of the regions with words that relocations fill, or of those without, by these bytes.
    fn find(&self, (old, new): (&[u8], &[u8]), slots: bool) -> Vec<Cover> {
        let index = ByteIndex::new(old, &self.old.ranges(slots), DATA);
        let regions = self
            .new
            .regions
            .iter()
            .filter(|r| self.new.has_slots(&r.0) == slots);
        regions
            .flat_map(|(region, hint)| index.covers(new, range(region), hint.index()))
            .collect()
    }

    /// Covers by where words lead, going by the covers so far.
    fn by_words(&self, is_go: bool, covers: &[Cover], mut map: AddressMap) -> Vec<Cover> {
        self.learn(&mut map, covers);
        map.settle();
        let (old, new) = (&self.old, &self.new);
        if is_go {
            return self.find((&self.renewed(covers, &map), &new.bytes), false);
        }
        let (was, is) = words::labelled(old.words(), new.words(), &map);
        self.find((&was, &is), false)
    }

    /// Adds what covers say of addresses.
    fn learn(&self, map: &mut AddressMap, covers: &[Cover]) {
        let (old, new) = (&self.old.image.addresses, &self.new.image.addresses);
        for cover in covers {
            if let (Some(from), Some(to)) = (old.addr(cover.old_at), new.addr(cover.new_at)) {
                map.add(from, to, cover.len);
            }
        }
    }
}
