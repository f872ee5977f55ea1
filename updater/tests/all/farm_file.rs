//! `farm.toml`: what it says need not be said again, and the command line is stronger.

use crate::weed::{Weed, ends, repo};
use crate::world::{World, runs, update};
use std::fs;
use std::process::{Command, Output};

fn elfup(world: &World, folder: &str, args: &[&str], file: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command.args(args).current_dir(world.path(folder));
    command.env("ELFUP_FARM", file).output().unwrap()
}

fn right(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Of some file.
fn owner(found: &elfup::site::Planned) -> (u32, u32) {
    let mut files = found.ways.target.files();
    files.next().map(|(entry, _)| (entry.uid, entry.gid)).unwrap()
}

#[test]
fn commands_take_from_the_file_what_they_are_not_told() {
    let world = World::new();
    fs::create_dir(world.path("other")).unwrap();
    let run = |args: &[&str]| elfup(&world, "", args, "");
    // Without a file they ask, and the printed one says no more than they know.
    assert_eq!(run(&["publish", "--release", "r1", "one"]).status.code(), Some(2));
    let mut text = right(run(&["farm", "config"]));
    fs::write(world.path("farm.toml"), &text).unwrap();
    assert_eq!(run(&["publish", "--release", "r1", "one"]).status.code(), Some(2));
    for (name, value) in [
        ("repo", "\"repo\""),
        ("keys", "\"keys\""),
        ("product", "\"demo\""),
        ("arch", "\"x86_64\""),
        ("config", "[\"etc/**\"]"),
        ("sample", "50"),
        ("owner", "\"7:8\""),
    ] {
        let line = text
            .lines()
            .find(|l| l.starts_with(&format!("# {name} = ")))
            .unwrap()
            .to_owned();
        text = text.replace(&line, &format!("{name} = {value}"));
    }
    fs::write(world.path("farm.toml"), &text).unwrap();
    right(run(&["publish", "--release", "r1", "one"]));
    right(run(&["farm", "verify"]));
    right(run(&["farm", "stats"]));
    right(run(&["repo", "refresh"]));
    right(run(&["farm", "gc"]));
    right(run(&[
        "stick",
        "prepare",
        "--follow",
        "demo/stable/x86_64",
        "stick",
    ]));
    // From elsewhere by option or variable: folders are beside the file.
    let there = |args: &[&str], file: &str| elfup(&world, "other", args, file);
    right(there(&["farm", "stats", "--farm", "../farm.toml"], "nowhere"));
    right(there(&["farm", "stats"], "../farm.toml"));
    assert_eq!(
        there(&["farm", "stats"], "").status.code(),
        Some(2),
        "there is none here"
    );
    // Sites know nothing of it.
    let missing = there(&["site", "--site", "none", "status"], "nowhere");
    let told = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(told.contains("a site in none does not exist"), "{told}");
    // What was told was published, and the line is stronger.
    let site = world.site("site", |_| {});
    let options = elfup::site::UpdateOptions::default();
    let found = site.prepare(&options, &elfup::Quiet).unwrap().unwrap();
    assert_eq!(found.ways.target.header.config, ["etc/**"]);
    assert_eq!(owner(&found), (7, 8));
    drop(site);
    right(run(&[
        "publish",
        "--release",
        "r2",
        "--config",
        "lib/**",
        "--owner",
        "9:9",
        "two",
    ]));
    let site = elfup::site::Site::open(&world.path("site")).unwrap();
    let found = site.prepare(&options, &elfup::Quiet).unwrap().unwrap();
    assert_eq!(found.ways.target.header.config, ["lib/**"]);
    assert_eq!(owner(&found), (9, 9));
}

/// A bucket and folders in one file: keys are beside the file, an address is no folder.
#[test]
fn the_repository_may_be_a_bucket() {
    let Some(weed) = Weed::start() else { return };
    let world = World::new();
    let (bucket, file) = (repo("by/file"), world.path("farm.toml"));
    let text =
        format!("repo = \"{bucket}\"\nkeys = \"keys\"\nproduct = \"demo\"\narch = \"x86_64\"\nkeep = 1\n");
    fs::write(&file, text).unwrap();
    let run = |args: &[&str], code: i32| {
        let mut command = weed.elfup(args);
        command.arg("--farm").arg(&file);
        ends(command, code)
    };
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    ends(weed.elfup(&["repo", "init", &bucket, "--keys", &path("keys")]), 0);
    run(&["publish", "--release", "r1", &path("one")], 0);
    run(&["publish", "--release", "r2", &path("two")], 0);
    assert!(run(&["farm", "verify"], 0).contains(" 0 not right"));
    assert!(run(&["farm", "stats"], 0).contains("r1 -> r2"));
    run(&["repo", "refresh"], 0);
    assert!(run(&["farm", "gc"], 0).contains("1 release"));

    // A site finds there what was published.
    weed.copy("by/file/tuf", &world.repo().join("tuf"));
    let site = world.site("site", |c| c.sources = vec![weed.http("by/file")]);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");

    // What is missing in the bucket is found there, and the line is stronger than the file.
    let blob = fs::read(world.path("two/share/new.bin")).unwrap();
    let blob = elfup::names::blob(&elfup::Digest::of(&blob));
    weed.lose("by/file", &blob);
    assert!(run(&["farm", "verify"], 7).contains(&blob));
    let elsewhere = repo("nowhere");
    let told = run(&["farm", "verify", "--repo", &elsewhere], 2);
    assert!(told.contains("does not exist"), "{told}");
}

#[test]
fn what_is_wrong_in_it_is_told() {
    let world = World::new();
    let told = |text: &str, code: i32| {
        fs::write(world.path("farm.toml"), text).unwrap();
        let output = elfup(&world, "", &["farm", "verify", "--repo", "repo"], "");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let unknown = told("\n\nproducts = \"demo\"", 2);
    assert!(
        unknown.starts_with("elfup: farm.toml, line 3: unknown key `products`; is `product` meant?\n"),
        "{unknown}"
    );
    assert!(told("sample = \"all\"", 2).contains("farm.toml, line 1: "));
    assert!(told("sample = 101", 2).contains("--sample"));
    fs::remove_file(world.path("farm.toml")).unwrap();
    let missing = elfup(
        &world,
        "",
        &["farm", "verify", "--farm", "none.toml", "--repo", "repo"],
        "",
    );
    let told = String::from_utf8(missing.stderr).unwrap();
    assert!(
        missing.status.code() == Some(1) && told.contains("read none.toml"),
        "{told}"
    );
}
