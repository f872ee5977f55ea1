//! Groups: files that change alike, mostly programs of one package, told by one patch where that takes fewer bytes.

use super::blobs;
use super::job::{Job, Kind, Made};
use super::pairs::Pair;
use super::parts::{Maker, Staged, Tried};
use super::steps::ROW;
use crate::limits;

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
    pub patch: Made,
}

impl Maker<'_> {
    /// Whether a pair is tried in a group, too.
    pub fn may_join(&self, tried: &Tried) -> bool {
        let sides = [self.base(&tried.pair), self.content(&tried.pair)];
        let small = |c: Option<&crate::manifest::Content>| c.is_some_and(|c| c.size <= FILE);
        // What zstd tells in fewer bytes stays with it: it takes no time either, which a fast link would count.
        let best = tried.best().filter(|_| tried.frame().is_none());
        sides.into_iter().all(small) && best.is_some_and(|best| best <= DELTA)
    }

    /// Puts files together, neighbours by kind and name.
    fn gather(&self, mut members: Vec<Tried>) -> Vec<Vec<Tried>> {
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
    pub fn together_all(&self, members: Vec<Tried>) -> Staged<(Vec<Tried>, Option<Together>)> {
        let groups = self.gather(members);
        let together = |group: &Vec<Tried>| (group.len() > 1).then(|| self.together(group));
        let told: Vec<Option<(Vec<usize>, Job)>> = groups.iter().map(together).collect();
        let jobs = told.iter().flatten().map(|(_, job)| job.clone()).collect();
        let Some(made) = self.results("groups", jobs)? else {
            return Ok(None);
        };
        let mut made = made.into_iter();
        let patches = told.into_iter().map(|told| {
            let (bases, _) = told?;
            let patch = made.next()?.into_iter().next()?;
            Some(Together { bases, patch })
        });
        Ok(Some(groups.into_iter().zip(patches).collect()))
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

    /// The bases of a group, and the job that makes its patch, where it is smaller than what its files take alone.
    fn together(&self, group: &[Tried]) -> (Vec<usize>, Job) {
        let pairs: Vec<Pair> = group.iter().map(|tried| tried.pair).collect();
        let (bases, mut job) = self.job(Kind::Group, &pairs, limits::GROUP);
        job.most = group.iter().filter_map(Tried::best).map(|n| n + ROW).sum();
        let job = self.declared(job);
        (bases, job)
    }
}
