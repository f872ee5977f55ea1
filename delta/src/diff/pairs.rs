//! Which old ELF file of an inside a new one is coded by: by name, place, or what they share.

use crate::maps::{HashMap, HashSet};
use crate::packed::{Found, Leaf};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Where a file stands in an inside.
pub type Span = std::ops::Range<usize>;
/// A new ELF file and its base.
pub type Pair<'l> = (&'l Span, &'l Span);

/// New ELF files with their bases, in order: of the same name, or else of one that differs in digits alone, the first
/// with the first; without a name, the one at the same place where there are as many, else the one of most similar
/// length among those at about the same place; moved or renamed, as [`moved`] says. What both insides hold is nothing
/// to tell, and no base.
pub fn pairs<'l>(before: &'l Found, after: &'l Found) -> Vec<Pair<'l>> {
    let contents = |found: &'l Found| {
        let all = found.leaves.iter().map(|l| &found.inside[l.range.clone()]);
        all.collect::<HashSet<_>>()
    };
    let (olds, news) = (contents(before), contents(after));
    let old: Vec<_> = before
        .leaves
        .iter()
        .filter(|l| !news.contains(&before.inside[l.range.clone()]))
        .collect();
    let new: Vec<_> = after
        .leaves
        .iter()
        .filter(|l| !olds.contains(&after.inside[l.range.clone()]))
        .collect();
    let mut exact: HashMap<&[u8], Vec<&Span>> = HashMap::default();
    let mut near: HashMap<Vec<u8>, Vec<&Span>> = HashMap::default();
    for &leaf in old.iter().rev().filter(|leaf| !leaf.name.is_empty()) {
        exact.entry(&leaf.name).or_default().push(&leaf.range);
        near.entry(plain_name(&leaf.name)).or_default().push(&leaf.range);
    }
    let nameless = old.iter().filter(|leaf| leaf.name.is_empty());
    let mut nameless: Vec<_> = nameless.copied().map(Some).collect();
    let as_many = new.iter().filter(|leaf| leaf.name.is_empty()).count() == nameless.len();
    let around = if as_many { 0 } else { AROUND };
    let (mut pairs, mut number, mut left) = (Vec::new(), 0, Vec::new());
    for leaf in new {
        let base = match leaf.name.is_empty() {
            true => {
                number += 1;
                take_similar(&mut nameless, (number - 1, around), leaf.range.len())
            }
            false => exact
                .get_mut(&leaf.name[..])
                .and_then(Vec::pop)
                .or_else(|| near.get_mut(&plain_name(&leaf.name)).and_then(Vec::pop)),
        };
        match base {
            Some(base) => pairs.push((&leaf.range, base)),
            None => left.push(leaf),
        }
    }
    if !left.is_empty() {
        let taken: HashSet<usize> = pairs.iter().map(|(_, base)| base.start).collect();
        let free = old.into_iter().filter(|leaf| !taken.contains(&leaf.range.start));
        pairs.extend(moved((before, after), free.collect(), left));
        pairs.sort_unstable_by_key(|(leaf, _)| leaf.start);
    }
    pairs
}

/// Bases among those that none was found for: of the same name in another folder, digits aside, if it is one alone, or
/// else the one that shares most with it.
fn moved<'l>((before, after): (&Found, &Found), old: Vec<&'l Leaf>, new: Vec<&'l Leaf>) -> Vec<Pair<'l>> {
    let file_name = |leaf: &Leaf| plain_name(leaf.name.rsplit(|&b| b == b'/').next().unwrap_or_default());
    let mut named: HashMap<Vec<u8>, Vec<&Leaf>> = HashMap::default();
    for &leaf in &old {
        named.entry(file_name(leaf)).or_default().push(leaf);
    }
    let (mut pairs, mut left) = (Vec::new(), Vec::new());
    for leaf in new {
        match named.get(&file_name(leaf)).map(|all| all.as_slice()) {
            Some([one]) if !leaf.name.is_empty() => pairs.push((&leaf.range, &one.range)),
            _ => left.push(leaf),
        }
    }
    if !left.is_empty() {
        pairs.extend(alike((before, after), &old, &left));
    }
    pairs
}

/// Bases that share most with what has none.
fn alike<'l>((before, after): (&Found, &Found), old: &[&'l Leaf], new: &[&'l Leaf]) -> Vec<Pair<'l>> {
    let mut holds: HashMap<u64, Vec<usize>> = HashMap::default();
    for (i, leaf) in old.iter().enumerate() {
        for feature in sketch(&before.inside[leaf.range.clone()]) {
            holds.entry(feature).or_default().push(i);
        }
    }
    let base = |leaf: &&'l Leaf| {
        let features = sketch(&after.inside[leaf.range.clone()]);
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        // What many hold says nothing of one.
        let telling = features
            .iter()
            .filter_map(|f| holds.get(f))
            .filter(|all| all.len() <= COMMON);
        telling
            .flatten()
            .for_each(|&i| *shared.entry(i).or_default() += 1);
        let (best, n) = shared.into_iter().max_by_key(|&(i, n)| (n, Reverse(i)))?;
        (n * ALIKE >= features.len()).then_some((&leaf.range, &old[best].range))
    };
    new.iter().filter_map(base).collect()
}

/// Features of a sketch; one in how many must be shared; how many files may hold one that counts.
const FEATURES: usize = 64;
const ALIKE: usize = 8;
const COMMON: usize = 8;

/// Places of a file by which it is known: those of the lowest hashes, wherever they stand.
fn sketch(bytes: &[u8]) -> Vec<u64> {
    let hash = |word: &[u8]| {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        (word ^ word >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    let mut lowest: BTreeSet<u64> = BTreeSet::new();
    for feature in bytes.windows(8).map(hash) {
        if lowest.len() < FEATURES || lowest.last().is_some_and(|&last| feature < last) {
            lowest.insert(feature);
            if lowest.len() > FEATURES {
                lowest.pop_last();
            }
        }
    }
    lowest.into_iter().collect()
}

/// How far from its place a file without a name is looked for.
const AROUND: usize = 64;

fn take_similar<'l>(
    old: &mut [Option<&'l Leaf>],
    (place, around): (usize, usize),
    len: usize,
) -> Option<&'l Span> {
    let end = old.len().min(place + around + 1);
    let around = place.saturating_sub(around).min(end)..end;
    let unlike = |i: &usize| old[*i].map(|leaf| (leaf.range.len().abs_diff(len), i.abs_diff(place)));
    let best = around.filter(|i| old[*i].is_some()).min_by_key(unlike)?;
    old[best].take().map(|leaf| &leaf.range)
}

fn plain_name(name: &[u8]) -> Vec<u8> {
    name.iter().copied().filter(|b| !b.is_ascii_digit()).collect()
}
