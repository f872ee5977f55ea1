//! Files that are told from other new files of the release: made in order, found again after a stop, whole where a base
//! or the patch itself is bad.

use crate::world::{World, assert_same, noise, runs, update, write};
use elfup::farm::stats;
use elfup::site::{Objective, Site, UpdateOptions};
use elfup::{Error, Quiet, Watch};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

const MODULES: u64 = 6;

fn module(n: u64, new: bool) -> Vec<u8> {
    let mut module = noise(n + 1, 40_000);
    if new {
        module.splice(9000..14_000, noise(100 + n, 6000));
    }
    module
}

/// Images of all modules, in an order that changes, each behind a head of its own; the second holds the first. Their
/// names stand before those of the modules.
fn tree(world: &World, name: &str, new: bool) {
    let mut image = noise(50, 3000);
    for n in 0..MODULES {
        let n = if new { MODULES - 1 - n } else { n };
        write(world.path(name).join(format!("modules/{n}")), module(n, new));
        image.extend(module(n, new));
    }
    write(
        world.path(name).join("images/large"),
        [noise(60, 5000), image.clone()].concat(),
    );
    write(world.path(name).join("images/small"), image);
}

/// Both releases, and a site at the first.
fn ready() -> (World, Site) {
    let world = World::new();
    tree(&world, "first", false);
    tree(&world, "second", true);
    world.publish("r1", "first").unwrap();
    let site = world.site("site", |c| c.objective = Objective::Bytes);
    update(&site).unwrap();
    world.publish("r2", "second").unwrap();
    (world, site)
}

fn arrived(world: &World, site: &Site) {
    assert_eq!(runs(site), "r2");
    assert_same(&world.path("second"), &site.root().join("current"));
}

#[test]
fn what_a_new_file_holds_is_told_once() {
    let (world, site) = ready();
    let stats = stats(&world.store(), &World::follow(), &Quiet).unwrap();
    let step = stats.iter().find(|s| s.from.as_deref() == Some("r1")).unwrap();
    let told = step.deltas + step.bundles;
    assert!(told < MODULES * 6000 + 4000 && step.whole == 0, "{step:?}");
    let planned = site.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    let items = &planned.plan.items;
    for (i, item) in items.iter().enumerate() {
        let leans = item.options[0].what.contains("new ones among them");
        assert_eq!(leans, item.path.starts_with("images/"), "{item:?}");
        assert_eq!(leans, i >= MODULES as usize, "{item:?}");
    }
    assert_eq!(items.last().unwrap().path, "images/large");
    assert_eq!(update(&site).unwrap().fetched.failed_options, 0);
    arrived(&world, &site);
    assert_eq!(site.rollback(&Quiet).unwrap().release, "r1");
    assert_same(&world.path("first"), &site.root().join("current"));
}

/// Turns a byte of the pack of the step between the releases, at a share of its length in percent.
fn spoil(world: &World, site: &Site, percent: usize) {
    let channel = site.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    let pack = channel.ways.steps[0].table.pack.unwrap();
    let path = world.repo().join(format!("packs/{pack}.pack"));
    let mut bytes = fs::read(&path).unwrap();
    let at = (bytes.len() - 1) * percent / 100;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_bad_base_or_patch_costs_a_whole_file() {
    for percent in [0, 20, 40, 60, 80, 90, 95, 98, 99, 100] {
        let (world, site) = ready();
        spoil(&world, &site, percent);
        let updated = update(&site).unwrap();
        assert!(updated.fetched.blobs > 0, "{percent}: {updated:?}");
        arrived(&world, &site);
    }
}

/// Asks to stop once one object more was made.
struct One(AtomicBool);

impl Watch for One {
    fn progress(&self, stage: &str, done: u64, _total: u64) {
        self.0.fetch_or(stage == "rebuild" && done > 0, Ordering::Relaxed);
    }
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_stop_between_a_base_and_what_leans_on_it_is_gone_on_with() {
    let (world, mut site) = ready();
    let mut stops = 0;
    loop {
        let stopped = site.update(&UpdateOptions::default(), &One(AtomicBool::new(false)));
        match stopped {
            Ok(updated) => break assert_eq!(updated.fetched.failed_options, 0),
            Err(Error::Cancelled) => stops += 1,
            Err(e) => panic!("{stops}: {e}"),
        }
        assert!(stops < 20, "every run makes an object");
        site = world.reopen(site);
    }
    assert!(stops >= 2, "{stops}");
    arrived(&world, &site);
}
