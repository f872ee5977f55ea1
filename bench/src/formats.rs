//! What becomes of packed files as they are found: how many are opened, closed again exactly, or told as they are.

use crate::interrupt;
use clap::Args;
use elfdelta::packed::{Bounds, Found, Op, look};
use elfdelta::{Limits, Options, Patch, Silent};
use elfup::kind;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Packed files of directories through diff and apply, by format.
#[derive(Args)]
pub struct Formats {
    /// Directories that are searched.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Files of each format, taken evenly from all that there are.
    #[arg(long, default_value_t = 200)]
    files: usize,
    /// Files above this are left out, in MiB.
    #[arg(long, default_value_t = 16)]
    most: u64,
    /// Files at a time [default: processors].
    #[arg(long)]
    jobs: Option<usize>,
    /// Also write every file's figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What became of a file.
#[derive(Serialize)]
struct Row {
    path: String,
    format: String,
    size: u64,
    /// Packed streams that were opened, those inside of others included.
    opened: usize,
    /// Streams that are closed again exactly.
    closed: usize,
    /// Bytes of the patch from the file before, of the same format.
    patch: u64,
    /// Why it failed.
    failed: Option<String>,
}

/// Runs it and prints the table.
pub fn run(args: &Formats) -> Result<(), String> {
    interrupt::install(interrupt::Then::Exit)?;
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for folder in &args.folders {
        walk(folder, args.most << 20, &mut found)?;
    }
    let mut rows = Vec::new();
    for (format, mut paths) in found {
        paths.sort();
        let all = paths.len();
        let wanted = args.files.min(all);
        let taken: Vec<&PathBuf> = (0..wanted).map(|i| &paths[i * all / wanted]).collect();
        eprintln!("{format}: {wanted} of {all}");
        rows.extend(each(&format, &taken, args.jobs));
    }
    print!("{}", text(&rows));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(crate::text)?;
        fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let failed = rows.iter().filter(|row| row.failed.is_some()).count();
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} files failed")),
    }
}

/// Collects packed files by format, without following links.
fn walk(folder: &Path, most: u64, found: &mut BTreeMap<String, Vec<PathBuf>>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(told)? {
        let entry = entry.map_err(told)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(told)?);
        if kind.is_dir() {
            walk(&path, most, found)?;
        } else if kind.is_file()
            && entry.metadata().map_err(told)?.len() <= most
            && let Some(format) = format(&path).map_err(told)?
        {
            found.entry(format).or_default().push(path);
        }
    }
    Ok(())
}

/// The format of a packed file, by its first bytes and the end of its name.
fn format(path: &Path) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    fs::File::open(path)?
        .take(kind::HEAD as u64)
        .read_to_end(&mut head)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = |of: &[&str]| of.iter().any(|end| name.ends_with(end));
    let kind = kind::of(&name, &head);
    let format = match &kind[..] {
        "gzip" if ends(&[".tar.gz", ".tgz"]) => "tar.gz",
        "zip" if ends(&[".whl"]) => "whl",
        "zip" if ends(&[".jar"]) => "jar",
        "ar" if ends(&[".deb"]) => "deb",
        "gzip" | "xz" | "lz4" | "zstd" | "zip" | "PNG" => &kind,
        kind if kind.starts_with("kernel") => kind,
        _ => return Ok(None),
    };
    Ok(Some(format.into()))
}

/// Looks at all files of a format, several at a time.
fn each(format: &str, paths: &[&PathBuf], jobs: Option<usize>) -> Vec<Row> {
    let jobs = jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = paths.get(i) else { break };
                    let row = one(format, paths[i.saturating_sub(1)], path);
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(i, row);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().collect()
}

/// Opens a file, closes it, and takes it through diff and apply with the file before it as the old one.
fn one(format: &str, before: &Path, path: &Path) -> Row {
    let mut row = Row {
        path: path.display().to_string(),
        format: format.into(),
        size: 0,
        opened: 0,
        closed: 0,
        patch: 0,
        failed: None,
    };
    let mut measure = || -> Result<(), String> {
        let read = |path: &Path| fs::read(path).map_err(crate::text);
        let (old, new) = (read(before)?, read(path)?);
        let bounds = Bounds::of(Limits::default().memory, &|| false);
        row.size = new.len() as u64;
        let [opened, _] = look(&new, b"", &bounds);
        let [_, closed] = look(b"", &new, &bounds);
        (row.opened, row.closed) = (streams(opened), streams(closed));
        let options = Options::default().threads(1);
        let delta = elfdelta::diff(&old, &new, &options, &Silent).map_err(crate::text)?;
        row.patch = delta.bytes.len() as u64;
        let (patch, mut made) = (Patch::parse(&delta.bytes).map_err(crate::text)?, Vec::new());
        let applied = patch
            .applier()
            .limits(Limits::default().threads(1))
            .apply(&old, &mut made);
        applied.map_err(crate::text)?;
        (made == new).then_some(()).ok_or("another file came out".into())
    };
    row.failed = measure().err();
    row
}

fn streams(found: Option<Found>) -> usize {
    let ops = found.map_or(Vec::new(), |found| found.plan.ops);
    ops.iter().filter(|op| matches!(op, Op::Open(_))).count()
}

/// The table as markdown.
fn text(rows: &[Row]) -> String {
    let mut text = String::from(
        "| format | files | nothing to open | closed exactly | in part | not closed | streams opened | closed exactly | \
         bytes | patches | applied back |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut formats: Vec<&str> = rows.iter().map(|row| &row.format[..]).collect();
    formats.dedup();
    for format in formats {
        let of: Vec<&Row> = rows.iter().filter(|row| row.format == format).collect();
        let count = |fits: &dyn Fn(&Row) -> bool| of.iter().filter(|row| fits(row)).count() as u64;
        let sum = |get: &dyn Fn(&Row) -> u64| of.iter().map(|row| get(row)).sum::<u64>();
        let cells = [
            of.len() as u64,
            count(&|r| r.opened == 0),
            count(&|r| r.opened > 0 && r.closed >= r.opened),
            count(&|r| r.closed > 0 && r.closed < r.opened),
            count(&|r| r.opened > 0 && r.closed == 0),
            sum(&|r| r.opened as u64),
            sum(&|r| r.closed as u64),
            sum(&|r| r.size),
            sum(&|r| r.patch),
            count(&|r| r.failed.is_none()),
        ];
        let cells: Vec<String> = cells.into_iter().map(crate::table::group).collect();
        text += &format!("| {format} | {} |\n", cells.join(" | "));
    }
    for row in rows {
        if let Some(why) = &row.failed {
            text += &format!("- {} FAILED: {why}\n", row.path);
        }
    }
    text
}
