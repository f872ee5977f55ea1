//! One case through the engines: make, weigh, apply, compare.

use crate::{
    cases::Case,
    engine::{Engine, Paths, Plan},
    measure::{self, Usage},
    tools::Tools,
    tree::files::FileRow,
};
use corpora::Cache;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
};

/// What one engine made of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the engine.
    pub engine: &'static str,
    /// Whether it looks at the new file alone.
    pub whole: bool,
    /// Whether it is one of this project's profiles.
    pub ours: bool,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a row ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The new file came back bit for bit.
    Done(Box<Done>),
    /// The engine is not installed here.
    Skipped(String),
    /// It failed, or gave another file back.
    Failed(String),
}

/// The figures of a row.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// Size of the delta.
    pub bytes: u64,
    /// Making it: medians over the runs.
    pub diff: Usage,
    /// Applying it, in the same way.
    pub apply: Usage,
    /// Each run by itself.
    pub runs: Runs,
    /// Where the bytes went, as the engine reports it (ours only).
    pub report: Option<Account>,
}

/// What each run used, in order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Runs {
    /// Of making the delta.
    pub diff: Vec<Usage>,
    /// Of applying it.
    pub apply: Vec<Usage>,
}

/// How often a delta is made, and how often it is applied.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    diff: usize,
    apply: usize,
}

impl Times {
    /// Both once, for many files.
    pub const ONCE: Times = Times { diff: 1, apply: 1 };

    /// As many runs as somebody asked for; of applying at least three, as a third of a second is too short to be
    /// measured once.
    pub fn of(runs: usize) -> Times {
        Times {
            diff: runs.max(1),
            apply: runs.max(3),
        }
    }
}

/// The engine's own report, as its process wrote it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Whole patch in bytes.
    pub total: u64,
    /// Bytes per stream.
    pub streams: Vec<Piece>,
    /// Bytes per section of the new file.
    pub sections: Vec<Piece>,
}

/// One line of an [`Account`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// Stream or section name.
    pub name: String,
    /// Bytes of the patch.
    pub bytes: u64,
}

impl Row {
    /// The figures, if there are any.
    pub fn done(&self) -> Option<&Done> {
        match &self.outcome {
            Outcome::Done(done) => Some(done),
            _ => None,
        }
    }
    /// The same, to be changed.
    pub fn done_mut(&mut self) -> Option<&mut Done> {
        match &mut self.outcome {
            Outcome::Done(done) => Some(done),
            _ => None,
        }
    }
    /// An engine's row.
    pub fn of(engine: &Engine, outcome: Outcome) -> Row {
        Row {
            engine: engine.name,
            whole: engine.whole,
            ours: engine.ours(),
            outcome,
        }
    }
    /// Why the engine failed, if it ran and was wrong.
    pub fn failure(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed(why) => Some(why),
            _ => None,
        }
    }
    /// Whether the engine ran and was wrong.
    pub fn failed(&self) -> bool {
        self.failure().is_some()
    }
}

/// All rows of a case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    /// Name of the pair.
    pub pair: String,
    /// What it is.
    pub about: String,
    /// Size of the old file in bytes.
    pub old_bytes: u64,
    /// Size of the new file in bytes.
    pub new_bytes: u64,
    /// One for each engine.
    pub rows: Vec<Row>,
    /// Of two directories: every file that changed, the rows above being their sums.
    pub files: Vec<FileRow>,
}

impl CaseResult {
    /// The figures of an engine, if it ran.
    pub fn done(&self, engine: &str) -> Option<&Done> {
        self.rows
            .iter()
            .find(|row| row.engine == engine)
            .and_then(Row::done)
    }
    /// The peer with the fewest bytes among those that look at both files.
    pub fn best_peer(&self) -> Option<(&'static str, &Done)> {
        let peers = self.rows.iter().filter(|row| !row.ours && !row.whole);
        peers
            .filter_map(|row| Some((row.engine, row.done()?)))
            .min_by_key(|(_, done)| done.bytes)
    }
}

/// Runs the engines on a case; `tell` hears the name of each as it begins.
pub fn case(
    cache: &Cache,
    case: &Case,
    engines: &[Engine],
    times: Times,
    tell: &dyn Fn(&str),
) -> Result<CaseResult, String> {
    let (tools, (old_bytes, new_bytes)) = (Tools::new(cache), case.sizes()?);
    let mut rows = Vec::new();
    for engine in engines {
        tell(engine.name);
        let outcome = match engine.lacks(&tools) {
            Some(reason) => Outcome::Skipped(reason),
            None => outcome(&tools, (&case.old, &case.new), engine, times),
        };
        rows.push(Row::of(engine, outcome));
    }
    Ok(CaseResult {
        pair: case.name.clone(),
        about: case.about.clone(),
        old_bytes,
        new_bytes,
        rows,
        files: Vec::new(),
    })
}

/// One engine, which runs here, on an old and a new file.
pub fn outcome(tools: &Tools, files: (&Path, &Path), engine: &Engine, times: Times) -> Outcome {
    let plan = |paths: &Paths| (engine.plan)(tools, paths);
    done(files, &plan, times).map_or_else(Outcome::Failed, |done| Outcome::Done(Box::new(done)))
}

/// Makes a delta of two files by these commands, applies it, and compares what came back.
pub fn done(files: (&Path, &Path), plan: &dyn Fn(&Paths) -> Plan, times: Times) -> Result<Done, String> {
    let work = tempfile::Builder::new()
        .prefix("elfdelta-bench-")
        .tempdir()
        .map_err(crate::text)?;
    let paths = Paths {
        old: files.0.into(),
        new: files.1.into(),
        work: work.path().into(),
        out: work.path().join("out"),
    };
    let plan = plan(&paths);
    let mut runs = Runs::default();
    for _ in 0..times.diff {
        // Some tools refuse to write over a file.
        empty(&paths.work).map_err(crate::text)?;
        runs.diff.push(measure::steps(&plan.diff)?);
    }
    let weighed = plan
        .forms
        .iter()
        .map(|(file, apply)| Ok((fs::metadata(file)?.len(), apply)));
    let weighed = weighed
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(crate::text)?;
    let (bytes, apply) = weighed
        .into_iter()
        .min_by_key(|(bytes, _)| *bytes)
        .ok_or("no delta was made")?;
    for _ in 0..times.apply {
        let _ = fs::remove_file(&paths.out);
        runs.apply.push(measure::steps(apply)?);
    }
    if !same(&paths.new, &paths.out).map_err(crate::text)? {
        return Err("the file that came back differs".into());
    }
    let report = fs::read(paths.file("report")).ok();
    let report = report.and_then(|json| serde_json::from_slice(&json).ok());
    Ok(Done {
        bytes,
        diff: measure::median(&runs.diff),
        apply: measure::median(&runs.apply),
        runs,
        report,
    })
}

/// Takes away what an earlier run left in its folder.
fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// Whether two files have the same content.
fn same(left: &Path, right: &Path) -> std::io::Result<bool> {
    let mut left = BufReader::with_capacity(1 << 16, File::open(left)?);
    let mut right = BufReader::with_capacity(1 << 16, File::open(right)?);
    loop {
        let (a, b) = (left.fill_buf()?, right.fill_buf()?);
        let len = a.len().min(b.len());
        if len == 0 {
            return Ok(a.len() == b.len());
        }
        if a[..len] != b[..len] {
            return Ok(false);
        }
        left.consume(len);
        right.consume(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_compared_to_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, bytes: &[u8]| {
            fs::write(folder.path().join(name), bytes).unwrap();
            folder.path().join(name)
        };
        let long = vec![7u8; 100_000];
        let (a, b) = (path("a", &long), path("b", &long));
        assert!(same(&a, &b).unwrap());
        assert!(!same(&a, &path("c", &long[1..])).unwrap());
        assert!(!same(&a, &path("d", b"")).unwrap());
    }

    /// The command itself fetches its pairs.
    #[test]
    fn rows_are_as_their_schema_says() {
        let piece = || Piece {
            name: "text".into(),
            bytes: 3,
        };
        let done = |report| {
            Outcome::Done(Box::new(Done {
                bytes: 5,
                diff: Usage::default(),
                apply: Usage::default(),
                runs: Runs {
                    diff: vec![Usage::default()],
                    apply: vec![Usage::default()],
                },
                report,
            }))
        };
        let account = Account {
            total: 5,
            streams: vec![piece()],
            sections: vec![piece()],
        };
        let engine = &crate::engine::ENGINES[0];
        let row = |outcome: Outcome| CaseResult {
            pair: "numpy".into(),
            about: "C".into(),
            old_bytes: 1,
            new_bytes: 2,
            rows: vec![Row::of(engine, outcome.clone())],
            files: vec![FileRow {
                path: "page".into(),
                kind: "text".into(),
                old_bytes: Some(1),
                new_bytes: 2,
                rows: vec![Row::of(engine, outcome)],
            }],
        };
        let mut schemas = crate::hold::Schemas::of("bench");
        for outcome in [
            done(Some(account)),
            done(None),
            Outcome::Skipped("why".into()),
            Outcome::Failed("why".into()),
        ] {
            schemas.check("table", &serde_json::to_vec(&[row(outcome)]).unwrap());
        }
    }
}
