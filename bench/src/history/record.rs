//! One result: what a commit's program made of the pairs, beside others in the same run.

use crate::summary::geometric_mean;
use serde::{Deserialize, Serialize};

/// A result, which is a file of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// When the commit was made, as `2026-11-28T21:24:53Z`.
    pub time: String,
    /// The commit that the program was built from.
    pub commit: String,
    /// What else is to be known.
    pub note: Option<String>,
    /// What it ran on.
    pub machine: Machine,
    /// Of everything that ran.
    pub versions: Vec<Version>,
    /// The engine whose seconds are one.
    pub yardstick: String,
    /// What came of each pair.
    pub pairs: Vec<Pair>,
}

/// A machine, as far as seconds hang on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Its instruction set.
    pub kind: String,
    /// The processor, as the kernel names it.
    pub processor: String,
    /// How many of them may be used.
    pub processors: usize,
}

/// A version of a program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    /// The engine that it is.
    pub engine: String,
    /// Which.
    pub version: String,
}

/// What came of a pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// Its name.
    pub pair: String,
    /// Package and versions.
    pub about: String,
    /// Size of the old file in bytes.
    pub old_bytes: u64,
    /// Size of the new file in bytes.
    pub new_bytes: u64,
    /// One for each engine that ran.
    pub engines: Vec<Figures>,
}

/// What an engine took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Its name.
    pub engine: String,
    /// Size of the delta.
    pub bytes: u64,
    /// Processor time of making it, over the yardstick's.
    pub diff: f64,
    /// Processor time of applying it, over the yardstick's.
    pub apply: f64,
}

impl Record {
    /// The name of its file.
    pub fn file(&self) -> String {
        format!("{}-{}.json", self.day(), self.commit)
    }

    /// The day of its commit.
    pub fn day(&self) -> &str {
        self.time.split('T').next().unwrap_or_default()
    }

    /// The figures of an engine on a pair.
    pub fn figures(&self, pair: &str, engine: &str) -> Option<&Figures> {
        let pair = self.pairs.iter().find(|one| one.pair == pair)?;
        pair.engines.iter().find(|one| one.engine == engine)
    }

    /// The mean of a figure of an engine over the pairs.
    pub fn mean(&self, engine: &str, figure: fn(&Figures) -> f64) -> Option<f64> {
        let figures = self
            .pairs
            .iter()
            .filter_map(|pair| self.figures(&pair.pair, engine));
        geometric_mean(figures.map(figure))
    }

    /// The mean of an engine's bytes over those of the same engine in an earlier result, over the pairs of both.
    pub fn bytes_over(&self, earlier: &Record, engine: &str) -> Option<f64> {
        let ratio = |pair: &Pair| {
            let (now, then) = (
                self.figures(&pair.pair, engine)?,
                earlier.figures(&pair.pair, engine)?,
            );
            Some(now.bytes as f64 / then.bytes as f64)
        };
        geometric_mean(self.pairs.iter().filter_map(ratio))
    }
}

/// Whether an engine is one of this project's profiles.
pub fn ours(engine: &str) -> bool {
    engine.starts_with("elfdelta")
}

/// The engines of all results, each once, as they first come.
pub fn engines(records: &[Record]) -> Vec<&str> {
    let pairs = records.iter().flat_map(|record| &record.pairs);
    once(
        pairs
            .flat_map(|pair| &pair.engines)
            .map(|figures| figures.engine.as_str()),
    )
}

/// The pairs of all results, in the same way.
pub fn pairs(records: &[Record]) -> Vec<&str> {
    let pairs = records.iter().flat_map(|record| &record.pairs);
    once(pairs.map(|pair| pair.pair.as_str()))
}

fn once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// Results as their files have them.
pub fn json(records: &(impl Serialize + ?Sized)) -> Result<String, String> {
    let text = serde_json::to_string_pretty(records).map_err(crate::text)?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: [(&str, u64); 2]) -> Record {
        let pair = |(pair, bytes): (&str, u64)| Pair {
            pair: pair.into(),
            about: String::new(),
            old_bytes: 0,
            new_bytes: 0,
            engines: vec![Figures {
                engine: "elfdelta".into(),
                bytes,
                diff: 4.0,
                apply: 1.0,
            }],
        };
        Record {
            time: "2026-11-28T21:24:53Z".into(),
            commit: "ac48a06".into(),
            note: None,
            machine: Machine {
                kind: String::new(),
                processor: String::new(),
                processors: 1,
            },
            versions: Vec::new(),
            yardstick: String::new(),
            pairs: bytes.map(pair).into(),
        }
    }

    #[test]
    fn means_are_over_the_pairs_of_both() {
        let (then, now) = (record([("a", 100), ("b", 100)]), record([("a", 25), ("c", 7)]));
        assert_eq!(now.bytes_over(&then, "elfdelta"), Some(0.25));
        assert_eq!(now.bytes_over(&then, "bsdiff"), None);
        assert_eq!(now.mean("elfdelta", |figures| figures.diff), Some(4.0));
        let all = [then, now];
        assert_eq!(
            (pairs(&all), engines(&all)),
            (vec!["a", "b", "c"], vec!["elfdelta"])
        );
        assert_eq!(all[0].file(), "2026-11-28-ac48a06.json");
    }
}
