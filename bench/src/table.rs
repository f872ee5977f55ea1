//! The rows of one case as a markdown table.

use crate::run::{CaseResult, Outcome};
use std::fmt::Write;

/// A heading, one row an engine, and the reasons of those that did not run.
pub fn case(result: &CaseResult) -> String {
    let mut text = String::new();
    let mut notes = String::new();
    let best = result.best_peer().map(|(_, done)| done.bytes);
    // Writing to a String does not fail.
    let _ = writeln!(text, "### {}\n\n{}.", result.pair, result.about);
    let _ = writeln!(
        text,
        "Old {} bytes, new {} bytes.\n",
        group(result.old_bytes),
        group(result.new_bytes)
    );
    text.push_str("| engine | bytes | of best peer | diff CPU s | wall s | peak MB | apply CPU s | wall s | peak MB | anon MB |\n");
    text.push_str("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for row in &result.rows {
        match &row.outcome {
            Outcome::Done(done) => {
                let ratio = best.map_or("".into(), |best| {
                    format!("{:.3}", done.bytes as f64 / best as f64)
                });
                let (diff, apply) = (&done.diff, &done.apply);
                let _ = writeln!(
                    text,
                    "| {} | {} | {ratio} | {:.2} | {:.2} | {} | {:.3} | {:.3} | {} | {} |",
                    row.engine,
                    group(done.bytes),
                    diff.cpu,
                    diff.wall,
                    mb(diff.peak),
                    apply.cpu,
                    apply.wall,
                    mb(apply.peak),
                    mb(apply.anon),
                );
            }
            Outcome::Skipped(why) => {
                let _ = writeln!(notes, "- {} skipped: {why}", row.engine);
            }
            Outcome::Failed(why) => {
                let _ = writeln!(notes, "- {} FAILED: {why}", row.engine);
            }
        }
    }
    if !notes.is_empty() {
        text.push('\n');
        text.push_str(&notes);
    }
    text
}

/// A number with its thousands set apart.
pub fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in units of 10^6, one decimal.
pub fn mb(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(super::group(7), "7");
        assert_eq!(super::group(1_000), "1,000");
        assert_eq!(super::group(126_043_152), "126,043,152");
    }
}
