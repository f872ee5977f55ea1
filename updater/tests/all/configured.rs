//! `site.toml` for people and `site.json` for programs say the same, whoever changed one of them and whatever was cut off.

use crate::world::{World, copy, runs, update};
use elfup::site::{Config, Site};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn elfup(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command
        .args(["site", "--site"])
        .arg(dir)
        .args(args)
        .output()
        .unwrap()
}

/// Changes `site.json` as a program does that knows JSON and nothing of elfup.
fn program(dir: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let file = dir.join("site.json");
    let mut value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut value);
    fs::write(file, serde_json::to_vec(&value).unwrap()).unwrap();
}

fn people(dir: &Path, from: &str, to: &str) {
    let text = toml(dir);
    assert!(text.contains(from), "{text}");
    fs::write(dir.join("site.toml"), text.replacen(from, to, 1)).unwrap();
}

fn toml(dir: &Path) -> String {
    fs::read_to_string(dir.join("site.toml")).unwrap()
}

/// Both files say the same, to who opens the site and to who reads them.
fn agreed(dir: &Path) -> Config {
    let site = Site::open(dir).unwrap();
    assert_eq!(site.told, Vec::<String>::new());
    let config = site.config().clone();
    assert_eq!(Config::load(&dir.join("site.json")).unwrap(), config);
    config
}

/// A site whose administrator has a remark in its file.
fn remarked() -> (World, std::path::PathBuf) {
    let (world, site) = World::ready();
    let dir = site.root().to_owned();
    drop(site);
    people(
        &dir,
        "# Bytes of disk",
        "# Asked for by the night shift.\n# Bytes of disk",
    );
    agreed(&dir);
    (world, dir)
}

const REMARK: &str = "# Asked for by the night shift.\n";

#[test]
fn what_either_side_changes_is_said_by_both() {
    let (world, dir) = remarked();
    for file in ["site.toml", "site.json"] {
        let mode = fs::metadata(dir.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let before = agreed(&dir);
    // By hand.
    people(&dir, "# budget = ", "budget = 1234 # ");
    assert_eq!(agreed(&dir).budget, Some(1234));
    // By a program: sources, as a provisioning program has them; a key that is not set; one that is taken back.
    let source = world.path("other").to_str().unwrap().to_owned();
    program(&dir, |json| {
        json["sources"] = serde_json::json!([source, "http://x/y"]);
        json["memory"] = 99.into();
        json.as_object_mut().unwrap().remove("budget");
    });
    let now = agreed(&dir);
    assert_eq!((now.sources.len(), now.memory, now.budget), (2, 99, None));
    let text = toml(&dir);
    for line in [
        REMARK,
        "\nmemory = 99\n",
        "\n# budget = 1234 # ",
        "# Most memory that rebuilding one file may take",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // Both: the file for people counts, and that is told.
    program(&dir, |json| json["memory"] = 100.into());
    people(&dir, "memory = 99", "memory = 98");
    let output = elfup(&dir, &["status"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && told.contains("site.toml is what counts"),
        "{told}"
    );
    assert_eq!(agreed(&dir).memory, 98);
    // Either is made of the other; the note is of use and not needed.
    fs::remove_file(dir.join("site.json")).unwrap();
    assert_eq!(agreed(&dir).memory, 98);
    fs::remove_file(dir.join("state/agreed")).unwrap();
    assert_eq!(agreed(&dir).memory, 98);
    fs::remove_file(dir.join("site.toml")).unwrap();
    assert_eq!(agreed(&dir).memory, 98);
    assert!(!toml(&dir).contains(REMARK));
    // Nothing is written where nothing was changed.
    let written = || fs::metadata(dir.join("site.toml")).unwrap().modified().unwrap();
    let at = written();
    agreed(&dir);
    assert_eq!(written(), at);
    // And the site works on.
    program(&dir, |json| {
        json["sources"] = serde_json::json!(before.sources);
        json["memory"] = before.memory.into();
    });
    let site = Site::open(&dir).unwrap();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}

/// A site of an elfup that knew `site.json` alone.
#[test]
fn a_site_of_an_older_elfup_gets_its_file() {
    let (world, dir) = remarked();
    let old = r#"{"protocol": 1, "follow": {"product": "demo", "channel": "stable", "arch": "x86_64"},
        "sources": ["REPO"], "objective": "bytes", "memory": 18446744073709551615, "reserve": 0, "keep": 2,
        "keep_reverse": false, "unprivileged": false, "health": {"command": ["true"], "timeout": 7}, "stall": 60,
        "least_rate": 64, "seeds": []}"#;
    let old = old.replace("REPO", world.repo().to_str().unwrap());
    fs::remove_file(dir.join("site.toml")).unwrap();
    fs::remove_file(dir.join("state/agreed")).unwrap();
    fs::write(dir.join("site.json"), &old).unwrap();
    update(&Site::open(&dir).unwrap()).unwrap();
    let text = toml(&dir);
    for line in [
        "\nobjective = \"bytes\"\n",
        "\nkeep = 2\n",
        "\n# keep_reverse = false\n",
        "\nhealth = { command = [\"true\"], timeout = 7 }\n",
        "\n# hours = \"22-6\"\n",
        // As a bound it is the same, and TOML has no larger number.
        "\nmemory = 9223372036854775807\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    agreed(&dir);
}

#[test]
fn what_is_wrong_is_told_by_name_and_line() {
    let (_world, dir) = remarked();
    let told = |args: &[&str]| {
        let output = elfup(&dir, args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let whole = toml(&dir);
    people(&dir, "\nreserve = ", "\nreserv = ");
    let line = 1 + toml(&dir)
        .lines()
        .position(|l| l.starts_with("reserv ="))
        .unwrap();
    let wanted = format!("site.toml, line {line}: unknown key `reserv`; is `reserve` meant?");
    for command in [&["status"][..], &["update"], &["run", "--once"], &["report"]] {
        assert!(told(command).contains(&wanted), "{command:?}: {}", told(command));
    }
    fs::write(dir.join("site.toml"), &whole).unwrap();
    people(&dir, "\nsources = ", "\nsources = \"http://me:s3cret@host\" # ");
    let why = told(&["status"]);
    assert!(
        why.contains("a text stands there") && !why.contains("s3cret"),
        "{why}"
    );
    fs::write(dir.join("site.toml"), &whole).unwrap();
    people(&dir, "product = \"demo\"", "product = \"../demo\"");
    assert!(told(&["status"]).contains("is not a name"));
    fs::write(dir.join("site.toml"), &whole).unwrap();
    program(&dir, |json| json["reserv"] = 1.into());
    assert!(told(&["status"]).contains("site.json: unknown field `reserv`"));
    // A newer elfup's is not read half.
    fs::write(
        dir.join("site.toml"),
        format!("{whole}\nnew = 1\n").replace("protocol = 1", "protocol = 2"),
    )
    .unwrap();
    assert_eq!(elfup(&dir, &["status"]).status.code(), Some(3));
}

#[test]
fn init_writes_what_it_was_told() {
    let world = World::new();
    let dir = world.path("new");
    let (repo, root) = (world.repo(), world.repo().join("tuf/1.root.json"));
    let init = |more: &[&str]| {
        let always = [
            "init",
            "--product",
            "demo",
            "--arch",
            "x86_64",
            "--root",
            root.to_str().unwrap(),
        ];
        elfup(&dir, &[&always[..], more].concat())
    };
    // What somebody else wrote is not lost to it.
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("site.toml"), "# mine\n").unwrap();
    let refused = init(&["--source", repo.to_str().unwrap()]);
    assert!(
        refused.status.code() == Some(2) && toml(&dir) == "# mine\n",
        "{refused:?}"
    );
    fs::remove_file(dir.join("site.toml")).unwrap();
    let made = init(&[
        "--source",
        repo.to_str().unwrap(),
        "--budget",
        "3",
        "--keep",
        "reverse",
    ]);
    assert!(made.status.success(), "{made:?}");
    let text = toml(&dir);
    for line in [
        "\nbudget = 3145728\n",
        "\nkeep = 0\n",
        "\nkeep_reverse = true\n",
        "\n# reserve = 16777216\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    agreed(&dir);
}

/// Either file was changed, or one is missing: struck at every point, the next command comes to the same values, and
/// the remark stays where there was one.
#[test]
fn bringing_both_together_survives_every_point() {
    if !crate::crash::strace_works() {
        return;
    }
    let (world, dir) = remarked();
    let base = world.path("base");
    type Change<'a> = &'a dyn Fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("by a program", &|dir| {
            program(dir, |json| json["memory"] = 77.into())
        }),
        ("by hand", &|dir| people(dir, "# memory = ", "memory = 77 # ")),
        ("of old", &|dir| {
            program(dir, |json| json["memory"] = 77.into());
            fs::remove_file(dir.join("site.toml")).unwrap();
        }),
    ];
    for (who, change) in changes {
        copy(&dir, &base);
        change(&base);
        let site = world.path("struck");
        let status = ["site", "--site", site.to_str().unwrap(), "status"];
        let same = |at: &str| {
            let now = agreed(&site);
            assert_eq!(now.memory, 77, "{who}: {at}");
            assert_eq!(toml(&site).contains(REMARK), who != "of old", "{who}: {at}");
        };
        crate::crash::sweep(&status, &|| copy(&base, &site), &same);
        // Between any two of the files, of which a sample would miss some.
        for n in 1.. {
            copy(&base, &site);
            let renames = "rename,renameat,renameat2";
            if crate::crash::with_fault(&status, renames, "signal=KILL", n, "").is_none() {
                assert!(n > 2, "{who}: {n}");
                break;
            }
            same(&format!("kill at rename {n}"));
        }
        copy(&base, &site);
        // A full disk keeps nobody from making room: nothing can be synced, and the next command does the rest.
        let mut full = Command::new("strace");
        full.args([
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "inject=fsync:error=ENOSPC",
            env!("CARGO_BIN_EXE_elfup"),
        ]);
        let full = full
            .args(["site", "--site"])
            .arg(&site)
            .args(["gc"])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&full.stderr).into_owned();
        assert!(
            told.contains("the configuration is not written anew yet: sync "),
            "{who}: {told}"
        );
        assert_eq!(agreed(&site).memory, 77, "{who}");
    }
}
