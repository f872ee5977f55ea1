//! The attack list: each refused, with the tree unchanged.

use crate::server::{Fault, Server};
use crate::world::{World, assert_same, copy, noise, runs, update, write};
use elfup::farm::publish;
use elfup::manifest::Content;
use elfup::site::{Objective, Site};
use elfup::step::{self, Channel, Step};
use elfup::store::{LocalStore, Store};
use elfup::trust::{Lifetimes, Signer};
use elfup::{Digest, Error, Quiet, names};
use std::collections::HashMap;
use std::fs;

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
    copy(&other.repo(), &world.repo());
    assert!(refused(&site).contains("signatures"));
}

/// Something of a repository that a mirror without keys replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Steps,
    Deltas,
    Bundles,
    Groups,
    Blobs,
}

/// What stands at a mirror in the place of what was signed: well-formed, and of other software.
struct Mirror {
    world: World,
    store: LocalStore,
    /// Contents of both trees.
    contents: HashMap<Digest, Vec<u8>>,
}

/// Other software of the same size.
fn evil(length: usize) -> Vec<u8> {
    b"evil ".iter().copied().cycle().take(length).collect()
}

impl Mirror {
    fn of(world: World) -> Mirror {
        let mut contents = HashMap::new();
        let mut todo = vec![world.path("one"), world.path("two")];
        while let Some(path) = todo.pop() {
            if path.is_symlink() {
                continue;
            }
            match fs::read_dir(&path) {
                Ok(entries) => todo.extend(entries.map(|e| e.unwrap().path())),
                Err(_) => {
                    let bytes = fs::read(&path).unwrap();
                    contents.insert(Digest::of(&bytes), bytes);
                }
            }
        }
        Mirror {
            store: LocalStore::new(&world.repo()),
            world,
            contents,
        }
    }

    /// The step from the first release to the second.
    fn step(&self) -> Step {
        let target = World::follow().target();
        let get = |path: String| self.store.get(&path, 1 << 20).unwrap().unwrap();
        let digest = Signer::signed(&self.store, &target).unwrap().unwrap();
        let channel = get(names::target_file(&target, &digest));
        let channel = Channel::parse(&channel, &World::follow()).unwrap();
        let [first, head] = &channel.releases[..] else {
            panic!()
        };
        let from = zstd::decode_all(&get(names::manifest(&first.manifest))[..]).unwrap();
        let named = head.steps.iter().find(|s| s.from == Some(first.manifest));
        step::read(&get(names::step(&named.unwrap().digest)), &from, head).unwrap()
    }

    /// A patch from some contents to other software.
    fn patch(&self, bases: &[&Content], length: u64) -> Vec<u8> {
        let old: Vec<u8> = bases
            .iter()
            .flat_map(|c| self.contents[&c.digest].clone())
            .collect();
        let options = elfdelta::Options::default();
        let new = evil(length as usize);
        elfdelta::diff(&old, &new, &options, &elfdelta::Silent)
            .unwrap()
            .bytes
    }

    /// Pieces of a pack by number, and what takes their place.
    fn pieces(&self, step: &Step, part: Part) -> Vec<(usize, Vec<u8>)> {
        let target = |i: usize| step.to.entries[i].content().unwrap().size;
        if part == Part::Deltas {
            let made = step.table.deltas.iter().map(|d| {
                let base = step.from.as_ref().unwrap().entries[d.from].content();
                (d.piece, self.patch(&[base.unwrap()], target(d.to)))
            });
            return made.collect();
        }
        let rows = step.table.bundles.iter();
        let rows = rows.filter(|b| b.patch.is_some() == (part == Part::Groups));
        let made = rows.map(|b| {
            let length = b.targets.iter().map(|i| target(*i)).sum();
            let bases: Vec<&Content> = b.bases.iter().map(|i| step.base(*i).unwrap().content()).collect();
            let made = match part {
                Part::Groups => self.patch(&bases, length),
                _ => zstd::bulk::compress(&evil(length as usize), 3).unwrap(),
            };
            (b.piece, made)
        });
        made.collect()
    }

    /// Replaces all of a part. Tells of how many things.
    fn replace(&self, part: Part) -> usize {
        match part {
            Part::Steps => {
                let other = World::new();
                write(other.path("two/bin/ls"), "evil");
                other.publish("r1", "one").unwrap();
                other.publish("r2", "two").unwrap();
                let steps = other.store().list("steps").unwrap();
                let evil = other.store().get(&steps[0], 1 << 20).unwrap().unwrap();
                let paths = self.store.list("steps").unwrap();
                paths.iter().for_each(|p| self.store.replace(p, &evil).unwrap());
                paths.len()
            }
            Part::Blobs => {
                let mut replaced = 0;
                for (digest, plain) in &self.contents {
                    let path = names::blob(digest);
                    if self.store.size(&path).unwrap().is_some() {
                        let evil = zstd::bulk::compress(&evil(plain.len()), 3).unwrap();
                        self.store.replace(&path, &evil).unwrap();
                        replaced += 1;
                    }
                }
                replaced
            }
            part => {
                let step = self.step();
                let path = names::pack(&step.table.pack.unwrap());
                let mut pack = self.store.get(&path, 1 << 30).unwrap().unwrap();
                let mut pieces = self.pieces(&step, part);
                if part == Part::Deltas {
                    // The site would go by these before.
                    assert!(!pieces.is_empty());
                    pieces.extend(self.pieces(&step, Part::Groups));
                }
                for (number, mut made) in pieces.iter().cloned() {
                    let (at, length) = (
                        step.offsets[number] as usize,
                        step.table.pieces[number].length as usize,
                    );
                    made.resize(length, 0);
                    pack[at..at + length].copy_from_slice(&made);
                }
                self.store.replace(&path, &pack).unwrap();
                pieces.len()
            }
        }
    }

    /// Takes away all files of a folder.
    fn remove(&self, folder: &str) {
        for path in self.store.list(folder).unwrap() {
            self.store.remove(&path).unwrap();
        }
    }
}

/// Two releases, a site at the first that prefers few bytes, so that it looks at packs first, what brings groups:
/// programs that change little, and a delta.
fn mirror() -> (Mirror, Site) {
    let world = World::new();
    let program = fs::read("/bin/bash").unwrap();
    for (name, apart) in [("bin/a", 1311), ("bin/b", 1283)] {
        let mut bytes = program.clone();
        write(world.path("one").join(name), &bytes);
        bytes
            .iter_mut()
            .skip(4096)
            .step_by(apart)
            .for_each(|b| *b ^= 0x55);
        write(world.path("two").join(name), &bytes);
    }
    // Too large for a frame, and changed too much for a group: a delta of its own.
    let mut large = noise(3, (4 << 20) + 1000);
    write(world.path("one/lib/large"), &large);
    large[50_000..120_000].copy_from_slice(&noise(4, 70_000));
    write(world.path("two/lib/large"), &large);
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |config| config.objective = Objective::Bytes);
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    (Mirror::of(world), site)
}

#[test]
fn arbitrary_software_in_a_pack_or_blob_or_step() {
    let (mirror, site) = mirror();
    drop(site);
    let (dir, repo) = (mirror.world.path("site"), mirror.world.repo());
    let saved = ["site", "repo"].map(|name| mirror.world.path(&format!("saved-{name}")));
    copy(&dir, &saved[0]);
    copy(&repo, &saved[1]);
    let parts = [
        Part::Steps,
        Part::Deltas,
        Part::Bundles,
        Part::Groups,
        Part::Blobs,
    ];
    for part in parts {
        for honest in [true, false] {
            copy(&saved[0], &dir);
            copy(&saved[1], &repo);
            let site = Site::open(&dir).unwrap();
            assert!(mirror.replace(part) > 0, "{part:?}: there is none");
            // What is new comes whole or not at all; all else another way where it can, all of it checked.
            if honest && part != Part::Blobs {
                let updated = update(&site).unwrap_or_else(|e| panic!("{part:?}: {e}"));
                assert_eq!(runs(&site), "r2", "{part:?}");
                assert!(updated.account.wasted > 0, "{part:?}: {updated:?}");
                assert_same(&mirror.world.path("two"), &dir.join("current"));
                continue;
            }
            // Nothing honest is left to go by: the old release stays.
            mirror.remove(match part {
                Part::Steps => "manifests",
                Part::Blobs => "packs",
                _ => "blobs",
            });
            let error = update(&site).expect_err("must be refused");
            let refusal = matches!(error, Error::OutOfOptions { .. } | Error::Network(_));
            assert!(refusal, "{part:?}: {error:?}");
            assert_eq!(runs(&site), "r1", "{part:?}");
        }
    }
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
    copy(&world.repo(), &world.path("saved"));
    let store = LocalStore::new(&world.repo());
    let keys = world.path("keys");
    let signer = Signer::new(&store, &keys, Lifetimes::default());
    for _ in 0..5 {
        signer.renew().unwrap();
    }
    assert!(!update(&site).unwrap().changed);
    copy(&world.path("saved"), &world.repo());
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
    copy(&keys, &world.path("stolen"));
    copy(&world.repo(), &world.path("stolen-repo"));
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
