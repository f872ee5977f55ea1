//! A repository and sites of a case, by the commands that a user would type.

use super::report::{Kind, Row};
use crate::{
    fleet::{command, disk},
    interrupt::go_on,
    measure::{self, Step, Usage},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Keys and a repository in a folder.
pub struct Farm {
    folder: PathBuf,
    elfup: String,
}

impl Farm {
    /// Makes both.
    pub fn new(folder: &Path, elfup: &Path) -> Result<Farm, String> {
        let farm = Farm {
            folder: folder.to_owned(),
            elfup: elfup.display().to_string(),
        };
        let (keys, repo) = (farm.path("keys"), farm.path("repo"));
        command::run(&farm.line(&["keys", "init", &keys]))?;
        command::run(&farm.line(&["repo", "init", &repo, "--keys", &keys]))?;
        Ok(farm)
    }

    /// A path in the folder.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
    fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }
    fn line(&self, words: &[&str]) -> Vec<String> {
        let mut line = vec![self.elfup.clone(), "-q".to_owned()];
        line.extend(words.iter().map(|word| (*word).to_owned()));
        line
    }

    /// Runs a command that answers in JSON; tells what it took and its answer.
    fn measured(&self, words: &[&str]) -> Result<(Usage, serde_json::Value), String> {
        go_on()?;
        let answer = tempfile::NamedTempFile::new_in(&self.folder).map_err(crate::text)?;
        let usage = measure::steps(&[Step {
            argv: self.line(words),
            stdout: Some(answer.path().to_owned()),
            free: false,
        }])?;
        let text = fs::read(answer.path()).map_err(crate::text)?;
        Ok((usage, serde_json::from_slice(&text).map_err(crate::text)?))
    }

    /// Publishes the tree `tree` as a release; a row of what that took.
    pub fn publish(&self, case: &str, release: u64, tree: &str) -> Result<Row, String> {
        let (repo, keys, release) = (self.path("repo"), self.path("keys"), release.to_string());
        let tree = self.path(tree);
        eprintln!("{case}: publish {release}");
        let (usage, answer) = self.measured(&[
            "publish",
            "--json",
            "--repo",
            &repo,
            "--keys",
            &keys,
            "--product",
            "load",
            "--release",
            &release,
            &tree,
        ])?;
        let declared = answer.get("declared").and_then(serde_json::Value::as_u64);
        let mut row = Row::new(case, &format!("publish {release}"), usage, Kind::Publish);
        row.declared = Some(declared.ok_or("publish does not say what its jobs declared")?);
        row.files = Some(count(&self.at("repo")));
        row.repository = Some(disk::taken(&self.at("repo")));
        Ok(row)
    }

    /// Makes a site that reads from `source`.
    pub fn site(&self, site: &str, source: &str) -> Result<(), String> {
        let (site, root) = (self.path(site), self.path("repo/tuf/1.root.json"));
        command::run(&self.line(&[
            "site",
            "--site",
            &site,
            "init",
            "--product",
            "load",
            "--source",
            source,
            "--root",
            &root,
            "--unprivileged",
        ]))
    }

    /// The repository as a source.
    pub fn folder_source(&self) -> String {
        self.path("repo")
    }

    /// Updates a site; a row of what that took.
    pub fn update(&self, case: &str, what: &str, site: &str) -> Result<Row, String> {
        let site = self.path(site);
        let (usage, answer) = self.measured(&["site", "--site", &site, "update", "--json"])?;
        let mut row = Row::new(case, what, usage, Kind::Update);
        let account = |name: &str| answer.pointer(&format!("/account/{name}"))?.as_u64();
        row.requests = account("requests");
        row.bytes = account("bytes");
        Ok(row)
    }

    /// Holds a site's tree against a release's, file by file.
    pub fn same(&self, tree: &str, site: &str) -> Result<(), String> {
        let (tree, current) = (
            self.path(tree),
            format!("{}/.", self.path(&format!("{site}/current"))),
        );
        command::run(&["diff", "-rq", "--no-dereference", &tree, &current].map(str::to_owned))
    }
}

/// Files below a folder.
fn count(folder: &Path) -> u64 {
    let (mut folders, mut files) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => files += 1,
            }
        }
    }
    files
}
