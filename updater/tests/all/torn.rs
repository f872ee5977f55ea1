//! Bytes that go bad on the farm's disk: noticed before anything new is signed, found by `verify`, put right by `repair`.

use crate::world::{World, copy, noise, runs, update, write};
use elfup::farm::{Repair, Verify, export, repair, verify};
use elfup::store::{LocalStore, Store};
use elfup::{Error, Quiet, Result, Watch};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

fn turn_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn verifying() -> Verify {
    Verify {
        sample: 100,
        resume: false,
        threads: 1,
    }
}

fn wrong(world: &World) -> Vec<String> {
    let found = verify(&world.store(), &verifying(), &Quiet).unwrap().wrong;
    found.into_iter().map(|w| w.path).collect()
}

fn repairing(world: &World, trees: &[&str], sources: &[&str]) -> Repair {
    Repair {
        trees: trees.iter().map(|t| world.path(t)).collect(),
        sources: sources
            .iter()
            .map(|s| world.path(s).to_str().unwrap().into())
            .collect(),
        access: elfup::source::Access::default(),
        threads: 1,
    }
}

/// Two releases, few files, so that each kind of file of a repository can go bad in turn.
fn published() -> World {
    let world = World::new();
    for tree in ["one", "two", "three"] {
        let _ = fs::remove_dir_all(world.path(tree));
        write(world.path(tree).join("same"), noise(1, 90_000));
        write(world.path(tree).join("changed"), noise(2, 90_000));
        write(world.path(tree).join("small"), tree);
    }
    for (tree, at) in [("two", 40_000), ("three", 50_000)] {
        let mut bytes = noise(2, 90_000);
        bytes[at] ^= 1;
        write(world.path(tree).join("changed"), bytes);
    }
    world.publish("r1", "one").unwrap();
    world.publish("r2", "two").unwrap();
    world
}

fn files(world: &World) -> Vec<String> {
    let store = LocalStore::new(&world.repo());
    let dirs = ["blobs", "packs", "steps", "manifests", "channels", "tuf"];
    dirs.iter().flat_map(|d| store.list(d).unwrap()).collect()
}

/// Every file that the newest metadata leads to, one at a time.
#[test]
fn a_turned_bit_anywhere_is_never_signed_over() {
    let world = published();
    copy(&world.repo(), &world.path("mirror"));
    let stamp = fs::read(world.repo().join("tuf/timestamp.json")).unwrap();
    let mut noticed = std::collections::BTreeMap::new();
    for (number, path) in files(&world).into_iter().enumerate() {
        for cut in [number % 4 == 0] {
            let full = world.repo().join(&path);
            match cut {
                true => fs::write(&full, &fs::read(&full).unwrap()[..20]).unwrap(),
                false => turn_a_bit(&full),
            }
            let found = wrong(&world);
            // Metadata and channel files of earlier versions are not led to any more.
            if found.is_empty() {
                assert!(
                    path.starts_with("tuf/") || path.starts_with("channels/"),
                    "{path}"
                );
                copy(&world.path("mirror"), &world.repo());
                continue;
            }
            assert!(
                found.iter().any(|w| w.starts_with(path.as_str())),
                "{path}: {found:?}"
            );
            let refusal = world.publish("r3", "three").unwrap_err();
            assert!(
                matches!(refusal, Error::DamagedRepository(_)),
                "{path}: {refusal}"
            );
            assert!(refusal.to_string().contains(path.as_str()), "{path}: {refusal}");
            if path != "tuf/timestamp.json" {
                assert_eq!(
                    fs::read(world.repo().join("tuf/timestamp.json")).unwrap(),
                    stamp,
                    "{path}"
                );
                let report = repair(&world.store(), &repairing(&world, &[], &["mirror"]), &Quiet).unwrap();
                assert_eq!(report.repaired, std::slice::from_ref(&path));
                assert!(report.left.is_empty(), "{path}: {:?}", report.left);
                assert_eq!(
                    fs::read(&full).unwrap(),
                    fs::read(world.path("mirror").join(&path)).unwrap()
                );
            }
            *noticed
                .entry(path.split('/').next().unwrap().to_owned())
                .or_insert(0) += 1;
            copy(&world.path("mirror"), &world.repo());
        }
    }
    assert_eq!(noticed.len(), 6, "{noticed:?}");
    world.publish("r3", "three").unwrap();
}

#[test]
fn repair_takes_whole_files_from_trees_and_only_right_bytes_from_mirrors() {
    let world = published();
    let store = LocalStore::new(&world.repo());
    for blob in store.list("blobs").unwrap() {
        turn_a_bit(&world.repo().join(&blob));
    }
    copy(&world.repo(), &world.path("bad-mirror"));
    let bad = wrong(&world).len();
    assert_eq!(bad, 5);
    let report = repair(&world.store(), &repairing(&world, &[], &["bad-mirror"]), &Quiet).unwrap();
    assert_eq!((report.repaired.len(), report.left.len()), (0, bad));
    let report = repair(
        &world.store(),
        &repairing(&world, &["one", "two"], &["bad-mirror"]),
        &Quiet,
    )
    .unwrap();
    assert_eq!((report.repaired.len(), report.left.len()), (bad, 0));
    world.publish("r3", "three").unwrap();
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    assert_eq!(runs(&site), "r3");
}

/// Finished jobs and files of a killed publish, which nothing signed names yet.
#[test]
fn leftovers_with_a_turned_bit_are_made_anew() {
    let world = published();
    copy(&world.repo(), &world.path("saved"));
    world.publish("r3", "three").unwrap();
    let good = files(&world);
    copy(&world.repo(), &world.path("done"));
    for dir in ["work/deltas", "blobs", "packs", "steps", "manifests"] {
        let all = LocalStore::new(&world.path("done")).list(dir).unwrap();
        let mut tried = 0;
        for path in all {
            if world.path("saved").join(&path).exists() {
                continue;
            }
            copy(&world.path("saved"), &world.repo());
            let (from, to) = (world.path("done").join(&path), world.repo().join(&path));
            // With its note, as a job is only finished with both.
            copy(&world.path("done/work/deltas"), &world.repo().join("work/deltas"));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, &to).unwrap();
            turn_a_bit(&to);
            // What only the last look finds is removed, so that the second try succeeds.
            if world.publish("r3", "three").is_err() {
                world
                    .publish("r3", "three")
                    .unwrap_or_else(|e| panic!("{path}: {e}"));
            }
            assert_eq!(wrong(&world), Vec::<String>::new(), "{path}");
            let kept = |f: &&String| f.starts_with("packs") || f.starts_with("blobs");
            let now = files(&world);
            assert!(now.iter().filter(kept).eq(good.iter().filter(kept)), "{path}");
            tried += 1;
        }
        assert!(tried > 0, "{dir}");
    }
    let site = world.site("site", |_| {});
    assert!(update(&site).unwrap().changed);
}

/// Stops after so many questions.
struct Impatient(AtomicU64);

impl Watch for Impatient {
    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) > 1500
    }
}

#[test]
fn verifying_goes_on_where_it_was_stopped_and_takes_samples() -> Result<()> {
    let world = World::new();
    for i in 0..600 {
        write(world.path("one").join(format!("many/{i}")), format!("file {i}"));
    }
    world.publish("r1", "one")?;
    let all = verify(&world.store(), &verifying(), &Quiet)?;
    assert_eq!(all.checked, all.files);
    let store = LocalStore::new(&world.repo());
    let first = store.list("blobs")?.remove(0);
    turn_a_bit(&world.repo().join(&first));
    let stopped = verify(&world.store(), &verifying(), &Impatient(AtomicU64::new(0)));
    assert!(matches!(stopped, Err(Error::Cancelled)));
    // What was read before is not read again, and what was found is still told.
    fs::remove_file(world.repo().join(&first)).unwrap();
    let resumed = Verify {
        resume: true,
        ..verifying()
    };
    let rest = verify(&world.store(), &resumed, &Quiet)?;
    assert_eq!((rest.checked, rest.wrong.len()), (rest.files, 1));
    assert!(rest.wrong[0].why != "missing", "{:?}", rest.wrong);
    let sample = Verify {
        sample: 10,
        ..verifying()
    };
    let sample = verify(&world.store(), &sample, &Quiet)?;
    assert!((10..250).contains(&sample.checked), "{}", sample.checked);
    Ok(())
}

fn exported(world: &World, stick: &Path) -> Result<u64> {
    export(&world.store(), &World::follow(), None, stick, &Quiet)
}

/// What a stick carries is read back: nothing wrong in the repository is handed on, nothing wrong on it stays.
#[test]
fn a_turned_bit_is_neither_copied_to_a_stick_nor_left_there() {
    let world = published();
    let stick = world.path("stick");
    exported(&world, &stick).unwrap();
    copy(&stick, &world.path("good-stick"));
    copy(&world.repo(), &world.path("mirror"));
    let store = LocalStore::new(&stick);
    let dirs = ["blobs", "packs", "steps", "manifests", "channels", "tuf"];
    let all: Vec<String> = dirs.iter().flat_map(|d| store.list(d).unwrap()).collect();
    let kinds = all.iter().map(|p| p.split('/').next().unwrap());
    assert_eq!(kinds.collect::<std::collections::BTreeSet<_>>().len(), 6);
    let damage: [fn(&Path); 4] = [
        turn_a_bit,
        |path| fs::write(path, &fs::read(path).unwrap()[..9]).unwrap(),
        |path| fs::write(path, [fs::read(path).unwrap(), b"x".to_vec()].concat()).unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            write(path.join("other"), "a directory");
        },
    ];
    for path in all {
        let kinds = if path.starts_with("tuf/") { 3 } else { 4 };
        for (kind, damage) in damage[..kinds].iter().enumerate() {
            damage(&stick.join(&path));
            exported(&world, &stick).unwrap_or_else(|e| panic!("{path} {kind}: {e}"));
            crate::world::assert_same(&world.path("good-stick"), &stick);
        }
        // Metadata that the newest does not lead to harms nobody.
        let led = |found: Vec<String>| found.iter().any(|w| w.starts_with(path.as_str()));
        for damage in &damage[..3] {
            damage(&world.repo().join(&path));
            if led(wrong(&world)) {
                fs::remove_dir_all(&stick).unwrap();
                let refusal = exported(&world, &stick).unwrap_err();
                let told = refusal.to_string();
                assert!(matches!(refusal, Error::DamagedRepository(_)), "{path}: {told}");
                assert!(
                    told.contains(path.as_str()) && told.contains("farm repair"),
                    "{told}"
                );
                assert!(!stick.join("tuf/timestamp.json").exists(), "{path}");
                if !path.ends_with("timestamp.json") {
                    let report =
                        repair(&world.store(), &repairing(&world, &[], &["mirror"]), &Quiet).unwrap();
                    assert!(report.left.is_empty(), "{path}: {:?}", report.left);
                }
            } else {
                assert!(path.starts_with("tuf/"), "{path}");
            }
            copy(&world.path("mirror"), &world.repo());
            copy(&world.path("good-stick"), &stick);
        }
    }
    // What a good stick has is good enough where the repository went bad since.
    let blob = store.list("blobs").unwrap().remove(0);
    turn_a_bit(&world.repo().join(blob));
    exported(&world, &stick).unwrap();
    crate::world::assert_same(&world.path("good-stick"), &stick);
}

/// A file or folder whose name is no text is none of a repository's: gc neither takes it for the folder that it is in,
/// nor goes round in it.
#[test]
fn names_that_are_no_text_are_left_alone() {
    let world = published();
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    write(world.repo().join("blobs").join(odd), "no name");
    write(world.repo().join("packs").join(odd).join("inner"), "no name");
    let keep = elfup::farm::Keep {
        last: 1,
        every: 0,
        named: Vec::new(),
    };
    world.gc(&keep);
    assert!(wrong(&world).is_empty());
    assert!(world.repo().join("blobs").join(odd).exists());
    let site = world.site("reader", |_| {});
    crate::world::update(&site).unwrap();
}
