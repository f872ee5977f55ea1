//! The box of a place: one link for many sites, whatever lies, breaks or is killed.

use crate::rogue::{Rogue, send};
use crate::server::{Fault, Server};
use crate::world::{World, runs, update};
use elfup::place::{Hours, Place, Settings};
use elfup::site::{Forced, UpdateOptions};
use elfup::source::Access;
use elfup::{Error, Quiet, Watch};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Notes what is said, and stops when told.
#[derive(Default)]
struct Heard {
    stop: AtomicBool,
    notes: Mutex<Vec<String>>,
}

impl Watch for Heard {
    fn note(&self, line: &str) {
        self.notes.lock().unwrap().push(line.into());
    }
    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A box at work in this process; ends with the test.
struct Running {
    place: Arc<Place>,
    url: String,
    heard: Arc<Heard>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(world: &World, sources: &[&str], change: impl FnOnce(&mut Settings)) -> Running {
        let mut settings = Settings {
            dir: world.path("box"),
            sources: sources.iter().map(|source| (*source).into()).collect(),
            access: Access::default(),
            follow: vec![World::follow()],
            budget: None,
            hours: None,
            room: 1 << 30,
            fresh: Duration::from_secs(60),
        };
        change(&mut settings);
        let root = fs::read(world.repo().join("tuf/1.root.json")).unwrap();
        let place = Arc::new(Place::open(settings, Some(&root)).unwrap());
        let heard = Arc::new(Heard::default());
        let (sender, receiver) = mpsc::channel();
        let (serving, watch) = (Arc::clone(&place), Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            let watch: Arc<dyn Watch + Send + Sync> = watch;
            let ready = |at| sender.send(at).unwrap();
            serving
                .serve("127.0.0.1:0".parse().unwrap(), &watch, ready)
                .unwrap();
        });
        let at: SocketAddr = receiver.recv().unwrap();
        Running {
            place,
            url: format!("http://{at}"),
            heard,
            thread: Some(thread),
        }
    }
    fn notes(&self) -> String {
        self.heard.notes.lock().unwrap().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.heard.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(|thread| thread.join());
    }
}

/// Sites at the first release, which the second was published behind.
fn sites_behind(world: &World, count: usize, sources: &[&str]) -> Vec<elfup::site::Site> {
    world.publish("r1", "one").unwrap();
    let make = |i| {
        let site = world.site(&format!("site{i}"), |_| {});
        update(&site).unwrap();
        let path = site.root().join("site.json");
        let config = fs::read_to_string(&path).unwrap();
        let from = format!("\"{}\"", world.repo().display());
        let to = sources
            .iter()
            .map(|source| format!("\"{source}\""))
            .collect::<Vec<_>>();
        assert!(config.contains(&from), "{config}");
        fs::write(&path, config.replace(&from, &to.join(","))).unwrap();
        world.reopen(site)
    };
    let sites = (0..count).map(make).collect();
    world.publish("r2", "two").unwrap();
    sites
}

/// Updates by given figures: what a busy machine measures would have sites choose other bytes.
fn by_figures(site: &elfup::site::Site) {
    let forced = Forced {
        bandwidth: Some(64e3),
        rtt: Some(0.3),
        speed: Some(1.0),
    };
    let options = UpdateOptions {
        forced,
        ..UpdateOptions::default()
    };
    site.update(&options, &Quiet).unwrap();
}

fn all_update(sites: &[elfup::site::Site]) {
    std::thread::scope(|scope| {
        for site in sites {
            scope.spawn(|| by_figures(site));
        }
    });
    for site in sites {
        assert_eq!(runs(site), "r2");
    }
}

/// No source brings what is needed, and the site says so.
fn undelivered(site: &elfup::site::Site) {
    let failed = update(site).unwrap_err();
    let expected = matches!(failed, Error::Network(_) | Error::OutOfOptions { .. });
    assert!(expected, "{failed}");
}

fn get(url: &str, head: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    write!(stream, "{head}\r\nHost: box\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let status = String::from_utf8_lossy(&bytes[9..12]).parse().unwrap();
    (status, bytes[end..].to_vec())
}

#[test]
fn many_sites_cost_the_link_as_much_as_one() {
    let world = World::new();
    let far = Server::start(&world.repo(), Fault::None);
    let place = Running::start(&world, &[&far.url], |_| {});
    let sites = sites_behind(&world, 13, &[&place.url]);
    // What one site costs without a box.
    let alone = Server::start(&world.repo(), Fault::None);
    let path = sites[12].root().join("site.json");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace(&place.url, &alone.url)).unwrap();
    let mut sites = sites;
    let one = world.reopen(sites.pop().unwrap());
    by_figures(&one);
    let cost = alone.sent.load(Ordering::Relaxed);
    all_update(&sites);
    let sent = far.sent.load(Ordering::Relaxed);
    assert!(sent <= cost + cost / 20, "{sent} bytes for all, {cost} for one");
    let tally = place.place.tally();
    assert_eq!((tally.fetched, tally.waiting), (sent, 0));
    assert!(tally.served > 10 * sent, "{tally:?}");
    assert_eq!(place.notes(), "");
}

#[test]
fn a_lying_mirror_spoils_nothing_for_the_place() {
    let world = World::new();
    world.publish("r0", "one").unwrap();
    let lies = world.path("lies");
    let (liar, far) = (
        Server::start(&lies, Fault::None),
        Server::start(&world.repo(), Fault::None),
    );
    let place = Running::start(&world, &[&liar.url, &far.url], |_| {});
    let sites = sites_behind(&world, 3, &[&place.url]);
    let copied = Command::new("cp").arg("-r").arg(world.repo()).arg(&lies).status();
    assert!(copied.unwrap().success());
    for folder in ["packs", "steps", "blobs", "manifests"] {
        spoil(&lies.join(folder));
    }
    all_update(&sites);
    assert!(liar.requests.load(Ordering::Relaxed) > 2, "it was asked");
    assert!(
        place.notes().contains("is not what was signed"),
        "{}",
        place.notes()
    );
    let site = world.site("fresh", |config| config.sources = vec![place.url.clone()]);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}

/// Turns a bit in the middle of every file.
fn spoil(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            spoil(&path);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn what_was_not_signed_costs_the_link_nothing() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let far = Server::start(&world.repo(), Fault::None);
    let place = Running::start(&world, &[&far.url], |_| {});
    assert_eq!(get(&place.url, "GET /tuf/timestamp.json HTTP/1.1").0, 200);
    let before = far.requests.load(Ordering::Relaxed);
    let name = "0".repeat(64);
    for path in [
        "",
        "tuf/../trust",
        "trust",
        "tuf/9.root.json",
        "work/lock",
        "channels/demo/stable/x86_64.json",
        &format!("steps/{name}.zst"),
        &format!("packs/{name}.pack"),
        &format!("manifests/{name}.zst"),
        &format!("blobs/11/{name}.zst"),
    ] {
        assert_eq!(get(&place.url, &format!("GET /{path} HTTP/1.1")).0, 404, "{path}");
    }
    assert_eq!(far.requests.load(Ordering::Relaxed), before);
    assert_eq!(get(&place.url, "POST /tuf/timestamp.json HTTP/1.1").0, 405);
    // A blob may be one that was signed: it is asked for once.
    for _ in 0..3 {
        assert_eq!(
            get(&place.url, &format!("GET /blobs/00/{name}.zst HTTP/1.1")).0,
            404
        );
    }
    assert_eq!(far.requests.load(Ordering::Relaxed), before + 1);
    let (status, json) = get(&place.url, "GET /status.json HTTP/1.1");
    let told: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(status, 200);
    assert!(told["fetched"].as_u64().unwrap() > 0, "{told}");
}

#[test]
fn a_box_goes_on_without_its_link() {
    let world = World::new();
    let far = Server::start(&world.repo(), Fault::None);
    let place = Running::start(&world, &[&far.url], |_| {});
    let sites = sites_behind(&world, 2, &[&place.url]);
    all_update(&sites[..1]);
    let url = place.url.clone();
    drop((place, far));
    let port = Running::start(&world, &["http://127.0.0.1:1"], |_| {});
    let path = sites[1].root().join("site.json");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace(&url, &port.url)).unwrap();
    let site = world.reopen(sites.into_iter().nth(1).unwrap());
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    // What turned on its disk is not sent again as if it were right, but asked for: here in vain.
    drop(port);
    spoil(&world.path("box/whole"));
    let port = Running::start(&world, &["http://127.0.0.1:1"], |_| {});
    let fresh = world.site("fresh", |config| config.sources = vec![port.url.clone()]);
    undelivered(&fresh);
}

#[test]
fn budget_and_hours_are_kept() {
    let world = World::new();
    let far = Server::start(&world.repo(), Fault::None);
    let first = Running::start(&world, &[&far.url], |settings| settings.budget = Some(40_000));
    let sites = sites_behind(&world, 1, &[&first.url]);
    undelivered(&sites[0]);
    let (fetched, asked) = (first.place.tally().fetched, far.requests.load(Ordering::Relaxed));
    let url = first.url.clone();
    // One part of what came is as much as may be too much.
    assert!((40_000..40_000 + (64 << 10)).contains(&fetched), "{fetched}");
    drop(first);
    // Now, whatever the hour, it may not: half a day from now it might.
    let hour = (elfup::clock::now() / 3600 + 12) % 24;
    let hours = Hours::parse(&format!("{hour}-{}", (hour + 1) % 24)).ok();
    let rests = Running::start(&world, &[&far.url], |settings| settings.hours = hours);
    let resume = |url: &str, to: &str, site: elfup::site::Site| {
        let path = site.root().join("site.json");
        let config = fs::read_to_string(&path).unwrap();
        fs::write(&path, config.replace(url, to)).unwrap();
        world.reopen(site)
    };
    let site = resume(&url, &rests.url, sites.into_iter().next().unwrap());
    undelivered(&site);
    assert_eq!(far.requests.load(Ordering::Relaxed), asked);
    let url = rests.url.clone();
    drop(rests);
    let free = Running::start(&world, &[&far.url], |_| {});
    let site = resume(&url, &free.url, site);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}

#[test]
fn a_box_holds_no_more_than_it_may() {
    let world = World::new();
    let far = Server::start(&world.repo(), Fault::None);
    let place = Running::start(&world, &[&far.url], |settings| settings.room = 60_000);
    let sites = sites_behind(&world, 2, &[&place.url]);
    all_update(&sites);
    let fresh = world.site("fresh", |config| config.sources = vec![place.url.clone()]);
    update(&fresh).unwrap();
    assert_eq!(runs(&fresh), "r2");
    let whole = fs::read_dir(world.path("box/whole")).unwrap();
    let sizes: Vec<u64> = whole
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    let most = 60_000.max(sizes.iter().copied().max().unwrap_or(0));
    let total: u64 = sizes.iter().sum();
    assert!((1..=most).contains(&total), "{sizes:?}");
}

/// The command as a process that can be killed.
pub struct Process {
    pub child: Child,
    pub url: String,
}

impl Process {
    fn start(world: &World, source: &str, port: u16) -> Process {
        let program = Command::new(env!("CARGO_BIN_EXE_elfup"));
        Process::run(program, world, source, port)
    }

    /// `program` is elfup, or what runs it.
    pub fn run(mut command: Command, world: &World, source: &str, port: u16) -> Process {
        command.args(["serve", "--source", source, "--follow", "demo/stable/x86_64"]);
        command.arg("--dir").arg(world.path("box"));
        command.arg("--root").arg(world.repo().join("tuf/1.root.json"));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().strip_prefix("serves at ").unwrap().to_owned();
        // It answers once it has said so: a signal while it writes ends it by that signal.
        assert_eq!(get(&url, "GET /status.json HTTP/1.1").0, 200);
        let (status, text) = get(&url, "GET /metrics HTTP/1.1");
        let text = String::from_utf8(text).unwrap();
        assert!(
            status == 200 && text.contains("\nelfup_box_waiting 0\n"),
            "{text}"
        );
        Process { child, url }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_box_that_is_killed_loses_nothing() {
    let world = World::new();
    let far = Server::start(&world.repo(), Fault::None);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let sites = sites_behind(&world, 1, &[&format!("http://127.0.0.1:{port}")]);
    let site = &sites[0];
    let mut updated = false;
    for round in 0..60 {
        let mut process = Process::start(&world, &far.url, port);
        updated = std::thread::scope(|scope| {
            let update = scope.spawn(|| update(site).is_ok());
            std::thread::sleep(Duration::from_millis(20 + round * 10));
            let _ = process.child.kill();
            update.join().unwrap()
        });
        if updated {
            break;
        }
    }
    if !updated {
        let _process = Process::start(&world, &far.url, port);
        update(site).unwrap();
    }
    assert_eq!(runs(site), "r2");
    // What a kill leaves is served again only if it is what was signed.
    let _process = Process::start(&world, &far.url, port);
    let url = format!("http://127.0.0.1:{port}");
    let fresh = world.site("fresh", |config| config.sources = vec![url]);
    update(&fresh).unwrap();
    assert_eq!(runs(&fresh), "r2");
}

/// A site that shares: others get from it what it fetched, and their distant source only gives what none has.
#[test]
fn a_site_shares_what_it_fetches() {
    let world = World::new();
    let far = Server::start(&world.repo(), Fault::None);
    let sites = sites_behind(&world, 2, &[&far.url]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command.arg("site").arg("--site").arg(sites[0].root());
    command.args(["run", "--share", "127.0.0.1:0", "--apply", "always"]);
    let mut sites = sites.into_iter();
    let (first, other) = (sites.next().unwrap(), sites.next().unwrap());
    let dir = first.root().to_owned();
    drop(first);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut process = Process {
        child: child.unwrap(),
        url: String::new(),
    };
    let mut lines = BufReader::new(process.child.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    let url = url.strip_prefix("shares at ").unwrap().to_owned();
    let updated = lines.by_ref().any(|line| line.unwrap().contains("r2"));
    assert!(updated && runs(&elfup::site::Site::open(&dir).unwrap()) == "r2");
    let cost = far.sent.load(Ordering::Relaxed);
    let path = other.root().join("site.json");
    let config = fs::read_to_string(&path).unwrap();
    let both = format!("{url}\",\"{}", far.url);
    fs::write(&path, config.replace(&far.url, &both)).unwrap();
    let other = world.reopen(other);
    by_figures(&other);
    assert_eq!(runs(&other), "r2");
    let sent = far.sent.load(Ordering::Relaxed);
    assert!(sent <= cost + cost / 20, "{sent} bytes for both, {cost} for one");
    // It ends at once, its box with it.
    let told = Command::new("kill").arg(process.child.id().to_string()).status();
    assert!(told.unwrap().success());
    let ended = process.child.wait().unwrap();
    assert!(ended.success(), "{ended}");
    assert!(TcpStream::connect(url.trim_start_matches("http://")).is_err());
}

#[test]
fn a_stop_ends_a_box_at_once() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let far = Server::start(&world.repo(), Fault::Trickle);
    let mut process = Process::start(&world, &far.url, 0);
    let begin = std::time::Instant::now();
    let told = Command::new("kill").arg(process.child.id().to_string()).status();
    assert!(told.unwrap().success());
    let ended = process.child.wait().unwrap();
    assert!(ended.success(), "{ended}");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

/// A site chooses by the link behind the box, which the place pays for; what makes no sense says nothing.
#[test]
fn what_a_box_says_of_its_link_is_what_a_site_counts_with() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let planned = |link: &'static str, name: &str| {
        let root = world.repo();
        let near = Rogue::start(move |ask, out| {
            let Ok(bytes) = fs::read(root.join(&ask.path)) else {
                return send(out, "404 Not Found", b"");
            };
            send(out, &format!("200 OK\r\nElfup-Link: {link}"), &bytes)
        });
        let site = world.site(name, |config| config.sources = vec![near.url.clone()]);
        let at = site.root().to_owned();
        drop(site);
        let command = Command::new(env!("CARGO_BIN_EXE_elfup"))
            .args(["site", "--site", at.to_str().unwrap(), "plan", "--json"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&command.stderr);
        assert!(command.status.success(), "{said}");
        let plan: serde_json::Value = serde_json::from_slice(&command.stdout).unwrap();
        let rate = |name: &str| plan["rates"][name].as_f64().unwrap();
        (rate("bandwidth"), rate("rtt"))
    };
    assert_eq!(planned("1234 7.5", "far"), (1234.0, 7.5));
    for (i, odd) in ["nan nan", "-5 1", "1e30 1", "5", "", "0 0", "9000 -1"]
        .into_iter()
        .enumerate()
    {
        let (rate, wait) = planned(odd, &format!("odd{i}"));
        assert!(rate >= 64e3 && wait < 1.0, "{odd}: {rate} {wait}");
    }
}
