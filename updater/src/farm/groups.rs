//! Groups: files that change alike, mostly programs of one package, told by one patch where that takes fewer bytes.

use super::blobs;
use super::deltas;
use super::pairs::Pair;
use super::steps::{Maker, ROW, Tried};
use crate::step::Applying;
use crate::{Result, limits};

/// Plain bytes of one side after which a group is full. A site that wants any of it pays for all.
const GROUP: u64 = 16 << 20;
/// The largest file in a group, and the largest delta: beyond, a file says enough by itself.
const FILE: u64 = 8 << 20;
const DELTA: u64 = 64 << 10;

/// The patch of a group.
pub(super) struct Together {
    /// Entries of the older manifest, whose contents one after the other are the old side.
    pub bases: Vec<usize>,
    /// The patch.
    pub bytes: Vec<u8>,
    /// What applying it takes.
    pub cost: Applying,
}

impl Maker<'_> {
    /// Whether a pair is tried in a group, too.
    pub fn may_join(&self, tried: &Tried) -> bool {
        let sides = [self.base(&tried.pair), self.content(&tried.pair)];
        let small = |c: Option<&crate::manifest::Content>| c.is_some_and(|c| c.size <= FILE);
        // What zstd tells in fewer bytes stays with it: it takes no time either, which a fast link would count.
        let best = tried.best().filter(|_| tried.plain.is_none());
        sides.into_iter().all(small) && best.is_some_and(|best| best <= DELTA)
    }

    /// Puts files together, neighbours by kind and name.
    pub fn gather(&self, mut members: Vec<Tried>) -> Vec<Vec<Tried>> {
        members.sort_by_cached_key(|tried| self.kin(&tried.pair));
        let mut groups: Vec<Vec<Tried>> = Vec::new();
        let mut full = [0, 0];
        for tried in members {
            let sides = [self.base(&tried.pair), self.content(&tried.pair)];
            let [old, new] = sides.map(|c| c.map_or(0, |c| c.size));
            match groups.last_mut() {
                Some(group) if full[0] + old <= GROUP && full[1] + new <= GROUP => group.push(tried),
                _ => {
                    groups.push(vec![tried]);
                    full = [0, 0];
                }
            }
            full = [full[0] + old, full[1] + new];
        }
        groups
    }

    /// The groups of some files, and the patches of those that pay.
    pub fn together_all(&self, members: Vec<Tried>) -> Result<Vec<(Vec<Tried>, Option<Together>)>> {
        let groups = self.gather(members);
        let (mut done, mut together) = (0, Vec::with_capacity(groups.len()));
        let need = |g: &Vec<Tried>| self.together_need(g);
        let take = |patch| {
            done += 1;
            self.tools.watch.progress("groups", done, groups.len() as u64);
            together.push(patch);
            Ok(())
        };
        self.tools.jobs.run(&groups, need, |g| self.together(g), take)?;
        Ok(groups.into_iter().zip(together).collect())
    }

    /// What files that change alike have in common: being programs or not, and most of their names.
    fn kin(&self, pair: &Pair) -> (bool, Vec<u8>, usize) {
        let content = self.content(pair);
        let program = content.is_some_and(|c| blobs::begins_with(self.tools.store, c, b"\x7fELF"));
        let path = &self.to.entries[pair.to].path;
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        // A library stands beside the program that has its name.
        let name = name.strip_prefix(b"lib").unwrap_or(name);
        (!program, name.to_vec(), pair.to)
    }

    /// Memory that telling a group takes, in bytes.
    pub fn together_need(&self, group: &[Tried]) -> u64 {
        let sides = group
            .iter()
            .flat_map(|t| [self.base(&t.pair), self.content(&t.pair)]);
        let bytes: u64 = sides.flatten().map(|c| c.size).sum();
        deltas::memory(bytes, 0) + bytes
    }

    /// The patch of a group, where it is smaller than what its files take alone.
    pub fn together(&self, group: &[Tried]) -> Result<(Option<Together>, u64)> {
        let pairs: Vec<Pair> = group.iter().map(|tried| tried.pair).collect();
        let alone = group.iter().filter_map(Tried::best).map(|n| n + ROW).sum();
        if pairs.len() < 2 {
            return Ok((None, 0));
        }
        let (bases, [old, new]) = self.contents(&pairs, limits::GROUP, true)?;
        let patch = self.bundled_patch(&old, &new, alone)?;
        let patch = patch.map(|(bytes, cost)| Together { bases, bytes, cost });
        let holds = patch.as_ref().map_or(0, |p| p.bytes.len() as u64);
        Ok((patch, holds))
    }
}
