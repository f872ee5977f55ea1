//! Words by what they lead to, for the matcher (the encoder alone): where an old word and a new one lead to the same
//! place, both are set to its address.

use super::form::{Form, Side};
use crate::elf::Region;
use crate::layout::OldImage;
use crate::place::{Addr, Off, Place};
use crate::predict::AddressMap;

/// Most addresses that are kept track of.
const MOST: usize = 1 << 30;

/// A lone number looks like a distance by chance: of so many words around one, so many lead where words do.
const AROUND: usize = 16;
const FEWEST: usize = 6;

/// A file to be labelled: what is read of it, its bytes, and its regions of data.
#[derive(Clone, Copy)]
pub struct Labelled<'f> {
    /// The file.
    pub image: &'f OldImage<'f>,
    /// Its bytes.
    pub bytes: &'f [u8],
    /// Where its data are.
    pub regions: &'f [(Region, Off)],
}

impl Labelled<'_> {
    /// Words that may be of a form, region by region: file offset, and address that they lead to, by `map` if it is
    /// given.
    fn words(&self, form: Form, map: Option<&AddressMap>) -> Vec<Vec<(usize, Addr)>> {
        let side = Side::of(&self.image.elf, &self.image.addresses);
        let of_region = |region: &Region| {
            let place = self.image.addresses.addr(Off(region.offset as u32));
            let own = place.and_then(|p| self.image.addresses.range_of(p));
            let (start, end) = (region.offset as usize, (region.offset + region.len) as usize);
            let all = (start.next_multiple_of(4)..end.min(self.bytes.len()).saturating_sub(3)).step_by(4);
            all.filter_map(|at| {
                let here = place.map(|p| p + (at - start) as u32);
                let word = side.read(form, &self.bytes[at..])?;
                let target = side.target(form, word, here)?;
                // Inside a section a distance stays the same.
                let near = form == Form::Distance && own.is_some_and(|r| target.since(r.addr) < r.len);
                (!near).then(|| (at, map.map_or(target, |map| map.guess(target))))
            })
            .collect()
        };
        self.regions.iter().map(|(region, _)| of_region(region)).collect()
    }

    /// The bytes with those words set to where they lead that lead where one of `others` does.
    fn set(&self, form: Form, words: &[Vec<(usize, Addr)>], others: &Leads, out: &mut [u8]) {
        let (numbers, side) = (
            self.image.elf.numbers,
            Side::of(&self.image.elf, &self.image.addresses),
        );
        for region in words {
            let led: Vec<_> = region.iter().filter(|w| others.holds(w.1)).collect();
            for (k, &&(at, target)) in led.iter().enumerate() {
                let around = |other: usize| led[other].0.abs_diff(at) <= 4 * AROUND;
                let before = (0..k).rev().take(FEWEST).take_while(|&i| around(i)).count();
                let behind = (k + 1..led.len()).take(FEWEST).take_while(|&i| around(i)).count();
                if form == Form::Pointer || before + behind >= FEWEST {
                    numbers.put(&mut out[at..at + side.size(form)], target.into());
                }
            }
        }
    }
}

/// The addresses that words lead to, a bit for each.
struct Leads {
    first: Addr,
    bits: Vec<u64>,
}

impl Leads {
    fn of(words: &[Vec<(usize, Addr)>]) -> Self {
        let all = || words.iter().flatten().map(|w| w.1);
        let (first, last) = (all().min().unwrap_or_default(), all().max().unwrap_or_default());
        let mut bits = vec![0u64; ((last - first) as usize).min(MOST) / 64 + 1];
        for target in all() {
            let bit = (target - first) as usize;
            if let Some(bits) = bits.get_mut(bit / 64) {
                *bits |= 1 << (bit % 64);
            }
        }
        Leads { first, bits }
    }

    fn holds(&self, target: Addr) -> bool {
        let bit = target.since(self.first) as usize;
        self.bits
            .get(bit / 64)
            .is_some_and(|bits| bits >> (bit % 64) & 1 != 0)
    }
}

/// The old bytes and the new ones, words set to where they lead: the old ones by `map`.
pub fn labelled(old: Labelled, new: Labelled, map: &AddressMap) -> (Vec<u8>, Vec<u8>) {
    let (mut was, mut is) = (old.bytes.to_vec(), new.bytes.to_vec());
    for form in Form::ALL.into_iter().rev() {
        let (from, to) = (old.words(form, Some(map)), new.words(form, None));
        old.set(form, &from, &Leads::of(&to), &mut was);
        new.set(form, &to, &Leads::of(&from), &mut is);
    }
    (was, is)
}
