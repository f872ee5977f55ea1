//! `bench table OLD NEW` as a user runs it, on files and on directories of one's own.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn bench(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("--cache").arg(folder.join("cache")).arg("table");
    command.args(words).current_dir(folder).output().unwrap()
}

/// Runs it with `--json`; tells the table and the only result.
fn figures(folder: &Path, words: &[&str]) -> (String, Value) {
    let output = bench(folder, &[words, &["--json", "figures.json"]].concat());
    let table = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}{said}");
    let json = fs::read(folder.join("figures.json")).unwrap();
    let mut results: Vec<Value> = serde_json::from_slice(&json).unwrap();
    assert_eq!(results.len(), 1);
    (table, results.remove(0))
}

fn refused(folder: &Path, words: &[&str]) -> String {
    let output = bench(folder, words);
    assert!(!output.status.success(), "{words:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn seed(name: &str) -> Vec<u8> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/elf");
    fs::read(seeds.join(name)).unwrap()
}

fn put(path: PathBuf, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn bytes(row: &Value) -> u64 {
    row["done"]["bytes"].as_u64().unwrap_or_else(|| panic!("{row}"))
}

#[test]
fn two_files_go_through_the_engines_as_often_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path().join("app-1"), seed("tiny-1"));
    put(folder.path().join("app-2"), seed("tiny-2"));
    let words = [
        "app-1",
        "app-2",
        "--engines",
        "elfdelta,bsdiff-crate,zstd-19",
        "--runs",
        "4",
    ];
    let (table, result) = figures(folder.path(), &words);
    assert_eq!(result["about"], "app-1 -> app-2");
    let rows = result["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        for side in ["diff", "apply"] {
            let done = &row["done"];
            let mut cpu: Vec<f64> = done["runs"][side]
                .as_array()
                .unwrap()
                .iter()
                .map(|run| run["cpu"].as_f64().unwrap())
                .collect();
            assert_eq!(cpu.len(), 4, "{row}");
            cpu.sort_by(f64::total_cmp);
            let median = (cpu[1] + cpu[2]) / 2.0;
            assert!(
                (done[side]["cpu"].as_f64().unwrap() - median).abs() < 1e-9,
                "{row}"
            );
        }
    }
    // The spread is told, and where the bytes of our patch went.
    assert!(table.contains(" to "), "{table}");
    assert!(
        table.contains(&format!("Where the {} bytes", bytes(&rows[0]))),
        "{table}"
    );
    // Once is enough where nothing else was asked for, three times of applying.
    let (table, result) = figures(folder.path(), &words[..4]);
    assert!(!table.contains(" to 0."), "{table}");
    let runs = &result["rows"][0]["done"]["runs"];
    assert_eq!(
        (
            runs["diff"].as_array().unwrap().len(),
            runs["apply"].as_array().unwrap().len()
        ),
        (1, 3)
    );
}

#[test]
fn what_is_not_installed_is_left_out_with_the_way_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path().join("app-1"), seed("tiny-1"));
    put(folder.path().join("app-2"), seed("tiny-2"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("--cache").arg(folder.path().join("cache"));
    command.args([
        "table",
        "app-1",
        "app-2",
        "--engines",
        "zstd-19,xdelta3",
        "--html",
        "page.html",
    ]);
    let output = command
        .current_dir(folder.path())
        .env("PATH", "")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let says = "xdelta3 skipped: xdelta3 is not installed; apt-get install xdelta3";
    let table = String::from_utf8(output.stdout).unwrap();
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(table.contains(says) && page.contains(says), "{table}");
}

#[test]
fn directories_are_the_sum_of_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    put(at("old/bin/tiny"), seed("tiny-1"));
    put(at("new/bin/tiny"), seed("tiny-2"));
    put(at("old/page.txt"), "a line of a page\n".repeat(500) + "old");
    put(at("new/page.txt"), "a line of a page\n".repeat(500) + "new");
    put(at("old/same"), "the same");
    put(at("new/same"), "the same");
    put(at("new/fresh"), "nothing is like it");
    let (table, result) = figures(
        folder.path(),
        &["old", "new", "--engines", "elfdelta,bsdiff-crate"],
    );
    let files = result["files"].as_array().unwrap();
    let paths: Vec<_> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    let rows = result["rows"].as_array().unwrap();
    for (index, row) in rows.iter().enumerate() {
        let of_file = |file: &Value| match file["old_bytes"].is_null() {
            true => bytes(&file["rows"][0]),
            false => bytes(&file["rows"][index]),
        };
        assert_eq!(bytes(row), files.iter().map(of_file).sum::<u64>(), "{row}");
    }
    // Every byte of ours is in the account, too.
    let report = &rows[0]["done"]["report"];
    let streams = report["streams"].as_array().unwrap();
    let told: u64 = streams.iter().map(|s| s["bytes"].as_u64().unwrap()).sum();
    assert_eq!(told, bytes(&rows[0]), "{report}");
    assert!(
        table.contains("| text |") && table.contains("without a base"),
        "{table}"
    );
}

/// Runs a line of a shell in a folder; tells whether it could.
fn shell(folder: &Path, line: &str) -> bool {
    let mut shell = Command::new("sh");
    let done = shell.args(["-ec", line]).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success() || said.contains("not found"),
        "{line}: {said}"
    );
    done.status.success()
}

/// What is handed out is mostly packed: one need not unpack it to see what its releases have in common.
#[test]
fn packed_files_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    for (side, elf) in [("1", "tiny-1"), ("2", "tiny-2")] {
        let at = |path: &str| folder.path().join(side).join(path);
        put(at("app/bin/tiny"), seed(elf));
        put(
            at("app/list"),
            (0..2000).map(|n| format!("{n}\n")).collect::<String>() + side,
        );
        put(at("control"), format!("Package: app\nVersion: {side}\n"));
        put(at("debian-binary"), "2.0\n");
    }
    let kinds = [
        ("tar.gz", "tar -cf - app | gzip -n > ../app-$side.tar.gz"),
        ("tar.xz", "tar -cf - app | xz -6 > ../app-$side.tar.xz"),
        ("whl", "python3 -m zipfile -c ../app-$side.whl app"),
        (
            "deb",
            "tar -cf - control | gzip -n > control.tar.gz; tar -cf - app | gzip -n > data.tar.gz; \
             ar rcD ../app-$side.deb debian-binary control.tar.gz data.tar.gz",
        ),
    ];
    for (kind, pack) in kinds {
        if !shell(
            folder.path(),
            &format!("for side in 1 2; do (cd $side; {pack}); done"),
        ) {
            eprintln!("skipped: what packs {kind} is not installed");
            continue;
        }
        let names = ["1", "2"].map(|side| format!("app-{side}.{kind}"));
        let words = [&names[0], &names[1], "--engines", "elfdelta,bsdiff-crate"];
        let (table, result) = figures(folder.path(), &words);
        let rows = result["rows"].as_array().unwrap();
        assert!(2 * bytes(&rows[0]) < bytes(&rows[1]), "{kind}: {table}");
        // What a file was packed by is told, and what lies inside.
        assert!(
            table.contains("| plans |") && table.contains("| insides |"),
            "{kind}: {table}"
        );
        assert!(
            !table.contains(&format!("{}.\n", names[1])),
            "its name is told twice: {table}"
        );
    }
}

#[test]
fn what_cannot_be_compared_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path().join("tree/file"), "x");
    put(folder.path().join("file"), "y");
    for (words, why) in [
        (&["tree", "file"][..], "is a directory and"),
        (&["file", "tree"], "is a directory and"),
        (&["tree", "tree"], "both directories have the same files"),
        (&["file", "nothing"], "nothing: No such file"),
        (&["file", "file", "--engines", "gzip"], "no engine is called gzip"),
    ] {
        let said = refused(folder.path(), words);
        assert!(said.contains(why), "{words:?}: {said}");
    }
    assert!(refused(folder.path(), &["file"]).contains("<NEW>"));
    assert!(refused(folder.path(), &["file", "file", "--pairs", "numpy"]).contains("--pairs"));
}
