//! What `elfup` prints as JSON, held to the schemas in `docs/schemas`: every command, with something to tell and with
//! nothing.

use crate::hold::Schemas;
use crate::world::{World, write};
use std::cell::RefCell;
use std::fs;
use std::process::Command;

/// A world with a command, whose outputs are held to the schemas.
struct Told {
    world: World,
    schemas: RefCell<Schemas>,
}

/// What is followed, as the commands want it told.
const FOLLOW: [&str; 4] = ["--product", "demo", "--arch", "x86_64"];

impl Told {
    /// Runs `elfup WORDS ARGS --json`, expects its exit code, and holds what it prints.
    fn run(&self, words: &str, args: &[&str], code: i32) {
        let json: &[&str] = match words {
            "site report" => &[],
            _ => &["--json"],
        };
        let site = ["--site", "site"];
        let at_site: &[&str] = if words.starts_with("site ") { &site } else { &[] };
        let output = Command::new(env!("CARGO_BIN_EXE_elfup"))
            .args(words.split(' '))
            .args(at_site)
            .args(json)
            .args(args)
            .current_dir(self.world.path(""))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{words}: {output:?}");
        self.schemas.borrow_mut().check(words, &output.stdout);
    }

    fn at_farm(&self, words: &str, args: &[&str], code: i32) {
        self.run(words, &[&["--repo", "repo"][..], args].concat(), code);
    }
}

#[test]
fn what_is_printed_as_json_is_as_its_schema_says() {
    let told = Told {
        world: World::new(),
        schemas: RefCell::new(Schemas::of("elfup")),
    };
    first_release(&told);
    second_release(&told);
    wounds(&told);
    told.schemas.into_inner().end(&[]);
}

/// A release, the site that gets it, and the commands that find nothing to do.
fn first_release(told: &Told) {
    let publish = [
        &FOLLOW[..],
        &["--keys", "keys", "--config", "etc/**", "--release", "r1", "one"],
    ]
    .concat();
    told.at_farm("publish", &publish, 0);
    told.at_farm("publish", &publish, 0);
    told.at_farm("farm stats", &FOLLOW, 0);
    told.at_farm("farm report", &FOLLOW, 0);
    told.run(
        "stick prepare",
        &["--repo", "repo", "--follow", "demo/stable/x86_64", "stick"],
        0,
    );
    told.run("stick status", &["stick"], 0);
    drop(told.world.site("site", |config| config.keep_reverse = true));
    told.run("site status", &[], 0);
    told.run("site report", &[], 0);
    told.run("site check", &[], 10);
    told.run("site plan", &[], 0);
    told.run("site update", &["--source", "stick"], 0);
    told.run("site update", &[], 0);
    told.run("site plan", &[], 0);
    told.run("site check", &[], 0);
    told.run("site verify", &[], 0);
    told.run("site gc", &[], 0);
}

/// Another one, made by a worker; its defaults changed where the site has changed them, too.
fn second_release(told: &Told) {
    let release = [&FOLLOW[..], &["--release", "r2"]].concat();
    told.at_farm("farm plan", &[&release[..], &["two"]].concat(), 0);
    told.at_farm("farm work", &[&release[..], &["--steal"]].concat(), 0);
    let publish = [&release[..], &["--keys", "keys", "--config", "etc/**", "two"]].concat();
    told.at_farm("publish", &publish, 0);
    told.at_farm("farm stats", &FOLLOW, 0);
    told.at_farm("farm report", &FOLLOW, 0);
    let site = told.world.path("site");
    write(site.join("current/etc/app.conf"), "colour = red\n");
    write(site.join("current/etc/own.conf"), "mine\n");
    told.run("site plan", &[], 0);
    told.run("site fetch", &[], 0);
    told.run("site status", &[], 0);
    told.run("site activate", &[], 0);
    told.run("site status", &[], 0);
    told.run("site report", &[], 0);
    told.run("site rollback", &[], 0);
    told.run("site update", &["--source", "stick"], 0);
    told.run("site downgrade", &["r1"], 0);
    // Two steps lead on, with a file of the release between made first.
    let mut data = fs::read(told.world.path("two/bin/ls")).unwrap();
    data[7000] ^= 0xff;
    write(told.world.path("two/bin/ls"), data);
    let publish = [
        "--keys",
        "keys",
        "--config",
        "etc/**",
        "--release",
        "r3",
        "--last",
        "1",
        "two",
    ];
    told.at_farm("publish", &[&FOLLOW[..], &publish].concat(), 0);
    told.run("site plan", &["--objective", "bytes"], 0);
    // What failed since the last update is told, too.
    fs::rename(told.world.path("repo"), told.world.path("away")).unwrap();
    let failed = Command::new(env!("CARGO_BIN_EXE_elfup"))
        .args(["site", "--site", "site", "update"])
        .current_dir(told.world.path(""))
        .status();
    assert!(!failed.unwrap().success());
    fs::rename(told.world.path("away"), told.world.path("repo")).unwrap();
    told.run("site report", &[], 0);
    told.run("site check", &["--source", "stick"], 10);
    told.run("stick status", &["stick"], 0);
    told.run(
        "stick prepare",
        &["--repo", "repo", "--follow", "demo/stable/x86_64", "stick"],
        0,
    );
}

/// Files that are lost at the site and at the farm.
fn wounds(told: &Told) {
    fs::remove_file(told.world.path("site/current/bin/ls")).unwrap();
    told.run("site verify", &[], 7);
    told.run("site repair", &[], 0);
    told.at_farm("farm verify", &[], 0);
    let blobs = fs::read_dir(told.world.repo().join("blobs")).unwrap();
    let folder = blobs.map(|entry| entry.unwrap().path()).min().unwrap();
    let lost = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .min()
        .unwrap();
    fs::remove_file(lost).unwrap();
    told.at_farm("farm verify", &[], 7);
    told.at_farm("farm repair", &[], 7);
    told.at_farm("farm repair", &["--tree", "one", "--tree", "two"], 0);
}
