//! Sources that answer oddly, lie, or keep a site waiting: it makes progress or takes the next one.

use crate::rogue::{Ask, Rogue, honest, send, silence, trickle, whole};
use crate::world::{World, noise, runs, update, write};
use elfup::Error;
use elfup::site::Site;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Answer = std::io::Result<()>;

/// A tree whose one large file does not compress, published; sites begin from nothing.
fn large() -> World {
    let world = World::new();
    write(world.path("large/big"), noise(3, 3_000_000));
    write(world.path("large/small"), "small");
    world.publish("r1", "large").unwrap();
    world
}

fn site(world: &World, name: &str, sources: &[&str]) -> Site {
    world.site(name, |c| {
        c.sources = sources.iter().map(|s| (*s).to_owned()).collect();
        c.stall = 1;
    })
}

/// Honest, but the first answer with the large file breaks off far from its beginning.
fn cut_at_first(root: &Path, ask: &Ask, out: &mut TcpStream, cut: &AtomicBool) -> Option<Answer> {
    let bytes = std::fs::read(root.join(&ask.path)).unwrap_or_default();
    if bytes.len() < 2_000_000 || cut.swap(true, Ordering::Relaxed) {
        return None;
    }
    let head = "206 Partial Content\r\nContent-Range: bytes 0-2/3\r\nContent-Length: 3000000\r\n\r\n";
    Some(write!(out, "HTTP/1.1 {head}").and_then(|()| out.write_all(&bytes[..1_500_000])))
}

#[test]
fn whatever_answers_a_range_the_site_gets_on() {
    type Oddity = fn(&Ask, &mut TcpStream, &[u8]) -> Answer;
    let odd: [(&str, Oddity); 10] = [
        ("the whole file", |_, out, all| send(out, "200 OK", all)),
        ("another range", |_, out, all| {
            send(
                out,
                "206 Partial Content\r\nContent-Range: bytes 7-100/3000000",
                &all[7..101],
            )
        }),
        ("no word of which range", |_, out, all| {
            send(out, "206 Partial Content", all)
        }),
        ("several ranges", |_, out, all| {
            send(
                out,
                "206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x",
                all,
            )
        }),
        ("no such range", |_, out, _| {
            send(out, "416 Range Not Satisfiable", b"")
        }),
        ("a wrong total", |ask, out, all| {
            let from = ask.range.unwrap().0;
            send(
                out,
                &format!("206 Partial Content\r\nContent-Range: bytes {from}-9/10"),
                &all[from..],
            )
        }),
        ("more than asked for", |ask, out, all| {
            let from = ask.range.unwrap().0;
            let body = [&all[from..], &[0; 5000]].concat();
            send(
                out,
                &format!("206 Partial Content\r\nContent-Range: bytes {from}-9/*"),
                &body,
            )
        }),
        ("less than asked for", |ask, out, all| {
            let from = ask.range.unwrap().0;
            let to = all.len().min(from + 400_000);
            send(
                out,
                &format!("206 Partial Content\r\nContent-Range: bytes {from}-9/*"),
                &all[from..to],
            )
        }),
        ("a name for the file's compression", |ask, out, all| {
            let from = ask.range.unwrap().0;
            let head =
                format!("206 Partial Content\r\nContent-Range: bytes {from}-9/*\r\nContent-Encoding: zstd");
            send(
                out,
                if ask.path.ends_with(".zst") {
                    &head
                } else {
                    &head[..head.len() - 24]
                },
                &all[from..],
            )
        }),
        ("an error, then the whole", |ask, out, all| match ask.number % 2 {
            0 => send(out, "503 Service Unavailable", b"later"),
            _ => send(out, "200 OK", all),
        }),
    ];
    let world = large();
    for (n, (what, answer)) in odd.into_iter().enumerate() {
        let (root, cut) = (world.repo(), AtomicBool::new(false));
        let server = Rogue::start(move |ask, out| {
            if let Some(done) = cut_at_first(&root, ask, out, &cut) {
                return done;
            }
            match ask.range {
                Some(_) => whole(&root, ask, out)?.map_or(Ok(()), |all| answer(ask, out, &all)),
                None => honest(&root, ask, out, |_| {}),
            }
        });
        let site = site(&world, &format!("site{n}"), &[&server.url]);
        let tried = (0..3).map(|_| update(&site)).find(|r| r.is_ok());
        assert!(tried.is_some(), "{what}: {:?}", update(&site).err());
        assert_eq!(runs(&site), "r1", "{what}");
    }
}

/// A torn part of another file, left by an earlier try, does not make a site fail twice.
#[test]
fn a_body_that_changed_between_tries() {
    let world = large();
    let server = {
        let root = world.repo();
        Rogue::start(move |ask, out| match whole(&root, ask, out)? {
            // Wrong bytes, then silence: the first run ends with a torn part.
            Some(all)
                if ask.is_content() && ask.range.is_some_and(|(from, _)| from == 0) && ask.number < 20 =>
            {
                let head = format!(
                    "HTTP/1.1 206 x\r\nContent-Range: bytes 0-1/2\r\nContent-Length: {}\r\n\r\n",
                    all.len()
                );
                out.write_all(head.as_bytes())?;
                out.write_all(&vec![0; all.len() / 2])
            }
            Some(_) if ask.number < 12 => send(out, "503 x", b""),
            _ => honest(&root, ask, out, |_| {}),
        })
    };
    // Asks until the server is past its bad time; then one more must do.
    let site = site(&world, "site", &[&server.url]);
    while server.asks().len() < 20 {
        if update(&site).is_ok() {
            break;
        }
    }
    update(&site).unwrap();
    assert_eq!(runs(&site), "r1");
}

/// Which requests a bad mirror answers badly.
type Which = fn(&Ask) -> bool;
/// What a bad mirror does to a body.
type Spoil = fn(&Ask, &mut TcpStream, &Path) -> Answer;

const SPOILS: [(&str, Spoil); 4] = [
    ("zeros", |ask, out, root| honest(root, ask, out, |b| b.fill(0))),
    ("half zeros, then closed", |ask, out, root| {
        let Some(all) = whole(root, ask, out)? else {
            return Ok(());
        };
        let (from, to) = ask.range.unwrap_or((0, None));
        let n = to.unwrap_or(all.len()).min(all.len()) - from;
        let status = if ask.range.is_some() { "206 x" } else { "200 OK" };
        write!(
            out,
            "HTTP/1.1 {status}\r\nContent-Range: bytes {from}-9/*\r\nContent-Length: {n}\r\n\r\n"
        )?;
        out.write_all(&vec![0; n / 2])
    }),
    ("half right", |ask, out, root| {
        honest(root, ask, out, |b| {
            let half = b.len() / 2;
            b[half..].fill(0);
        })
    }),
    ("too short", |ask, out, root| {
        honest(root, ask, out, |b| {
            b.fill(1);
            b.truncate(b.len() / 2);
        })
    }),
];

fn bad(root: PathBuf, spoil: Spoil, which: Which) -> Rogue {
    Rogue::start(move |ask, out| {
        if which(ask) {
            spoil(ask, out, &root)
        } else {
            honest(&root, ask, out, |_| {})
        }
    })
}

fn good(world: &World) -> Rogue {
    let root = world.repo();
    Rogue::start(move |ask, out| honest(&root, ask, out, |_| {}))
}

#[test]
fn a_bad_mirror_costs_bytes_and_nothing_else() {
    let (world, _) = World::ready();
    let good = good(&world);
    let kinds: [(&str, Which); 3] = [
        ("content", Ask::is_content),
        ("steps and channel", |a| {
            a.path.starts_with("steps/") || a.path.starts_with("channels/")
        }),
        ("everything", |a| !a.path.contains("root")),
    ];
    let mut n = 0;
    for (spoilt, spoil) in SPOILS {
        for (kind, which) in kinds {
            let one = bad(world.repo(), spoil, which);
            let two = bad(world.repo(), SPOILS[0].1, which);
            for order in [vec![&one, &good], vec![&good, &one], vec![&one, &two, &good]] {
                n += 1;
                let urls: Vec<&str> = order.iter().map(|s| s.url.as_str()).collect();
                let site = site(&world, &format!("site{n}"), &urls);
                let updated =
                    update(&site).unwrap_or_else(|e| panic!("{spoilt}, {kind}, {}: {e}", order.len()));
                assert_eq!(runs(&site), "r2", "{spoilt}, {kind}");
                if kind == "content" && order[0].url != good.url {
                    assert!(
                        updated.account.wasted > 0 || spoilt.contains("closed"),
                        "{spoilt}: {updated:?}"
                    );
                }
            }
            // A source that lied is asked last, so not again for every file.
            assert!(one.asks().len() < 80, "{spoilt}, {kind}: {}", one.asks().len());
        }
    }
}

/// A liar at every run's first place, and an honest mirror that breaks off: the honest bytes add up.
#[test]
fn honest_bytes_add_up_beside_a_liar() {
    let world = large();
    let liar = bad(world.repo(), SPOILS[1].1, Ask::is_content);
    let sent = Arc::new(AtomicBool::new(false));
    let (root, spent) = (world.repo(), Arc::clone(&sent));
    // One short answer with content a run, then nothing more.
    let short = Rogue::start(move |ask, out| {
        if ask.is_content() && spent.swap(true, Ordering::Relaxed) {
            return send(out, "503 x", b"");
        }
        let content = ask.is_content();
        honest(&root, ask, out, |b| {
            b.truncate(if content { 700_000 } else { b.len() })
        })
    });
    let mut site = site(&world, "site", &[&liar.url, &short.url]);
    let mut tries = 0;
    while let Err(e) = update(&site) {
        assert!(matches!(e, Error::Network(_) | Error::OutOfOptions { .. }), "{e}");
        tries += 1;
        assert!(tries < 12, "no end in sight");
        sent.store(false, Ordering::Relaxed);
        site = world.reopen(site);
    }
    assert_eq!(runs(&site), "r1");
    assert!(tries > 2, "{tries}");
}

/// Ways to keep a site waiting for ever.
fn waits(ask: &Ask, out: &mut TcpStream, how: &str, url: &str) -> Answer {
    let page = vec![b'x'; 8192];
    match how {
        "an error page" => {
            write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 8192\r\n\r\n")?;
            trickle(out, &page)
        }
        "a server's error" => {
            write!(out, "HTTP/1.1 500 x\r\nContent-Length: 8192\r\n\r\n")?;
            trickle(out, &page)
        }
        "a redirect's body" => {
            write!(
                out,
                "HTTP/1.1 302 x\r\nLocation: {url}/x{}\r\nContent-Length: 8192\r\n\r\n",
                ask.path
            )?;
            trickle(out, &page)
        }
        "redirects to silence" if !ask.path.starts_with("xxx") => {
            send(out, &format!("302 x\r\nLocation: /x{}", ask.path), b"")
        }
        "redirects without end" => send(out, &format!("302 x\r\nLocation: {url}/{}", ask.path), b""),
        "the status line" => trickle(out, &page),
        "headers" => {
            write!(out, "HTTP/1.1 200 OK\r\nX: ")?;
            trickle(out, &page)
        }
        "a body" => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n")?;
            trickle(out, &page)
        }
        _ => silence(out),
    }
}

const WAITS: [&str; 9] = [
    "an error page",
    "a server's error",
    "a redirect's body",
    "redirects to silence",
    "redirects without end",
    "the status line",
    "headers",
    "a body",
    "silence",
];

#[test]
fn a_mirror_that_trickles_is_left_soon() {
    let world = large();
    let good = good(&world);
    for (n, how) in WAITS.into_iter().enumerate() {
        let address = Arc::new(Mutex::new(String::new()));
        let known = Arc::clone(&address);
        let slow = Rogue::start(move |ask, out| waits(ask, out, how, &known.lock().unwrap().clone()));
        *address.lock().unwrap() = slow.url.clone();
        // Alone it ends the run within a few stalls of a second; a page of 8 KiB would take half an hour.
        let begin = Instant::now();
        let alone = site(&world, &format!("alone{n}"), &[&slow.url]);
        assert!(matches!(update(&alone), Err(Error::Network(_))), "{how}");
        let second = site(&world, &format!("second{n}"), &[&slow.url, &good.url]);
        update(&second).unwrap_or_else(|e| panic!("{how}: {e}"));
        assert!(
            begin.elapsed() < Duration::from_secs(300),
            "{how}: {:?}",
            begin.elapsed()
        );
    }
}

/// One that is silent for content only: not asked again for every file.
#[test]
fn a_mirror_silent_for_every_file_is_given_up() {
    let (world, _) = World::ready();
    let root = world.repo();
    let slow = Rogue::start(move |ask, out| {
        if ask.is_content() {
            silence(out)
        } else {
            honest(&root, ask, out, |_| {})
        }
    });
    let alone = site(&world, "alone", &[&slow.url]);
    assert!(matches!(update(&alone), Err(Error::OutOfOptions { .. })));
    let content = slow.asks().iter().filter(|a| a.is_content()).count();
    assert!(content <= 4, "{content}");
}

#[test]
fn a_stop_ends_every_wait() {
    let world = large();
    // A second, and more on a machine so busy that to begin a process takes long.
    let begin = Instant::now();
    let version = Command::new(env!("CARGO_BIN_EXE_elfup"))
        .arg("--version")
        .output();
    assert!(version.unwrap().status.success());
    let soon = Duration::from_secs(1) + 10 * begin.elapsed();
    for (n, how) in ["silence", "headers", "a body", "redirects to silence"]
        .into_iter()
        .enumerate()
    {
        for content_only in [false, true] {
            let root = world.repo();
            let slow = Rogue::start(move |ask, out| {
                // What a redirect leads to is the same file.
                let content = ask.is_content() || ask.path.starts_with('x');
                if content || !content_only {
                    waits(ask, out, how, "")
                } else {
                    honest(&root, ask, out, |_| {})
                }
            });
            let name = format!("site{n}{content_only}");
            drop(world.site(&name, |c| c.sources = vec![slow.url.clone()]));
            let mut child = Command::new(env!("CARGO_BIN_EXE_elfup"))
                .args(["-q", "site", "--site"])
                .arg(world.path(&name))
                .arg("update")
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            while !slow.asks().iter().any(|a| !content_only || a.is_content()) {
                assert!(child.try_wait().unwrap().is_none(), "{how}: it ended by itself");
                std::thread::sleep(Duration::from_millis(10));
            }
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            let begin = Instant::now();
            let status = child.wait().unwrap();
            assert_eq!(status.code(), Some(130), "{how}");
            assert!(begin.elapsed() < soon, "{how}: {:?}", begin.elapsed());
        }
    }
}
