//! The systemd units: well-formed, closed as far as they can be, and not below what an update needs.

use crate::place::Process;
use crate::server::{Fault, Server};
use crate::world::{World, update};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Those of a site, and that of a box.
const SERVICES: [&str; 3] = ["elfup-update.service", "elfup.service", "elfup-box.service"];

/// Runs a tool; none where it is not installed.
fn tool(name: &str, args: &[&str]) -> Option<Output> {
    match Command::new(name).args(args).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("skipped: {name} is not installed");
            None
        }
    }
}

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(unit(name)).unwrap()
}

#[test]
fn units_are_well_formed() {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for name in SERVICES.iter().chain(&["elfup-update.timer"]) {
        let path = dir.path().join(name);
        fs::write(
            &path,
            text(name).replace("/usr/bin/elfup", env!("CARGO_BIN_EXE_elfup")),
        )
        .unwrap();
        paths.push(path.to_str().unwrap().to_owned());
    }
    let args: Vec<&str> = ["verify", "--man=no"]
        .into_iter()
        .chain(paths.iter().map(String::as_str))
        .collect();
    let Some(output) = tool("systemd-analyze", &args) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("elfup"), "{said}");
}

#[test]
fn services_expose_little() {
    for name in SERVICES {
        let path = unit(name);
        let args = [
            "security",
            "--offline=true",
            "--threshold=30",
            path.to_str().unwrap(),
        ];
        let Some(output) = tool("systemd-analyze", &args) else {
            return;
        };
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    let closed = |name| {
        let text = text(name);
        let begin = text.find("\nCapabilityBoundingSet=").unwrap();
        let end = text.find("\n[Install]").unwrap_or(text.len());
        text[begin..end].to_owned()
    };
    assert_eq!(closed(SERVICES[0]), closed(SERVICES[1]));
    assert!(text(SERVICES[2]).contains("\nCapabilityBoundingSet=\n"));
}

/// The system calls that a unit allows, by its lines in order.
fn allowed(name: &str) -> Option<BTreeSet<String>> {
    let mut calls = BTreeSet::new();
    let unit = text(name);
    for line in unit.lines().filter_map(|l| l.strip_prefix("SystemCallFilter=")) {
        let (deny, words) = line.strip_prefix('~').map_or((false, line), |rest| (true, rest));
        let mut todo: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        while let Some(word) = todo.pop() {
            if word.starts_with('@') {
                let output = tool("systemd-analyze", &["syscall-filter", &word])?;
                let group = String::from_utf8_lossy(&output.stdout).into_owned();
                let members = group.lines().skip(1).map(|l| l.trim().to_owned());
                todo.extend(members.filter(|m| !m.is_empty() && !m.starts_with('#')));
            } else if deny {
                calls.remove(&word);
            } else {
                calls.insert(word);
            }
        }
    }
    Some(calls)
}

#[test]
fn an_update_makes_no_call_that_its_unit_denies() {
    let Some(allowed) = allowed(SERVICES[0]) else {
        return;
    };
    assert!(allowed.len() > 100 && !allowed.contains("mount"), "{allowed:?}");
    let (world, site) = World::ready();
    drop(site);
    let (trace, root) = (world.path("trace"), world.path("site"));
    let args = [
        "-f",
        "-qq",
        "-o",
        trace.to_str().unwrap(),
        env!("CARGO_BIN_EXE_elfup"),
        "site",
        "--site",
    ];
    let args: Vec<&str> = args
        .into_iter()
        .chain([root.to_str().unwrap(), "update"])
        .collect();
    let Some(output) = tool("strace", &args) else {
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let calls = called(&trace);
    assert!(
        calls.contains("renameat") || calls.contains("rename"),
        "{calls:?}"
    );
    let denied: Vec<_> = calls.difference(&allowed).collect();
    assert!(denied.is_empty(), "{denied:?}");
}

/// The system calls of a trace.
fn called(trace: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(trace).unwrap();
    let call = |line: &str| {
        let call = line.split_once(' ')?.1.trim_start().split_once('(')?.0;
        let named = call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        named.then(|| call.to_owned())
    };
    text.lines().filter_map(call).collect()
}

#[test]
fn a_box_makes_no_call_that_its_unit_denies() {
    let Some(allowed) = allowed(SERVICES[2]) else {
        return;
    };
    assert!(
        allowed.len() > 100 && !allowed.contains("setrlimit"),
        "{allowed:?}"
    );
    if tool("strace", &["--version"]).is_none() {
        return;
    }
    let world = World::new();
    let trace = world.path("trace");
    let mut traced = Command::new("strace");
    traced.args([
        "-f",
        "-qq",
        "-o",
        trace.to_str().unwrap(),
        env!("CARGO_BIN_EXE_elfup"),
    ]);
    let far = Server::start(&world.repo(), Fault::None);
    let mut process = Process::run(traced, &world, &far.url, 0);
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |config| config.sources = vec![process.url.clone()]);
    update(&site).unwrap();
    // The first line names the traced process; the tracer ends with it.
    let text = fs::read_to_string(&trace).unwrap();
    let first = text.split_whitespace().next().unwrap().parse().unwrap();
    let elfup = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(elfup, rustix::process::Signal::TERM).unwrap();
    process.child.wait().unwrap();
    let calls = called(&trace);
    assert!(calls.contains("accept4") && calls.contains("rename"), "{calls:?}");
    let denied: Vec<_> = calls.difference(&allowed).collect();
    assert!(denied.is_empty(), "{denied:?}");
}
