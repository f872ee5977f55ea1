//! The fleet table: what was run, what was computed, and how the two compare.

use super::{
    link::Shape,
    race::{Made, Pulled},
    tools::Tool,
};
use crate::table::{group, mb};
use serde::Serialize;
use std::fmt::Write;

/// One tool's figures.
#[derive(Serialize)]
pub struct Row {
    /// Its name.
    pub tool: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Whether it is this project's.
    pub ours: bool,
    /// Why there are no figures, if there are none.
    pub missing: Option<String>,
    /// At the farm.
    pub made: Option<Made>,
    /// Over a link without limits.
    pub open: Option<Pulled>,
    /// Over the bad link.
    pub real: Option<Pulled>,
    /// Seconds over the bad link, computed from `open`.
    pub computed: Option<f64>,
}

impl Row {
    /// A row without figures yet.
    pub fn of(tool: &Tool) -> Row {
        Row {
            tool: tool.name,
            about: tool.about,
            ours: tool.ours,
            missing: None,
            made: None,
            open: None,
            real: None,
            computed: None,
        }
    }

    /// The figures that count: those of the bad link where it was run.
    pub fn pulled(&self) -> Option<&Pulled> {
        self.real.as_ref().or(self.open.as_ref())
    }
    /// Measured where it was run over the bad link, else computed.
    pub fn seconds(&self) -> Option<f64> {
        self.real.as_ref().map(|real| real.usage.wall).or(self.computed)
    }
    fn wire(&self) -> Option<u64> {
        self.pulled().map(|pulled| pulled.down + pulled.up)
    }
}

/// Seconds over the bad link of what was run without limits: the wire's bytes at its rate, a round trip for the
/// first connection and one a request, and what it took without limits.
pub fn computed(shape: Shape, open: &Pulled) -> f64 {
    let trips = 1 + open.requests.max(1);
    shape.seconds(open.down.max(open.up)) + trips as f64 * shape.rtt() + open.usage.wall
}

/// The whole table as markdown, with what it says about ours.
pub fn table(shape: Shape, rows: &[Row]) -> String {
    let mut text = format!(
        "Link: {} kbit/s each way, {} ms round trip.\n\n\
         | tool | content bytes | wire bytes | requests | seconds | model | site CPU s | peak MB | disk MB | farm CPU s | farm wall s | farm peak MB | served MB |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        shape.kbit, shape.rtt_ms
    );
    // Writing to a String does not fail.
    for row in rows {
        let (Some(made), Some(pulled), Some(seconds)) = (&row.made, row.pulled(), row.seconds()) else {
            continue;
        };
        let mark = if row.real.is_some() { "" } else { " (computed)" };
        let model = row
            .computed
            .map_or(String::new(), |seconds| format!("{seconds:.0}"));
        let requests = match pulled.requests {
            0 => "-".into(),
            n => group(n),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {requests} | {seconds:.0}{mark} | {model} | {:.1} | {} | {} | {:.0} | {:.0} | {} | {} |",
            row.tool,
            group(pulled.content),
            group(pulled.down + pulled.up),
            pulled.usage.cpu,
            mb(pulled.usage.peak),
            mb(pulled.disk),
            made.usage.cpu,
            made.usage.wall,
            mb(made.usage.peak),
            mb(made.stored),
        );
    }
    text.push('\n');
    for row in rows {
        match &row.missing {
            Some(why) => drop(writeln!(text, "- {} left out: {why}", row.tool)),
            None => drop(writeln!(text, "- {}: {}", row.tool, row.about)),
        }
    }
    text.push_str(METHOD);
    if let Some(verdict) = verdict(rows) {
        let _ = writeln!(text, "\n{verdict}");
    }
    text
}

const METHOD: &str = "
Every tool was run from the old release to the new one, and what it left was compared with the new release. Wire \
bytes are those of the interface, both ways, headers included; content bytes and requests are the web server's. \
Seconds marked as computed, and the model: wire bytes at the link's rate, a round trip a request, and the seconds of the same run without limits. Peak is that of the largest process, disk the most that \
was taken beyond the old release. Farm is what the new release took; served is all that the site can fetch.
";

/// How ours compares with the best of the others.
fn verdict(rows: &[Row]) -> Option<String> {
    let ours = rows.iter().find(|row| row.ours)?;
    let others = || rows.iter().filter(|row| !row.ours);
    let (bytes, seconds) = (ours.wire()?, ours.seconds()?);
    let least = others().filter_map(|row| Some((row.wire()?, row.tool))).min()?;
    let soonest = others()
        .filter_map(|row| Some((row.seconds()?, row.tool)))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!(
        "{}: {:.3} of the bytes of {}, the best of the others; {:.3} of the seconds of {}.",
        ours.tool,
        bytes as f64 / least.0 as f64,
        least.1,
        seconds / soonest.0,
        soonest.1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_adds_bytes_round_trips_and_work() {
        let shape = Shape {
            kbit: 256,
            rtt_ms: 600,
        };
        let mut open = Pulled {
            content: 0,
            down: 320_000,
            up: 4_000,
            requests: 9,
            usage: crate::measure::Usage::default(),
            disk: 0,
        };
        open.usage.wall = 2.0;
        assert_eq!(computed(shape, &open), 10.0 + 10.0 * 0.6 + 2.0);
        open.requests = 0;
        assert_eq!(computed(shape, &open), 10.0 + 2.0 * 0.6 + 2.0);
    }

    /// The command itself wants root, a web server and an hour.
    #[test]
    fn rows_are_as_their_schema_says() {
        let tool = &crate::fleet::TOOLS[0];
        let made =
            serde_json::json!({"version": "1", "usage": crate::measure::Usage::default(), "stored": 7});
        let pulled = Pulled {
            content: 1,
            down: 2,
            up: 3,
            requests: 4,
            usage: crate::measure::Usage::default(),
            disk: 5,
        };
        let full = Row {
            missing: None,
            made: Some(serde_json::from_value(made).unwrap()),
            open: Some(pulled.clone()),
            real: Some(pulled),
            computed: Some(1.5),
            ..Row::of(tool)
        };
        let empty = Row {
            missing: Some("why".into()),
            ..Row::of(tool)
        };
        let mut schemas = crate::hold::Schemas::of("bench");
        for row in [full, empty] {
            schemas.check("fleet", &serde_json::to_vec(&[row]).unwrap());
        }
    }
}
