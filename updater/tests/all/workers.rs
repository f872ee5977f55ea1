//! Workers in processes of their own make a plan's jobs; what is published then is what one machine makes.

use crate::weed::{Weed, ends, repo};
use crate::world::{World, noise, write};
use elfup::farm::{self, Cost, Keep};
use elfup::store::{LocalStore, Store};
use elfup::{Digest, Quiet};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Programs that change, enough of them for two workers.
pub fn trees(world: &World) {
    for (tree, change) in [("one", 0), ("two", 1)] {
        for n in 0..12_u64 {
            let mut bytes = noise(n, 60_000 + 4_000 * n as usize);
            for at in (1000..bytes.len()).step_by(7001) {
                bytes[at] ^= change;
            }
            // What is too much for a group travels as a delta of its own.
            if change == 1 && n % 2 == 0 {
                bytes.splice(10_000..10_000, noise(100 + n, 70_000));
            }
            write(world.path(tree).join(format!("lib/part{n}")), bytes);
        }
    }
}

/// What a repository holds, but what has the time of publishing: channel files and signatures.
pub fn content(store: &dyn Store) -> BTreeMap<String, Vec<u8>> {
    let dirs = ["blobs", "packs", "manifests", "steps"];
    let all = dirs.into_iter().flat_map(|dir| store.list(dir).unwrap());
    let read = |path: String| {
        let bytes = store.get(&path, 1 << 30).unwrap().unwrap();
        (path, bytes)
    };
    all.map(read).collect()
}

/// Arguments of `farm plan` or `farm work` for the second release.
pub fn on(repo: &str, command: &str, more: &[&str]) -> Vec<String> {
    let fixed = [
        "farm",
        command,
        "--repo",
        repo,
        "--product",
        "demo",
        "--arch",
        "x86_64",
        "--release",
        "r2",
    ];
    fixed.iter().chain(more).map(ToString::to_string).collect()
}

fn elfup(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command.args(arguments);
    command
}

/// Notes and deltas of finished jobs.
fn results(store: &dyn Store) -> BTreeMap<String, Vec<u8>> {
    let all = store.list("work/deltas").unwrap();
    let read = |path: String| {
        let bytes = store.get(&path, 1 << 30).unwrap().unwrap();
        (path, bytes)
    };
    all.into_iter().map(read).collect()
}

/// One machine's repository, and one with the first release alone.
pub fn two_worlds() -> (World, BTreeMap<String, Vec<u8>>) {
    let world = World::new();
    trees(&world);
    both(world)
}

/// The same of any two trees.
fn both(world: World) -> (World, BTreeMap<String, Vec<u8>>) {
    world.publish("r1", "one").unwrap();
    let saved = world.path("saved");
    let done = Command::new("cp")
        .arg("-a")
        .arg(world.repo())
        .arg(&saved)
        .status()
        .unwrap();
    assert!(done.success());
    world.publish("r2", "two").unwrap();
    let alone = content(&world.store());
    fs::remove_dir_all(world.repo()).unwrap();
    fs::rename(saved, world.repo()).unwrap();
    (world, alone)
}

/// Ends its threads when it is dropped.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Loops on more threads than there are cores.
fn busy() -> Busy {
    let end = Arc::new(AtomicBool::new(false));
    for _ in 0..4 * std::thread::available_parallelism().map_or(2, usize::from) {
        let end = Arc::clone(&end);
        std::thread::spawn(move || {
            let mut numbers = vec![1_u64; 1 << 20];
            while !end.load(Ordering::Relaxed) {
                numbers.iter_mut().for_each(|n| *n = n.wrapping_mul(3));
            }
        });
    }
    Busy(end)
}

/// Choices go by counted work, so what else a machine does changes no byte.
#[test]
fn a_busy_machine_makes_the_same_repository() {
    let world = World::new();
    trees(&world);
    // Too large for a frame, which says nothing of how long it takes.
    for (tree, change) in [("one", 0), ("two", 1)] {
        let mut bytes = noise(9, (4 << 20) + 1000);
        bytes[5000] ^= change;
        write(world.path(tree).join("lib/large"), bytes);
    }
    let (world, alone) = both(world);
    let _busy = busy();
    world.publish("r2", "two").unwrap();
    let delta = |note: &Vec<u8>| String::from_utf8_lossy(note).contains("\"form\":\"default\"");
    assert!(results(&world.store()).values().any(delta));
    assert_eq!(content(&world.store()), alone);
}

fn path(world: &World, name: &str) -> String {
    world.path(name).to_str().unwrap().to_owned()
}

#[test]
fn two_workers_one_of_them_killed_make_what_one_machine_makes() {
    let (world, alone) = two_worlds();
    let repo = path(&world, "repo");
    let said = ends(elfup(&on(&repo, "work", &["--shard", "0/2"])), 1);
    assert!(said.contains("plan"), "{said}");
    let planned = ends(elfup(&on(&repo, "plan", &[&path(&world, "two")])), 0);
    assert!(planned.contains(" jobs"), "{planned}");
    // Killed as soon as it has made something.
    let mut first = elfup(&on(&repo, "work", &["--shard", "0/2", "--threads", "1"]));
    let mut first = first.stdout(Stdio::null()).spawn().unwrap();
    let made = || {
        elfup::disk::list(&world.repo().join("work/deltas"))
            .unwrap()
            .len()
    };
    let before = results(&world.store()).len();
    while made() <= before && first.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let other = ends(elfup(&on(&repo, "work", &["--shard", "1/2"])), 0);
    assert!(other.contains("made"), "{other}");
    // Told by the environment of an array job.
    let mut again = elfup(&on(&repo, "work", &[]));
    again
        .env("SLURM_ARRAY_TASK_ID", "3")
        .env("SLURM_ARRAY_TASK_MIN", "3")
        .env("SLURM_ARRAY_TASK_COUNT", "2");
    ends(again, 0);
    let nothing = ends(elfup(&on(&repo, "work", &["--steal"])), 0);
    assert!(nothing.contains(" 0 made"), "{nothing}");
    let made = results(&world.store());
    assert!(made.len() > before + 10, "{}", made.len());
    world.publish("r2", "two").unwrap();
    // Nothing was left to make, groups and bundles included.
    assert_eq!(results(&world.store()), made);
    assert_eq!(content(&world.store()), alone);
    let plan = world.store().list("work/plans").unwrap();
    assert_eq!(plan, Vec::<String>::new());
    // Their time is told with the steps, though no process of the publisher took it.
    let steps = farm::stats(&world.store(), &World::follow(), &Quiet).unwrap();
    let told: Vec<Cost> = steps.iter().map(|step| step.cost.unwrap()).collect();
    let notes: Vec<Value> = made
        .iter()
        .filter(|(path, _)| path.ends_with(".json"))
        .map(|(_, note)| told_by(note))
        .collect();
    assert_eq!(told.iter().map(|cost| cost.jobs).sum::<u64>(), notes.len() as u64);
    let micros = |note: &Value| note["cpu_micros"].as_u64().unwrap();
    assert_eq!(
        told.iter().map(|cost| cost.cpu_micros).sum::<u64>(),
        notes.iter().map(micros).sum::<u64>()
    );
    assert!(farm::metrics(&steps, &World::follow()).contains("elfup_step_cpu_seconds"));
    // It goes with them.
    let costs = || world.store().list("work/costs").unwrap().len();
    assert_eq!(costs(), steps.len());
    world.gc(&Keep {
        last: 1,
        ..Keep::default()
    });
    let left = farm::stats(&world.store(), &World::follow(), &Quiet).unwrap();
    assert!(left.len() < steps.len() && left.iter().all(|step| step.cost.is_some()));
    assert_eq!(costs(), left.len());
}

/// What a note says.
fn told_by(note: &[u8]) -> Value {
    serde_json::from_slice(note.split(|b| *b == b'\n').next().unwrap()).unwrap()
}

/// Whoever may write to the store may write a wrong result: it is made anew, not signed.
#[test]
fn what_a_worker_says_is_not_believed() {
    let (world, alone) = two_worlds();
    let repo = path(&world, "repo");
    ends(elfup(&on(&repo, "plan", &[&path(&world, "two")])), 0);
    let before = results(&world.store());
    ends(elfup(&on(&repo, "work", &["--steal"])), 0);
    let mut all = results(&world.store());
    all.retain(|path, _| !before.contains_key(path));
    let notes: Vec<&String> = all.keys().filter(|path| path.ends_with(".json")).collect();
    let body = |note: &str, made: &Value| note.replace("json", made["form"].as_str().unwrap());
    let (mut lies, mut other) = (0, None);
    for note in &notes {
        let mut told = told_by(&all[*note]);
        let Some(made) = told["made"].as_array_mut().unwrap().first_mut() else {
            continue;
        };
        let body = body(note, made);
        let bytes = other.get_or_insert_with(|| all[&body].clone());
        match lies % 5 {
            0 => made["memory"] = 1.into(),
            1 => made["us"] = 1.into(),
            2 => made["encoders"] = vec!["none 1"].into(),
            3 => made["form"] = "fast".into(),
            _ => {
                made["digest"] = Digest::of(bytes).to_string().into();
                made["size"] = bytes.len().into();
                fs::write(world.repo().join(&body), bytes).unwrap();
            }
        }
        lies += 1;
        let mut bytes = serde_json::to_vec(&told).unwrap();
        bytes.push(b'\n');
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(format!("{digest}\n").as_bytes());
        fs::write(world.repo().join(note), bytes).unwrap();
    }
    assert!(lies > 10, "{lies}");
    world.publish("r2", "two").unwrap();
    // Every result that is on offer says again what is true of it.
    let after = results(&world.store());
    for (path, bytes) in &all {
        match path.ends_with(".json") {
            true => assert_eq!(told_by(&after[path])["made"], told_by(bytes)["made"], "{path}"),
            false => assert!(after[path] == *bytes, "{path}"),
        }
    }
    assert_eq!(content(&world.store()), alone);
    let site = world.site("site", |_| {});
    crate::world::update(&site).unwrap();
    assert_eq!(crate::world::runs(&site), "r2");
}

#[cfg(feature = "s3")]
#[test]
fn workers_share_a_bucket() {
    let Some(weed) = Weed::start() else { return };
    let (world, alone) = two_worlds();
    let (repo, keys) = (repo("w"), path(&world, "keys"));
    ends(weed.elfup(&["repo", "init", &repo, "--keys", &keys]), 0);
    let publish = |release: &str, tree: &str| {
        let tree = path(&world, tree);
        let all = [
            "publish",
            "--repo",
            &repo,
            "--keys",
            &keys,
            "--product",
            "demo",
            "--arch",
            "x86_64",
        ];
        let more = ["--config", "etc/**", "--release", release, &tree];
        ends(weed.elfup(&[&all[..], &more[..]].concat()), 0);
    };
    let run = |command: &str, more: &[&str]| {
        let all = on(&repo, command, more);
        weed.elfup(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    publish("r1", "one");
    ends(run("plan", &[&path(&world, "two")]), 0);
    // Nobody there: try again.
    let mut nowhere = run("work", &["--shard", "0/2"]);
    nowhere.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    ends(nowhere, 75);
    let spawn = || {
        run("work", &["--steal", "--threads", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let workers = [spawn(), spawn()];
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    publish("r2", "two");
    weed.copy("w", &world.path("copy"));
    assert_eq!(content(&LocalStore::new(&world.path("copy"))), alone);
}
