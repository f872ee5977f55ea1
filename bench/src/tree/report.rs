//! The tree's tables: bytes by kind of file, what each engine took, and the whole tree's ways.

use super::{
    files::{FRESH, FileRow},
    whole::Way,
};
use crate::{
    engine::Engine,
    measure::{self, Usage},
    run::Row,
    table::{group, mb},
};
use std::{collections::BTreeMap, fmt::Write};

/// A line of the table of kinds.
#[derive(Clone, Default)]
struct Line {
    files: u64,
    new_bytes: u64,
    /// By engine.
    bytes: Vec<u64>,
    /// The least of the peers of each file.
    best: u64,
}

/// Both parts as markdown.
pub fn text(files: &[FileRow], engines: &[Engine], skipped: &[(&str, String)], ways: &[Way]) -> String {
    let mut text = String::new();
    if !engines.is_empty() {
        kinds(&mut text, files, engines);
        costs(&mut text, files, engines);
    }
    if !ways.is_empty() {
        whole(&mut text, ways);
    }
    // Writing to a String does not fail.
    for (name, why) in skipped {
        let _ = writeln!(text, "- {name} skipped: {why}");
    }
    for (path, row, why) in failures(files) {
        let _ = writeln!(text, "- {row} FAILED on {path}: {why}");
    }
    let _ = writeln!(text, "\n{}", measure::METHOD);
    text
}

/// What was wrong, by file and engine.
pub fn failures(files: &[FileRow]) -> impl Iterator<Item = (&str, &'static str, &str)> {
    files.iter().flat_map(|file| {
        file.rows
            .iter()
            .filter_map(move |row| Some((file.path.as_str(), row.engine, row.failure()?)))
    })
}

/// The files by their kind, as markdown.
pub fn by_kind(files: &[FileRow], engines: &[Engine]) -> String {
    let mut text = String::new();
    kinds(&mut text, files, engines);
    text
}

/// One line a kind, the one that costs the first engine most first; then files without a base, then all.
fn kinds(text: &mut String, files: &[FileRow], engines: &[Engine]) {
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    let (mut fresh, mut all) = (Line::of(engines), Line::of(engines));
    for file in files {
        match file.old_bytes {
            Some(_) => lines
                .entry(&file.kind)
                .or_insert_with(|| Line::of(engines))
                .add(file, engines),
            None => fresh.add_fresh(file),
        }
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.bytes[0]));
    let without = format!("without a base ({FRESH})");
    if fresh.files > 0 {
        lines.push((&without, fresh));
    }
    lines.iter().for_each(|(_, line)| all.join(line));
    lines.push(("**all**", all));
    let several = peers(engines) > 1;
    let names: Vec<_> = engines.iter().map(|engine| engine.name).collect();
    let best = if several { " best peer of each file |" } else { "" };
    let _ = writeln!(text, "| kind | files | new bytes | {} |{best}", names.join(" | "));
    let columns = engines.len() + usize::from(several);
    let _ = writeln!(text, "|---|--:|--:|{}", "--:|".repeat(columns));
    for (kind, line) in &lines {
        let mut cells: Vec<_> = line.bytes.iter().map(|bytes| group(*bytes)).collect();
        if several {
            cells.push(group(line.best));
        }
        let _ = writeln!(
            text,
            "| {kind} | {} | {} | {} |",
            group(line.files),
            group(line.new_bytes),
            cells.join(" | ")
        );
    }
    text.push('\n');
}

fn peers(engines: &[Engine]) -> usize {
    engines
        .iter()
        .filter(|engine| !engine.ours() && !engine.whole)
        .count()
}

impl Line {
    fn of(engines: &[Engine]) -> Line {
        Line {
            bytes: vec![0; engines.len()],
            ..Line::default()
        }
    }

    fn add(&mut self, file: &FileRow, engines: &[Engine]) {
        self.count(file);
        let bytes = |row: &Row| row.done().map_or(0, |done| done.bytes);
        for (sum, row) in self.bytes.iter_mut().zip(&file.rows) {
            *sum += bytes(row);
        }
        let peers = file
            .rows
            .iter()
            .zip(engines)
            .filter(|(_, e)| !e.ours() && !e.whole);
        self.best += peers
            .filter_map(|(row, _)| Some(row.done()?.bytes))
            .min()
            .unwrap_or(0);
    }

    fn add_fresh(&mut self, file: &FileRow) {
        self.count(file);
        let bytes = file
            .rows
            .iter()
            .filter_map(Row::done)
            .map(|done| done.bytes)
            .sum::<u64>();
        self.bytes.iter_mut().for_each(|sum| *sum += bytes);
        self.best += bytes;
    }

    fn count(&mut self, file: &FileRow) {
        self.files += 1;
        self.new_bytes += file.new_bytes;
    }

    fn join(&mut self, other: &Line) {
        self.files += other.files;
        self.new_bytes += other.new_bytes;
        self.best += other.best;
        self.bytes
            .iter_mut()
            .zip(&other.bytes)
            .for_each(|(sum, bytes)| *sum += bytes);
    }
}

/// Seconds and memory of each engine over the files that have a base.
fn costs(text: &mut String, files: &[FileRow], engines: &[Engine]) {
    text.push_str(
        "| engine | files that came back | diff CPU s | largest peak MB | apply CPU s | largest peak MB |\n",
    );
    text.push_str("|---|--:|--:|--:|--:|--:|\n");
    let paired = || files.iter().filter(|file| file.old_bytes.is_some());
    for (index, engine) in engines.iter().enumerate() {
        let done = paired().filter_map(|file| file.rows.get(index)?.done());
        let (mut diff, mut apply, mut count) = (Usage::default(), Usage::default(), 0);
        for done in done {
            (diff, apply, count) = (diff.then(done.diff), apply.then(done.apply), count + 1);
        }
        let _ = writeln!(
            text,
            "| {} | {count} of {} | {:.1} | {} | {:.1} | {} |",
            engine.name,
            paired().count(),
            diff.cpu,
            mb(diff.peak),
            apply.cpu,
            mb(apply.peak)
        );
    }
    text.push('\n');
}

fn whole(text: &mut String, ways: &[Way]) {
    text.push_str(
        "| whole tree | bytes | requests | farm CPU s | wall s | peak MB | site CPU s | peak MB |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for way in ways {
        let (Some(made), Some(pulled)) = (&way.made, &way.pulled) else {
            continue;
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} | {:.1} | {} | {:.1} | {} |",
            way.name,
            group(pulled.content),
            group(pulled.requests),
            made.usage.cpu,
            made.usage.wall,
            mb(made.usage.peak),
            pulled.usage.cpu,
            mb(pulled.usage.peak)
        );
    }
    text.push('\n');
    for way in ways {
        match (&way.missing, way.failed) {
            (Some(why), true) => drop(writeln!(text, "- {} FAILED: {why}", way.name)),
            (Some(why), false) => drop(writeln!(text, "- {} skipped: {why}", way.name)),
            (None, _) => drop(writeln!(text, "- {}: {}", way.name, way.about)),
        }
        if let Some(step) = &way.step {
            let _ = writeln!(
                text,
                "- {} published for this step: {} bytes of step file, {} of {} deltas, {} of bundles, {} of whole files",
                way.name,
                group(step.step),
                group(step.deltas),
                group(step.delta_count),
                group(step.bundles),
                group(step.whole)
            );
        }
    }
}
