//! What the process of `elfdelta apply` holds, against what the patch declares.

use elfdelta::{Options, Patch, Silent};
use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

const ELFDELTA: &str = env!("CARGO_BIN_EXE_elfdelta");

fn rss_anon(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[test]
fn apply_holds_what_the_patch_declares() {
    /// What a process of the command holds before it does anything, and the patch, which it reads whole.
    const PROCESS: u64 = 4 << 20;
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let old = fs::read(ELFDELTA).unwrap();
    let mut new = old.clone();
    let from = new.len() / 3;
    for at in (from..from + new.len() / 20).step_by(997) {
        new[at] ^= 1;
    }
    let patch = elfdelta::diff(&old, &new, &Options::default(), &Silent)
        .unwrap()
        .bytes;
    fs::write(path("old"), &old).unwrap();
    fs::write(path("p"), &patch).unwrap();
    let declared = Patch::parse(&patch).unwrap().header().memory;
    let mut child = Command::new(ELFDELTA)
        .args(["apply", "old", "p", "-o", "out"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(rss_anon(child.id()));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success());
    assert!(peak > 0, "it was seen at work");
    let allowed = declared + PROCESS + patch.len() as u64;
    assert!(peak <= allowed, "{peak} bytes held, {declared} declared");
}
