//! The log: what the library does, as lines on standard error, where `-v` or a variable asks for it.

use super::say::{Noted, tell};
use std::env;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The variable that asks for lines where `-v` does not.
const VARIABLE: &str = "ELFUP_LOG";
/// Whose events these are. Those of libraries below may hold what is secret, such as a signed address.
const OURS: &str = "elfup";

/// Starts the log if one is asked for, and says whether it was. What the variable says wrongly is told and left.
pub fn start(quiet: bool, verbose: u8) -> bool {
    let level = |level| Some(Targets::new().with_target(OURS, level));
    let wanted = match (quiet, verbose) {
        (true, _) => None,
        (_, 0) => env::var(VARIABLE)
            .ok()
            .filter(|v| !v.is_empty())
            .and_then(|v| asked(&v)),
        (_, 1) => level(LevelFilter::INFO),
        (_, 2) => level(LevelFilter::DEBUG),
        (_, _) => level(LevelFilter::TRACE),
    };
    let Some(wanted) = wanted else { return false };
    let lines = fmt::layer()
        .with_writer(|| Noted)
        .with_ansi(console::colors_enabled_stderr())
        .log_internal_errors(false);
    tracing_subscriber::registry().with(wanted).with(lines).init();
    true
}

fn asked(text: &str) -> Option<Targets> {
    let found = filter(text);
    if found.is_none() {
        tell!(
            "elfup: {VARIABLE}={text} is not understood: give a level, such as debug, or parts, such as elfup::source=trace"
        );
    }
    found
}

/// A level for everything, or levels for parts of elfup, as `info,elfup::source=debug`.
fn filter(text: &str) -> Option<Targets> {
    let asked: Targets = text.parse().ok()?;
    let mut wanted = Targets::new();
    if let Some(level) = asked.default_level() {
        wanted = wanted.with_target(OURS, level);
    }
    for (part, level) in asked.iter() {
        let rest = part.strip_prefix(OURS)?;
        if !rest.is_empty() && !rest.starts_with("::") {
            return None;
        }
        wanted = wanted.with_target(part, level);
    }
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_filter_names_levels_and_our_own_parts() {
        let would = |text: &str, part: &str, level: Level| filter(text).unwrap().would_enable(part, &level);
        assert!(would("debug", "elfup::source::many", Level::DEBUG));
        assert!(!would("debug", "elfup::source::many", Level::TRACE));
        assert!(!would("trace", "hyper", Level::ERROR));
        let mixed = "warn,elfup::source=trace";
        assert!(would(mixed, "elfup::source::http", Level::TRACE));
        assert!(!would(mixed, "elfup::site::plan", Level::INFO));
        for wrong in [
            "loud",
            "hyper=debug",
            "elfupper=debug",
            "elfup=loud",
            "info,hyper",
        ] {
            assert!(filter(wrong).is_none(), "{wrong}");
        }
    }
}
