//! `farm gc`, `farm repair`, `repo export` and `stick prepare` struck at every system call: run again they complete, and sites follow.

use super::{copy, keys::again, small, strace_works, sweep};
use crate::world::{World, runs, update, write};
use elfup::Quiet;
use elfup::farm::{Verify, verify};
use elfup::store::LocalStore;
use std::fs;
use std::path::Path;
use std::process::Command;

fn text(world: &World, name: &str) -> String {
    world.path(name).to_str().unwrap().to_owned()
}

fn is_whole(repo: &Path, at: &str) {
    let options = Verify {
        sample: 100,
        resume: false,
        threads: 1,
    };
    let found = verify(&LocalStore::new(repo), &options, &Quiet).unwrap_or_else(|e| panic!("{at}: {e}"));
    assert!(found.wrong.is_empty(), "{at}: {:?}", found.wrong);
}

/// A site that knows nothing comes to the second release from this source.
fn follows(world: &World, source: &str, at: &str) {
    let _ = fs::remove_dir_all(world.path("reader"));
    let site = world.site("reader", |c| c.sources = vec![source.into()]);
    update(&site).unwrap_or_else(|e| panic!("{at}: a site: {e}"));
    assert_eq!(runs(&site), "r2", "{at}");
}

fn two_releases() -> World {
    let world = small();
    world.publish("r1", "one").unwrap();
    world.publish("r2", "two").unwrap();
    copy(&world.repo(), &world.path("saved"));
    world
}

#[test]
fn farm_gc_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = two_releases();
    let [repo, keys] = ["repo", "keys"].map(|n| text(&world, n));
    let mut gc = vec!["farm", "gc", "--repo", &repo, "--keys", &keys, "--keep", "1"];
    gc.extend(["--product", "demo", "--arch", "x86_64"]);
    sweep(&gc, &|| copy(&world.path("saved"), &world.repo()), &|at| {
        is_whole(&world.repo(), at);
        follows(&world, &repo, at);
        again(&gc, at);
        is_whole(&world.repo(), at);
        let manifests = fs::read_dir(world.repo().join("manifests")).unwrap().flatten();
        // That of the release, and the one that the step to it starts from.
        assert_eq!(
            manifests
                .filter(|e| !e.file_name().to_str().unwrap().starts_with(".tmp"))
                .count(),
            2,
            "{at}"
        );
    });
}

#[test]
fn farm_repair_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = two_releases();
    copy(&world.repo(), &world.path("mirror"));
    for dir in ["blobs", "packs", "manifests", "tuf"] {
        let files =
            elfup::store::Store::list(&elfup::store::LocalStore::new(&world.path("saved")), dir).unwrap();
        let last = files.iter().rfind(|f| !f.ends_with("timestamp.json")).unwrap();
        write(world.path("saved").join(last), "bad");
    }
    let [repo, mirror] = ["repo", "mirror"].map(|n| text(&world, n));
    let repair = [
        "farm",
        "repair",
        "--repo",
        &repo,
        "--from",
        &mirror,
        "--threads",
        "1",
    ];
    sweep(&repair, &|| copy(&world.path("saved"), &world.repo()), &|at| {
        again(&repair, at);
        is_whole(&world.repo(), at);
        follows(&world, &repo, at);
    });
}

/// A verification that is told to stop keeps its place, and is struck while it does.
#[test]
fn farm_verify_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = small();
    for i in 0..300 {
        write(world.path("one").join(format!("many/{i}")), format!("file {i}"));
    }
    world.publish("r1", "one").unwrap();
    let blob = elfup::store::Store::list(&elfup::store::LocalStore::new(&world.repo()), "blobs").unwrap();
    write(world.repo().join(blob.last().unwrap()), "bad");
    copy(&world.repo(), &world.path("saved"));
    let repo = text(&world, "repo");
    let verify = [
        "farm",
        "verify",
        "--repo",
        &repo,
        "--threads",
        "1",
        "--resume",
        "--json",
    ];
    // Reading hundreds of files takes more openings than all before it.
    let stop = ("openat", "signal=TERM:when=200");
    assert!(super::faulty(&verify, &[stop], "").is_none());
    let progress = world.repo().join("work/verify.json");
    assert!(progress.exists());
    let reset = || copy(&world.path("saved"), &world.repo());
    super::sweep_with(&verify, Some(stop), &reset, &|at| {
        let rest = Command::new(super::ELFUP).args(verify).output().unwrap();
        assert_eq!(rest.status.code(), Some(7), "{at}: {rest:?}");
        let told: serde_json::Value = serde_json::from_slice(&rest.stdout).unwrap();
        assert_eq!(told["checked"], told["files"], "{at}: {told}");
        assert_eq!(told["wrong"].as_array().map(Vec::len), Some(1), "{at}: {told}");
        assert!(!progress.exists(), "{at}");
    });
}

#[test]
fn export_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = two_releases();
    let [repo, stick] = ["repo", "stick"].map(|n| text(&world, n));
    let mut export = vec!["repo", "export", &repo, "--since", "r1"];
    export.extend(["--product", "demo", "--arch", "x86_64", &stick]);
    let old = world.site("old", |c| {
        c.sources = vec![repo.clone()];
    });
    old.update(
        &elfup::site::UpdateOptions {
            wanted: elfup::site::Wanted::Release {
                id: "r1".into(),
                below_floor: false,
            },
            ..Default::default()
        },
        &Quiet,
    )
    .unwrap();
    let mut config = elfup::site::Config::load(&world.path("old/site.json")).unwrap();
    config.sources = vec![stick.clone()];
    config.save(&world.path("old/site.json")).unwrap();
    drop(old);
    copy(&world.path("old"), &world.path("saved-old"));
    sweep(&export, &|| drop(fs::remove_dir_all(&stick)), &|at| {
        again(&export, at);
        copy(&world.path("saved-old"), &world.path("old"));
        let site = elfup::site::Site::open(&world.path("old")).unwrap();
        update(&site).unwrap_or_else(|e| panic!("{at}: a site: {e}"));
        assert_eq!(runs(&site), "r2", "{at}");
    });
}

/// A stick that came back with a report is made ready: killed anywhere, the same command completes.
#[test]
fn stick_prepare_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = small();
    world.publish("r1", "one").unwrap();
    let [repo, stick] = ["repo", "stick"].map(|n| text(&world, n));
    let follow = "demo/stable/x86_64";
    let prepare = ["stick", "prepare", "--repo", &repo, "--follow", follow, &stick];
    again(&prepare, "the first time");
    let site = world.site("old", |c| c.sources = vec![stick.clone()]);
    update(&site).unwrap();
    site.report_back(&Quiet);
    drop(site);
    world.publish("r2", "two").unwrap();
    for saved in ["old", "stick"] {
        copy(&world.path(saved), &world.path(&format!("saved-{saved}")));
    }
    let reset = || copy(&world.path("saved-stick"), &world.path("stick"));
    sweep(&prepare, &reset, &|at| {
        again(&prepare, at);
        copy(&world.path("saved-old"), &world.path("old"));
        let site = elfup::site::Site::open(&world.path("old")).unwrap();
        update(&site).unwrap_or_else(|e| panic!("{at}: a site: {e}"));
        assert_eq!(runs(&site), "r2", "{at}");
        site.report_back(&Quiet);
        let told = elfup::report::read(&world.path("stick"), &mut |name, why| {
            panic!("{at}: {name}: {why}")
        });
        assert_eq!(told.unwrap().len(), 1, "{at}");
    });
}
