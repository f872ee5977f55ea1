//! `bench tree` as a user runs it: every changed file comes back, and a wish to stop leaves no process behind.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

fn bench(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("--cache").arg(folder.join("cache")).arg("tree");
    command.arg(folder.join("old")).arg(folder.join("new"));
    command
        .args(["--ways", "none"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

fn put(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Bytes that nothing foresees.
fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn every_kind_of_change_is_told_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let text = "a line of a page that changes\n".repeat(200);
    let program = fs::read(env!("CARGO_BIN_EXE_bench")).unwrap();
    for (side, version) in [("old", "1"), ("new", "2")] {
        put(
            folder.path(),
            &format!("{side}/share/page.txt"),
            format!("{text}{version}").as_bytes(),
        );
        put(folder.path(), &format!("{side}/share/same.txt"), text.as_bytes());
        let mut program = program[..1 << 20].to_vec();
        program[700_000] = version.as_bytes()[0];
        put(
            folder.path(),
            &format!("{side}/lib/1.{version}/program-1.{version}"),
            &program,
        );
    }
    put(folder.path(), "new/share/fresh", &noise(5000, 1));
    let json = folder.path().join("figures.json");
    let output = bench(folder.path(), &["--engines", "elfdelta,elfdelta-fast", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let figures: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let files = figures["files"].as_array().unwrap();
    let mut paths: Vec<_> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["lib/1.2/program-1.2", "share/fresh", "share/page.txt"]);
    for file in files {
        let rows = file["rows"].as_array().unwrap();
        let fresh = file["path"] == "share/fresh";
        assert_eq!(rows.len(), if fresh { 1 } else { 2 }, "{file}");
        assert!(
            rows.iter().all(|row| row["done"]["bytes"].as_u64().unwrap() > 0),
            "{file}"
        );
        assert_eq!(file["old_bytes"].is_null(), fresh, "{file}");
    }
    let columns: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("| **all**"))
        .collect();
    assert!(columns[0].starts_with("| **all** | 3 |"), "{said}");
    assert!(said.contains("| elfdelta | 2 of 2 |"), "{said}");
}

#[test]
fn a_name_that_nothing_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (engines, ways, word) in [("gzip", "none", "gzip"), ("elfdelta", "carrier", "carrier")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
        command.arg("tree").args([
            "/nowhere/old",
            "/nowhere/new",
            "--engines",
            engines,
            "--ways",
            ways,
        ]);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(word));
    }
    let output = bench(folder.path(), &[]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("old: No such file"));
}

/// Processes with this in their command line, but for the one given.
fn with_argument(argument: &str, but: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if id != but && String::from_utf8_lossy(&line).contains(argument) {
            found.push(id);
        }
    }
    found
}

/// Long enough for the slowest machine; nothing of the test depends on it.
const PATIENCE: Duration = Duration::from_secs(120);

fn until(what: &str, mut fits: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !fits() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A run that is killed with its engines when the test is over, whatever became of it.
struct Guard {
    run: Child,
    mark: String,
}
impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.run.kill();
        let _ = self.run.wait();
        for process in with_argument(&self.mark, 0) {
            let _ = kill(Pid::from_raw(process as i32), Signal::SIGKILL);
        }
    }
}

#[test]
fn a_signal_to_the_bench_ends_the_engines_too() {
    let folder = tempfile::tempdir().unwrap();
    // An engine that never ends by itself, known by how long it would sleep.
    let mark = format!("10000{:07}", std::process::id());
    let engine = folder.path().join("bin/bsdiff");
    put(
        folder.path(),
        "bin/bsdiff",
        format!("#!/bin/sh\nsleep {mark}\n").as_bytes(),
    );
    fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
    for index in 0..4 {
        put(
            folder.path(),
            &format!("old/{index}"),
            format!("old {index}").as_bytes(),
        );
        put(
            folder.path(),
            &format!("new/{index}"),
            format!("new {index}").as_bytes(),
        );
    }
    let mut path = folder.path().join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut run = bench(folder.path(), &["--engines", "bsdiff", "--jobs", "2"]);
    let run = run.env("PATH", path).stderr(Stdio::null()).spawn().unwrap();
    let mut guard = Guard { run, mark };
    let id = guard.run.id();
    until("no engine began", || with_argument(&guard.mark, id).len() >= 2);
    kill(Pid::from_raw(id as i32), Signal::SIGTERM).unwrap();
    let mut status = None;
    until("the bench goes on", || {
        status = guard.run.try_wait().unwrap();
        status.is_some()
    });
    assert!(!status.unwrap().success());
    until("engines were left", || with_argument(&guard.mark, id).is_empty());
}
