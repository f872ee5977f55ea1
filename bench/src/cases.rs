//! What the engines run on: an old and a new file with a name.

use corpora::{Cache, Files, Manifest, samples};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// One old and one new file.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub about: String,
    pub old: PathBuf,
    pub new: PathBuf,
}

impl Case {
    fn new(name: &str, about: String, files: Files) -> Case {
        Case {
            name: name.into(),
            about,
            old: files.old,
            new: files.new,
        }
    }

    /// Two files of one's own.
    pub fn of_files(old: PathBuf, new: PathBuf, about: String) -> Case {
        let name = |path: &Path| {
            path.file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned()
        };
        Case {
            name: format!("{} -> {}", name(&old), name(&new)),
            about,
            old,
            new,
        }
    }

    /// Size in bytes of the old and the new file.
    pub fn sizes(&self) -> Result<(u64, u64), String> {
        let len = |path| {
            fs::metadata(path)
                .map(|m| m.len())
                .map_err(|e| format!("{}: {e}", self.name))
        };
        Ok((len(&self.old)?, len(&self.new)?))
    }
}

/// Stands for two small programs that are built here.
const SAMPLE: &str = "sample";

/// The pairs of these names (all, if none is given), fetched where they are missing. A pair that cannot be had
/// is named on standard error and left out. `sample` alone needs no network.
pub fn from_manifest(cache: &Cache, names: &[String]) -> Result<Vec<Case>, String> {
    if let [only] = names
        && only == SAMPLE
    {
        return Ok(vec![sample(cache)?]);
    }
    let manifest = Manifest::builtin();
    let mut cases = Vec::new();
    for pair in manifest.select(names).map_err(crate::text)? {
        match cache.fetch(pair, &|_| ()) {
            Ok(files) => {
                let about = format!("{} {} -> {}: {}", pair.package, pair.old, pair.new, pair.why);
                cases.push(Case::new(&pair.name, about, files));
            }
            Err(error) => eprintln!("{}: left out: {error}", pair.name),
        }
    }
    if cases.is_empty() {
        return Err("no pair could be had".into());
    }
    Ok(cases)
}

/// The first of these pairs that is cached or can be fetched; the sample programs if none can.
pub fn first_of(cache: &Cache, names: &[&str]) -> Result<Case, String> {
    let manifest = Manifest::builtin();
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut pairs = manifest.select(&names).map_err(crate::text)?;
    pairs.sort_by_key(|pair| !cache.has(pair));
    for pair in pairs {
        if !cache.has(pair) {
            if !pair.client.available() {
                continue;
            }
            eprintln!("fetching {} {} and {}", pair.package, pair.old, pair.new);
        }
        match cache.fetch(pair, &|_| ()) {
            Ok(files) => {
                let about = format!("{} {} -> {}", pair.package, pair.old, pair.new);
                return Ok(Case::new(&pair.name, about, files));
            }
            Err(error) => eprintln!("{}: {error}", pair.name),
        }
    }
    eprintln!("no release pair could be fetched: building the two sample programs");
    sample(cache)
}

fn sample(cache: &Cache) -> Result<Case, String> {
    let files = samples::build(&cache.root().join(SAMPLE)).map_err(crate::text)?;
    let about = "two versions of a small program, built here";
    Ok(Case::new(SAMPLE, about.into(), files))
}
