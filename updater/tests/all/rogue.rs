//! A web server on loopback whose every answer a test makes; ends with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// As in the request line, without a leading slash.
    pub path: String,
    /// First byte, and the one after the last if that is given.
    pub range: Option<(usize, Option<usize>)>,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// How many requests came before it.
    pub number: usize,
}

impl Ask {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, v)| v.as_str())
    }
    /// Whether content is asked for, no metadata.
    pub fn is_content(&self) -> bool {
        self.path.starts_with("packs/") || self.path.starts_with("blobs/")
    }
    fn read(input: &mut dyn BufRead, number: usize) -> std::io::Result<Ask> {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default();
        let mut ask = Ask {
            path: path.trim_start_matches('/').to_owned(),
            range: None,
            headers: Vec::new(),
            number,
        };
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                ask.headers
                    .push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let range = ask
            .header("range")
            .and_then(|v| v.strip_prefix("bytes=")?.split_once('-'));
        ask.range = range.map(|(a, b)| (a.parse().unwrap(), b.parse::<usize>().ok().map(|b| b + 1)));
        Ok(ask)
    }
}

pub struct Rogue {
    pub url: String,
    asks: Arc<Mutex<Vec<Ask>>>,
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Rogue {
    /// Every connection has one request, in a thread of its own.
    pub fn start(
        answer: impl Fn(&Ask, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Rogue {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, asks) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (s, all, answer) = (stop.clone(), Arc::clone(&asks), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                if s.load(Ordering::Relaxed) {
                    return;
                }
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut input = BufReader::new(connection.try_clone().unwrap());
                    let number = all.lock().unwrap().len();
                    let Ok(ask) = Ask::read(&mut input, number) else {
                        return;
                    };
                    if ask.path.is_empty() {
                        return;
                    }
                    all.lock().unwrap().push(ask.clone());
                    let _ = answer(&ask, &mut connection);
                    let _ = connection.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        let thread = Some(thread);
        Rogue {
            url: format!("http://{address}"),
            asks,
            stop,
            address,
            thread,
        }
    }

    /// All requests so far.
    pub fn asks(&self) -> Vec<Ask> {
        self.asks.lock().unwrap().clone()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(|t| t.join());
    }
}

/// Sends an answer of one piece.
pub fn send(out: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        out,
        "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    out.write_all(body)
}

/// The whole file that is asked for, or an answer that there is none.
pub fn whole(root: &Path, ask: &Ask, out: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(root.join(&ask.path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => send(out, "404 Not Found", b"").map(|()| None),
    }
}

/// Answers as one should, after `change` had the bytes of the body.
pub fn honest(
    root: &Path,
    ask: &Ask,
    out: &mut TcpStream,
    change: impl Fn(&mut Vec<u8>),
) -> std::io::Result<()> {
    let Some(bytes) = whole(root, ask, out)? else {
        return Ok(());
    };
    let Some((from, to)) = ask.range else {
        let mut body = bytes;
        change(&mut body);
        return send(out, "200 OK", &body);
    };
    let to = to.unwrap_or(bytes.len()).min(bytes.len());
    let mut body = bytes[from..to].to_vec();
    change(&mut body);
    let head = format!(
        "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
        to - 1,
        bytes.len()
    );
    send(out, &head, &body)
}

/// Sends a text a byte at a time, far below every least rate, until nobody listens.
pub fn trickle(out: &mut TcpStream, text: &[u8]) -> std::io::Result<()> {
    for byte in text {
        out.write_all(std::slice::from_ref(byte))?;
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Says nothing until the other side is gone.
pub fn silence(out: &mut TcpStream) -> std::io::Result<()> {
    while out.read(&mut [0; 64])? > 0 {}
    Ok(())
}
