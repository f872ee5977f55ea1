//! Bad links, bad disks, bad repositories: the next option is taken, or nothing changes.

use crate::server::{Fault, Server};
use crate::world::{World, runs, update};
use elfup::site::Site;
use elfup::store::{LocalStore, Store};
use elfup::{Error, Quiet};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Flips a byte in the middle of every file below a directory that `which` chooses.
fn corrupt(dir: &Path, which: impl Fn(&str) -> bool) -> usize {
    let store = LocalStore::new(dir.parent().unwrap());
    let mut count = 0;
    for path in store.list(dir.file_name().unwrap().to_str().unwrap()).unwrap() {
        if which(&path) {
            let full = dir.parent().unwrap().join(path);
            let mut bytes = fs::read(&full).unwrap();
            let step = (bytes.len() / 40).max(1);
            for at in (step / 2..bytes.len()).step_by(step) {
                bytes[at] ^= 0x55;
            }
            fs::write(full, bytes).unwrap();
            count += 1;
        }
    }
    count
}

fn blob_of(world: &World, path: &str) -> String {
    let bytes = fs::read(world.path("two").join(path)).unwrap();
    elfup::Digest::of(&bytes).to_string()
}

#[test]
fn corrupt_blobs_of_changed_programs_do_not_matter() {
    let (world, site) = World::ready();
    let changed = [blob_of(&world, "bin/ls"), blob_of(&world, "bin/cp")];
    assert_eq!(
        corrupt(&world.repo().join("blobs"), |p| changed
            .iter()
            .any(|c| p.contains(c))),
        2
    );
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!(updated.account.wasted, 0);
    assert!(updated.fetched.deltas + updated.fetched.bundled > 2);
}

#[test]
fn corrupt_deltas_cost_bytes_and_nothing_else() {
    let (world, site) = World::ready();
    assert!(corrupt(&world.repo().join("packs"), |_| true) > 0);
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert!(
        updated.account.wasted > 0 && updated.fetched.failed_options > 0,
        "{updated:?}"
    );
    assert_eq!(updated.fetched.deltas + updated.fetched.bundled, 0);
}

#[test]
fn with_both_corrupt_the_old_release_stays() {
    let (world, site) = World::ready();
    corrupt(&world.repo().join("packs"), |_| true);
    corrupt(&world.repo().join("blobs"), |_| true);
    assert!(matches!(update(&site), Err(Error::OutOfOptions { .. })));
    assert_eq!(runs(&site), "r1");
    let site = world.reopen(site);
    assert_eq!(runs(&site), "r1");
    // And every command still works.
    site.gc(true, &Quiet).unwrap();
    assert_eq!(runs(&site), "r1");
}

#[test]
fn http_with_ranges_and_a_dead_first_mirror() {
    let (world, _) = World::ready();
    let server = Server::start(&world.repo(), Fault::None);
    let dead = "http://127.0.0.1:1".to_owned();
    let site = world.site("two-mirrors", |c| c.sources = vec![dead, server.url.clone()]);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    let requests = server.requests.load(Ordering::Relaxed);
    assert!(requests < 25, "{requests} requests for about 65 files");
    let measures = site.measures().unwrap();
    let names: Vec<_> = measures.links.keys().cloned().collect();
    assert_eq!(
        names,
        std::slice::from_ref(&server.url),
        "the dead mirror taught nothing"
    );
    assert!(!measures.links[&server.url].waits.is_empty() && measures.self_test_us > 0);
}

#[test]
fn what_a_stick_taught_is_not_believed_of_a_link() {
    let (world, site) = World::ready();
    let stick = world.repo().to_str().unwrap().to_owned();
    assert!(site.measures().unwrap().links.contains_key(&stick));
    let server = Server::start(&world.repo(), Fault::None);
    let site = with_source(site, &server.url);
    let planned = site
        .prepare(&elfup::site::UpdateOptions::default(), &Quiet)
        .unwrap()
        .unwrap();
    // The small files read so far say nothing of the bandwidth: the guess for a link, not a disk's speed.
    assert_eq!(planned.plan.rates.bandwidth, 64e3);
}

#[test]
fn a_server_without_ranges_still_serves() {
    let (world, site) = World::ready();
    let server = Server::start(&world.repo(), Fault::NoRanges);
    let site = with_source(site, &server.url);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}

fn with_source(site: Site, url: &str) -> Site {
    let root = site.root().to_owned();
    drop(site);
    let mut config = elfup::site::Config::load(&root.join("site.json")).unwrap();
    config.sources = vec![url.into()];
    config.stall = 2;
    config.save(&root.join("site.json")).unwrap();
    Site::open(&root).unwrap()
}

#[test]
fn a_broken_link_resumes_at_the_byte() {
    let (world, mut site) = World::ready();
    let full = {
        let server = Server::start(&world.repo(), Fault::None);
        let probe = world.site("probe", |c| c.sources = vec![server.url.clone()]);
        update(&probe).unwrap();
        server.sent.load(Ordering::Relaxed)
    };
    // Every run gets so many bytes further and is then cut off.
    let (mut total, mut runs_needed) = (0, 0);
    loop {
        let server = Server::start(&world.repo(), Fault::CutAfter(30_000));
        site = with_source(site, &server.url);
        let result = update(&site);
        total += server.sent.load(Ordering::Relaxed);
        runs_needed += 1;
        match result {
            Ok(_) => break,
            Err(e) => assert!(matches!(e, Error::Network(_) | Error::OutOfOptions { .. }), "{e}"),
        }
        assert_eq!(runs(&site), "r1");
        assert!(runs_needed < 40);
    }
    assert_eq!(runs(&site), "r2");
    assert!(runs_needed > 2, "{runs_needed}");
    assert!(
        total < 2 * full,
        "{total} bytes in {runs_needed} runs, {full} for a fresh site"
    );
}

#[test]
fn a_full_disk_is_noticed_before_the_first_byte() {
    let (world, site) = World::ready();
    let root = site.root().to_owned();
    drop(site);
    let mut config = elfup::site::Config::load(&root.join("site.json")).unwrap();
    config.reserve = u64::MAX / 4;
    config.save(&root.join("site.json")).unwrap();
    let site = Site::open(&root).unwrap();
    assert!(matches!(update(&site), Err(Error::NoSpace { .. })));
    assert_eq!(runs(&site), "r1");
    let names = fs::read_dir(world.path("site/partial")).unwrap().flatten();
    let grown: Vec<_> = names
        .filter(|e| !e.file_name().to_string_lossy().ends_with(".step"))
        .collect();
    assert!(grown.is_empty(), "{grown:?}");
}

#[test]
fn a_modified_base_is_noticed_and_the_whole_file_fetched() {
    let (world, site) = World::ready();
    let victim = world.path("site/current/bin/ls");
    let mut bytes = fs::read(&victim).unwrap();
    bytes[200] ^= 1;
    // In place: the object behind the hard link changes too.
    fs::write(&victim, bytes).unwrap();
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert!(updated.fetched.failed_options > 0, "{updated:?}");
}

#[test]
fn two_commands_on_one_site_do_not_meet() {
    let (world, _site) = World::ready();
    assert!(matches!(Site::open(&world.path("site")), Err(Error::Busy(_))));
}

#[test]
fn a_cancelled_update_goes_on_later() {
    struct StopAfter(std::sync::atomic::AtomicI64);
    impl elfup::Watch for StopAfter {
        fn cancelled(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) <= 0
        }
    }
    let (_world, site) = World::ready();
    for asks in [0, 1, 5, 20, 60, 120, 300] {
        let watch = StopAfter(asks.into());
        match site.update(&elfup::site::UpdateOptions::default(), &watch) {
            Ok(_) => break,
            Err(e) => assert!(matches!(e, Error::Cancelled), "{e}"),
        }
        assert_eq!(runs(&site), "r1");
    }
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}
