//! How much is said beside the result: nothing, a bar on a terminal, or a line for each stage.

use std::{
    env,
    io::{self, Write},
};
use tracing_subscriber::{filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The variable that asks for lines where `-v` does not.
const VARIABLE: &str = "ELFDELTA_LOG";

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Errors alone.
    Quiet,
    /// A bar on a terminal, and the summary.
    Bar,
    /// Lines on standard error, and the summary.
    Lines,
}

impl Voice {
    /// By the flags, or else the variable; what the variable says wrongly is told and left.
    pub fn of(quiet: bool, verbose: u8) -> Voice {
        let wanted = match (quiet, verbose) {
            (true, _) => return Voice::Quiet,
            (_, 0) => env::var(VARIABLE).unwrap_or_default(),
            (_, 1) => "info".into(),
            (_, 2) => "debug".into(),
            (_, _) => "trace".into(),
        };
        if wanted.is_empty() {
            return Voice::Bar;
        }
        let Ok(level) = wanted.parse::<LevelFilter>() else {
            let levels = "error, warn, info, debug or trace";
            let _ = writeln!(
                io::stderr(),
                "elfdelta: {VARIABLE}={wanted} is not understood: give {levels}"
            );
            return Voice::Bar;
        };
        let lines = fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(console::colors_enabled_stderr())
            .with_target(false)
            .log_internal_errors(false);
        tracing_subscriber::registry().with(level).with(lines).init();
        Voice::Lines
    }
}
