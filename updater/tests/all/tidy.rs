//! What updater/ARCHITECTURE.md says of the source, held to: dependencies point down, and a type has few methods.

#[path = "../../../delta/tests/tidy/functions.rs"]
mod functions;
#[path = "tidy/parts.rs"]
mod parts;
#[path = "../../../delta/tests/tidy/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The parts of the updater, lowest first; those in one row do not know each other.
const RANKS: [&[&str]; 11] = [
    &["error", "machine"],
    &["clock", "digest", "jobs", "kind", "limits", "watch"],
    &["commented", "disk", "names", "random", "speed"],
    &["allowance", "compress", "metrics", "nearby"],
    &["apart", "manifest", "store"],
    &["report", "step", "trust"],
    &["source"],
    &["farm", "place", "site"],
    &["lib"],
    &["cli"],
    &["main"],
];

/// The parts of a site, in the same way: owners of directories, then workers.
const SITE: [&[&str]; 8] = [
    &["config", "files", "notes", "partial", "reserve"],
    &["configured", "index", "measures", "obtain", "walk"],
    &["cost", "deployments", "objects", "pieces", "seeds"],
    &["compare", "fixed", "follow", "reverse"],
    &["deploy", "switch", "ways"],
    &["local", "plan"],
    &["between", "fetch", "trial"],
    &VERBS,
];

/// Where the verbs of a site are, which know each other and all parts.
const VERBS: [&str; 10] = [
    "check", "daemon", "health", "keep", "mod", "repair", "report", "rollback", "update", "verify",
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
fn parts_of_a_site_point_down() {
    let wrong = parts::upward(&root().join("site"), &SITE, &VERBS);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A worker that could see the site could call any verb: it is given owners instead.
#[test]
fn only_verbs_see_the_site() {
    let site = root().join("site");
    let mut wrong = Vec::new();
    for (file, text) in source::texts(&root()) {
        let verb = file
            .file_stem()
            .and_then(|n| n.to_str())
            .is_some_and(|n| VERBS.contains(&n));
        let blocks = parts::methods(&text).iter().filter(|b| b.of == "Site").count();
        let allowed = usize::from(verb && file.parent() == Some(&site));
        let sees = text.contains("&Site") || text.contains("&'a Site");
        if blocks > allowed || file.starts_with(&site) && sees && allowed == 0 {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Most methods of a type, all its blocks together.
const METHODS: usize = 12;

/// Types that have more, and the most of each: verbs, and what has not been cut yet. None is added.
const LARGE: [(&str, usize); 7] = [
    ("Cache", 16),
    ("Carry", 20),
    ("Maker", 29),
    ("Remote", 14),
    ("Signer", 28),
    ("Site", 55),
    ("Sources", 17),
];

#[test]
fn types_are_no_namespaces() {
    let mut methods: BTreeMap<(PathBuf, String), usize> = BTreeMap::new();
    for (file, text) in source::texts(&root()) {
        let folder = file.parent().unwrap_or(&file).to_owned();
        for block in parts::methods(&text) {
            *methods.entry((folder.clone(), block.of)).or_default() += block.methods;
        }
    }
    let large = methods.iter().filter(|(_, n)| **n > METHODS);
    let large: Vec<(&str, usize)> = large.map(|((_, of), n)| (of.as_str(), *n)).collect();
    let listed = |l: &&(&str, usize)| LARGE.iter().any(|(of, most)| *of == l.0 && l.1 <= *most);
    let added: Vec<_> = large.iter().filter(|l| !listed(l)).collect();
    assert!(
        added.is_empty(),
        "more than {METHODS} methods, or more than listed: {added:?}"
    );
    let gone = LARGE.iter().filter(|(of, _)| !large.iter().any(|l| l.0 == *of));
    let gone: Vec<_> = gone.collect();
    assert!(
        gone.is_empty(),
        "small by now, so strike them off the list: {gone:?}"
    );
}

#[test]
fn every_module_says_why_it_is_there() {
    let silent = source::silent(&root());
    assert!(silent.is_empty(), "{silent:#?}");
}

/// Most lines of a function, and most parameters; those inside a tuple count one by one.
const LINES: usize = 80;
const PARAMETERS: usize = 6;

#[test]
fn functions_are_small() {
    let large = source::large(&root(), LINES, PARAMETERS);
    assert!(
        large.is_empty(),
        "larger than {LINES} lines or {PARAMETERS} parameters: {large:#?}"
    );
}

/// Deepest block of a function, its body being at 1.
const DEPTH: usize = 6;

#[test]
fn functions_are_shallow() {
    let mut deep = Vec::new();
    for (file, text) in source::texts(&root()) {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let all = parts::depths(text)
            .into_iter()
            .filter(|(_, depth)| *depth > DEPTH);
        deep.extend(all.map(|(name, depth)| format!("{}::{name} {depth}", file.display())));
    }
    assert!(deep.is_empty(), "deeper than {DEPTH}: {deep:#?}");
}
