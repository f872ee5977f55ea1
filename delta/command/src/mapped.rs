//! The old file mapped into memory: the one file with `unsafe`.
#![allow(unsafe_code)]

use elfdelta::ReadAt;
use memmap2::Mmap;
use signal_hook::{consts::SIGBUS, low_level};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

/// What is said where a page of the mapping cannot be had.
const GONE: &[u8] =
    b"elfdelta: the old file became shorter or unreadable while it was read; nothing was replaced\n";

/// A file that is read through a mapping, or by position where it cannot be mapped.
pub struct Mapped {
    file: File,
    map: Option<Mmap>,
}

impl Mapped {
    /// Maps what is at least one byte and a regular file.
    pub fn new(file: File) -> io::Result<Mapped> {
        let about = file.metadata()?;
        let mut map = None;
        if about.is_file() && about.len() > 0 {
            leave_on_lost_pages()?;
            // SAFETY: nobody but another process can change what is mapped. The engine takes any bytes: changed
            // ones end in another digest, missing pages in SIGBUS, which `leave_on_lost_pages` hears.
            map = unsafe { Mmap::map(&file) }.ok();
        }
        Ok(Mapped { file, map })
    }
}

impl ReadAt for Mapped {
    fn size(&self) -> io::Result<u64> {
        match &self.map {
            Some(map) => Ok(map.len() as u64),
            None => self.file.size(),
        }
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buf)
    }
    fn in_memory(&self) -> Option<&[u8]> {
        self.map.as_deref()
    }
}

/// Has the process say what happened and leave with 1 where a mapped page has no bytes behind it any more.
fn leave_on_lost_pages() -> io::Result<()> {
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let leave = move || {
        let _ = (&stderr).write(GONE);
        low_level::exit(1);
    };
    // SAFETY: the action makes two system calls, write and _exit, and takes no lock.
    unsafe { low_level::register(SIGBUS, leave) }.map(drop)
}
