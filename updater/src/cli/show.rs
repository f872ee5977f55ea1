//! Figures for people and for scripts.

use super::say::say;
use elfup::site::Plan;
use elfup::{Error, Result};

/// Prints a value as JSON.
pub fn json(value: &impl serde::Serialize) -> Result<u8> {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
    say!("{text}");
    Ok(0)
}

/// `1.4 kB`.
pub fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

/// `250 ms`, `3.2 s`, `4.0 min`, `2.5 h`.
pub fn seconds(s: f64) -> String {
    match s {
        ..0.9995 => format!("{:.0} ms", s * 1e3),
        ..120.0 => format!("{s:.1} s"),
        ..7200.0 => format!("{:.1} min", s / 60.0),
        _ => format!("{:.1} h", s / 3600.0),
    }
}

/// The plan, with every option of every file if `explain`. `budget`: bytes that may come a day.
pub fn plan(plan: &Plan, budget: Option<u64>, explain: bool) {
    let r = &plan.rates;
    let days = budget.map_or(0, |n| plan.bytes.div_ceil(n.max(1)));
    say!(
        "to {}: {} in {} requests, about {}{} on this link; {} of room, {} written",
        plan.release,
        bytes(plan.bytes),
        plan.requests,
        seconds(plan.seconds),
        match days {
            ..=1 => String::new(),
            days => format!(" in {days} days of {}", bytes(budget.unwrap_or(0))),
        },
        bytes(plan.scratch),
        bytes(plan.written),
    );
    say!(
        "{} files missing, {} present (whole files: {}); by {}/s, {} per request, {:.2} times the farm's apply time{}",
        plan.items.len(),
        plan.present,
        bytes(plan.whole),
        bytes(r.bandwidth as u64),
        seconds(r.rtt),
        r.speed,
        if plan.pack {
            "; the pack in one go beats single choices"
        } else {
            ""
        },
    );
    if let Some(first) = &plan.first {
        say!(
            "before it {} files of {}, which others are told from: {} of that, about {}",
            first.files,
            first.release,
            bytes(first.bytes),
            seconds(first.seconds),
        );
    }
    if explain {
        items(plan);
    }
}

/// Every option of every file.
pub fn items(plan: &Plan) {
    for item in &plan.items {
        say!("\n{} ({})", item.path, bytes(item.size));
        for (i, c) in item.options.iter().enumerate() {
            let mark = if i == 0 && c.infeasible.is_none() {
                '*'
            } else {
                ' '
            };
            let u = &c.uses;
            let why = c
                .infeasible
                .as_deref()
                .map_or(String::new(), |w| format!("  impossible: {w}"));
            say!(
                "  {mark} {:>9}  {:>10}  {} requests, apply {}, memory {}, disk {}  {}{why}",
                seconds(c.seconds),
                bytes(u.bytes),
                u.requests,
                seconds(u.apply),
                bytes(u.memory),
                bytes(u.scratch),
                c.what,
            );
        }
    }
}
