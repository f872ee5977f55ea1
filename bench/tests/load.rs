//! `bench load` as a user runs it, at a hundredth of its size.

#[path = "../../delta/command/tests/schemas/hold.rs"]
mod hold;

use std::{fs, path::Path, process::Command};

#[test]
fn every_case_tells_its_figures_and_keeps_its_bounds() {
    let work = tempfile::tempdir().unwrap();
    let json = work.path().join("figures.json");
    let mut load = Command::new(env!("CARGO_BIN_EXE_bench"));
    load.args(["load", "--percent", "1", "--cases", "files,pair,huge"]);
    // Where the whole workspace was built, the program need not be built once more.
    let built = Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("elfup");
    if built.exists() {
        load.arg("--elfup").arg(built);
    }
    let output = load.arg("--work").arg(work.path()).arg("--json").arg(&json);
    let output = output.output().unwrap();
    let (table, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{table}{said}");
    for row in ["1000 files", "pair of 10 MB", "file of 53 MB"] {
        assert!(table.contains(row), "{table}");
    }
    hold::Schemas::of("bench").check("load", &fs::read(&json).unwrap());
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(rows.len(), 4 + 4 + 2);
    for row in &rows {
        let number = |name: &str| row.pointer(name).and_then(serde_json::Value::as_u64);
        assert!(number("/usage/peak") > Some(1 << 20), "{row}");
        let figure = match row["kind"].as_str() {
            Some("publish") => number("/declared").and(number("/files")),
            _ => number("/requests").and(number("/bytes")),
        };
        assert!(figure.is_some(), "{row}");
    }
    // Trees, repositories and sites are gone; what is left is the file of figures.
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);
}
