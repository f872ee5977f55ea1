//! Decoders in a child process: confined indeed, replaced when they die, gone when nobody needs them.

use crate::world::{World, noise, runs, update};
use elfup::apart::{Apart, Patching, Program, Sandbox, confine};
use elfup::{Error, Quiet, Watch};
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MEMORY: u64 = 64 << 20;

fn elfup(sandbox: Sandbox) -> Option<Program> {
    Some(Program {
        path: env!("CARGO_BIN_EXE_elfup").into(),
        arguments: vec!["decode-apart".into(), sandbox.name().into()],
    })
}

/// A program that is a shell script; its standard input is the socket.
fn script(dir: &Path, text: &str) -> Option<Program> {
    let path = dir.join("decoder");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Some(Program {
        path,
        arguments: Vec::new(),
    })
}

const HELLO: &str = r"printf 'h\001\000\000\000x' >&0";

/// A base in a file, a patch, and what comes out.
fn job(dir: &Path) -> (File, Vec<u8>, Vec<u8>) {
    let old = noise(1, 200_000);
    let mut new = old.clone();
    new[5000] ^= 1;
    new.splice(90_000..90_010, noise(2, 300));
    let patch = elfdelta::diff(&old, &new, &elfdelta::Options::default(), &elfdelta::Silent);
    fs::write(dir.join("base"), old).unwrap();
    (File::open(dir.join("base")).unwrap(), patch.unwrap().bytes, new)
}

/// What a process that is confined tries; each line says what, and whether it worked.
#[test]
#[ignore = "tries things in a process of its own, for the tests below"]
fn probe() {
    let sandbox: Sandbox = std::env::var("PROBE").unwrap().parse().unwrap();
    let dir = std::path::PathBuf::from(std::env::var("PROBE_DIR").unwrap());
    let (parent, mut kept) = (
        rustix::process::getppid().unwrap(),
        File::create(dir.join("kept")).unwrap(),
    );
    let confined = confine(sandbox, MEMORY).unwrap();
    let tell = |what: &str, worked: bool| println!("\n{what}={worked}");
    println!("\nconfined={confined}");
    tell("memory", Vec::<u8>::new().try_reserve_exact(1 << 30).is_ok());
    tell("write", kept.write(&[]).is_ok());
    if sandbox == Sandbox::Limits {
        return;
    }
    tell("read a file", File::open("/etc/passwd").is_ok());
    tell("read a folder", fs::read_dir("/").is_ok());
    tell(
        "reopen",
        File::options().write(true).open("/proc/self/fd/0").is_ok(),
    );
    tell("make a file", File::create(dir.join("new")).is_ok());
    tell("make a folder", fs::create_dir(dir.join("folder")).is_ok());
    tell(
        "make a link",
        std::os::unix::fs::symlink("x", dir.join("link")).is_ok(),
    );
    tell("remove", fs::remove_file(dir.join("kept")).is_ok());
    tell("listen", TcpListener::bind("127.0.0.1:0").is_ok());
    tell(
        "connect",
        std::net::TcpStream::connect(std::env::var("PROBE_SERVER").unwrap()).is_ok(),
    );
    tell("run", Command::new("/bin/true").status().is_ok());
    tell("signal", rustix::process::test_kill_process(parent).is_ok());
    if sandbox != Sandbox::Landlock {
        tell("datagram", UdpSocket::bind("127.0.0.1:0").is_ok());
        tell("socket pair", UnixStream::pair().is_ok());
        tell("thread", std::thread::Builder::new().spawn(|| ()).is_ok());
        tell("look", fs::metadata("/etc/passwd").is_ok());
    }
}

/// What the probe could do in a sandbox, and what it says of the kernel.
fn probed(sandbox: Sandbox) -> (String, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "apart::probe",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("PROBE", sandbox.name())
        .env("PROBE_DIR", dir.path())
        .env("PROBE_SERVER", server.local_addr().unwrap().to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = || text.lines().filter_map(|l| l.split_once('='));
    let confined = lines().find(|(what, _)| *what == "confined");
    let confined = confined.unwrap_or_else(|| panic!("{output:?}")).1.to_owned();
    assert!(lines().any(|l| l == ("write", "true")), "{output:?}");
    assert!(lines().count() > 2, "{output:?}");
    let worked = lines().filter(|(what, worked)| *worked == "true" && *what != "write");
    (confined, worked.map(|(what, _)| what.to_owned()).collect())
}

#[test]
fn a_confined_process_can_do_nothing_but_its_job() {
    let (control, could) = probed(Sandbox::None);
    assert!(
        could.len() > 12,
        "the probe tries what works elsewhere: {control} {could:?}"
    );
    for (sandbox, layer) in [
        (Sandbox::Limits, ""),
        (Sandbox::Landlock, "no Landlock"),
        (Sandbox::Seccomp, "no seccomp"),
        (Sandbox::Full, "no "),
    ] {
        let (confined, could) = probed(sandbox);
        if !layer.is_empty() && confined.contains(layer) {
            eprintln!("skipped {}: the kernel has {confined}", sandbox.name());
            continue;
        }
        assert_eq!(could, Vec::<String>::new(), "{}: {confined}", sandbox.name());
    }
}

fn patching<'a>(patch: &'a [u8], base: &'a File, new: &[u8]) -> Patching<'a> {
    Patching {
        patch,
        base,
        size: new.len() as u64,
        scratch: None,
    }
}

/// What is packed in a base goes into a file that the parent lends, and counts as memory without one.
#[test]
fn scratch_space_is_a_file_that_the_parent_lends() {
    let dir = tempfile::tempdir().unwrap();
    let text: Vec<u8> = (0..1_200_000u32)
        .flat_map(|n| format!("{:x} ", n.wrapping_mul(n) % 9973).into_bytes())
        .collect();
    let zip = |text: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    };
    let (old, new) = (zip(&text), text[..text.len() - 7].to_vec());
    let delta = elfdelta::diff(&old, &new, &elfdelta::Options::default(), &elfdelta::Silent).unwrap();
    let patch = elfdelta::Patch::parse(&delta.bytes).unwrap();
    let header = patch.header().clone();
    let packing = header.packing.unwrap();
    let scratch = packing.scratch;
    assert!(scratch >= text.len() as u64);
    let base = dir.path().join("base");
    fs::write(&base, &old).unwrap();
    let base = File::open(base).unwrap();
    let memory = header.memory + delta.bytes.len() as u64;
    for program in [elfup(Sandbox::Full), elfup(Sandbox::Limits), None] {
        let run = |memory: u64, most: Option<u64>| {
            let mut apart = Apart::new(program.clone(), memory);
            let file = tempfile::tempfile().unwrap();
            let lent = most.map(|most| (file.try_clone().unwrap(), most));
            let mut out = Vec::new();
            let patching = Patching {
                scratch: lent,
                ..patching(&delta.bytes, &base, &new)
            };
            let done = apart.patch(&Quiet, &patching, &mut out);
            (done.map(|()| assert!(out == new)), file.metadata().unwrap().len())
        };
        let (done, filled) = run(memory, Some(scratch));
        done.unwrap();
        assert_eq!(filled, packing.old_inside);
        let refused = |(done, filled)| {
            assert!(matches!(done, Err(Error::Decode(_))), "{done:?}");
            assert_eq!(filled, 0);
        };
        refused(run(memory, Some(scratch - 1)));
        refused(run(memory + scratch - 1, None));
        run(memory + scratch, None).0.unwrap();
    }
}

#[test]
fn jobs_give_the_same_in_a_child_and_here() {
    let dir = tempfile::tempdir().unwrap();
    let (base, patch, new) = job(dir.path());
    let plain = b"a line that comes again\n".repeat(20_000);
    let size = plain.len() as u64;
    let packed = zstd::encode_all(&plain[..], 3).unwrap();
    fs::write(dir.path().join("packed"), &packed).unwrap();
    for program in [elfup(Sandbox::Full), elfup(Sandbox::Limits), None] {
        let mut apart = Apart::new(program, MEMORY);
        println!("{}", apart.shown(&Quiet).unwrap());
        // One child for many jobs, from the beginning of the file each time.
        for _ in 0..3 {
            let mut out = Vec::new();
            apart
                .patch(&Quiet, &patching(&patch, &base, &new), &mut out)
                .unwrap();
            assert!(out == new);
            let file = File::open(dir.path().join("packed")).unwrap();
            out.clear();
            apart.unpack_file(&Quiet, &file, size, &mut out).unwrap();
            assert!(out == plain);
            out.clear();
            apart.unpack(&Quiet, &packed, &[], size, &mut out).unwrap();
            assert!(out == plain);
        }
        let mut bad = patch.clone();
        bad[patch.len() / 2] ^= 1;
        let refused = apart.patch(&Quiet, &patching(&bad, &base, &new), &mut Vec::new());
        assert!(matches!(refused, Err(Error::Decode(_))), "{refused:?}");
        let longer = apart.unpack(&Quiet, &packed, &[], size - 1, &mut Vec::new());
        assert!(matches!(longer, Err(Error::Decode(_))), "{longer:?}");
    }
}

#[test]
fn a_child_that_dies_is_told_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (base, patch, new) = job(dir.path());
    let dies = format!("{HELLO}; head -c 1 >/dev/null; kill -9 $$");
    let mut apart = Apart::new(script(dir.path(), &dies), MEMORY);
    for _ in 0..2 {
        let done = apart.patch(&Quiet, &patching(&patch, &base, &new), &mut Vec::new());
        let Err(Error::Decode(why)) = done else {
            panic!("{done:?}")
        };
        assert!(why.contains("signal 9"), "{why}");
        apart.renew();
    }
}

#[test]
fn an_update_survives_its_decoder() {
    let (world, mut site) = World::ready();
    // The first child dies of its first job, the second of nothing.
    let real = env!("CARGO_BIN_EXE_elfup");
    let text = format!(
        "if mkdir {0}/once 2>/dev/null; then {HELLO}; head -c 1 >/dev/null; kill -9 $$; fi\nexec {real} decode-apart full $1",
        world.path("").display()
    );
    site.decoder = script(&world.path(""), &text);
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!(updated.fetched.failed_options, 1, "{updated:?}");
    assert!(
        updated.fetched.deltas + updated.fetched.bundled > 2,
        "{updated:?}"
    );
}

#[test]
fn a_program_that_cannot_be_started_is_no_reason_to_stay_behind() {
    let (_world, mut site) = World::ready();
    site.decoder = Some(Program {
        path: "/nowhere/elfup".into(),
        arguments: Vec::new(),
    });
    assert_eq!(update(&site).unwrap().fetched.failed_options, 0);
    assert_eq!(runs(&site), "r2");
}

/// Asks for an end as soon as a file is there.
struct Until<'a>(&'a Path, AtomicBool);
impl Watch for Until<'_> {
    fn cancelled(&self) -> bool {
        let there = self.0.exists();
        self.1.fetch_or(there, Ordering::Relaxed);
        there
    }
}

#[test]
fn a_stop_ends_the_child_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (base, patch, new) = job(dir.path());
    let pid = dir.path().join("pid");
    // Hangs with the job half read.
    let hangs = format!(
        "{HELLO}; head -c 1 >/dev/null; echo $$ >{0}.tmp; mv {0}.tmp {0}; exec sleep 1000",
        pid.display()
    );
    let mut apart = Apart::new(script(dir.path(), &hangs), MEMORY);
    let watch = Until(&pid, AtomicBool::new(false));
    let done = apart.patch(&watch, &patching(&patch, &base, &new), &mut Vec::new());
    assert!(matches!(done, Err(Error::Cancelled)), "{done:?}");
    drop(apart);
    let pid = fs::read_to_string(pid).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn a_child_ends_with_its_parent() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_elfup"))
        .args(["decode-apart", "full", "1000000"])
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    let mut hello = [0];
    std::io::Read::read_exact(&mut &ours, &mut hello).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(child.try_wait().unwrap().is_none());
    drop(ours);
    assert!(child.wait().unwrap().success());
}

#[test]
fn every_sandbox_updates_and_says_what_it_is() {
    for (sandbox, said) in [
        ("full", "in a child process (Landlock"),
        (
            "limits",
            "in a child process (no Landlock, no seccomp, resource limits)",
        ),
        ("none", "in elfup's own process"),
    ] {
        let (world, site) = World::ready();
        drop(site);
        let elfup = |command: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_elfup"))
                .args(["site", "--sandbox", sandbox, "--site"])
                .arg(world.path("site"))
                .arg(command)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        elfup("update");
        let status = elfup("status");
        assert!(status.contains("* r2"), "{status}");
        if sandbox == "full" && status.contains("no Landlock") {
            eprintln!("skipped in part: this kernel has no Landlock");
        } else {
            assert!(status.contains(said), "{status}");
        }
    }
}
