//! Every changed file through every engine: a few threads take file after file, each call is a process of its own.

use super::pairs::Changed;
use crate::{
    engine::{self, Engine},
    interrupt,
    run::{self, Row, Times},
    tools::Tools,
};
use elfup::Jobs;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// The engine for what has no base, in every column.
pub const FRESH: &str = "zstd-19";

/// One file's figures.
#[derive(Clone, Debug, Serialize)]
pub struct FileRow {
    /// Path in the new tree.
    pub path: String,
    /// What it is.
    pub kind: String,
    /// Size of the old file in bytes; none where nothing resembles the new one.
    pub old_bytes: Option<u64>,
    /// Size of the new file in bytes.
    pub new_bytes: u64,
    /// One for each engine; for a file without a base, the one of [`FRESH`].
    pub rows: Vec<Row>,
}

/// Takes what each section took out of the figures: that is for single pairs, or has been added up.
pub fn without_reports(rows: &mut [FileRow]) {
    let rows = rows.iter_mut().flat_map(|file| &mut file.rows);
    rows.filter_map(Row::done_mut).for_each(|done| done.report = None);
}

/// Bytes of memory that an engine is taken to need for a byte of both files, and what all calls together may.
const NEED: u64 = 16;
const MEMORY: u64 = 2 << 30;

/// Runs them; `threads` files at a time, as many as there are processors for 0.
pub fn run(
    tools: &Tools,
    changed: &[Changed],
    engines: &[Engine],
    times: Times,
    threads: usize,
) -> Result<Vec<FileRow>, String> {
    let fresh = engine::select(&[FRESH.into()])?;
    let bar = bar(changed.len() as u64);
    let mut rows = Vec::with_capacity(changed.len());
    let work = |file: &Changed| {
        bar.set_message(file.path.clone());
        let engines = if file.old.is_some() { engines } else { &fresh };
        let row = one(tools, file, engines, times);
        bar.inc(1);
        interrupt::go_on().map_err(|_| elfup::Error::Cancelled)?;
        Ok((row, 0))
    };
    let take = |row| {
        rows.push(row);
        Ok(())
    };
    let need = |file: &Changed| (file.sizes.0 + file.sizes.1).saturating_mul(NEED);
    let result = Jobs::new(threads, MEMORY).run(changed, need, work, take);
    bar.finish_and_clear();
    interrupt::go_on()?;
    result.map_err(crate::text)?;
    Ok(rows)
}

fn one(tools: &Tools, file: &Changed, engines: &[Engine], times: Times) -> FileRow {
    let old = file.old.as_deref().unwrap_or(&file.new);
    let row = |engine: &Engine| Row::of(engine, run::outcome(tools, (old, &file.new), engine, times));
    FileRow {
        path: file.path.clone(),
        kind: file.kind.clone(),
        old_bytes: file.old.is_some().then_some(file.sizes.0),
        new_bytes: file.sizes.1,
        rows: engines.iter().map(row).collect(),
    }
}

/// A bar on standard error; it hides itself where that is not a terminal.
fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed} {wide_msg}");
    ProgressBar::new(length).with_style(style.expect("the template is well-formed"))
}
