//! The log: it says at every seam what is done, nothing unless it is asked for, and nothing that is secret.

use crate::rogue::{Ask, Rogue, honest, send};
use crate::world::{World, write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

fn elfup(world: &World, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command
        .args(args)
        .current_dir(world.path(""))
        .env_remove("ELFUP_LOG");
    for name in ["http_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.envs(environment.iter().copied()).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A mirror over http, and a site at `r1` that has it alone.
fn behind_a_server(change: impl FnOnce(&mut elfup::site::Config)) -> (World, Rogue) {
    let (world, site) = World::ready();
    drop(site);
    let root = world.repo();
    let server = Rogue::start(move |ask, out| honest(&root, ask, out, |_| {}));
    let file = world.path("site/site.json");
    let mut config = elfup::site::Config::load(&file).unwrap();
    config.sources = vec![server.url.clone()];
    change(&mut config);
    config.save(&file).unwrap();
    (world, server)
}

const UPDATE: [&str; 5] = ["site", "--site", "site", "update", "--json"];

#[test]
fn a_log_says_what_a_site_does_beside_its_json() {
    let (world, server) = behind_a_server(|_| {});
    let output = elfup(&world, &[&["-vv"][..], &UPDATE].concat(), &[]);
    assert!(output.status.success(), "{output:?}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["to"], "r2");
    let told = told(&output);
    for seam in [
        "metadata is refreshed",
        "has the channel",
        "is wanted release=\"r2\"",
        "planned release=\"r2\"",
        &format!("fetched source=\"{}\" path=\"packs/", server.url),
        "span=0-",
        "made: ",
        "activate: elfup::site::deploy: the tree is laid",
        "configuration goes along",
        "switches from=",
        "a child decodes",
    ] {
        assert!(told.contains(seam), "{seam}: {told}");
    }
    assert!(!told.contains(" TRACE "), "{told}");
    let output = elfup(&world, &["site", "--site", "site", "rollback", "-v"], &[]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("rollback: elfup::site::switch: switches"), "{log}");
    assert!(!log.contains(" DEBUG "), "{log}");
}

#[test]
fn nothing_is_told_unasked_and_the_variable_chooses_parts() {
    let (world, _server) = behind_a_server(|_| {});
    let silent = elfup(&world, &UPDATE, &[]);
    assert_eq!((silent.status.code(), told(&silent).as_str()), (Some(0), ""));
    let plan = ["site", "--site", "site", "check"];
    let of = |value: &str, more: &[&str]| {
        told(&elfup(
            &world,
            &[&plan[..], more].concat(),
            &[("ELFUP_LOG", value)],
        ))
    };
    let parts = of("elfup::source=debug", &[]);
    assert!(
        parts.lines().count() > 0 && parts.lines().all(|l| l.contains("DEBUG elfup::source")),
        "{parts}"
    );
    assert!(of("info", &[]).contains("metadata is refreshed"));
    assert_eq!(of("", &[]) + &of("off", &[]) + &of("trace", &["-q"]), "");
    // What is wrong is told, and keeps nothing from being done.
    for wrong in ["loud", "hyper=trace"] {
        let line = of(wrong, &[]);
        assert!(
            line.lines().count() == 1 && line.contains("elfup::source=trace"),
            "{line}"
        );
    }
    let parts = of("off,elfup::trust=info", &["-v"]);
    assert!(
        parts.contains("has the channel"),
        "the option is stronger: {parts}"
    );
}

#[test]
fn a_log_says_what_a_farm_does() {
    let (world, site) = World::ready();
    drop(site);
    write(world.path("two/bin/cp"), "another one");
    let publish = [
        "-vv",
        "publish",
        "--repo",
        "repo",
        "--keys",
        "keys",
        "--product",
        "demo",
        "--arch",
        "x86_64",
        "--release",
        "r3",
        "two",
    ];
    let output = elfup(&world, &publish, &[]);
    assert!(output.status.success(), "{output:?}");
    let log = told(&output);
    for seam in [
        "publish{release=\"r3\"}: elfup::farm::publish: the tree is read",
        "made kind=",
        "all is proven and is signed now",
        "is signed role=\"timestamp\"",
    ] {
        assert!(log.contains(seam), "{seam}: {log}");
    }
}

fn private(path: PathBuf, text: &str) -> String {
    write(&path, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What a word is, as itself, before a host and in a header.
fn assert_secret(log: &str) {
    for secret in ["s3cret", "czNjcmV0", "bWU6"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn secrets_are_in_no_log() {
    let (world, site) = World::ready();
    drop(site);
    // Content lies behind an address that is a key to it, as in a bucket.
    let root = world.repo();
    let signed = Rogue::start(move |ask, out| match ask.path.split_once("?signature=s3cret") {
        Some((path, "")) => {
            let ask = Ask {
                path: path.to_owned(),
                ..ask.clone()
            };
            honest(&root, &ask, out, |_| {})
        }
        _ => send(out, "403 Forbidden", b""),
    });
    let (root, away) = (world.repo(), signed.url.clone());
    let server = Rogue::start(move |ask, out| {
        let known = ["authorization", "x-token"].map(|name| ask.header(name).is_some());
        let path = ask
            .path
            .strip_prefix("http://repo.invalid/")
            .filter(|_| known == [true, true]);
        let Some(path) = path.map(str::to_owned) else {
            return send(out, "401 Unauthorized", b"");
        };
        let ask = Ask { path, ..ask.clone() };
        match ask.is_content() {
            true => send(
                out,
                &format!("302 x\r\nLocation: {away}/{}?signature=s3cret", ask.path),
                b"",
            ),
            false => honest(&root, &ask, out, |_| {}),
        }
    });
    let headers = private(world.path("headers"), "X-Token: s3cret\n");
    let file = world.path("site/site.json");
    let mut config = elfup::site::Config::load(&file).unwrap();
    config.sources = vec!["http://me:s3cret@repo.invalid".into()];
    config.header_file = Some(headers.into());
    config.health = Some(elfup::site::Health {
        command: ["true", "s3cret"].map(String::from).into(),
        timeout: 9,
    });
    config.save(&file).unwrap();
    let proxy = server.url.replace("http://", "http://me:s3cret@");
    let way = [("http_proxy", proxy.as_str()), ("no_proxy", "127.0.0.1")];
    let output = elfup(&world, &[&["-vvv"][..], &UPDATE].concat(), &way);
    let log = told(&output);
    assert!(
        output.status.success() && log.contains("is sent on") && log.contains("health command"),
        "{log}"
    );
    assert!(log.contains("source=\"http://repo.invalid\""), "{log}");
    assert_secret(&log);
    // Keys, while they are made, sign and are replaced.
    let keys = ["--keys", "keys", "--repo", "repo"];
    let following = ["--product", "demo", "--arch", "x86_64", "--release", "r3", "two"];
    write(world.path("two/late"), "late");
    let before = secret_keys(&world);
    let mut log = told(&elfup(
        &world,
        &[&["-vvv", "publish"], &keys[..], &following].concat(),
        &[],
    ));
    log += &told(&elfup(
        &world,
        &[&["-vvv", "keys", "rotate", "timestamp"], &keys[..]].concat(),
        &[],
    ));
    log += &told(&elfup(&world, &["-vvv", "keys", "init", "keys"], &[]));
    assert!(log.matches("is signed").count() > 4, "{log}");
    for key in before.iter().chain(&secret_keys(&world)) {
        assert!(key.len() == 64 && !log.contains(key), "{log}");
    }
}

fn secret_keys(world: &World) -> Vec<String> {
    let files = std::fs::read_dir(world.path("keys")).unwrap().flatten();
    let keys = files.filter_map(|file| {
        let key: serde_json::Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).ok()?;
        Some(key["private"].as_str()?.to_owned())
    });
    let keys: Vec<String> = keys.collect();
    assert!(keys.len() > 4, "{keys:?}");
    keys
}

/// The client of buckets has a log of its own, which is not ours.
#[cfg(feature = "s3")]
#[test]
fn credentials_of_a_bucket_are_in_no_log() {
    let world = World::new();
    let server = Rogue::start(|_, out| send(out, "403 Forbidden", b""));
    let environment = [
        ("AWS_ENDPOINT_URL", server.url.as_str()),
        ("AWS_ACCESS_KEY_ID", "s3cret-id"),
        ("AWS_SECRET_ACCESS_KEY", "s3cret"),
        ("AWS_SESSION_TOKEN", "s3cret-token"),
        ("AWS_REGION", "here"),
    ];
    let verify = ["-vvv", "farm", "verify", "--repo", "s3://bucket/app"];
    let output = elfup(&world, &verify, &environment);
    let log = told(&output);
    assert!(
        !output.status.success() && log.contains("list path=\"tuf\""),
        "{log}"
    );
    assert!(!server.asks().is_empty());
    assert_secret(&log);
    assert!(
        log.lines()
            .all(|l| !l.contains(" TRACE ") || l.contains("elfup::")),
        "{log}"
    );
}
