//! A small web server on loopback with ranges and faults; ends with the test.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What the server does wrong.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// Breaks the connection once it has sent so many content bytes in all.
    CutAfter(u64),
    /// Sends zeros for ever instead of any file whose path contains `timestamp`.
    Endless,
    /// One byte every 100 ms.
    Trickle,
    /// Answers ranges with the whole file.
    NoRanges,
}

pub struct Server {
    pub url: String,
    pub sent: Arc<AtomicU64>,
    pub requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    address: std::net::SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(root: &Path, fault: Fault) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, sent, requests) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let (s, n, r, root) = (
            stop.clone(),
            Arc::clone(&sent),
            Arc::clone(&requests),
            root.to_owned(),
        );
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if s.load(Ordering::Relaxed) {
                    return;
                }
                let (s, n, r, root) = (s.clone(), Arc::clone(&n), Arc::clone(&r), root.clone());
                std::thread::spawn(move || drop(serve(connection, &root, fault, &s, &n, &r)));
            }
        });
        Server {
            url: format!("http://{address}"),
            sent,
            requests,
            stop,
            address,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(|t| t.join());
    }
}

fn serve(
    mut out: TcpStream,
    root: &Path,
    fault: Fault,
    stop: &AtomicBool,
    sent: &AtomicU64,
    requests: &AtomicU64,
) -> std::io::Result<()> {
    let mut input = BufReader::new(out.try_clone()?);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let path = line
            .split(' ')
            .nth(1)
            .unwrap_or("/")
            .trim_start_matches('/')
            .to_owned();
        let (mut from, mut to) = (0u64, None);
        loop {
            let mut header = String::new();
            input.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            let lower = header.to_ascii_lowercase();
            if let Some(range) = lower
                .strip_prefix("range: bytes=")
                .filter(|_| fault != Fault::NoRanges)
            {
                let (a, b) = range.trim().split_once('-').unwrap();
                from = a.parse().unwrap();
                to = b.parse::<u64>().ok().map(|b| b + 1);
            }
        }
        requests.fetch_add(1, Ordering::Relaxed);
        if fault == Fault::Endless && path.contains("timestamp") {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")?;
            loop {
                out.write_all(&[b'0'; 4096])?;
            }
        }
        let full: PathBuf = root.join(&path);
        let Ok(mut file) = std::fs::File::open(&full) else {
            write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let size = file.metadata()?.len();
        let to = to.unwrap_or(size).min(size);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        file.read_exact(&mut bytes)?;
        let head = if from > 0 || to < size {
            format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}",
                to - 1
            )
        } else {
            "200 OK".into()
        };
        write!(out, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
        for part in bytes.chunks(if fault == Fault::Trickle { 1 } else { 1000 }) {
            if let Fault::CutAfter(limit) = fault
                && sent.load(Ordering::Relaxed) >= limit
            {
                return Ok(());
            }
            if fault == Fault::Trickle {
                std::thread::sleep(Duration::from_millis(100));
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            out.write_all(part)?;
            sent.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
    }
}
