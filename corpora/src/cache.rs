//! The cache directory: one folder a pair, with plain files `old` and `new`.

use crate::{Client, Debian, Error, Pair, Release, Result, Side, Update, Wheel, error::at};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// What [`Cache::fetch`] is doing, for a progress display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The file is there and is being checked.
    Checking(Side),
    /// The client is fetching the archive.
    Downloading(Side),
    /// The member is being taken out.
    Extracting(Side),
    /// The side is in the cache and right.
    Done(Side),
}

/// Where the two files of a pair are.
#[derive(Clone, Debug)]
pub struct Files {
    /// The old release's file.
    pub old: PathBuf,
    /// The new release's file.
    pub new: PathBuf,
}

/// A cache directory.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The variable that overrides the default place.
    pub const VARIABLE: &str = "ELFDELTA_CORPORA";

    /// The cache at `root`; it is made when first written to.
    pub fn at(root: impl Into<PathBuf>) -> Cache {
        Cache { root: root.into() }
    }

    /// The cache that the environment names, else `corpora/cache` of this workspace.
    pub fn from_env() -> Cache {
        match std::env::var_os(Self::VARIABLE) {
            Some(root) if !root.is_empty() => Cache::at(root),
            _ => Cache::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("cache")),
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a pair's files are or would be.
    pub fn files(&self, name: &str) -> Files {
        let folder = self.root.join(name);
        Files {
            old: folder.join("old"),
            new: folder.join("new"),
        }
    }

    /// Whether both files are there, digests not checked.
    pub fn has(&self, pair: &Pair) -> bool {
        let files = self.files(&pair.name);
        files.old.is_file() && files.new.is_file()
    }

    /// Brings what is missing of a pair and checks both digests.
    ///
    /// A file that is there with the pinned digest is kept; one with another digest is fetched again. A file
    /// is moved to its place only once its digest was checked.
    pub fn fetch(&self, pair: &Pair, report: &dyn Fn(Step)) -> Result<Files> {
        let files = self.files(&pair.name);
        for (side, path) in [(Side::Old, &files.old), (Side::New, &files.new)] {
            report(Step::Checking(side));
            if !(path.is_file() && sha256(path)? == pair.sha256(side)) {
                self.bring(pair, side, path, report)?;
            }
            report(Step::Done(side));
        }
        Ok(files)
    }

    /// Brings one archive of the site tree into `wheels/` and checks its digest; one that is there is kept.
    pub fn fetch_wheel(&self, wheel: &Wheel, side: Side) -> Result<PathBuf> {
        let path = self
            .root
            .join("wheels")
            .join(format!("{}-{}.whl", wheel.package, wheel.version(side)));
        if path.is_file() && sha256(&path)? == wheel.sha256(side) {
            return Ok(path);
        }
        let work = self.work()?;
        let version = wheel.version(side);
        let archive = wheel
            .client
            .download(&wheel.package, version, &wheel.platform, work.path())?;
        self.place_checked(&archive, &path, wheel.sha256(side))?;
        Ok(path)
    }

    /// Unpacks packages of the site tree side by side into `folder`, which must not exist, fetching what is
    /// missing; `report` hears of each as its turn comes.
    pub fn unpack_wheels(
        &self,
        wheels: &[&Wheel],
        side: Side,
        folder: &Path,
        report: &dyn Fn(&Wheel),
    ) -> Result<()> {
        let work = self.work()?;
        let tree = work.path().join("tree");
        fs::create_dir(&tree).map_err(at(&tree))?;
        for wheel in wheels {
            report(wheel);
            wheel.client.unpack(&self.fetch_wheel(wheel, side)?, &tree)?;
        }
        self.place(&tree, folder)
    }

    /// Brings the whole site tree, unpacked into `tree/old` and `tree/new`.
    ///
    /// A side whose folder is there already is kept as it is.
    pub fn fetch_tree(&self, wheels: &[&Wheel], report: &dyn Fn(&Wheel, Side)) -> Result<Files> {
        let files = self.files("tree");
        for (side, path) in [(Side::Old, &files.old), (Side::New, &files.new)] {
            if !path.is_dir() {
                self.unpack_wheels(wheels, side, path, &|wheel| report(wheel, side))?;
            }
        }
        Ok(files)
    }

    /// Makes both sides of a Debian tree of what the archive has now, and tells which versions these are.
    ///
    /// Trees of the same versions that are there already are kept. `report` hears of each package as its turn comes.
    pub fn fetch_debian(
        &self,
        tree: &Debian,
        report: &dyn Fn(&Release, Side),
    ) -> Result<(Files, Vec<Update>)> {
        let updates = tree.updates()?;
        let files = self.files(&tree.name);
        let place = self.root.join(&tree.name);
        let versions: String = updates.iter().map(|update| format!("{update}\n")).collect();
        if fs::read_to_string(place.join("versions")).is_ok_and(|kept| kept == versions) {
            return Ok((files, updates));
        }
        let work = self.work()?;
        let fresh = work.path().join("trees");
        for side in Side::BOTH {
            let folder = fresh.join(side.name());
            fs::create_dir_all(&folder).map_err(at(&folder))?;
            for release in updates.iter().map(|update| update.release(side)) {
                report(release, side);
                let packed = work.path().join("package");
                fs::create_dir(&packed).map_err(at(&packed))?;
                let archive = Client::Apt.download(&release.package, &release.version, "", &packed)?;
                Client::Apt.unpack(&archive, &folder)?;
                fs::remove_dir_all(&packed).map_err(at(&packed))?;
            }
        }
        fs::write(fresh.join("versions"), versions).map_err(at(&fresh))?;
        if place.exists() {
            fs::remove_dir_all(&place).map_err(at(&place))?;
        }
        self.place(&fresh, &place)?;
        Ok((files, updates))
    }

    fn bring(&self, pair: &Pair, side: Side, path: &Path, report: &dyn Fn(Step)) -> Result<()> {
        let work = self.work()?;
        report(Step::Downloading(side));
        let folder = work.path().join("archive");
        fs::create_dir(&folder).map_err(at(&folder))?;
        let archive = pair
            .client
            .download(&pair.package, pair.version(side), &pair.platform, &folder)?;
        report(Step::Extracting(side));
        let Some(name) = pair.member(side) else {
            return self.place_checked(&archive, path, pair.sha256(side));
        };
        let member = work.path().join("member");
        pair.client.extract(&archive, &name, &member)?;
        self.place_checked(&member, path, pair.sha256(side))
    }

    fn place_checked(&self, from: &Path, to: &Path, expected: &str) -> Result<()> {
        let found = sha256(from)?;
        if found != expected {
            return Err(Error::Digest {
                path: to.into(),
                found,
                expected: expected.into(),
            });
        }
        self.place(from, to)
    }

    /// A scratch folder on the cache's own file system, so that finished files can be renamed into place.
    fn work(&self) -> Result<tempfile::TempDir> {
        fs::create_dir_all(&self.root).map_err(at(&self.root))?;
        tempfile::Builder::new()
            .prefix(".fetch-")
            .tempdir_in(&self.root)
            .map_err(at(&self.root))
    }

    fn place(&self, from: &Path, to: &Path) -> Result<()> {
        let parent = to.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(at(parent))?;
        fs::rename(from, to).map_err(at(to))
    }
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(at(path))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(at(path))? {
            0 => break,
            n => digest.update(&buffer[..n]),
        }
    }
    Ok(digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
