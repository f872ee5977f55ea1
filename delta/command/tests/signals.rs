//! Signals while the command is at work: it ends within a second, and leaves nothing behind.

use std::{
    fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BEFORE: &[u8] = b"what was there before";

/// Words in no order: both directions take long over them.
fn words(mut state: u64, len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let word = state >> 40;
        text.extend_from_slice(format!("{:x} ", word % 50_000 * (word % 7 + 1)).as_bytes());
    }
    text
}

/// Made once: it takes long.
static PATCH: OnceLock<Vec<u8>> = OnceLock::new();

/// A folder with `old`, `new`, a patch `p` between them and a file `out`.
struct Bench(TempDir);

impl Bench {
    fn new() -> Bench {
        let bench = Bench(TempDir::new().unwrap());
        let old = words(1, 1 << 20);
        let new = [&old[..1 << 18], &words(2, 3 << 19)].concat();
        fs::write(bench.path("old"), old).unwrap();
        fs::write(bench.path("new"), new).unwrap();
        let patch = PATCH.get_or_init(|| {
            let made = bench.command(&["diff", "old", "new", "-o", "p"]).status();
            assert!(made.unwrap().success());
            fs::read(bench.path("p")).unwrap()
        });
        fs::write(bench.path("p"), patch).unwrap();
        fs::write(bench.path("out"), BEFORE).unwrap();
        bench
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn command(&self, args: &[&str]) -> Command {
        // Whoever runs the tests may have signals ignored, as `nohup` does.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_elfdelta")]);
        command.args(args).current_dir(self.0.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn tell(child: &Child, signal: &str) {
    let told = Command::new("kill")
        .args([&format!("-{signal}"), &child.id().to_string()])
        .status();
    assert!(told.unwrap().success());
}

/// Sends a signal and tells how long the command then took to end; none: it was done before.
fn ends(mut child: Child, signal: &str) -> Option<Duration> {
    if child.try_wait().unwrap().is_some() {
        return None;
    }
    tell(&child, signal);
    let told = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            // Before it listens, the signal itself ends it.
            assert!(status.code() == Some(1) || status.signal().is_some(), "{status}");
            return Some(told.elapsed());
        }
        if told.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            child.wait().unwrap();
            return Some(told.elapsed());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn whatever_it_does_a_signal_ends_it_within_a_second() {
    let bench = Bench::new();
    let before = names(bench.0.path());
    let mut struck = 0;
    for signal in ["TERM", "HUP", "INT"] {
        for args in [
            &["diff", "old", "new", "-fo", "out"][..],
            &["apply", "old", "p", "-fo", "out"],
            &["inspect", "p", "old"],
        ] {
            for delay in [5, 60, 250, 700] {
                // A busy machine gets three tries.
                let mut took = Vec::new();
                while took.len() < 3 && took.last().is_none_or(|t| *t > Duration::from_secs(1)) {
                    let child = bench.command(args).spawn().unwrap();
                    thread::sleep(Duration::from_millis(delay));
                    let Some(time) = ends(child, signal) else { break };
                    struck += 1;
                    took.push(time);
                }
                let last = took.last().copied().unwrap_or_default();
                let at = format!("{signal} {args:?} after {delay} ms");
                assert!(last < Duration::from_secs(1), "{at}: ends after {took:?}");
                if !took.is_empty() {
                    assert_eq!(fs::read(bench.path("out")).unwrap(), BEFORE, "{at}");
                }
                fs::write(bench.path("out"), BEFORE).unwrap();
                assert_eq!(names(bench.0.path()), before, "{at}");
            }
        }
    }
    assert!(struck > 18, "{struck} were still at work");
}

/// Nobody reads what it writes, so that it waits in the middle of it.
#[test]
fn a_signal_ends_it_while_nobody_takes_its_output() {
    let bench = Bench::new();
    for signal in ["TERM", "HUP", "INT"] {
        let mut command = bench.command(&["apply", "old", "p", "-o", "-"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut pipe, &mut [0]).unwrap();
        thread::sleep(Duration::from_millis(300));
        let took = ends(child, signal).unwrap();
        assert!(took < Duration::from_secs(5), "{signal}: {took:?}");
    }
}

/// `nohup` and shells begin a run with signals that are not for it.
#[test]
fn a_signal_that_was_ignored_stays_so() {
    let bench = Bench::new();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP INT; exec \"$0\" apply -f old p -o out"]);
    command
        .arg(env!("CARGO_BIN_EXE_elfdelta"))
        .current_dir(bench.0.path());
    let mut child = command.process_group(0).spawn().unwrap();
    thread::sleep(Duration::from_millis(200));
    for signal in ["HUP", "INT"] {
        if child.try_wait().unwrap().is_none() {
            tell(&child, signal);
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(
        fs::read(bench.path("out")).unwrap(),
        fs::read(bench.path("new")).unwrap()
    );
}
