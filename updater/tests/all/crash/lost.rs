//! Kills with a real loss of unsynced data: afterwards the old or the new release, whole, and what had ended stays.
//!
//! The tests need root, loop mounts and `xfs_io`; they are skipped without.

use super::{ELFUP, copy, fixed_site, publish_arguments, small, strace_works, whole, with_fault};
use crate::world::{World, update};
use elfup::Quiet;
use elfup::site::Site;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A filesystem of its own that can lose everything that was not synced.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
    /// Attaching and losing loop devices from several tests at once went wrong now and then.
    _alone: std::sync::MutexGuard<'static, ()>,
}

static LOOPS: std::sync::Mutex<()> = std::sync::Mutex::new(());

impl Disk {
    fn make(world: &World, kind: &str) -> Option<Disk> {
        let disk = Disk {
            image: world.path(&format!("{kind}.img")),
            mount: world.path(&format!("{kind}.mnt")),
            _alone: LOOPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        };
        let file = fs::File::create(&disk.image).unwrap();
        file.set_len(400 << 20).unwrap();
        fs::create_dir(&disk.mount).unwrap();
        let mut format = Command::new(format!("mkfs.{kind}"));
        format
            .arg(if kind == "ext4" { "-F" } else { "-f" })
            .arg("-q")
            .arg(&disk.image);
        let made = format.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let tools = Command::new("xfs_io").arg("-V").stdout(Stdio::null()).status();
        let able = made.is_ok_and(|s| s.success()) && tools.is_ok_and(|s| s.success()) && disk.mount();
        if !able {
            eprintln!("skipped: {kind} on a loop mount with xfs_io needs root and both tools");
            return None;
        }
        Some(disk)
    }
    fn mount(&self) -> bool {
        // Without these ext4 quietly repairs what a missing sync breaks.
        let options = if self.image.to_string_lossy().contains("ext4") {
            "loop,noauto_da_alloc"
        } else {
            "loop"
        };
        let mut mount = Command::new("mount");
        mount.args(["-o", options]).arg(&self.image).arg(&self.mount);
        mount.stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    }
    /// Loses what was not synced, as a power cut does.
    fn lose(&self) {
        let mut cut = Command::new("xfs_io");
        assert!(
            cut.args(["-x", "-c", "shutdown"])
                .arg(&self.mount)
                .status()
                .unwrap()
                .success()
        );
        assert!(
            Command::new("umount")
                .arg(&self.mount)
                .status()
                .unwrap()
                .success()
        );
        assert!(self.mount());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg(&self.mount)
            .stderr(Stdio::null())
            .status();
    }
}

/// One command on a disk that loses its unsynced data; returns what went wrong.
///
/// `judge` gets the point, and whether the command had ended well, so that only its result will do.
fn lose_at_every_point(
    disk: &Disk,
    arguments: &[&str],
    dropped: &str,
    reset: &dyn Fn(),
    judge: &dyn Fn(&str, bool) -> Result<(), String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let reset = || {
        reset();
        let mut sync = Command::new("sync");
        assert!(sync.arg("-f").arg(&disk.mount).status().unwrap().success());
    };
    let mut lose = |at: String, ended: bool| {
        disk.lose();
        wrong.extend(judge(&at, ended).err().map(|e| format!("{at}: {e}")));
    };
    for call in ["syncfs", "fsync", "rename,renameat,renameat2", "unlink,unlinkat"] {
        let mut n = 1;
        loop {
            reset();
            if with_fault(arguments, call, "signal=KILL", n, dropped).is_none() {
                break;
            }
            lose(format!("{arguments:?}: {call} {n}"), false);
            n += if whole() { 1 } else { 3 };
        }
    }
    reset();
    let mut plain = Command::new(ELFUP);
    let plain = plain
        .args(arguments)
        .env("ELFUP_DROP_SYNC", dropped)
        .stdout(Stdio::null());
    assert!(plain.status().unwrap().success());
    lose(format!("{arguments:?}: done, then the power went"), true);
    wrong
}

/// The release that a site runs, with its tree compared.
fn whole_release(site: &Site) -> Result<String, String> {
    let differences = site.verify(&Quiet).map_err(|e| e.to_string())?;
    let deployments = site.deployments().map_err(|e| e.to_string())?;
    let release = deployments.into_iter().find(|d| d.current);
    let release = release.map_or(String::new(), |d| d.release);
    match differences.is_empty() {
        true => Ok(release),
        false => Err(format!("{release} runs with {differences:?}")),
    }
}

/// A command that takes a site from one release to the other, on a disk of its own.
fn lose_everywhere(kind: &str, dropped: &str, command: &str, fixed: bool) -> Option<Vec<String>> {
    if !strace_works() {
        return None;
    }
    let world = small();
    let disk = Disk::make(&world, kind)?;
    world.publish("r1", "one").unwrap();
    let mount = disk.mount.file_name().unwrap().to_str().unwrap();
    let dir = if fixed {
        fixed_site(&world, &format!("{mount}/place")).0
    } else {
        let site = world.site(&format!("{mount}/place/site"), |_| {});
        update(&site).unwrap();
        site.root().to_owned()
    };
    world.publish("r2", "two").unwrap();
    if command == "rollback" {
        update(&Site::open(&dir).unwrap()).unwrap();
    }
    let (place, saved) = (disk.mount.join("place"), world.path("saved"));
    copy(&place, &saved);
    let new = if command == "update" { "r2" } else { "r1" };
    let judge = |_: &str, ended: bool| -> Result<(), String> {
        let site = Site::open(&dir).map_err(|e| e.to_string())?;
        let release = whole_release(&site)?;
        if !(release == new || !ended && (release == "r1" || release == "r2")) {
            return Err(format!("{release} runs"));
        }
        if release != new {
            let again = match command {
                "update" => update(&site).map(drop),
                _ => site.rollback(&Quiet).map(drop),
            };
            again.map_err(|e| format!("again: {e}"))?;
        }
        match whole_release(&site)? {
            release if release == new => Ok(()),
            other => Err(format!("after: {other}")),
        }
    };
    let arguments = ["site", "--site", dir.to_str().unwrap(), command];
    let reset = || copy(&saved, &place);
    Some(lose_at_every_point(&disk, &arguments, dropped, &reset, &judge))
}

fn nothing_is_lost(wrong: Option<Vec<String>>) {
    if let Some(wrong) = wrong {
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn lost_data_on_ext4() {
    nothing_is_lost(lose_everywhere("ext4", "", "update", false));
    nothing_is_lost(lose_everywhere("ext4", "", "rollback", false));
}

#[test]
fn lost_data_on_xfs() {
    nothing_is_lost(lose_everywhere("xfs", "", "update", false));
    nothing_is_lost(lose_everywhere("xfs", "", "rollback", false));
}

#[test]
fn lost_data_at_a_fixed_path() {
    for kind in ["ext4", "xfs"] {
        nothing_is_lost(lose_everywhere(kind, "", "update", true));
        nothing_is_lost(lose_everywhere(kind, "", "rollback", true));
    }
}

/// A small world with each kind of filesystem in turn, as far as they can be had here.
fn on_each_disk(test: impl Fn(&World, &Disk)) {
    for kind in ["ext4", "xfs"] {
        if !strace_works() {
            return;
        }
        let world = small();
        let Some(disk) = Disk::make(&world, kind) else {
            return;
        };
        test(&world, &disk);
    }
}

#[test]
fn lost_data_of_gc() {
    on_each_disk(|world, disk| {
        let mount = disk.mount.file_name().unwrap().to_str().unwrap();
        world.publish("r1", "one").unwrap();
        let site = world.site(&format!("{mount}/site"), |_| {});
        update(&site).unwrap();
        world.publish("r2", "two").unwrap();
        update(&site).unwrap();
        let (dir, saved) = (site.root().to_owned(), world.path("saved"));
        drop(site);
        let mut config = elfup::site::Config::load(&dir.join("site.json")).unwrap();
        config.keep = 0;
        config.save(&dir.join("site.json")).unwrap();
        copy(&dir, &saved);
        let judge = |_: &str, _: bool| -> Result<(), String> {
            let site = Site::open(&dir).map_err(|e| e.to_string())?;
            site.gc(true, &Quiet).map_err(|e| format!("again: {e}"))?;
            match (
                whole_release(&site)?.as_str(),
                site.deployments().map_err(|e| e.to_string())?.len(),
            ) {
                ("r2", 1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        };
        let arguments = ["site", "--site", dir.to_str().unwrap(), "gc"];
        let reset = || copy(&saved, &dir);
        nothing_is_lost(Some(lose_at_every_point(disk, &arguments, "", &reset, &judge)));
    });
}

#[test]
fn lost_data_of_publish() {
    on_each_disk(|world, disk| {
        world.publish("r1", "one").unwrap();
        let saved = world.path("saved");
        copy(&world.repo(), &saved);
        let repo = disk.mount.join("repo");
        let publishing = || world.publishing("r2", "two");
        let store = elfup::store::LocalStore::new(&repo);
        let reader = || -> Result<String, String> {
            let dir = world.path("reader");
            let _ = fs::remove_dir_all(&dir);
            let site = world.site("reader", |c| c.sources = vec![repo.to_str().unwrap().into()]);
            update(&site).map_err(|e| e.to_string())?;
            whole_release(&site)
        };
        let judge = |_: &str, ended: bool| -> Result<(), String> {
            let seen = reader()?;
            if !(seen == "r2" || seen == "r1" && !ended) {
                return Err(format!("a reader sees {seen:?}"));
            }
            elfup::farm::publish(&store, &publishing(), &Quiet).map_err(|e| format!("again: {e}"))?;
            match reader()?.as_str() {
                "r2" => Ok(()),
                other => Err(format!("after: a reader sees {other:?}")),
            }
        };
        let text = |p: &Path| p.to_str().unwrap().to_owned();
        let [r, keys, tree] = [text(&repo), text(&world.path("keys")), text(&world.path("two"))];
        let arguments = publish_arguments(&r, &keys, &tree);
        let reset = || copy(&saved, &repo);
        nothing_is_lost(Some(lose_at_every_point(disk, &arguments, "", &reset, &judge)));
    });
}

/// The suite must notice a sync that is left out. Run with `--features drop-sync`.
#[cfg(feature = "drop-sync")]
#[test]
fn a_dropped_sync_is_noticed() {
    for name in ["tree", "directory"] {
        if let Some(wrong) = lose_everywhere("ext4", name, "update", false) {
            assert!(!wrong.is_empty(), "nothing went wrong without {name}");
        }
    }
}
