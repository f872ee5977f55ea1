//! A stick that goes between a farm and sites that no network reaches: what it carries, what it brings back.

use crate::world::{World, copy, runs, update, write};
use elfup::farm::{Ready, Stick, prepare};
use elfup::report::{self, Report};
use elfup::site::Site;
use elfup::{Error, Quiet, Watch};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Watch for Heard {
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }
}

fn made(world: &World, change: impl FnOnce(&mut Stick)) -> elfup::Result<Ready> {
    let (dir, follow) = (world.path("stick"), [World::follow()]);
    let mut stick = Stick {
        dir: &dir,
        follow: &follow,
        new_sites: false,
        room: None,
    };
    change(&mut stick);
    prepare(&world.store(), &stick, &Quiet)
}

/// A site that has only the stick.
fn alone(world: &World, name: &str) -> Site {
    world.site(name, |c| {
        c.sources = vec![world.path("stick").to_str().unwrap().into()]
    })
}

/// A site that has the first release from the stick, and said so on it.
fn reported() -> (World, Site) {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    made(&world, |_| {}).unwrap();
    let site = alone(&world, "far");
    update(&site).unwrap();
    site.report_back(&Quiet);
    (world, site)
}

/// Files below a stick's repository and their bytes, by kind.
fn sizes(stick: &Path) -> BTreeMap<String, u64> {
    fn walk(dir: &Path, total: &mut u64) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => walk(&entry.path(), total),
                false => *total += entry.metadata().unwrap().len(),
            }
        }
    }
    let mut all = BTreeMap::new();
    for kind in ["blobs", "packs", "steps", "manifests"] {
        walk(&stick.join(kind), all.entry(kind.to_owned()).or_default());
    }
    all
}

fn reports(stick: &Path) -> Vec<Report> {
    report::read(stick, &mut |name, why| panic!("{name}: {why}")).unwrap()
}

#[test]
fn a_stick_brings_releases_there_and_reports_back() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let first = made(&world, |_| {}).unwrap();
    assert!(first.channels[0].new_sites && first.channels[0].sites.is_empty());
    let site = alone(&world, "far");
    update(&site).unwrap();
    site.report_back(&Quiet);
    let told = reports(&world.path("stick"));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].runs.as_ref().unwrap().release, "r1");
    assert_eq!(told[0].last.as_ref().unwrap().to, "r1");

    // Back at the farm: of the first release nothing is carried any more, of the second what the site lacks.
    world.publish("r2", "two").unwrap();
    let second = made(&world, |_| {}).unwrap();
    assert!(second.removed > 0 && !second.channels[0].new_sites);
    assert_eq!(second.channels[0].sites[0].runs.as_deref(), Some("r1"));
    let spare = second.channels[0].spare;
    assert!(second.bytes - spare < first.bytes / 4, "{first:?} {second:?}");
    let site = world.reopen(site);
    update(&site).unwrap();
    site.report_back(&Quiet);
    assert_eq!(runs(&site), "r2");

    // All are at the head: metadata, and nothing else.
    let third = made(&world, |_| {}).unwrap();
    assert!(third.bytes < second.bytes / 2, "{} {}", third.bytes, second.bytes);
    assert_eq!(sizes(&world.path("stick"))["blobs"], 0);
    let site = world.reopen(site);
    assert!(!site.check(&Quiet).unwrap().available);
    // A new laptop comes to the school.
    let told = made(&world, |stick| stick.new_sites = true).unwrap();
    assert!(told.channels[0].new_sites);
    let fresh = alone(&world, "fresh");
    update(&fresh).unwrap();
    fresh.report_back(&Quiet);
    assert_eq!(reports(&world.path("stick")).len(), 2);
}

#[test]
fn room_is_for_what_is_needed_first() {
    let (world, site) = reported();
    world.publish("r2", "two").unwrap();
    let all = made(&world, |_| {}).unwrap();
    let spare = all.channels[0].spare;
    assert!(spare > 0, "{all:?}");
    let tight = made(&world, |stick| {
        stick.room = Some(all.bytes + (1 << 20) - spare / 2)
    })
    .unwrap();
    assert_eq!((tight.channels[0].spare, tight.channels[0].left_out), (0, spare));
    let site = world.reopen(site);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    // What is needed does not fit: said, and the stick is as it was.
    copy(&world.path("stick"), &world.path("kept"));
    let refused = made(&world, |stick| {
        stick.new_sites = true;
        stick.room = Some(1 << 20);
    });
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    crate::world::assert_same(&world.path("kept"), &world.path("stick"));
}

/// A site whose memory does not do for a delta finds the whole file, however little room there is.
#[test]
fn a_small_site_finds_what_it_can_use() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    made(&world, |_| {}).unwrap();
    let small = |c: &mut elfup::site::Config| {
        // Enough for a whole file, and for no bundle.
        c.memory = 10 << 20;
        c.sources = vec![world.path("stick").to_str().unwrap().into()];
    };
    let site = world.site("far", small);
    update(&site).unwrap();
    site.report_back(&Quiet);
    world.publish("r2", "two").unwrap();
    let all = made(&world, |_| {}).unwrap();
    // As little room as does.
    let room = |steps: u64| all.bytes + (4 << 20) - (steps << 16);
    let fits = |steps: &u64| made(&world, |stick| stick.room = Some(room(*steps))).is_ok();
    let least = (0..).take_while(fits).last().unwrap();
    let tight = made(&world, |stick| stick.room = Some(room(least))).unwrap();
    assert_eq!(
        (tight.channels[0].spare, tight.channels[0].left_out),
        (0, all.channels[0].spare)
    );
    let site = world.reopen(site);
    let updated = update(&site).unwrap();
    assert!(
        updated.fetched.blobs > 0 && updated.fetched.deltas == 0,
        "{updated:?}"
    );
    assert_eq!(runs(&site), "r2");
}

/// What failed travels back, too.
#[test]
fn failures_are_reported() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    made(&world, |_| {}).unwrap();
    let site = alone(&world, "far");
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    made(&world, |_| {}).unwrap();
    for entry in fs::read_dir(world.path("stick/steps")).unwrap().flatten() {
        write(entry.path(), "nothing");
    }
    for kind in ["packs", "blobs", "manifests"] {
        fs::remove_dir_all(world.path("stick").join(kind)).unwrap();
    }
    let failed = update(&site).unwrap_err();
    site.report_back(&Quiet);
    let told = reports(&world.path("stick"));
    assert_eq!(told[0].failures.len(), 1, "{told:?}");
    assert_eq!(told[0].failures[0].failed, failed.to_string());
    // Made ready again, it has everything.
    made(&world, |_| {}).unwrap();
    let site = world.reopen(site);
    update(&site).unwrap();
    site.report_back(&Quiet);
    assert!(reports(&world.path("stick"))[0].failures.is_empty());
}

/// Anybody may have written the reports, and anything may stand in their place.
#[test]
fn a_hostile_stick_wastes_room_at_most() {
    let (world, site) = reported();
    let folder = world.path("stick/reports");
    let mut names = fs::read_dir(&folder).unwrap().flatten().map(|e| e.path());
    let good = names.find(|p| p.extension().is_some()).unwrap();
    let text = fs::read_to_string(&good).unwrap();
    for (name, text) in [
        ("a.json", String::new()),
        ("b.json", "x".repeat(100_000)),
        ("c.json", text.replace("\"demo\"", "\"../demo\"")),
        (
            "d.json",
            text.replace(&text[text.find("\"site\": \"").unwrap() + 9..][..32], "../../x"),
        ),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    symlink("/dev/zero", folder.join("e.json")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("f.json"), rustix::fs::Mode::RWXU).unwrap();
    // Nor is anything written or removed where links of the stick lead.
    let elsewhere = world.path("elsewhere");
    write(elsewhere.join("ab/mine"), "mine");
    let stick = world.path("stick");
    fs::remove_dir_all(stick.join("packs")).unwrap();
    symlink(&elsewhere, stick.join("packs")).unwrap();
    let inner = fs::read_dir(stick.join("blobs"))
        .unwrap()
        .flatten()
        .next()
        .unwrap();
    fs::remove_dir_all(inner.path()).unwrap();
    symlink(elsewhere.join("ab"), inner.path()).unwrap();
    write(
        stick.join("blobs").join(std::ffi::OsStr::from_bytes(b"\xff")),
        "no name",
    );
    let (heard, follow) = (Heard::default(), [World::follow()]);
    let dir = world.path("stick");
    let stick = Stick {
        dir: &dir,
        follow: &follow,
        new_sites: false,
        room: None,
    };
    let ready = prepare(&world.store(), &stick, &heard).unwrap();
    assert_eq!(ready.channels[0].sites.len(), 1);
    let files =
        fs::read_dir(&elsewhere).unwrap().count() + fs::read_dir(elsewhere.join("ab")).unwrap().count();
    assert_eq!(files, 2, "{elsewhere:?}");
    let fresh = alone(&world, "fresh");
    assert!(
        update(&fresh).is_err(),
        "it carries what the one site needs: nothing"
    );
    drop(fresh);
    assert_eq!(heard.0.lock().unwrap().len(), 6, "{:?}", heard.0);

    // A site follows nothing there: neither the folder nor what stands under its report's names.
    let aside = world.path("aside");
    fs::create_dir(&aside).unwrap();
    let victim = world.path("victim");
    write(victim.clone(), "mine");
    for name in [good.clone(), good.with_extension("new")] {
        let _ = fs::remove_file(&name);
        symlink(&victim, &name).unwrap();
    }
    let site = world.reopen(site);
    site.report_back(&Quiet);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert!(good.symlink_metadata().unwrap().is_file());
    fs::remove_dir_all(&folder).unwrap();
    symlink(&aside, &folder).unwrap();
    site.report_back(&Quiet);
    assert_eq!(fs::read_dir(&aside).unwrap().count(), 0);
    // What is no stick is not written to, and not swept.
    fs::remove_file(&folder).unwrap();
    site.report_back(&Quiet);
    assert!(!folder.exists());
    let refused = made(&world, |_| {}).unwrap_err();
    assert!(matches!(refused, Error::Usage(_)), "{refused}");
    let repository = Stick {
        dir: &world.repo(),
        ..stick
    };
    let refused = prepare(&world.store(), &repository, &Quiet).unwrap_err();
    assert!(matches!(refused, Error::Usage(_)), "{refused}");
}

/// The whole way by the commands, on the filesystem that sticks have.
#[test]
fn a_stick_goes_round() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let (image, mount) = (world.path("image"), world.path("mount"));
    fs::create_dir(&mount).unwrap();
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let ran = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).output();
        done.is_ok_and(|o| o.status.success())
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mounts =
        ran("mkfs.vfat", &[&text(&image)]) && ran("mount", &["-o", "loop", &text(&image), &text(&mount)]);
    let _unmount = mounts.then(|| Unmount(mount.clone()));
    if !mounts {
        println!("on a plain directory: no root, no mkfs.vfat, no loop devices or no vfat here");
    }
    let elfup = |args: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_elfup"))
            .args(args)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).unwrap()
    };
    let [repo, stick, site] = [world.repo(), mount.join("school"), world.path("far")].map(|p| text(&p));
    let root = text(&world.repo().join("tuf/1.root.json"));
    let prepare = [
        "stick",
        "prepare",
        "--repo",
        &repo,
        "--follow",
        "demo/stable/x86_64",
        &stick,
    ];
    assert!(elfup(&prepare).contains("r1, for empty sites"));
    // Its only source answers nobody: the stick comes first.
    let init = [
        "site",
        "--site",
        &site,
        "init",
        "--product",
        "demo",
        "--arch",
        "x86_64",
        "--unprivileged",
    ];
    elfup(&[&init[..], &["--root", &root, "--source", "http://127.0.0.1:9/"]].concat());
    let update = ["site", "--site", &site, "update", "--source", &stick];
    elfup(&update);
    world.publish("r2", "two").unwrap();
    assert!(elfup(&prepare).contains("r2, for 1 sites that have reported"));
    assert!(elfup(&update).contains("r1 -> r2"));
    let status = elfup(&["stick", "status", &stick]);
    assert!(
        status.contains("demo/stable/x86_64, r2 runs") && status.contains("r1 -> r2"),
        "{status}"
    );
    let figures = elfup(&["site", "--site", &site, "report", "--prometheus"]);
    let runs = "elfup_site_sequence{product=\"demo\",channel=\"stable\",arch=\"x86_64\"} 2\n";
    assert!(
        figures.contains(runs) && figures.contains("elfup_site_metadata_expires_timestamp_seconds{"),
        "{figures}"
    );
    let farm = [
        "farm",
        "stats",
        "--repo",
        &repo,
        "--product",
        "demo",
        "--arch",
        "x86_64",
    ];
    let figures = elfup(&[&farm[..], &["--prometheus"]].concat());
    assert!(figures.contains("from=\"r1\",to=\"r2\"} "), "{figures}");
    let told: Vec<Report> = serde_json::from_str(&elfup(&["stick", "status", "--json", &stick])).unwrap();
    let own: Report = serde_json::from_str(&elfup(&["site", "--site", &site, "report"])).unwrap();
    assert_eq!(
        (told.len(), &told[0].site, &told[0].runs),
        (1, &own.site, &own.runs)
    );
}

/// Unmounts when the test ends.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.unwrap().success() || std::thread::panicking());
    }
}
