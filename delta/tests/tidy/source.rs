//! What the tests of both crates ask of the source: where each name comes from, and how high that stands.

use super::functions::functions;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The parts of a crate, lowest first; those in one row do not know each other.
pub type Ranks = [&'static [&'static str]];

fn rank(ranks: &Ranks, part: &str) -> usize {
    let found = ranks.iter().position(|row| row.contains(&part));
    found.unwrap_or_else(|| panic!("{part} has no rank"))
}

/// Every file of a crate with its text.
pub fn texts(root: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    sources(root, &mut files);
    assert!(files.len() > 40, "the source was found");
    let text = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        (file, text)
    };
    files.into_iter().map(text).collect()
}

/// What names a part at or above its own, one line each.
pub fn upward(root: &Path, ranks: &Ranks) -> Vec<String> {
    let lib = fs::read_to_string(root.join("lib.rs")).unwrap();
    let mut wrong = Vec::new();
    for (file, text) in texts(root) {
        let part = part(root, &file);
        for name in used(&text) {
            let name = origin(&name, &lib);
            if name != part && rank(ranks, &name) >= rank(ranks, &part) {
                wrong.push(format!("{} uses {name}", file.display()));
            }
        }
        let folders = file.strip_prefix(root).unwrap().iter().count();
        if climbs(&text, folders - usize::from(file.ends_with("mod.rs"))) {
            wrong.push(format!("{} climbs to the top by super", file.display()));
        }
    }
    wrong
}

/// The functions of a crate with more than so many lines or parameters, as `file::name`.
pub fn large(root: &Path, lines: usize, parameters: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in texts(root) {
        let file = file.strip_prefix(root).unwrap().display().to_string();
        let large = functions(code(&text)).into_iter();
        let large = large.filter(|f| f.lines > lines || f.parameters > parameters);
        found.extend(large.map(|f| format!("{file}::{}", f.name)));
    }
    found.sort();
    found
}

/// The files that do not begin with what they are for.
pub fn silent(root: &Path) -> Vec<PathBuf> {
    let silent = texts(root)
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "));
    silent.map(|(file, _)| file).collect()
}

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
fn part(root: &Path, source: &Path) -> String {
    let first = source.strip_prefix(root).unwrap().iter().next().unwrap();
    first.to_str().unwrap().trim_end_matches(".rs").to_string()
}

/// A text without its tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// Parts of the crate that a text names behind `crate::`, tests left out.
fn used(text: &str) -> BTreeSet<String> {
    let text = code(text);
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

/// The part that a name at the top of the crate comes from: `lib.rs` hands some on.
fn origin(name: &str, lib: &str) -> String {
    let handed = |line: &&str| {
        let names = line.trim_end_matches(['}', ';']);
        names.split(['{', ':', ',', ' ']).any(|n| n == name)
    };
    let line = lib.lines().filter(|l| l.starts_with("pub use ")).find(handed);
    let from = line.and_then(|l| l.strip_prefix("pub use ")?.split("::").next());
    from.unwrap_or(name).to_string()
}

/// Whether a text reaches the top of the crate by `super` from so many folders below it.
fn climbs(text: &str, depth: usize) -> bool {
    code(text).contains(&"super::".repeat(depth))
}

#[test]
fn groups_are_read() {
    let text = "use crate::{Error, error::Result, elf::{Elf, go}};\nuse crate::code::hash; crate::matching";
    let names: Vec<String> = used(text).into_iter().collect();
    assert_eq!(names, ["Error", "code", "elf", "error", "matching"]);
}

#[test]
fn names_handed_on_and_ways_up_are_seen() {
    let lib = "pub use error::Error;\npub use report::{Part, Report};\n";
    assert_eq!(origin("Part", lib), "report");
    assert_eq!(origin("elf", lib), "elf");
    assert!(climbs("use super::super::x;", 2) && !climbs("use super::x;", 2));
}
