//! What ARCHITECTURE.md says of the source, held to: dependencies point down the pipeline.

#[path = "tidy/source.rs"]
mod source;

use std::path::{Path, PathBuf};

/// The parts of the engine, lowest first; those in one row do not know each other.
const RANKS: [&[&str]; 15] = [
    &["error"],
    &["limits", "progress", "report", "source"],
    &["budget", "cursor", "machine", "threads"],
    &["file_view"],
    &["code", "elf"],
    &["container", "layout", "recipe"],
    &["data", "text"],
    &["predict"],
    &["tables"],
    &["pipeline"],
    &["apply", "matching"],
    &["diff"],
    &["lib"],
    &["cli"],
    &["main"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn dependencies_point_down() {
    let wrong = source::upward(&root(), &RANKS);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_says_why_it_is_there() {
    let silent = source::silent(&root());
    assert!(silent.is_empty(), "{silent:#?}");
}
