//! Stops: every command of sites and farms asks often, and ends wherever it is told to in a state that the next one goes on from.

use crate::server::{Fault, Server};
use crate::world::{World, copy, noise, runs, update, write};
use elfup::farm::{self, Keep, publish};
use elfup::site::{Site, UpdateOptions};
use elfup::{Error, Quiet, Result, Watch};
use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Counts how often it is asked and what the asking thread reads and writes between two times; says stop from one on.
struct Asked {
    times: AtomicU64,
    stop: u64,
    before: Mutex<HashMap<ThreadId, u64>>,
    widest: AtomicU64,
}

impl Asked {
    fn stop_at(stop: u64) -> Asked {
        let asked = Asked {
            times: AtomicU64::new(0),
            stop,
            before: Mutex::default(),
            widest: AtomicU64::new(0),
        };
        asked.pass();
        asked.widest.store(0, Ordering::Relaxed);
        asked
    }

    /// A new thread begins at 0.
    fn pass(&self) {
        let now = passed();
        let before = self.before.lock().unwrap().insert(thread::current().id(), now);
        self.widest
            .fetch_max(now - before.unwrap_or(0), Ordering::Relaxed);
    }

    /// How often it was asked, and the most bytes that went through without.
    fn finish(self) -> (u64, u64) {
        self.pass();
        (self.times.into_inner(), self.widest.into_inner())
    }
}

impl Watch for Asked {
    fn cancelled(&self) -> bool {
        self.pass();
        self.times.fetch_add(1, Ordering::Relaxed) >= self.stop
    }
}

/// Bytes that this thread has read and written so far, by the kernel's account.
fn passed() -> u64 {
    let account = fs::read_to_string("/proc/thread-self/io").unwrap_or_default();
    let number = |line: &str| line.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    account.lines().take(2).filter_map(number).sum()
}

const MIB: u64 = 1 << 20;
/// Large enough that reading it whole without asking shows.
const LARGE: u64 = 6 * MIB;
/// The most that may go through between two times of asking.
const DEAF: u64 = LARGE / 2;

/// Bytes that pack well and quickly, so that a publish takes no time.
fn large(seed: u64) -> Vec<u8> {
    noise(seed, 64 << 10).repeat((LARGE >> 16) as usize)
}

/// What a command does, and the release that it leads to.
type Case = (&'static str, fn(&Site, &dyn Watch) -> Result<()>, &'static str);

const CASES: [Case; 9] = [
    ("verify", |site, watch| site.verify(watch).map(drop), "r2"),
    ("unset", |site, watch| site.unset(watch).map(drop), "r2"),
    ("plan", |site, watch| plan(site, watch).map(drop), "r2"),
    (
        "update",
        |site, watch| site.update(&UpdateOptions::default(), watch).map(drop),
        "r3",
    ),
    ("downgrade", downgrade, "r1"),
    ("rollback", |site, watch| site.rollback(watch).map(drop), "r1"),
    ("repair", |site, watch| site.repair(watch).map(drop), "r2"),
    ("gc", |site, watch| site.gc(true, watch).map(drop), "r2"),
    ("check", |site, watch| site.check(watch).map(drop), "r2"),
];

fn plan(site: &Site, watch: &dyn Watch) -> Result<bool> {
    Ok(site.prepare(&UpdateOptions::default(), watch)?.is_some())
}

fn downgrade(site: &Site, watch: &dyn Watch) -> Result<()> {
    let wanted = elfup::site::Wanted::Release {
        id: "r1".into(),
        below_floor: false,
    };
    let options = UpdateOptions {
        wanted,
        ..UpdateOptions::default()
    };
    site.update(&options, watch).map(drop)
}

#[test]
fn every_command_ends_where_it_is_told_to() {
    let world = World::new();
    for (tree, seed) in [("one", 1), ("two", 2)] {
        write(world.path(tree).join("share/large"), large(seed));
        write(world.path(tree).join("share/other"), large(9));
        write(world.path(tree).join("etc/shipped"), large(8));
    }
    world.publish("r1", "one").unwrap();
    let site = world.site("base", |_| {});
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    update(&site).unwrap();
    // Configuration that is copied, and an object that is missing, for `repair`.
    write(world.path("base/current/etc/large"), large(3));
    fs::remove_file(world.path("base/current/bin/cat")).unwrap();
    drop(site);
    write(world.path("two/share/large"), large(4));
    world.publish("r3", "two").unwrap();
    let dir = world.path("site");
    for (name, command, leads) in CASES {
        let open = || {
            copy(&world.path("base"), &dir);
            Site::open(&dir).unwrap()
        };
        let asked = Asked::stop_at(u64::MAX);
        command(&open(), &asked).unwrap();
        let (times, deaf) = asked.finish();
        assert!(deaf < DEAF, "{name} goes through {deaf} bytes without asking");
        let points = (0..3)
            .map(|part| times * part / 3 + part)
            .filter(|at| *at < times);
        for at in points.chain([times - 1]) {
            let site = open();
            let asked = Asked::stop_at(at);
            let result = command(&site, &asked);
            let (_, deaf) = asked.finish();
            assert!(
                deaf < DEAF,
                "{name} at {at} of {times} goes through {deaf} bytes without asking"
            );
            assert!(
                matches!(result, Err(Error::Cancelled)),
                "{name} at {at} of {times}: {result:?}"
            );
            drop(site);
            let site = Site::open(&dir).unwrap();
            let release = site
                .deployments()
                .unwrap()
                .into_iter()
                .find(|d| d.current)
                .unwrap()
                .release;
            assert!(release == "r2" || release == leads, "{name} at {at}: {release}");
            // What runs is whole, but for what was missing before.
            let differences = site.verify(&Quiet).unwrap();
            let known = |path: &str| ["bin", "bin/cat", "bin/dog"].contains(&path);
            assert!(
                differences.iter().all(|d| known(&d.path)),
                "{name} at {at}: {differences:?}"
            );
            if release != leads || leads == "r2" {
                command(&site, &Quiet).unwrap_or_else(|e| panic!("{name} at {at}, again: {e}"));
            }
            site.gc(true, &Quiet).unwrap();
            let left = fs::read_dir(dir.join("deployments")).unwrap().flatten();
            let left: Vec<_> = left
                .filter(|e| e.file_name().as_encoded_bytes().starts_with(b"."))
                .collect();
            assert!(left.is_empty(), "{name} at {at}: {left:?}");
            assert_eq!(fs::metadata(dir.join("current/etc/large")).unwrap().len(), LARGE);
        }
    }
}

#[test]
fn a_way_back_is_made_and_gone_in_pieces() {
    let world = World::new();
    for (tree, seed) in [("one", 1), ("two", 2)] {
        let bytes = large(seed).repeat(12);
        assert!(bytes.len() as u64 > 64 * MIB);
        write(world.path(tree).join("share/large"), bytes);
    }
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |c| {
        c.keep = 0;
        c.keep_reverse = true;
    });
    update(&site).unwrap();
    // Whole: a delta of so large a file is not what this is about.
    let mut second = world.publishing("r2", "two");
    second.keep.last = 0;
    publish(&world.store(), &second, &Quiet).unwrap();
    let options = UpdateOptions {
        fetch_only: true,
        ..UpdateOptions::default()
    };
    site.update(&options, &Quiet).unwrap();
    let asked = Asked::stop_at(u64::MAX);
    site.activate(&asked).unwrap();
    assert!(asked.finish().1 < DEAF);
    assert_eq!(site.way_back().unwrap(), Some(("r1".into(), true)));
    let asked = Asked::stop_at(u64::MAX);
    site.rollback(&asked).unwrap();
    assert!(asked.finish().1 < DEAF);
    assert_eq!(runs(&site), "r1");
}

/// What a farm does, on a repository with two releases.
type FarmCase = (&'static str, fn(&World, &dyn Watch) -> Result<()>);

const FARM: [FarmCase; 9] = [
    ("publish", |w, watch| {
        publish(&w.store(), &thorough(w), watch).map(drop)
    }),
    ("verify", |w, watch| {
        let options = farm::Verify {
            sample: 100,
            resume: false,
            threads: 1,
        };
        farm::verify(&w.store(), &options, watch).map(drop)
    }),
    ("repair from a tree", |w, watch| {
        repair(w, vec![w.path("one")], Vec::new(), watch)
    }),
    ("repair from a mirror", |w, watch| {
        let mirror = w.path("base").to_str().unwrap().to_owned();
        repair(w, Vec::new(), vec![mirror], watch)
    }),
    ("stats", |w, watch| {
        farm::stats(&w.store(), &World::follow(), watch).map(drop)
    }),
    ("report", |w, watch| {
        farm::report(&w.store(), &World::follow(), watch).map(drop)
    }),
    ("export", |w, watch| {
        farm::export(&w.store(), &World::follow(), None, &w.path("stick"), watch).map(drop)
    }),
    ("prepare", |w, watch| {
        let stick = farm::Stick {
            dir: &w.path("carried"),
            follow: &[World::follow()],
            new_sites: true,
            room: None,
        };
        farm::prepare(&w.store(), &stick, watch).map(drop)
    }),
    ("gc", |w, watch| {
        farm::gc(
            &w.store(),
            &w.path("keys"),
            &World::follow(),
            &Keep::default(),
            watch,
        )
        .map(drop)
    }),
];

/// One thread, so that whatever it reads is followed by a time of asking.
fn thorough(w: &World) -> farm::Publish {
    let mut publishing = w.publishing("r3", "two");
    publishing.threads = 1;
    publishing
}

fn repair(w: &World, trees: Vec<std::path::PathBuf>, sources: Vec<String>, watch: &dyn Watch) -> Result<()> {
    let options = farm::Repair {
        trees,
        sources,
        access: elfup::source::Access::default(),
        threads: 1,
    };
    let repaired = farm::repair(&w.store(), &options, watch)?;
    assert!(repaired.left.is_empty(), "{repaired:?}");
    Ok(())
}

#[test]
fn every_command_of_a_farm_ends_where_it_is_told_to() {
    let world = World::new();
    for (tree, seed) in [("one", 1), ("two", 2)] {
        write(world.path(tree).join("share/large"), large(seed));
    }
    // A whole file that is large in the repository, too.
    write(world.path("one/share/dense"), noise(5, LARGE as usize));
    world.publish("r1", "one").unwrap();
    world.publish("r2", "two").unwrap();
    write(world.path("two/share/large"), large(4));
    copy(&world.repo(), &world.path("base"));
    let dense = elfup::Digest::of(&noise(5, LARGE as usize));
    for (name, command) in FARM {
        let begin = || {
            copy(&world.path("base"), &world.repo());
            let _ = fs::remove_dir_all(world.path("stick"));
            if name.starts_with("repair") {
                let blob = world.repo().join(elfup::names::blob(&dense));
                let mut bytes = fs::read(&blob).unwrap();
                bytes[LARGE as usize / 2] ^= 1;
                fs::write(&blob, bytes).unwrap();
            }
        };
        begin();
        let asked = Asked::stop_at(u64::MAX);
        command(&world, &asked).unwrap();
        let (times, deaf) = asked.finish();
        assert!(deaf < DEAF, "{name} goes through {deaf} bytes without asking");
        for part in 0..3 {
            let at = (times * part / 3 + part).min(times - 1);
            begin();
            let asked = Asked::stop_at(at);
            let result = command(&world, &asked);
            let (asked, deaf) = asked.finish();
            assert!(
                matches!(result, Err(Error::Cancelled)) || asked <= at,
                "{name} at {at} of {times}: {result:?}"
            );
            assert!(
                deaf < DEAF,
                "{name} at {at} goes through {deaf} bytes without asking"
            );
            command(&world, &Quiet).unwrap_or_else(|e| panic!("{name} at {at}, again: {e}"));
        }
    }
}

fn elfup(world: &World, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command.args(arguments).current_dir(world.path(""));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Ends a command after each of these times by SIGTERM; `begin` makes everything as it was. Tells its exit codes.
///
/// A second is what is promised; a busy machine gets three tries.
fn ends_within_a_second(world: &World, arguments: &[&str], begin: &dyn Fn()) -> Vec<i32> {
    let mut codes = Vec::new();
    for delay in [50, 300, 1000] {
        let mut took = Vec::new();
        loop {
            begin();
            let mut child = elfup(world, arguments);
            thread::sleep(Duration::from_millis(delay));
            let pid = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let told = Instant::now();
            let status = loop {
                match child.try_wait().unwrap() {
                    Some(status) => break status,
                    None if told.elapsed() > Duration::from_secs(20) => {
                        child.kill().unwrap();
                        child.wait().unwrap();
                        panic!("{arguments:?} is deaf after {delay} ms");
                    }
                    None => thread::sleep(Duration::from_millis(5)),
                }
            };
            took.push(told.elapsed());
            if took.last().unwrap() < &Duration::from_secs(1) {
                codes.push(status.code().unwrap_or(-1));
                break;
            }
            assert!(
                took.len() < 3,
                "{arguments:?} after {delay} ms: ends after {took:?}"
            );
        }
    }
    codes
}

#[test]
fn whatever_a_command_waits_for_a_signal_ends_it_within_a_second() {
    let world = World::new();
    let huge = |path: &str| {
        let file = fs::File::create(world.path(path)).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    world.publish("r1", "one").unwrap();
    let slow = Server::start(&world.repo(), Fault::Trickle);
    let base = world.site("base", |_| {});
    update(&base).unwrap();
    drop(base);
    let (site, root) = ("site", "repo/tuf/1.root.json");
    let fresh = || copy(&world.path("base"), &world.path("site"));
    let configured = |change: &dyn Fn(&mut elfup::site::Config)| {
        fresh();
        let path = world.path("site/site.json");
        let mut config: elfup::site::Config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    };
    // All but the last end before the signal is handled, perhaps, where the machine is busy: then the system ends them.
    let ended = |codes: &[i32], with: &[i32]| {
        let (last, before) = codes.split_last().unwrap();
        let fine = before.iter().all(|c| *c == -1 || with.contains(c)) && with.contains(last);
        assert!(fine, "{codes:?}");
    };
    let cancelled = |codes: Vec<i32>| ended(&codes, &[0, 130]);
    let mostly = |codes: Vec<i32>| ended(&codes[1..], &[130]);
    world.publish("r2", "two").unwrap();
    // A source that brings a byte now and then.
    let trickle = || configured(&|c| c.sources = vec![slow.url.clone()]);
    for command in ["check", "update", "plan", "fetch"] {
        mostly(ends_within_a_second(
            &world,
            &["site", "--site", site, command],
            &trickle,
        ));
    }
    let daemon = ["site", "--site", site, "run", "--every", "1000"];
    cancelled(ends_within_a_second(&world, &daemon, &trickle)[1..].to_vec());
    // A daemon that waits for its next round.
    cancelled(ends_within_a_second(&world, &daemon, &fresh)[1..].to_vec());
    // A health command that does not end, in a trial and in the next command.
    let sick = || {
        configured(&|c| {
            let command = vec!["sleep".into(), "1000".into()];
            c.health = Some(elfup::site::Health {
                command,
                timeout: 1000,
            });
        });
    };
    ends_within_a_second(&world, &["site", "--site", site, "update"], &sick);
    // A file of a terabyte, all hole, that an administrator left in the configuration.
    let sparse = || {
        fresh();
        huge("site/current/etc/huge");
    };
    for command in ["update", "repair"] {
        ends_within_a_second(&world, &["site", "--site", site, command], &sparse);
    }
    // The same in a tree that is published, and in a seed.
    huge("two/share/huge");
    let publish = [
        "publish",
        "--repo",
        "repo",
        "--keys",
        "keys",
        "--product",
        "demo",
        "--arch",
        "x86_64",
    ];
    let publish = [&publish[..], &["--release", "r3", "two"]].concat();
    mostly(ends_within_a_second(&world, &publish, &|| {}));
    let seeded = || configured(&|c| c.seeds = vec![world.path("two")]);
    mostly(ends_within_a_second(
        &world,
        &["site", "--site", site, "plan"],
        &seeded,
    ));
    // Somebody else signs.
    let lock = elfup::disk::Lock::take(&world.path("repo/work/signing")).unwrap();
    for arguments in [
        &["repo", "refresh", "--keys", "keys", "repo"][..],
        &["keys", "rotate", "timestamp", "--repo", "repo", "--keys", "keys"],
    ] {
        mostly(ends_within_a_second(&world, arguments, &|| {}));
    }
    drop(lock);
    // What takes no time takes none.
    let init = [
        "site",
        "--site",
        "new",
        "init",
        "--product",
        "demo",
        "--source",
        "repo",
        "--root",
        root,
    ];
    let none = || drop(fs::remove_dir_all(world.path("new")));
    ends_within_a_second(&world, &init, &none);
}
