//! Plan: every option of every missing file with its cost, and the choice.

use super::config::{Config, Objective};
use super::cost::{Rates, Use};
use super::index::Index;
use super::measures::Measures;
use super::partial::Partial;
use super::ways::Ways;
use crate::manifest::Content;
use crate::source::Sources;
use crate::step::{Base, DeltaRow, Step};
use crate::{Digest, compress, limits};
use elfdelta::Profile;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A row of deltas or bundles in the table of a step of [`Ways`], by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct StepRow {
    /// Step.
    pub step: usize,
    /// Row of its deltas or bundles.
    pub row: usize,
}

/// A piece of the pack of a step of [`Ways`], by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceId {
    /// Step.
    pub step: usize,
    /// Piece of its pack.
    pub piece: usize,
}

/// Neighbouring pieces of one pack, which are fetched in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceRange {
    /// Step.
    pub step: usize,
    /// First piece.
    pub first: usize,
    /// Last piece.
    pub last: usize,
}

/// A way to get one content.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// A file that is on the site.
    Copy,
    /// One delta.
    Delta(StepRow),
    /// A bundle, with other small files.
    Bundle(StepRow),
    /// The whole file.
    Blob,
}

/// One option with its predicted price.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Choice {
    /// How.
    pub way: Way,
    /// For people.
    pub what: Cow<'static, str>,
    /// What it uses.
    #[serde(flatten)]
    pub uses: Use,
    /// Predicted seconds.
    pub seconds: f64,
    /// What is compared between options.
    pub cost: f64,
    /// Why it cannot be taken.
    pub infeasible: Option<String>,
}

/// One missing content.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Item {
    /// A path that has it.
    pub path: String,
    /// Entry of the target manifest.
    pub entry: usize,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// Best first; those that cannot be taken last.
    pub options: Vec<Choice>,
}

/// The whole plan.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Plan {
    /// Release it leads to.
    pub release: String,
    /// Its manifest.
    pub manifest: Digest,
    /// Prices.
    pub rates: Rates,
    /// Contents that are missing.
    pub items: Vec<Item>,
    /// Files of the target that are there already.
    pub present: u64,
    /// Predicted bytes still to come.
    pub bytes: u64,
    /// Predicted requests.
    pub requests: u64,
    /// Predicted seconds.
    pub seconds: f64,
    /// Predicted seconds of applying, part of `seconds`.
    pub apply: f64,
    /// Bytes that are written to the disk: pieces, files, and what only rebuilding needs.
    pub written: u64,
    /// Disk that is reserved before the first byte.
    pub scratch: u64,
    /// The part of it that is needed only while one file is rebuilt.
    pub passing: u64,
    /// Bytes that fetching every missing file whole would take.
    pub whole: u64,
    /// Whether the pack is taken in one go, being cheaper than the sum of single choices.
    pub pack: bool,
    /// What is made before, of a release between; its bytes, requests and seconds are counted above.
    pub first: Option<First>,
    /// What to fetch of packs.
    #[serde(skip)]
    pub ranges: Vec<PieceRange>,
}

/// Files of a release between that others are told from.
#[derive(Clone, Debug, serde::Serialize)]
pub struct First {
    /// The release.
    pub release: String,
    /// How many files of it.
    pub files: u64,
    /// Predicted bytes for them.
    pub bytes: u64,
    /// Predicted seconds for them.
    pub seconds: f64,
}

/// What will be there by the time that a plan is carried out.
#[derive(Default)]
pub(super) struct Made {
    /// Contents.
    pub contents: HashSet<Digest>,
    /// Pieces of packs.
    pub pieces: HashSet<Digest>,
}

/// Rows of steps by the content that they make. Sorted, as there may be a hundred thousand.
#[derive(Default)]
struct Rows(Vec<(Digest, StepRow)>);

impl Rows {
    fn of(&self, digest: &Digest) -> impl Iterator<Item = StepRow> {
        let begin = self.0.partition_point(|(d, _)| d < digest);
        let rows = self.0[begin..].iter().take_while(move |(d, _)| d == digest);
        rows.map(|(_, at)| *at)
    }
}

struct Planner<'a> {
    ways: &'a Ways,
    index: &'a Index,
    rates: Rates,
    memory: u64,
    /// Deltas by the content they make.
    deltas: Rows,
    bundles: Rows,
    /// Bytes of a piece that are on the disk already.
    held: &'a dyn Fn(&Digest) -> u64,
    /// Contents that are made before.
    made: &'a HashSet<Digest>,
}

/// What a plan is made of.
pub(super) struct Weighing<'a> {
    pub ways: &'a Ways,
    pub index: &'a Index,
    pub measures: &'a Measures,
    pub sources: &'a Sources,
    pub partial: &'a Partial,
    pub config: &'a Config,
    pub objective: Objective,
}

impl Weighing<'_> {
    /// Weighs all options, as they are once `made` is there.
    pub fn plan(&self, made: &Made) -> Plan {
        let (ways, index) = (self.ways, self.index);
        let reference = ways.steps.first().map_or(0, |s| s.table.nominal_micros);
        let rates = Rates::new(self.measures, self.sources, reference, self.objective);
        let held = |digest: &Digest| match made.pieces.contains(digest) {
            true => u64::MAX,
            false => self.partial.held(digest),
        };
        let mut planner = Planner {
            ways,
            index,
            rates,
            memory: self.config.memory,
            deltas: Rows::default(),
            bundles: Rows::default(),
            held: &held,
            made: &made.contents,
        };
        planner.collect();
        let mut items = Vec::new();
        let mut seen = BTreeSet::new();
        let mut present = 0;
        for (number, entry) in ways.target.entries.iter().enumerate() {
            let Some(content) = entry.content() else { continue };
            if index.has_object(&content.digest) || content.size == 0 {
                present += 1;
            } else if seen.insert(content.digest) {
                items.push(Item {
                    path: entry.shown(),
                    entry: number,
                    digest: content.digest,
                    size: content.size,
                    options: planner.options(content),
                });
            }
        }
        let level = |item: &Item| planner.level(&item.digest);
        if items.iter().any(|item| level(item) > 0) {
            items.sort_by_key(level);
        }
        let mut plan = planner.total(&items, |_| 0, false);
        let packed = planner.total(&items, Planner::from_pack, true);
        if packed.cost() < plan.cost() {
            for item in &mut items {
                let at = Planner::from_pack(item);
                item.options[..=at].rotate_right(1);
            }
            plan = packed;
        }
        plan.items = items;
        plan.present = present;
        plan
    }
}

impl Plan {
    /// Tells the log what was decided, and against what.
    pub(super) fn tell(&self) {
        let Rates {
            bandwidth,
            rtt,
            speed,
            ..
        } = self.rates;
        tracing::debug!(bandwidth, rtt, speed, objective = ?self.rates.objective, "is counted with");
        let (bytes, requests, seconds, whole) = (self.bytes, self.requests, self.seconds, self.whole);
        let (files, present) = (self.items.len(), self.present);
        tracing::info!(
            release = self.release,
            files,
            present,
            bytes,
            requests,
            seconds,
            whole,
            "planned"
        );
        for item in &self.items {
            for (place, choice) in item.options.iter().enumerate() {
                let (bytes, seconds) = (choice.uses.bytes, choice.seconds);
                match (&choice.infeasible, place) {
                    (None, 0) => tracing::debug!(path = item.path, bytes, seconds, "{}", choice.what),
                    (None, _) => tracing::trace!(path = item.path, bytes, seconds, "not {}", choice.what),
                    (Some(why), _) => tracing::trace!(path = item.path, why, "not {}", choice.what),
                }
            }
        }
    }

    /// What is compared between plans.
    pub(super) fn cost(&self) -> f64 {
        // Only what plans differ in; the rest is in every option alike.
        self.rates.cost(&Use {
            bytes: self.bytes,
            requests: self.requests,
            apply: self.apply,
            ..Use::default()
        })
    }
}

impl Planner<'_> {
    fn collect(&mut self) {
        for (s, step) in self.ways.steps.iter().enumerate() {
            let digest = |i: usize| step.to.entries.get(i).and_then(|e| e.content()).map(|c| c.digest);
            for (row, d) in step.table.deltas.iter().enumerate() {
                if let Some(digest) = digest(d.to) {
                    self.deltas.0.push((digest, StepRow { step: s, row }));
                }
            }
            for (row, b) in step.table.bundles.iter().enumerate() {
                for digest in b.targets.iter().filter_map(|i| digest(*i)) {
                    self.bundles.0.push((digest, StepRow { step: s, row }));
                }
            }
        }
        self.deltas.0.sort_unstable();
        self.bundles.0.sort_unstable();
    }

    /// After how many others a content is made at the latest, in rows that follow on each other.
    fn level(&self, digest: &Digest) -> u8 {
        let here = self.ways.steps.iter().filter(|s| s.to_digest == self.ways.digest);
        let levels = here.filter_map(|s| s.levels.get(digest).copied());
        levels.max().unwrap_or(0)
    }

    /// Whether a base is there when it is wanted.
    fn has(&self, base: &Digest) -> bool {
        self.index.has(base) || self.made.contains(base)
    }

    fn options(&self, content: &Content) -> Vec<Choice> {
        let mut all = Vec::new();
        if let Some(path) = self.index.any(&content.digest) {
            let uses = Use {
                read: content.size,
                scratch: content.size,
                ..Use::default()
            };
            all.push(self.choice(
                Way::Copy,
                format!("copy of {}", path.display()).into(),
                uses,
                None,
            ));
        }
        let held = (self.held)(&content.digest).min(content.stored);
        let uses = Use {
            bytes: content.stored - held,
            requests: 1,
            apply: self.rates.unpack(content.size),
            memory: compress::UNPACK_MEMORY,
            scratch: content.stored + content.size,
            ..Use::default()
        };
        all.push(self.choice(Way::Blob, "whole file".into(), uses, None));
        for at in self.deltas.of(&content.digest) {
            all.extend(self.delta(at, content.size));
        }
        for at in self.bundles.of(&content.digest) {
            all.extend(self.bundle(at, content));
        }
        all.sort_by(|a, b| {
            let infeasible = a.infeasible.is_some().cmp(&b.infeasible.is_some());
            infeasible.then(a.cost.total_cmp(&b.cost))
        });
        // There may be a hundred thousand of these lists.
        all.shrink_to_fit();
        all
    }

    fn delta(&self, at: StepRow, size: u64) -> Option<Choice> {
        let step = self.ways.steps.get(at.step)?;
        let d = step.table.deltas.get(at.row)?;
        let base = entry_content(step, d.from).filter(|base| self.has(&base.digest))?;
        let piece = step.table.pieces.get(d.piece)?;
        let held = (self.held)(&piece.digest) >= piece.length;
        let lacking = d
            .encoders
            .iter()
            .find(|name| !elfdelta::packed::has_encoder(name) || elfdelta::packed::needs_thread(name));
        let lacking = lacking.map(|name| format!("needs {name}, which this elfup does not have"));
        let uses = Use {
            bytes: if held { 0 } else { d.length },
            requests: 0,
            apply: d.micros as f64 * 1e-6 * self.rates.speed,
            read: 2 * base.size,
            memory: step.delta_memory(d),
            scratch: d.length + size,
            passing: d.scratch,
        };
        let profile = match d.profile {
            Profile::Fast => "fast delta",
            Profile::Default => "delta",
            Profile::Max => "max delta",
        };
        let from = step.from.as_ref().and_then(|m| m.entries.get(d.from));
        let from = from.map_or(String::new(), |e| e.shown());
        let what = format!("{profile} from {from}").into();
        Some(self.choice(Way::Delta(at), what, uses, lacking))
    }

    fn bundle(&self, at: StepRow, content: &Content) -> Option<Choice> {
        let step = self.ways.steps.get(at.step)?;
        let bundle = step.table.bundles.get(at.row)?;
        let piece = step.table.pieces.get(bundle.piece)?;
        let (bases, plain) = step.plain(bundle);
        let plain = plain.max(1);
        // What is new of the wanted release is made before: items are in order of levels.
        let there = |base: Base| match base {
            Base::New(_) if step.to_digest == self.ways.digest => true,
            base => self.has(&base.content().digest),
        };
        let missing = bundle.bases.iter().find(|i| !step.base(**i).is_some_and(there));
        // The bundle's price is shared by the contents that are wanted of it.
        let wanted: u64 = bundle
            .targets
            .iter()
            .filter_map(|i| step.to.entries.get(*i)?.content())
            .filter(|c| !self.index.has_object(&c.digest))
            .map(|c| c.size)
            .sum();
        let share = content.size as f64 / wanted.max(1) as f64;
        let left = piece.length - (self.held)(&piece.digest).min(piece.length);
        let (apply, passing) = match bundle.patch {
            Some(p) => (
                p.micros as f64 * 1e-6 * self.rates.speed,
                p.scratch.saturating_add(bases).saturating_add(plain),
            ),
            None => (self.rates.unpack(plain), 0),
        };
        let uses = Use {
            bytes: (left as f64 * share).ceil() as u64,
            requests: 0,
            apply: apply * share,
            read: (bases as f64 * share) as u64,
            memory: step.bundle_memory(bundle),
            scratch: (piece.length as f64 * share).ceil() as u64 + content.size,
            passing,
        };
        let what = match (bundle.targets.len(), bundle.patch) {
            (1, None) => Cow::from("zstd patch"),
            (n, None) => format!("bundle of {n} files").into(),
            (1, Some(_)) if step.levels.contains_key(&content.digest) => {
                format!("delta from {} files, new ones among them", bundle.bases.len()).into()
            }
            (n, Some(_)) => format!("delta of {n} files together").into(),
        };
        let why = missing.map(|_| "a base is not on the site".to_owned());
        Some(self.choice(Way::Bundle(at), what, uses, why))
    }

    fn choice(&self, way: Way, what: Cow<'static, str>, uses: Use, why: Option<String>) -> Choice {
        let over = |what: &str, needed: u64, allowed: u64| {
            (needed > allowed).then(|| format!("needs {needed} bytes of {what}, {allowed} allowed"))
        };
        let over = over("memory", uses.memory, self.memory).or(over(
            "scratch space",
            uses.passing,
            limits::SCRATCH + 2 * limits::GROUP,
        ));
        Choice {
            way,
            what,
            uses,
            seconds: self.rates.seconds(&uses),
            cost: self.rates.cost(&uses),
            infeasible: why.or(over),
        }
    }

    /// Which option takes an item from the first step's pack; the first one if none does or it is here already.
    fn from_pack(item: &Item) -> usize {
        let in_pack = |c: &Choice| {
            matches!(
                c.way,
                Way::Delta(StepRow { step: 0, .. }) | Way::Bundle(StepRow { step: 0, .. })
            )
        };
        let found = item
            .options
            .iter()
            .position(|c| in_pack(c) && c.infeasible.is_none());
        let copy = item.options.first().is_some_and(|c| c.way == Way::Copy);
        found.filter(|_| !copy).unwrap_or(0)
    }

    /// Adds up the picked option of every item, with pieces shared and neighbouring ranges made one request. The
    /// items themselves are left to the caller.
    fn total(&self, items: &[Item], pick: impl Fn(&Item) -> usize, pack: bool) -> Plan {
        let mut pieces: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let (mut bytes, mut requests, mut apply, mut read, mut scratch, mut whole) = (0, 0, 0.0, 0, 0, 0);
        let (mut passing, mut written) = (0, 0);
        for item in items {
            let stored = self
                .ways
                .target
                .entries
                .get(item.entry)
                .and_then(|e| e.content())
                .map_or(0, |c| c.stored);
            whole += stored;
            let Some(choice) = item.options.get(pick(item)) else {
                continue;
            };
            apply += choice.uses.apply;
            read += choice.uses.read;
            scratch += choice.uses.scratch.next_multiple_of(4096);
            passing = choice.uses.passing.next_multiple_of(4096).max(passing);
            written += choice.uses.scratch + choice.uses.passing;
            for PieceId { step, piece } in self.ways.pieces(&choice.way) {
                pieces.entry(step).or_default().insert(piece);
            }
            if choice.way == Way::Blob {
                bytes += choice.uses.bytes;
                requests += 1;
            }
        }
        let ranges = self.ranges(pieces);
        for &PieceRange { step, first, last } in &ranges {
            let step = &self.ways.steps[step];
            let all: u64 = step.table.pieces[first..=last].iter().map(|p| p.length).sum();
            bytes += all - (self.held)(&step.table.pieces[first].digest).min(all);
            requests += 1;
        }
        let uses = Use {
            bytes,
            requests,
            apply,
            read,
            ..Use::default()
        };
        Plan {
            release: self.ways.target.header.release.clone(),
            manifest: self.ways.digest,
            rates: self.rates,
            seconds: self.rates.seconds(&uses),
            items: Vec::new(),
            present: 0,
            bytes,
            requests,
            apply,
            scratch: scratch + passing,
            written,
            passing,
            whole,
            pack,
            first: None,
            ranges,
        }
    }

    /// The pieces that are not here as ranges of neighbours.
    fn ranges(&self, pieces: BTreeMap<usize, BTreeSet<usize>>) -> Vec<PieceRange> {
        let mut ranges = Vec::new();
        let range = |step, (first, last)| PieceRange { step, first, last };
        // A gap that takes less time than a request is read through.
        let gap = (self.rates.rtt * self.rates.bandwidth) as u64;
        for (s, wanted) in pieces {
            let Some(step) = self.ways.steps.get(s) else {
                continue;
            };
            let mut open: Option<(usize, usize)> = None;
            for p in wanted
                .into_iter()
                .filter(|p| (self.held)(&step.table.pieces[*p].digest) < step.table.pieces[*p].length)
            {
                let between =
                    |last: usize| step.offsets[p] - step.offsets[last] - step.table.pieces[last].length;
                open = match open {
                    Some((first, last)) if between(last) <= gap => Some((first, p)),
                    Some((first, last)) => {
                        ranges.push(range(s, (first, last)));
                        Some((p, p))
                    }
                    None => Some((p, p)),
                };
            }
            ranges.extend(open.map(|open| range(s, open)));
        }
        ranges
    }
}

fn entry_content(step: &Step, from: usize) -> Option<&Content> {
    step.from.as_ref()?.entries.get(from)?.content()
}

impl Ways {
    /// The row of a delta that was chosen, and its step.
    pub(super) fn delta(&self, at: StepRow) -> (&Step, &DeltaRow) {
        let step = &self.steps[at.step];
        (step, &step.table.deltas[at.row])
    }

    /// The contents that a way is told from; those that it makes itself are not among them.
    pub(super) fn bases(&self, way: &Way) -> Vec<Digest> {
        let step = |at: StepRow| self.steps.get(at.step);
        match *way {
            Way::Copy | Way::Blob => Vec::new(),
            Way::Delta(at) => {
                let base = |step: &Step| {
                    let row = step.table.deltas.get(at.row)?;
                    entry_content(step, row.from).map(|content| content.digest)
                };
                step(at).and_then(|step| base(step)).into_iter().collect()
            }
            Way::Bundle(at) => {
                let bases = |step: &Step| {
                    let row = step.table.bundles.get(at.row)?;
                    let bases = row.bases.iter().filter_map(|i| step.base(*i));
                    Some(bases.map(|base| base.content().digest).collect())
                };
                step(at).and_then(|step| bases(step)).unwrap_or_default()
            }
        }
    }

    /// The pieces that a way needs.
    pub fn pieces(&self, way: &Way) -> Vec<PieceId> {
        let piece = |at: StepRow, piece: Option<usize>| {
            Some(PieceId {
                step: at.step,
                piece: piece?,
            })
        };
        let table = |at: StepRow| Some(&self.steps.get(at.step)?.table);
        let delta = |at: StepRow| piece(at, table(at)?.deltas.get(at.row).map(|d| d.piece));
        let bundle = |at: StepRow| piece(at, table(at)?.bundles.get(at.row).map(|b| b.piece));
        let all = match *way {
            Way::Copy | Way::Blob => vec![],
            Way::Delta(at) => vec![delta(at)],
            Way::Bundle(at) => vec![bundle(at)],
        };
        all.into_iter().flatten().collect()
    }
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
