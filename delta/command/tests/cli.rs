//! The command as a user meets it: exit codes, and what a failed run leaves behind.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const OLD: &[u8] = b"the quick brown fox jumps over the lazy dog. ";
const BEFORE: &[u8] = b"what was there before";

/// A folder with `old`, `new` and a good patch `p` between them.
struct Bench(TempDir);

impl Bench {
    fn new() -> Bench {
        let bench = Bench(TempDir::new().unwrap());
        let old = OLD.repeat(2000);
        let mut new = old.clone();
        new[777] = b'!';
        new.extend_from_slice(b"and one more line");
        fs::write(bench.path("old"), &old).unwrap();
        fs::write(bench.path("new"), &new).unwrap();
        let diff = bench.run(&["diff", "old", "new", "-o", "p"]);
        assert_eq!(code(&diff), 0, "{}", String::from_utf8_lossy(&diff.stderr));
        bench
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_elfdelta"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }
    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
    fn names(&self) -> Vec<String> {
        names(self.0.path())
    }
    /// Applies to an existing `out` and expects a failure that leaves no trace.
    fn fails(&self, args: &[&str], expected: i32) {
        fs::write(self.path("out"), BEFORE).unwrap();
        let before = self.names();
        let output = self.run(&match args[0] {
            "inspect" => args.to_vec(),
            _ => [args, &["-f"]].concat(),
        });
        assert_eq!(
            code(&output),
            expected,
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.stderr.starts_with(b"elfdelta: "), "a sentence says why");
        assert_eq!(self.read("out"), BEFORE, "{args:?}");
        assert_eq!(self.names(), before, "{args:?} left something");
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

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

#[test]
fn round_trip_to_a_file_and_to_standard_output() {
    let bench = Bench::new();
    fs::set_permissions(bench.path("old"), fs::Permissions::from_mode(0o751)).unwrap();
    assert_eq!(code(&bench.run(&["apply", "old", "p", "-o", "out"])), 0);
    assert_eq!(bench.read("out"), bench.read("new"));
    let mode = fs::metadata(bench.path("out")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o751, "a new file takes the old one's mode");
    let streamed = bench.run(&["apply", "old", "p", "-o", "-"]);
    assert_eq!((code(&streamed), streamed.stdout), (0, bench.read("new")));
    assert_eq!(bench.names(), ["new", "old", "out", "p"]);
}

#[test]
fn the_old_file_may_be_replaced_in_place() {
    let bench = Bench::new();
    assert_eq!(code(&bench.run(&["apply", "old", "p", "-o", "old", "-f"])), 0);
    assert_eq!(bench.read("old"), bench.read("new"));
}

/// What is there is kept without -f, before any work, and by name; an empty file is nobody's loss.
#[test]
fn nothing_is_written_over_unasked() {
    let bench = Bench::new();
    fs::write(bench.path("out"), BEFORE).unwrap();
    let before = bench.names();
    for args in [
        &["diff", "old", "new", "-o", "out"][..],
        &["apply", "old", "p", "-o", "out"],
        &["apply", "old", "p", "-o", "old"],
        &["apply", "old", "p", "-o", "p", "--quiet"],
    ] {
        let output = bench.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), 1, "{args:?}");
        assert!(
            said.contains("is there already; -f") && said.lines().count() == 1,
            "{said}"
        );
        assert_eq!(bench.read("out"), BEFORE);
        assert_eq!(bench.names(), before);
    }
    for args in [
        &["diff", "old", "new", "-fo", "out"][..],
        &["apply", "old", "p", "-kf", "-oout"],
    ] {
        assert_eq!(code(&bench.run(args)), 0, "{args:?}");
    }
    assert_eq!(bench.read("out"), bench.read("new"));
    fs::write(bench.path("out"), b"").unwrap();
    assert_eq!(code(&bench.run(&["apply", "old", "p", "-o", "out"])), 0);
    assert_eq!(bench.read("out"), bench.read("new"));
}

/// A file that came while the command worked is as much somebody's as one that was there before.
#[test]
fn what_comes_meanwhile_is_kept() {
    let bench = Bench::new();
    let fifo = Command::new("mkfifo").arg(bench.path("slow")).status();
    if !fifo.is_ok_and(|made| made.success()) {
        return eprintln!("skipped: there is no mkfifo");
    }
    let child = bench
        .command(&["apply", "old", "slow", "-o", "out"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Opened by both, so the command has passed its first look.
    let mut slow = fs::OpenOptions::new()
        .write(true)
        .open(bench.path("slow"))
        .unwrap();
    fs::write(bench.path("out"), BEFORE).unwrap();
    slow.write_all(&bench.read("p")).unwrap();
    drop(slow);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(code(&ended), 1, "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(bench.read("out"), BEFORE);
    assert_eq!(bench.names(), ["new", "old", "out", "p", "slow"]);
}

#[test]
fn everything_but_old_of_apply_may_come_through_a_pipe() {
    let bench = Bench::new();
    let piped = |args: &[&str], file: &str| {
        let input = fs::File::open(bench.path(file)).unwrap();
        bench.command(args).stdin(input).output().unwrap()
    };
    let patch = bench.read("p");
    for (args, file) in [
        (["diff", "-", "new", "-o", "-"], "old"),
        (["diff", "old", "-", "-o", "-"], "new"),
    ] {
        let output = piped(&args, file);
        assert_eq!((code(&output), output.stdout), (0, patch.clone()), "{args:?}");
    }
    let applied = piped(&["apply", "old", "-", "-o", "-"], "p");
    assert_eq!((code(&applied), applied.stdout), (0, bench.read("new")));
    assert_eq!(code(&piped(&["inspect", "-", "--json"], "p")), 0);
    assert_eq!(code(&piped(&["apply", "-", "p", "-o", "out"], "old")), 2);
    assert_eq!(code(&piped(&["diff", "-", "-", "-o", "out"], "old")), 2);
    // What never ends is not read to its end before it is told to be none.
    let endless = bench
        .command(&["apply", "old", "-", "-o", "out"])
        .stdin(fs::File::open("/dev/zero").unwrap())
        .output()
        .unwrap();
    assert_eq!(code(&endless), 4);
}

#[test]
fn as_much_is_said_as_was_asked_for() {
    let bench = Bench::new();
    let diff = |more: &[&str]| bench.run(&[&["diff", "old", "new", "-fo", "q"], more].concat());
    let plain = diff(&[]);
    assert!(String::from_utf8_lossy(&plain.stdout).contains("bytes, patch"));
    assert!(plain.stderr.is_empty(), "no bar but on a terminal");
    let quiet = diff(&["-q"]);
    assert!(quiet.stdout.is_empty() && quiet.stderr.is_empty());
    let lines = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    let told = lines(&diff(&["-v"]));
    assert!(told.contains("INFO match milliseconds="), "{told}");
    assert!(!told.contains("DEBUG") && !told.contains('\u{1b}'), "{told}");
    assert!(lines(&diff(&["-vv"])).contains("DEBUG match begins bytes="));
    let asked = |value| {
        let mut command = bench.command(&["diff", "old", "new", "-fo", "q"]);
        lines(&command.env("ELFDELTA_LOG", value).output().unwrap())
    };
    assert!(asked("info").contains("INFO match"));
    assert!(asked("loud").contains("ELFDELTA_LOG=loud is not understood"));
    assert_eq!(code(&diff(&["-q", "-v"])), 2);
    assert_eq!(
        code(&bench.run(&["-q", "-T1", "diff", "old", "new", "-fo", "q"])),
        2
    );
    assert_eq!(
        code(&bench.run(&["-q", "diff", "-T1", "old", "new", "-fo", "q"])),
        0
    );
}

#[test]
fn json_reports_are_json() {
    let bench = Bench::new();
    for args in [
        &["diff", "old", "new", "-fo", "q", "--json", "--profile", "fast"][..],
        &["apply", "old", "p", "-o", "out", "--json"],
        &["diff", "old", "new", "-fo", "q", "--json", "--symbols", "old,new"],
        &["inspect", "p", "--json"],
        &["inspect", "p", "old", "--json"],
    ] {
        let output = bench.run(args);
        assert_eq!(code(&output), 0);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let len = bench.read("new").len() as u64;
        assert_eq!(value["new_bytes"], len, "{args:?}");
    }
}

#[test]
fn usage_is_2() {
    let bench = Bench::new();
    for args in [
        &["apply", "old"][..],
        &["diff", "old", "new", "-fo", "q", "--profile", "best"],
        &["diff", "old", "new", "-fo", "q", "--symbols", "old"],
        &["apply", "old", "p", "-o", "-", "--json"],
        &["apply", "old", "p", "-o", "out", "--max-memory", "much"],
    ] {
        assert_eq!(code(&bench.run(args)), 2, "{args:?}");
    }
    assert_eq!(code(&bench.run(&["--help"])), 0);
}

#[test]
fn a_missing_or_odd_file_is_1() {
    let bench = Bench::new();
    bench.fails(&["apply", "nothing", "p", "-o", "out"], 1);
    bench.fails(&["apply", "old", "nothing", "-o", "out"], 1);
    bench.fails(&["diff", "old", "nothing", "-o", "out"], 1);
    bench.fails(&["apply", "old", "p", "-o", "no/such/folder"], 1);
    bench.fails(&["apply", "old", "p", "-o", "/dev/null"], 1);
    bench.fails(&["apply", ".", "p", "-o", "out"], 3);
}

#[test]
fn a_wrong_old_file_is_3() {
    let bench = Bench::new();
    bench.fails(&["apply", "new", "p", "-o", "out"], 3);
    let mut same_length = bench.read("old");
    same_length[5] ^= 1;
    fs::write(bench.path("altered"), same_length).unwrap();
    bench.fails(&["apply", "altered", "p", "-o", "out"], 3);
    fs::write(bench.path("empty"), b"").unwrap();
    bench.fails(&["apply", "empty", "p", "-o", "out"], 3);
}

#[test]
fn a_damaged_patch_is_4() {
    let bench = Bench::new();
    let patch = bench.read("p");
    for cut in [0, 1, 4, 5, 40, 80, patch.len() - 1] {
        fs::write(bench.path("cut"), &patch[..cut]).unwrap();
        bench.fails(&["apply", "old", "cut", "-o", "out"], 4);
        bench.fails(&["inspect", "cut"], 4);
    }
    fs::write(bench.path("cut"), [&patch[..], b"x"].concat()).unwrap();
    bench.fails(&["apply", "old", "cut", "-o", "out"], 4);
    fs::write(bench.path("cut"), b"\x7fELF and so on").unwrap();
    bench.fails(&["apply", "old", "cut", "-o", "out"], 4);
}

/// Swapped arguments are told as such.
#[test]
fn what_is_no_patch_is_told_by_argument() {
    let bench = Bench::new();
    let says = |args: &[&str], what: &str| {
        let output = bench.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(code(&output), 4, "{said}");
        assert!(said.contains(what) && said.lines().count() == 1, "{said}");
    };
    says(&["apply", "p", "old", "-o", "out"], "OLD is a patch");
    says(&["apply", "old", "new", "-o", "out"], "PATCH is no patch");
    says(&["apply", "no", "new", "-o", "out"], "PATCH is no patch");
}

/// Every part of the command has its page, and shells learn of each.
#[test]
fn shells_and_manuals_know_the_command() {
    let bench = Bench::new();
    assert_eq!(code(&bench.run(&["man", "deep/pages"])), 0);
    for page in [
        "elfdelta.1",
        "elfdelta-diff.1",
        "elfdelta-apply.1",
        "elfdelta-inspect.1",
    ] {
        let page = fs::read_to_string(bench.path("deep/pages").join(page)).unwrap();
        assert!(page.contains("Exit codes"), "{page}");
    }
    fs::write(bench.path("taken"), b"").unwrap();
    assert_eq!(code(&bench.run(&["man", "taken"])), 1);
    for shell in ["bash", "zsh", "fish"] {
        let output = bench.run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("max-scratch"), "{script}");
    }
    assert_eq!(code(&bench.run(&["completions", "other"])), 2);
}

/// On a terminal of 30 columns, as `script` gives one.
#[test]
fn progress_keeps_to_one_line_and_tells_no_bytes_of_nothing() {
    let bench = Bench::new();
    let big: Vec<u8> = (0..2_000_000u32)
        .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
        .collect();
    fs::write(bench.path("old"), &big).unwrap();
    fs::write(
        bench.path("new"),
        [&big[..3_000_000], b"!", &big[3_000_000..]].concat(),
    )
    .unwrap();
    let mut script = Command::new("script");
    let elfdelta = env!("CARGO_BIN_EXE_elfdelta");
    script.args([
        "-qec",
        &format!("stty rows 24 cols 30; {elfdelta} diff -f old new -o q --profile fast"),
    ]);
    script
        .arg("/dev/null")
        .current_dir(bench.0.path())
        .stdin(Stdio::null());
    let Ok(output) = script.output() else {
        return eprintln!("skipped: script is not installed");
    };
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(code(&output), 0, "{shown}");
    let mut bars = 0;
    for part in shown
        .split(['\r', '\n', '\u{1b}'])
        .filter(|part| !part.contains(" bytes, patch "))
    {
        assert!(!part.contains("0 B/0 B"), "{shown:?}");
        bars += usize::from(part.contains("iB/"));
        assert!(part.chars().count() <= 34, "{part:?}");
    }
    assert!(bars > 0, "{shown:?}");
}

#[test]
fn over_a_limit_is_5() {
    let bench = Bench::new();
    bench.fails(&["apply", "old", "p", "-o", "out", "--max-memory", "1"], 5);
    bench.fails(&["apply", "old", "p", "-o", "out", "--max-output", "10k"], 5);
}

#[test]
fn a_full_standard_output_is_1() {
    let bench = Bench::new();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in [
        &["apply", "old", "p", "-o", "-"][..],
        &["diff", "old", "new", "-o", "-"],
        &["diff", "old", "new", "-fo", "q"],
        &["diff", "old", "new", "-fo", "q", "--json"],
        &["apply", "old", "p", "-o", "out", "--json"],
        &["inspect", "p"],
        &["inspect", "p", "--json"],
    ] {
        let output = bench.command(args).stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), 1, "{args:?}: {said}");
        assert!(
            said.starts_with("elfdelta: ") && said.lines().count() == 1,
            "{said}"
        );
    }
    // Nor is it a reason for another code that nobody hears why.
    let mut deaf = bench.command(&["apply", "new", "p", "-o", "out", "-f"]);
    assert_eq!(code(&deaf.stderr(full()).output().unwrap()), 3);
}

/// A small file system of its own that goes away with the test.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount() -> Option<Tmpfs> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(folder.path());
        let mounted = mount
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Tmpfs(folder))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_1_and_leaves_what_was_there() {
    let Some(disk) = Tmpfs::mount() else {
        eprintln!("skipped: a tmpfs can be mounted by root only");
        return;
    };
    let bench = Bench::new();
    let out = disk.0.path().join("out");
    fs::write(&out, BEFORE).unwrap();
    let output = bench.run(&["apply", "old", "p", "-o", out.to_str().unwrap()]);
    assert_eq!(code(&output), 1, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(&out).unwrap(), BEFORE);
    assert_eq!(names(disk.0.path()), ["out"]);
}

#[test]
fn no_permission_is_1() {
    let bench = Bench::new();
    let locked = bench.path("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(locked.join("probe"), b"").is_ok() {
        eprintln!("skipped in part: this user may write anywhere; /proc stands in");
        bench.fails(&["apply", "old", "p", "-o", "/proc/out"], 1);
        return;
    }
    bench.fails(&["apply", "old", "p", "-o", "locked/out"], 1);
    assert!(names(&locked).is_empty());
}

/// Bytes that no model can shrink, so that work on them takes a while.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn an_interrupted_diff_leaves_nothing() {
    let bench = Bench::new();
    fs::write(bench.path("noise"), noise(2 << 20)).unwrap();
    fs::write(bench.path("out"), BEFORE).unwrap();
    let before = bench.names();
    let mut child = bench
        .command(&["diff", "old", "noise", "-o", "out", "-f"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let kill = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    let sent = kill.is_ok_and(|status| status.success());
    let status = child.wait().unwrap();
    if !sent || status.success() {
        eprintln!("skipped: there is no kill command, or the diff was done before the signal came");
        return;
    }
    assert_eq!(bench.read("out"), BEFORE);
    assert_eq!(bench.names(), before);
}

#[test]
fn an_old_file_that_shrinks_is_1() {
    let bench = Bench::new();
    // So much that the pipe holds it up long before the end of the old file is needed.
    let old = noise(4 << 20);
    let new = [&old[..], b"more"].concat();
    fs::write(bench.path("long"), &old).unwrap();
    fs::write(bench.path("longer"), &new).unwrap();
    assert_eq!(code(&bench.run(&["diff", "long", "longer", "-fo", "q"])), 0);
    let mut child = bench
        .command(&["apply", "long", "q", "-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut start = [0; 100];
    out.read_exact(&mut start).unwrap();
    assert_eq!(start, old[..100]);
    fs::File::options()
        .write(true)
        .open(bench.path("long"))
        .unwrap()
        .set_len(4096)
        .unwrap();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(code(&ended), 1, "an error, not a signal");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("the old file became shorter"), "{said}");
    assert!(rest.len() < new.len() - 100, "nothing came from what was gone");
}

#[test]
fn a_killed_apply_leaves_at_most_one_temporary() {
    let bench = Bench::new();
    let new = noise(2 << 20);
    fs::write(bench.path("noise"), &new).unwrap();
    assert_eq!(
        code(&bench.run(&["diff", "old", "noise", "-fo", "q", "--profile", "fast"])),
        0
    );
    for delay in [0, 1, 2, 4, 8, 16, 32] {
        fs::write(bench.path("out"), BEFORE).unwrap();
        let before = bench.names();
        let mut child = bench
            .command(&["apply", "old", "q", "-o", "out", "-f"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let _ = child.kill();
        child.wait().unwrap();
        let out = bench.read("out");
        assert!(out == BEFORE || out == new, "neither the old content nor the new");
        let left: Vec<_> = bench
            .names()
            .into_iter()
            .filter(|name| !before.contains(name))
            .collect();
        assert!(left.len() <= 1, "{left:?}");
        for name in left {
            assert!(
                name.starts_with(".out.") && name.ends_with(".elfdelta-tmp"),
                "{name}"
            );
            fs::remove_file(bench.path(&name)).unwrap();
        }
    }
}
