//! A release that sites with their limits could not take is refused before anything of it is signed: a control for
//! each limit.

use crate::world::{World, copy, runs, update, write};
use elfup::Quiet;
use elfup::farm::{SiteLimits, publish};
use std::path::Path;

/// A limit by name.
type Field = (&'static str, fn(&mut SiteLimits) -> &mut u64);

const FIELDS: [Field; 13] = [
    ("path", |l| &mut l.path),
    ("name", |l| &mut l.name),
    ("xattrs", |l| &mut l.xattrs),
    ("entries", |l| &mut l.entries),
    ("manifest", |l| &mut l.manifest),
    ("step", |l| &mut l.step),
    ("step_plain", |l| &mut l.step_plain),
    ("channel", |l| &mut l.channel),
    ("bundle", |l| &mut l.bundle),
    ("group", |l| &mut l.group),
    ("piece", |l| &mut l.piece),
    ("window", |l| &mut l.window),
    ("memory", |l| &mut l.memory),
];

/// With a limit of nothing the release is refused, and so with any below what it was told to need; with all it needs
/// it is published. In between nothing of the repository that sites read has changed.
#[test]
fn every_limit_of_sites_is_proven_before_signing() {
    let world = World::new();
    let marked = rustix::fs::setxattr(
        world.path("two/bin/ls"),
        "user.mark",
        b"yes",
        rustix::fs::XattrFlags::empty(),
    );
    // Programs that change alike travel as a group.
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/kinds");
    for kind in ["cxx", "names", "rust", "linked"] {
        for (tree, n) in [("one", 1), ("two", 2)] {
            let program = std::fs::read(seeds.join(format!("{kind}-{n}"))).unwrap();
            write(world.path(tree).join("bin").join(kind), program);
        }
    }
    world.publish("r1", "one").unwrap();
    let (base, repo) = (world.path("base-repo"), world.repo());
    copy(&repo, &base);
    for (name, field) in FIELDS {
        if name == "xattrs" && marked.is_err() {
            eprintln!("skipped: no extended attributes here");
            continue;
        }
        copy(&base, &repo);
        let timestamp = || std::fs::read(repo.join("tuf/timestamp.json")).unwrap();
        let before = timestamp();
        let mut asked = world.publishing("r2", "two");
        *field(&mut asked.sites) = 0;
        let mut refused = 0;
        while let Err(e) = publish(&world.store(), &asked, &Quiet) {
            let text = e.to_string();
            assert_eq!(e.exit_code(), 2, "{text}");
            let told = text.split(" is ").nth(1).and_then(|t| t.split(',').next());
            let needed = told.and_then(|t| t.parse::<u64>().ok());
            let needed = needed.unwrap_or_else(|| panic!("{name}: {text}"));
            assert!(text.contains("no site could take"), "{text}");
            assert!(needed > *field(&mut asked.sites), "{name}: {text}");
            assert_eq!(timestamp(), before, "{name}");
            *field(&mut asked.sites) = needed;
            refused += 1;
        }
        assert!(refused > 0, "{name} is not looked at");
        assert_ne!(timestamp(), before, "{name}");
        // Jobs and blobs are kept, as they are when a publish is run again.
        if name == "path" {
            std::fs::remove_dir_all(base.join("work")).unwrap();
            copy(&repo.join("work"), &base.join("work"));
        }
    }
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}

/// The real limit on the number of bytes of a manifest.
#[test]
fn a_manifest_beyond_the_limit_is_never_the_head() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let name = "n".repeat(240);
    for dir in 0..17 {
        let dir = world.path("two").join(format!("{dir:03}{name}"));
        write(dir.join("first"), "");
        // Links to one file: a line each, and no blob.
        for number in 0..6000 {
            std::os::unix::fs::symlink(&name, dir.join(format!("{number:05}{name}"))).unwrap();
        }
    }
    let error = world.publish("r2", "two").unwrap_err();
    assert!(error.to_string().contains("the size of its manifest"), "{error}");
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    assert_eq!(runs(&site), "r1");
}
