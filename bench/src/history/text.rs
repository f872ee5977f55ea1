//! The results as tables of text: a row for each commit.

use super::record::{self, Figures, Record};
use crate::table::group;
use std::fmt::Write;

/// All tables.
pub fn of(records: &[Record]) -> String {
    let mut text = String::new();
    let engines = record::engines(records);
    for engine in engines.iter().filter(|engine| record::ours(engine)) {
        bytes(&mut text, records, engine);
    }
    seconds(&mut text, records, &engines);
    peers(&mut text, records, &engines);
    text
}

/// Bytes of one of our profiles by pair, and all of them over those of the first result.
fn bytes(text: &mut String, records: &[Record], engine: &str) {
    let pairs = record::pairs(records);
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "## Bytes, {engine}\n\n| commit | {} | of the first |",
        pairs.join(" | ")
    );
    let _ = writeln!(text, "|---|{}--:|", "--:|".repeat(pairs.len()));
    for record in records {
        let cell = |pair: &&str| told(record.figures(pair, engine).map(|one| group(one.bytes)));
        let cells: Vec<String> = pairs.iter().map(cell).collect();
        let over = told(over_first(records, record, engine).map(ratio));
        let _ = writeln!(text, "| {} | {} | {over} |", name(record), cells.join(" | "));
    }
    text.push('\n');
}

/// Processor time of every engine over the yardstick's, as means over the pairs.
fn seconds(text: &mut String, records: &[Record], engines: &[&str]) {
    text.push_str(
        "## Processor time over that of the yardstick, mean of the pairs\n\n| commit | yardstick |",
    );
    for engine in engines {
        let _ = write!(text, " {engine}: diff | apply |");
    }
    let _ = writeln!(text, "\n|---|---|{}", "--:|".repeat(2 * engines.len()));
    let figures: [fn(&Figures) -> f64; 2] = [|one| one.diff, |one| one.apply];
    for record in records {
        let cells = engines
            .iter()
            .flat_map(|engine| figures.map(|figure| told(record.mean(engine, figure).map(ratio))));
        let cells: Vec<String> = cells.collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            name(record),
            record.yardstick,
            cells.join(" | ")
        );
    }
    text.push('\n');
}

/// What others took, and what everything ran on, in the newest result.
fn peers(text: &mut String, records: &[Record], engines: &[&str]) {
    let (pairs, Some(newest)) = (record::pairs(records), records.last()) else {
        return;
    };
    let _ = writeln!(
        text,
        "## Bytes of others, in the newest result\n\n| engine | {} |\n|---|{}",
        pairs.join(" | "),
        "--:|".repeat(pairs.len())
    );
    for engine in engines.iter().filter(|engine| !record::ours(engine)) {
        let cell = |pair: &&str| told(newest.figures(pair, engine).map(|one| group(one.bytes)));
        let cells: Vec<String> = pairs.iter().map(cell).collect();
        let _ = writeln!(text, "| {engine} | {} |", cells.join(" | "));
    }
    text.push('\n');
    for record in records {
        let _ = writeln!(text, "- {}: {}", name(record), ran(record));
    }
}

/// The day and the name of a result's commit.
pub fn name(record: &Record) -> String {
    format!("{} {}", record.day(), record.commit)
}

/// What a result ran on, with the versions of all.
pub fn ran(record: &Record) -> String {
    let machine = &record.machine;
    let versions = record
        .versions
        .iter()
        .map(|one| format!("{} {}", one.engine, one.version));
    let mut told = format!(
        "{}, {} of {}; {}",
        machine.kind,
        machine.processors,
        machine.processor,
        versions.collect::<Vec<_>>().join(", ")
    );
    if let Some(note) = &record.note {
        told += "; ";
        told += note;
    }
    told
}

/// An engine's bytes over those of the first result that has it.
pub fn over_first(records: &[Record], record: &Record, engine: &str) -> Option<f64> {
    let has = |one: &&Record| one.mean(engine, |figures| figures.bytes as f64).is_some();
    record.bytes_over(records.iter().find(has)?, engine)
}

/// A ratio to be read.
pub fn ratio(figure: f64) -> String {
    format!("{figure:.3}")
}

/// A cell, or that there is none.
pub fn told(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".into())
}
