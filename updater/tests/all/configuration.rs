//! Configuration paths belong to the administrator: whatever stands there goes along, or is named before the switch.

use crate::world::{World, runs, update, write};
use elfup::farm::publish;
use elfup::site::{Beside, Site, UpdateOptions};
use elfup::{Error, Quiet, Watch};
use rustix::fs::{CWD, FileType, Mode};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Keeps what it is told, with what ran at that time.
struct Notes {
    current: PathBuf,
    lines: Mutex<Vec<(String, PathBuf)>>,
}
impl Watch for Notes {
    fn note(&self, line: &str) {
        let link = fs::read_link(&self.current).unwrap();
        self.lines.lock().unwrap().push((line.to_owned(), link));
    }
}

#[test]
fn every_type_of_entry_goes_along_and_comes_back() {
    let (world, site) = World::ready();
    let current = world.path("site/current");
    let etc = current.join("etc");
    write(world.path("real.conf"), "mine\n");
    fs::remove_file(etc.join("app.conf")).unwrap();
    symlink(world.path("real.conf"), etc.join("app.conf")).unwrap();
    symlink("nowhere", etc.join("dangling")).unwrap();
    rustix::fs::mknodat(CWD, etc.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::set_permissions(etc.join("fifo"), fs::Permissions::from_mode(0o622)).unwrap();
    fs::create_dir_all(etc.join("conf.d/deep/er")).unwrap();
    fs::set_permissions(etc.join("conf.d"), fs::Permissions::from_mode(0o1770)).unwrap();
    write(etc.join("conf.d/deep/er/x"), "x");
    fs::set_permissions(etc.join("other.conf"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(etc.join("empty.d")).unwrap();
    let bomb = fs::File::create(etc.join("bomb")).unwrap();
    bomb.set_len(200 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&bomb, b"middle", 100 << 30).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(etc.join("socket")).unwrap();
    if root() {
        let zero = rustix::fs::makedev(1, 5);
        let made = rustix::fs::mknodat(CWD, etc.join("zero"), FileType::CharacterDevice, Mode::RUSR, zero);
        assert!(made.is_ok());
        fs::set_permissions(etc.join("conf.d/deep/er/x"), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let time = fs::metadata(etc.join("conf.d/deep/er/x"))
        .unwrap()
        .modified()
        .unwrap();
    let check = |release: &str| {
        assert_eq!(runs(&site), release);
        assert_eq!(
            fs::read_link(etc.join("app.conf")).unwrap(),
            world.path("real.conf")
        );
        assert_eq!(read(world.path("real.conf")), "mine\n");
        assert_eq!(fs::read_link(etc.join("dangling")).unwrap(), Path::new("nowhere"));
        let fifo = fs::metadata(etc.join("fifo")).unwrap();
        assert!(fifo.file_type().is_fifo() && fifo.mode() & 0o777 == 0o622);
        assert_eq!(fs::metadata(etc.join("conf.d")).unwrap().mode() & 0o7777, 0o1770);
        let x = fs::metadata(etc.join("conf.d/deep/er/x")).unwrap();
        assert_eq!((x.len(), x.modified().unwrap()), (1, time));
        assert_eq!(
            fs::metadata(etc.join("other.conf")).unwrap().mode() & 0o777,
            0o600
        );
        assert_eq!(read(etc.join("other.conf")), "size = 1\n");
        assert!(fs::metadata(etc.join("empty.d")).unwrap().is_dir());
        let bomb = fs::metadata(etc.join("bomb")).unwrap();
        assert!(
            bomb.len() == 200 << 30 && bomb.blocks() < 1000,
            "{}",
            bomb.blocks()
        );
        if root() {
            let zero = fs::metadata(etc.join("zero")).unwrap();
            assert!(zero.file_type().is_char_device() && zero.rdev() == rustix::fs::makedev(1, 5));
        }
    };
    let before = fs::read_link(&current).unwrap();
    let notes = Notes {
        current: current.clone(),
        lines: Mutex::default(),
    };
    let updated = site.update(&UpdateOptions::default(), &notes).unwrap();
    check("r2");
    let left: Vec<_> = updated
        .configuration
        .not_kept
        .iter()
        .map(|n| n.path.as_str())
        .collect();
    assert_eq!(left, ["etc/socket"]);
    let told = notes.lines.into_inner().unwrap();
    let told: Vec<_> = told
        .iter()
        .filter(|(line, _)| line.contains("etc/socket"))
        .collect();
    assert!(
        !told.is_empty() && told.iter().all(|(_, link)| *link == before),
        "{told:?}"
    );
    drop(socket);
    site.rollback(&Quiet).unwrap();
    check("r1");
}

#[test]
fn what_may_not_be_read_is_linked_or_stops_the_update() {
    let (world, site) = World::ready();
    if root() {
        return eprintln!("skipped: root reads everything");
    }
    let etc = world.path("site/current/etc");
    write(etc.join("secret"), "secret");
    fs::set_permissions(etc.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    update(&site).unwrap();
    fs::set_permissions(etc.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(read(etc.join("secret")), "secret");
    fs::create_dir(etc.join("closed")).unwrap();
    fs::set_permissions(etc.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    assert!(matches!(site.rollback(&Quiet), Err(Error::Unkept { .. })));
    assert_eq!(runs(&site), "r2");
    fs::set_permissions(etc.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_mount_stays_where_it_is_and_is_named() {
    let (world, site) = World::ready();
    let at = world
        .path("site/current")
        .canonicalize()
        .unwrap()
        .join("etc/mounted");
    fs::create_dir(&at).unwrap();
    let mount = |name: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(name);
        command
            .args(arguments)
            .arg(&at)
            .stderr(std::process::Stdio::null());
        command.status().is_ok_and(|s| s.success())
    };
    if !mount("mount", &["-t", "tmpfs", "none"]) {
        return eprintln!("skipped: mounting needs root");
    }
    write(at.join("huge"), "not to be copied");
    let updated = update(&site);
    assert!(mount("umount", &[]));
    let updated = updated.unwrap();
    let left: Vec<_> = updated
        .configuration
        .not_kept
        .iter()
        .map(|n| n.path.as_str())
        .collect();
    assert_eq!(left, ["etc/mounted"]);
    let kept: Vec<_> = fs::read_dir(world.path("site/current/etc/mounted"))
        .unwrap()
        .collect();
    assert!(kept.is_empty(), "the place to mount it again, and nothing in it");
}

#[test]
fn programs_that_write_by_rename_meanwhile_do_no_harm() {
    let (world, site) = World::ready();
    let etc = world.path("site/current/etc");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for who in 0..2 {
            let (etc, stop) = (&etc, &stop);
            scope.spawn(move || {
                for i in (0..40).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let new = etc.join(format!(".{who}.{i}.tmp"));
                    let _ = fs::write(&new, "state\n");
                    let _ = fs::rename(&new, etc.join(format!("state{who}")));
                    let _ = fs::create_dir(etc.join(format!("d{who}")));
                    let _ = fs::write(etc.join(format!("d{who}/{i}")), "x");
                    let _ = fs::remove_dir_all(etc.join(format!("d{who}")));
                }
            });
        }
        for _ in 0..6 {
            let done = update(&site).and_then(|_| site.rollback(&Quiet));
            if let Err(e) = done {
                stop.store(true, Ordering::Relaxed);
                panic!("{e}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(read(etc.join("state0")), "state\n");
    assert_eq!(read(etc.join("app.conf")), "colour = blue\n");
}

/// A user of a configuration directory puts links to elsewhere in the place of what was just looked at.
#[test]
fn links_that_are_swapped_in_bring_nothing_foreign_in() {
    let (world, site) = World::ready();
    let etc = world.path("site/current/etc");
    write(world.path("foreign/secret"), "foreign");
    write(etc.join("d/secret"), "local");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (etc, stop, foreign) = (&etc, &stop, world.path("foreign"));
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = fs::rename(etc.join("d"), etc.join("e"));
                let _ = symlink(&foreign, etc.join("d"));
                let _ = fs::remove_file(etc.join("d"));
                let _ = fs::rename(etc.join("e"), etc.join("d"));
                let _ = symlink(foreign.join("secret"), etc.join("f"));
                let _ = fs::remove_file(etc.join("f"));
                let _ = fs::write(etc.join("f"), "local");
                let _ = fs::remove_file(etc.join("f"));
            }
        });
        for _ in 0..6 {
            let done = update(&site).and_then(|_| site.rollback(&Quiet));
            if let Err(e) = done {
                stop.store(true, Ordering::Relaxed);
                panic!("{e}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Regular files only: a link that was copied as a link is none of ours.
    let found = std::process::Command::new("grep")
        .args(["-r", "-l", "foreign"])
        .arg(world.path("site/deployments"))
        .output()
        .unwrap();
    assert!(
        found.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&found.stdout)
    );
}

#[test]
fn changed_here_and_upstream() {
    let (world, site) = World::ready();
    let etc = world.path("site/current/etc");
    let beside = |site: &Site| site.beside().unwrap();
    let news = [Beside {
        local: "etc/app.conf".into(),
        new: "etc/app.conf.elfup-new".into(),
    }];
    write(etc.join("app.conf"), "colour = red\n");
    let updated = update(&site).unwrap();
    assert_eq!(updated.configuration.beside, news);
    assert_eq!(updated.configuration.kept, ["etc/app.conf"]);
    assert_eq!(beside(&site), news);
    assert_eq!(read(etc.join("app.conf")), "colour = red\n");
    assert_eq!(read(etc.join("app.conf.elfup-new")), "colour = green\n");
    // Back at the default that the change was made from there is no news.
    assert_eq!(site.rollback(&Quiet).unwrap().configuration.beside, []);
    assert_eq!(beside(&site), []);
    assert!(!etc.join("app.conf.elfup-new").exists());
    assert_eq!(read(etc.join("app.conf")), "colour = red\n");
    // The same default once more: it is still news until the administrator removes it.
    update(&site).unwrap();
    write(world.path("two/share/third"), "third");
    world.publish("r3", "two").unwrap();
    assert_eq!(update(&site).unwrap().configuration.beside, news);
    assert_eq!(read(etc.join("app.conf.elfup-new")), "colour = green\n");
    fs::remove_file(etc.join("app.conf.elfup-new")).unwrap();
    assert_eq!(beside(&site), []);
    write(world.path("two/share/third"), "fourth");
    world.publish("r4", "two").unwrap();
    assert_eq!(update(&site).unwrap().configuration.beside, []);
    assert_eq!(runs(&site), "r4");
}

#[test]
fn removed_here_gone_upstream_and_only_here() {
    let world = World::new();
    write(world.path("one/etc/same.conf"), "same\n");
    write(world.path("one/etc/gone.conf"), "gone\n");
    write(world.path("one/etc/gone-changed.conf"), "gone\n");
    write(world.path("two/etc/same.conf"), "same\n");
    write(world.path("two/etc/fresh.conf"), "fresh\n");
    write(world.path("two/etc/both.conf"), "theirs\n");
    write(world.path("two/etc/agreed.conf"), "agreed\n");
    fs::create_dir(world.path("two/etc/place")).unwrap();
    write(world.path("two/etc/place/x"), "x");
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    let etc = world.path("site/current/etc");
    fs::remove_file(etc.join("same.conf")).unwrap();
    fs::remove_file(etc.join("app.conf")).unwrap();
    write(etc.join("gone-changed.conf"), "changed\n");
    write(etc.join("both.conf"), "mine\n");
    write(etc.join("agreed.conf"), "agreed\n");
    write(etc.join("place"), "a file\n");
    world.publish("r2", "two").unwrap();
    let updated = update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert!(!etc.join("same.conf").exists() && !etc.join("app.conf").exists());
    assert_eq!(read(etc.join("app.conf.elfup-new")), "colour = green\n");
    assert!(!etc.join("gone.conf").exists());
    assert_eq!(read(etc.join("gone-changed.conf")), "changed\n");
    assert_eq!(read(etc.join("fresh.conf")), "fresh\n");
    assert_eq!(read(etc.join("both.conf")), "mine\n");
    assert_eq!(read(etc.join("both.conf.elfup-new")), "theirs\n");
    assert!(!etc.join("agreed.conf.elfup-new").exists());
    assert_eq!(read(etc.join("place")), "a file\n");
    let local = |b: &Beside| b.local.clone();
    let mut beside: Vec<_> = updated.configuration.beside.iter().map(local).collect();
    beside.sort();
    assert_eq!(beside, ["etc/app.conf", "etc/both.conf"]);
    // Repair brings back what was removed, and touches nothing else of it.
    assert!(site.repair(&Quiet).unwrap() > 0);
    assert_eq!(read(etc.join("same.conf")), "same\n");
    assert_eq!(read(etc.join("app.conf")), "colour = green\n");
    assert_eq!(read(etc.join("both.conf")), "mine\n");
}

#[test]
fn patterns_deep_in_a_tree_and_local_directories() {
    let world = World::new();
    for tree in ["one", "two"] {
        write(world.path(tree).join("opt/app/app.conf"), "a\n");
    }
    let mut first = world.publishing("r1", "one");
    first.config = vec!["**/*.conf".into()];
    publish(&world.store(), &first, &Quiet).unwrap();
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    let current = world.path("site/current");
    write(current.join("opt/local/deep/mine.conf"), "mine\n");
    write(current.join("opt/local/deep/not.txt"), "not\n");
    let mut second = world.publishing("r2", "two");
    second.config = vec!["**/*.conf".into()];
    publish(&world.store(), &second, &Quiet).unwrap();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!(read(current.join("opt/local/deep/mine.conf")), "mine\n");
    assert!(!current.join("opt/local/deep/not.txt").exists());
    fs::remove_file(world.path("site/previous/opt/local/deep/not.txt")).unwrap();
    site.rollback(&Quiet).unwrap();
    assert_eq!(read(current.join("opt/local/deep/mine.conf")), "mine\n");
}

#[test]
fn a_file_that_grows_for_ever_ends() {
    let (world, site) = World::ready();
    let etc = world.path("site/current/etc");
    let stop = AtomicBool::new(false);
    let updated = std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            let mut file = fs::File::create(etc.join("log")).unwrap();
            let end = Instant::now() + Duration::from_secs(60);
            while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                file.write_all(&[7; 512]).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let updated = update(&site);
        stop.store(true, Ordering::Relaxed);
        updated.unwrap()
    });
    assert!(fs::metadata(world.path("site/current/etc/log")).unwrap().len() > 0);
    drop(updated);
}
