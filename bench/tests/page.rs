//! The page of `bench table --html`, made of real runs and looked at in a browser.

#[path = "../pages/tests/browser/mod.rs"]
mod browser;

use browser::Browser;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn put(path: PathBuf, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two releases of a folder, and the page of what the engines made of them or of a file in them.
fn page(folder: &Path, paths: [&str; 2], more: &[&str]) -> PathBuf {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/elf");
    for (side, seed) in [("old", "tiny-1"), ("new", "tiny-2")] {
        let at = |path: &str| folder.join(side).join(path);
        put(at("page.txt"), format!("a line of a page\n{side}\n").repeat(300));
        put(at("bin/tiny"), fs::read(seeds.join(seed)).unwrap());
    }
    put(folder.join("new/fresh <i>"), "nothing is like it");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench
        .arg("--cache")
        .arg(folder.join("cache"))
        .arg("table")
        .args(paths)
        .args(more);
    let html = folder.join("page.html");
    let output = bench
        .arg("--html")
        .arg(&html)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    html
}

/// The figures in a page.
fn figures(dom: &str) -> serde_json::Value {
    let json = dom
        .split("<pre id=\"figures\">")
        .nth(1)
        .unwrap()
        .split("</pre>")
        .next()
        .unwrap();
    let plain = json
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&plain).unwrap()
}

#[test]
fn two_files_give_a_page_that_a_browser_takes() {
    let Some(browser) = Browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let html = page(folder.path(), ["old/bin/tiny", "new/bin/tiny"], &["--runs", "2"]);
    // Bytes, bytes against time, time, memory, sections, streams.
    let dom = browser::hold(&browser, &html, 6);
    let result = &figures(&dom)[0];
    let done = result["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["done"].is_object());
    let (done, ours) = (done.count(), &result["rows"][0]["done"]["report"]);
    assert!(done >= 5, "{result}");
    let parts = |name: &str| {
        let parts = ours[name].as_array().unwrap().iter();
        parts
            .filter(|part| part["bytes"].as_u64() > Some(0))
            .count()
            .min(13)
    };
    let bars = done + 2 * done + 2 * done + parts("sections") + parts("streams");
    assert_eq!(dom.matches("class=\"bar\"").count(), bars);
    assert_eq!(dom.matches("class=\"point\"").count(), done);
}

#[test]
fn two_directories_give_one_too() {
    let Some(browser) = Browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let html = page(
        folder.path(),
        ["old", "new"],
        &["--engines", "elfdelta,bsdiff-crate"],
    );
    let dom = browser::hold(&browser, &html, 7);
    let paths: Vec<_> = figures(&dom)[0]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["path"].clone())
        .collect();
    assert!(paths.iter().any(|path| path == "fresh <i>"), "{paths:?}");
    assert!(dom.contains("<td>fresh &lt;i&gt;</td>"));
    // A kind is read, not compared.
    assert!(dom.contains("<td class=\"words\">text</td>"));
}

/// What the other tests rely on: a page that fetches or complains, and words that lie on each other, are seen.
#[test]
fn a_page_that_is_wrong_is_seen() {
    let Some(browser) = Browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let html = page(folder.path(), ["old", "new"], &["--engines", "elfdelta"]);
    let right = fs::read_to_string(&html).unwrap();
    let wrong = right.replacen(
        "<main>",
        "<main><img src=\"http://127.0.0.1:9/x\"><script>no()</script>",
        1,
    );
    fs::write(&html, wrong).unwrap();
    let console = browser.look(&html).console;
    assert!(console.len() >= 2, "{console:?}");
    let label = "<text x=\"18\" y=\"12\" dy=\"0.5ex\" font-size=\"12.9\">over others";
    let wrong = right.replacen("<text ", &format!("{label}</text>\n<text "), 1);
    fs::write(&html, wrong).unwrap();
    assert!(browser.misfits(&html, 360).contains("on each other"));
}
