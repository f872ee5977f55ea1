//! `elfup farm report`: what it says of releases is what publishing did, and its page can be read in a browser.

use crate::browser::{self, Browser};
use crate::world::{World, noise, write};
use elfup::Quiet;
use elfup::farm::{self, LastStep, Way};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Two releases with a program that changed, text, and files that nothing resembles.
fn farm() -> World {
    let world = World::new();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/elf");
    for (tree, seed, line) in [("one", "tiny-1", "first"), ("two", "tiny-2", "second")] {
        let seed = fs::read(seeds.join(seed)).unwrap();
        write(world.path(tree).join("bin/tiny"), seed);
        write(
            world.path(tree).join("share/page.txt"),
            format!("a line\n{line}\n").repeat(900),
        );
    }
    write(world.path("two/share/fresh <i>"), noise(21, 120_000));
    world.publish("r1", "one").unwrap();
    world.publish("r2", "two").unwrap();
    world
}

fn last(world: &World) -> LastStep {
    let report = farm::report(&world.store(), &World::follow(), &Quiet).unwrap();
    report.last.unwrap()
}

fn run(world: &World, more: &[&str]) -> Output {
    let mut elfup = Command::new(env!("CARGO_BIN_EXE_elfup"));
    elfup.args([
        "farm",
        "report",
        "--repo",
        "repo",
        "--product",
        "demo",
        "--arch",
        "x86_64",
    ]);
    elfup.args(more).current_dir(world.path("")).output().unwrap()
}

#[test]
fn the_sums_are_those_of_the_step() {
    let world = farm();
    let report = farm::report(&world.store(), &World::follow(), &Quiet).unwrap();
    let names: Vec<&str> = report.releases.iter().map(|r| r.release.as_str()).collect();
    assert_eq!(names, ["r1", "r2"]);
    let last = report.last.unwrap();
    let mut steps = report.steps.iter();
    let step = steps
        .find(|s| s.from.as_deref() == Some("r1") && s.to == "r2")
        .unwrap();
    assert_eq!(last.with.bytes, step.with());
    let sum = |of: fn(&farm::KindCost) -> u64| last.kinds.iter().map(of).sum::<u64>();
    assert_eq!((sum(|k| k.files), sum(|k| k.without)), (step.files, step.without));
    assert!(last.with.bytes < last.whole.bytes && last.with.requests < last.whole.requests);
    // Shares of what is told together are rounded down, by less than a byte each.
    let told = sum(|k| k.with) + step.step;
    assert!(
        told <= step.with() && step.with() - told <= step.files,
        "{told} of {}",
        step.with()
    );
    let kinds: Vec<&str> = last.kinds.iter().map(|k| k.kind.as_str()).collect();
    assert!(
        kinds.contains(&"text") && kinds.iter().any(|k| k.starts_with("ELF")),
        "{kinds:?}"
    );
}

#[test]
fn what_resists_is_said_with_its_reason() {
    let world = farm();
    let last = last(&world);
    let first = &last.files[0];
    assert_eq!(first.path, "share/fresh <i>");
    assert!(first.with * 10 > first.without * 9, "{first:?}");
    for file in &last.files {
        let word = match file.way {
            Way::Delta => "of the delta ",
            Way::Together => "told in a bundle of ",
            Way::Whole => "no ",
        };
        assert!(file.why.starts_with(word), "{file:?}");
    }
}

#[test]
fn a_farm_with_one_release_or_none_has_a_report_too() {
    let world = World::new();
    assert!(run(&world, &[]).status.success());
    world.publish("r1", "one").unwrap();
    let output = run(&world, &[]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("no step leads"),
        "{told}"
    );
    let page = run(&world, &["--html", "report.html"]);
    assert!(page.status.success(), "{page:?}");
}

#[test]
fn its_page_is_taken_by_a_browser() {
    let world = farm();
    let html = world.path("report.html");
    let output = run(&world, &["--html", "report.html"]);
    assert!(output.status.success(), "{output:?}");
    // What is there is kept, but for `-f`.
    fs::write(&html, "mine").unwrap();
    let refused = run(&world, &["--html", "report.html"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(2) && told.contains("-f writes over it"),
        "{told}"
    );
    assert_eq!(fs::read(&html).unwrap(), b"mine");
    assert!(run(&world, &["--html", "report.html", "-f"]).status.success());
    let Some(browser) = Browser::find() else { return };
    // Links, kinds, files; what steps save, sizes of releases.
    let dom = browser::hold(&browser, &html, 5);
    let last = last(&world);
    let steps = farm::stats(&world.store(), &World::follow(), &Quiet).unwrap();
    let rows = 3 + last.kinds.len().min(12) + last.files.len().min(12) + steps.len().min(12) + 2;
    assert_eq!(dom.matches("class=\"bar\"").count(), 2 * rows);
    assert!(dom.contains(">share/fresh &lt;i&gt;</td>"));
}
