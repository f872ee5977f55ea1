//! What the process of `elfdelta apply` holds, against what the patch declares, and that of `diff`, against its limit.

mod large;

use elfdelta::{Options, Patch, Silent};
use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

const ELFDELTA: &str = env!("CARGO_BIN_EXE_elfdelta");

fn rss_anon(id: u32) -> u64 {
    told(id, "RssAnon:")
}

/// What the kernel tells of a process in kB, in bytes; 0 where it has ended.
fn told(id: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// A large file with some bytes changed, and programs with a large table each.
fn large() -> Vec<(&'static str, [Vec<u8>; 2])> {
    let old = fs::read(ELFDELTA).unwrap();
    let mut new = old.clone();
    let from = new.len() / 3;
    for at in (from..from + new.len() / 20).step_by(997) {
        new[at] ^= 1;
    }
    let relocated = |sorted| [0, 3].map(|shift| large::relocated(sorted, shift));
    vec![
        ("edited", [old, new]),
        ("relocations", relocated(true)),
        ("relocations in no order", relocated(false)),
        ("symbols", [7, 11].map(|n| large::named(|k| k % (100 * n) == n))),
    ]
}

#[test]
fn apply_holds_what_the_patch_declares() {
    /// What a process of the command holds before it does anything, and the patch, which it reads whole.
    const PROCESS: u64 = 4 << 20;
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, [old, new]) in large() {
        let patch = elfdelta::diff(&old, &new, &Options::default(), &Silent)
            .unwrap()
            .bytes;
        fs::write(path("old"), &old).unwrap();
        fs::write(path("p"), &patch).unwrap();
        let declared = Patch::parse(&patch).unwrap().header().memory;
        let applied = || {
            let mut child = Command::new(ELFDELTA)
                .args(["apply", "-f", "old", "p", "-o", "out"])
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
            peak
        };
        // On a busy machine it may have ended before anybody looked.
        let seen = (0..20).map(|_| applied()).find(|&peak| peak > 0);
        let peak = seen.expect("it was seen at work");
        println!("{name}: {peak} held, {declared} declared");
        let allowed = declared + PROCESS + patch.len() as u64;
        assert!(peak <= allowed, "{name}: {peak} bytes held, {declared} declared");
        assert!(fs::read(path("out")).unwrap() == new, "{name}");
    }
}

/// Bytes that look like none before.
fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let word = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33).to_le_bytes()
    };
    let words = (0..len.div_ceil(4)).map(word);
    words.flat_map(|word| word[..4].to_vec()).take(len).collect()
}

/// Some text, and a later version of it.
fn texts(len: usize) -> [Vec<u8>; 2] {
    let old: Vec<u8> = noise(len, 7)
        .into_iter()
        .map(|b| b"etaoin shrdlu.\n,"[usize::from(b >> 4)])
        .collect();
    let mut new = old.clone();
    for at in (0..len).step_by(len / 50).rev() {
        new.splice(at..at, noise(at % 90, 3));
    }
    [old, new]
}

/// A program of this system, and one with other code.
fn programs() -> Option<[Vec<u8>; 2]> {
    let old = ["/bin/bash", "/bin/tar", "/bin/ls"]
        .iter()
        .find_map(|path| fs::read(path).ok())?;
    let mut new = old.clone();
    let from = new.len() / 3;
    (from..from * 2).step_by(97).for_each(|at| new[at] ^= 1);
    Some([old, new])
}

fn gzipped(folder: &Path, text: &[u8]) -> Option<Vec<u8>> {
    fs::write(folder.join("text"), text).unwrap();
    let packed = Command::new("gzip")
        .args(["-nc", "text"])
        .current_dir(folder)
        .output();
    Some(packed.ok()?.stdout)
}

/// Pairs that each suit a way of their own, or badly.
fn pairs(folder: &Path) -> Vec<(&'static str, [Vec<u8>; 2])> {
    let shuffled = |bytes: &[u8]| {
        let mut pieces: Vec<&[u8]> = bytes.chunks(24).collect();
        pieces.sort_by_key(|piece| piece[1]);
        pieces.concat()
    };
    let pieces = noise(1 << 20, 5);
    let [old, new] = texts(2 << 20);
    let packed = gzipped(folder, &old).zip(gzipped(folder, &new));
    let mut all = vec![
        ("text", [old, new]),
        ("noise", [noise(1 << 19, 1), noise(1 << 19, 2)]),
        ("pieces", [pieces.clone(), shuffled(&pieces)]),
        ("new", [vec![b'x'; 90], noise(1 << 20, 9)]),
        ("few", [noise(4 << 20, 4), b"little".to_vec()]),
    ];
    match packed {
        Some((old, new)) => all.push(("packed", [old, new])),
        None => println!("skipped: gzip is not there"),
    }
    match programs() {
        Some(pair) => all.push(("program", pair)),
        None => println!("skipped: no program was found"),
    }
    all
}

/// Makes a patch in a process of its own: its exit code, its report or error, and the most that it held.
fn limited(folder: &Path, memory: Option<u64>) -> (Option<i32>, String, u64) {
    let mut command = Command::new(ELFDELTA);
    command.args(["diff", "old", "new", "-o", "p", "-f", "--json"]);
    if let Some(memory) = memory {
        command.args(["--memory", &memory.to_string()]);
    }
    command.current_dir(folder).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let (mut child, mut peak) = (child.unwrap(), 0);
    let status = loop {
        peak = peak.max(told(child.id(), "VmHWM:"));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (status.code(), said, peak)
}

/// How many limits between the least and the one that leaves nothing out.
const STEPS: u64 = 4;

#[test]
fn diff_holds_its_limit_by_taking_plainer_ways() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, [old, new]) in pairs(folder.path()) {
        fs::write(path("old"), &old).unwrap();
        fs::write(path("new"), &new).unwrap();
        let needs = Options::default().needs(old.len() as u64, new.len() as u64);
        let (code, report, _) = limited(folder.path(), None);
        assert_eq!(code, Some(0), "{name}: {report}");
        assert!(report.contains("\"skipped\": []"), "{name}: {report}");
        let free = fs::read(path("p")).unwrap();

        let (code, error, _) = limited(folder.path(), Some(needs.least - 1));
        assert_eq!(code, Some(5), "{name}: {error}");
        assert!(
            error.contains(&format!("{} needed", needs.least)),
            "{name}: {error}"
        );

        for step in 0..=STEPS {
            let limit = needs.least + (needs.all - needs.least) * step / STEPS;
            // On a busy machine it may have ended before anybody looked.
            let mut tries = (0..20).map(|_| limited(folder.path(), Some(limit)));
            let seen = tries.find(|(code, _, peak)| *code != Some(0) || *peak > 0);
            let (code, report, peak) = seen.expect("it was seen at work");
            assert_eq!(code, Some(0), "{name} within {limit}: {report}");
            let patch = fs::read(path("p")).unwrap();
            let mut rebuilt = Vec::new();
            elfdelta::apply(&old, &patch, &mut rebuilt).unwrap();
            assert!(rebuilt == new, "{name} within {limit}");
            println!("{name}: {limit} allowed, {peak} held, {} bytes", patch.len());
            assert!(peak > 0 && peak <= limit, "{name}: {peak} held, {limit} allowed");
            let all = report.contains("\"skipped\": []");
            assert!(!all || patch == free, "{name} within {limit}: {report}");
            assert!(
                step > 0 || report.contains("\"way\": \"whole\""),
                "{name}: {report}"
            );
            assert!(
                all || step < STEPS || name == "packed",
                "{name} within {limit}: {report}"
            );
        }
    }
}
