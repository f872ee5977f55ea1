//! What a step is made of: deltas, groups and bundles between two manifests, as jobs, stage by stage, since what one
//! stage makes decides what the next one tries.

use super::blobs;
use super::cost::Cost;
use super::crew::Crew;
use super::deltas::Form;
use super::groups::Together;
use super::job::{Done, Job, Kind, Made};
use super::leaning::Leaning;
use super::needs;
use super::pairs::{Pair, pairs};
use crate::manifest::{Content, Manifest};
use crate::store::Store;
use crate::{Jobs, Result, Watch, limits};
use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;

/// Files up to this size travel in bundles: what they have in common is told once.
const SMALL: u64 = 16 << 10;
/// So do those up to this size that are packed, which are opened there, or whose change takes few bytes: digests,
/// headers and rows of the table cost more than what they tell.
const MEDIUM: u64 = 256 << 10;
const FEW: u64 = 1 << 10;
/// Whole files up to this stored size travel in bundles when no delta pays: a request would cost more.
const SMALL_STORED: u64 = 48 << 10;
/// Plain bytes after which a bundle is full.
const BUNDLE: u64 = 1 << 20;
/// How a gzip file begins.
const GZIP: &[u8] = b"\x1f\x8b\x08";

/// What a step is made with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// Where blobs and finished jobs are, and the step goes.
    pub store: &'a dyn Store,
    /// Threads and memory.
    pub jobs: &'a Jobs,
    /// Of a worker: who it shares the jobs with. It believes what they note, and leaves proof to who signs.
    pub crew: Option<&'a Crew<'a>>,
    /// Hears of progress.
    pub watch: &'a dyn Watch,
}

/// What a stage makes. None: jobs of it are for the crew now.
pub(super) type Staged<T> = Result<Option<Vec<T>>>;

/// What was made for one pair.
pub(super) struct Tried {
    pub pair: Pair,
    pub made: Vec<Made>,
}

impl Tried {
    /// Bytes of the smallest option.
    pub fn best(&self) -> Option<u64> {
        self.made.iter().map(|made| made.measured.size).min()
    }
    /// The zstd frame, where that beats the deltas.
    pub fn frame(&self) -> Option<&Made> {
        self.made.iter().find(|made| made.measured.form == Form::Frame)
    }
}

/// Small files together.
pub(super) struct Bundle {
    /// Entries of the older manifest.
    pub bases: Vec<usize>,
    pub group: Vec<Pair>,
    /// As a zstd frame.
    pub frame: Made,
    /// As a patch, where that is smaller.
    pub patch: Option<Made>,
}

/// All that goes into a step.
pub(super) struct Parts {
    /// Told by themselves.
    pub alone: Vec<Tried>,
    /// Told by a patch of several files.
    pub joined: Vec<(Vec<Tried>, Together)>,
    /// Small ones.
    pub bundles: Vec<Bundle>,
}

/// Every content of a manifest, from nothing.
fn fresh(to: &Manifest) -> Vec<Pair> {
    let mut seen = BTreeSet::new();
    let entries = to.entries.iter().enumerate();
    let new = entries.filter(|(_, e)| e.content().is_some_and(|c| c.size > 0 && seen.insert(c.digest)));
    new.map(|(to, _)| Pair { from: None, to }).collect()
}

/// Finds out what goes into a step.
pub(super) struct Maker<'a> {
    pub tools: Tools<'a>,
    from: Option<&'a Manifest>,
    pub to: &'a Manifest,
    /// Every content that the older release lacks, those that are tried as deltas, and those that are not.
    all: Vec<Pair>,
    large: Vec<Pair>,
    small: Vec<Pair>,
    /// What leans on what, once that is known.
    pub leanings: OnceCell<Vec<Leaning>>,
    /// What its jobs took so far.
    pub cost: Cell<Cost>,
}

impl<'a> Maker<'a> {
    /// Pairs the contents of two manifests.
    pub fn new(tools: Tools<'a>, from: Option<&'a Manifest>, to: &'a Manifest) -> Result<Maker<'a>> {
        let all = match from {
            Some(from) => pairs(from, to, tools)?,
            None => fresh(to),
        };
        let mut maker = Maker {
            tools,
            from,
            to,
            all: Vec::new(),
            large: Vec::new(),
            small: Vec::new(),
            leanings: OnceCell::new(),
            cost: Cell::default(),
        };
        (maker.large, maker.small) = all.iter().partition(|p| maker.delta_first(p));
        maker.all = all;
        Ok(maker)
    }

    /// The jobs of the first stage.
    pub fn deltas(&self) -> Vec<Job> {
        let job = |p: &Pair| Some(self.declared(Job::pair(self.base(p)?, self.content(p)?)));
        self.large.iter().filter_map(job).collect()
    }

    /// Makes everything, or finds it made. None: jobs of some stage are for the crew now, and the same call goes on
    /// when they are done.
    pub fn parts(&self) -> Result<Option<Parts>> {
        let Some(deltas) = self.results("deltas", self.deltas())? else {
            return Ok(None);
        };
        let mut small = self.small.clone();
        let (mut alone, mut joined) = (Vec::new(), Vec::new());
        let (mut members, mut leaning) = (Vec::new(), Vec::new());
        for (&pair, made) in self.large.iter().zip(deltas) {
            let tried = Tried { pair, made };
            if self.may_lean(&tried) {
                leaning.push(tried);
            } else if self.may_join(&tried) {
                members.push(tried);
            } else {
                alone.push(tried);
            }
        }
        let Some(leant) = self.lean_all(leaning, &self.all)? else {
            return Ok(None);
        };
        for (tried, patch) in leant {
            match patch {
                Some(patch) => joined.push((vec![tried], patch)),
                None if self.may_join(&tried) => members.push(tried),
                None => alone.push(tried),
            }
        }
        let Some(groups) = self.together_all(members)? else {
            return Ok(None);
        };
        for (group, patch) in groups {
            match patch {
                Some(patch) => joined.push((group, patch)),
                None => alone.extend(group),
            }
        }
        let (few, alone): (Vec<Tried>, Vec<Tried>) = alone.into_iter().partition(|t| self.is_few(t));
        small.extend(few.iter().map(|tried| tried.pair));
        let bundles = self.bundle_all(small)?;
        Ok(bundles.map(|bundles| Parts {
            alone,
            joined,
            bundles,
        }))
    }

    /// What each of some jobs made, in order; `what` is what people call them.
    pub fn results(&self, what: &str, jobs: Vec<Job>) -> Staged<Vec<Made>> {
        let Tools {
            store, watch, crew, ..
        } = self.tools;
        if let Some(crew) = crew {
            return Ok(crew.results(jobs));
        }
        let mut all = Vec::with_capacity(jobs.len());
        let mut cost = self.cost.get();
        let take = |done: Done| {
            all.push(done.made);
            cost.add(done.cpu_micros);
            watch.progress(what, all.len() as u64, jobs.len() as u64);
            Ok(())
        };
        let work = |job: &Job| Ok((job.obtain(store, watch)?, 0));
        self.tools.jobs.run(&jobs, |job| job.need, work, take)?;
        self.cost.set(cost);
        Ok(Some(all))
    }

    pub fn content(&self, pair: &Pair) -> Option<&Content> {
        self.to.entries.get(pair.to)?.content()
    }
    pub fn base(&self, pair: &Pair) -> Option<&Content> {
        self.old(pair.from?)
    }
    /// Entries of the older manifest; as bases of bundles, the newer one's are numbered behind them.
    pub fn olds(&self) -> usize {
        self.from.map_or(0, |from| from.entries.len())
    }
    fn old(&self, entry: usize) -> Option<&Content> {
        self.from?.entries.get(entry)?.content()
    }

    /// Large files, and small programs, are tried as deltas; small plain files go into bundles.
    fn delta_first(&self, pair: &Pair) -> bool {
        let Some(content) = self.content(pair) else {
            return false;
        };
        let begins = |start: &[u8]| blobs::begins_with(self.tools.store, content, start);
        let plain = || match content.size {
            0..=SMALL => !begins(b"\x7fELF"),
            _ => content.size <= MEDIUM && begins(GZIP),
        };
        pair.from.is_some() && !plain()
    }

    /// A job that says what memory it takes.
    pub fn declared(&self, job: Job) -> Job {
        let need = needs::of(self.tools.store, &job, self.tools.jobs.memory());
        Job { need, ..job }
    }

    /// Whether what was tried alone is left to the bundles of small files.
    fn is_few(&self, tried: &Tried) -> bool {
        let content = |fits: &dyn Fn(&Content) -> bool| self.content(&tried.pair).is_some_and(fits);
        match tried.best() {
            Some(best) => best <= FEW && content(&|c| c.size <= MEDIUM),
            None => content(&|c| c.stored <= SMALL_STORED),
        }
    }

    /// Puts small files together, neighbours by kind of file, which compress best.
    fn groups(&self, mut pairs: Vec<Pair>) -> Vec<Vec<Pair>> {
        let extension = |p: &Pair| {
            let path = &self.to.entries[p.to].path;
            path.rsplit(|b| *b == b'.')
                .next()
                .filter(|e| e.len() < 8)
                .unwrap_or_default()
                .to_vec()
        };
        pairs.sort_by_cached_key(|p| (extension(p), p.to));
        let mut groups: Vec<Vec<Pair>> = Vec::new();
        let (mut plain, mut base) = (0, 0);
        for pair in pairs {
            let size = self.content(&pair).map_or(0, |c| c.size);
            let old = self.base(&pair).map_or(0, |c| c.size);
            match groups.last_mut() {
                Some(group) if plain + size <= BUNDLE && base + old <= BUNDLE => group.push(pair),
                _ => {
                    groups.push(vec![pair]);
                    (plain, base) = (0, 0);
                }
            }
            (plain, base) = (plain + size, base + old);
        }
        groups
    }

    /// The bases of some pairs, entries of the older manifest, and a job of both sides' contents. A base with which they
    /// would have more than so many bytes is left out, and of small files one that is there: in others each file
    /// stands opposite its own.
    pub fn job(&self, kind: Kind, group: &[Pair], most: u64) -> (Vec<usize>, Job) {
        let mut job = Job {
            kind,
            olds: Vec::new(),
            news: Vec::new(),
            most: 0,
            need: 0,
        };
        // In the order of the files that they are the bases of, so that the engine finds them there.
        let (mut bases, mut seen, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
        for pair in group {
            let fits = |o: &&Content| bytes + o.size <= most;
            if let (Some(i), Some(old)) = (pair.from, self.base(pair).filter(fits))
                && (seen.insert(i) || kind != Kind::Bundle)
            {
                bytes += old.size;
                job.olds.push(old.clone());
                bases.push(i);
            }
            job.news.extend(self.content(pair).cloned());
        }
        (bases, job)
    }

    /// The bundles of small files.
    fn bundle_all(&self, mut small: Vec<Pair>) -> Staged<Bundle> {
        // What packs well may still be large, such as a sparse file: no site would take a bundle of it.
        // Those with a base were put there for what they hold, or for how little of them changes.
        let fits = |p: &Pair, c: &Content| match p.from {
            Some(_) if c.size <= MEDIUM => true,
            _ => c.stored <= SMALL_STORED && c.size <= BUNDLE,
        };
        small.retain(|p| self.content(p).is_some_and(|c| fits(p, c)));
        let groups = self.groups(small);
        let told: Vec<(Vec<usize>, Job)> = groups.iter().map(|group| self.bundle(group)).collect();
        let Some(made) = self.results("bundles", told.iter().map(|(_, job)| job.clone()).collect())? else {
            return Ok(None);
        };
        let mut bundles = Vec::with_capacity(groups.len());
        for ((group, (bases, _)), made) in groups.into_iter().zip(told).zip(made) {
            let mut made = made.into_iter();
            if let Some(frame) = made.next() {
                bundles.push(Bundle {
                    bases,
                    group,
                    frame,
                    patch: made.next(),
                });
            }
        }
        Ok(Some(bundles))
    }

    /// The bases of small files, and the job that packs them with those as prefix and makes a patch of them.
    fn bundle(&self, group: &[Pair]) -> (Vec<usize>, Job) {
        let (bases, job) = self.job(Kind::Bundle, group, limits::BUNDLE);
        (bases, self.declared(job))
    }
}
