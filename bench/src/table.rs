//! The rows of one case as a markdown table.

use crate::{
    measure::{self, Usage},
    run::{CaseResult, Outcome},
};
use indicatif::HumanCount;
use std::fmt::Write;

/// A heading, one row an engine, and the reasons of those that did not run.
pub fn case(result: &CaseResult) -> String {
    let mut text = String::new();
    let mut notes = String::new();
    let best = result.best_peer().map(|(_, done)| done.bytes);
    // Writing to a String does not fail.
    let _ = writeln!(text, "### {}\n\n{}\n", result.pair, about(result));
    text.push_str("| engine | bytes | of best peer | diff CPU s | wall s | peak MB | apply CPU s | wall s | peak MB | anon MB |\n");
    text.push_str("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for row in &result.rows {
        match &row.outcome {
            Outcome::Done(done) => {
                let ratio = best.map_or("".into(), |best| {
                    format!("{:.3}", done.bytes as f64 / best as f64)
                });
                let (diff, apply) = (&done.diff, &done.apply);
                let spread = |runs: &[Usage], digits: usize, figure: fn(&Usage) -> f64| {
                    spread_over(runs, done.runs.diff.len(), digits, figure)
                };
                let _ = writeln!(
                    text,
                    "| {} | {} | {ratio} | {:.2}{} | {:.2}{} | {} | {:.3}{} | {:.3}{} | {} | {} |",
                    row.engine,
                    group(done.bytes),
                    diff.cpu,
                    spread(&done.runs.diff, 2, |run| run.cpu),
                    diff.wall,
                    spread(&done.runs.diff, 2, |run| run.wall),
                    mb(diff.peak),
                    apply.cpu,
                    spread(&done.runs.apply, 3, |run| run.cpu),
                    apply.wall,
                    spread(&done.runs.apply, 3, |run| run.wall),
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

/// What a case is, where its name does not say that already, and how large its files are.
pub fn about(result: &CaseResult) -> String {
    let about = match result.about == result.pair {
        true => String::new(),
        false => format!("{}. ", result.about),
    };
    let (old, new) = (group(result.old_bytes), group(result.new_bytes));
    format!("{about}Old {old} bytes, new {new} bytes.")
}

/// The least and the most of a figure in brackets, where more runs than usual were asked for.
fn spread_over(runs: &[Usage], asked: usize, digits: usize, figure: fn(&Usage) -> f64) -> String {
    match measure::spread(runs, figure) {
        Some((least, most)) if asked > 1 => format!(" ({least:.digits$} to {most:.digits$})"),
        _ => String::new(),
    }
}

/// A number with its thousands set apart.
pub fn group(number: u64) -> String {
    HumanCount(number).to_string()
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
