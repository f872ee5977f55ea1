//! What `publish` declares to hold, it does not exceed: of programs, of what is packed, and of what nothing foresees.

use crate::world::{World, copy, noise};
use elfup::Quiet;
use elfup::site::UpdateOptions;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a process of `publish` holds beside its jobs: manifests, steps, and what the allocator keeps.
const BESIDE: u64 = 64 << 20;
/// What the allocator keeps for each further thread, of jobs that have ended.
const KEPT: u64 = 128 << 20;

/// A program's bytes with some of them changed, as code that was built again is.
fn rebuilt(program: &[u8]) -> Vec<u8> {
    let mut new = program.to_vec();
    let from = new.len() / 3;
    for at in (from..from + new.len() / 4).step_by(997) {
        new[at] ^= 1;
    }
    new
}

/// Packs a file beside itself; says whether there is such a packer.
fn packed(packer: &str, file: &Path) -> bool {
    let done = Command::new(packer).args(["-k", "-f"]).arg(file).status();
    done.is_ok_and(|status| status.success())
}

fn tree(at: &Path, release: u64) {
    fs::create_dir(at).unwrap();
    let library = ["libm.so.6", "libc.so.6"]
        .iter()
        .find_map(|name| fs::read(format!("/usr/lib/x86_64-linux-gnu/{name}")).ok());
    let program = library.unwrap_or_else(|| fs::read("/bin/sh").unwrap());
    let program = if release == 1 { program } else { rebuilt(&program) };
    fs::write(at.join("program"), &program).unwrap();
    for packer in ["gzip", "xz"] {
        if !packed(packer, &at.join("program")) {
            println!("{packer}: not there");
        }
    }
    let pieces = noise(3, 2 << 20);
    let moved = pieces.chunks(4000).rev().flatten().copied().collect();
    fs::write(at.join("noise"), if release == 1 { pieces } else { moved }).unwrap();
}

/// Publishes in a process of its own: the most that it declared, and the most that it held.
fn published(world: &World, memory: &str, threads: u64) -> (u64, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command.args([
        "publish",
        "--repo",
        "repo",
        "--keys",
        "keys",
        "--release",
        "r2",
        "--json",
    ]);
    command.args([
        "--product",
        "demo",
        "--arch",
        "x86_64",
        "--memory",
        memory,
        "--threads",
        &threads.to_string(),
    ]);
    command
        .arg("two")
        .current_dir(world.path(""))
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let told = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = told.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (answer["declared"].as_u64().unwrap(), peak)
}

#[test]
fn publish_holds_what_its_jobs_declare() {
    let world = World::new();
    for (name, release) in [("one", 1), ("two", 2)] {
        fs::remove_dir_all(world.path(name)).unwrap();
        tree(&world.path(name), release);
    }
    world.publish("r1", "one").unwrap();
    copy(&world.repo(), &world.path("saved"));
    let mut most = u64::MAX;
    for (memory, threads) in [("0", 1), ("0", 2), ("64", 1)] {
        copy(&world.path("saved"), &world.repo());
        let (declared, peak) = published(&world, memory, threads);
        println!("--memory {memory} --threads {threads}: {declared} declared, {peak} held");
        let most_held = declared + BESIDE + (threads - 1) * KEPT;
        assert!(peak <= most_held, "{peak} bytes, {declared} declared");
        if memory != "0" {
            assert!(declared < most, "{declared} bytes as without a limit");
        }
        most = declared;
    }
    // Plainer patches lead there, too.
    let site = world.site("site", |_| {});
    site.update(&UpdateOptions::default(), &Quiet).unwrap();
    for name in ["program", "noise", "program.gz"] {
        let right = fs::read(world.path("two").join(name)).unwrap_or_default();
        let found = fs::read(world.path("site").join("current").join(name)).unwrap_or_default();
        assert!(right == found, "{name} differs");
    }
}
