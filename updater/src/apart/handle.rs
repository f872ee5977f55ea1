//! The parent's side of a child: nothing that it sends is believed but for its length.

use super::here::is_input;
use super::wire::{DATA, DONE, FAILED, FRAME, HEAD, HELLO, Job, Kind};
use super::{Patching, Program};
use crate::error::Doing;
use crate::{Error, Result, Watch};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often a waiting parent asks whether it should stop.
const TICK: Duration = Duration::from_millis(50);
/// A job that takes longer than this and a second for every [`SLOW`] bytes of its files hangs. The engine bounds its
/// own work far below, also on a slow machine; this is for a child that was taken over.
const PATIENCE: Duration = Duration::from_secs(60);
const SLOW: u64 = 64 << 10;

/// A running child; ended when dropped.
pub(super) struct Child {
    process: std::process::Child,
    socket: UnixStream,
    /// What it has given up, in its own words before it read anything.
    pub confined: String,
}

/// When to give up, and whom to ask.
struct Waiting<'a> {
    watch: &'a dyn Watch,
    until: Instant,
}

impl Waiting<'_> {
    fn new(watch: &dyn Watch, bytes: u64) -> Waiting<'_> {
        let until = Instant::now() + PATIENCE + Duration::from_secs(bytes / SLOW);
        Waiting { watch, until }
    }

    /// After an error of the socket: `Ok` if it is only time to ask again.
    fn again(&self, e: &io::Error) -> Result<()> {
        self.watch.check()?;
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                if Instant::now() < self.until =>
            {
                Ok(())
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Error::Decode("the child hangs".into())),
            _ => Err(Error::Decode(e.to_string())),
        }
    }
}

impl Child {
    /// Starts a child and waits until it is confined.
    pub fn start(program: &Program, memory: u64, watch: &dyn Watch) -> Result<Child> {
        let fail = |e| Error::io("start a child", e);
        let (socket, theirs) = UnixStream::pair().map_err(fail)?;
        socket.set_read_timeout(Some(TICK)).map_err(fail)?;
        socket.set_write_timeout(Some(TICK)).map_err(fail)?;
        let process = Command::new(&program.path)
            .args(&program.arguments)
            .arg(memory.to_string())
            .env_clear()
            .current_dir("/")
            // A Ctrl-C is for the parent, which says whether it ends the child.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(fail)?;
        let mut child = Child {
            process,
            socket,
            confined: String::new(),
        };
        let waiting = Waiting::new(watch, 0);
        let mut buffer = Vec::new();
        match child.frame(&waiting, &mut buffer)? {
            HELLO => child.confined = String::from_utf8_lossy(&buffer).into_owned(),
            _ => return Err(Error::Decode("it does not begin with a greeting".into())),
        }
        Ok(child)
    }

    /// Applies a patch within `memory`.
    pub fn patch(
        &mut self,
        watch: &dyn Watch,
        patching: &Patching,
        memory: u64,
        sink: &mut dyn Write,
    ) -> Result<()> {
        let scratch = patching.scratch.as_ref();
        let job = Job {
            kind: Kind::Patch,
            file: Some(patching.base.metadata().doing("look at", "a base")?.len()),
            size: patching.size,
            memory,
            scratch: scratch.map(|(_, most)| *most),
            first: patching.patch.len() as u64,
            second: 0,
        };
        let files = [Some(patching.base), scratch.map(|(file, _)| file)];
        let files: Vec<&File> = files.into_iter().flatten().collect();
        self.run(watch, &job, &files, [patching.patch, &[]], sink)
    }

    /// Unpacks a zstd frame in a file.
    pub fn unpack_file(
        &mut self,
        watch: &dyn Watch,
        packed: &File,
        size: u64,
        sink: &mut dyn Write,
    ) -> Result<()> {
        let job = Job {
            kind: Kind::Unpack,
            file: Some(packed.metadata().doing("look at", "a packed file")?.len()),
            size,
            memory: 0,
            scratch: None,
            first: 0,
            second: 0,
        };
        self.run(watch, &job, &[packed], [&[], &[]], sink)
    }

    /// Unpacks a zstd frame with a prefix.
    pub fn unpack(
        &mut self,
        watch: &dyn Watch,
        packed: &[u8],
        prefix: &[u8],
        size: u64,
        sink: &mut dyn Write,
    ) -> Result<()> {
        let job = Job {
            kind: Kind::Unpack,
            file: None,
            size,
            memory: 0,
            scratch: None,
            first: packed.len() as u64,
            second: prefix.len() as u64,
        };
        self.run(watch, &job, &[], [packed, prefix], sink)
    }

    fn run(
        &mut self,
        watch: &dyn Watch,
        job: &Job,
        files: &[&File],
        bytes: [&[u8]; 2],
        sink: &mut dyn Write,
    ) -> Result<()> {
        let bytes_of = [Some(job.size), job.file, job.scratch];
        let bytes_of = bytes_of.into_iter().flatten().fold(0, u64::saturating_add);
        let waiting = Waiting::new(watch, bytes_of);
        self.send(&waiting, job, files)?;
        for part in bytes {
            self.write(&waiting, part)?;
        }
        let mut buffer = Vec::new();
        loop {
            watch.check()?;
            match self.frame(&waiting, &mut buffer)? {
                DATA => sink.write_all(&buffer).map_err(|e| match is_input(&e) {
                    true => Error::Decode(e.to_string()),
                    false => Error::io("write what was rebuilt", e),
                })?,
                DONE => return Ok(()),
                FAILED => return Err(Error::Decode(String::from_utf8_lossy(&buffer).into_owned())),
                _ => return Err(Error::Decode("the child speaks nonsense".into())),
            }
        }
    }

    /// Sends the job and its files.
    fn send(&mut self, waiting: &Waiting, job: &Job, files: &[&File]) -> Result<()> {
        let bytes = job.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let descriptors: Vec<_> = files.iter().map(|f| f.as_fd()).collect();
        let sent = loop {
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(&descriptors));
            }
            match sendmsg(
                &self.socket,
                &[IoSlice::new(&bytes)],
                &mut control,
                SendFlags::NOSIGNAL,
            ) {
                Ok(n) => break n,
                Err(e) => self.asked(waiting, &e.into())?,
            }
        };
        self.write(waiting, &bytes[sent..])
    }

    fn write(&mut self, waiting: &Waiting, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) => self.asked(waiting, &e)?,
            }
        }
        Ok(())
    }

    /// Receives one frame into `buffer`; gives its tag.
    fn frame(&mut self, waiting: &Waiting, buffer: &mut Vec<u8>) -> Result<u8> {
        let mut head = [0; HEAD];
        self.read(waiting, &mut head)?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > FRAME {
            return Err(Error::Decode("the child speaks nonsense".into()));
        }
        buffer.resize(length, 0);
        self.read(waiting, buffer)?;
        Ok(head[0])
    }

    fn read(&mut self, waiting: &Waiting, mut bytes: &mut [u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.socket.read(bytes) {
                Ok(0) => return self.asked(waiting, &ErrorKind::UnexpectedEof.into()),
                Ok(n) => bytes = &mut bytes[n..],
                Err(e) => self.asked(waiting, &e)?,
            }
        }
        Ok(())
    }

    /// As [`Waiting::again`]; of a child that went away, says how.
    fn asked(&mut self, waiting: &Waiting, e: &io::Error) -> Result<()> {
        let gone = [
            ErrorKind::UnexpectedEof,
            ErrorKind::BrokenPipe,
            ErrorKind::ConnectionReset,
        ];
        if !gone.contains(&e.kind()) {
            return waiting.again(e);
        }
        waiting.watch.check()?;
        // It closed its end; whatever it does now, it is done.
        let _ = self.process.kill();
        Err(Error::Decode(match self.process.wait() {
            Ok(status) => match status.signal() {
                Some(signal) => format!("the child was ended by signal {signal}"),
                None => format!("the child ended with {status}"),
            },
            Err(e) => e.to_string(),
        }))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
