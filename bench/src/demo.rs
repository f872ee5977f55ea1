//! One pair from start to end, where the bytes of our patch went, and the same as a signed release.

use crate::{
    cases::{self, Case},
    engine, measure, release,
    run::{self, CaseResult, Piece, Times},
    table::{self, group},
};
use corpora::Cache;

/// `bench demo`: a real pair if one can be had, else the sample programs; whole file, bsdiff, ours; then the
/// updater with it.
pub fn run(cache: &Cache) -> Result<(), String> {
    let case = cases::first_of(cache, &["numpy", "esbuild"])?;
    show(cache, &case, &["zstd-19", "bsdiff-crate", "elfdelta"])?;
    release::show(&case)
}

/// `bench one-pair NAME`: the pair through our profiles.
pub fn one_pair(cache: &Cache, name: &str) -> Result<(), String> {
    let case = cases::first_of(cache, &[name])?;
    show(cache, &case, &["zstd-19", "elfdelta", "elfdelta-fast"])
}

fn show(cache: &Cache, case: &Case, engines: &[&str]) -> Result<(), String> {
    let names: Vec<String> = engines.iter().map(|name| name.to_string()).collect();
    let engines = engine::select(&names)?;
    let result = run::case(cache, case, &engines, Times::of(1), &|name| {
        eprintln!("{name} ...")
    })?;
    println!("{}", table::case(&result));
    if !result.rows.iter().any(run::Row::failed) {
        println!("Every result was applied to the old file and compared with the new one: equal.\n");
    }
    where_it_went(&result);
    println!("{}", measure::METHOD);
    match result.rows.iter().any(run::Row::failed) {
        true => Err("a row failed".into()),
        false => Ok(()),
    }
}

/// Where the bytes of our patch went, by stream and by section.
pub fn where_it_went(result: &CaseResult) {
    let Some(report) = result.done("elfdelta").and_then(|done| done.report.as_ref()) else {
        return;
    };
    println!("Where the {} bytes of our patch went:\n", group(report.total));
    for (title, parts) in [("stream", &report.streams), ("section", &report.sections)] {
        list(title, parts, report.total);
    }
}

fn list(title: &str, parts: &[Piece], total: u64) {
    let mut parts: Vec<_> = parts.iter().filter(|part| part.bytes > 0).collect();
    if parts.is_empty() {
        return;
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    println!("| {title} | bytes | % |\n|---|--:|--:|");
    for part in parts {
        let percent = 100.0 * part.bytes as f64 / total.max(1) as f64;
        println!("| {} | {} | {percent:.1} |", part.name, group(part.bytes));
    }
    println!();
}
