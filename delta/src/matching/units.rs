//! Pairs new units with old ones: names that are there once, where there are any, then equal code, then
//! neighbours, then the most shared instructions.

use super::tokens::Tokens;
use crate::maps::HashMap;

/// Instructions in one shingle of the similarity vote.
const SHINGLE: usize = 3;
/// Shingles that vote for one unit at most, the smallest by hash, so that both files pick alike.
const VOTERS: usize = 24;
/// A shingle in more old units than this says nothing.
const COMMON: usize = 12;

/// Old unit for each new one.
///
/// `names` holds a hash of each unit's name in the old and the new file, 0 for none.
pub fn pair(old: &Tokens, new: &Tokens, names: (&[u64], &[u64])) -> Vec<Option<u32>> {
    let count = new.unit_hash.len();
    let mut paired: Vec<Option<u32>> = vec![None; count];
    let mut used = vec![false; old.unit_hash.len()];
    named(names, &mut paired, &mut used);
    equal(old, new, &mut paired, &mut used);
    neighbours(old, new, &mut paired, &mut used);
    vote(old, new, &mut paired, &mut used);
    neighbours(old, new, &mut paired, &mut used);
    lonely(old, new, &mut paired, &mut used);
    paired
}

/// Units whose name only they have, in both files.
fn named((old, new): (&[u64], &[u64]), paired: &mut [Option<u32>], used: &mut [bool]) {
    let (olds, news) = (by_hash(old), by_hash(new));
    for (i, name) in new.iter().enumerate().filter(|(_, name)| **name != 0) {
        if let Some([only]) = olds.get(name).map(Vec::as_slice)
            && news[name].len() == 1
        {
            paired[i] = Some(*only);
            used[*only as usize] = true;
        }
    }
}

fn by_hash(hashes: &[u64]) -> HashMap<u64, Vec<u32>> {
    let mut map: HashMap<u64, Vec<u32>> = HashMap::default();
    for (i, &h) in hashes.iter().enumerate() {
        map.entry(h).or_default().push(i as u32);
    }
    map
}

/// Units with the same instructions: unique ones, then those that follow a pair, then the rest in order.
fn equal(old: &Tokens, new: &Tokens, paired: &mut [Option<u32>], used: &mut [bool]) {
    let olds = by_hash(&old.unit_hash);
    let news = by_hash(&new.unit_hash);
    for (i, hash) in new.unit_hash.iter().enumerate() {
        if let Some([only]) = olds.get(hash).map(Vec::as_slice)
            && news[hash].len() == 1
            && paired[i].is_none()
            && !used[*only as usize]
        {
            paired[i] = Some(*only);
            used[*only as usize] = true;
        }
    }
    let follow = |i: usize, to: Option<usize>, paired: &mut [Option<u32>], used: &mut [bool]| {
        if let Some(j) = to.filter(|&j| j < used.len())
            && paired[i].is_none()
            && !used[j]
            && old.unit_hash[j] == new.unit_hash[i]
        {
            paired[i] = Some(j as u32);
            used[j] = true;
        }
    };
    for i in 1..paired.len() {
        follow(i, paired[i - 1].map(|j| j as usize + 1), paired, used);
    }
    for i in (0..paired.len().saturating_sub(1)).rev() {
        follow(
            i,
            paired[i + 1].and_then(|j| (j as usize).checked_sub(1)),
            paired,
            used,
        );
    }
    let mut near = 0u32;
    for (i, pair) in paired.iter_mut().enumerate() {
        if let Some(j) = *pair {
            near = j;
        } else if let Some(candidates) = olds.get(&new.unit_hash[i]) {
            let free = candidates.iter().copied().filter(|&j| !used[j as usize]);
            let best = free.min_by_key(|&j| j.abs_diff(near));
            // A used twin is still a perfect source.
            let best = best.or_else(|| candidates.iter().copied().min_by_key(|&j| j.abs_diff(near)));
            if let Some(j) = best {
                *pair = Some(j);
                used[j as usize] = true;
            }
        }
    }
}

fn shingles(tokens: &Tokens, unit: usize, out: &mut Vec<u32>) {
    out.clear();
    let hashes = &tokens.hash[tokens.of(unit)];
    let size = SHINGLE.min(hashes.len());
    for window in hashes.windows(size.max(1)) {
        let mut h = 0u32;
        for &t in window {
            h = (h ^ t).wrapping_mul(0x9E37_79B1).rotate_left(13);
        }
        out.push(h);
    }
    out.sort_unstable();
    out.dedup();
    out.truncate(VOTERS);
}

fn shared(a: &[u32], b: &[u32]) -> usize {
    let (mut i, mut j, mut n) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                n += 1;
                i += 1;
                j += 1;
            }
        }
    }
    n
}

/// Between two units paired in step, pairs what is left in step too where it looks alike.
fn neighbours(old: &Tokens, new: &Tokens, paired: &mut [Option<u32>], used: &mut [bool]) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut alike = |i: usize, j: usize| {
        shingles(new, i, &mut a);
        shingles(old, j, &mut b);
        shared(&a, &b) * 5 >= a.len().min(b.len()) * 2
    };
    for i in 1..paired.len() {
        if paired[i].is_none()
            && let Some(j) = paired[i - 1].map(|j| j as usize + 1)
            && used.get(j) == Some(&false)
            && alike(i, j)
        {
            paired[i] = Some(j as u32);
            used[j] = true;
        }
    }
    for i in (0..paired.len().saturating_sub(1)).rev() {
        if paired[i].is_none()
            && let Some(j) = paired[i + 1].and_then(|j| (j as usize).checked_sub(1))
            && !used[j]
            && alike(i, j)
        {
            paired[i] = Some(j as u32);
            used[j] = true;
        }
    }
}

/// The old unit that shares the most rare shingles.
fn vote(old: &Tokens, new: &Tokens, paired: &mut [Option<u32>], used: &mut [bool]) {
    let mut index: HashMap<u32, Vec<u32>> = HashMap::default();
    let mut marks = Vec::new();
    for j in 0..old.unit_hash.len() {
        shingles(old, j, &mut marks);
        for &h in &marks {
            let units = index.entry(h).or_default();
            if units.len() <= COMMON {
                units.push(j as u32);
            }
        }
    }
    let mut votes: HashMap<u32, u32> = HashMap::default();
    let mut near = 0u32;
    for (i, pair) in paired.iter_mut().enumerate() {
        if let Some(j) = *pair {
            near = j + 1;
            continue;
        }
        votes.clear();
        shingles(new, i, &mut marks);
        for h in &marks {
            if let Some(units) = index.get(h).filter(|u| u.len() <= COMMON) {
                for &j in units {
                    *votes.entry(j).or_default() += 60 / units.len() as u32;
                }
            }
        }
        let size = new.of(i).len();
        let worth = |j: u32, v: u32| {
            let other = old.of(j as usize).len();
            let penalty = if used[j as usize] { 2 } else { 3 };
            let ratio = 64 * size.min(other) / size.max(other).max(1);
            u64::from(v) * penalty * (64 + ratio as u64)
        };
        let best = votes
            .iter()
            .map(|(&j, &v)| (worth(j, v), std::cmp::Reverse(j.abs_diff(near)), j))
            .max();
        if let Some((_, _, j)) = best
            && votes[&j] * 4 >= marks.len() as u32 * 5
        {
            *pair = Some(j);
            used[j as usize] = true;
        }
    }
}

/// A single stranger between two paired neighbours continues the single unit that is missing there.
fn lonely(old: &Tokens, new: &Tokens, paired: &mut [Option<u32>], used: &mut [bool]) {
    for i in 1..paired.len().saturating_sub(1) {
        if let (None, Some(a), Some(b)) = (paired[i], paired[i - 1], paired[i + 1])
            && a + 2 == b
            && !used[a as usize + 1]
            && new.of(i).len() > 2
            && old.of(a as usize + 1).len() > 2
        {
            paired[i] = Some(a + 1);
            used[a as usize + 1] = true;
        }
    }
}
