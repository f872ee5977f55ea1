//! Which old file each changed or new file is best described from.

use crate::manifest::{Content, Entry, Manifest};
use crate::{Digest, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A content that the older release lacks, and the older file it resembles most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Entry of the old manifest, if any resembles it.
    pub from: Option<usize>,
    /// Entry of the new manifest.
    pub to: usize,
}

/// Least share of common features that makes a moved file worth a try, in percent.
const ALIKE: usize = 10;
/// Files looked at by content; beyond that, names must do.
const MAX_SKETCHED: u64 = 64 << 20;

/// Pairs every content that `old` lacks with a base: the same path, else a name that differs only in digits,
/// else the most similar content.
pub fn pairs(
    old: &Manifest,
    new: &Manifest,
    load: &(dyn Fn(&Content) -> Result<Vec<u8>> + Sync),
) -> Result<Vec<Pair>> {
    let known: HashSet<Digest> = old.files().map(|(_, c)| c.digest).collect();
    let mut done: HashSet<Digest> = HashSet::new();
    let mut by_name: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    for (i, e) in old.entries.iter().enumerate().filter(|(_, e)| base(e)) {
        by_name.entry(plain_name(&e.path)).or_default().push(i);
    }
    let mut pairs = Vec::new();
    for (to, entry) in new.entries.iter().enumerate() {
        let Some(content) = entry.content() else { continue };
        if known.contains(&content.digest) || !done.insert(content.digest) || content.size == 0 {
            continue;
        }
        let same = old.entries.binary_search_by(|e| e.path.cmp(&entry.path)).ok();
        let same = same.filter(|&i| base(&old.entries[i]));
        let near = || {
            let candidates = by_name.get(&plain_name(&entry.path))?;
            let size = |i: &usize| old.entries[*i].content().map_or(0, |c| c.size);
            candidates
                .iter()
                .copied()
                .min_by_key(|i| size(i).abs_diff(content.size))
        };
        pairs.push(Pair {
            from: same.or_else(near),
            to,
        });
    }
    if pairs
        .iter()
        .any(|p| p.from.is_none() && sketched(&new.entries[p.to]))
    {
        by_content(old, new, &mut pairs, load)?;
    }
    Ok(pairs)
}

fn base(entry: &Entry) -> bool {
    entry.content().is_some_and(|c| c.size > 0)
}

fn sketched(entry: &Entry) -> bool {
    entry
        .content()
        .is_some_and(|c| (2048..=MAX_SKETCHED).contains(&c.size))
}

/// The last component with runs of digits made one `#`: `libx.so.1.23` and `libx.so.1.24` agree.
fn plain_name(path: &[u8]) -> Vec<u8> {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let mut out = Vec::with_capacity(name.len());
    for &b in name {
        match b {
            b'0'..=b'9' if out.last() == Some(&b'#') => {}
            b'0'..=b'9' => out.push(b'#'),
            b => out.push(b),
        }
    }
    out
}

fn by_content(
    old: &Manifest,
    new: &Manifest,
    pairs: &mut [Pair],
    load: &(dyn Fn(&Content) -> Result<Vec<u8>> + Sync),
) -> Result<()> {
    let olds: BTreeMap<Digest, usize> = old
        .entries
        .iter()
        .enumerate()
        .filter(|(_, e)| sketched(e))
        .filter_map(|(i, e)| Some((e.content()?.digest, i)))
        .collect();
    let sketches: Vec<(usize, Vec<u64>)> = olds
        .into_values()
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|i| {
            Ok((
                i,
                old.entries[i]
                    .content()
                    .map(load)
                    .transpose()?
                    .map_or(Vec::new(), |b| sketch(&b)),
            ))
        })
        .collect::<Result<_>>()?;
    let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
    for (i, features) in &sketches {
        features
            .iter()
            .for_each(|f| holders.entry(*f).or_default().push(*i));
    }
    pairs
        .par_iter_mut()
        .filter(|p| p.from.is_none() && sketched(&new.entries[p.to]))
        .try_for_each(|pair| {
            let Some(content) = new.entries[pair.to].content() else {
                return Ok(());
            };
            let features = sketch(&load(content)?);
            let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
            for f in &features {
                // A feature of everybody says nothing.
                for i in holders.get(f).into_iter().flatten().take(64) {
                    *votes.entry(*i).or_default() += 1;
                }
            }
            let best = votes.into_iter().max_by_key(|(_, n)| *n);
            pair.from = best
                .filter(|(_, n)| n * 100 >= features.len() * ALIKE)
                .map(|(i, _)| i);
            Ok(())
        })
}

/// The 64 smallest hashes of chunks cut where the content says so: files with common stretches share some.
fn sketch(bytes: &[u8]) -> Vec<u64> {
    let mut all = Vec::new();
    let (mut rolling, mut chunk) = (0u64, 0xcbf2_9ce4_8422_2325u64);
    for &b in bytes {
        rolling = (rolling << 1).wrapping_add(u64::from(b).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        chunk = (chunk ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
        if rolling >> 57 == 0 {
            all.push(chunk);
            chunk = 0xcbf2_9ce4_8422_2325;
        }
    }
    all.sort_unstable();
    all.dedup();
    all.truncate(64);
    all
}
