//! A bar on the terminal.

use elfdelta::{Progress, Stage};
use indicatif::{ProgressBar, ProgressStyle};

/// Of a stage that says how long it is.
const MEASURED: &str = "{msg:<18} {wide_bar} {bytes}/{total_bytes} {elapsed}";
/// The same on a terminal of fewer columns than [`WIDE`], where that would not keep to one line.
const NARROW: &str = "{wide_msg} {bytes}/{total_bytes}";
const WIDE: u16 = 64;
/// Of one that does not, as of none.
const WAITING: &str = "{wide_msg} {spinner} {elapsed}";

/// Shows stages on standard error where that is a terminal.
pub struct Bar(ProgressBar);

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

impl Bar {
    /// Shows nothing yet.
    pub fn new() -> Bar {
        Bar(ProgressBar::new(0).with_style(style(WAITING)))
    }
}

impl Progress for Bar {
    fn stage(&self, stage: Stage, total: u64) {
        // Each of these may draw: what is not known yet is not shown meanwhile.
        self.0.set_style(style(WAITING));
        self.0.set_message(stage.name());
        self.0.set_position(0);
        self.0.set_length(total);
        if total > 0 {
            let wide = console::Term::stderr().size().1 >= WIDE;
            self.0.set_style(style(if wide { MEASURED } else { NARROW }));
        }
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
