//! What ARCHITECTURE.md says of the source, held to: dependencies point down.

#[path = "../../../delta/tests/tidy/functions.rs"]
mod functions;
#[path = "../../../delta/tests/tidy/source.rs"]
mod source;

use std::path::{Path, PathBuf};

/// The parts of the updater, lowest first; those in one row do not know each other.
const RANKS: [&[&str]; 11] = [
    &["error"],
    &["clock", "digest", "jobs", "limits", "watch"],
    &["disk", "names", "random", "speed"],
    &["compress"],
    &["apart", "manifest", "store"],
    &["step", "trust"],
    &["source"],
    &["farm", "place", "site"],
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

/// Most lines of a function.
const LINES: usize = 200;

#[test]
fn functions_are_not_endless() {
    let large = source::large(&root(), LINES, usize::MAX);
    assert!(large.is_empty(), "larger than {LINES} lines: {large:#?}");
}
