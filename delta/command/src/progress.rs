//! What is said of a long call: a bar on the terminal, or a line for each stage.

use crate::log::Voice;
use elfdelta::{Progress, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{sync::Mutex, time::Instant};

/// Of a stage that says how long it is.
const MEASURED: &str = "{msg:<18} {wide_bar} {bytes}/{total_bytes} {elapsed}";
/// The same on a terminal of fewer columns than [`WIDE`], where that would not keep to one line.
const NARROW: &str = "{wide_msg} {bytes}/{total_bytes}";
const WIDE: u16 = 64;
/// Of one that does not, as of none.
const WAITING: &str = "{wide_msg} {spinner} {elapsed}";

/// Shows stages on standard error: as a bar where that is a terminal, as lines where these are asked for.
pub struct Bar {
    bar: ProgressBar,
    at: Mutex<Option<(Stage, Instant)>>,
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

impl Bar {
    /// Shows nothing yet.
    pub fn new(voice: Voice) -> Bar {
        let target = match voice {
            Voice::Bar => ProgressDrawTarget::stderr(),
            Voice::Quiet | Voice::Lines => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target).with_style(style(WAITING));
        Bar {
            bar,
            at: Mutex::new(None),
        }
    }

    /// Tells the end of the stage before and the start of the next.
    fn pass(&self, next: Option<Stage>) {
        let mut at = self.at.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((stage, began)) = at.take() {
            tracing::info!(
                milliseconds = began.elapsed().as_millis() as u64,
                "{}",
                stage.name()
            );
        }
        *at = next.map(|stage| (stage, Instant::now()));
    }
}

impl Progress for Bar {
    fn stage(&self, stage: Stage, total: u64) {
        self.pass(Some(stage));
        tracing::debug!(bytes = total, "{} begins", stage.name());
        // Each of these may draw: what is not known yet is not shown meanwhile.
        self.bar.set_style(style(WAITING));
        self.bar.set_message(stage.name());
        self.bar.set_position(0);
        self.bar.set_length(total);
        if total > 0 {
            let wide = console::Term::stderr().size().1 >= WIDE;
            self.bar.set_style(style(if wide { MEASURED } else { NARROW }));
        }
    }
    fn at(&self, done: u64) {
        tracing::trace!(done);
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.pass(None);
        self.bar.finish_and_clear();
    }
}
