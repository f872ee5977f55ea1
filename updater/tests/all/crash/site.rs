//! Every command of a site that writes, struck at every system call: run again it completes, and the site goes on.

use super::{ELFUP, copy, small, strace_works, sweep};
use crate::world::{World, runs, update, write};
use elfup::site::{Config, Health, Objective, Site, UpdateOptions};
use elfup::{Error, Quiet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a command as a user does after a fault; checks may say that there is something new.
fn run(arguments: &[&str], at: &str) {
    let done = Command::new(ELFUP)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(matches!(done.status.code(), Some(0 | 10)), "{at}: {said}");
}

/// A site at the first release, with the second to be had.
fn ready(change: impl FnOnce(&mut Config)) -> World {
    let world = small();
    world.publish("r1", "one").unwrap();
    update(&world.site("base", change)).unwrap();
    world.publish("r2", "two").unwrap();
    world
}

/// Sweeps one command from the state that `before` leaves of the site; `check` gets the site after each fault.
fn sweep_from(world: &World, command: &[&str], before: &dyn Fn(&str), check: &dyn Fn(&Path, &str)) {
    let dir = world.path("site");
    let site = dir.to_str().unwrap();
    copy(&world.path("base"), &dir);
    before(site);
    copy(&dir, &world.path("state"));
    let arguments = [&["site", "--site", site], command].concat();
    sweep(&arguments, &|| copy(&world.path("state"), &dir), &|at| {
        check(&dir, at)
    });
}

/// Opens the site. A lock that was given up may still be held for a moment by what another test is just starting.
fn open(dir: &Path, at: &str) -> Site {
    let mut patience = 500;
    loop {
        match Site::open(dir) {
            Err(Error::Busy(_)) if patience > 0 => patience -= 1,
            other => return other.unwrap_or_else(|e| panic!("{at}: {e}")),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The site comes to the second release and back.
fn goes_on(dir: &Path, at: &str) {
    let site = open(dir, at);
    update(&site).unwrap_or_else(|e| panic!("{at}: update: {e}"));
    assert_eq!(runs(&site), "r2", "{at}");
    let back = site.rollback(&Quiet);
    back.unwrap_or_else(|e| panic!("{at}: back: {e}"));
    assert_eq!(runs(&site), "r1", "{at}");
}

/// The same command completes, and the site goes on.
fn sweep_command(world: &World, command: &[&str], before: &dyn Fn(&str)) {
    sweep_from(world, command, before, &|dir, at| {
        // What is activated is not ready any more.
        if command != ["activate"] || runs(&open(dir, at)) != "r2" {
            run(
                &[&["site", "--site", dir.to_str().unwrap()], command].concat(),
                at,
            );
        }
        goes_on(dir, at);
    });
}

#[test]
fn check_fetch_and_activate_survive_every_point() {
    if !strace_works() {
        return;
    }
    let world = ready(|_| {});
    sweep_command(&world, &["check"], &|_| ());
    sweep_command(&world, &["fetch"], &|_| ());
    let fetched = |site: &str| run(&["site", "--site", site, "fetch"], "before");
    sweep_command(&world, &["activate"], &fetched);
    // What was fetched is not given up because the disk was full for a moment.
    let dir = world.path("site");
    let activate = ["site", "--site", dir.to_str().unwrap(), "activate"];
    for n in 1..=5 {
        copy(&world.path("state"), &dir);
        super::with_fault(&activate, "fsync", "error=ENOSPC", n, "");
        let site = open(&dir, "activate");
        if runs(&site) == "r1" {
            assert!(site.ready().unwrap().is_some(), "fsync {n}");
            drop(site);
            run(&activate, &format!("activate after ENOSPC at fsync {n}"));
        }
    }
}

/// No step leads straight to the third release: a file of the second is made first.
#[test]
fn update_through_a_release_between_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = small();
    world.publish("r1", "one").unwrap();
    update(&world.site("base", |config| config.objective = Objective::Bytes)).unwrap();
    world.publish("r2", "two").unwrap();
    let mut data = fs::read(world.path("two/bin/a")).unwrap();
    data[7000] ^= 0xff;
    write(world.path("two/bin/a"), data);
    let mut third = world.publishing("r3", "two");
    third.keep.last = 1;
    elfup::farm::publish(&world.store(), &third, &Quiet).unwrap();
    let between = |dir: &Path, at: &str| {
        let planned = open(dir, at)
            .prepare(&UpdateOptions::default(), &Quiet)
            .unwrap()
            .unwrap();
        planned.plan.first.is_some()
    };
    assert!(between(&world.path("base"), "before"));
    sweep_from(&world, &["fetch"], &|_| (), &|dir, at| {
        run(&["site", "--site", dir.to_str().unwrap(), "fetch"], at);
        let site = open(dir, at);
        let ready = site.ready().unwrap().map(|manifest| manifest.header.release);
        assert_eq!(ready.as_deref(), Some("r3"), "{at}");
        site.activate(&Quiet).unwrap_or_else(|e| panic!("{at}: {e}"));
        assert_eq!(runs(&site), "r3", "{at}");
    });
}

/// What the administrator set is there in whatever tree runs, though a file or folder could not be opened for a moment.
#[test]
fn configuration_outlasts_a_disk_that_does_not_open() {
    if !strace_works() {
        return;
    }
    let world = small();
    write(world.path("two/etc/c.conf"), "as it comes now\n");
    world.publish("r1", "one").unwrap();
    update(&world.site("base", |_| {})).unwrap();
    world.publish("r2", "two").unwrap();
    let (base, dir) = (world.path("base"), world.path("site"));
    let set = Permissions::from_mode(0o600);
    fs::set_permissions(base.join("current/etc/c.conf"), set).unwrap();
    let site = dir.to_str().unwrap();
    run(&["site", "--site", base.to_str().unwrap(), "fetch"], "before");
    let activate = ["site", "--site", site, "activate"];
    let mut n = 1;
    loop {
        copy(&base, &dir);
        let ended = super::with_fault(&activate, "openat", "error=EIO", n, "").is_none();
        let at = format!("EIO at openat {n}");
        if runs(&open(&dir, &at)) == "r1" {
            run(&activate, &at);
        }
        let file = dir.join("current/etc/c.conf");
        assert_eq!(fs::read_to_string(&file).unwrap(), "as it comes now\n", "{at}");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{at}");
        if ended {
            break;
        }
        n += if super::whole() { 1 } else { 13 };
    }
    // Each is tried until none is left; a program without faults would have none.
    assert!(n > 50, "{n} points");
}

#[test]
fn downgrade_repair_and_pin_survive_every_point() {
    if !strace_works() {
        return;
    }
    let world = ready(|_| {});
    let updated = |site: &str| run(&["site", "--site", site, "update"], "before");
    sweep_command(&world, &["downgrade", "r1"], &updated);
    sweep_command(&world, &["repair"], &|site| {
        let tree = fs::canonicalize(format!("{site}/current")).unwrap();
        let a = tree.join("bin/a");
        fs::remove_file(&a).unwrap();
        write(&a, "not what was released");
    });
    sweep_command(&world, &["pin", "r1"], &|_| ());
}

/// On a filesystem that cannot exchange two directories the running tree steps aside, and comes back after a kill.
#[test]
fn repair_without_an_exchange_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = ready(|_| {});
    let tree = fs::canonicalize(world.path("base/current")).unwrap();
    fs::remove_file(tree.join("bin/a")).unwrap();
    let dir = world.path("site");
    for n in 1.. {
        copy(&world.path("base"), &dir);
        let mut repair = Command::new("strace");
        repair.args(["-f", "-o", "/dev/null", "-e", "trace=renameat2,rename,renameat"]);
        repair.args(["-e", "inject=renameat2:error=EINVAL"]);
        repair.args(["-e", &format!("inject=rename,renameat:signal=KILL:when={n}")]);
        repair.args([ELFUP, "site", "--site"]).arg(&dir).arg("repair");
        let done = repair.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let at = format!("repair: kill at rename {n}");
        // `current` leads somewhere, but for the moment between two renames, which the next command ends.
        let site = open(&dir, &at);
        assert!(dir.join("current/share/b").exists(), "{at}");
        drop(site);
        run(&["site", "--site", dir.to_str().unwrap(), "repair"], &at);
        goes_on(&dir, &at);
        if done.unwrap().success() {
            assert!(n > 2, "{n} renames");
            break;
        }
    }
}

/// A good release stays and a bad one goes, whatever the point at which the trial is cut.
#[test]
fn trials_survive_every_point() {
    if !strace_works() {
        return;
    }
    let asks = |program: &str| {
        Some(Health {
            command: vec![program.to_owned()],
            timeout: 60,
        })
    };
    let world = ready(|c| c.health = asks("true"));
    sweep_command(&world, &["update"], &|_| ());
    let world = ready(|c| c.health = asks("false"));
    sweep_from(&world, &["update"], &|_| (), &|dir, at| {
        let site = open(dir, at);
        // The first may be what ends the trial, the second has nothing to try.
        for _ in 0..2 {
            match update(&site) {
                Err(Error::Unhealthy(_)) => {}
                other => panic!("{at}: {:?}", other.map(|u| u.to)),
            }
        }
        assert_eq!(runs(&site), "r1", "{at}");
        drop(site);
        let file = dir.join("site.json");
        let mut config = Config::load(&file).unwrap();
        config.health = asks("true");
        config.save(&file).unwrap();
        let site = open(dir, at);
        let again = UpdateOptions {
            again: true,
            ..UpdateOptions::default()
        };
        let updated = site.update(&again, &Quiet);
        updated.unwrap_or_else(|e| panic!("{at}: again: {e}"));
        assert_eq!(runs(&site), "r2", "{at}");
    });
}

/// What the administrator changed is there in every state, and the new default beside it once the new release runs.
#[test]
fn configuration_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = small();
    write(world.path("two/etc/c.conf"), "new default\n");
    world.publish("r1", "one").unwrap();
    update(&world.site("base", |_| {})).unwrap();
    world.publish("r2", "two").unwrap();
    let changed = |site: &str| {
        let conf = format!("{site}/current/etc/c.conf");
        fs::remove_file(&conf).unwrap();
        write(&conf, "changed here\n");
        write(format!("{site}/current/etc/only-here"), "mine\n");
    };
    let is_kept = |dir: &Path, at: &str| {
        let read = |name: &str| fs::read_to_string(dir.join("current/etc").join(name)).ok();
        assert_eq!(read("c.conf").as_deref(), Some("changed here\n"), "{at}");
        assert_eq!(read("only-here").as_deref(), Some("mine\n"), "{at}");
        read("c.conf.elfup-new")
    };
    sweep_from(&world, &["update"], &changed, &|dir, at| {
        // As a program sees it that starts before any command of ours.
        is_kept(dir, at);
        let site = open(dir, at);
        is_kept(dir, at);
        update(&site).unwrap_or_else(|e| panic!("{at}: update: {e}"));
        assert_eq!(runs(&site), "r2", "{at}");
        assert_eq!(is_kept(dir, at).as_deref(), Some("new default\n"), "{at}");
        let back = site.rollback(&Quiet);
        back.unwrap_or_else(|e| panic!("{at}: back: {e}"));
        assert_eq!(is_kept(dir, at), None, "{at}");
    });
    let updated = |site: &str| {
        changed(site);
        run(&["site", "--site", site, "update"], "before");
    };
    sweep_from(&world, &["rollback"], &updated, &|dir, at| {
        is_kept(dir, at);
        let site = open(dir, at);
        if runs(&site) == "r2" {
            site.rollback(&Quiet)
                .unwrap_or_else(|e| panic!("{at}: again: {e}"));
        }
        assert_eq!((runs(&site).as_str(), is_kept(dir, at)), ("r1", None), "{at}");
    });
}

/// There is a way back at every point, while the old release is replaced by deltas and while it is built from them.
#[test]
fn ways_back_survive_every_point() {
    if !strace_works() {
        return;
    }
    let world = ready(|c| {
        c.keep = 0;
        c.keep_reverse = true;
    });
    sweep_command(&world, &["update"], &|_| ());
    let updated = |site: &str| run(&["site", "--site", site, "update"], "before");
    sweep_from(&world, &["rollback"], &updated, &|dir, at| {
        let site = open(dir, at);
        if runs(&site) == "r2" {
            site.rollback(&Quiet)
                .unwrap_or_else(|e| panic!("{at}: again: {e}"));
        }
        assert_eq!(runs(&site), "r1", "{at}");
    });
}

/// A stick brings a site on as a server does.
#[test]
fn update_from_a_stick_survives_every_point() {
    if !strace_works() {
        return;
    }
    let world = ready(|_| {});
    let [repo, stick] = ["repo", "stick"].map(|n| world.path(n).to_str().unwrap().to_owned());
    let mut export = vec!["repo", "export", &repo, "--since", "r1"];
    export.extend(["--product", "demo", "--arch", "x86_64", &stick]);
    run(&export, "export");
    let file = world.path("base/site.json");
    let mut config = Config::load(&file).unwrap();
    config.sources = vec![stick.clone()];
    config.save(&file).unwrap();
    sweep_command(&world, &["update"], &|_| ());
}

#[test]
fn init_and_recover_survive_every_point() {
    if !strace_works() {
        return;
    }
    let world = ready(|_| {});
    let text = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let (root, repo, site) = (text("repo/tuf/1.root.json"), text("repo"), text("new-site"));
    sweep_command(&world, &["recover", "--root", &root], &|site| {
        fs::write(format!("{site}/state/trust"), "torn").unwrap();
    });
    let mut init = vec!["site", "--site", &site, "init", "--product", "demo"];
    init.extend(["--arch", "x86_64", "--source", &repo, "--root", &root]);
    init.extend(["--reserve", "0"]);
    let dir = world.path("new-site");
    sweep(&init, &|| drop(fs::remove_dir_all(&dir)), &|at| {
        if Site::open(&dir).is_err() {
            run(&init, at);
        }
        let open = open(&dir, at);
        update(&open).unwrap_or_else(|e| panic!("{at}: update: {e}"));
        assert_eq!(runs(&open), "r2", "{at}");
    });
}
