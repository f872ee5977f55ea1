//! The wish of a user to stop: what runs in a group of processes of its own is ended at once.

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, Output},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Leaders of the groups that run.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// What happens after the running groups were ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The program ends as well: nothing of it is left behind.
    Exit,
    /// The program finds out through [`go_on`] and takes away what it made.
    Return,
}

/// Takes signals in hand.
pub fn install(then: Then) -> Result<(), String> {
    let act = move || {
        INTERRUPTED.store(true, Ordering::SeqCst);
        running().iter().for_each(|leader| end(*leader));
        if then == Then::Exit {
            eprintln!("bench: interrupted");
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(act).map_err(crate::text)
}

/// Fails once the user wants no more.
pub fn go_on() -> Result<(), String> {
    match INTERRUPTED.load(Ordering::SeqCst) {
        true => Err("interrupted".into()),
        false => Ok(()),
    }
}

/// Runs a command in a group of its own to its end, or to the interruption.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let child: Child = command.process_group(0).spawn()?;
    let leader = child.id();
    running().push(leader);
    // Between the start and the entry in the list, a signal found nothing to end.
    if go_on().is_err() {
        end(leader);
    }
    let output = child.wait_with_output();
    running().retain(|other| *other != leader);
    output
}

fn running() -> std::sync::MutexGuard<'static, Vec<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}
