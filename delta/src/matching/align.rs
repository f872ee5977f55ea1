//! Aligns the instructions of a new unit with old ones, by cost: dynamic programming over diagonals.
//!
//! A diagonal is a stretch of new instructions set against consecutive old ones of one unit. Diagonals are
//! seeded by equal instruction pairs in the mapped unit and by longer equal runs anywhere, extended across
//! mismatches, and the cheapest way through them is kept. Costs are estimates in sixteenths of a bit.

use super::tokens::Tokens;
use crate::maps::HashMap;
use crate::place::UnitId;
use crate::text::PlanRun;
use std::ops::Range;

/// Price list, in sixteenths of a bit.
pub mod cost {
    /// An instruction that repeats.
    pub const SAME: u32 = 1;
    /// A byte of a literal instruction.
    pub const LITERAL_BYTE: u32 = 50;
    /// A literal instruction beside its bytes.
    pub const LITERAL: u32 = 24;
    /// A replaced instruction beside its bytes.
    pub const REPLACED: u32 = 60;
    /// A byte in which a replaced instruction differs.
    pub const REPLACED_BYTE: u32 = 64;
    /// Going on elsewhere in the mapped unit.
    pub const NEAR: u32 = 640;
    /// Going on in another unit.
    pub const FAR: u32 = 1000;
    /// A reference that no old one predicts.
    pub const REFERENCE: u32 = 150;
}

const FAR_GRAM: usize = 4;
const FAR_CHAIN: usize = 24;
const NEAR_SEEDS: usize = 6;
/// Score at which the extension of a diagonal gives up below its best.
const DROP: i32 = 16;

/// Where equal runs of instructions stand anywhere in the old file: a list for each value of the highest bits of a
/// run's hash. Lists follow each other in memory, with lower bits of the hash beside each place: what is read for a
/// run that is asked for is a line of each of the two, and other runs are hardly ever looked at.
pub struct FarIndex {
    /// Where each list begins, and where the last one ends.
    begins: Vec<u32>,
    places: Vec<u32>,
    checks: Vec<u16>,
    shift: u32,
}

const NONE: u32 = u32::MAX;

fn gram(hashes: &[u32]) -> u32 {
    hashes
        .iter()
        .fold(0u32, |h, &t| (h.rotate_left(9) ^ t).wrapping_mul(0x9E37_79B1))
}

impl FarIndex {
    /// Indexes every run of four instructions.
    pub fn new(old: &Tokens) -> Self {
        let count = old.hash.len();
        let bits = (usize::BITS - (count / 2).leading_zeros()).clamp(10, 22);
        let shift = 32 - bits;
        let grams: Vec<u32> = old.hash.windows(FAR_GRAM).map(gram).collect();
        let mut begins = vec![0u32; (1 << bits) + 1];
        for gram in &grams {
            begins[(gram >> shift) as usize] += 1;
        }
        let mut sum = 0;
        for begin in &mut begins {
            sum += *begin;
            *begin = sum;
        }
        // From the last place to the first, each list is filled from its end to where it begins.
        let (mut places, mut checks) = (vec![0; grams.len()], vec![0; grams.len()]);
        for (place, gram) in grams.into_iter().enumerate().rev() {
            let begin = &mut begins[(gram >> shift) as usize];
            *begin -= 1;
            places[*begin as usize] = place as u32;
            checks[*begin as usize] = gram as u16;
        }
        FarIndex {
            begins,
            places,
            checks,
            shift,
        }
    }

    fn candidates<'s>(&'s self, old: &'s Tokens, window: &'s [u32]) -> impl Iterator<Item = u32> + 's {
        let gram = gram(window);
        let list = (gram >> self.shift) as usize;
        let begin = self.begins[list] as usize;
        let end = (self.begins[list + 1] as usize).min(begin + FAR_CHAIN);
        self.places[begin..end]
            .iter()
            .zip(&self.checks[begin..end])
            .filter(move |&(&place, &check)| {
                check == gram as u16 && old.hash[place as usize..place as usize + FAR_GRAM] == *window
            })
            .map(|(&place, _)| place)
    }
}

/// Tokens of a range by what they and the next one are, in order.
fn pairs(hashes: &[u32], range: &Range<usize>) -> Vec<(u64, u32)> {
    let after = |i: usize| if i + 1 < range.end { hashes[i + 1] } else { 0 };
    let pair = |i: usize| u64::from(hashes[i]) << 32 | u64::from(after(i));
    let mut pairs: Vec<(u64, u32)> = range.clone().map(|i| (pair(i), i as u32)).collect();
    pairs.sort_unstable();
    pairs
}

/// For each token of the new range, where the tokens of the old range that begin an equal pair stand in `old`.
fn equal_pairs(old: &[(u64, u32)], new: &[(u64, u32)], range: &Range<usize>) -> Vec<Range<u32>> {
    let mut equal = vec![0..0; range.len()];
    let mut begin = 0;
    let mut end = 0;
    for &(pair, i) in new {
        if end == begin || old[begin].0 != pair {
            begin = end + old[end..].iter().take_while(|o| o.0 < pair).count();
            end = begin + old[begin..].iter().take_while(|o| o.0 == pair).count();
        }
        equal[i as usize - range.start] = begin as u32..end as u32;
    }
    equal
}

/// A candidate stretch: new tokens `from..to` against old tokens from `old`, all in one old unit.
#[derive(Clone, Copy, Debug)]
struct Diagonal {
    from: usize,
    to: usize,
    /// Old token against `from`.
    old: usize,
    unit: u32,
    near: bool,
}

/// Aligns units of one file pair.
pub struct Aligner<'a> {
    old: &'a Tokens,
    new: &'a Tokens,
    old_data: &'a [u8],
    new_data: &'a [u8],
    far: FarIndex,
    unit_of: Vec<u32>,
}

fn token_len(tokens: &Tokens, data: &[u8], index: usize) -> usize {
    let end = tokens.at.get(index + 1).map_or(data.len(), |e| e.index());
    (end - tokens.at[index].index()).min(15)
}

impl<'a> Aligner<'a> {
    /// Prepares the index over the old file.
    pub fn new(old: (&'a Tokens, &'a [u8]), new: (&'a Tokens, &'a [u8])) -> Self {
        let far = FarIndex::new(old.0);
        let mut unit_of = vec![0; old.0.hash.len()];
        for unit in 0..old.0.unit_hash.len() {
            unit_of[old.0.of(unit)].fill(unit as u32);
        }
        Aligner {
            old: old.0,
            new: new.0,
            old_data: old.1,
            new_data: new.1,
            far,
            unit_of,
        }
    }

    fn extend(&self, range: &Range<usize>, i: usize, j: usize, unit: u32, near: bool) -> Diagonal {
        let bounds = self.old.of(unit as usize);
        let equal = |i: usize, j: usize| self.new.hash[i] == self.old.hash[j];
        let (mut score, mut best, mut to) = (0, 0, i);
        let mut k = 0;
        while i + k < range.end && j + k < bounds.end && score > best - DROP {
            score += if equal(i + k, j + k) { 2 } else { -3 };
            k += 1;
            if score > best {
                (best, to) = (score, i + k);
            }
        }
        let (mut score, mut best, mut back) = (0, 0, 0);
        let mut k = 1;
        while i >= range.start + k && j >= bounds.start + k && score > best - DROP {
            score += if equal(i - k, j - k) { 2 } else { -3 };
            if score > best {
                (best, back) = (score, k);
            }
            k += 1;
        }
        Diagonal {
            from: i - back,
            to,
            old: j - back,
            unit,
            near,
        }
    }

    fn near_diagonals(&self, range: &Range<usize>, mapped: u32, found: &mut Vec<Diagonal>) {
        let bounds = self.old.of(mapped as usize);
        let old = pairs(&self.old.hash, &bounds);
        let equal = equal_pairs(&old, &pairs(&self.new.hash, range), range);
        // How far each diagonal was already extended, by its distance from the one that ends both units.
        let mut reached = vec![0; range.len() + bounds.len()];
        let diagonal = |i: usize, j: usize| i - range.start + (bounds.end - j);
        let first = self.extend(range, range.start, bounds.start, mapped, true);
        if first.to > first.from {
            reached[diagonal(first.from, first.old)] = first.to;
            found.push(first);
        }
        let mut expected = bounds.start as isize - range.start as isize;
        for i in range.clone() {
            let equal = &equal[i - range.start];
            let places = &old[equal.start as usize..equal.end as usize];
            let wanted = (i as isize + expected).max(0) as u32;
            let at = places.partition_point(|&(_, j)| j < wanted);
            let from = at.saturating_sub(NEAR_SEEDS / 2);
            let to = (at + NEAR_SEEDS / 2).min(places.len());
            for j in places[from..to].iter().map(|&(_, j)| j as usize) {
                let distance = j as isize - i as isize;
                if reached[diagonal(i, j)] > i {
                    expected = if places.len() == 1 { distance } else { expected };
                    continue;
                }
                let d = self.extend(range, i, j, mapped, true);
                if d.to > i {
                    reached[diagonal(i, j)] = d.to;
                    found.push(d);
                    if d.to - d.from >= 4 && places.len() == 1 {
                        expected = distance;
                    }
                }
            }
        }
    }

    fn far_diagonals(&self, range: &Range<usize>, mapped: Option<u32>, found: &mut Vec<Diagonal>) {
        // Where a long near diagonal runs without a mismatch, nothing far can be cheaper.
        let mut covered = vec![false; range.len()];
        for d in found.iter().filter(|d| d.to - d.from >= 8) {
            for k in d.from..d.to {
                covered[k - range.start] |= self.new.hash[k] == self.old.hash[d.old + (k - d.from)];
            }
        }
        let mut reached: HashMap<isize, usize> = HashMap::default();
        let mut i = range.start;
        while i + FAR_GRAM <= range.end {
            if covered[i - range.start] && covered[i + FAR_GRAM - 1 - range.start] {
                i += 1;
                continue;
            }
            let window = &self.new.hash[i..i + FAR_GRAM];
            let mut kept: Vec<Diagonal> = Vec::new();
            for j in self.far.candidates(self.old, window) {
                let unit = self.unit_of[j as usize];
                let diagonal = i as isize - j as isize;
                if Some(unit) == mapped || reached.get(&diagonal).is_some_and(|&end| end > i) {
                    continue;
                }
                let d = self.extend(range, i, j as usize, unit, false);
                let bytes = self.new.at[d.to - 1] - self.new.at[d.from];
                if d.to >= i + FAR_GRAM && bytes >= 12 {
                    kept.push(d);
                }
            }
            kept.sort_by_key(|d| std::cmp::Reverse(d.to - d.from));
            for d in kept.into_iter().take(3) {
                reached.insert(d.from as isize - d.old as isize, d.to);
                found.push(d);
            }
            i += 1;
        }
    }

    fn literal_cost(&self, i: usize) -> u32 {
        let len = token_len(self.new, self.new_data, i) as u32;
        let reference = if len >= 5 { cost::REFERENCE / 4 } else { 0 };
        cost::LITERAL + cost::LITERAL_BYTE * len + reference
    }

    fn replaced_cost(&self, i: usize, j: usize) -> u32 {
        let new = self.new.at[i].index();
        let old = self.old.at[j].index();
        let (n, o) = (
            token_len(self.new, self.new_data, i),
            token_len(self.old, self.old_data, j),
        );
        let (a, b) = (&self.new_data[new..new + n], &self.old_data[old..old + o]);
        let differing = a.iter().zip(b).filter(|(x, y)| x != y).count() + n.saturating_sub(o);
        (cost::REPLACED + cost::REPLACED_BYTE * differing as u32).min(self.literal_cost(i) + 24)
    }

    /// The cheapest alignment of a new unit.
    pub fn align(&self, unit: usize, mapped: Option<u32>) -> Vec<PlanRun> {
        let range = self.new.of(unit);
        let mut diagonals = Vec::new();
        if let Some(mapped) = mapped {
            self.near_diagonals(&range, mapped, &mut diagonals);
        }
        self.far_diagonals(&range, mapped, &mut diagonals);
        diagonals.sort_by_key(|d| (d.from, d.to, d.old));
        self.cheapest(&range, mapped, &diagonals)
    }

    fn cheapest(&self, range: &Range<usize>, mapped: Option<u32>, all: &[Diagonal]) -> Vec<PlanRun> {
        #[derive(Clone, Copy)]
        struct Lane {
            diagonal: usize,
            cost: u32,
            entered: usize,
        }
        let n = range.len();
        let mut best = vec![u32::MAX; n + 1];
        // How `best` was reached: a literal, or a diagonal entered at some token.
        let mut came: Vec<(u32, u32)> = vec![(NONE, 0); n + 1];
        best[0] = 0;
        let mut lanes: Vec<Lane> = Vec::new();
        let mut upcoming = 0;
        let start_of_mapped = mapped.map(|m| self.old.of(m as usize).start);
        for i in 0..n {
            let token = range.start + i;
            lanes.retain(|l| all[l.diagonal].to > token);
            while upcoming < all.len() && all[upcoming].from <= token {
                lanes.push(Lane {
                    diagonal: upcoming,
                    cost: u32::MAX,
                    entered: 0,
                });
                upcoming += 1;
            }
            let literal = best[i].saturating_add(self.literal_cost(token));
            if literal < best[i + 1] {
                best[i + 1] = literal;
                came[i + 1] = (NONE, 0);
            }
            for lane in &mut lanes {
                let d = &all[lane.diagonal];
                let j = d.old + (token - d.from);
                let same = self.new.hash[token] == self.old.hash[j];
                if same {
                    let open = match d.near {
                        true if i == 0 && Some(j) == start_of_mapped => 0,
                        true => cost::NEAR,
                        false => cost::FAR,
                    };
                    let entering = best[i].saturating_add(open);
                    if entering < lane.cost {
                        lane.cost = entering;
                        lane.entered = i;
                    }
                    lane.cost = lane.cost.saturating_add(cost::SAME);
                } else if lane.cost != u32::MAX {
                    lane.cost = lane.cost.saturating_add(self.replaced_cost(token, j));
                }
                if lane.cost < best[i + 1] {
                    best[i + 1] = lane.cost;
                    came[i + 1] = (lane.diagonal as u32, lane.entered as u32);
                }
            }
        }
        let mut plan = Vec::new();
        let mut i = n;
        while i > 0 {
            let (diagonal, entered) = came[i];
            if diagonal == NONE {
                i -= 1;
                continue;
            }
            let d = &all[diagonal as usize];
            let from = entered as usize;
            let old = d.old + (range.start + from - d.from) - self.old.of(d.unit as usize).start;
            plan.push(PlanRun {
                new: from as u32,
                len: (i - from) as u32,
                unit: UnitId::of(d.unit),
                old: old as u32,
            });
            i = from;
        }
        plan.reverse();
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_pairs_and_runs_are_those_of_a_search_one_by_one(
            old in prop::collection::vec(0u32..4, 1..60),
            new in prop::collection::vec(0u32..5, 4..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let (bounds, range) = (cut.index(old.len())..old.len(), cut.index(new.len())..new.len());
            let after = |hashes: &[u32], i: usize, end: usize| if i + 1 < end { hashes[i + 1] } else { 0 };
            let sorted = pairs(&old, &bounds);
            let equal = equal_pairs(&sorted, &pairs(&new, &range), &range);
            for (i, equal) in range.clone().zip(equal) {
                let found: Vec<u32> = sorted[equal.start as usize..equal.end as usize].iter().map(|p| p.1).collect();
                let is = |&j: &usize| old[j] == new[i] && after(&old, j, old.len()) == after(&new, i, new.len());
                prop_assert_eq!(found, bounds.clone().filter(is).map(|j| j as u32).collect::<Vec<_>>());
            }
            let tokens = Tokens { hash: old, ..Tokens::default() };
            let index = FarIndex::new(&tokens);
            for window in new.windows(FAR_GRAM) {
                let is = |&j: &usize| tokens.hash.get(j..j + FAR_GRAM) == Some(window);
                let places = (0..tokens.hash.len()).filter(is).take(FAR_CHAIN).map(|j| j as u32);
                prop_assert_eq!(index.candidates(&tokens, window).collect::<Vec<_>>(), places.collect::<Vec<_>>());
            }
        }
    }
}
