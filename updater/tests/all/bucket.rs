//! A repository in a bucket of a real S3 server: everything that a farm does, two farms at once, and a bad server.

use crate::weed::{Fault, Weed, ends, repo};
use crate::world::{World, runs, update};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Keys and trees of a world, and a repository in a prefix.
struct Farm {
    world: World,
    repo: String,
}

impl Farm {
    fn new(weed: &Weed, prefix: &str) -> Farm {
        let farm = Farm {
            world: World::new(),
            repo: repo(prefix),
        };
        let keys = farm.text("keys");
        ends(weed.elfup(&["repo", "init", &farm.repo, "--keys", &keys]), 0);
        farm
    }
    fn text(&self, name: &str) -> String {
        self.world.path(name).to_str().unwrap().to_owned()
    }
    /// Arguments of `publish`.
    fn publishing(&self, release: &str, tree: &str) -> Vec<String> {
        let fixed = [
            "publish",
            "--repo",
            &self.repo,
            "--product",
            "demo",
            "--arch",
            "x86_64",
        ];
        let mut all: Vec<String> = fixed.iter().map(ToString::to_string).collect();
        all.extend(["--keys", &self.text("keys"), "--release", release].map(String::from));
        all.extend(["--config", "etc/**", &self.text(tree)].map(String::from));
        all
    }
    fn publish(&self, weed: &Weed, release: &str, tree: &str) {
        let arguments = self.publishing(release, tree);
        ends(weed.elfup(&strs(&arguments)), 0);
    }
    fn farm(&self, command: &str) -> Vec<String> {
        let all = ["farm", command, "--repo", &self.repo];
        all.iter().map(ToString::to_string).collect()
    }
    /// Every file of it is right, and its newest release is this.
    fn is_whole(&self, weed: &Weed, release: &str) {
        let said = ends(weed.elfup(&strs(&self.farm("verify"))), 0);
        assert!(said.contains(" 0 not right"), "{said}");
        let stick = self.text("stick");
        let _ = std::fs::remove_dir_all(&stick);
        let follow = ["--product", "demo", "--arch", "x86_64"];
        let mut export = vec!["repo", "export", &self.repo, &stick];
        export.extend(follow);
        ends(weed.elfup(&export), 0);
        // Sites start from the root of this repository, not of the world's own.
        let root = std::fs::read(self.world.path("stick/tuf/1.root.json")).unwrap();
        crate::world::write(self.world.repo().join("tuf/1.root.json"), root);
        let _ = std::fs::remove_dir_all(self.text("reader"));
        let site = self.world.site("reader", |c| c.sources = vec![stick.clone()]);
        update(&site).unwrap();
        assert_eq!(runs(&site), release);
    }
}

fn strs(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

#[test]
fn a_farm_in_a_bucket_does_what_one_in_a_folder_does() {
    let Some(weed) = Weed::start() else { return };
    let farm = Farm::new(&weed, "deep/er");
    farm.publish(&weed, "r1", "one");
    let again = ends(weed.elfup(&strs(&farm.publishing("r1", "one"))), 0);
    assert!(again.contains("was published before"), "{again}");
    // Larger than a part of an upload.
    crate::world::write(
        farm.world.path("two/share/huge"),
        crate::world::noise(3, 20 << 20),
    );
    farm.publish(&weed, "r2", "two");
    let keys = farm.text("keys");
    ends(weed.elfup(&["repo", "refresh", &farm.repo, "--keys", &keys]), 0);
    for role in ["timestamp", "release", "root"] {
        ends(
            weed.elfup(&["keys", "rotate", role, "--repo", &farm.repo, "--keys", &keys]),
            0,
        );
    }
    let mut stats = farm.farm("stats");
    stats.extend(["--product", "demo", "--arch", "x86_64"].map(String::from));
    let stats = ends(weed.elfup(&strs(&stats)), 0);
    assert!(stats.contains("r1 -> r2"), "{stats}");
    farm.is_whole(&weed, "r2");

    // A site of the bucket itself, by http.
    let site = farm
        .world
        .site("site", |c| c.sources = vec![weed.http("deep/er")]);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");

    // What vanishes is found, never signed over, and comes back from a tree.
    let lost = std::fs::read(farm.world.path("two/share/new.bin")).unwrap();
    let blob = elfup::names::blob(&elfup::Digest::of(&lost));
    weed.lose("deep/er", &blob);
    let said = ends(weed.elfup(&strs(&farm.farm("verify"))), 7);
    assert!(said.contains(&blob), "{said}");
    ends(weed.elfup(&strs(&farm.publishing("r3", "one"))), 7);
    let mut repair = farm.farm("repair");
    repair.extend(["--tree".to_owned(), farm.text("two")]);
    ends(weed.elfup(&strs(&repair)), 0);
    farm.publish(&weed, "r3", "one");
    let mut gc = farm.farm("gc");
    gc.extend(
        [
            "--product",
            "demo",
            "--arch",
            "x86_64",
            "--keep",
            "1",
            "--keys",
            &keys,
        ]
        .map(String::from),
    );
    let said = ends(weed.elfup(&strs(&gc)), 0);
    assert!(said.contains("2 releases"), "{said}");
    farm.is_whole(&weed, "r3");
}

/// Who asks, and where the bucket is, stands in the usual files where no variable says it.
#[test]
fn files_say_who_asks_and_where() {
    let Some(weed) = Weed::start() else { return };
    let (world, home) = (World::new(), tempfile::tempdir().unwrap());
    let keys = world.path("keys");
    let asks = |secret: &str, profile: &str, code: i32| {
        let told = weed.elfup(&["repo", "init", &repo("files"), "--keys", keys.to_str().unwrap()]);
        let endpoint = told.get_envs().find(|(name, _)| *name == "AWS_ENDPOINT_URL");
        let endpoint = endpoint.unwrap().1.unwrap().to_str().unwrap();
        let credentials =
            format!("[farm]\naws_access_key_id = key\naws_secret_access_key = {secret}\n[other]\n");
        crate::world::write(home.path().join(".aws/credentials"), credentials);
        let config = format!("[profile farm]\nregion = us-east-1\nendpoint_url = {endpoint}\n");
        crate::world::write(home.path().join(".aws/config"), config);
        let mut command = Command::new(told.get_program());
        command.args(told.get_args()).env_clear().env("HOME", home.path());
        command.env("AWS_PROFILE", profile);
        ends(command, code)
    };
    asks("secret", "farm", 0);
    let refused = asks("guess", "farm", 5);
    assert!(refused.contains("SignatureDoesNotMatch"), "{refused}");
}

fn started(mut command: Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let done = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

/// Waits until somebody has the lock of a prefix.
fn locked(weed: &Weed, prefix: &str) {
    let begin = Instant::now();
    while !weed.has(prefix, "work/lock") {
        assert!(begin.elapsed() < Duration::from_secs(60));
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn of_two_publishers_one_wins_and_the_other_says_so() {
    let Some(weed) = Weed::start() else { return };
    let farm = Farm::new(&weed, "p");
    farm.publish(&weed, "r1", "one");
    let relay = weed.relay(Fault::Slow(100));

    // The first one is slow but alive: the second goes away at once.
    let (first, second) = (farm.publishing("r2", "two"), farm.publishing("r3", "one"));
    let slow = started(relay.elfup(&strs(&first)));
    locked(&weed, "p");
    let said = ends(weed.elfup(&strs(&second)), 9);
    assert!(said.contains("in use"), "{said}");
    // Stopped, it gives the lock back.
    signal(&slow, "-TERM");
    let output = slow.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");

    // The first one hangs until its lease has run out, and wakes up when the second has signed.
    let hanging = started(relay.elfup(&strs(&first)));
    locked(&weed, "p");
    signal(&hanging, "-STOP");
    farm.publish(&weed, "r3", "one");
    signal(&hanging, "-CONT");
    let output = hanging.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(9), "{said}");
    assert!(said.contains("another elfup was first"), "{said}");
    farm.publish(&weed, "r4", "two");
    farm.is_whole(&weed, "r4");
}

#[test]
fn refusals_lost_answers_and_broken_connections_are_outlasted() {
    let Some(weed) = Weed::start() else { return };
    let farm = Farm::new(&weed, "q");
    let relay = weed.relay(Fault::Many);
    let publish = |release: &str, tree: &str| {
        let arguments = farm.publishing(release, tree);
        ends(relay.elfup(&strs(&arguments)), 0);
    };
    publish("r1", "one");
    publish("r2", "two");
    let faults: Vec<u64> = relay.faults.iter().map(|n| n.load(Ordering::Relaxed)).collect();
    assert!(faults.iter().all(|n| *n > 3), "{faults:?}");
    farm.is_whole(&weed, "r2");

    // Nobody there, and wrong credentials: said in one line, and nothing is taken for damage.
    let nowhere = |arguments: &[String]| {
        let mut command = weed.elfup(&strs(arguments));
        command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        command
    };
    let said = ends(nowhere(&farm.farm("verify")), 5);
    assert!(said.lines().count() <= 3 && said.contains(&repo("q")), "{said}");
    let mut wrong = weed.elfup(&strs(&farm.farm("verify")));
    wrong.env("AWS_SECRET_ACCESS_KEY", "guess");
    let said = ends(wrong, 5);
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
    farm.is_whole(&weed, "r2");
}

/// Runs a command until it has made so many requests, and kills it there. `false`: it ended by itself before.
fn killed_at(weed: &Weed, arguments: &[&str], requests: u64) -> bool {
    let relay = weed.relay(Fault::End(requests));
    let mut child = started(relay.elfup(arguments));
    let struck = || relay.faults[0].load(Ordering::Relaxed) > 0;
    let ended = loop {
        if struck() {
            break None;
        }
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        sleep(Duration::from_millis(2));
    };
    let _ = child.kill();
    let _ = child.wait();
    if let Some(status) = ended {
        assert!(struck() || status.success(), "{arguments:?}: {status}");
    }
    ended.is_none() || struck()
}

/// `publish` and `gc`, each killed at a request and run again: a site finds what was signed, and nothing is lost.
#[test]
fn publish_and_gc_survive_a_kill_at_every_request() {
    let Some(weed) = Weed::start() else { return };
    let farm = Farm::new(&weed, "k");
    farm.publish(&weed, "r0", "one");
    let (gc, keys) = (farm.farm("gc"), farm.text("keys"));
    let tidy = [
        "--product",
        "demo",
        "--arch",
        "x86_64",
        "--keys",
        &keys,
        "--keep",
        "1",
    ];
    let tidy = [&strs(&gc)[..], &tidy].concat();
    let step = if crate::crash::whole() { 1 } else { 19 };
    let (mut number, mut at, mut more) = (0, 1, [true; 2]);
    while more.contains(&true) {
        number += 1;
        crate::world::write(farm.world.path("two/share/release"), format!("{number}"));
        let release = format!("r{number}");
        let publish = farm.publishing(&release, if number % 2 == 1 { "two" } else { "one" });
        for (which, command) in [strs(&publish), tidy.clone()].iter().enumerate() {
            more[which] = more[which] && killed_at(&weed, command, at);
            // The lease of one that was killed runs out; here it need not be waited for.
            if weed.has("k", "work/lock") {
                weed.lose("k", "work/lock");
            }
            let said = ends(weed.elfup(&strs(&farm.farm("verify"))), 0);
            assert!(said.contains(" 0 not right"), "{which} at {at}: {said}");
            ends(weed.elfup(command), 0);
        }
        at += step;
    }
    assert!(at > 30, "{at}");
    farm.is_whole(&weed, &format!("r{number}"));
}
