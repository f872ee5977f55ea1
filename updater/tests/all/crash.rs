//! Kills and failures at every system call that changes the disk: afterwards the old or the new release, whole.
//!
//! A sample runs by default; `ELFUP_CRASH=all cargo test -p elfup --test all crash` runs every point. The tests with a
//! real loss of unsynced data (`lost_data_*`) need root, loop mounts and `xfs_io`; they are skipped without.

use crate::world::{World, noise, runs, update, write};
use elfup::Quiet;
use elfup::site::Site;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ELFUP: &str = env!("CARGO_BIN_EXE_elfup");
/// System calls that change the disk. `openat` is swept too in a whole run: writes open that way.
const CHANGING: [&str; 9] = [
    "fsync",
    "syncfs",
    "rename,renameat,renameat2",
    "link,linkat",
    "unlink,unlinkat",
    "symlink,symlinkat",
    "mkdir,mkdirat",
    "ftruncate",
    "write",
];

fn whole() -> bool {
    std::env::var("ELFUP_CRASH").is_ok_and(|v| v == "all")
}

fn strace_works() -> bool {
    let mut probe = Command::new("strace");
    let works = probe
        .args(["-o", "/dev/null", "-e", "inject=fsync:signal=KILL:when=9", "true"])
        .stderr(Stdio::null());
    let works = works.status().is_ok_and(|s| s.success());
    if !works {
        eprintln!("skipped: strace is not installed or may not trace here");
    }
    works
}

/// Two releases of few files, so that a whole sweep takes minutes.
fn small() -> World {
    let world = World::new();
    for tree in ["one", "two"] {
        fs::remove_dir_all(world.path(tree)).unwrap();
        write(world.path(tree).join("bin/a"), noise(1, 60_000));
        write(world.path(tree).join("share/b"), "same in both\n");
        write(world.path(tree).join("etc/c.conf"), "c\n");
        std::os::unix::fs::symlink("bin/a", world.path(tree).join("a")).unwrap();
    }
    let mut changed = noise(1, 60_000);
    changed[30_000] ^= 1;
    write(world.path("two/bin/a"), changed);
    write(world.path("two/share/d"), "new\n");
    world
}

/// Runs the command with one fault. `None`: it ended by itself before the fault, so the sweep is over.
fn with_fault(arguments: &[&str], calls: &str, fault: &str, n: usize, dropped: &str) -> Option<bool> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new("strace")
        .args(["-f", "-o"])
        .arg(log.path())
        .args([
            "-e",
            &format!("trace={calls}"),
            "-e",
            &format!("inject={calls}:{fault}:when={n}"),
        ])
        .arg(ELFUP)
        .args(arguments)
        .env("RAYON_NUM_THREADS", "1")
        .env("ELFUP_DROP_SYNC", dropped)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = fs::read_to_string(log.path()).unwrap_or_default();
    let struck = text.contains("INJECTED") || text.contains("killed by SIGKILL");
    struck.then_some(output.status.success())
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(
        Command::new("cp")
            .arg("-a")
            .arg(from)
            .arg(to)
            .status()
            .unwrap()
            .success()
    );
}

/// Sweeps one command: `reset` before every point, `check` after it.
fn sweep(arguments: &[&str], reset: &dyn Fn(), check: &dyn Fn(&str)) {
    let mut points = 0;
    let mut calls = CHANGING.to_vec();
    // A publish opens thousands of files to read; its writes are swept by the other calls.
    if whole() && arguments[0] == "site" {
        calls.push("openat");
    }
    for call in calls {
        for fault in ["signal=KILL", "error=ENOSPC", "error=EIO"] {
            let mut n = 1;
            loop {
                reset();
                if with_fault(arguments, call, fault, n, "").is_none() {
                    break;
                }
                check(&format!("{arguments:?}: {fault} at {call} {n}"));
                points += 1;
                // The sample: first, second, fifth ... of every kind, errors at the first only.
                n = match (whole(), fault) {
                    (true, _) => n + 1,
                    (false, "signal=KILL") => n * 3 + 1,
                    (false, _) => n * 12,
                };
            }
        }
    }
    eprintln!("{points} points");
    assert!(points >= 5, "{points}");
}

/// After a fault: exactly the old or the new tree, and the same command completes.
fn old_or_new(dir: &Path, at: &str) -> Site {
    let site = Site::open(dir).unwrap_or_else(|e| panic!("{at}: {e}"));
    let release = runs(&site);
    assert!(release == "r1" || release == "r2", "{at}: {release}");
    site
}

#[test]
fn update_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = small();
    world.publish("r1", "one").unwrap();
    update(&world.site("base", |_| {})).unwrap();
    world.publish("r2", "two").unwrap();
    let (base, dir) = (world.path("base"), world.path("site"));
    let check = |at: &str| {
        let site = old_or_new(&dir, at);
        update(&site).unwrap_or_else(|e| panic!("{at}: again: {e}"));
        assert_eq!(runs(&site), "r2", "{at}");
        site.rollback(&Quiet)
            .unwrap_or_else(|e| panic!("{at}: back: {e}"));
        assert_eq!(runs(&site), "r1", "{at}");
    };
    sweep(
        &["site", "--site", dir.to_str().unwrap(), "update"],
        &|| copy(&base, &dir),
        &check,
    );
}

#[test]
fn rollback_and_gc_survive_every_point() {
    if !strace_works() {
        return;
    }
    let world = small();
    world.publish("r1", "one").unwrap();
    let site = world.site("base", |_| {});
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    update(&site).unwrap();
    drop(site);
    let (base, dir) = (world.path("base"), world.path("site"));
    let site = dir.to_str().unwrap();
    sweep(
        &["site", "--site", site, "rollback"],
        &|| copy(&base, &dir),
        &|at| {
            let site = old_or_new(&dir, at);
            if runs(&site) == "r2" {
                site.rollback(&Quiet)
                    .unwrap_or_else(|e| panic!("{at}: again: {e}"));
            }
            assert_eq!(runs(&site), "r1", "{at}");
        },
    );
    let mut config = elfup::site::Config::load(&base.join("site.json")).unwrap();
    config.keep = 0;
    config.save(&base.join("site.json")).unwrap();
    sweep(&["site", "--site", site, "gc"], &|| copy(&base, &dir), &|at| {
        let site = old_or_new(&dir, at);
        site.gc(true, &Quiet)
            .unwrap_or_else(|e| panic!("{at}: again: {e}"));
        assert_eq!(runs(&site), "r2", "{at}");
        assert_eq!(site.deployments().unwrap().len(), 1, "{at}");
    });
}

#[test]
fn publish_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = small();
    world.publish("r1", "one").unwrap();
    let (base, repo) = (world.path("base-repo"), world.repo());
    copy(&repo, &base);
    let text = |p: PathBuf| p.to_str().unwrap().to_owned();
    let (keys, tree, r) = (
        text(world.path("keys")),
        text(world.path("two")),
        text(repo.clone()),
    );
    let arguments = [
        "publish",
        "--repo",
        &r,
        "--keys",
        &keys,
        "--product",
        "demo",
        "--arch",
        "x86_64",
        "--config",
        "etc/**",
        "--release",
        "r2",
        "--threads",
        "1",
        &tree,
    ];
    let number = std::cell::Cell::new(0);
    let check = |at: &str| {
        let fresh = |name: &str| {
            number.set(number.get() + 1);
            let site = world.site(&format!("{name}{}", number.get()), |_| {});
            update(&site).unwrap_or_else(|e| panic!("{at}: {e}"));
            let release = runs(&site);
            fs::remove_dir_all(site.root()).unwrap();
            release
        };
        let seen = fresh("reader");
        assert!(seen == "r1" || seen == "r2", "{at}: {seen}");
        world
            .publish("r2", "two")
            .unwrap_or_else(|e| panic!("{at}: again: {e}"));
        assert_eq!(fresh("after"), "r2", "{at}");
    };
    sweep(&arguments, &|| copy(&base, &repo), &check);
}

/// A filesystem of its own that can lose everything that was not synced.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    fn make(world: &World, kind: &str) -> Option<Disk> {
        let disk = Disk {
            image: world.path(&format!("{kind}.img")),
            mount: world.path(&format!("{kind}.mnt")),
        };
        let file = fs::File::create(&disk.image).unwrap();
        file.set_len(400 << 20).unwrap();
        fs::create_dir(&disk.mount).unwrap();
        let mut format = Command::new(format!("mkfs.{kind}"));
        format
            .arg(if kind == "ext4" { "-F" } else { "-f" })
            .arg("-q")
            .arg(&disk.image);
        let made = format.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let tools = Command::new("xfs_io").arg("-V").stdout(Stdio::null()).status();
        let able = made.is_ok_and(|s| s.success()) && tools.is_ok_and(|s| s.success()) && disk.mount();
        if !able {
            eprintln!("skipped: {kind} on a loop mount with xfs_io needs root and both tools");
            return None;
        }
        Some(disk)
    }
    fn mount(&self) -> bool {
        // Without these ext4 quietly repairs what a missing sync breaks.
        let options = if self.image.to_string_lossy().contains("ext4") {
            "loop,noauto_da_alloc"
        } else {
            "loop"
        };
        let mut mount = Command::new("mount");
        mount.args(["-o", options]).arg(&self.image).arg(&self.mount);
        mount.stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    }
    /// Loses what was not synced, as a power cut does.
    fn lose(&self) {
        let mut cut = Command::new("xfs_io");
        assert!(
            cut.args(["-x", "-c", "shutdown"])
                .arg(&self.mount)
                .status()
                .unwrap()
                .success()
        );
        assert!(
            Command::new("umount")
                .arg(&self.mount)
                .status()
                .unwrap()
                .success()
        );
        assert!(self.mount());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg(&self.mount)
            .stderr(Stdio::null())
            .status();
    }
}

/// Sweeps an update on a disk that loses its unsynced data; returns what went wrong.
fn lose_everywhere(kind: &str, dropped: &str) -> Option<Vec<String>> {
    if !strace_works() {
        return None;
    }
    let world = small();
    let disk = Disk::make(&world, kind)?;
    world.publish("r1", "one").unwrap();
    update(&world.site("base", |_| {})).unwrap();
    world.publish("r2", "two").unwrap();
    let (base, dir) = (world.path("base"), disk.mount.join("site"));
    let mut wrong = Vec::new();
    let arguments = ["site", "--site", dir.to_str().unwrap(), "update"];
    let reset = || {
        copy(&base, &dir);
        assert!(
            Command::new("sync")
                .arg("-f")
                .arg(&dir)
                .status()
                .unwrap()
                .success()
        );
    };
    let judge = |at: String, must_be_new: bool| -> Result<(), String> {
        disk.lose();
        let site = Site::open(&dir).map_err(|e| format!("{at}: {e}"))?;
        let differences = site.verify(&Quiet).map_err(|e| format!("{at}: {e}"))?;
        let release = site
            .deployments()
            .map_err(|e| format!("{at}: {e}"))?
            .into_iter()
            .find(|d| d.current);
        let release = release.map_or(String::new(), |d| d.release);
        if !differences.is_empty() || !(release == "r2" || release == "r1" && !must_be_new) {
            return Err(format!("{at}: {release} runs with {differences:?}"));
        }
        update(&site).map_err(|e| format!("{at}: again: {e}"))?;
        let differences = site.verify(&Quiet).map_err(|e| format!("{at}: {e}"))?;
        if differences.is_empty() {
            Ok(())
        } else {
            Err(format!("{at}: after: {differences:?}"))
        }
    };
    for call in ["syncfs", "fsync", "rename,renameat,renameat2", "unlink,unlinkat"] {
        let mut n = 1;
        loop {
            reset();
            if with_fault(&arguments, call, "signal=KILL", n, dropped).is_none() {
                break;
            }
            wrong.extend(judge(format!("{kind}: {call} {n}"), false).err());
            n += if whole() { 1 } else { 3 };
        }
    }
    reset();
    let mut plain = Command::new(ELFUP);
    assert!(
        plain
            .args(arguments)
            .env("ELFUP_DROP_SYNC", dropped)
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    wrong.extend(judge(format!("{kind}: done, then the power went"), true).err());
    Some(wrong)
}

#[test]
fn lost_data_on_ext4() {
    if let Some(wrong) = lose_everywhere("ext4", "") {
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn lost_data_on_xfs() {
    if let Some(wrong) = lose_everywhere("xfs", "") {
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// The suite must notice a sync that is left out. Run with `--features drop-sync`.
#[cfg(feature = "drop-sync")]
#[test]
fn a_dropped_sync_is_noticed() {
    for name in ["tree", "directory"] {
        if let Some(wrong) = lose_everywhere("ext4", name) {
            assert!(!wrong.is_empty(), "nothing went wrong without {name}");
        }
    }
}
