//! Private repositories, https, proxies, and networks that answer for others: real servers on loopback.

use crate::rogue::{Ask, Rogue, honest, send};
use crate::world::{World, runs, update, write};
use elfup::Error;
use elfup::site::Site;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn private(path: PathBuf, text: &str) -> PathBuf {
    write(&path, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Serves only who shows this header; sends away what `elsewhere` says.
fn guarded(root: PathBuf, name: &'static str, value: &'static str, elsewhere: Option<String>) -> Rogue {
    Rogue::start(move |ask, out| {
        if ask.header(name) != Some(value) {
            return send(out, "401 Unauthorized", b"");
        }
        match &elsewhere {
            Some(url) if ask.is_content() => {
                send(out, &format!("302 x\r\nLocation: {url}/{}", ask.path), b"")
            }
            Some(_) if ask.path == "tuf/timestamp.json" => {
                send(out, "302 x\r\nLocation: ../tuf/./timestamp.json", b"")
            }
            _ => honest(&root, ask, out, |_| {}),
        }
    })
}

fn site(world: &World, name: &str, urls: &[&str], change: impl FnOnce(&mut elfup::site::Config)) -> Site {
    world.site(name, |c| {
        c.sources = urls.iter().map(|u| (*u).to_owned()).collect();
        c.stall = 5;
        change(c);
    })
}

fn published() -> World {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    world
}

/// `me:s3cret`, as a header has it.
const BASIC: &str = "Basic bWU6czNjcmV0";

#[test]
fn credentials_go_to_their_own_host_alone() {
    let world = published();
    let root = world.repo();
    let public = Rogue::start(move |ask, out| honest(&root, ask, out, |_| {}));
    let headers = private(
        world.path("headers"),
        "# ours\nAuthorization: Bearer s3cret\nX-Team: blue\n",
    );
    let netrc = private(world.path("netrc"), "machine 127.0.0.1 login me password s3cret");

    let bearer = guarded(
        world.repo(),
        "authorization",
        "Bearer s3cret",
        Some(public.url.clone()),
    );
    let one = site(&world, "one-site", &[&bearer.url], |c| {
        c.header_file = Some(headers.clone())
    });
    update(&one).unwrap();
    let basic = guarded(world.repo(), "authorization", BASIC, Some(public.url.clone()));
    let two = site(&world, "two-site", &[&basic.url], |c| c.netrc = Some(netrc));
    update(&two).unwrap();
    let with_user = basic.url.replace("http://", "http://me:s3cret@");
    update(&site(&world, "three-site", &[&with_user], |_| {})).unwrap();

    assert!(bearer.asks().iter().all(|a| a.header("x-team") == Some("blue")));
    assert!(public.asks().len() > 3, "the content came from there");
    for ask in public.asks() {
        let sent = ["authorization", "x-team"].map(|n| ask.header(n));
        assert_eq!(sent, [None, None], "{}", ask.path);
    }

    // With sources at several hosts a file says which host its headers are for.
    let both = |c: &mut elfup::site::Config| {
        c.sources.push(public.url.clone());
        c.header_file = Some(headers.clone());
    };
    let mut config = elfup::site::Config::new(World::follow(), vec![bearer.url.clone()]);
    both(&mut config);
    let trusted = std::fs::read(world.repo().join("tuf/1.root.json")).unwrap();
    let refused = Site::init(&world.path("four"), &config, &trusted);
    assert!(matches!(refused, Err(Error::Usage(w)) if w.contains("[https://host]") && !w.contains("s3cret")));
    private(
        headers.clone(),
        &format!("[{}]\nAuthorization: Bearer s3cret\n", bearer.url),
    );
    Site::init(&world.path("five"), &config, &trusted).unwrap();
}

#[test]
fn files_with_credentials_are_for_their_owner() {
    let world = published();
    for mode in [0o640, 0o604, 0o622] {
        let file = private(world.path("open"), "Authorization: Bearer s3cret");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut config = elfup::site::Config::new(World::follow(), vec!["http://127.0.0.1:1".into()]);
        config.header_file = Some(file);
        let trusted = std::fs::read(world.repo().join("tuf/1.root.json")).unwrap();
        let refused = Site::init(&world.path("site"), &config, &trusted);
        assert!(
            matches!(refused, Err(Error::Usage(w)) if w.contains("chmod 600")),
            "{mode:o}"
        );
    }
}

fn elfup(site: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let site = ["site", "--site", site.to_str().unwrap()];
    command(&[&site[..], args].concat(), environment)
}

fn command(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command.arg("--verbose").args(args);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.envs(environment.iter().copied()).output().unwrap()
}

#[test]
fn credentials_are_never_told() {
    let world = published();
    let guard = guarded(world.repo(), "authorization", "Basic other", None);
    let url = guard.url.replace("http://", "http://me:s3cret@");
    let headers = private(world.path("headers"), "X-Token: s3cret");
    drop(site(&world, "site", &[&url], |c| c.header_file = Some(headers)));
    let output = elfup(&world.path("site"), &["update"], &[]);
    assert_eq!(output.status.code(), Some(5));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("401") && told.contains("--header-file"), "{told}");
    // And once it works, with what the site remembers of its link.
    let open = guarded(world.repo(), "authorization", BASIC, None);
    let mut config = elfup::site::Config::load(&world.path("site/site.json")).unwrap();
    config.sources = vec![open.url.replace("http://", "http://me:s3cret@")];
    config.save(&world.path("site/site.json")).unwrap();
    let output = elfup(&world.path("site"), &["update"], &[]);
    assert!(output.status.success(), "{output:?}");
    let state = std::fs::read_dir(world.path("site/state")).unwrap().flatten();
    let state = state.map(|e| std::fs::read_to_string(e.path()).unwrap_or_default());
    for text in state.chain([told, format!("{output:?}")]) {
        assert!(!text.contains("s3cret") && !text.contains("bWU6"), "{text}");
    }
}

/// A mirror of the repository, which then has a wrong byte; mends it from there and tells how that ended.
fn repairs(world: &World, mirror: &str, options: &[&str], environment: &[(&str, &str)]) -> Output {
    let good = elfup::store::LocalStore::new(&world.path("mirror"));
    let blob = elfup::store::Store::list(&good, "blobs").unwrap().remove(0);
    let mut bytes = std::fs::read(world.path("mirror").join(&blob)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(world.repo().join(&blob), bytes).unwrap();
    let repo = world.repo();
    let repair = [
        "farm",
        "repair",
        "--repo",
        repo.to_str().unwrap(),
        "--from",
        mirror,
    ];
    let output = command(&[&repair[..], options].concat(), environment);
    let now = std::fs::read(world.repo().join(&blob)).unwrap();
    let good = now == std::fs::read(world.path("mirror").join(&blob)).unwrap();
    assert_eq!(output.status.code(), Some(if good { 0 } else { 7 }), "{output:?}");
    output
}

fn mirrored() -> World {
    let world = published();
    let mut copy = Command::new("cp");
    let copied = copy
        .arg("-a")
        .arg(world.repo())
        .arg(world.path("mirror"))
        .status();
    assert!(copied.unwrap().success());
    world
}

/// What is asked of a site's mirrors can be asked of those that a farm is repaired from.
#[test]
fn a_farm_is_repaired_from_private_mirrors() {
    let world = mirrored();
    let headers = private(world.path("headers"), "Authorization: Bearer s3cret\n");
    let netrc = private(world.path("netrc"), "machine 127.0.0.1 login me password s3cret");
    let bearer = guarded(world.path("mirror"), "authorization", "Bearer s3cret", None);
    let basic = guarded(world.path("mirror"), "authorization", BASIC, None);
    let refused = repairs(&world, &bearer.url, &[], &[]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("401") && told.contains("--header-file"), "{told}");
    for (mirror, option, file) in [
        (&bearer.url, "--header-file", &headers),
        (&basic.url, "--netrc", &netrc),
    ] {
        let output = repairs(&world, mirror, &[option, file.to_str().unwrap()], &[]);
        assert!(output.status.success(), "{output:?}");
        assert!(!format!("{output:?}").contains("s3cret"));
    }
    let away = [("http_proxy", basic.url.as_str())];
    let output = repairs(&world, "http://repo.invalid", &[], &away);
    assert_eq!(output.status.code(), Some(7));
    let asked = |rogue: &Rogue| rogue.asks().last().unwrap().path.clone();
    assert!(
        asked(&basic).starts_with("http://repo.invalid/blobs/"),
        "{}",
        asked(&basic)
    );
}

#[test]
fn a_captive_portal_is_told_as_such() {
    let world = published();
    let page = "\n<!DOCTYPE HTML><html><body>Welcome to the guest network</body></html>";
    let portal = Rogue::start(move |_, out| send(out, "200 OK\r\nContent-Type: text/html", page.as_bytes()));
    let away = portal.url.clone();
    let redirecting = Rogue::start(move |_, out| send(out, &format!("302 x\r\nLocation: {away}/login"), b""));
    let required = Rogue::start(|_, out| send(out, "511 Network Authentication Required", b""));
    for (n, url) in [&portal.url, &redirecting.url, &required.url]
        .into_iter()
        .enumerate()
    {
        let name = format!("site{n}");
        drop(site(&world, &name, &[url], |_| {}));
        let output = elfup(&world.path(&name), &["update"], &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{told}");
        assert!(
            told.contains("web page") && told.lines().last().unwrap().contains("log in"),
            "{told}"
        );
    }
    // A stick beside it is enough; and a page for what is missing is no portal.
    let stick = world.repo().to_str().unwrap().to_owned();
    update(&site(&world, "stick", &[&portal.url, &stick], |_| {})).unwrap();
    let root = world.repo();
    let soft = Rogue::start(move |ask, out| match root.join(&ask.path).exists() {
        true => honest(&root, ask, out, |_| {}),
        false => send(out, "200 OK", page.as_bytes()),
    });
    let soft = site(&world, "soft", &[&soft.url], |_| {});
    update(&soft).unwrap();
    assert_eq!(runs(&soft), "r1");
}

#[test]
fn plain_requests_go_through_the_proxy() {
    let world = published();
    let root = world.repo();
    let proxy = Rogue::start(move |ask, out| {
        let Some(path) = ask.path.strip_prefix("http://repo.invalid/deep/") else {
            return send(out, "400 Bad Request", b"");
        };
        let ask = Ask {
            path: path.to_owned(),
            ..ask.clone()
        };
        honest(&root, &ask, out, |_| {})
    });
    drop(site(&world, "site", &["http://repo.invalid/deep/"], |_| {}));
    let at = proxy.url.replace("http://", "http://me:s3cret@");
    let output = elfup(&world.path("site"), &["update"], &[("http_proxy", &at)]);
    assert!(output.status.success(), "{output:?}");
    for ask in proxy.asks() {
        assert_eq!(ask.header("proxy-authorization"), Some(BASIC));
        assert_eq!(
            (ask.header("authorization"), ask.header("host")),
            (None, Some("repo.invalid"))
        );
    }
    // And not where it is excepted.
    let root = world.repo();
    let direct = Rogue::start(move |ask, out| honest(&root, ask, out, |_| {}));
    drop(site(&world, "direct", &[&direct.url], |_| {}));
    let environment = [
        ("http_proxy", "http://127.0.0.1:1"),
        ("no_proxy", "x.test, 127.0.0.1"),
    ];
    let output = elfup(&world.path("direct"), &["update"], &environment);
    assert!(output.status.success(), "{output:?}");
}

/// Ends with the test.
struct Ended(Child);
impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TLS_SERVER: &str = r#"
import http.server, os, ssl
class H(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain("../cert.pem", "../key.pem")
s.socket = c.wrap_socket(s.socket, server_side=True)
open("../port.new", "w").write(str(s.server_address[1])); os.rename("../port.new", "../port")
s.serve_forever()
"#;

/// A web server for `repo.test` over TLS, and the port that it has; `None` if a tool is missing.
fn tls_server(world: &World) -> Option<(Ended, u16)> {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=repo.test"])
        .args([
            "-addext",
            "subjectAltName=DNS:repo.test",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .current_dir(world.path(""))
        .output();
    let python = Command::new("python3").arg("--version").output();
    if !made.as_ref().is_ok_and(|o| o.status.success()) || python.is_err() {
        println!("skipped: openssl or python3 is missing: {made:?}");
        return None;
    }
    let child = Command::new("python3")
        .args(["-c", TLS_SERVER])
        .current_dir(world.path("mirror"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    loop {
        if let Ok(port) = std::fs::read_to_string(world.path("port")) {
            return Some((child, port.parse().unwrap()));
        }
        assert!(child.0.try_wait().unwrap().is_none(), "the server ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Carries bytes both ways until one side ends.
fn tunnel(a: &TcpStream, b: &TcpStream) -> std::io::Result<()> {
    std::thread::scope(|s| {
        s.spawn(|| {
            let _ = std::io::copy(&mut &*a, &mut &*b);
            let _ = b.shutdown(std::net::Shutdown::Both);
        });
        let _ = std::io::copy(&mut &*b, &mut &*a);
        let _ = a.shutdown(std::net::Shutdown::Both);
    });
    Ok(())
}

#[cfg(feature = "tls")]
#[test]
fn https_with_its_own_authority_through_a_proxy() {
    let world = mirrored();
    let Some((_server, port)) = tls_server(&world) else {
        return;
    };
    let proxy = Rogue::start(move |ask, out| {
        if ask.path != "repo.test:443" {
            return send(out, "403 Forbidden", b"");
        }
        let to = TcpStream::connect(("127.0.0.1", port))?;
        std::io::Write::write_all(out, b"HTTP/1.1 200 Connected\r\n\r\n")?;
        tunnel(out, &to)
    });
    let run = |name: &str, ca: Option<PathBuf>| {
        drop(site(&world, name, &["https://repo.test"], |c| c.ca = ca));
        elfup(&world.path(name), &["update"], &[("https_proxy", &proxy.url)])
    };
    let output = run("trusting", Some(world.path("cert.pem")));
    assert!(output.status.success(), "{output:?}");
    let (ca, through) = (world.path("cert.pem"), [("https_proxy", proxy.url.as_str())]);
    let output = repairs(
        &world,
        "https://repo.test",
        &["--ca", ca.to_str().unwrap()],
        &through,
    );
    assert!(output.status.success(), "{output:?}");
    // By the system's authorities it is a stranger.
    let output = run("strange", None);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(5) && told.contains("--ca"), "{told}");
    let mut config = elfup::site::Config::new(World::follow(), vec!["https://repo.test".into()]);
    config.ca = Some(world.path("key.pem"));
    let trusted = std::fs::read(world.repo().join("tuf/1.root.json")).unwrap();
    let refused = Site::init(&world.path("no-ca"), &config, &trusted);
    assert!(matches!(refused, Err(Error::Usage(w)) if w.contains("no certificate")));
}
