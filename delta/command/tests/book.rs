//! The book in `docs/book` is true: its commands run, its links lead somewhere, its numbers stand where it says.

#[path = "book/pages.rs"]
mod pages;

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

/// Pages whose commands are those of `elfdelta`; those of `elfup` run in its own tests.
const OURS: [&str; 2] = ["start.md", "program.md"];
const THEIRS: [&str; 1] = ["releases.md"];
/// Its commands are run by `packaging/fresh`, on a machine that has nothing else.
const INSTALLING: [&str; 1] = ["install.md"];

fn all() -> Vec<String> {
    let names = fs::read_dir(pages::folder()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md")).collect()
}

#[test]
fn commands_do_what_the_pages_say() {
    for page in OURS {
        let folder = tempfile::tempdir().unwrap();
        let seeds = pages::folder().join("../../fuzz/seeds/elf");
        for (seed, name) in [("tiny-1", "app-1.0"), ("tiny-2", "app-1.1")] {
            fs::copy(seeds.join(seed), folder.path().join(name)).unwrap();
        }
        pages::run(page, folder.path(), env!("CARGO_BIN_EXE_elfdelta"));
    }
    for page in all() {
        let mut tested = OURS.iter().chain(&THEIRS).chain(&INSTALLING);
        let tested = tested.any(|other| *other == page);
        let text = pages::text(&page);
        assert!(
            tested || pages::commands(&text).is_empty(),
            "{page}: its commands are run by no test"
        );
        assert_eq!(
            text.matches("```").count(),
            2 * text.matches("```sh\n").count(),
            "{page}: another block"
        );
    }
}

/// What a link or a picture of the page leads to.
fn targets(text: &str) -> Vec<&str> {
    let after = text.split("](").skip(1);
    after
        .map(|rest| rest.split(')').next().unwrap_or_default())
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let folder = pages::folder();
    let contents: Vec<PathBuf> = targets(&pages::text("SUMMARY.md"))
        .iter()
        .map(|t| folder.join(t))
        .collect();
    for page in all() {
        assert!(
            page == "SUMMARY.md" || contents.contains(&folder.join(&page)),
            "{page} is not in SUMMARY.md"
        );
        for target in targets(&pages::text(&page)) {
            assert!(!target.contains("://"), "{page}: {target} is not ours to keep");
            let path = target.split('#').next().unwrap();
            assert!(folder.join(path).exists(), "{page}: {target}");
            if path.ends_with(".svg") {
                picture(&folder.join(path));
            }
        }
    }
}

/// A picture says what it shows to those who do not see it, and fetches nothing.
fn picture(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let wanted = ["<title", "<desc", "viewBox", "prefers-color-scheme: dark"];
    assert!(
        wanted.iter().all(|part| text.contains(part)),
        "{}",
        path.display()
    );
    let plain = text.replace("http://www.w3.org/2000/svg", "");
    assert!(
        !plain.contains("http") && !plain.contains("href"),
        "{}",
        path.display()
    );
}

/// Numbers of a text that could be wrong: with a decimal point, or above a hundred.
fn numbers(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ','));
    let words = words.map(|word| word.trim_matches(['.', ',']).to_owned());
    words
        .filter(|word| word.len() > 2 && word.starts_with(|c: char| c.is_ascii_digit()))
        .collect()
}

#[test]
fn numbers_stand_where_they_were_measured() {
    let root = pages::folder().join("../..");
    let sources = [
        "README.md",
        "bench/README.md",
        "updater/OPERATING.md",
        "delta/LEDGER.md",
    ];
    let measured: String = sources
        .map(|name| fs::read_to_string(root.join(name)).unwrap())
        .join("\n");
    let measured = numbers(&measured);
    let told = numbers(&pages::text("questions.md"));
    let unknown: Vec<_> = told.difference(&measured).collect();
    assert!(told.len() > 15 && unknown.is_empty(), "{unknown:?}");
}

/// Pages below a folder.
fn built(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => built(&path, found),
            false if path.extension().is_some_and(|end| end == "html") => found.push(path),
            false => {}
        }
    }
}

/// A path without its `..`, as a browser takes it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// Links of a built page that lead nowhere, or out of the book.
fn wrong(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let values = ["href=\"", "src=\""].map(|name| text.split(name).skip(1));
    let values = values.into_iter().flatten();
    let mut wrong = Vec::new();
    for target in values.map(|rest| rest.split('"').next().unwrap()) {
        let (path, part) = target.split_once('#').unwrap_or((target, ""));
        let to = match path {
            "" => page.to_owned(),
            path => plain(&page.with_file_name(path)),
        };
        let has_part = || fs::read_to_string(&to).is_ok_and(|text| text.contains(&format!("id=\"{part}\"")));
        if target.contains("://") || !to.exists() || !(part.is_empty() || has_part()) {
            wrong.push(format!("{}: {target}", page.display()));
        }
    }
    wrong
}

#[test]
fn the_book_builds_and_its_links_hold() {
    let there = Command::new("mdbook")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if there.is_err() {
        eprintln!("skipped: mdbook is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut build = Command::new(pages::folder().join("../build"));
    let done = build.arg(folder.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !said.contains("WARN"), "{said}");
    let mut found = Vec::new();
    built(folder.path(), &mut found);
    for page in all().iter().filter(|page| *page != "SUMMARY.md") {
        let page = folder.path().join("docs/book").join(page).with_extension("html");
        assert!(found.contains(&page), "{} is not built", page.display());
    }
    let wrong: Vec<String> = found.iter().flat_map(|page| wrong(page)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
