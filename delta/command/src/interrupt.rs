//! Signals: what a run would leave behind is removed, and it ends at once, whatever it waits for.

use elfdelta::Error;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// The file that this run writes under a temporary name, while there is one.
static TEMPORARY: Mutex<Option<PathBuf>> = Mutex::new(None);

fn temporary() -> MutexGuard<'static, Option<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has SIGINT, SIGTERM and SIGHUP remove the temporary file and end the process with 1.
///
/// One that was ignored when the run began stays so, as under `nohup`. Where listening fails, the default action
/// ends the process: safe, less tidy.
pub fn listen() {
    let ignored = ignored();
    let heard = [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(|signal| ignored & 1 << (signal - 1) == 0);
    let Ok(mut signals) = Signals::new(heard) else {
        return;
    };
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Locked to the end, so that nothing gets its name any more.
            let temporary = temporary();
            temporary.iter().for_each(|path| drop(fs::remove_file(path)));
            let _ = writeln!(io::stderr(), "elfdelta: {}", Error::Cancelled);
            std::process::exit(1);
        }
    });
}

/// The signals that this process ignores, a bit each.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

/// Makes a temporary file by `make`, which tells its path; it is removed if a signal comes.
pub fn made<T>(make: impl FnOnce() -> io::Result<T>, path: impl FnOnce(&T) -> &Path) -> io::Result<T> {
    let mut temporary = temporary();
    let made = make()?;
    *temporary = Some(path(&made).to_owned());
    Ok(made)
}

/// Gives the temporary file up: `done` renames or removes it.
pub fn given_up<T>(done: impl FnOnce() -> T) -> T {
    let mut temporary = temporary();
    *temporary = None;
    done()
}
