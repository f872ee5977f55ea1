//! One request in a thread of its own: whoever waits for it can stop waiting at any moment.

use super::Patience;
use crate::{Error, Result, Watch};
use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// What the thread tells, in order: a head, parts of the body, the end; or why there is no more.
pub enum Message {
    /// The answer has begun.
    Head(Head),
    /// Bytes of its body.
    Body(Vec<u8>),
    /// The body is over.
    End,
    /// The transfer failed.
    Failed(Failure),
}

/// Why a transfer failed.
pub struct Failure {
    /// For people.
    pub why: String,
    /// Whether it is that nothing came in time.
    pub silent: bool,
}

impl From<&str> for Failure {
    fn from(why: &str) -> Failure {
        let why = why.to_owned();
        Failure { why, silent: false }
    }
}

impl From<ureq::Error> for Failure {
    fn from(e: ureq::Error) -> Failure {
        let silent = matches!(e, ureq::Error::Timeout(_));
        let mut why = if silent {
            "it says nothing".into()
        } else {
            e.to_string()
        };
        if why.contains("certificate") {
            why.push_str("; --ca names other authorities than the system's");
        }
        Failure { why, silent }
    }
}

/// The part of an answer's head that counts.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Where the body begins in the file, if the answer says so.
    pub start: Option<u64>,
    /// How the body was encoded on the way.
    pub encoding: Option<String>,
    /// What it says of its own link, bytes per second and seconds of wait, if it is a box.
    pub link: Option<(f64, f64)>,
}

/// Bytes received are handed over in parts of this size, and few parts wait: memory stays small.
const PART: usize = 16 << 10;
const WAITING: usize = 4;
/// How often a wait looks whether it should end.
const TICK: Duration = Duration::from_millis(50);

/// Receives what a thread transfers, within limits that hold for the request as a whole.
pub struct Inbox<'a> {
    receiver: Receiver<Message>,
    watch: &'a dyn Watch,
    patience: Patience,
    begin: Instant,
    /// The request ends here whatever comes.
    end: Instant,
    bytes: u64,
}

/// Why a wait ended without a message.
pub enum Ended {
    /// The source is slower than the limits allow, or says nothing.
    TooSlow(&'static str),
    /// Stop.
    Cancelled,
}

impl<'a> Inbox<'a> {
    /// Starts a thread that sends what `job` transfers until nobody listens any more.
    pub fn start(
        patience: Patience,
        total: Duration,
        watch: &'a dyn Watch,
        job: impl FnOnce(&SyncSender<Message>) + Send + 'static,
    ) -> Result<Inbox<'a>> {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("transfer".into());
        let begin = Instant::now();
        thread
            .spawn(move || job(&sender))
            .map_err(|e| Error::io("start a transfer", e))?;
        Ok(Inbox {
            receiver,
            watch,
            patience,
            begin,
            end: begin + total,
            bytes: 0,
        })
    }

    /// The next message, as soon as it is there.
    pub fn next(&mut self) -> std::result::Result<Message, Ended> {
        let asked = Instant::now();
        loop {
            if self.watch.cancelled() {
                return Err(Ended::Cancelled);
            }
            let now = Instant::now();
            if now > self.end {
                return Err(Ended::TooSlow("too slow"));
            }
            if now - asked > self.patience.stall {
                return Err(Ended::TooSlow("it says nothing"));
            }
            match self.receiver.recv_timeout(TICK) {
                Ok(Message::Body(bytes)) => {
                    self.bytes += bytes.len() as u64;
                    let elapsed = self.begin.elapsed();
                    let due = self.patience.least as f64 * elapsed.as_secs_f64();
                    if elapsed > self.patience.stall && (self.bytes as f64) < due {
                        return Err(Ended::TooSlow("too slow"));
                    }
                    return Ok(Message::Body(bytes));
                }
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Message::Failed("it broke off".into())),
            }
        }
    }

    /// Waits a little for the end of a body of which everything wanted is there: then the connection is used again.
    pub fn finish(self) {
        let _ = self.receiver.recv_timeout(TICK);
    }
}

/// Sends a body part by part; ends when nobody listens.
pub fn pump(body: &mut dyn Read, sender: &SyncSender<Message>) {
    loop {
        let mut part = vec![0; PART];
        let message = match body.read(&mut part) {
            Ok(0) => Message::End,
            Ok(n) => {
                part.truncate(n);
                Message::Body(part)
            }
            Err(e) => Message::Failed(ureq::Error::from(e).into()),
        };
        let last = !matches!(message, Message::Body(_));
        if sender.send(message).is_err() || last {
            return;
        }
    }
}
