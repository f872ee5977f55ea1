//! What a command says. A reader that is gone, or a full disk behind it, ends no work: it is told at the end.

use elfup::{Error, Result};
use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Set while a line is written: the reader may not take it, and then a signal is to end the process by itself.
pub static WRITING: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// Why results could not be written.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

fn write(mut to: impl Write, line: Arguments) -> io::Result<()> {
    WRITING.store(true, Ordering::SeqCst);
    let written = to.write_fmt(line).and_then(|()| to.write_all(b"\n"));
    WRITING.store(false, Ordering::SeqCst);
    written
}

/// Standard error, for whole lines of the log.
pub struct Noted;

impl Write for Noted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        WRITING.store(true, Ordering::SeqCst);
        let written = io::stderr().lock().write_all(bytes);
        WRITING.store(false, Ordering::SeqCst);
        written
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line of results, for standard output; after one that failed there are no more.
pub fn result(line: Arguments) {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        *failed = write(io::stdout().lock(), line).err();
    }
}

/// A line for standard error.
pub fn note(line: Arguments) {
    // There is nowhere else to tell it.
    let _ = write(io::stderr().lock(), line);
}

/// Fails if results were lost.
pub fn all_said() -> Result<()> {
    let failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner).take();
    failed.map_or(Ok(()), |e| Err(Error::io("write the result", e)))
}

/// Says a line of results, formatted as by `println`.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::say::result(format_args!($($text)*)) };
}

/// Says a line for people, formatted as by `eprintln`.
macro_rules! tell {
    ($($text:tt)*) => { $crate::cli::say::note(format_args!($($text)*)) };
}

pub(super) use {say, tell};
