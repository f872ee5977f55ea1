//! Which parts of a folder name which, and how many methods a type has.

use super::source::Ranks;
use std::path::Path;

/// A block of methods of a type.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The type.
    pub of: String,
    /// How many functions it has.
    pub methods: usize,
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// All blocks of methods in a text, those of traits left out.
pub fn methods(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(rest) = line
            .strip_prefix("impl")
            .filter(|l| l.ends_with('{') && !l.contains(" for "))
        else {
            continue;
        };
        let rest = match rest.strip_prefix('<') {
            Some(_) => rest.split_once("> ").map_or("", |(_, rest)| rest),
            None => rest,
        };
        let block = lines.by_ref().take_while(|l| *l != "}");
        let function = |l: &&str| {
            let l = l.strip_prefix("    ").filter(|l| !l.starts_with(' '));
            let words: Vec<&str> = l.unwrap_or_default().split(' ').collect();
            words.iter().take(3).any(|w| *w == "fn")
        };
        found.push(Block {
            of: name(rest.trim_start()).to_owned(),
            methods: block.filter(function).count(),
        });
    }
    found
}

/// The parts beside its own that a text names behind `super::`, from so many folders below.
fn beside(text: &str, depth: usize) -> Vec<String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let up = "super::".repeat(depth);
    let mut found = Vec::new();
    for (at, _) in text.match_indices(&up) {
        let rest = &text[at + up.len()..];
        if text[..at].ends_with("super::") || rest.starts_with("super::") {
            continue;
        }
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default(),
            None => rest,
        };
        let own = |name: &&str| name.starts_with(char::is_lowercase);
        match rest.starts_with('{') {
            true => found.extend(
                names
                    .split(',')
                    .map(|n| name(n.trim()))
                    .filter(own)
                    .map(str::to_owned),
            ),
            false => found.extend([name(names)].into_iter().filter(own).map(str::to_owned)),
        }
    }
    found
}

/// What names a part of a folder at or above its own rank; the last row, `top`, may name all.
pub fn upward(folder: &Path, ranks: &Ranks, top: &[&str]) -> Vec<String> {
    let rank = |part: &str| {
        let found = ranks.iter().position(|row| row.contains(&part));
        found.unwrap_or_else(|| panic!("{part} has no rank"))
    };
    let mut wrong = Vec::new();
    for (file, text) in super::source::texts(folder.parent().unwrap()) {
        let Ok(path) = file.strip_prefix(folder) else {
            continue;
        };
        let part = path
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        let part = part.trim_end_matches("_test");
        if top.contains(&part) {
            continue;
        }
        let deep = path.iter().count() - usize::from(path.ends_with("mod.rs"));
        for name in beside(&text, deep) {
            if name != part && rank(&name) >= rank(part) {
                wrong.push(format!("{} uses {name}", file.display()));
            }
        }
    }
    wrong
}

#[test]
fn blocks_and_neighbours_are_read() {
    let text = "impl Site {\n    pub fn a(&self) {\n        fn inner() {}\n    }\n    fn b() {}\n}\nimpl<'a> Row<'a> {\n    pub(super) fn c() {}\n}\nimpl Drop for Site {\n    fn drop() {}\n}\n";
    let block = |of: &str, methods| Block {
        of: of.into(),
        methods,
    };
    assert_eq!(methods(text), [block("Site", 2), block("Row", 1)]);
    let text =
        "use super::index::{Index, Name};\nuse super::{Site, plan::Item};\nuse super::super::walk::look;";
    assert_eq!(beside(text, 1), ["index", "plan"]);
    assert_eq!(beside(text, 2), ["walk"]);
}

/// How deep the blocks of a text's functions lie within each other, the body of a function being at 1.
pub fn depths(text: &str) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    // Where functions begin: their indentation.
    let mut open: Vec<(String, usize)> = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(at) = words.iter().take(4).position(|w| *w == "fn") {
            open.retain(|(_, i)| *i < indent);
            open.push((name(words.get(at + 1).unwrap_or(&"")).to_owned(), indent));
            continue;
        }
        // Only lines that open a block: chains and lists are indented, too.
        let block = line.ends_with('{') || line.ends_with("=> {");
        if let Some((function, begin)) = open.last().filter(|(_, i)| block && *i < indent) {
            let depth = (indent - begin) / 4 + 1;
            match found.iter_mut().find(|(f, _)| f == function) {
                Some((_, most)) => *most = depth.max(*most),
                None => found.push((function.clone(), depth)),
            }
        }
    }
    found
}
