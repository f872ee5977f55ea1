//! The site's TUF client behind the command line that TUF conformance suites drive: `init`, `refresh`, `download`.

use clap::{Parser, Subcommand};
use elfup::source::{self, Access, Sources};
use elfup::trust::{self, Fetch, State};
use elfup::{Error, Result, names};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
struct Args {
    /// Where accepted metadata is kept, a file a role.
    #[arg(long)]
    metadata_dir: PathBuf,
    #[arg(long, default_value = "")]
    metadata_url: String,
    #[arg(long, default_value = "")]
    target_name: String,
    #[arg(long, default_value = "")]
    target_base_url: String,
    #[arg(long, default_value = ".")]
    target_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start from a trusted root file.
    Init { root: PathBuf },
    /// Bring the metadata up to date.
    Refresh,
    /// The same, then fetch one signed file.
    Download,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let stored = args.metadata_dir.join("state");
    if let Command::Init { root } = &args.command {
        let bytes = fs::read(root).map_err(|e| Error::io("read the root", e))?;
        return keep(&State::from_root(&bytes)?, &stored, &args.metadata_dir);
    }
    let mut state = State::load(&stored)?;
    let metadata = open(&args.metadata_url)?;
    let metadata = Metadata(metadata.one(0, &elfup::Quiet));
    let mut result = trust::refresh(&mut state, &metadata);
    if let (Ok(()), Command::Download) = (&result, &args.command) {
        result = download(args, &mut state, &metadata);
    }
    // As a site does: what was accepted before the failure stays accepted.
    keep(&state, &stored, &args.metadata_dir)?;
    result
}

fn download(args: &Args, state: &mut State, metadata: &dyn Fetch) -> Result<()> {
    let found = trust::target(state, &args.target_name, metadata)?;
    let path = args.target_dir.join(args.target_name.replace('/', "%2F"));
    if fs::read(&path).is_ok_and(|b| elfup::Digest::of(&b) == found.digest) {
        return Ok(());
    }
    let name = names::target_file(&args.target_name, &found.digest);
    let bytes = open(&args.target_base_url)?.signed(&name, &found.digest, found.length, &elfup::Quiet)?;
    fs::write(&path, bytes).map_err(|e| Error::io("write the target", e))
}

fn open(url: &str) -> Result<Sources> {
    source::open(&[url.to_owned()], &Access::default())
}

/// The state for the next command, and a file for each role for the suite to look at.
fn keep(state: &State, stored: &Path, dir: &Path) -> Result<()> {
    state.save(stored)?;
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let _ = fs::remove_file(dir.join(format!("{role}.json")));
    }
    for (role, text) in state.files() {
        fs::write(dir.join(format!("{role}.json")), text).map_err(|e| Error::io("write metadata", e))?;
    }
    Ok(())
}

/// Suites serve metadata at the top of its URL, our repositories below `tuf/`.
struct Metadata<F>(F);

impl<F: Fetch> Fetch for Metadata<F> {
    fn fetch(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        self.0.fetch(path.trim_start_matches("tuf/"), limit)
    }
}
