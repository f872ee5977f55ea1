//! `bench history`: a result measured on the sample programs, and the page of those that are kept.

#[path = "../pages/tests/browser/mod.rs"]
mod browser;
#[path = "../../delta/command/tests/schemas/hold.rs"]
mod hold;

use browser::Browser;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const BENCH: &str = env!("CARGO_BIN_EXE_bench");

fn history(folder: &Path, words: &[&str]) -> Output {
    let mut bench = Command::new(BENCH);
    bench.arg("--cache").arg(folder.join("cache")).arg("history");
    bench.args(words).current_dir(folder).output().unwrap()
}

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// The name of this commit, where the sources are a clone.
fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let told = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(told.stdout).unwrap().trim().to_owned())
}

#[test]
fn a_result_is_measured_and_kept() {
    let (program, commit) = (Path::new(BENCH).with_file_name("elfdelta"), commit());
    let (true, Some(commit)) = (program.is_file(), commit) else {
        eprintln!("skipped: elfdelta is not built, or these sources are no clone");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "--add",
        "--pairs",
        "sample",
        "--note",
        "a try",
        "--results",
        "results",
    ];
    let more = ["--elfdelta", program.to_str().unwrap(), "--commit", &commit];
    let output = history(
        folder.path(),
        &[&words[..], &more, &["--json", "all.json"]].concat(),
    );
    assert!(output.status.success(), "{output:?}");
    let all = fs::read(folder.path().join("all.json")).unwrap();
    hold::Schemas::of("bench").check("history", &all);
    let all: Value = serde_json::from_slice(&all).unwrap();
    let [record] = list(&all) else { panic!("{all}") };
    let (short, day) = (&record["commit"], &record["time"].as_str().unwrap()[..10]);
    let short = short.as_str().unwrap();
    assert!(
        commit.starts_with(short) && short.len() >= 7,
        "{short} of {commit}"
    );
    assert_eq!(record["note"], "a try");
    let file = folder.path().join(format!("results/{day}-{short}.json"));
    assert_eq!(&json(file), record);
    // Seconds are over the yardstick's, whose own are one.
    let engines = list(&record["pairs"][0]["engines"]);
    let of = |name: &str| engines.iter().find(|one| one["engine"] == name).unwrap();
    let yardstick = of(record["yardstick"].as_str().unwrap());
    assert_eq!(
        (&yardstick["diff"], &yardstick["apply"]),
        (&Value::from(1.0), &Value::from(1.0))
    );
    for name in ["elfdelta", "elfdelta-fast"] {
        assert!(of(name)["bytes"].as_u64() > Some(0) && of(name)["diff"].as_f64() > Some(0.0));
    }
    // What there is already is told without measuring anything.
    let told = history(folder.path(), &["--results", "results"]);
    assert_eq!(told.stdout, output.stdout);
    assert!(String::from_utf8_lossy(&told.stdout).contains(&format!("| {day} {short} |")));
}

#[test]
fn what_cannot_be_told_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::create_dir(folder.path().join("wrong")).unwrap();
    fs::write(folder.path().join("wrong/2026.json"), "{\"time\": 7}").unwrap();
    for (words, why) in [
        (
            &["--results", "empty"][..],
            "empty: no results; --add measures one",
        ),
        (&["--results", "wrong"], "2026.json: invalid type"),
        (&["--results", "nowhere"], "nowhere: No such file"),
        (&["--elfdelta", "elfdelta"], "--commit"),
    ] {
        let output = history(folder.path(), words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(why),
            "{words:?}: {said}"
        );
    }
}

/// Files that are kept are named by what they are, and tell of pairs that the manifest has.
#[test]
fn kept_results_are_what_their_names_say() {
    let mut before = BTreeSet::new();
    for entry in fs::read_dir(kept()).unwrap() {
        let path = entry.unwrap().path();
        let record = json(&path);
        let (time, commit) = (
            record["time"].as_str().unwrap(),
            record["commit"].as_str().unwrap(),
        );
        let name = format!("{}-{commit}.json", time.split('T').next().unwrap());
        assert_eq!(path.file_name().unwrap(), name.as_str());
        assert!(before.insert(commit.to_owned()), "{commit} twice");
        for pair in list(&record["pairs"]) {
            assert!(list(&pair["engines"]).len() >= 3, "{name}: {pair}");
            assert_ne!(pair["pair"], "sample", "{name}");
        }
    }
    assert!(before.len() >= 3, "{before:?}");
}

#[test]
fn kept_results_give_a_page_that_a_browser_takes() {
    let Some(browser) = Browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = history(folder.path(), &["--html", "page.html", "--json", "all.json"]);
    assert!(output.status.success(), "{output:?}");
    let all = json(folder.path().join("all.json"));
    let ours = |pair: &Value| {
        let engines = list(&pair["engines"]).iter();
        engines
            .filter(|one| one["engine"].as_str().unwrap().starts_with("elfdelta"))
            .count()
    };
    let pairs: BTreeSet<&str> = list(&all)
        .iter()
        .flat_map(|record| list(&record["pairs"]))
        .map(|pair| pair["pair"].as_str().unwrap())
        .collect();
    // Bytes, and seconds of both sides; then bytes of each pair.
    let dom = browser::hold(&browser, &folder.path().join("page.html"), 3 + pairs.len());
    let points = |record: &Value| {
        let pairs = list(&record["pairs"]);
        3 * pairs.iter().map(ours).max().unwrap() + pairs.iter().map(ours).sum::<usize>()
    };
    let points: usize = list(&all).iter().map(points).sum();
    assert_eq!(dom.matches("class=\"point\"").count(), points);
}
