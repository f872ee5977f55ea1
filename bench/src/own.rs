//! Files of one's own as a case: two files as they are, two directories as the sum of what changed between them.

use crate::{
    cases::Case,
    engine::{self, Engine},
    measure::{self, Usage},
    run::{self, Account, CaseResult, Done, Outcome, Piece, Row, Runs, Times},
    tools::Tools,
    tree::{
        self,
        files::{self, FileRow},
        pairs, report,
    },
};
use corpora::Cache;
use std::{collections::BTreeMap, path::Path};

/// What stands for files that have no base, where bytes are told by stream and by section.
const FRESH: &str = "(files without a base)";

/// The engines of these names on two files, or on two directories.
pub fn case(
    cache: &Cache,
    (old, new): (&Path, &Path),
    names: &[String],
    times: Times,
) -> Result<CaseResult, String> {
    let engines = engine::select(names)?;
    let about = format!("{} -> {}", old.display(), new.display());
    let case = Case::of_files(tree::place(cache, old)?, tree::place(cache, new)?, about);
    match (case.old.is_dir(), case.new.is_dir()) {
        (false, false) => run::case(cache, &case, &engines, times, &|name| eprintln!("{name}")),
        (true, true) => directories(cache, &case, names, times),
        (true, false) => Err(mixed(&case.old, &case.new)),
        (false, true) => Err(mixed(&case.new, &case.old)),
    }
}

fn mixed(directory: &Path, file: &Path) -> String {
    format!(
        "{} is a directory and {} is a file: give two files or two directories",
        directory.display(),
        file.display()
    )
}

/// Of two directories, the bytes by kind of file as markdown; else nothing.
pub fn kinds(result: &CaseResult) -> String {
    let ran = |engine: &&Engine| result.done(engine.name).is_some();
    let engines: Vec<Engine> = engine::ENGINES.iter().filter(ran).copied().collect();
    match result.files.is_empty() || engines.is_empty() {
        true => String::new(),
        false => report::by_kind(&result.files, &engines),
    }
}

fn directories(cache: &Cache, case: &Case, names: &[String], times: Times) -> Result<CaseResult, String> {
    let tools = Tools::new(cache);
    let (engines, skipped) = tree::here(&tools, names)?;
    let trees = pairs::read(&case.old, &case.new)?;
    let changed = &trees.changed;
    if changed.is_empty() {
        return Err("both directories have the same files".into());
    }
    eprintln!("{} files changed", changed.len());
    // One after the other: seconds are to be compared.
    let mut files = files::run(&tools, changed, &engines, times, 1)?;
    let row = |engine: &Engine| {
        let here = engines.iter().position(|other| other.name == engine.name);
        let outcome = match here {
            Some(index) => sum(&files, index),
            None => {
                let why = skipped.iter().find(|(name, _)| *name == engine.name);
                Outcome::Skipped(why.map_or_else(String::new, |(_, why)| why.clone()))
            }
        };
        Row::of(engine, outcome)
    };
    let rows = engine::select(names)?.iter().map(row).collect();
    files::without_reports(&mut files);
    let fresh = changed.iter().filter(|file| file.old.is_none()).count();
    Ok(CaseResult {
        pair: case.name.clone(),
        about: format!(
            "{}: {} files changed; {fresh} of them have no base and count whole, by {}, for every engine",
            case.about,
            changed.len(),
            files::FRESH
        ),
        old_bytes: changed.iter().map(|file| file.sizes.0).sum(),
        new_bytes: changed.iter().map(|file| file.sizes.1).sum(),
        rows,
        files,
    })
}

/// An engine's figures over all files; what failed once has failed.
fn sum(files: &[FileRow], index: usize) -> Outcome {
    let mut total = Total::default();
    for file in files {
        // A file without a base has one row, which every engine takes.
        let row = match file.old_bytes {
            Some(_) => file.rows.get(index),
            None => file.rows.first(),
        };
        match row.map(|row| &row.outcome) {
            Some(Outcome::Done(done)) => total.add(done, file.old_bytes.is_none()),
            Some(Outcome::Failed(why)) => return Outcome::Failed(format!("{}: {why}", file.path)),
            _ => return Outcome::Failed(format!("{}: it was not tried", file.path)),
        }
    }
    Outcome::Done(Box::new(total.done()))
}

/// What has been added up.
#[derive(Default)]
struct Total {
    bytes: u64,
    runs: Runs,
    /// Bytes of files without a base, which no engine accounts for.
    fresh: u64,
    streams: BTreeMap<String, u64>,
    sections: BTreeMap<String, u64>,
}

impl Total {
    fn add(&mut self, done: &Done, fresh: bool) {
        self.bytes += done.bytes;
        add_runs(&mut self.runs.diff, &done.runs.diff);
        add_runs(&mut self.runs.apply, &done.runs.apply);
        if fresh {
            self.fresh += done.bytes;
        }
        let Some(report) = &done.report else { return };
        for (sums, pieces) in [
            (&mut self.streams, &report.streams),
            (&mut self.sections, &report.sections),
        ] {
            for piece in pieces {
                *sums.entry(piece.name.clone()).or_default() += piece.bytes;
            }
        }
    }

    fn done(self) -> Done {
        let pieces = |sums: BTreeMap<String, u64>| {
            let fresh = (FRESH.to_owned(), self.fresh);
            let all = sums.into_iter().chain((self.fresh > 0).then_some(fresh));
            let mut all: Vec<Piece> = all.map(|(name, bytes)| Piece { name, bytes }).collect();
            all.sort_by_key(|piece| std::cmp::Reverse(piece.bytes));
            all
        };
        let report = (!self.streams.is_empty()).then(|| Account {
            total: self.bytes,
            streams: pieces(self.streams),
            sections: pieces(self.sections),
        });
        Done {
            bytes: self.bytes,
            diff: measure::median(&self.runs.diff),
            apply: measure::median(&self.runs.apply),
            runs: self.runs,
            report,
        }
    }
}

/// Run by run: the first of every file together, then the second.
fn add_runs(sums: &mut Vec<Usage>, runs: &[Usage]) {
    sums.resize(sums.len().max(runs.len()), Usage::default());
    for (sum, run) in sums.iter_mut().zip(runs) {
        *sum = sum.then(*run);
    }
}
