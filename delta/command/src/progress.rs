//! A bar on the terminal, and interruption by signals.

use elfdelta::{Progress, Stage};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Shows stages on standard error where that is a terminal; ends the call when a signal asks for it.
pub struct Bar(ProgressBar);

impl Bar {
    /// Starts listening to SIGINT, SIGTERM and SIGHUP: the first asks the engine to stop, so that temporary
    /// files are removed; the second ends the process at once.
    pub fn new() -> Bar {
        let handler = || {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(1);
            }
        };
        // A handler that cannot be set leaves the default action, which ends the process: safe, less tidy.
        let _ = ctrlc::set_handler(handler);
        let style = ProgressStyle::with_template("{msg:<12} {bar:32} {bytes}/{total_bytes} {elapsed}");
        let bar = ProgressBar::new(0).with_style(style.expect("the template is well-formed"));
        Bar(bar)
    }
}

impl Progress for Bar {
    fn stage(&self, stage: Stage, total: u64) {
        self.0.set_message(stage.name());
        self.0.set_position(0);
        self.0.set_length(total);
    }
    fn at(&self, done: u64) {
        self.0.set_position(done);
    }
    fn cancelled(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
