//! A relay that holds every byte for half a round trip, as this kernel's network emulator is not always there.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Chunks that may be under way in one direction: with [`CHUNK`], well above what the link holds in a round trip.
const UNDER_WAY: usize = 64;
/// Bytes read at once.
const CHUNK: usize = 4 << 10;

/// The delay of all relays of a link; it can be changed while they run.
#[derive(Clone, Default)]
pub struct Delay(Arc<AtomicU64>);

impl Delay {
    /// Sets the round trip.
    pub fn set(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.0.store(micros, Ordering::Relaxed);
    }

    fn round_trip(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// A listener whose connections are passed on, each byte half a round trip late; ends when dropped.
pub struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on `address` (port 0: any) and passes on to `server`.
    pub fn start(address: SocketAddr, server: SocketAddr, delay: Delay) -> io::Result<Relay> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let accepting = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let delay = delay.clone();
                // A connection that breaks is the client's to notice.
                thread::spawn(move || drop(connection(client, server, &delay)));
            }
        });
        Ok(Relay {
            address,
            stop,
            accepting: Some(accepting),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

fn connection(client: TcpStream, server: SocketAddr, delay: &Delay) -> io::Result<()> {
    // The handshake on the veth pair takes no time: it is paid here.
    thread::sleep(delay.round_trip());
    let server = TcpStream::connect(server)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let there = direction(client.try_clone()?, server.try_clone()?, delay);
    let back = direction(server, client, delay);
    for thread in there.into_iter().chain(back) {
        let _ = thread.join();
    }
    Ok(())
}

/// Two threads: one reads and notes when, one writes when the time has come.
fn direction(from: TcpStream, to: TcpStream, delay: &Delay) -> [JoinHandle<()>; 2] {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    let delay = delay.clone();
    [
        thread::spawn(move || read(from, &sender)),
        thread::spawn(move || write(to, &receiver, &delay)),
    ]
}

fn read(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now(), buffer[..n].to_vec())).is_err() {
            break;
        }
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>, delay: &Delay) {
    for (read, bytes) in receiver {
        thread::sleep((delay.round_trip() / 2).saturating_sub(read.elapsed()));
        if to.write_all(&bytes).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_whole_and_late() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let mut stream = server.accept().unwrap().0;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        let delay = Delay::default();
        delay.set(Duration::from_millis(200));
        let relay = Relay::start("127.0.0.1:0".parse().unwrap(), address, delay).unwrap();
        let begin = Instant::now();
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        let sent: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        echo.join().unwrap();
        assert!(got == sent);
        // One round trip for the handshake, one for the bytes; how much later depends on the machine.
        assert!(begin.elapsed() >= Duration::from_millis(400));
    }
}
