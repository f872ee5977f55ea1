//! Which old file each changed or new file is best described from.

use super::parts::Tools;
use super::sketch::{self, Kept};
use crate::manifest::{Content, Entry, Manifest};
use crate::{Digest, Result};
use std::cmp::Reverse;
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
/// New files looked at by content, the largest of them: a gigabyte of features helps nobody.
const MOST_SKETCHED: usize = 1 << 14;
/// Old files that are remembered for a feature.
const MOST_HOLDERS: usize = 64;

/// Pairs every content that `old` lacks with a base: the same path, else one that differs only in digits, else such a
/// name elsewhere, else the most similar content.
pub fn pairs(old: &Manifest, new: &Manifest, tools: Tools) -> Result<Vec<Pair>> {
    let mut pairs = by_name(old, new);
    if pairs
        .iter()
        .any(|p| p.from.is_none() && sketched(&new.entries[p.to]))
    {
        by_content(old, new, &mut pairs, tools)?;
    }
    Ok(pairs)
}

/// Pairs every content that `old` lacks with a base by path or name alone, where there is such a one.
pub fn by_name(old: &Manifest, new: &Manifest) -> Vec<Pair> {
    let known: HashSet<Digest> = old.files().map(|(_, c)| c.digest).collect();
    let mut done: HashSet<Digest> = HashSet::new();
    let mut by_name: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    let mut by_path: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    for (i, e) in old.entries.iter().enumerate().filter(|(_, e)| base(e)) {
        by_name.entry(plain(name(&e.path))).or_default().push(i);
        by_path.entry(plain(&e.path)).or_default().push(i);
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
            let paths = by_path.get(&plain(&entry.path));
            let candidates = paths.or_else(|| by_name.get(&plain(name(&entry.path))))?;
            candidates
                .iter()
                .copied()
                .min_by_key(|&i| unlike(&old.entries[i], entry))
        };
        pairs.push(Pair {
            from: same.or_else(near),
            to,
        });
    }
    pairs
}

fn base(entry: &Entry) -> bool {
    entry.content().is_some_and(|c| c.size > 0)
}

fn sketched(entry: &Entry) -> bool {
    entry.content().is_some_and(sketch::may)
}

/// How little an older file that differs in digits resembles a newer one: by its name, by how few of the components
/// before that agree, by its size.
fn unlike(old: &Entry, new: &Entry) -> (bool, Reverse<usize>, u64) {
    let components = |e: &'_ Entry| e.path.rsplit(|b| *b == b'/').map(plain).collect::<Vec<_>>();
    let size = |e: &Entry| e.content().map_or(0, |c| c.size);
    let (before, after) = (components(old), components(new));
    let agree = before.iter().zip(&after).take_while(|(b, a)| b == a).count();
    let renamed = name(&old.path) != name(&new.path);
    (renamed, Reverse(agree), size(old).abs_diff(size(new)))
}

/// The last component of a path.
fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

/// The same with runs of digits made one `#`: `libx.so.1.23` and `libx.so.1.24` agree.
fn plain(name: &[u8]) -> Vec<u8> {
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

/// Finds bases by content for pairs that have none. The new files are looked at first, so that of the old ones only
/// features are kept that somebody asks for.
fn by_content(old: &Manifest, new: &Manifest, pairs: &mut [Pair], tools: Tools) -> Result<()> {
    let size = |p: &Pair| new.entries[p.to].content().map_or(0, |c| c.size);
    let lacking = |p: &Pair| p.from.is_none() && sketched(&new.entries[p.to]);
    let mut wanted: Vec<usize> = (0..pairs.len()).filter(|&i| lacking(&pairs[i])).collect();
    if wanted.len() > MOST_SKETCHED {
        wanted.sort_by_key(|&i| std::cmp::Reverse(size(&pairs[i])));
        wanted.truncate(MOST_SKETCHED);
        wanted.sort_unstable();
    }
    let contents: Vec<&Content> = wanted
        .iter()
        .filter_map(|&i| new.entries[pairs[i].to].content())
        .collect();
    let mut sketches = Vec::with_capacity(contents.len());
    sketch::all(Kept::Smallest, &contents, tools, |features| {
        sketches.push(features)
    })?;
    let mut features: Vec<u64> = sketches.iter().flatten().copied().collect();
    features.sort_unstable();
    features.dedup();
    let olds: BTreeMap<Digest, usize> = old
        .entries
        .iter()
        .enumerate()
        .filter(|(_, e)| sketched(e))
        .filter_map(|(i, e)| Some((e.content()?.digest, i)))
        .collect();
    let olds: Vec<usize> = olds.into_values().collect();
    let contents: Vec<&Content> = olds.iter().filter_map(|&i| old.entries[i].content()).collect();
    let mut holders: Vec<Vec<u32>> = vec![Vec::new(); features.len()];
    let mut numbers = olds.iter();
    sketch::all(Kept::Smallest, &contents, tools, |sketch| {
        let Some(&i) = numbers.next() else { return };
        for at in sketch.iter().filter_map(|f| features.binary_search(f).ok()) {
            // A feature of everybody says nothing.
            if holders[at].len() < MOST_HOLDERS {
                holders[at].push(i as u32);
            }
        }
    })?;
    for (&at, sketch) in wanted.iter().zip(&sketches) {
        let mut votes: BTreeMap<u32, usize> = BTreeMap::new();
        for at in sketch.iter().filter_map(|f| features.binary_search(f).ok()) {
            for i in &holders[at] {
                *votes.entry(*i).or_default() += 1;
            }
        }
        let best = votes.into_iter().max_by_key(|(_, n)| *n);
        pairs[at].from = best
            .filter(|(_, n)| n * 100 >= sketch.len() * ALIKE)
            .map(|(i, _)| i as usize);
    }
    Ok(())
}
