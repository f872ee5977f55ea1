//! The page of the book in `docs/book` about releases: its commands run as they stand.

#[path = "../../../delta/command/tests/book/pages.rs"]
mod pages;

use crate::world::write;

#[test]
fn commands_do_what_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    for (version, release) in ["1.0", "1.1"].into_iter().enumerate() {
        let tree = folder.path().join(format!("app-{release}"));
        write(tree.join("bin/tool"), "tool ".repeat(5000 + 100 * version));
        write(tree.join("version"), release);
    }
    pages::run("releases.md", folder.path(), env!("CARGO_BIN_EXE_elfup"));
}
