//! All cases at a glance: bytes of every engine, and our profiles as ratios with their geometric means.

use crate::{
    measure,
    run::{CaseResult, Done},
    table::group,
};
use std::fmt::Write;

/// The summary as markdown.
pub fn text(results: &[CaseResult]) -> String {
    let mut text = String::from("## Bytes\n\n");
    bytes(&mut text, results);
    text.push_str("\n## Ratios\n\n");
    ratios(&mut text, results);
    let _ = writeln!(text, "\n{}", measure::METHOD);
    text
}

fn bytes(text: &mut String, results: &[CaseResult]) {
    let Some(first) = results.first() else { return };
    let engines: Vec<_> = first.rows.iter().map(|row| row.engine).collect();
    let _ = writeln!(text, "| pair | {} |", engines.join(" | "));
    let _ = writeln!(text, "|---|{}", "--:|".repeat(engines.len()));
    for result in results {
        let cells = engines
            .iter()
            .map(|e| result.done(e).map_or("-".into(), |done| group(done.bytes)));
        let _ = writeln!(
            text,
            "| {} | {} |",
            result.pair,
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
}

/// A figure of ours over the same figure of a peer.
struct Ratio {
    title: &'static str,
    ours: &'static str,
    /// `None`: the best peer of each pair.
    peer: Option<&'static str>,
    figure: fn(&Done) -> f64,
}

const RATIOS: [Ratio; 7] = [
    Ratio {
        title: "default: bytes / best peer",
        ours: "elfdelta",
        peer: None,
        figure: |done| done.bytes as f64,
    },
    Ratio {
        title: "fast: bytes / default",
        ours: "elfdelta-fast",
        peer: Some("elfdelta"),
        figure: |done| done.bytes as f64,
    },
    Ratio {
        title: "default: diff CPU / Zucchini + xz",
        ours: "elfdelta",
        peer: Some("zucchini"),
        figure: |done| done.diff.cpu,
    },
    Ratio {
        title: "fast: diff CPU / HDiffPatch",
        ours: "elfdelta-fast",
        peer: Some("hdiffpatch"),
        figure: |done| done.diff.cpu,
    },
    Ratio {
        title: "default: apply CPU / Zucchini",
        ours: "elfdelta",
        peer: Some("zucchini"),
        figure: |done| done.apply.cpu,
    },
    Ratio {
        title: "fast: apply CPU / Zucchini",
        ours: "elfdelta-fast",
        peer: Some("zucchini"),
        figure: |done| done.apply.cpu,
    },
    Ratio {
        title: "default: diff peak MB - Zucchini's",
        ours: "elfdelta",
        peer: Some("zucchini"),
        figure: |done| done.diff.peak as f64 / 1e6,
    },
];

fn ratios(text: &mut String, results: &[CaseResult]) {
    let names: Vec<_> = results.iter().map(|result| result.pair.as_str()).collect();
    let _ = writeln!(text, "| figure | {} | geometric mean |", names.join(" | "));
    let _ = writeln!(text, "|---|{}--:|", "--:|".repeat(names.len()));
    for ratio in &RATIOS {
        let values: Vec<_> = results.iter().map(|result| ratio.of(result)).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let difference = ratio.title.contains(" - ");
        let cell = |(ours, peer): (f64, f64)| match difference {
            true => format!("{:+.0}", ours - peer),
            false => format!("{:.3}", ours / peer),
        };
        let cells: Vec<_> = values.iter().map(|v| v.map_or("-".into(), cell)).collect();
        let mean = match difference {
            true => "".into(),
            false => geometric_mean(values.iter().flatten().map(|(ours, peer)| ours / peer))
                .map_or("-".into(), |mean| format!("**{mean:.3}**")),
        };
        let _ = writeln!(text, "| {} | {} | {mean} |", ratio.title, cells.join(" | "));
    }
    best_peers(text, results);
}

fn best_peers(text: &mut String, results: &[CaseResult]) {
    let cell = |result: &CaseResult| {
        result
            .best_peer()
            .map_or("-".into(), |(name, _)| name.to_string())
    };
    let cells: Vec<_> = results.iter().map(cell).collect();
    let _ = writeln!(text, "| best peer | {} | |", cells.join(" | "));
}

impl Ratio {
    /// Our figure and the peer's, where both ran.
    fn of(&self, result: &CaseResult) -> Option<(f64, f64)> {
        let ours = result.done(self.ours)?;
        let peer = match self.peer {
            Some(name) => result.done(name)?,
            None => result.best_peer()?.1,
        };
        Some(((self.figure)(ours), (self.figure)(peer)))
    }
}

/// The mean of ratios, of which two that cancel each other have the mean one.
pub fn geometric_mean(ratios: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = ratios
        .filter(|ratio| *ratio > 0.0 && ratio.is_finite())
        .map(f64::ln)
        .collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::geometric_mean;

    #[test]
    fn the_mean_is_geometric() {
        let mean = geometric_mean([0.5, 2.0, 1.0].into_iter()).unwrap();
        assert!((mean - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean([].into_iter()), None);
    }
}
