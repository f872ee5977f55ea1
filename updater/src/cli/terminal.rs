//! Notes and progress on a terminal, and the wish to stop from SIGINT and SIGTERM.

use super::say::{WRITING, tell};
use elfup::{Error, Result, Watch};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Standard error as a watch.
pub struct Terminal {
    stop: Arc<AtomicBool>,
    quiet: bool,
    bar: Option<ProgressBar>,
    stage: Mutex<String>,
}

impl Terminal {
    /// Registers the signals; a second one ends the process at once. Beside the lines of a log there is no bar.
    pub fn new(quiet: bool, log: bool) -> Result<Terminal> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let handle = |e| Error::io("handle signals", e);
            signal_hook::flag::register_conditional_default(signal, WRITING.clone()).map_err(handle)?;
            signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone()).map_err(handle)?;
            signal_hook::flag::register(signal, stop.clone()).map_err(handle)?;
        }
        let bar = (!quiet && !log && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{msg:10} {wide_bar} {pos}/{len} {eta}");
            let bar = ProgressBar::no_length();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let stage = Mutex::default();
        Ok(Terminal {
            stop,
            quiet,
            bar,
            stage,
        })
    }

    /// Removes the progress bar.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Terminal {
    fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if !self.quiet => tell!("{line}"),
            None => {}
        }
    }
    fn detail(&self, line: &str) {
        tracing::info!("{line}");
    }
    fn progress(&self, stage: &str, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        if let Ok(mut last) = self.stage.lock()
            && *last != stage
        {
            *last = stage.to_owned();
            bar.reset();
            bar.set_message(stage.to_owned());
        }
        bar.set_length(total);
        bar.set_position(done);
    }
    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
