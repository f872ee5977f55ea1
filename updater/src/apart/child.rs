//! The child's side: confined before it reads a byte, then one job after another until the socket closes.

use super::Sandbox;
use super::confine::confine;
use super::here;
use super::scratch::Lent;
use super::wire::{DATA, DONE, FAILED, FRAME, HELLO, JOB, Job, Kind, head};
use crate::{Error, Quiet, Result};
use elfdelta::ReadAt;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::File;
use std::io::{self, BufWriter, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Gives up what `sandbox` says, then does the jobs that come over standard input, a socket. `memory` bounds each.
///
/// Returns when the parent closes its end.
pub fn serve(sandbox: Sandbox, memory: u64) -> Result<()> {
    let fail = |e: io::Error| Error::io("serve jobs", e);
    let socket = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(fail)?);
    let confined = confine(sandbox, memory)?;
    frame(&socket, HELLO, confined.to_string().as_bytes()).map_err(fail)?;
    while let Some((job, files)) = next(&socket).map_err(fail)? {
        let done = job_bytes(&socket, &job).and_then(|bytes| run(&socket, &job, files, &bytes));
        match done {
            Ok(()) => frame(&socket, DONE, &[]),
            Err(e) => {
                let text = e.to_string();
                frame(&socket, FAILED, &text.as_bytes()[..text.len().min(FRAME)])
            }
        }
        .map_err(fail)?;
    }
    Ok(())
}

/// Receives a job and the files that come along.
fn next(socket: &File) -> io::Result<Option<(Job, Vec<OwnedFd>)>> {
    let mut bytes = [0; JOB];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut iov = [IoSliceMut::new(&mut bytes)];
    let n = loop {
        match recvmsg(socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            // The parent went away with something unread.
            Err(rustix::io::Errno::CONNRESET) => break 0,
            other => break other?.bytes,
        }
    };
    if n == 0 {
        return Ok(None);
    }
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            files.extend(fds);
        }
    }
    let mut socket = socket;
    socket.read_exact(&mut bytes[n..])?;
    let job = Job::decode(&bytes).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((job, files)))
}

fn job_bytes(socket: &File, job: &Job) -> Result<[Vec<u8>; 2]> {
    let take = |n: u64| -> io::Result<Vec<u8>> {
        let n = usize::try_from(n).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(n)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        if socket.take(n as u64).read_to_end(&mut bytes)? != n {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    };
    let fail = |e| Error::io("receive a job", e);
    Ok([take(job.first).map_err(fail)?, take(job.second).map_err(fail)?])
}

fn run(socket: &File, job: &Job, files: Vec<OwnedFd>, [first, second]: &[Vec<u8>; 2]) -> Result<()> {
    let mut sink = BufWriter::with_capacity(FRAME, Frames(socket));
    let mut files = files.into_iter().map(File::from);
    let file = files.next().zip(job.file);
    let scratch = files.next().zip(job.scratch);
    match (job.kind, file) {
        (Kind::Patch, Some((file, len))) => {
            let base = Base { file, len };
            let scratch = scratch.map(|(file, most)| Lent::new(file, most));
            let within = here::Within {
                size: job.size,
                memory: job.memory,
                scratch: scratch.as_ref(),
            };
            here::patch(&Quiet, first, &base, &within, &mut sink)?;
        }
        (Kind::Patch, None) => return Err(Error::Decode("no base".into())),
        (Kind::Unpack, Some((file, _))) => here::unpack(&Quiet, file, &[], job.size, &mut sink)?,
        (Kind::Unpack, None) => here::unpack(&Quiet, &first[..], second, job.size, &mut sink)?,
    }
    sink.flush().map_err(|e| Error::io("send", e))
}

/// The base, whose length the parent has told: asking for it is not among the calls that are left.
struct Base {
    file: File,
    len: u64,
}

impl ReadAt for Base {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

/// Sends what is written as frames.
struct Frames<'a>(&'a File);

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(FRAME);
        frame(self.0, DATA, &bytes[..n])?;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn frame(mut socket: &File, tag: u8, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(&head(tag, bytes.len()))?;
    socket.write_all(bytes)
}
