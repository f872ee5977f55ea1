//! The page of `elfup farm report --html`.

use super::report::{Fare, Told};
use elfup::farm::{LastStep, Released, StepStats};
use elfup::{Error, Result};
use pages::{Axis, Bar, Page, Plot, Table, Tone, bars, bytes, seconds};
use std::fs;
use std::path::Path;

/// Rows of a plot, the newest of what there is more of.
const ROWS: usize = 12;

/// Fails where writing would lose what is there, before any work is done.
pub fn free(path: &Path, force: bool) -> Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.len() > 0 && !force => {
            let why = format!("{} is there already; -f writes over it", path.display());
            Err(Error::Usage(why))
        }
        _ => Ok(()),
    }
}

/// Writes it.
pub fn write(path: &Path, told: &Told) -> Result<()> {
    let other = |e: String| Error::io(format!("write {}", path.display()), std::io::Error::other(e));
    let html = page(told).map_err(other)?;
    fs::write(path, html).map_err(|e| Error::io(format!("write {}", path.display()), e))
}

fn page(told: &Told) -> std::result::Result<String, String> {
    let report = &told.report;
    let follow = &report.follow;
    let title = format!("{} {} {}", follow.product, follow.channel, follow.arch);
    let lead = match report.releases.last() {
        Some(newest) => format!(
            "{}, published {}, is the newest of {}.",
            newest.release,
            newest.published,
            report.releases.len()
        ),
        None => "No release yet.".into(),
    };
    let mut page = Page::new(&title, &lead);
    if let Some(last) = &report.last {
        page.heading(&format!("From {} to {}", last.from, last.to));
        page.plots(&[fare(&told.links), kinds(last), costly(last)]);
        page.text(
            "Times are reckoned by the formula with which sites plan: bytes, requests, applying on the farm's nominal \
             machine, reading. Signed metadata is left out on both sides.",
        );
        page.table(&by_kind(last));
        page.table(&files(last));
    }
    page.heading("Releases");
    page.plots(&[saved(&report.steps), sizes(&report.releases)]);
    page.table(&releases(&report.releases));
    page.heading("Steps");
    page.table(&steps(&report.steps));
    page.finish(told)
}

const SIDES: [(Tone, &str); 2] = [
    (Tone::Ours, "by the step"),
    (Tone::Plain, "every changed file whole"),
];

fn fare(links: &[Fare]) -> Plot {
    let bar = |fare: &Fare| Bar::of(link(fare), Tone::Ours, fare.with).and(Tone::Plain, fare.whole);
    let rows: Vec<Bar> = links.iter().map(bar).collect();
    let waits = links
        .iter()
        .map(|fare| format!("{} at {}", seconds(fare.rtt), link(fare)));
    let note = format!("A request takes {}.", waits.collect::<Vec<_>>().join(", "));
    bars("Time of an update", Axis::log(seconds), &rows)
        .legend(&SIDES)
        .note(note)
}

fn link(fare: &Fare) -> String {
    match fare.kbit {
        kbit if kbit < 1000 => format!("{kbit} kbit/s"),
        kbit => format!("{} Mbit/s", kbit / 1000),
    }
}

/// Bytes by the step beside those of whole files.
fn beside(title: &str, rows: impl Iterator<Item = (String, u64, u64)>) -> Plot {
    let bar =
        |(label, with, without)| Bar::of(label, Tone::Ours, with as f64).and(Tone::Plain, without as f64);
    let rows: Vec<Bar> = rows.take(ROWS).map(bar).collect();
    bars(title, Axis::log(bytes), &rows).legend(&SIDES)
}

fn kinds(last: &LastStep) -> Plot {
    let rows = last.kinds.iter();
    beside(
        "Bytes by kind of file",
        rows.map(|kind| (kind.kind.clone(), kind.with, kind.without)),
    )
}

fn costly(last: &LastStep) -> Plot {
    let rows = last.files.iter();
    beside(
        "Files that cost most",
        rows.map(|file| (file.path.clone(), file.with, file.without)),
    )
}

fn newest<T>(all: &[T]) -> &[T] {
    &all[all.len().saturating_sub(ROWS)..]
}

fn name(step: &StepStats) -> String {
    format!("{} -> {}", step.from.as_deref().unwrap_or("(nothing)"), step.to)
}

fn saved(all: &[StepStats]) -> Plot {
    let rows = newest(all).iter();
    beside(
        "What steps save",
        rows.map(|step| (name(step), step.with(), step.without)),
    )
}

fn sizes(all: &[Released]) -> Plot {
    let bar = |release: &Released| {
        let size = release.bytes as f64;
        Bar::of(release.release.clone(), Tone::Other, size).and(Tone::Plain, release.stored as f64)
    };
    let rows: Vec<Bar> = newest(all).iter().map(bar).collect();
    let legend = [(Tone::Other, "as they are"), (Tone::Plain, "packed")];
    bars("Size of releases", Axis::linear(bytes), &rows).legend(&legend)
}

fn figure(bytes: u64) -> String {
    super::show::bytes(bytes)
}

fn by_kind(last: &LastStep) -> Table {
    let head = ["kind", "files", "size", "whole", "fetched"];
    last.kinds.iter().fold(Table::new(&head), |table, kind| {
        table.row([
            kind.kind.clone(),
            kind.files.to_string(),
            figure(kind.size),
            figure(kind.without),
            figure(kind.with),
        ])
    })
}

fn files(last: &LastStep) -> Table {
    let head = ["what costs most", "kind", "size", "whole", "fetched", "why"];
    last.files
        .iter()
        .fold(Table::new(&head).words(&[0, 1, 5]), |table, file| {
            table.row([
                file.path.clone(),
                file.kind.clone(),
                figure(file.size),
                figure(file.without),
                figure(file.with),
                file.why.clone(),
            ])
        })
}

fn releases(all: &[Released]) -> Table {
    let head = ["release", "published", "files", "size", "packed"];
    all.iter().rev().fold(Table::new(&head), |table, release| {
        table.row([
            release.release.clone(),
            release.published.clone(),
            release.files.to_string(),
            figure(release.bytes),
            figure(release.stored),
        ])
    })
}

fn steps(all: &[StepStats]) -> Table {
    let head = [
        "step",
        "files",
        "deltas",
        "whole",
        "by the step",
        "saved",
        "kept",
        "CPU time",
    ];
    all.iter().rev().fold(Table::new(&head), |table, step| {
        let saved = 100.0 - 100.0 * step.with() as f64 / step.without.max(1) as f64;
        table.row([
            name(step),
            step.files.to_string(),
            step.delta_count.to_string(),
            figure(step.without),
            figure(step.with()),
            format!("{saved:.1} %"),
            figure(step.stored),
            step.cost.map_or("-".into(), |cost| seconds(cost.seconds())),
        ])
    })
}
