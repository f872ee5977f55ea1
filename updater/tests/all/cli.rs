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

/// A full disk behind the output, and a reader that is gone, end nothing half-way: what was done is done, and told.
#[test]
fn results_that_nobody_takes_are_an_error_at_the_end() {
    let (world, site) = World::ready();
    drop(site);
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let gone = || std::io::pipe().unwrap().1;
    let command = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
        command.args(args).current_dir(world.path(""));
        command
    };
    let following = ["--product", "demo", "--arch", "x86_64"];
    let publish = ["publish", "--repo", "repo", "--keys", "keys", "--release"];
    let site = |args: &[&'static str]| [&["site", "--site", "site"], args].concat();
    for args in [
        site(&["check"]),
        site(&["plan", "--explain"]),
        site(&["plan", "--json"]),
        site(&["update"]),
        site(&["status"]),
        site(&["verify"]),
        site(&["rollback"]),
        site(&["gc"]),
        site(&["run", "--once"]),
        vec!["keys", "init", "other"],
        vec!["keys", "finish", "--keys", "keys", "--repo", "repo"],
        [&publish[..], &["r2"], &following, &["--config", "etc/**", "two"]].concat(),
        [&["repo", "export", "repo", "stick"][..], &following].concat(),
        vec!["farm", "verify", "--repo", "repo"],
        [&["farm", "stats", "--repo", "repo"][..], &following].concat(),
    ] {
        let output = command(&args).stdout(full()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        let error = told.lines().rev().nth(1).unwrap_or_default();
        assert!(error.starts_with("elfup: write the result: "), "{args:?}: {told}");
        let output = command(&args).stdout(gone()).stderr(gone()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
    // Notes that nobody hears keep nothing from being done.
    crate::world::write(world.path("two/share/late"), "late\n");
    let last = command(&[&publish[..], &["r3"], &following, &["two"]].concat())
        .stderr(gone())
        .output()
        .unwrap();
    assert!(last.status.success(), "{last:?}");
    let update = command(&site(&["update"])).stderr(gone()).output().unwrap();
    assert!(update.status.success(), "{update:?}");
    let site = elfup::site::Site::open(&world.path("site")).unwrap();
    assert_eq!(crate::world::runs(&site), "r3");
}

/// Nobody reads what it says, so that it waits in the middle of it: a signal ends it.
#[test]
fn a_signal_ends_a_command_whose_output_nobody_takes() {
    let world = World::new();
    for i in 0..1500 {
        crate::world::write(world.path("one").join(format!("many/{i}")), format!("file {i}"));
    }
    world.publish("r1", "one").unwrap();
    drop(world.site("site", |_| {}));
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command.args(["site", "--site", "site", "plan", "--json"]);
    command
        .current_dir(world.path(""))
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut pipe, &mut [0]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "a pipe takes it all");
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let told = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if told.elapsed().as_secs() > 20 {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it is deaf");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Every failure is one line, and a last one that says what to do; what was tried is told when asked for.
#[test]
fn failures_are_told_in_two_lines() {
    let (world, site) = World::ready();
    drop(site);
    let at = world.path("site");
    let failed = |code: i32, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
        let output = command
            .args(["site", "--site"])
            .arg(&at)
            .args(args)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        told
    };
    let two_lines = |told: &str, advice: &str| {
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("elfup: "), "{told}");
        assert!(lines[1].contains(advice) && told.len() < 400, "{told}");
    };
    let change = |f: &dyn Fn(&mut elfup::site::Config)| {
        let mut config = elfup::site::Config::load(&at.join("site.json")).unwrap();
        f(&mut config);
        config.save(&at.join("site.json")).unwrap();
    };
    two_lines(&failed(2, &["downgrade", "none"]), "help");
    {
        let _site = elfup::site::Site::open(&at).unwrap();
        two_lines(&failed(9, &["update"]), "wait");
    }
    change(&|c| c.reserve = u64::MAX / 4);
    two_lines(&failed(6, &["update"]), "make room");
    change(&|c| c.reserve = 0);
    // No source there, three times.
    let repo = world.repo().to_str().unwrap().to_owned();
    change(&|c| c.sources = (1..4).map(|i| format!("{repo}-{i}")).collect());
    two_lines(&failed(5, &["update"]), "sources");
    assert!(failed(5, &["update", "--verbose"]).lines().count() > 3);
    change(&|c| c.sources = vec![repo.clone(), repo.clone()]);
    // No content that is what was signed.
    let store = elfup::store::LocalStore::new(&world.repo());
    let dropped = |dirs: &[&str]| {
        use elfup::store::Store;
        for path in dirs.iter().flat_map(|d| store.list(d).unwrap()) {
            let n = std::fs::metadata(world.repo().join(&path)).unwrap().len();
            std::fs::write(world.repo().join(&path), vec![7; n as usize]).unwrap();
        }
    };
    dropped(&["packs", "blobs"]);
    two_lines(&failed(5, &["update"]), "goes on where it stopped");
    assert!(failed(5, &["update", "--verbose"]).contains("not what was signed"));
    let history = std::fs::read_to_string(at.join("state/history")).unwrap();
    assert!(
        history.lines().last().unwrap().contains("\"tried\":[\""),
        "{history}"
    );
    dropped(&["tuf"]);
    two_lines(&failed(3, &["update"]), "another source");
    std::fs::write(at.join("current/bin/cp"), "x").unwrap();
    assert!(failed(7, &["verify"]).lines().last().unwrap().contains("repair"));
    std::fs::write(at.join("state/trust"), "x").unwrap();
    two_lines(&failed(3, &["update"]), "recover");
}

/// Every part of the command has its page, and shells learn of each.
#[test]
fn shells_and_manuals_know_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_elfup"))
            .args(args)
            .current_dir(&folder)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(&["man", "deep/pages"]).0, Some(0));
    for page in [
        "elfup.1",
        "elfup-publish.1",
        "elfup-site-update.1",
        "elfup-keys-rotate.1",
    ] {
        let page = folder.path().join("deep/pages").join(page);
        assert!(page.exists(), "{page:?}");
    }
    std::fs::write(folder.path().join("taken"), b"").unwrap();
    assert_eq!(run(&["man", "taken"]).0, Some(1));
    let (code, script) = run(&["completions", "bash"]);
    assert!(code == Some(0) && script.contains("rollback"), "{script}");
    assert_eq!(run(&["completions", "other"]).0, Some(2));
}

/// Letters that people know from other programs.
#[test]
fn threads_have_a_letter() {
    let (world, _) = World::ready();
    let commands = ["publish", "farm verify", "farm repair", "farm plan", "farm work"];
    for command in commands {
        let mut elfup = Command::new(env!("CARGO_BIN_EXE_elfup"));
        let help = elfup.args(command.split(' ')).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains("-T, --threads <N>"), "{command}: {help}");
    }
    let mut verify = Command::new(env!("CARGO_BIN_EXE_elfup"));
    verify
        .args(["farm", "verify", "-T1", "--repo"])
        .arg(world.path("repo"));
    let output = verify.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
