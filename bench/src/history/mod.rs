//! Results of this project as they were measured at some of its commits: kept as small files, and told together.

mod add;
mod page;
mod record;
mod text;

use clap::Args;
use corpora::Cache;
use record::Record;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The command line of `bench history`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  bench history --html history.html
  bench history --add --note 'on a machine with nothing else to do'
  bench history --add --elfdelta ./elfdelta-of-then --commit e6f73aa --pairs numpy,cmake")]
pub struct History {
    /// Measure today's result first, and write its file.
    #[arg(long)]
    add: bool,
    /// With --add: the `elfdelta` that is measured [default: built from this workspace].
    #[arg(long, value_name = "PROGRAM", requires_all = ["add", "commit"])]
    elfdelta: Option<PathBuf>,
    /// With --elfdelta: the commit that it was built from.
    #[arg(long, value_name = "COMMIT", requires_all = ["add", "elfdelta"])]
    commit: Option<String>,
    /// With --add: pairs of the manifest by name, separated by commas [default: all].
    #[arg(long, value_delimiter = ',', requires = "add")]
    pairs: Vec<String>,
    /// With --add: what else is to be known of the result, such as how the program was built.
    #[arg(long, value_name = "WORDS", requires = "add")]
    note: Option<String>,
    /// Folder of the results [default: bench/results in the workspace].
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    /// Also write all results to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a page to this file: plots over the commits, with every result as JSON inside.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// `bench history`.
pub fn run(cache: &Cache, args: &History) -> Result<(), String> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let folder = args.results.as_deref().unwrap_or(&kept);
    if args.add {
        let record = add::measured(cache, args)?;
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let path = folder.join(record.file());
        write(&path, &record::json(&record)?)?;
        eprintln!("{} is written", path.display());
    }
    let records = read(folder)?;
    print!("{}", text::of(&records));
    if let Some(path) = &args.json {
        write(path, &record::json(&records)?)?;
    }
    if let Some(path) = &args.html {
        write(path, &page::of(&records)?)?;
    }
    Ok(())
}

/// The results of a folder, the earliest commit first.
fn read(folder: &Path) -> Result<Vec<Record>, String> {
    let told = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut records: Vec<Record> = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| told(folder, &error))? {
        let path = entry.map_err(|error| told(folder, &error))?.path();
        if path.extension().is_some_and(|end| end == "json") {
            let json = fs::read(&path).map_err(|error| told(&path, &error))?;
            records.push(serde_json::from_slice(&json).map_err(|error| told(&path, &error))?);
        }
    }
    if records.is_empty() {
        return Err(format!("{}: no results; --add measures one", folder.display()));
    }
    records.sort_by(|a, b| (&a.time, &a.commit).cmp(&(&b.time, &b.commit)));
    Ok(records)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
