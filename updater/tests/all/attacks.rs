//! The attack list: each refused, with the tree unchanged.

use crate::server::{Fault, Server};
use crate::world::{World, runs, update, write};
use elfup::farm::publish;
use elfup::site::Site;
use elfup::store::{LocalStore, Store};
use elfup::trust::{Lifetimes, Signer};
use elfup::{Error, Quiet};
use std::fs;
use std::path::Path;

fn copy_dir(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success());
}

fn refused(site: &Site) -> String {
    let before = runs(site);
    let error = update(site).expect_err("must be refused");
    let refusal = matches!(
        error,
        Error::Untrusted(_)
            | Error::Malformed { .. }
            | Error::TooNew(_)
            | Error::Network(_)
            | Error::Stale(..)
    );
    assert!(refusal, "{error:?}");
    assert_eq!(runs(site), before);
    error.to_string()
}

/// A second farm with its own keys takes over the server.
#[test]
fn arbitrary_software_signed_by_others() {
    let (world, site) = World::ready();
    let other = World::new();
    other.publish("r1", "one").unwrap();
    other.publish("r9", "two").unwrap();
    copy_dir(&other.repo(), &world.repo());
    assert!(refused(&site).contains("signatures"));
}

#[test]
fn arbitrary_software_in_a_pack_or_blob_or_step() {
    let (world, site) = World::ready();
    let other = World::new();
    write(other.path("two/bin/ls"), "evil");
    let store = LocalStore::new(&world.repo());
    for path in store.list("steps").unwrap() {
        store.replace(&path, b"not the step").unwrap();
    }
    // Without steps it comes by manifest and whole files, all of them checked.
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}

#[test]
fn rollback_to_older_metadata() {
    let (world, site) = World::ready();
    let store = LocalStore::new(&world.repo());
    let old = store.get("tuf/timestamp.json", 1 << 20).unwrap().unwrap();
    update(&site).unwrap();
    write(world.path("two/share/x"), "x");
    world.publish("r3", "two").unwrap();
    update(&site).unwrap();
    store.replace("tuf/timestamp.json", &old).unwrap();
    assert!(refused(&site).contains("rollback"));
}

/// A torn or missing high-water mark must never be taken for a fresh start.
#[test]
fn rollback_with_the_stored_state_truncated_at_every_length() {
    let (world, site) = World::ready();
    let store = LocalStore::new(&world.repo());
    let trust = world.path("site/state/trust");
    let old = store.get("tuf/timestamp.json", 1 << 20).unwrap().unwrap();
    update(&site).unwrap();
    write(world.path("two/share/x"), "x");
    world.publish("r3", "two").unwrap();
    update(&site).unwrap();
    store.replace("tuf/timestamp.json", &old).unwrap();
    let whole = fs::read(&trust).unwrap();
    for length in (0..whole.len())
        .step_by(if whole.len() > 4000 { 37 } else { 1 })
        .chain(whole.len() - 70..whole.len())
    {
        fs::write(&trust, &whole[..length]).unwrap();
        let error = site.check(&Quiet).expect_err("torn state");
        assert!(matches!(error, Error::TrustState(_)), "{length}: {error}");
    }
    for at in (0..whole.len()).step_by(101) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&trust, flipped).unwrap();
        assert!(matches!(site.check(&Quiet), Err(Error::TrustState(_))));
    }
    fs::remove_file(&trust).unwrap();
    assert!(matches!(site.check(&Quiet), Err(Error::TrustState(_))));
    assert_eq!(runs(&site), "r3");
    // The administrator's way out keeps the running release as the least that is accepted.
    site.recover(&fs::read(world.repo().join("tuf/1.root.json")).unwrap())
        .unwrap();
    assert!(refused(&site).contains("rollback"));
}

#[test]
fn freeze_is_stale_and_never_up_to_date() {
    let world = World::new();
    let mut first = world.publishing("r1", "one");
    first.lifetimes.timestamp = 1;
    publish(&world.store(), &first, &Quiet).unwrap();
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    let mut second = world.publishing("r2", "two");
    second.lifetimes = Lifetimes {
        timestamp: 0,
        ..Lifetimes::default()
    };
    publish(&world.store(), &second, &Quiet).unwrap();
    let error = site.check(&Quiet).unwrap_err();
    assert!(
        matches!(error, Error::Stale(..)) && error.exit_code() == 4,
        "{error}"
    );
    assert!(refused(&site).contains("stale since"));
}

#[test]
fn fast_forward_is_undone_by_new_keys() {
    let (world, site) = World::ready();
    update(&site).unwrap();
    // A thief of the online keys publishes a far sequence of versions.
    copy_dir(&world.repo(), &world.path("saved"));
    let store = LocalStore::new(&world.repo());
    let keys = world.path("keys");
    let signer = Signer::new(&store, &keys, Lifetimes::default());
    for _ in 0..5 {
        signer.renew().unwrap();
    }
    assert!(!update(&site).unwrap().changed);
    copy_dir(&world.path("saved"), &world.repo());
    assert!(refused(&site).contains("rollback"));
    // The operator replaces the stolen keys: the versions begin anew.
    for role in ["timestamp", "snapshot", "release"] {
        Signer::new(&store, &keys, Lifetimes::default())
            .rotate(role)
            .unwrap();
    }
    assert!(!update(&site).unwrap().changed);
    write(world.path("two/share/x"), "x");
    world.publish("r3", "two").unwrap();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r3");
}

#[test]
fn mix_and_match_of_two_states() {
    let (world, site) = World::ready();
    let store = LocalStore::new(&world.repo());
    let old = store.get("tuf/2.snapshot.json", 1 << 20).unwrap().unwrap();
    store.replace("tuf/3.snapshot.json", &old).unwrap();
    assert!(refused(&site).contains("not the file"));
}

#[test]
fn wrong_product_channel_or_architecture() {
    let (world, site) = World::ready();
    let store = LocalStore::new(&world.repo());
    let other = elfup::names::Follow::new("other", "stable", "x86_64").unwrap();
    let mut foreign = world.publishing("z1", "two");
    foreign.follow = other.clone();
    publish(&world.store(), &foreign, &Quiet).unwrap();
    // A thief with the release key signs the other product's file under our name.
    let dir = "channels/other/stable";
    let file = store.list(dir).unwrap().pop().unwrap();
    let bytes = store.get(&file, 1 << 20).unwrap().unwrap();
    let digest = elfup::Digest::of(&bytes);
    let target = World::follow().target();
    store
        .put(&elfup::names::target_file(&target, &digest), &bytes)
        .unwrap();
    let keys = world.path("keys");
    let signer = Signer::new(&store, &keys, Lifetimes::default());
    signer.release(&[(target, bytes.len() as u64, digest)]).unwrap();
    assert!(refused(&site).contains("is about"));
}

#[test]
fn endless_data() {
    let (world, site) = World::ready();
    let server = Server::start(&world.repo(), Fault::Endless);
    let site = point(site, &server.url, 60);
    assert!(refused(&site).contains("longer than"));
}

#[test]
fn slow_retrieval() {
    let (world, site) = World::ready();
    let server = Server::start(&world.repo(), Fault::Trickle);
    let site = point(site, &server.url, 1);
    let begin = std::time::Instant::now();
    assert!(refused(&site).contains("too slow"));
    assert!(begin.elapsed().as_secs() < 20);
}

fn point(site: Site, url: &str, stall: u64) -> Site {
    let root = site.root().to_owned();
    drop(site);
    let mut config = elfup::site::Config::load(&root.join("site.json")).unwrap();
    config.sources = vec![url.into()];
    config.stall = stall;
    config.save(&root.join("site.json")).unwrap();
    Site::open(&root).unwrap()
}

#[test]
fn key_compromise_and_rotation() {
    let (world, site) = World::ready();
    let store = LocalStore::new(&world.repo());
    let keys = world.path("keys");
    copy_dir(&keys, &world.path("stolen"));
    copy_dir(&world.repo(), &world.path("stolen-repo"));
    for role in ["release", "targets", "root", "timestamp"] {
        Signer::new(&store, &keys, Lifetimes::default())
            .rotate(role)
            .unwrap();
    }
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    // The thief still has the old keys; metadata that they sign is worth nothing.
    write(world.path("two/bin/ls"), "evil");
    let mut evil = world.publishing("r3", "two");
    evil.keys = world.path("stolen");
    let refusal = publish(&world.store(), &evil, &Quiet).unwrap_err().to_string();
    assert!(refusal.contains("nothing was signed"), "{refusal}");
    let stolen = world.path("stolen-repo");
    publish(&LocalStore::new(&stolen), &evil, &Quiet).unwrap();
    for entry in fs::read_dir(stolen.join("tuf")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().ends_with("root.json") {
            fs::copy(&path, world.repo().join("tuf").join(path.file_name().unwrap())).unwrap();
        }
    }
    assert!(refused(&site).contains("signatures"));
}

#[test]
fn a_threshold_of_root_keys_is_needed() {
    let world = World::new();
    let (keys, repo) = (world.path("many"), world.path("many-repo"));
    Signer::make_keys(&keys, 3).unwrap();
    let store = LocalStore::new(&repo);
    Signer::new(&store, &keys, Lifetimes::default()).init(2).unwrap();
    let root = fs::read(repo.join("tuf/1.root.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&root).unwrap();
    value["signatures"].as_array_mut().unwrap().truncate(1);
    let config = elfup::site::Config::new(World::follow(), vec![repo.to_str().unwrap().into()]);
    let few = Site::init(&world.path("a"), &config, value.to_string().as_bytes());
    assert!(matches!(few, Err(Error::Untrusted(_))));
    let mut doubled: serde_json::Value = serde_json::from_slice(&root).unwrap();
    let first = doubled["signatures"][0].clone();
    doubled["signatures"] = serde_json::json!([first.clone(), first]);
    assert!(Site::init(&world.path("b"), &config, doubled.to_string().as_bytes()).is_err());
    Site::init(&world.path("c"), &config, &root).unwrap();
}

/// Blobs are unpacked while they are hashed: a bomb ends at the declared size, whatever it says of itself.
#[test]
fn decompression_bombs() {
    let (world, site) = World::ready();
    let store = LocalStore::new(&world.repo());
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    for dir in ["blobs", "packs"] {
        for path in store.list(dir).unwrap() {
            store.replace(&path, &bomb).unwrap();
        }
    }
    assert!(matches!(update(&site), Err(Error::OutOfOptions { .. })));
    assert_eq!(runs(&site), "r1");
}

/// Metadata of a later protocol is refused as such.
#[test]
fn a_repository_of_a_newer_protocol() {
    let (world, site) = World::ready();
    let store = LocalStore::new(&world.repo());
    let target = World::follow().target();
    let text = br#"{"protocol":2,"anything":true}"#;
    let digest = elfup::Digest::of(text);
    store
        .put(&elfup::names::target_file(&target, &digest), text)
        .unwrap();
    let keys = world.path("keys");
    Signer::new(&store, &keys, Lifetimes::default())
        .release(&[(target, text.len() as u64, digest)])
        .unwrap();
    assert!(refused(&site).contains("newer elfup"));
}

/// A clock that says 1970 does not make old metadata fresh.
#[test]
fn a_dead_clock_counts_from_signed_time() {
    let (world, site) = World::ready();
    update(&site).unwrap();
    let state = site.trust().unwrap();
    assert!(state.time > 1_600_000_000 && state.now() >= state.time);
    drop(world);
}
