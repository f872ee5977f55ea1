//! Attacks by somebody who has the online keys: what signatures cannot refuse, the checks behind them must.

use crate::world::{World, noise, runs, update, write};
use elfup::manifest::Manifest;
use elfup::site::{Config, Item, Objective, Site, UpdateOptions, Way};
use elfup::step::{self, Applying, BundleRow, Channel, DeltaRow, Piece, Table};
use elfup::store::{LocalStore, Store};
use elfup::trust::{Lifetimes, Signer};
use elfup::{Digest, Error, Quiet, names};
use std::fs;
use std::os::unix::fs::symlink;

/// Signs another channel file than the farm's own.
fn forge(world: &World, change: impl FnOnce(&LocalStore, &mut Channel)) {
    let store = LocalStore::new(&world.repo());
    let target = World::follow().target();
    let digest = Signer::signed(&store, &target).unwrap().unwrap();
    let bytes = store.get(&names::target_file(&target, &digest), 1 << 20);
    let mut channel = Channel::parse(&bytes.unwrap().unwrap(), &World::follow()).unwrap();
    change(&store, &mut channel);
    let bytes = serde_json::to_vec(&channel).unwrap();
    let digest = Digest::of(&bytes);
    store.put(&names::target_file(&target, &digest), &bytes).unwrap();
    let keys = world.path("keys");
    let signer = Signer::new(&store, &keys, Lifetimes::default());
    signer.release(&[(target, bytes.len() as u64, digest)]).unwrap();
}

fn plain_manifest(store: &LocalStore, digest: &Digest) -> Vec<u8> {
    let packed = store.get(&names::manifest(digest), 1 << 20).unwrap().unwrap();
    zstd::decode_all(&packed[..]).unwrap()
}

/// Programs that change between the two releases.
const CHANGED: [&str; 2] = ["bin/cp", "bin/ls"];

/// Replaces the step from the first release to the head by one with a real delta for each changed program, as
/// `change` leaves it; all digests fit again.
fn forge_step(world: &World, change: impl FnOnce(&mut Vec<Vec<u8>>, &mut Table)) {
    forge(world, |store, channel| {
        let from = plain_manifest(store, &channel.releases[0].manifest);
        let head = channel.releases.last().unwrap().clone();
        let to = plain_manifest(store, &head.manifest);
        let steps = &mut channel.releases.last_mut().unwrap().steps;
        let from_digest = Some(Digest::of(&from));
        let reference = steps.iter_mut().find(|s| s.from == from_digest).unwrap();
        let file = store
            .get(&names::step(&reference.digest), 1 << 20)
            .unwrap()
            .unwrap();
        let step = step::read(&file, &from, &head).unwrap();
        let (mut table, mut pieces) = (step.table.clone(), Vec::new());
        (table.deltas, table.bundles) = (Vec::new(), Vec::new());
        for (piece, path) in CHANGED.into_iter().enumerate() {
            let entry = |m: &Manifest| m.entries.iter().position(|e| e.path == path.as_bytes()).unwrap();
            let [old, new] = ["one", "two"].map(|t| fs::read(world.path(t).join(path)).unwrap());
            let delta = elfdelta::diff(&old, &new, &elfdelta::Options::default(), &elfdelta::Silent).unwrap();
            table.deltas.push(DeltaRow {
                from: entry(step.from.as_ref().unwrap()),
                to: entry(&step.to),
                piece,
                at: 0,
                length: delta.bytes.len() as u64,
                profile: elfdelta::Profile::Default,
                micros: 0,
                memory: 0,
                scratch: 0,
                encoders: Vec::new(),
            });
            pieces.push(delta.bytes);
        }
        change(&mut pieces, &mut table);
        let rows = pieces.iter().map(|bytes| Piece {
            length: bytes.len() as u64,
            digest: Digest::of(bytes),
        });
        table.pieces = rows.collect();
        let pack = pieces.concat();
        table.pack = Some(Digest::of(&pack));
        store.put(&names::pack(&Digest::of(&pack)), &pack).unwrap();
        let file = step::write(&table, &from, &to, &Quiet).unwrap();
        (reference.digest, reference.size) = (Digest::of(&file), file.len() as u64);
        store.put(&names::step(&reference.digest), &file).unwrap();
    });
}

/// A site at the first release that prefers few bytes, so that it takes any delta there is.
fn frugal() -> (World, Site) {
    let (world, site) = World::ready();
    let site = configure(site, |c| c.objective = Objective::Bytes);
    (world, site)
}

fn configure(site: Site, change: impl FnOnce(&mut Config)) -> Site {
    let root = site.root().to_owned();
    drop(site);
    let mut config = Config::load(&root.join("site.json")).unwrap();
    change(&mut config);
    config.save(&root.join("site.json")).unwrap();
    Site::open(&root).unwrap()
}

/// Without the whole files the old release stays; with them the new one is reached past the forged deltas.
fn outlives(world: &World, site: Site) {
    let blob = |path: &&str| names::blob(&Digest::of(&fs::read(world.path("two").join(path)).unwrap()));
    let blobs = CHANGED.each_ref().map(blob).map(|b| world.repo().join(b));
    for blob in &blobs {
        fs::rename(blob, blob.with_extension("away")).unwrap();
    }
    let error = update(&site).unwrap_err();
    assert!(matches!(error, Error::OutOfOptions { .. }), "{error}");
    assert_eq!(runs(&site), "r1");
    for blob in &blobs {
        fs::rename(blob.with_extension("away"), blob).unwrap();
    }
    let site = world.reopen(site);
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert!(updated.fetched.failed_options >= 2, "{updated:?}");
    assert_eq!(updated.fetched.deltas, 0);
}

#[test]
fn forged_deltas_that_are_good_are_taken() {
    let (world, site) = frugal();
    forge_step(&world, |_, _| {});
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!((updated.fetched.deltas, updated.fetched.failed_options), (2, 0));
}

#[test]
fn malicious_delta_of_noise() {
    let (world, site) = frugal();
    forge_step(&world, |pieces, _| {
        pieces.iter_mut().for_each(|bytes| *bytes = noise(5, bytes.len()));
    });
    outlives(&world, site);
}

#[test]
fn malicious_delta_that_begins_well() {
    let (world, site) = frugal();
    forge_step(&world, |pieces, _| {
        for bytes in pieces {
            let half = bytes.len() / 2;
            bytes[half..].iter_mut().for_each(|b| *b = !*b);
        }
    });
    outlives(&world, site);
}

#[test]
fn malicious_delta_for_another_file() {
    let (world, site) = frugal();
    forge_step(&world, |pieces, table| {
        pieces.reverse();
        for row in &mut table.deltas {
            row.length = pieces[row.piece].len() as u64;
        }
    });
    outlives(&world, site);
}

/// A delta with a wrong digest must not even reach the parser: it is dropped as a piece.
#[test]
fn malicious_delta_is_hashed_before_it_is_parsed() {
    let (world, site) = frugal();
    forge_step(&world, |_, _| {});
    let store = LocalStore::new(&world.repo());
    for path in store.list("packs").unwrap() {
        let mut bytes = store.get(&path, 1 << 30).unwrap().unwrap();
        bytes.iter_mut().for_each(|b| *b = !*b);
        store.replace(&path, &bytes).unwrap();
    }
    let repo = world.repo();
    fs::rename(repo.join("blobs"), repo.join("away")).unwrap();
    let Err(Error::OutOfOptions { why, .. }) = update(&site) else {
        panic!("there is no good option");
    };
    let hashed =
        |e: &String| e.contains("is not what was signed") || e.contains("no source delivered blobs/");
    assert!(why.iter().all(hashed), "the engine saw it: {why:?}");
    assert_eq!(runs(&site), "r1");
}

#[test]
fn decompression_bomb_in_a_bundle() {
    let (world, site) = frugal();
    forge_step(&world, |pieces, table| {
        let bomb = zstd::bulk::compress(&vec![0; 512 << 20], 3).unwrap();
        for (row, piece) in std::mem::take(&mut table.deltas).into_iter().zip(pieces) {
            *piece = bomb.clone();
            table.bundles.push(BundleRow {
                piece: row.piece,
                bases: vec![row.from],
                targets: vec![row.to],
                patch: None,
            });
        }
    });
    outlives(&world, site);
}

/// Makes bundles of the deltas, patches with what the table says of them.
fn bundled(table: &mut Table) {
    for row in std::mem::take(&mut table.deltas) {
        table.bundles.push(BundleRow {
            piece: row.piece,
            bases: vec![row.from],
            targets: vec![row.to],
            patch: Some(Applying {
                micros: 0,
                memory: 0,
                scratch: 0,
            }),
        });
    }
}

#[test]
fn forged_patches_of_bundles_that_are_good_are_taken() {
    let (world, site) = frugal();
    forge_step(&world, |_, table| bundled(table));
    let fetched = update(&site).unwrap().fetched;
    assert_eq!(runs(&site), "r2");
    assert_eq!((fetched.bundled, fetched.failed_options), (2, 0));
}

#[test]
fn malicious_patches_of_bundles() {
    type Forge = fn(&mut Vec<Vec<u8>>);
    let forges: [Forge; 4] = [
        // For other bases, and so of other lengths.
        |pieces| pieces.reverse(),
        |pieces| {
            pieces
                .iter_mut()
                .for_each(|bytes| bytes.truncate(bytes.len() / 2))
        },
        |pieces| pieces.iter_mut().for_each(|bytes| *bytes = noise(6, bytes.len())),
        // Frames where patches were promised.
        |pieces| {
            pieces
                .iter_mut()
                .for_each(|bytes| *bytes = zstd::bulk::compress(&[0; 9000], 3).unwrap())
        },
    ];
    for forge in forges {
        let (world, site) = frugal();
        forge_step(&world, |pieces, table| {
            bundled(table);
            forge(pieces);
        });
        outlives(&world, site);
    }
}

/// The table may lie about memory: what the delta itself declares counts.
#[test]
fn memory_bomb_behind_a_modest_table() {
    let (world, site) = frugal();
    let site = configure(site, |c| c.memory = 11 << 20);
    forge_step(&world, |_, _| {});
    let planned = site.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    let delta_first = |i: &&Item| matches!(i.options[0].way, Way::Delta(_));
    assert_eq!(planned.plan.items.iter().filter(delta_first).count(), 2);
    outlives(&world, site);
}

/// A release whose manifest was written by hand; its digests are right.
fn forge_manifest(world: &World, lines: &[String]) {
    forge(world, |store, channel| {
        let head = channel.releases.last_mut().unwrap();
        let plain = plain_manifest(store, &head.manifest);
        let text = String::from_utf8_lossy(&plain);
        let header = text.lines().next().unwrap();
        let value: serde_json::Value = serde_json::from_str(header).unwrap();
        let count = |n: usize| format!("\"entries\":{n}");
        let had = value["entries"].as_u64().unwrap() as usize;
        let mut header = header.replace(&count(had), &count(lines.len()));
        let used = value["features"].to_string();
        header = header.replace(&format!("\"features\":{used}"), "\"features\":[]");
        let text = format!("{header}\n{}\n", lines.join("\n"));
        head.manifest = Digest::of(text.as_bytes());
        head.manifest_size = text.len() as u64;
        head.steps.clear();
        let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
        head.manifest_stored = packed.len() as u64;
        store.put(&names::manifest(&head.manifest), &packed).unwrap();
    });
}

#[test]
fn path_traversal() {
    let (world, site) = World::ready();
    let content = fs::read(world.path("two/etc/app.conf")).unwrap();
    let stored = fs::metadata(world.repo().join(names::blob(&Digest::of(&content))));
    let file = |path: &str| {
        let (digest, stored) = (Digest::of(&content), stored.as_ref().unwrap().len());
        let size = content.len();
        format!(r#"{{"p":"{path}","t":"f","m":420,"s":{size},"h":"{digest}","z":{stored}}}"#)
    };
    let root = r#"{"p":".","t":"d","m":493}"#.to_owned();
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    let link = format!(r#"{{"p":"a","t":"l","l":"{}"}}"#, outside.to_str().unwrap());
    // The same release without a trick is taken, so that the refusals below are for the path.
    for lines in [
        vec![root.clone(), file("../outside/x")],
        vec![root.clone(), file("../../../outside/x")],
        vec![root.clone(), file(outside.join("x").to_str().unwrap())],
        vec![root.clone(), file("a/../../outside/x")],
        vec![root.clone(), file("a%2F..%2F..%2Fx")],
        vec![root.clone(), link.clone(), file("a/x")],
        vec![root.clone(), file("x"), file("x")],
        vec![
            root.clone(),
            r#"{"p":"x","t":"h","l":"../../../state/trust"}"#.to_owned(),
        ],
    ] {
        forge_manifest(&world, &lines);
        let error = update(&site).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{lines:?}: {error}");
        assert!(!error.to_string().contains("does not fit"), "{lines:?}: {error}");
        assert_eq!(runs(&site), "r1");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
    forge_manifest(&world, &[root, link, file("x")]);
    update(&site).unwrap();
    assert_eq!(fs::read(world.path("site/current/x")).unwrap(), content);
}

/// Whoever may write configuration in the running tree gets nothing of root's into the next one.
#[test]
fn symlinks_in_the_running_tree_are_not_followed() {
    let (world, site) = World::ready();
    let secret = world.path("secret");
    write(secret.join("app.conf"), "secret\n");
    let etc = world.path("site/current/etc");
    fs::remove_file(etc.join("app.conf")).unwrap();
    symlink(secret.join("app.conf"), etc.join("app.conf")).unwrap();
    symlink(&secret, etc.join("sub")).unwrap();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    // Kept as the links they are: what they point to was not read into the tree.
    assert_eq!(
        fs::read_link(etc.join("app.conf")).unwrap(),
        secret.join("app.conf")
    );
    assert_eq!(fs::read_link(etc.join("sub")).unwrap(), secret);
}

#[test]
fn symlink_races() {
    let (world, site) = World::ready();
    let secret = world.path("secret");
    write(&secret, "secret\n");
    let etc = fs::canonicalize(world.path("site/current/etc")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                write(etc.join("plain"), "mine\n");
                let _ = fs::rename(etc.join("plain"), etc.join("mine.conf"));
                // A switch may have brought it back in the meantime.
                let _ = symlink(&secret, etc.join("link"));
                let _ = fs::rename(etc.join("link"), etc.join("mine.conf"));
            }
        });
        for round in 0..30 {
            // An update may be refused while it sees a path change; it must not carry the secret over.
            let _ = update(&site);
            // A link is kept as one; a file with the secret in it would have been read through one.
            let mine = world.path("site/current/etc/mine.conf");
            let is_file = fs::symlink_metadata(&mine).is_ok_and(|m| m.is_file());
            let carried = fs::read(&mine).unwrap_or_default();
            if runs(&site) == "r2" {
                let leaked = is_file && carried == b"secret\n";
                if leaked {
                    stop.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                assert!(!leaked, "round {round}");
                site.rollback(&Quiet).unwrap();
                let kept = fs::read_dir(world.path("site/deployments")).unwrap().flatten();
                for old in kept.filter(|e| !etc.starts_with(fs::canonicalize(e.path()).unwrap())) {
                    fs::remove_dir_all(old.path()).unwrap();
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// What was checked when it was fetched is checked again when it is used.
#[test]
fn swapped_object_between_fetch_and_activate() {
    let (world, site) = World::ready();
    let options = UpdateOptions {
        fetch_only: true,
        ..UpdateOptions::default()
    };
    site.update(&options, &Quiet).unwrap();
    let digest = Digest::of(&fs::read(world.path("two/bin/ls")).unwrap()).to_string();
    let dir = world.path("site/objects").join(&digest[..2]);
    let victims = fs::read_dir(dir).unwrap().flatten();
    for victim in victims.filter(|e| e.file_name().to_str().unwrap().starts_with(&digest)) {
        let size = victim.metadata().unwrap().len() as usize;
        fs::write(victim.path(), noise(1, size)).unwrap();
    }
    assert!(matches!(site.activate(&Quiet), Err(Error::Damaged(_))));
    assert_eq!(runs(&site), "r1");
    // The way out is the plain one.
    let site = world.reopen(site);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}

#[test]
fn swapped_piece_between_fetch_and_apply() {
    struct StopAtRebuild(std::sync::atomic::AtomicBool);
    impl elfup::Watch for StopAtRebuild {
        fn progress(&self, stage: &str, _: u64, _: u64) {
            self.0
                .fetch_or(stage == "rebuild", std::sync::atomic::Ordering::Relaxed);
        }
        fn cancelled(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::Relaxed)
        }
    }
    let (world, site) = World::ready();
    let stopped = site.update(&UpdateOptions::default(), &StopAtRebuild(false.into()));
    assert!(matches!(stopped, Err(Error::Cancelled)));
    let mut swapped = 0;
    for entry in fs::read_dir(world.path("site/partial")).unwrap().flatten() {
        if entry.file_name().to_str().unwrap().ends_with(".piece") {
            let size = entry.metadata().unwrap().len() as usize;
            fs::write(entry.path(), noise(2, size)).unwrap();
            swapped += 1;
        }
    }
    assert!(swapped > 0);
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert!(updated.account.wasted > 0, "{updated:?}");
}

/// New metadata versions over an old channel file: the head's sequence is remembered.
#[test]
fn rollback_of_the_channel() {
    let (world, site) = World::ready();
    update(&site).unwrap();
    forge(&world, |_, channel| drop(channel.releases.pop()));
    let error = update(&site).unwrap_err();
    assert!(matches!(error, Error::Untrusted(_)), "{error}");
    assert!(error.to_string().contains("rollback"), "{error}");
    assert_eq!(runs(&site), "r2");
}
