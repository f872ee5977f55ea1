//! Modification times travel: as the farm's tree has them, at what cost, and whatever shares a content.

use crate::world::{World, noise, runs, update, write};
use elfup::farm::publish;
use elfup::site::{Objective, UpdateOptions};
use elfup::{Error, Quiet};
use std::fs::{self, FileTimes};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

fn touch(path: &Path, seconds: u64, nanos: u32) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
    let file = fs::File::open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

fn time(path: impl AsRef<Path>) -> (i64, i64) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.mtime(), meta.mtime_nsec())
}

fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).status();
    let found = found.is_ok_and(|s| s.success());
    if !found {
        eprintln!("skipped: {tool} is not installed");
    }
    found
}

/// What rsync would have to do to make the one tree the other.
fn rsync(from: &Path, to: &Path) -> String {
    let output = Command::new("rsync")
        .args(["-aHAXn", "--itemize-changes", "--delete"])
        .arg(from.join("."))
        .arg(to.join("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn rsync_finds_nothing_to_do() {
    if !has("rsync") {
        return;
    }
    let world = World::new();
    for (tree, at) in [("one", 1_000_000_000), ("two", 1_100_000_000)] {
        let tree = world.path(tree);
        write(tree.join("share/twin-a"), "the same content\n");
        write(tree.join("share/twin-b"), "the same content\n");
        touch(&tree.join("share/twin-a"), at, 5);
        touch(&tree.join("share/twin-b"), at, 6);
        touch(&tree.join("bin/ls"), 0, 0);
        symlink("nowhere", tree.join("share/dangling")).unwrap();
        touch(&tree.join("share/doc"), at, 999_999_999);
        touch(&tree.join("share"), 1, 1);
        touch(&tree.join("etc"), 2, 2);
        touch(&tree, at, 1);
    }
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |_| {});
    let current = world.path("site/current");
    update(&site).unwrap();
    assert_eq!(rsync(&world.path("one"), &current), "");
    world.publish("r2", "two").unwrap();
    update(&site).unwrap();
    assert_eq!(rsync(&world.path("two"), &current), "");
    site.rollback(&Quiet).unwrap();
    assert_eq!(rsync(&world.path("one"), &current), "");
    assert_eq!(runs(&site), "r1");
}

#[test]
fn python_takes_what_was_compiled_for_fresh() {
    if !has("python3") {
        return;
    }
    let world = World::new();
    for tree in ["one", "two"] {
        let lib = world.path(tree).join("lib");
        write(lib.join("pkg/__init__.py"), "");
        write(lib.join("pkg/part.py"), "value = 1\n");
        write(lib.join("pkg/changed.py"), format!("value = '{tree}'\n"));
        let compiled = Command::new("python3")
            .args(["-m", "compileall", "-q"])
            .arg(&lib)
            .status();
        assert!(compiled.unwrap().success());
    }
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    update(&site).unwrap();
    let python = Command::new("python3")
        .args(["-B", "-v", "-c", "import pkg.part, pkg.changed"])
        .env("PYTHONPATH", world.path("site/current/lib"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&python.stderr);
    let fresh = said
        .lines()
        .filter(|l| l.contains("pyc matches") && l.contains("/pkg/"));
    assert_eq!(fresh.count(), 3, "{said}");
}

#[test]
fn a_time_that_changed_needs_no_content() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |c| c.objective = Objective::Bytes);
    update(&site).unwrap();
    let mut all = vec![world.path("one")];
    while let Some(path) = all.pop() {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            all.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        touch(&path, 1_234_567_890, 0);
    }
    world.publish("r2", "one").unwrap();
    fs::remove_dir_all(world.repo().join("blobs")).unwrap();
    let _ = fs::remove_dir_all(world.repo().join("packs"));
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!(updated.predicted_bytes, 0, "{updated:?}");
    assert_eq!(
        time(world.path("site/current/share/data.bin")),
        (1_234_567_890, 0)
    );
    assert_eq!(time(world.path("site/current/share")), (1_234_567_890, 0));
    // The old release keeps the old time.
    site.rollback(&Quiet).unwrap();
    assert_ne!(
        time(world.path("site/current/share/data.bin")),
        (1_234_567_890, 0)
    );
    assert_eq!(runs(&site), "r1");
}

#[test]
fn one_time_for_the_whole_release() {
    let world = World::new();
    for (release, tree) in [("r1", "one"), ("r2", "two")] {
        let mut one = world.publishing(release, tree);
        one.scan.mtime = Some(1_500_000_000);
        publish(&world.store(), &one, &Quiet).unwrap();
    }
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    for path in ["bin/ls", "share", "list", "share/doc/page1.txt"] {
        assert_eq!(
            time(world.path("site/current").join(path)),
            (1_500_000_000, 0),
            "{path}"
        );
    }
    let mut far = world.publishing("r3", "two");
    far.scan.mtime = Some(i64::MAX);
    assert!(matches!(
        publish(&world.store(), &far, &Quiet),
        Err(Error::Usage(_))
    ));
}

#[test]
fn verify_names_other_times_and_repair_mends_them() {
    let (world, site) = World::ready();
    update(&site).unwrap();
    let current = world.path("site/current");
    let right = time(current.join("bin/ls"));
    touch(&current.join("bin/ls"), 7, 7);
    touch(&current.join("share/doc"), 8, 8);
    let named: Vec<_> = site
        .verify(&Quiet)
        .unwrap()
        .into_iter()
        .map(|d| (d.path, d.what))
        .collect();
    let what = "other modification time";
    assert_eq!(
        named,
        [("bin/ls".to_owned(), what), ("share/doc".to_owned(), what)]
    );
    site.repair(&Quiet).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!(time(current.join("bin/ls")), right);
    // Neither keeps anybody from going back.
    site.rollback(&Quiet).unwrap();
    touch(&world.path("site/previous/share/doc"), 8, 8);
    site.rollback(&Quiet).unwrap();
}

/// The bytes of a step for many files, by what their times do.
#[test]
fn times_cost_few_bytes_of_a_step() {
    let step = |mtime: Option<i64>, again: bool| {
        let world = World::new();
        fs::remove_dir_all(world.path("one")).unwrap();
        for i in 0..1000u32 {
            let path = world.path("one").join(format!("d{}/f{i}", i % 10));
            write(&path, noise(u64::from(i), 20));
            touch(
                &path,
                1_700_000_000 + u64::from(i) / 50,
                i.wrapping_mul(2_654_435_761) % 1_000_000_000,
            );
        }
        let mut first = world.publishing("r1", "one");
        first.scan.mtime = mtime;
        publish(&world.store(), &first, &Quiet).unwrap();
        for i in (0..1000u32).filter(|_| again) {
            let path = world.path("one").join(format!("d{}/f{i}", i % 10));
            touch(
                &path,
                1_800_000_000 + u64::from(i) / 50,
                i.wrapping_mul(2_246_822_519) % 1_000_000_000,
            );
        }
        write(world.path("one/d1/new"), "new");
        let mut second = world.publishing("r2", "one");
        second.scan.mtime = mtime;
        publish(&world.store(), &second, &Quiet).unwrap();
        let site = world.site("site", |_| {});
        update(&site).unwrap();
        let stats = elfup::farm::stats(&world.store(), &World::follow(), &Quiet).unwrap();
        stats
            .iter()
            .find(|s| s.from.as_deref() == Some("r1"))
            .unwrap()
            .step
    };
    let (kept, fresh, common) = (step(None, false), step(None, true), step(Some(1), true));
    eprintln!("step bytes for 1000 files: times kept {kept}, all changed {fresh}, one time {common}");
    assert!(kept < 1000 && common < 1000, "{kept} {common}");
    assert!(fresh < 12_000, "{fresh}");
    let _ = UpdateOptions::default();
}
