//! Kills and failures at every system call that changes the disk: afterwards the old or the new release, whole.
//!
//! A sample runs by default; `ELFUP_CRASH=all cargo test -p elfup --test all crash` runs every point.

mod farm;
mod keys;
mod lost;
mod site;

use crate::world::{World, copy, noise, runs, update, write};
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

pub fn whole() -> bool {
    std::env::var("ELFUP_CRASH").is_ok_and(|v| v == "all")
}

pub fn strace_works() -> bool {
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

/// The site of a fixed-path test and the directory that it fills, in one place.
fn fixed_site(world: &World, place: &str) -> (PathBuf, PathBuf) {
    let place = world.path(place);
    fs::create_dir_all(&place).unwrap();
    let (site, app) = (place.join("site"), place.join("app"));
    let site_name = site
        .strip_prefix(world.path(""))
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    update(&world.site(&site_name, |c| c.fixed = Some(app.clone()))).unwrap();
    (site, app)
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
pub fn with_fault(arguments: &[&str], calls: &str, fault: &str, n: usize, dropped: &str) -> Option<bool> {
    faulty(arguments, &[(calls, &format!("{fault}:when={n}"))], dropped)
}

/// The same with several, each as calls and what befalls them. Signals that do not kill are no faults.
fn faulty(arguments: &[&str], faults: &[(&str, &str)], dropped: &str) -> Option<bool> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let calls: Vec<&str> = faults.iter().map(|(calls, _)| *calls).collect();
    let injections = faults
        .iter()
        .map(|(calls, what)| format!("inject={calls}:{what}"));
    let all = std::iter::once(format!("trace={}", calls.join(","))).chain(injections);
    let output = Command::new("strace")
        .args(["-f", "-o"])
        .arg(log.path())
        .args(all.flat_map(|e| ["-e".to_owned(), e]))
        .arg(ELFUP)
        .args(arguments)
        .env("RAYON_NUM_THREADS", "1")
        .env("ELFUP_DROP_SYNC", dropped)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = fs::read_to_string(log.path()).unwrap_or_default();
    // strace ends as the command did. The log alone says too much: the decoding child is always killed at the end.
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    let struck = text.contains("INJECTED") || killed;
    struck.then_some(output.status.success())
}

/// Sweeps one command: `reset` before every point, `check` after it.
pub fn sweep(arguments: &[&str], reset: &dyn Fn(), check: &dyn Fn(&str)) {
    sweep_with(arguments, None, reset, check);
}

/// The same with something else, as call and injection, that befalls the command at every point.
fn sweep_with(arguments: &[&str], also: Option<(&str, &str)>, reset: &dyn Fn(), check: &dyn Fn(&str)) {
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
                let what = format!("{fault}:when={n}");
                let faults = [&[(call, what.as_str())], also.as_slice()].concat();
                if faulty(arguments, &faults, "").is_none() {
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

/// The tree at the fixed path is a whole release at every point, looked at before any command of ours puts it right.
#[test]
fn update_and_rollback_at_a_fixed_path_survive_every_point() {
    if !strace_works() {
        return;
    }
    let world = small();
    world.publish("r1", "one").unwrap();
    let (site, app) = fixed_site(&world, "place");
    world.publish("r2", "two").unwrap();
    let whole_tree = |at: &str| {
        let same = |tree: &str| {
            let mut diff = Command::new("diff");
            diff.args(["-r", "--no-dereference"])
                .arg(world.path(tree))
                .arg(&app);
            diff.stdout(Stdio::null()).status().unwrap().success()
        };
        assert!(same("one") || same("two"), "{at}");
    };
    for (command, from, to) in [("update", "r1", "r2"), ("rollback", "r2", "r1")] {
        let (place, saved) = (world.path("place"), world.path("saved"));
        let open = Site::open(&site).unwrap();
        if runs(&open) != from {
            update(&open).unwrap();
        }
        assert_eq!(runs(&open), from);
        drop(open);
        copy(&place, &saved);
        sweep(
            &["site", "--site", site.to_str().unwrap(), command],
            &|| copy(&saved, &place),
            &|at| {
                whole_tree(at);
                let site = old_or_new(&site, at);
                whole_tree(at);
                if runs(&site) == from {
                    let again = match command {
                        "update" => update(&site).map(drop),
                        _ => site.rollback(&Quiet).map(drop),
                    };
                    again.unwrap_or_else(|e| panic!("{at}: again: {e}"));
                }
                assert_eq!(runs(&site), to, "{at}");
                site.rollback(&Quiet)
                    .unwrap_or_else(|e| panic!("{at}: back: {e}"));
                assert_eq!(runs(&site), from, "{at}");
            },
        );
        copy(&saved, &place);
    }
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

fn publish_arguments<'a>(repo: &'a str, keys: &'a str, tree: &'a str) -> [&'a str; 16] {
    [
        "publish",
        "--repo",
        repo,
        "--keys",
        keys,
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
        tree,
    ]
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
    let arguments = publish_arguments(&r, &keys, &tree);
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
