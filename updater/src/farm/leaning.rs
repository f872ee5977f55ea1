//! Files that hold what other new files of the release hold, such as an image and the modules that it was made of: told
//! from their old one and from those, where that takes half the bytes.

use super::groups::Together;
use super::job::{Job, Kind};
use super::pairs::Pair;
use super::parts::{Maker, Staged, Tried};
use super::sketch::{self, Kept};
use crate::manifest::Content;
use crate::step::LEVELS;
use crate::{Digest, Result, limits};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Bytes of a delta from which on other bases are looked for.
const WORTH: u64 = 4 << 10;
/// Features that a base must have which are neither in the old file nor in another base: 4 KiB of content, about.
const LEAST: usize = 2;
/// Most bases beside the old file: each is hashed by a site, and costs a number in the table.
const MOST_BASES: usize = 64;
/// New files that are remembered for a feature.
const MOST_HOLDERS: usize = 64;

/// A pair and the new files that it leans on, as entries of the newer manifest.
pub(super) struct Leaning {
    pair: Pair,
    on: Vec<usize>,
    /// Bytes that it takes otherwise.
    alone: u64,
}

impl Maker<'_> {
    /// Whether new files are looked for that hold what a pair's new file has.
    pub fn may_lean(&self, tried: &Tried) -> bool {
        let sides = [self.base(&tried.pair), self.content(&tried.pair)];
        let fits = |c: Option<&Content>| c.is_some_and(|c| sketch::may(c) && c.size <= limits::GROUP);
        sides.into_iter().all(fits) && tried.best().is_some_and(|best| best >= WORTH)
    }

    /// All of these files, and patches of those that lean on others among `all` new files.
    pub fn lean_all(&self, mut tried: Vec<Tried>, all: &[Pair]) -> Staged<(Tried, Option<Together>)> {
        tried.sort_by_key(|t| (self.content(&t.pair).map(|c| c.size), t.pair.to));
        let leanings = match self.leanings.get() {
            Some(known) => known,
            None => {
                let found = self.find_leanings(&tried, all)?;
                self.leanings.get_or_init(|| found)
            }
        };
        let told: Vec<(usize, Vec<usize>, Job)> = (leanings.iter().enumerate())
            .filter(|(_, leaning)| !leaning.on.is_empty())
            .map(|(i, leaning)| {
                let (bases, job) = self.lean(leaning);
                (i, bases, job)
            })
            .collect();
        let jobs = told.iter().map(|(_, _, job)| job.clone()).collect();
        let Some(made) = self.results("deltas from new files", jobs)? else {
            return Ok(None);
        };
        let mut patches: Vec<Option<Together>> = tried.iter().map(|_| None).collect();
        for ((i, bases, _), made) in told.into_iter().zip(made) {
            patches[i] = made.into_iter().next().map(|patch| Together { bases, patch });
        }
        Ok(Some(tried.into_iter().zip(patches).collect()))
    }

    /// What each of the pairs, which are in order of size, leans on among all new files; nothing for most.
    fn find_leanings(&self, tried: &[Tried], all: &[Pair]) -> Result<Vec<Leaning>> {
        let digest = |pair: &Pair| self.content(pair).map(|c| c.digest);
        let order: HashMap<Digest, usize> = (tried.iter().enumerate())
            .filter_map(|(i, t)| Some((digest(&t.pair)?, i)))
            .collect();
        let fresh = self.fresh_features(tried)?;
        let (features, holders) = self.holders(&fresh, all)?;
        let mut levels = vec![0; tried.len()];
        let mut leanings = Vec::with_capacity(tried.len());
        for (i, (t, fresh)) in tried.iter().zip(&fresh).enumerate() {
            // What leans itself comes before, so that there is no circle.
            let level = |pair: &Pair| match order.get(&digest(pair)?) {
                Some(&before) => (before < i).then(|| levels[before]),
                None => Some(0),
            };
            let may = |pair: &Pair| level(pair).is_some_and(|level| level < LEVELS);
            let holders = |feature: &u64| match features.binary_search(feature) {
                Ok(at) => &holders[at][..],
                Err(_) => &[],
            };
            let room = limits::GROUP - self.base(&t.pair).map_or(0, |c| c.size);
            let on = self.pick(fresh, holders, |h| may(&all[h as usize]), (all, room));
            let highest = on.iter().filter_map(|&h| level(&all[h])).max();
            levels[i] = highest.map_or(0, |level| level + 1);
            leanings.push(Leaning {
                pair: t.pair,
                on: on.iter().map(|&h| all[h].to).collect(),
                alone: t.best().unwrap_or(0),
            });
        }
        Ok(leanings)
    }

    /// Features of each new file that its base lacks, ascending.
    fn fresh_features(&self, tried: &[Tried]) -> Result<Vec<Vec<u64>>> {
        let sides = tried
            .iter()
            .flat_map(|t| [self.content(&t.pair), self.base(&t.pair)]);
        let sides: Vec<&Content> = sides.flatten().collect();
        let (mut fresh, mut new) = (Vec::with_capacity(tried.len()), None);
        sketch::all(Kept::Sampled, &sides, self.tools, |features| match new.take() {
            None => new = Some(features),
            Some(mut of_new) => {
                of_new.retain(|f| features.binary_search(f).is_err());
                fresh.push(of_new);
            }
        })?;
        Ok(fresh)
    }

    /// All of some features, ascending, and which of the new files have each.
    fn holders(&self, wanted: &[Vec<u64>], all: &[Pair]) -> Result<(Vec<u64>, Vec<Vec<u32>>)> {
        let mut features: Vec<u64> = wanted.iter().flatten().copied().collect();
        features.sort_unstable();
        features.dedup();
        let mut holders = vec![Vec::new(); features.len()];
        if features.is_empty() {
            return Ok((features, holders));
        }
        let looked: Vec<(u32, &Content)> = (0..)
            .zip(all)
            .filter_map(|(i, pair)| Some((i, self.content(pair).filter(|c| sketch::may(c))?)))
            .collect();
        let contents: Vec<&Content> = looked.iter().map(|(_, c)| *c).collect();
        let mut numbers = looked.iter().map(|(i, _)| *i);
        sketch::all(Kept::Sampled, &contents, self.tools, |sketch| {
            let Some(i) = numbers.next() else { return };
            for at in sketch.iter().filter_map(|f| features.binary_search(f).ok()) {
                // A feature of everybody says nothing.
                if holders[at].len() < MOST_HOLDERS {
                    holders[at].push(i);
                }
            }
        })?;
        Ok((features, holders))
    }

    /// Those of all new files that have most of the features between them, by number.
    fn pick<'h>(
        &self,
        fresh: &[u64],
        holders: impl Fn(&u64) -> &'h [u32],
        may: impl Fn(u32) -> bool,
        (all, mut room): (&[Pair], u64),
    ) -> Vec<usize> {
        let mut has: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for feature in fresh {
            for &holder in holders(feature) {
                has.entry(holder).or_default().push(*feature);
            }
        }
        let mut has: Vec<(u32, Vec<u64>)> = has.into_iter().filter(|(h, _)| may(*h)).collect();
        has.sort_by_key(|(_, features)| Reverse(features.len()));
        let (mut picked, mut covered) = (Vec::new(), std::collections::HashSet::new());
        for (holder, features) in has {
            let size = self.content(&all[holder as usize]).map_or(u64::MAX, |c| c.size);
            let more = features.iter().filter(|f| !covered.contains(*f)).count();
            if more >= LEAST && size <= room && picked.len() < MOST_BASES {
                room -= size;
                covered.extend(features);
                picked.push(holder as usize);
            }
        }
        picked.sort_unstable();
        picked
    }

    /// The bases of a file that leans on others, and the job that makes its patch, where that takes at most half of
    /// the bytes.
    fn lean(&self, leaning: &Leaning) -> (Vec<usize>, Job) {
        let (mut bases, mut job) = self.job(Kind::Leaning, &[leaning.pair], limits::GROUP);
        for &to in &leaning.on {
            if let Some(content) = self.content(&Pair { from: None, to }) {
                job.olds.push(content.clone());
                bases.push(self.olds() + to);
            }
        }
        job.most = leaning.alone / 2;
        (bases, self.declared(job))
    }
}
