//! What ARCHITECTURE.md says of the source, held to: dependencies point down the pipeline.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The part of the crate that a file belongs to: its folder, or its name.
fn part(source: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = source.strip_prefix(&root).unwrap().iter().next().unwrap();
    first.to_str().unwrap().trim_end_matches(".rs").to_string()
}

/// Parts of the crate that a text names behind `crate::`, tests left out.
fn used(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut names = BTreeSet::new();
    let name = |text: &str| -> String {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        text[..end.unwrap_or(text.len())].to_string()
    };
    for (at, key) in text.match_indices("crate::") {
        let rest = &text[at + key.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(name(rest));
            continue;
        };
        // Names at the top of the group only: what stands in inner braces is below them.
        let mut depth = 0;
        let mut start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && depth == 0 && !c.is_whitespace() => {
                    names.insert(name(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// A part, and what it must not know.
const FORBIDDEN: [(&str, &[&str]); 10] = [
    (
        "budget",
        &[
            "container",
            "code",
            "elf",
            "machine",
            "image",
            "tables",
            "matching",
            "diff",
        ],
    ),
    (
        "container",
        &[
            "elf", "machine", "layout", "text", "predict", "tables", "data", "matching", "diff", "apply",
        ],
    ),
    (
        "code",
        &[
            "elf", "machine", "layout", "text", "predict", "tables", "data", "image", "matching", "diff",
            "apply",
        ],
    ),
    (
        "elf",
        &[
            "code",
            "container",
            "image",
            "layout",
            "text",
            "predict",
            "tables",
            "data",
            "matching",
            "diff",
        ],
    ),
    (
        "machine",
        &[
            "code",
            "container",
            "image",
            "layout",
            "text",
            "predict",
            "tables",
            "data",
            "matching",
            "diff",
        ],
    ),
    (
        "layout",
        &["text", "predict", "tables", "data", "matching", "diff", "apply"],
    ),
    (
        "text",
        &["predict", "tables", "data", "matching", "diff", "apply"],
    ),
    ("predict", &["tables", "data", "matching", "diff", "apply"]),
    ("image", &["matching", "diff", "apply"]),
    ("apply", &["matching", "diff"]),
];

#[test]
fn dependencies_point_down() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 80, "the source was found");
    let mut wrong = Vec::new();
    for file in &files {
        let names = used(&fs::read_to_string(file).unwrap());
        let part = part(file);
        let rules = FORBIDDEN.iter().filter(|(p, _)| *p == part);
        for above in rules
            .flat_map(|(_, above)| *above)
            .filter(|a| names.contains(**a))
        {
            wrong.push(format!("{} uses {above}", file.display()));
        }
        if names.contains("matching") && !["diff", "matching"].contains(&part.as_str()) {
            wrong.push(format!("{} uses matching", file.display()));
        }
        if names.contains("cli") && part != "cli" {
            wrong.push(format!("{} uses cli", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn groups_are_read() {
    let text = "use crate::{Error, error::Result, elf::{Elf, go}};\nuse crate::code::hash; crate::matching";
    let names: Vec<String> = used(text).into_iter().collect();
    assert_eq!(names, ["Error", "code", "elf", "error", "matching"]);
}

#[test]
fn every_module_says_why_it_is_there() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{}", file.display());
    }
}
