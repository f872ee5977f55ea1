//! `keys` and `repo` struck at every system call: run again they complete, and a site with the oldest root follows.

use super::{ELFUP, copy, small, strace_works, sweep, whole};
use crate::world::{World, runs, update};
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

/// Root first: of the others a sample looks at one that has a root behind it and one that has none.
const ROLES: [&str; 5] = ["root", "snapshot", "release", "targets", "timestamp"];

fn text(world: &World, name: &str) -> String {
    world.path(name).to_str().unwrap().to_owned()
}

pub fn again(arguments: &[impl AsRef<OsStr>], at: &str) {
    let done = Command::new(ELFUP)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{at}: again: {said}");
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

/// A world with one release, a site at it, root and targets keys in `offline`, and all of it saved for resets.
struct Farm {
    world: World,
    sites: Cell<u32>,
}

impl Farm {
    fn new() -> Farm {
        let world = small();
        world.publish("r1", "one").unwrap();
        update(&world.site("old-site", |_| {})).unwrap();
        fs::create_dir(world.path("offline")).unwrap();
        for key in ["root-1.key", "targets.key"] {
            fs::rename(world.path("keys").join(key), world.path("offline").join(key)).unwrap();
        }
        let farm = Farm {
            world,
            sites: Cell::new(0),
        };
        farm.save();
        farm
    }
    fn save(&self) {
        for dir in ["keys", "offline", "repo"] {
            copy(&self.world.path(dir), &self.world.path(&format!("saved-{dir}")));
        }
    }
    fn reset(&self) {
        for dir in ["keys", "offline", "repo"] {
            copy(&self.world.path(&format!("saved-{dir}")), &self.world.path(dir));
        }
    }
    /// A command of `keys` over the keys of both places.
    fn command(&self, verb: &[&str]) -> Vec<String> {
        let mut command = vec!["keys".to_owned()];
        command.extend(verb.iter().map(|&word| word.to_owned()));
        for place in ["keys", "offline", "repo"] {
            command.extend([format!("--{place}"), text(&self.world, place)]);
        }
        command
    }
    /// What a site that trusts the first root, and one that was there before, come to.
    fn sites_reach(&self, release: &str, at: &str) {
        self.sites.set(self.sites.get() + 1);
        let fresh = self.world.site(&format!("site{}", self.sites.get()), |_| {});
        copy(&self.world.path("old-site"), &self.world.path("site"));
        let old = elfup::site::Site::open(&self.world.path("site")).unwrap();
        for site in [&fresh, &old] {
            update(site).unwrap_or_else(|e| panic!("{at}: a site: {e}"));
            assert_eq!(runs(site), release, "{at}");
        }
        fs::remove_dir_all(fresh.root()).unwrap();
    }
    fn roots_are_whole(&self, at: &str) {
        let roots = fs::read_dir(self.world.repo().join("tuf")).unwrap();
        let names = roots.map(|e| e.unwrap().file_name().into_string().unwrap());
        let count = names.filter(|n| n.ends_with(".root.json")).count();
        for version in 1..=count {
            let path = self.world.repo().join(format!("tuf/{version}.root.json"));
            assert!(path.is_file(), "{at}: root {version} of {count} is missing");
        }
    }
    fn publishes(&self, at: &str) {
        let published = self.world.publish("r2", "two");
        published.unwrap_or_else(|e| panic!("{at}: publish: {e}"));
    }
}

#[test]
fn rotations_survive_every_point() {
    if !strace_works() {
        return;
    }
    let farm = Farm::new();
    for role in ROLES.into_iter().take(if whole() { 5 } else { 3 }) {
        let command = farm.command(&["rotate", role]);
        sweep(&words(&command), &|| farm.reset(), &|at| {
            // Whatever was reached, sites go on at once, and so does the farm with its online keys.
            farm.sites_reach("r1", at);
            farm.publishes(at);
            again(&command, at);
            farm.roots_are_whole(at);
            farm.sites_reach("r2", at);
        });
    }
}

/// Without the old key the signatures come behind the root: a kill between them must not be the end.
#[test]
fn a_lost_key_is_replaced_at_every_point() {
    if !strace_works() {
        return;
    }
    let farm = Farm::new();
    for (role, dir) in [
        ("snapshot", "keys"),
        ("timestamp", "keys"),
        ("targets", "offline"),
    ] {
        fs::rename(
            farm.world.path(&format!("saved-{dir}/{role}.key")),
            farm.world.path("lost"),
        )
        .unwrap();
        let command = farm.command(&["rotate", role]);
        sweep(&words(&command), &|| farm.reset(), &|at| {
            again(&command, at);
            farm.roots_are_whole(at);
            farm.publishes(at);
            farm.sites_reach("r2", at);
        });
        fs::rename(
            farm.world.path("lost"),
            farm.world.path(&format!("saved-{dir}/{role}.key")),
        )
        .unwrap();
        again(&farm.command(&["finish"]), role);
    }
}

#[test]
fn refreshing_and_finishing_survive_every_point() {
    if !strace_works() {
        return;
    }
    let farm = Farm::new();
    let [keys, offline, repo] = ["keys", "offline", "repo"].map(|n| text(&farm.world, n));
    // With half the life behind it, everything but the root is signed anew.
    let signer = |keys: &str| {
        let store = elfup::store::LocalStore::new(&farm.world.repo());
        let lifetimes = elfup::trust::Lifetimes {
            targets: 1,
            release: 1,
            snapshot: 1,
            ..Default::default()
        };
        elfup::trust::Signer::new(&store, keys.as_ref(), lifetimes)
            .offline(&[farm.world.path("offline")])
            .rotate("release")
            .unwrap();
    };
    signer(&keys);
    fs::rename(
        farm.world.path("keys/release.key"),
        farm.world.path("keys/release-x.key"),
    )
    .unwrap();
    farm.save();
    let refresh = ["repo", "refresh", &repo, "--keys", &keys, "--offline", &offline];
    let finish = farm.command(&["finish"]);
    for command in [&refresh[..], &words(&finish)] {
        sweep(command, &|| farm.reset(), &|at| {
            farm.sites_reach("r1", at);
            again(command, at);
            farm.sites_reach("r1", at);
        });
    }
}

#[test]
fn keys_and_repositories_begin_at_every_point() {
    if !strace_works() {
        return;
    }
    let world = small();
    let [keys, repo] = ["new/keys", "new/repo"].map(|n| text(&world, n));
    let init_keys = ["keys", "init", &keys, "--root-keys", "2"];
    let init_repo = ["repo", "init", &repo, "--keys", &keys, "--root-threshold", "2"];
    let clean = |dir: &str| drop(fs::remove_dir_all(world.path(dir)));
    let begun = |at: &str| {
        let config = elfup::site::Config::new(World::follow(), vec![repo.clone()]);
        let root = fs::read(format!("{repo}/tuf/1.root.json")).unwrap();
        clean("site");
        let site = elfup::site::Site::init(&world.path("site"), &config, &root).unwrap();
        let mut publishing = world.publishing("r1", "one");
        publishing.keys = keys.clone().into();
        let store = elfup::store::LocalStore::new(repo.as_ref());
        elfup::farm::publish(&store, &publishing, &elfup::Quiet).unwrap_or_else(|e| panic!("{at}: {e}"));
        update(&site).unwrap_or_else(|e| panic!("{at}: {e}"));
    };
    sweep(&init_keys, &|| clean("new"), &|at| {
        again(&init_keys, at);
        again(&init_repo, at);
        begun(at);
    });
    clean("new");
    again(&init_keys, "at first");
    sweep(&init_repo, &|| clean("new/repo"), &|at| {
        again(&init_repo, at);
        begun(at);
    });
}
