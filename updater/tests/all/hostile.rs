//! Bad input: hostile manifests, odd trees, changed and damaged files of a site.

use crate::world::{World, runs, update, write};
use elfup::manifest::Manifest;
use elfup::{Error, Quiet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const HEADER: &str = r#"{"protocol":1,"product":"p","channel":"c","arch":"a","release":"r","sequence":1,"urgent":false,"features":[],"config":[],"entries":N}"#;

fn manifest(lines: &[&str]) -> Result<Manifest, Error> {
    let header = HEADER.replace('N', &lines.len().to_string());
    Manifest::parse(format!("{header}\n{}\n", lines.join("\n")).as_bytes())
}

const ROOT: &str = r#"{"p":".","t":"d","m":493}"#;
const DIR: &str = r#"{"p":"d","t":"d","m":493}"#;

fn file(path: &str) -> String {
    let digest = "0".repeat(64);
    format!(r#"{{"p":"{path}","t":"f","m":420,"s":1,"h":"{digest}","z":9}}"#)
}

#[test]
fn hostile_manifests_are_refused() {
    assert!(manifest(&[ROOT, DIR, &file("d/x")]).is_ok());
    for path in [
        "/etc/passwd",
        "../x",
        "d/../../x",
        "d/./x",
        "d//x",
        "d/",
        "",
        "d/..",
        "%00",
        "d/%2Fx",
        "x%41",
    ] {
        assert!(manifest(&[ROOT, DIR, &file(path)]).is_err(), "{path}");
    }
    let link = r#"{"p":"d","t":"l","l":"/etc"}"#;
    assert!(manifest(&[ROOT, link]).is_ok());
    assert!(
        manifest(&[ROOT, link, &file("d/passwd")]).is_err(),
        "below a symlink"
    );
    assert!(manifest(&[ROOT, &file("a"), &file("a")]).is_err(), "duplicate");
    assert!(manifest(&[ROOT, &file("b"), &file("a")]).is_err(), "order");
    assert!(
        manifest(&[ROOT, &file("a"), &file("a/b")]).is_err(),
        "below a file"
    );
    assert!(manifest(&[ROOT, &file("a/b")]).is_err(), "no parent");
    assert!(manifest(&[&file(".")]).is_err(), "the root is a file");
    assert!(
        manifest(&[ROOT, r#"{"p":"h","t":"h","l":"../../etc/shadow"}"#]).is_err(),
        "hard link outside"
    );
    assert!(manifest(&[ROOT, r#"{"p":"b","t":"b"}"#]).is_err(), "device");
    assert!(
        manifest(&[ROOT, r#"{"p": "d","t":"d","m":493}"#]).is_err(),
        "other spelling"
    );
    assert!(
        manifest(&[ROOT, r#"{"p":"d","t":"d","m":493,"zz":1}"#]).is_err(),
        "unknown field"
    );
    assert!(
        manifest(&[ROOT, r#"{"p":"d","t":"d","m":99999}"#]).is_err(),
        "mode"
    );
    let unknown = HEADER
        .replace('N', "1")
        .replace(r#""features":[]"#, r#""features":["teleport"]"#);
    let error = Manifest::parse(format!("{unknown}\n{ROOT}\n").as_bytes()).unwrap_err();
    assert!(matches!(error, Error::TooNew(_)), "{error}");
    let newer = HEADER
        .replace('N', "1")
        .replace(r#""protocol":1"#, r#""protocol":2"#);
    assert!(matches!(
        Manifest::parse(format!("{newer}\n{ROOT}\n").as_bytes()),
        Err(Error::TooNew(_))
    ));
}

#[test]
fn damaged_manifests_never_panic() {
    let good = {
        let header = HEADER.replace('N', "3");
        format!("{header}\n{ROOT}\n{DIR}\n{}\n", file("d/x")).into_bytes()
    };
    assert!(Manifest::parse(&good).is_ok());
    for at in 0..good.len() {
        assert!(Manifest::parse(&good[..at]).is_err());
        for flip in [1, 0x20, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            let _ = Manifest::parse(&bad);
        }
    }
}

#[test]
fn trees_that_cannot_be_carried_are_refused_by_name() {
    let world = World::new();
    let fifo = world.path("one/share/fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    if made.is_ok_and(|s| s.success()) {
        let error = world.publish("r1", "one").unwrap_err().to_string();
        assert!(error.contains("fifo"), "{error}");
        fs::remove_file(&fifo).unwrap();
    }
    let secret = world.path("one/share/secret");
    write(&secret, "s");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::File::open(&secret).is_err() {
        let error = world.publish("r1", "one").unwrap_err().to_string();
        assert!(error.contains("secret"), "{error}");
    } else {
        eprintln!("skipped in part: root reads everything");
    }
}

#[test]
fn a_file_that_changes_while_it_is_scanned_is_never_published_torn() {
    let world = World::new();
    let path = world.path("one/share/busy");
    write(&path, vec![0; 4 << 20]);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let (stop, path) = (stop.clone(), path.clone());
        std::thread::spawn(move || {
            let mut n = 0u8;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                n = n.wrapping_add(1);
                fs::write(&path, vec![n; 4 << 20]).unwrap();
            }
        })
    };
    let result = world.publish("r1", "one");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    match result {
        Err(e) => assert!(e.to_string().contains("busy"), "{e}"),
        // It happened to rest: then what was published is one whole content.
        Ok(()) => {
            let site = world.site("site", |_| {});
            update(&site).unwrap();
            let bytes = fs::read(world.path("site/current/share/busy")).unwrap();
            assert!(bytes.windows(2).all(|w| w[0] == w[1]));
        }
    }
}

#[test]
fn a_symlink_planted_in_the_staging_area_is_not_followed() {
    let (world, site) = World::ready();
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    write(outside.join("precious"), "precious");
    // Leftovers under the names that staging uses.
    for name in ["partial/reserve", "built/.tmp-x"] {
        std::os::unix::fs::symlink(outside.join("precious"), world.path("site").join(name)).unwrap();
    }
    std::os::unix::fs::symlink(&outside, world.path("site/deployments/.new-x")).unwrap();
    let site = world.reopen(site);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn damaged_site_files_are_reported_and_not_followed() {
    let (world, site) = World::ready();
    let current = world.path("site/current");
    let target = fs::read_link(&current).unwrap();
    fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink("/etc", &current).unwrap();
    assert!(matches!(update(&site), Err(Error::Damaged(_))));
    fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(&target, &current).unwrap();
    let manifest = world.path("site").join(target.parent().unwrap()).join("manifest");
    let text = fs::read(&manifest).unwrap();
    fs::write(&manifest, &text[..text.len() - 5]).unwrap();
    assert!(matches!(site.verify(&Quiet), Err(Error::Damaged(_))));
    site.repair(&Quiet).unwrap();
    assert_eq!(runs(&site), "r1");
}
