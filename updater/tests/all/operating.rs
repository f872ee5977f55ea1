//! `OPERATING.md` is true: its commands are run as they stand, in their order.

use crate::world::write;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    if Command::new("rsync").arg("--version").output().is_err() {
        return eprintln!("skipped: rsync is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    for (version, release) in ["1.0", "1.1", "1.2", "1.3"].into_iter().enumerate() {
        let tree = folder.path().join(format!("app-{release}"));
        write(tree.join("bin/tool"), "tool ".repeat(5000 + 100 * version));
        write(tree.join("etc/tool"), "as it comes");
        write(tree.join("version"), release);
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_elfup")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let page = include_str!("../../OPERATING.md");
    let commands: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    assert!(commands.len() > 25, "{commands:?}");
    for command in commands {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .current_dir(&folder)
            .stdin(Stdio::null());
        shell.env("PATH", format!("{}:{path}", programs.display()));
        let done = shell.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{command}: {said}");
    }
    // The last command went back to the floor's release, which was the one before.
    let runs = std::fs::read_to_string(folder.path().join("app/current/version")).unwrap();
    assert_eq!(runs, "1.2");
}
