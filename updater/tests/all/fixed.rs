//! A tree at a fixed path: a real directory there at every moment, the old one or the new one.

use crate::world::{World, assert_same, runs, update, write};
use elfup::site::{Config, Health, Site};
use elfup::{Error, Quiet};
use std::fs;
use std::path::PathBuf;

fn at_fixed_path() -> (World, Site, PathBuf) {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let app = world.path("opt/app");
    let site = world.site("site", |c| c.fixed = Some(app.clone()));
    (world, site, app)
}

#[test]
fn install_update_and_back_at_a_fixed_path() {
    let (world, site, app) = at_fixed_path();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r1");
    assert_same(&world.path("one"), &app);
    assert!(fs::symlink_metadata(&app).unwrap().is_dir());
    world.publish("r2", "two").unwrap();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_same(&world.path("two"), &app);
    fs::rename(world.repo(), world.path("away")).unwrap();
    let site = world.reopen(site);
    assert_eq!(site.rollback(&Quiet).unwrap().release, "r1");
    assert_same(&world.path("one"), &app);
    assert_eq!(site.rollback(&Quiet).unwrap().release, "r2");
    assert_eq!(runs(&site), "r2");
    assert_same(&world.path("two"), &app);
}

#[test]
fn what_was_at_the_fixed_path_is_kept_aside() {
    let (world, site, app) = at_fixed_path();
    write(app.join("precious"), "precious");
    update(&site).unwrap();
    assert_same(&world.path("one"), &app);
    let aside = fs::read(world.path("site/replaced/precious"));
    assert_eq!(aside.unwrap(), b"precious");
}

#[test]
fn configuration_gc_reverse_deltas_and_repair_at_a_fixed_path() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let app = world.path("app");
    let site = world.site("site", |c| {
        c.fixed = Some(app.clone());
        c.keep = 0;
        c.keep_reverse = true;
    });
    update(&site).unwrap();
    write(app.join("etc/app.conf"), "colour = red\n");
    world.publish("r2", "two").unwrap();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!(fs::read(app.join("etc/app.conf")).unwrap(), b"colour = red\n");
    assert_eq!(site.deployments().unwrap().len(), 1);
    site.gc(true, &Quiet).unwrap();
    assert_eq!(runs(&site), "r2");
    // A damaged tree is exchanged for a whole one, a missing one is put back.
    // The file and the time of its directory.
    fs::remove_file(app.join("bin/cp")).unwrap();
    assert_eq!(site.verify(&Quiet).unwrap().len(), 2);
    site.repair(&Quiet).unwrap();
    assert_eq!(runs(&site), "r2");
    fs::remove_dir_all(&app).unwrap();
    assert_eq!(site.verify(&Quiet).unwrap().len(), 1);
    site.repair(&Quiet).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!(site.rollback(&Quiet).unwrap().release, "r1");
    assert_eq!(runs(&site), "r1");
    assert!(app.join("bin/cp").exists());
}

#[test]
fn a_failed_health_check_puts_the_old_tree_back() {
    let (world, site, app) = at_fixed_path();
    update(&site).unwrap();
    drop(site);
    let mut config = Config::load(&world.path("site/site.json")).unwrap();
    // The check sees the new tree where it runs.
    let command = [
        "sh",
        "-c",
        "test \"$ELFUP_TREE\" = \"$0\" && test ! -e \"$0/share/new.bin\"",
    ];
    let mut command: Vec<String> = command.map(str::to_owned).into();
    command.push(app.to_str().unwrap().into());
    config.health = Some(Health { command, timeout: 60 });
    config.save(&world.path("site/site.json")).unwrap();
    world.publish("r2", "two").unwrap();
    let site = Site::open(&world.path("site")).unwrap();
    assert!(matches!(update(&site), Err(Error::Unhealthy(_))));
    assert_eq!(runs(&site), "r1");
    assert_same(&world.path("one"), &app);
}

#[test]
fn paths_that_cannot_be_exchanged_are_refused_at_once() {
    let world = World::new();
    let init = |name: &str, fixed: PathBuf| {
        let mut config = Config::new(World::follow(), vec![world.repo().to_str().unwrap().into()]);
        config.fixed = Some(fixed);
        let root = fs::read(world.repo().join("tuf/1.root.json")).unwrap();
        Site::init(&world.path(name), &config, &root)
    };
    write(world.path("file"), "");
    std::os::unix::fs::symlink(world.path("one"), world.path("link")).unwrap();
    let refused = [
        PathBuf::from("relative"),
        PathBuf::from("/"),
        PathBuf::from("/proc/app"),
        world.path("s/inside"),
        world.path(""),
        world.path("file"),
        world.path("link"),
    ];
    for path in refused {
        let result = init("s", path.clone());
        assert!(
            matches!(result, Err(Error::Usage(_) | Error::Io { .. })),
            "{}",
            path.display()
        );
    }
    // And nothing was left that would keep a good one from being made.
    init("s", world.path("app")).unwrap();
}
