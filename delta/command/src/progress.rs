//! A bar on the terminal.

use elfdelta::{Progress, Stage};
use indicatif::{ProgressBar, ProgressStyle};

/// Shows stages on standard error where that is a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// Shows nothing yet.
    pub fn new() -> Bar {
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
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
