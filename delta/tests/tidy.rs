//! What ARCHITECTURE.md says of the source, held to: dependencies point down the pipeline.

#[path = "tidy/functions.rs"]
mod functions;
#[path = "tidy/source.rs"]
mod source;

use std::path::{Path, PathBuf};

/// The parts of the engine, lowest first; those in one row do not know each other.
const RANKS: [&[&str]; 14] = [
    &["error"],
    &[
        "hashing", "limits", "maps", "place", "progress", "report", "source",
    ],
    &["budget", "cursor", "machine", "threads"],
    &["file_view"],
    &["code", "elf"],
    &["packed"],
    &["container", "layout", "recipe"],
    &["data", "text"],
    &["predict"],
    &["tables"],
    &["pipeline"],
    &["apply", "matching"],
    &["diff"],
    &["lib"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn dependencies_point_down() {
    let wrong = source::upward(&root(), &RANKS);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What differs between instruction sets is asked of the machine: a new one changes no other folder.
#[test]
fn no_machine_is_named_outside_its_folder() {
    let mut wrong = Vec::new();
    for (file, text) in source::texts(&root()) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let variant = |rest: &str| rest.starts_with(char::is_uppercase) && !rest.starts_with("ALL");
        let names = code.split("Machine::").skip(1).any(variant);
        let folder = code.contains("machine::x86") || code.contains("machine::a");
        if (names || folder) && !file.starts_with(root().join("machine")) {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_says_why_it_is_there() {
    let silent = source::silent(&root());
    assert!(silent.is_empty(), "{silent:#?}");
}

/// The specification is read beside other windows, and changes of it line by line.
#[test]
fn lines_of_the_specification_are_short() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md");
    let text = std::fs::read_to_string(path).unwrap();
    let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 140).collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// Most lines of a function, and most parameters; those inside a tuple count one by one.
const LINES: usize = 100;
const PARAMETERS: usize = 6;

#[test]
fn functions_are_small() {
    let large = source::large(&root(), LINES, PARAMETERS);
    assert!(
        large.is_empty(),
        "larger than {LINES} lines or {PARAMETERS} parameters: {large:#?}"
    );
}
