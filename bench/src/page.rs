//! What `bench table` found as a page: plots, tables, and every figure as JSON at its end.

use crate::{
    measure::{self, Usage},
    run::{Account, CaseResult, Done, Outcome, Piece, Row},
    table::{about, group, mb},
};
use pages::{Axis, Bar, Page, Plot, Spot, Table, Tone, bars, bytes, scatter, seconds};

/// Rows of a plot of where bytes went; what is behind them is one more.
const PARTS: usize = 12;
/// Files of directories that are told by name.
const FILES: usize = 25;

/// The page of these results.
pub fn of(results: &[CaseResult]) -> Result<String, String> {
    let mut page = match results {
        [one] => Page::new(&one.pair, &about(one)),
        _ => {
            let lead =
                "Each delta was applied to the old file, and what came back compared with the new one.";
            let mut page = Page::new("Engines side by side", lead);
            page.heading("Bytes of every pair");
            page.table(&overview(results));
            page
        }
    };
    for result in results {
        if results.len() > 1 {
            page.heading(&result.pair);
            page.text(&about(result));
        }
        one(&mut page, result);
    }
    page.text(measure::METHOD);
    page.finish(results)
}

/// Bytes by pair and engine.
fn overview(results: &[CaseResult]) -> Table {
    let engines: Vec<&str> = results
        .iter()
        .flat_map(|r| &r.rows)
        .map(|row| row.engine)
        .collect();
    let engines: Vec<&str> = engines
        .iter()
        .enumerate()
        .filter(|(index, engine)| !engines[..*index].contains(engine))
        .map(|(_, engine)| *engine)
        .collect();
    let head = [&["pair"], &engines[..]].concat();
    results.iter().fold(Table::new(&head), |table, result| {
        let cell = |engine: &&str| result.done(engine).map_or("-".into(), |done| group(done.bytes));
        table.row([result.pair.clone()].into_iter().chain(engines.iter().map(cell)))
    })
}

/// One case: its plots, then its figures.
fn one(page: &mut Page, result: &CaseResult) {
    let mut rows: Vec<(&Row, &Done)> = result
        .rows
        .iter()
        .filter_map(|row| Some((row, row.done()?)))
        .collect();
    rows.sort_by_key(|(_, done)| done.bytes);
    if !rows.is_empty() {
        page.plots(&[by_engine(&rows), against_time(&rows), time(&rows), memory(&rows)]);
    }
    page.table(&figures(result));
    for row in &result.rows {
        match &row.outcome {
            Outcome::Skipped(why) => page.text(&format!("{} skipped: {why}", row.engine)),
            Outcome::Failed(why) => page.text(&format!("{} FAILED: {why}", row.engine)),
            Outcome::Done(_) => {}
        }
    }
    let ours = rows
        .iter()
        .find_map(|(row, done)| Some((row.engine, done.report.as_ref()?)));
    if let Some((engine, report)) = ours {
        page.plots(&went(engine, report));
    }
    if !result.files.is_empty() {
        files(page, result);
    }
}

fn tone(row: &Row) -> Tone {
    match (row.ours, row.whole) {
        (true, _) => Tone::Ours,
        (_, true) => Tone::Plain,
        _ => Tone::Peer,
    }
}

const ENGINES: [(Tone, &str); 3] = [
    (Tone::Ours, "this project"),
    (Tone::Peer, "other engines"),
    (Tone::Plain, "the new file alone, packed"),
];

fn by_engine(rows: &[(&Row, &Done)]) -> Plot {
    let bar = |(row, done): &(&Row, &Done)| Bar::of(row.engine, tone(row), done.bytes as f64);
    let rows: Vec<Bar> = rows.iter().map(bar).collect();
    let plot = bars("Bytes by engine", Axis::log(bytes), &rows);
    plot.legend(&ENGINES)
        .note("Each step of the axis is ten times the one before.")
}

fn against_time(rows: &[(&Row, &Done)]) -> Plot {
    let spot = |(row, done): &(&Row, &Done)| Spot {
        label: row.engine.into(),
        tone: tone(row),
        x: done.bytes as f64,
        y: done.apply.cpu,
        spread: measure::spread(&done.runs.apply, |run| run.cpu),
    };
    let spots: Vec<Spot> = rows.iter().map(spot).collect();
    let plot = scatter(
        "Bytes against processor time of applying",
        Axis::log(bytes),
        Axis::log(seconds),
        &spots,
    );
    plot.legend(&ENGINES).note(
        "Few bytes are on the left, short times below. Strokes go from the shortest run to the longest.",
    )
}

const SIDES: [(Tone, &str); 2] = [(Tone::Other, "making the delta"), (Tone::Peer, "applying it")];

fn time(rows: &[(&Row, &Done)]) -> Plot {
    let bar = |(row, done): &(&Row, &Done)| {
        let spread = |runs: &[Usage]| measure::spread(runs, |run| run.cpu);
        Bar::of(row.engine, Tone::Other, done.diff.cpu)
            .between(spread(&done.runs.diff))
            .and(Tone::Peer, done.apply.cpu)
            .between(spread(&done.runs.apply))
    };
    let rows: Vec<Bar> = rows.iter().map(bar).collect();
    bars("Processor time", Axis::log(seconds), &rows).legend(&SIDES)
}

fn memory(rows: &[(&Row, &Done)]) -> Plot {
    let bar = |(row, done): &(&Row, &Done)| {
        Bar::of(row.engine, Tone::Other, done.diff.peak as f64).and(Tone::Peer, done.apply.peak as f64)
    };
    let rows: Vec<Bar> = rows.iter().map(bar).collect();
    bars("Peak memory", Axis::log(bytes), &rows).legend(&SIDES)
}

/// Where the bytes of our patch went.
fn went(engine: &str, report: &Account) -> Vec<Plot> {
    let mut plots = Vec::new();
    for (by, pieces) in [("section", &report.sections), ("stream", &report.streams)] {
        let rows = parts(pieces);
        if rows.is_empty() {
            continue;
        }
        let caption = format!(
            "Where the {} bytes of {engine} went, by {by}",
            group(report.total)
        );
        plots.push(bars(&caption, Axis::linear(bytes), &rows));
    }
    plots
}

/// The largest of them, and the others together.
fn parts(pieces: &[Piece]) -> Vec<Bar> {
    let mut pieces: Vec<&Piece> = pieces.iter().filter(|piece| piece.bytes > 0).collect();
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.bytes));
    let (first, rest) = pieces.split_at(pieces.len().min(PARTS));
    let mut rows: Vec<Bar> = first
        .iter()
        .map(|piece| Bar::of(piece.name.clone(), Tone::Ours, piece.bytes as f64))
        .collect();
    if !rest.is_empty() {
        let left: u64 = rest.iter().map(|piece| piece.bytes).sum();
        rows.push(Bar::of(
            format!("{} others", rest.len()),
            Tone::Plain,
            left as f64,
        ));
    }
    rows
}

/// The figures of every engine.
fn figures(result: &CaseResult) -> Table {
    let head = [
        "engine",
        "bytes",
        "of best peer",
        "diff CPU s",
        "wall s",
        "peak MB",
        "apply CPU s",
        "wall s",
        "peak MB",
        "anon MB",
    ];
    let best = result.best_peer().map(|(_, done)| done.bytes as f64);
    result.rows.iter().fold(Table::new(&head), |table, row| {
        let Some(done) = row.done() else { return table };
        let (diff, apply) = (&done.diff, &done.apply);
        table.row([
            row.engine.into(),
            group(done.bytes),
            best.map_or(String::new(), |best| format!("{:.3}", done.bytes as f64 / best)),
            told(diff.cpu, &done.runs.diff, |run| run.cpu),
            told(diff.wall, &done.runs.diff, |run| run.wall),
            mb(diff.peak),
            told(apply.cpu, &done.runs.apply, |run| run.cpu),
            told(apply.wall, &done.runs.apply, |run| run.wall),
            mb(apply.peak),
            mb(apply.anon),
        ])
    })
}

/// Seconds, and between what they were.
fn told(median: f64, runs: &[Usage], figure: fn(&Usage) -> f64) -> String {
    match measure::spread(runs, figure) {
        Some((least, most)) => format!("{median:.3} ({least:.3} to {most:.3})"),
        None => format!("{median:.3}"),
    }
}

/// Of directories: bytes by kind of file, and the files that cost most.
fn files(page: &mut Page, result: &CaseResult) {
    let ours = result
        .rows
        .iter()
        .position(|row| row.ours && row.done().is_some());
    let first = ours.or_else(|| result.rows.iter().position(|row| row.done().is_some()));
    let Some(engine) = first.map(|index| result.rows[index].engine) else {
        return;
    };
    let cost = |file: &crate::tree::files::FileRow| {
        let row = file.rows.iter().find(|row| row.engine == engine);
        let row = row.or(file.rows.first());
        row.and_then(Row::done).map_or(0, |done| done.bytes)
    };
    let mut kinds = std::collections::BTreeMap::new();
    for file in &result.files {
        let kind: &mut (f64, f64) = kinds.entry(file.kind.as_str()).or_default();
        kind.0 += cost(file) as f64;
        kind.1 += file.new_bytes as f64;
    }
    let mut kinds: Vec<(&str, (f64, f64))> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    let rows: Vec<Bar> = kinds
        .iter()
        .take(PARTS)
        .map(|(kind, (cost, size))| Bar::of(*kind, Tone::Ours, *cost).and(Tone::Plain, *size))
        .collect();
    let plot = bars("Bytes by kind of file", Axis::log(bytes), &rows);
    let delta = format!("by {engine}");
    page.plots(&[plot.legend(&[(Tone::Ours, &delta), (Tone::Plain, "the new files as they are")])]);
    let mut files: Vec<_> = result.files.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(cost(file)));
    let head = ["what costs most", "kind", "old bytes", "new bytes", engine];
    let table = files
        .iter()
        .take(FILES)
        .fold(Table::new(&head).words(&[1]), |table, file| {
            let old = file.old_bytes.map_or("no base".into(), group);
            table.row([
                file.path.clone(),
                file.kind.clone(),
                old,
                group(file.new_bytes),
                group(cost(file)),
            ])
        });
    page.table(&table);
}
