//! The pages of the book in `docs/book`, and their commands run as they stand; shared by the tests of both programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder of the pages.
pub fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = here.ancestors().map(|above| above.join("docs/book"));
    found.find(|folder| folder.is_dir()).unwrap()
}

pub fn text(page: &str) -> String {
    fs::read_to_string(folder().join(page)).unwrap()
}

/// The commands of a page, in their order.
pub fn commands(text: &str) -> Vec<&str> {
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .flat_map(|block| block.split("```").next().unwrap_or_default().lines())
        .collect()
}

/// Runs a page's commands in a folder, each of which must succeed.
pub fn run(page: &str, folder: &Path, program: &str) {
    let path = std::env::var("PATH").unwrap();
    let programs = Path::new(program).parent().unwrap();
    let text = text(page);
    let commands = commands(&text);
    assert!(!commands.is_empty());
    for command in commands {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .current_dir(folder)
            .stdin(Stdio::null());
        shell.env("PATH", format!("{}:{path}", programs.display()));
        let done = shell.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{page}: {command}: {said}");
    }
}
