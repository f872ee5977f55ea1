//! The command of a site: every report is there as JSON, and the exit codes are the documented ones.

use crate::world::World;
use std::process::Command;

fn elfup(site: &std::path::Path, args: &[&str]) -> (i32, serde_json::Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_elfup"))
        .args(["site", "--site"])
        .arg(site)
        .args(args)
        .arg("--json")
        .output()
        .unwrap();
    let value = serde_json::from_slice(&output.stdout);
    let value = value.unwrap_or_else(|e| panic!("{args:?}: {e}: {output:?}"));
    (output.status.code().unwrap(), value)
}

#[test]
fn every_report_is_there_as_json() {
    let (world, _) = World::ready();
    let site = world.path("site");
    let told = |args: &[&str], code: i32| {
        let (status, value) = elfup(&site, args);
        assert_eq!(status, code, "{args:?}: {value}");
        value
    };
    assert_eq!(told(&["check"], 10)["available"], true);
    assert!(told(&["plan"], 0)["items"].is_array());
    assert_eq!(told(&["fetch"], 0)["to"], "r2");
    assert_eq!(told(&["activate"], 0)["runs"], "r2");
    assert_eq!(told(&["check"], 0)["available"], false);
    assert!(told(&["status"], 0)["deployments"].is_array());
    assert!(told(&["gc"], 0)["objects"].is_u64());
    assert_eq!(told(&["rollback"], 0)["runs"], "r1");

    // A file, and one that another is a hard link to; the directory's time says that something went.
    for name in ["cp", "cat"] {
        std::fs::remove_file(site.join("current/bin").join(name)).unwrap();
    }
    let differences = &told(&["verify"], 7)["differences"];
    assert_eq!(differences.as_array().unwrap().len(), 4, "{differences}");
    assert!(told(&["repair"], 0)["repaired"].as_u64().unwrap() >= 1);
    assert_eq!(told(&["verify"], 0)["differences"].as_array().unwrap().len(), 0);
    assert_eq!(told(&["update"], 0)["to"], "r2");
}
