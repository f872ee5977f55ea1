//! What the site says of itself, on sticks and to whoever asks.

use super::Site;
use super::notes::{Note, Notes};
use super::trial::bad;
use crate::report::{self, Failure, Last, Report, Running};
use crate::{Result, Watch, clock, disk, random};
use serde_json::Value;
use std::path::Path;

/// So many bytes of the history are looked at, from its end.
const TAIL: u64 = 256 << 10;
/// Most failures that are told, and the most characters of one.
const FAILURES: usize = 8;
const WORDS: usize = 400;

impl Site {
    /// What runs here, what waits, what failed.
    pub fn report(&self) -> Result<Report> {
        let running = self.running()?;
        // A site that has lost its trust has the more to tell.
        let state = self.trust().ok();
        let behind = state.as_ref().map_or(0, |state| state.clock_behind());
        let (last, failures) = past(&self.notes.tail(Note::History, TAIL)?);
        Ok(Report {
            site: number(&self.notes)?,
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            elfup: env!("CARGO_PKG_VERSION").into(),
            follow: self.config.follow.clone(),
            time: clock::format(clock::now().saturating_add(behind)),
            clock_behind: behind,
            runs: self.current()?.zip(running).map(|(manifest, header)| Running {
                release: header.release,
                sequence: header.sequence,
                manifest,
            }),
            ready: self.ready()?.map(|m| m.header.release),
            trial: self.on_trial()?.map(|(release, _)| release),
            bad: bad(&self.notes)?,
            memory: self.config.memory,
            free: disk::free(&self.root)?,
            expires: state.and_then(|state| state.expires()),
            last,
            failures,
        })
    }

    /// Lays a report on every source that is a stick and asks for one. One that cannot be written is noted: what the
    /// site was asked to do does not depend on it.
    pub fn report_back(&self, watch: &dyn Watch) {
        for source in &self.config.sources {
            let path = source.strip_prefix("file://").unwrap_or(source);
            if path.contains("://") || !report::asked(Path::new(path)) {
                continue;
            }
            match self.report().and_then(|report| report.leave(Path::new(path))) {
                Ok(()) => watch.detail(&format!("a report lies on {path}")),
                Err(e) => watch.note(&format!("no report was left: {e}")),
            }
        }
    }
}

/// The number by which reports of this site are told from others'.
fn number(notes: &Notes) -> Result<String> {
    if let Some(number) = notes.read::<String>(Note::Number)? {
        return Ok(number);
    }
    let number = random::name()?;
    notes.write(Note::Number, &number)?;
    Ok(number)
}

/// The last update in a history, and the failures since.
fn past(history: &[u8]) -> (Option<Last>, Vec<Failure>) {
    let (mut last, mut failures) = (None, Vec::new());
    for line in history.split(|b| *b == b'\n') {
        let Ok(line) = serde_json::from_slice::<Value>(line) else {
            continue;
        };
        let text = |v: &Value| v.as_str().map(|s| s.chars().take(WORDS).collect::<String>());
        let time = text(&line["time"]).unwrap_or_default();
        if let Some(to) = text(&line["update"]["to"]) {
            let update = &line["update"];
            last = Some(Last {
                time,
                from: text(&update["from"]),
                to,
                bytes: update["account"]["bytes"].as_u64().unwrap_or(0),
                seconds: update["seconds"].as_f64().unwrap_or(0.0),
            });
            failures.clear();
        } else if let Some(failed) = text(&line["failed"]) {
            failures.push(Failure { time, failed });
        }
    }
    let told = failures.len().saturating_sub(FAILURES);
    (last, failures.split_off(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_since_the_last_update_are_told() {
        let update = r#"{"time":"t2","update":{"from":"a","to":"b","account":{"bytes":7},"seconds":1.5}}"#;
        let fail = |n| format!(r#"{{"time":"t{n}","failed":"{}"}}"#, "x".repeat(1000));
        let mut history = ["torn", &fail(1), update, "{}", ""].join("\n");
        for n in 10..30 {
            history += &format!("{}\n", fail(n));
        }
        let (last, failures) = past(history.as_bytes());
        let last = last.unwrap();
        assert_eq!(
            (last.to.as_str(), last.bytes, last.from.as_deref()),
            ("b", 7, Some("a"))
        );
        let times: Vec<_> = failures.iter().map(|f| f.time.as_str()).collect();
        assert_eq!(times, ["t22", "t23", "t24", "t25", "t26", "t27", "t28", "t29"]);
        assert!(failures.iter().all(|f| f.failed.len() == WORDS));
        assert_eq!(past(b""), (None, Vec::new()));
    }
}
