//! Whole updates: from an empty site to the newest release, and back.

use crate::world::{World, assert_same, noise, runs, update, write};
use elfdelta::packed::deflate::{Deflate, Style};
use elfup::farm::{Keep, export, publish, stats};
use elfup::site::{Config, Objective, Site, UpdateOptions, Wanted};
use elfup::{Error, Quiet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn install_update_verify_roll_back() {
    let (world, site) = World::ready();
    assert_eq!(runs(&site), "r1");
    assert_same(&world.path("one"), &world.path("site/current"));
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_same(&world.path("two"), &world.path("site/current"));
    assert!(
        updated.account.bytes * 2 < updated.whole_bytes + 80_000,
        "{updated:?}"
    );
    assert!(
        updated.account.requests < 12,
        "thirty small files must not take a request each: {updated:?}"
    );
    assert!(!update(&site).unwrap().changed);
    fs::rename(world.repo(), world.path("away")).unwrap();
    assert_eq!(site.rollback(&Quiet).unwrap().release, "r1");
    assert_eq!(runs(&site), "r1");
    assert_eq!(site.rollback(&Quiet).unwrap().release, "r2");
    assert_same(&world.path("two"), &world.path("site/current"));
}

#[test]
fn fetch_then_activate_without_network() {
    let (world, site) = World::ready();
    let options = UpdateOptions {
        fetch_only: true,
        ..UpdateOptions::default()
    };
    site.update(&options, &Quiet).unwrap();
    assert_eq!(runs(&site), "r1");
    fs::rename(world.repo(), world.path("away")).unwrap();
    let site = world.reopen(site);
    assert_eq!(site.activate(&Quiet).unwrap().release, "r2");
    assert_eq!(runs(&site), "r2");
}

#[test]
fn a_publish_that_is_run_again_changes_nothing() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let before = fs::read(world.repo().join("tuf/timestamp.json")).unwrap();
    assert!(
        publish(&world.store(), &world.publishing("r1", "one"), &Quiet)
            .unwrap()
            .already
    );
    assert_eq!(fs::read(world.repo().join("tuf/timestamp.json")).unwrap(), before);
    assert!(matches!(world.publish("r1", "two"), Err(Error::Usage(_))));
}

#[test]
fn attributes_travel() {
    let world = World::new();
    let tree = world.path("one");
    let odd = std::ffi::OsStr::from_bytes(b"share/\xff%\"\\\n name");
    write(tree.join(odd), "odd");
    fs::set_permissions(tree.join("bin/ls"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(tree.join("share/doc"), fs::Permissions::from_mode(0o555)).unwrap();
    let sparse = fs::File::create(tree.join("share/sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 5 << 20).unwrap();
    let xattr = rustix_set(&tree.join("bin/cp"));
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    assert_eq!(runs(&site), "r1");
    let current = world.path("site/current");
    assert_eq!(fs::read(current.join(odd)).unwrap(), b"odd");
    assert_eq!(
        fs::metadata(current.join("bin/ls")).unwrap().mode() & 0o7777,
        0o4755
    );
    assert_eq!(
        fs::metadata(current.join("share/doc")).unwrap().mode() & 0o7777,
        0o555
    );
    let inode = |p: &str| fs::metadata(current.join(p)).unwrap().ino();
    assert_eq!(inode("bin/cat"), inode("bin/dog"));
    if sparse.metadata().unwrap().blocks() < 1000 {
        assert!(
            fs::metadata(current.join("share/sparse")).unwrap().blocks() < 1000,
            "holes are kept"
        );
    }
    if xattr {
        let got = std::process::Command::new("getfattr")
            .args(["-n", "user.test"])
            .arg(current.join("bin/cp"))
            .output();
        if let Ok(got) = got {
            assert!(got.status.success());
        }
    }
    // So that the temporary directory can be removed without root.
    fs::set_permissions(tree.join("share/doc"), fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(world.path("site/deployments")).unwrap().flatten() {
        fs::set_permissions(
            entry.path().join("tree/share/doc"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
    }
}

fn rustix_set(path: &std::path::Path) -> bool {
    let set = std::process::Command::new("setfattr")
        .args(["-n", "user.test", "-v", "yes"])
        .arg(path)
        .status();
    set.is_ok_and(|s| s.success())
}

#[test]
fn configuration_is_kept() {
    let (world, site) = World::ready();
    let current = world.path("site/current");
    write(current.join("etc/app.conf"), "colour = red\n");
    write(current.join("etc/mine.conf"), "mine\n");
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!(fs::read(current.join("etc/app.conf")).unwrap(), b"colour = red\n");
    assert_eq!(
        fs::read(current.join("etc/app.conf.elfup-new")).unwrap(),
        b"colour = green\n"
    );
    assert_eq!(fs::read(current.join("etc/mine.conf")).unwrap(), b"mine\n");
    assert_eq!(fs::read(current.join("etc/other.conf")).unwrap(), b"size = 1\n");
    // The old tree and the store were not touched by the edits.
    site.rollback(&Quiet).unwrap();
    assert_eq!(runs(&site), "r1");
}

#[test]
fn a_large_file_that_packs_well_spoils_no_step() {
    let world = World::new();
    for (tree, end) in [("one", "1"), ("two", "2")] {
        let file = fs::File::create(world.path(tree).join("share/sparse")).unwrap();
        file.set_len(8 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, end.as_bytes(), 4 << 20).unwrap();
    }
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |_| {});
    let first = update(&site).unwrap();
    assert!(first.fetched.bundled > 50, "the step is read: {first:?}");
    world.publish("r2", "two").unwrap();
    assert_eq!(stats(&world.store(), &World::follow(), &Quiet).unwrap().len(), 4);
    update(&site).unwrap();
    assert_same(&world.path("two"), &world.path("site/current"));
}

#[test]
fn reverse_deltas_lead_back_without_network() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |c| {
        c.keep = 0;
        c.keep_reverse = true;
    });
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    update(&site).unwrap();
    assert_eq!(site.deployments().unwrap().len(), 1);
    assert_eq!(site.way_back().unwrap(), Some(("r1".into(), true)));
    fs::rename(world.repo(), world.path("away")).unwrap();
    assert_eq!(site.rollback(&Quiet).unwrap().release, "r1");
    assert_eq!(runs(&site), "r1");
    assert_same(&world.path("one"), &world.path("site/current"));
}

#[test]
fn an_unreadable_way_back_is_told_before_it_is_needed() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |c| {
        c.keep = 0;
        c.keep_reverse = true;
    });
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    update(&site).unwrap();
    let dir = fs::read_dir(world.path("site/reverse"))
        .unwrap()
        .flatten()
        .next()
        .unwrap()
        .path();
    let table = fs::read_to_string(dir.join("table.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&table).unwrap();
    // Another format, and a table from before formats had an id.
    for format in [Some("0-another"), None] {
        match format {
            Some(format) => value["format"] = format.into(),
            None => drop(value.as_object_mut().unwrap().remove("format")),
        }
        fs::write(dir.join("table.json"), value.to_string()).unwrap();
        assert_eq!(site.way_back().unwrap(), Some(("r1".into(), false)));
        let refusal = site.rollback(&Quiet).unwrap_err().to_string();
        assert!(refusal.contains("site downgrade r1"), "{refusal}");
        assert_eq!(runs(&site), "r2");
    }
}

fn to(release: &str, below_floor: bool) -> UpdateOptions {
    UpdateOptions {
        wanted: Wanted::Release {
            id: release.into(),
            below_floor,
        },
        ..UpdateOptions::default()
    }
}

#[test]
fn downgrades_stop_at_the_floor() {
    let (world, site) = World::ready();
    update(&site).unwrap();
    write(world.path("two/share/third"), "third");
    let mut third = world.publishing("r3", "two");
    third.floor = Some("r2".into());
    publish(&world.store(), &third, &Quiet).unwrap();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r3");
    // By the network: nothing but the running release is on the disk.
    let site = world.site("other", |_| {});
    update(&site).unwrap();
    site.update(&to("r2", false), &Quiet).unwrap();
    assert_eq!(runs(&site), "r2");
    assert!(matches!(
        site.update(&to("r1", false), &Quiet),
        Err(Error::BelowFloor(_))
    ));
    assert_eq!(runs(&site), "r2");
    site.update(&to("r1", true), &Quiet).unwrap();
    assert_eq!(runs(&site), "r1");
}

#[test]
fn a_release_on_the_disk_needs_no_repository() {
    let (world, site) = World::ready();
    update(&site).unwrap();
    site.pin("r1", true).unwrap();
    write(world.path("two/share/third"), "third");
    let mut third = world.publishing("r3", "two");
    third.floor = Some("r2".into());
    publish(&world.store(), &third, &Quiet).unwrap();
    update(&site).unwrap();
    fs::rename(world.repo(), world.path("away")).unwrap();
    site.update(&to("r2", false), &Quiet).unwrap();
    assert_eq!(runs(&site), "r2");
    // The floor is the one that was signed last, network or not.
    let error = site.update(&to("r1", false), &Quiet).unwrap_err();
    assert!(matches!(error, Error::BelowFloor(_)), "{error}");
    site.update(&to("r1", true), &Quiet).unwrap();
    assert_eq!(runs(&site), "r1");
    assert!(matches!(
        site.update(&to("r7", false), &Quiet),
        Err(Error::Network(_))
    ));
}

#[test]
fn a_stick_with_the_needed_part_is_enough() {
    let (world, site) = World::ready();
    let stick = world.path("stick");
    let bytes = export(&world.store(), &World::follow(), Some("r1"), &stick, &Quiet).unwrap();
    let whole = export(
        &world.store(),
        &World::follow(),
        None,
        &world.path("whole"),
        &Quiet,
    )
    .unwrap();
    assert!(bytes < whole, "{bytes} {whole}");
    drop(site);
    let mut config = elfup::site::Config::load(&world.path("site/site.json")).unwrap();
    config.sources = vec![stick.to_str().unwrap().into()];
    config.save(&world.path("site/site.json")).unwrap();
    let site = Site::open(&world.path("site")).unwrap();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    let fresh = world.site("fresh", |c| {
        c.sources = vec![world.path("whole").to_str().unwrap().into()]
    });
    update(&fresh).unwrap();
    assert_eq!(runs(&fresh), "r2");
}

#[test]
fn two_steps_where_no_direct_one_is_published() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |c| c.objective = Objective::Bytes);
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    let mut data = fs::read(world.path("two/bin/ls")).unwrap();
    data[7000] ^= 0xff;
    write(world.path("two/bin/ls"), data);
    let mut third = world.publishing("r3", "two");
    third.keep.last = 1;
    publish(&world.store(), &third, &Quiet).unwrap();
    let planned = site.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    assert_eq!(planned.ways.steps.len(), 2, "two steps through r2");
    let first = planned.plan.first.as_ref().unwrap();
    assert_eq!(
        (&first.release[..], first.files),
        ("r2", 1),
        "the program, and no other file"
    );
    drop(planned);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r3");
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let (mut deflate, mut file) = (
        Deflate::new(Style::default()),
        vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3],
    );
    deflate.push(text);
    deflate.finish();
    deflate.take(&mut file);
    let mut sum = flate2::Crc::new();
    sum.update(text);
    file.extend(sum.sum().to_le_bytes());
    file.extend((text.len() as u32).to_le_bytes());
    file
}

/// Manual pages of a package: they are opened together, and what they have in common is told once.
#[test]
fn small_packed_files_travel_opened() {
    let world = World::new();
    for (tree, date) in [("first", "May 2026"), ("second", "June 2026")] {
        for page in 0..40 {
            let text: String = (0..700)
                .map(|line| format!("{:x} is line {line} of {page}\n", line * line * (page + 3) % 7919))
                .collect();
            let text = format!("PAGE({page}) {date}\n{text}written in {date}\n");
            write(
                world.path(tree).join(format!("man/{page}.gz")),
                gzip(text.as_bytes()),
            );
        }
    }
    world.publish("r1", "first").unwrap();
    let [site, poor] = ["site", "poor"].map(|name| world.site(name, |c| c.objective = Objective::Bytes));
    update(&site).unwrap();
    update(&poor).unwrap();
    world.publish("r2", "second").unwrap();
    let stats = stats(&world.store(), &World::follow(), &Quiet).unwrap();
    let step = stats.iter().find(|s| s.from.as_deref() == Some("r1")).unwrap();
    assert!(
        step.without > 100_000 && step.step + step.bundles < 8000,
        "{step:?}"
    );
    let planned = site.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    let pages = planned.plan.items.iter().filter(|i| i.path.starts_with("man/"));
    let together = pages.filter(|i| i.options[0].what == "delta of 40 files together");
    // Every file of it gets its share of the price.
    let shares: Vec<u64> = together.map(|i| i.options[0].uses.bytes).collect();
    assert!(
        shares.len() == 40 && shares.iter().sum::<u64>() < 4000,
        "{shares:?}"
    );
    let fetched = update(&site).unwrap().fetched;
    assert_eq!(fetched.failed_options, 0, "{fetched:?}");
    assert!(fetched.bundled >= 40);
    assert_same(&world.path("second"), &site.root().join("current"));
    // A site that has not the memory for it takes the frame.
    let root = poor.root().to_owned();
    drop(poor);
    let mut config = Config::load(&root.join("site.json")).unwrap();
    config.memory = 13 << 20;
    config.save(&root.join("site.json")).unwrap();
    let poor = Site::open(&root).unwrap();
    let planned = poor.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    let option = &planned.plan.items[0].options[0];
    assert!(!option.what.contains("together"), "{}", option.what);
    let refused = planned.plan.items[0]
        .options
        .iter()
        .filter_map(|o| o.infeasible.as_ref());
    assert!(refused.into_iter().any(|why| why.contains("bytes of memory")));
    assert_eq!(update(&poor).unwrap().fetched.failed_options, 0);
    assert_same(&world.path("second"), &poor.root().join("current"));
}

/// Two of them have one base, which stands opposite each.
#[test]
fn programs_of_one_base_travel_in_a_group() {
    let world = World::new();
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/kinds");
    for kind in ["cxx", "names", "rust", "linked"] {
        let [old, new] = [1, 2].map(|n| fs::read(seeds.join(format!("{kind}-{n}"))).unwrap());
        let mut like = new.clone();
        like[9] ^= 1;
        let folder = world.path("second/lib/1.1");
        write(world.path("first/lib/1.0").join(format!("{kind}1")), old);
        write(folder.join(format!("{kind}1")), new);
        write(folder.join(format!("{kind}2")), like);
    }
    world.publish("r1", "first").unwrap();
    let site = world.site("site", |c| c.objective = Objective::Bytes);
    update(&site).unwrap();
    world.publish("r2", "second").unwrap();
    let planned = site.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    for item in &planned.plan.items {
        assert_eq!(item.options[0].what, "delta of 8 files together", "{}", item.path);
    }
    assert_eq!(update(&site).unwrap().fetched.failed_options, 0);
    assert_same(&world.path("second"), &site.root().join("current"));
}

#[test]
fn gc_keeps_pins_and_frees_the_rest() {
    let (world, site) = World::ready();
    update(&site).unwrap();
    site.pin("r1", true).unwrap();
    write(world.path("two/share/third"), noise(3, 50_000));
    world.publish("r3", "two").unwrap();
    update(&site).unwrap();
    let ids = |site: &Site| {
        site.deployments()
            .unwrap()
            .into_iter()
            .map(|d| d.release)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&site), ["r1", "r2", "r3"]);
    site.pin("r1", false).unwrap();
    let report = site.gc(false, &Quiet).unwrap();
    assert_eq!(ids(&site), ["r2", "r3"]);
    assert!(report.deployments == 1 && report.objects > 0, "{report:?}");
    assert_eq!(runs(&site), "r3");
    site.rollback(&Quiet).unwrap();
    assert_eq!(runs(&site), "r2");
}

#[test]
fn the_farm_drops_old_releases_whole() {
    let (world, site) = World::ready();
    let before = stats(&world.store(), &World::follow(), &Quiet).unwrap();
    assert_eq!(before.len(), 4);
    let step = before.iter().find(|s| s.from.as_deref() == Some("r1")).unwrap();
    assert!(step.deltas + step.bundles + step.step < step.without, "{step:?}");
    let report = world.gc(&Keep::default());
    assert!(report.releases == 1 && report.files > 0, "{report:?}");
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}

#[test]
fn repair_never_needs_a_delta() {
    let (world, site) = World::ready();
    update(&site).unwrap();
    for dir in ["packs", "steps"] {
        fs::remove_dir_all(world.repo().join(dir)).unwrap();
    }
    let victim = world.path("site/current/bin/ls");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o755)).unwrap();
    let mut bytes = fs::read(&victim).unwrap();
    bytes[100] ^= 1;
    fs::write(&victim, bytes).unwrap();
    fs::remove_file(world.path("site/current/bin/cp")).unwrap();
    write(world.path("site/current/bin/extra"), "extra");
    // The three, and the time of the directory that they are in.
    assert_eq!(site.verify(&Quiet).unwrap().len(), 4);
    assert!(site.repair(&Quiet).unwrap() > 0);
    assert_eq!(runs(&site), "r2");
    assert_same(&world.path("two"), &world.path("site/current"));
}

#[test]
fn an_older_installation_serves_as_seed() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    // By time, bytes of a directory may cost less than a copy.
    let site = world.site("site", |c| {
        c.seeds = vec![world.path("one")];
        c.objective = elfup::site::Objective::Bytes;
    });
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r1");
    assert!(
        updated.fetched.copies > 50 && updated.account.bytes < 20_000,
        "{updated:?}"
    );
}

#[test]
fn unprivileged_sites_record_what_they_cannot_set() {
    let world = World::new();
    let mut first = world.publishing("r1", "one");
    first.scan.owner = Some((4242, 4242));
    publish(&world.store(), &first, &Quiet).unwrap();
    let root = fs::metadata(world.path("one")).unwrap().uid() == 0;
    let site = world.site("site", |_| {});
    match update(&site) {
        Ok(_) => assert!(root),
        Err(e) => assert!(matches!(e, Error::Privilege(_)), "{e}"),
    }
    let site = world.site("free", |c| c.unprivileged = true);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r1");
    assert_eq!(site.unset(&Quiet).unwrap().is_empty(), root);
}

/// A site whose objects were named by an older elfup goes on as if nothing had been.
#[test]
fn objects_with_shorter_names_are_kept() {
    let (world, site) = World::ready();
    let options = UpdateOptions {
        fetch_only: true,
        ..UpdateOptions::default()
    };
    site.update(&options, &Quiet).unwrap();
    let root = site.root().to_owned();
    drop(site);
    let mut shortened = 0;
    for dir in fs::read_dir(root.join("objects")).unwrap() {
        for object in fs::read_dir(dir.unwrap().path()).unwrap() {
            let path = object.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            fs::rename(&path, path.with_file_name(&name[..64 + 1 + 16])).unwrap();
            shortened += 1;
        }
    }
    fs::remove_file(root.join("state/objects")).unwrap();
    // Nothing can be fetched.
    fs::rename(world.repo(), world.path("away")).unwrap();
    let site = Site::open(&root).unwrap();
    site.activate(&Quiet).unwrap();
    assert_eq!(runs(&site), "r2");
    let dirs = fs::read_dir(root.join("objects")).unwrap();
    let objects = dirs.flat_map(|d| fs::read_dir(d.unwrap().path()).unwrap());
    let lengths: Vec<usize> = objects.map(|o| o.unwrap().file_name().len()).collect();
    assert_eq!(lengths, vec![64 + 1 + 32; shortened]);
    site.rollback(&Quiet).unwrap();
    assert_eq!(runs(&site), "r1");
}
