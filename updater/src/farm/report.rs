//! What whoever runs a farm wants to see: its releases, what deltas saved, what each kind of file costs, what resists.

use super::pairs::by_name;
use super::publish::{base_of, load_channel, load_manifest};
use super::stats::{self, StepStats};
use super::steps;
use crate::error::Doing;
use crate::manifest::{Content, Entry, Manifest};
use crate::names::Follow;
use crate::step::{BundleRow, Channel, DeltaRow, Release, Step};
use crate::store::Store;
use crate::{Digest, Result, Watch, compress, kind, names};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::FileExt;

/// Files that are told by name, those that cost most.
const FILES: usize = 25;

/// Everything that is told.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// What it is about.
    #[serde(flatten)]
    pub follow: Follow,
    /// Releases, the newest last.
    pub releases: Vec<Released>,
    /// Every step.
    pub steps: Vec<StepStats>,
    /// The step from the release before to the newest one, file by file; none where there is no such step.
    pub last: Option<LastStep>,
}

/// A release.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Released {
    /// Its name.
    pub release: String,
    /// Position in the channel.
    pub sequence: u64,
    /// When it was published, RFC 3339.
    pub published: String,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of its different contents as they are stored, packed.
    pub stored: u64,
}

/// The newest step.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LastStep {
    /// Release that it starts from.
    pub from: String,
    /// Release that it leads to.
    pub to: String,
    /// What a site takes that goes by it.
    pub with: Load,
    /// What a site would take that fetches every file whole.
    pub whole: Load,
    /// What it costs by kind of file, the most first.
    pub kinds: Vec<KindCost>,
    /// The files that cost most.
    pub files: Vec<FileCost>,
}

/// What an update asks of a site and its link.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Load {
    /// Bytes to fetch.
    pub bytes: u64,
    /// Requests, those for metadata left out.
    pub requests: u64,
    /// Microseconds of applying on the farm's nominal machine.
    pub micros: u64,
    /// Bytes that are unpacked by zstd.
    pub unpacked: u64,
    /// Bytes read of older files.
    pub read: u64,
}

/// A kind of file.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct KindCost {
    /// Its name.
    pub kind: String,
    /// Files that the older release lacks.
    pub files: u64,
    /// Their bytes.
    pub size: u64,
    /// Their bytes as they are stored whole.
    pub without: u64,
    /// Bytes that a site fetches for them.
    pub with: u64,
}

/// A file.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FileCost {
    /// Path in the newer release.
    pub path: String,
    /// What kind of file it is.
    pub kind: String,
    /// Its bytes.
    pub size: u64,
    /// Its bytes as they are stored whole.
    pub without: u64,
    /// Bytes that a site fetches for it; of what is told together, its share.
    pub with: u64,
    /// How it comes.
    pub way: Way,
    /// Why it costs what it does.
    pub why: String,
}

/// How a file comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// By a delta of its own.
    Delta,
    /// Together with others.
    Together,
    /// Whole.
    Whole,
}

/// Reads all of it.
pub fn report(store: &dyn Store, follow: &Follow, watch: &dyn Watch) -> Result<Report> {
    let channel = load_channel(store, follow)?;
    let mut releases = Vec::new();
    for release in &channel.releases {
        watch.check()?;
        releases.push(released(
            release,
            &Manifest::parse(&load_manifest(store, release)?)?,
        ));
    }
    Ok(Report {
        follow: follow.clone(),
        releases,
        steps: stats::stats(store, follow, watch)?,
        last: last(store, &channel, watch)?,
    })
}

fn released(release: &Release, manifest: &Manifest) -> Released {
    let mut seen = HashSet::new();
    let contents: Vec<&Content> = manifest.files().map(|(_, content)| content).collect();
    let once = contents.iter().filter(|content| seen.insert(content.digest));
    Released {
        release: release.release.clone(),
        sequence: release.sequence,
        published: release.published.clone(),
        files: contents.len() as u64,
        bytes: contents.iter().map(|content| content.size).sum(),
        stored: once.map(|content| content.stored).sum(),
    }
}

/// The newest step of the channel, from the release before the newest.
fn last(store: &dyn Store, channel: &Channel, watch: &dyn Watch) -> Result<Option<LastStep>> {
    let [.., before, head] = &channel.releases[..] else {
        return Ok(None);
    };
    let Some(step) = head.steps.iter().find(|step| step.from == Some(before.manifest)) else {
        return Ok(None);
    };
    let read = steps::load(store, step, &base_of(store, channel, step)?, head)?;
    let Some(from) = &read.from else { return Ok(None) };
    let ways = Ways::of(&read);
    let known: HashSet<Digest> = from.files().map(|(_, content)| content.digest).collect();
    let (mut with, mut whole) = (ways.load(step.size), Load::default());
    (whole.bytes, whole.requests) = (head.manifest_stored, 1);
    let (mut kinds, mut files) = (BTreeMap::<String, KindCost>::new(), Vec::new());
    let mut seen = HashSet::new();
    for (entry, content) in read.to.files() {
        if content.size == 0 || known.contains(&content.digest) || !seen.insert(content.digest) {
            continue;
        }
        watch.check()?;
        let (way, bytes) = ways.cost(content);
        if way == Way::Whole {
            with.take_whole(content);
        }
        whole.take_whole(content);
        let kind = kind_of(store, entry, content)?;
        let sum = kinds.entry(kind.clone()).or_insert_with(|| KindCost {
            kind: kind.clone(),
            ..KindCost::default()
        });
        sum.files += 1;
        sum.size += content.size;
        sum.without += content.stored;
        sum.with += bytes;
        files.push((bytes, entry, content, way, kind));
    }
    files.sort_by(|a, b| (b.0, &a.1.path).cmp(&(a.0, &b.1.path)));
    files.truncate(FILES);
    let bases = Bases::of(from, &read.to);
    let mut told = Vec::new();
    for (bytes, entry, content, way, kind) in files {
        told.push(FileCost {
            path: entry.shown(),
            kind,
            size: content.size,
            without: content.stored,
            with: bytes,
            way,
            why: ways.why(store, content, &bases)?,
        });
    }
    let mut kinds: Vec<KindCost> = kinds.into_values().collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.with));
    Ok(Some(LastStep {
        from: before.release.clone(),
        to: head.release.clone(),
        with,
        whole,
        kinds,
        files: told,
    }))
}

impl Load {
    fn take_whole(&mut self, content: &Content) {
        self.bytes += content.stored;
        self.requests += 1;
        self.unpacked += content.size;
    }
}

/// What kind of file a content is, by what is stored of it.
fn kind_of(store: &dyn Store, entry: &Entry, content: &Content) -> Result<String> {
    let path = names::blob(&content.digest);
    let Some(stream) = store.stream(&path)? else {
        return Ok("not stored".into());
    };
    let head = compress::unpack_start(stream.bytes, kind::HEAD).doing("read", &path)?;
    let shown = entry.shown();
    Ok(kind::of(shown.rsplit('/').next().unwrap_or_default(), &head))
}

/// The older files that newer ones could be told from, by their names.
struct Bases<'a>(HashMap<Digest, &'a Entry>);

impl<'a> Bases<'a> {
    fn of(from: &'a Manifest, to: &Manifest) -> Bases<'a> {
        let pairs = by_name(from, to);
        let named = pairs
            .iter()
            .filter_map(|pair| Some((to.entries[pair.to].content()?.digest, &from.entries[pair.from?])));
        Bases(named.collect())
    }
}

/// The usual rows of a step, by the content that they make.
struct Ways<'a> {
    step: &'a Step,
    deltas: HashMap<Digest, &'a DeltaRow>,
    bundles: HashMap<Digest, &'a BundleRow>,
}

impl Ways<'_> {
    fn of(step: &Step) -> Ways<'_> {
        let digest = |entry: usize| Some(step.to.entries.get(entry)?.content()?.digest);
        let deltas = stats::usual_deltas(&step.table);
        let deltas = deltas.filter_map(|row| Some((digest(row.to)?, row))).collect();
        let mut bundles = HashMap::new();
        for row in stats::usual_bundles(&step.table) {
            bundles.extend(
                row.targets
                    .iter()
                    .filter_map(|entry| Some((digest(*entry)?, row))),
            );
        }
        Ways {
            step,
            deltas,
            bundles,
        }
    }

    fn piece(&self, row: &BundleRow) -> u64 {
        self.step
            .table
            .pieces
            .get(row.piece)
            .map_or(0, |piece| piece.length)
    }

    /// What the rows ask of a site, the step file included.
    fn load(&self, step_size: u64) -> Load {
        let mut load = Load {
            bytes: step_size,
            // The step, and the front of the pack in one go.
            requests: 1 + u64::from(self.step.table.pack.is_some()),
            ..Load::default()
        };
        for row in self.deltas.values() {
            load.bytes += row.length;
            load.micros += row.micros;
            let base = self.step.base(row.from);
            load.read += base.map_or(0, |base| 2 * base.content().size);
        }
        for row in stats::usual_bundles(&self.step.table) {
            let (bases, plain) = self.step.plain(row);
            load.bytes += self.piece(row);
            load.read += bases;
            match row.patch {
                Some(patch) => load.micros += patch.micros,
                None => load.unpacked += plain,
            }
        }
        load
    }

    /// How a content comes, and its bytes.
    fn cost(&self, content: &Content) -> (Way, u64) {
        if let Some(row) = self.deltas.get(&content.digest) {
            return (Way::Delta, row.length);
        }
        match self.bundles.get(&content.digest) {
            Some(row) => {
                let (_, plain) = self.step.plain(row);
                let share = u128::from(self.piece(row)) * u128::from(content.size) / u128::from(plain.max(1));
                (Way::Together, share as u64)
            }
            None => (Way::Whole, content.stored),
        }
    }

    fn why(&self, store: &dyn Store, content: &Content, bases: &Bases) -> Result<String> {
        if let Some(row) = self.deltas.get(&content.digest) {
            return self.inside(store, row);
        }
        if let Some(row) = self.bundles.get(&content.digest) {
            let (targets, bases) = (row.targets.len(), row.bases.len());
            return Ok(format!(
                "told in a bundle of {targets} (older files used: {bases})"
            ));
        }
        Ok(match bases.0.get(&content.digest) {
            Some(base) => format!("no delta from {} is smaller than the file, packed", base.shown()),
            None => "no older file has a name like it, and none that is like it saves enough".into(),
        })
    }

    /// What a delta's bytes are, as the engine says.
    fn inside(&self, store: &dyn Store, row: &DeltaRow) -> Result<String> {
        let table = &self.step.table;
        let (Some(pack), Some(begin)) = (&table.pack, self.step.offsets.get(row.piece)) else {
            return Ok(String::new());
        };
        let path = names::pack(pack);
        let Some(file) = store.open(&path)? else {
            return Ok(String::new());
        };
        let mut bytes = vec![0; usize::try_from(row.length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, begin + row.at)
            .doing("read", &path)?;
        let Ok(patch) = elfdelta::Patch::parse(&bytes) else {
            return Ok(String::new());
        };
        let report = patch.report();
        let mut streams = report.streams;
        streams.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        let share = |part: &elfdelta::Part| {
            let percent = 100.0 * part.bytes as f64 / report.total.max(1) as f64;
            format!("{percent:.0} % {}", part.name)
        };
        let parts: Vec<String> = streams.iter().take(3).map(share).collect();
        Ok(format!("of the delta {}", parts.join(", ")))
    }
}
