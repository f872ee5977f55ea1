//! Damaged manifests, steps, channel files, metadata, packs, blobs and state: refused, or the next option; no panic, no
//! wrong tree.

use crate::world::{World, copy, runs, update};
use elfup::manifest::Manifest;
use elfup::names::Follow;
use elfup::site::Site;
use elfup::step::{self, BundleRow, Channel, DeltaRow, Piece, Release, Table};
use elfup::store::{LocalStore, Store};
use elfup::trust::State;
use elfup::{Digest, Error, Quiet};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "../../../fuzz/fuzz_targets/columns.rs"]
mod columns;

/// The same numbers in every run: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound.max(1) as u64) as usize
    }

    /// Bits turned, cut short, a piece of `other` put in, a number in the text changed.
    fn damage(&mut self, good: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bad = good.to_vec();
        match self.below(4) {
            0 => {
                for _ in 0..=self.below(3) {
                    let at = self.below(bad.len());
                    bad[at] ^= 1 << self.below(8);
                }
            }
            1 => bad.truncate(self.below(good.len())),
            2 => {
                let (at, from) = (self.below(good.len()), self.below(other.len()));
                let end = (at + self.below(60)).min(good.len());
                let n = self.below(60).min(other.len() - from);
                bad.splice(at..end, other[from..from + n].iter().copied());
            }
            _ => {
                let digits: Vec<usize> = (0..bad.len()).filter(|i| bad[*i].is_ascii_digit()).collect();
                if let Some(&at) = digits.get(self.below(digits.len())) {
                    let text =
                        ["", "0", "9", "99999999999999999999", "-1", "18446744073709551615"][self.below(6)];
                    bad.splice(at..=at, text.bytes());
                }
            }
        }
        bad
    }
}

/// What a repository has below a folder.
fn files(world: &World, folder: &str) -> Vec<(String, Vec<u8>)> {
    let paths = LocalStore::new(&world.repo()).list(folder).unwrap();
    paths
        .into_iter()
        .map(|p| (p.clone(), fs::read(world.repo().join(&p)).unwrap()))
        .collect()
}

#[test]
fn damaged_texts_are_refused_or_mean_something() {
    let (world, _site) = World::ready();
    let mut random = Random(1);
    let follow: Follow = World::follow();
    let manifests: Vec<Vec<u8>> = files(&world, "manifests")
        .iter()
        .map(|(_, b)| zstd::decode_all(&b[..]).unwrap())
        .collect();
    let channels: Vec<Vec<u8>> = files(&world, "channels").into_iter().map(|(_, b)| b).collect();
    let metadata: Vec<Vec<u8>> = files(&world, "tuf").into_iter().map(|(_, b)| b).collect();
    let (mut taken, rounds) = ([0; 3], 1500);
    for _ in 0..rounds {
        let (a, b) = (random.below(manifests.len()), random.below(manifests.len()));
        let bad = random.damage(&manifests[a], &manifests[b]);
        if let Ok(manifest) = Manifest::parse(&bad) {
            taken[0] += 1;
            assert!(manifest.to_bytes() == bad, "one spelling only");
        }
        let (a, b) = (random.below(channels.len()), random.below(channels.len()));
        if let Ok(channel) = Channel::parse(&random.damage(&channels[a], &channels[b]), &follow) {
            taken[1] += 1;
            assert!(channel.releases.windows(2).all(|w| w[0].sequence < w[1].sequence));
        }
        let (a, b) = (random.below(metadata.len()), random.below(metadata.len()));
        let bad = random.damage(&metadata[a], &metadata[b]);
        if bad != metadata[a] && State::from_root(&bad).is_ok() {
            taken[2] += 1;
            let same: Result<serde_json::Value, _> = serde_json::from_slice(&bad);
            assert!(
                metadata
                    .iter()
                    .any(|m| serde_json::from_slice::<serde_json::Value>(m).ok()
                        == same.as_ref().ok().cloned())
            );
        }
    }
    println!("{taken:?} of {rounds} were taken");
    assert!(taken[0] < rounds / 4 && taken[2] < 10, "{taken:?}");
}

#[test]
fn steps_with_any_numbers_point_at_what_is_there() {
    let (world, _site) = World::ready();
    let plain: Vec<Vec<u8>> = files(&world, "manifests")
        .iter()
        .map(|(_, b)| zstd::decode_all(&b[..]).unwrap())
        .collect();
    let (from, to) = (&plain[0], &plain[1]);
    let release = Release {
        release: "r2".into(),
        sequence: 2,
        urgent: false,
        published: String::new(),
        manifest: Digest::of(to),
        manifest_size: to.len() as u64,
        manifest_stored: 0,
        steps: Vec::new(),
    };
    let mut random = Random(2);
    let mut taken = 0;
    for round in 0..400 {
        // Mostly small numbers that exist, sometimes any.
        let mut number = |bound: usize| match random.below(40) {
            0 => usize::MAX - random.below(3),
            1 => random.below(1 << 40),
            _ => random.below(bound),
        };
        let pieces = (0..=number(3).min(9))
            .map(|_| Piece {
                length: number(1000) as u64,
                digest: Digest::of(b""),
            })
            .collect();
        let delta = DeltaRow {
            from: number(70),
            to: number(70),
            piece: number(2),
            at: number(100) as u64,
            length: number(300) as u64,
            profile: elfdelta::Profile::Fast,
            micros: number(1000) as u64,
            memory: number(1 << 20) as u64,
            scratch: number(100) as u64,
            encoders: Vec::new(),
        };
        let applying = step::Applying {
            micros: number(1000) as u64,
            memory: number(1 << 20) as u64,
            scratch: number(2) as u64,
        };
        let bundle = BundleRow {
            piece: number(2),
            bases: (0..number(3).min(9)).map(|_| number(140)).collect(),
            targets: (0..number(3).min(9)).map(|_| number(70)).collect(),
            patch: (number(2) == 0).then_some(applying),
        };
        let table = Table {
            protocol: elfup::PROTOCOL,
            pack: (number(9) > 0).then(|| Digest::of(b"pack")),
            nominal_micros: 1,
            pieces,
            deltas: vec![delta],
            bundles: vec![bundle],
        };
        let mut file = step::write(&table, from, to, &Quiet).unwrap();
        if round % 2 == 0 {
            let at = random.below(file.len());
            file[at] ^= 1 << random.below(8);
        }
        let Ok(step) = step::read(&file, from, &release) else {
            continue;
        };
        taken += 1;
        let base = step.from.as_ref().unwrap();
        for d in &step.table.deltas {
            assert!(d.at + d.length <= step.table.pieces[d.piece].length);
            assert!(base.entries[d.from].content().is_some() && step.to.entries[d.to].content().is_some());
        }
        for b in &step.table.bundles {
            assert!(b.piece < step.table.pieces.len());
            assert!(b.bases.iter().all(|i| step.base(*i).is_some()));
            assert!(b.targets.iter().all(|i| step.to.entries[*i].content().is_some()));
        }
    }
    assert!(taken > 5 && taken < 300, "{taken}");
}

#[test]
fn one_damaged_file_of_a_repository_changes_nothing_or_does_not_matter() {
    let (world, site) = World::ready();
    let mut random = Random(3);
    let (mut went, mut stayed) = (0, 0);
    let (dir, base) = (site.root().to_owned(), world.path("base"));
    drop(site);
    copy(&dir, &base);
    for (folder, each) in [
        ("packs", 1),
        ("blobs", 0),
        ("steps", 1),
        ("manifests", 1),
        ("channels", 2),
        ("tuf", 2),
    ] {
        let all = files(&world, folder);
        // Of the many whole files some, of the others each.
        let few = (0..6).map(|_| random.below(all.len())).collect();
        let chosen: Vec<usize> = if each == 0 {
            few
        } else {
            (0..all.len() * each).map(|i| i / each).collect()
        };
        for at in chosen {
            let (path, good) = &all[at];
            let other = random.below(all.len());
            let bad = random.damage(good, &all[other].1);
            fs::write(world.repo().join(path), &bad).unwrap();
            copy(&base, &dir);
            let site = Site::open(&dir).unwrap();
            match update(&site) {
                Ok(_) => {
                    went += 1;
                    assert_eq!(runs(&site), "r2", "{path}");
                }
                Err(e) => {
                    stayed += 1;
                    assert!([2, 3, 5].contains(&e.exit_code()) && bad != *good, "{path}: {e}");
                    assert_eq!(runs(&site), "r1", "{path}: {e}");
                }
            }
            fs::write(world.repo().join(path), good).unwrap();
        }
    }
    println!("{went} updated, {stayed} refused");
    assert!(went > 8 && stayed > 2, "{went} {stayed}");
}

/// Everything below `state/` and beside the deployments that is not a tree.
fn state(site: &Site) -> Vec<PathBuf> {
    let root = site.root();
    let mut all = vec![root.join("site.json"), root.join("site.toml")];
    let below = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
    all.extend(below(root.join("state")).map(|e| e.path()));
    for deployment in below(root.join("deployments")) {
        all.extend(below(deployment.path()).map(|e| e.path()).filter(|p| p.is_file()));
    }
    all.extend(below(root.join("partial")).map(|e| e.path()));
    all.sort();
    all
}

/// Commands of a site as an administrator would try them, whatever comes of each.
fn try_all(dir: &Path) -> Vec<u8> {
    let Ok(site) = Site::open(dir).map_err(|e| assert_ne!(e.exit_code(), 0)) else {
        return vec![1];
    };
    let code = |e: Error| e.exit_code();
    let results = [
        site.check(&Quiet).map(drop),
        site.deployments().map(drop),
        site.ready().map(drop),
        site.way_back().map(drop),
        site.beside().map(drop),
        site.verify(&Quiet).map(drop),
        update(&site).map(drop),
        site.rollback(&Quiet).map(drop),
        site.repair(&Quiet).map(drop),
        site.gc(true, &Quiet).map(drop),
    ];
    results.into_iter().filter_map(|r| r.err().map(code)).collect()
}

#[test]
fn a_damaged_state_file_of_a_site_never_brings_a_wrong_tree() {
    let (world, site) = World::ready();
    let options = elfup::site::UpdateOptions {
        fetch_only: true,
        ..elfup::site::UpdateOptions::default()
    };
    site.update(&options, &Quiet).unwrap();
    site.pin("r1", true).unwrap();
    let dir = site.root().to_owned();
    let paths = state(&site);
    assert!(paths.len() > 5, "{paths:?}");
    drop(site);
    let base = world.path("base");
    copy(&dir, &base);
    let mut random = Random(4);
    let mut refused = 0;
    for path in &paths {
        for _ in 0..3 {
            copy(&base, &dir);
            let good = fs::read(path).unwrap();
            let bad = match good.is_empty() {
                true => b"x".to_vec(),
                false => random.damage(&good, &good),
            };
            fs::write(path, &bad).unwrap();
            let codes = try_all(&dir);
            let known = [1, 2, 3, 4, 5, 7, 8, 9];
            assert!(codes.iter().all(|c| known.contains(c)), "{path:?}: {codes:?}");
            refused += usize::from(!codes.is_empty());
            // Whatever runs is a release, byte for byte; only configuration may be the administrator's.
            let tree = |name: &str| {
                let same = Command::new("diff")
                    .args(["-rq", "--no-dereference", "--exclude=etc"])
                    .args([dir.join("current/."), world.path(name)])
                    .output();
                same.unwrap().status.success()
            };
            assert!(tree("one") || tree("two"), "{path:?} damaged: {codes:?}");
        }
    }
    println!("{refused} of {} told of damage", paths.len() * 3);
    assert!(refused > 3);
}

/// What fuzzing begins with is good, so that it gets past the first check.
#[test]
fn seeds_of_fuzzing_are_taken() {
    Manifest::parse(include_bytes!("../../../fuzz/seeds/manifest/all")).unwrap();
    let manifest = include_bytes!("../../../fuzz/seeds/manifest/small");
    Manifest::parse(manifest).unwrap();
    Channel::parse(
        include_bytes!("../../../fuzz/seeds/channel/small"),
        &World::follow(),
    )
    .unwrap();
    let table: Table = serde_json::from_slice(include_bytes!("../../../fuzz/seeds/step/small")).unwrap();
    let release = Release {
        release: "r1".into(),
        sequence: 1,
        urgent: false,
        published: String::new(),
        manifest: Digest::of(manifest),
        manifest_size: manifest.len() as u64,
        manifest_stored: 0,
        steps: Vec::new(),
    };
    step::read(
        &step::write(&table, manifest, manifest, &Quiet).unwrap(),
        manifest,
        &release,
    )
    .unwrap();
}

/// What reading a step says of an input of the fuzz target `step`: a table, and behind its line the manifest that it
/// leads to, or else the bytes of a file.
fn step_of(input: &[u8]) -> elfup::Result<step::Step> {
    let from = include_bytes!("../../../fuzz/seeds/manifest/small");
    let split = input.iter().position(|b| *b == b'\n').unwrap_or(input.len());
    let to = input.get(split + 1..).filter(|to| !to.is_empty()).unwrap_or(from);
    let release = Release {
        release: "r1".into(),
        sequence: 1,
        urgent: false,
        published: String::new(),
        manifest: Digest::of(to),
        manifest_size: to.len() as u64,
        manifest_stored: 0,
        steps: Vec::new(),
    };
    match serde_json::from_slice::<Table>(&input[..split]) {
        Ok(table) => step::read(&step::write(&table, from, to, &Quiet)?, from, &release),
        Err(_) => step::read(input, from, &release),
    }
}

/// The manifest that an input of the fuzz target `change` makes of the one that it is held against.
fn change_of(input: &[u8]) -> elfup::Result<Manifest> {
    let from = Manifest::parse(include_bytes!("../../../fuzz/seeds/manifest/packages"))?;
    let bytes = columns::change(input).apply(&from, 1 << 16);
    Manifest::parse(&bytes.ok_or_else(|| elfup::Error::NotFound("a change that fits".into()))?)
}

/// Each input of fuzzing that is there to be refused is, and they reach as many reasons as there are.
#[test]
fn seeds_of_fuzzing_are_refused_for_every_reason() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (kind, least) in [("manifest", 24), ("step", 13), ("change", 1), ("channel", 5)] {
        let mut reasons = BTreeSet::new();
        for entry in fs::read_dir(seeds.join(kind)).unwrap().flatten() {
            let bytes = fs::read(entry.path()).unwrap();
            let read = match kind {
                "manifest" => Manifest::parse(&bytes).map(drop),
                "step" => step_of(&bytes).map(drop),
                "change" => change_of(&bytes).map(drop),
                _ => Channel::parse(&bytes, &World::follow()).map(drop),
            };
            let name = entry.file_name().into_string().unwrap();
            match (name.starts_with("refused-"), read) {
                (true, Err(error)) => drop(reasons.insert(error.to_string())),
                (false, Ok(())) => {}
                (_, read) => panic!("{kind}/{name}: {read:?}"),
            }
        }
        assert!(
            reasons.len() >= least,
            "{kind}: {} reasons: {reasons:#?}",
            reasons.len()
        );
    }
}
