//! Pairs new names with old ones, on the writing side.

use super::tokens::{Span, digest, ends_in_number, number, template};
use super::{NONE, Starts};
use crate::maps::HashMap;

/// Names between the expected old name and one that a counted name is still paired with.
const CLOSE: u32 = 4;
/// Names between two of a series.
const NEAR: usize = 64;

/// Old name for each new one, or [`NONE`]: equal but for tokens, in step with its neighbours where it can be.
pub fn pair(old: &[u8], old_starts: &Starts, new: &[u8], new_starts: &Starts) -> Vec<u32> {
    let mut spans: Vec<Span> = Vec::new();
    let mut templates = |table: &[u8], starts: &Starts| -> Vec<u64> {
        (0..starts.len())
            .map(|i| template(starts.name(table, i), &mut spans))
            .collect()
    };
    let (olds, news) = (templates(old, old_starts), templates(new, new_starts));
    let mut by_template: HashMap<u64, Vec<u32>> = HashMap::default();
    for (j, &h) in olds.iter().enumerate() {
        by_template.entry(h).or_default().push(j as u32);
    }
    let mut count: HashMap<u64, u32> = HashMap::default();
    for &h in &news {
        *count.entry(h).or_default() += 1;
    }
    let mut pairs = vec![NONE; news.len()];
    let mut used = vec![false; olds.len()];
    // A name that only counts on from one before is no anchor, and cheap to tell.
    let mut series: HashMap<u64, usize> = HashMap::default();
    let mut counts = vec![false; news.len()];
    for (i, counts) in counts.iter_mut().enumerate() {
        let name = new_starts.name(new, i);
        if let Some((from, to)) = number(name).filter(|_| ends_in_number(name)) {
            let stem = digest(&name[..from]) ^ digest(&name[to..]).rotate_left(1);
            *counts = series.insert(stem, i).is_some_and(|last| i - last < NEAR);
        }
    }
    for (i, h) in news.iter().enumerate() {
        if !counts[i]
            && let Some([only]) = by_template.get(h).map(Vec::as_slice)
            && count[h] == 1
        {
            pairs[i] = *only;
            used[*only as usize] = true;
        }
    }
    let mut follow = |i: usize, to: Option<usize>, pairs: &mut [u32]| {
        if let Some(j) = to.filter(|&j| j < used.len())
            && pairs[i] == NONE
            && !used[j]
            && olds[j] == news[i]
        {
            pairs[i] = j as u32;
            used[j] = true;
        }
    };
    for i in 1..pairs.len() {
        let to = (pairs[i - 1] != NONE).then(|| pairs[i - 1] as usize + 1);
        follow(i, to, &mut pairs);
    }
    for i in (0..pairs.len().saturating_sub(1)).rev() {
        follow(
            i,
            (pairs[i + 1] != NONE)
                .then_some(pairs[i + 1] as usize)
                .and_then(|j| j.checked_sub(1)),
            &mut pairs,
        );
    }
    // What is left, in order among the free old names that lie ahead of the last pair, else anywhere.
    let mut near = 0u32;
    for i in 0..pairs.len() {
        if pairs[i] == NONE
            && let Some(candidates) = by_template.get(&news[i])
        {
            let from = candidates.partition_point(|&j| j < near);
            let ahead = candidates[from..]
                .iter()
                .take(64)
                .chain(candidates[..from].iter().rev().take(64));
            let close = |j: u32| !counts[i] || j.abs_diff(near) < CLOSE;
            if let Some(&j) = ahead.filter(|&&j| close(j)).find(|&&j| !used[j as usize]) {
                pairs[i] = j;
                used[j as usize] = true;
            }
        }
        if pairs[i] != NONE {
            near = pairs[i];
        }
    }
    pairs
}
