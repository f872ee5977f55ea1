//! What a site says of itself, and the folder of a stick in which that travels back to the farm.

use crate::metrics::{Metrics, labels};
use crate::names::{self, Follow};
use crate::{Digest, Error, Result, clock, disk};
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// The folder of a stick with a file for each site; `stick prepare` makes it, and that it is there asks for reports.
pub const FOLDER: &str = "reports";

/// Most bytes of a report, and most reports that a stick is believed to carry.
const LONGEST: u64 = 64 << 10;
const MOST: usize = 4096;

/// A release that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its id.
    pub release: String,
    /// Its position in the channel.
    pub sequence: u64,
    /// Digest of its manifest.
    pub manifest: Digest,
}

/// What the last update did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Last {
    /// When it ended, by the site's clock.
    pub time: String,
    /// Release before.
    pub from: Option<String>,
    /// Release after.
    pub to: String,
    /// Bytes that came.
    pub bytes: u64,
    /// Seconds of fetching and rebuilding.
    pub seconds: f64,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, by the site's clock.
    pub time: String,
    /// What went wrong, in words.
    pub failed: String,
}

/// What a site says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Number of the site, chosen by chance when it first reported.
    pub site: String,
    /// Name of the machine, for people.
    pub name: String,
    /// Version of elfup.
    pub elfup: String,
    /// What it follows.
    pub follow: Follow,
    /// When this was written: the site's clock, or signed time where the clock is behind it.
    pub time: String,
    /// Seconds that the clock is behind signed time.
    pub clock_behind: i64,
    /// What runs.
    pub runs: Option<Running>,
    /// A release that is fetched and waits.
    pub ready: Option<String>,
    /// A release that is on trial.
    pub trial: Option<String>,
    /// Manifests of releases that failed their health check there.
    pub bad: Vec<Digest>,
    /// Most memory that it gives to rebuilding one file.
    pub memory: u64,
    /// Bytes free on its disk.
    pub free: u64,
    /// Until when the signed metadata that it has is good.
    pub expires: Option<String>,
    /// The last update.
    pub last: Option<Last>,
    /// Failures since then, the oldest first.
    pub failures: Vec<Failure>,
}

impl Report {
    /// Parses what a stick has, which anybody may have written: it decides what is carried, and nothing else.
    fn parse(bytes: &[u8]) -> Result<Report> {
        let report: Report =
            serde_json::from_slice(bytes).map_err(|e| Error::malformed("report", e.to_string()))?;
        let Follow {
            product,
            channel,
            arch,
        } = &report.follow;
        for name in [product, channel, arch, &report.site] {
            names::check(name).map_err(|e| Error::malformed("report", e.to_string()))?;
        }
        Ok(report)
    }

    /// The same as figures for whoever watches many sites.
    pub fn metrics(&self) -> String {
        let mut m = Metrics::default();
        let of = labels(&self.follow);
        let mut one = |name: &str, help: &str, value: Option<f64>| {
            let rows: Vec<(&[(&str, &str)], f64)> = value.map(|v| (&of[..], v)).into_iter().collect();
            m.gauge(name, help, &rows);
        };
        let time = |text: &str| clock::parse(text).map(|t| t as f64);
        let count = |n: usize| Some(n as f64);
        let runs = self.runs.as_ref().map_or(0, |r| r.sequence);
        one(
            "elfup_site_sequence",
            "Position in the channel of the release that runs, 0 for none.",
            Some(runs as f64),
        );
        one(
            "elfup_site_ready",
            "Whether a fetched release waits.",
            count(self.ready.iter().count()),
        );
        one(
            "elfup_site_on_trial",
            "Whether the release that runs is on trial.",
            count(self.trial.iter().count()),
        );
        one(
            "elfup_site_bad_releases",
            "Releases that failed their health check here.",
            count(self.bad.len()),
        );
        one(
            "elfup_site_failures",
            "Failures since the last update, of the latest ones.",
            count(self.failures.len()),
        );
        one(
            "elfup_site_free_bytes",
            "Room on the disk.",
            Some(self.free as f64),
        );
        one(
            "elfup_site_clock_behind_seconds",
            "Seconds that the clock is behind signed time.",
            Some(self.clock_behind as f64),
        );
        let expires = self.expires.as_deref().and_then(time);
        one(
            "elfup_site_metadata_expires_timestamp_seconds",
            "Until when signed metadata is good.",
            expires,
        );
        let last = self.last.as_ref();
        one(
            "elfup_site_last_update_timestamp_seconds",
            "When the last update ended.",
            last.and_then(|l| time(&l.time)),
        );
        one(
            "elfup_site_last_update_bytes",
            "Bytes that it fetched.",
            last.map(|l| l.bytes as f64),
        );
        m.text()
    }

    /// Lays it on a stick, in the place of this site's last one.
    ///
    /// The stick may be anybody's: nothing on it is followed or opened that was there before.
    pub fn leave(&self, stick: &Path) -> Result<()> {
        let what = || format!("write a report to {}", stick.join(FOLDER).display());
        let failed = |e: rustix::io::Errno| Error::io(what(), e);
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(stick.join(FOLDER), flags, Mode::empty()).map_err(failed)?;
        let (name, new) = (format!("{}.json", self.site), format!("{}.new", self.site));
        match unlinkat(&folder, &new, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(failed(e)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&folder, &new, flags, Mode::from_raw_mode(0o644)).map_err(failed)?;
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::io("encode a report", std::io::Error::from(e)))?;
        bytes.push(b'\n');
        let mut file = File::from(file);
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        written.map_err(|e| Error::io(what(), e))?;
        renameat(&folder, &new, &folder, &name).map_err(failed)?;
        rustix::fs::fsync(&folder).map_err(failed)
    }
}

/// Whether a directory is a stick that asks sites to report.
pub fn asked(stick: &Path) -> bool {
    stick.join(FOLDER).symlink_metadata().is_ok_and(|m| m.is_dir())
}

/// The reports on a stick, by site; what is none is told to `skipped`, by file name.
pub fn read(stick: &Path, skipped: &mut dyn FnMut(&str, &str)) -> Result<Vec<Report>> {
    let mut found = Vec::new();
    let mut entries = disk::list(&stick.join(FOLDER))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let named = |e: &std::fs::DirEntry| e.path().extension().is_some_and(|x| x == "json");
    for entry in entries.into_iter().filter(named) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if found.len() >= MOST {
            skipped(&name, "there are too many");
            break;
        }
        match one(&entry).and_then(|bytes| Report::parse(&bytes)) {
            Ok(report) => found.push(report),
            Err(e) => skipped(&name, &e.to_string()),
        }
    }
    Ok(found)
}

fn one(entry: &std::fs::DirEntry) -> Result<Vec<u8>> {
    let failed = |e| Error::io(format!("read {}", entry.path().display()), e);
    // A stick may hold anything: a FIFO or a device must not be opened.
    if !entry.file_type().is_ok_and(|t| t.is_file()) {
        return Err(Error::malformed("report", "it is not a file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(entry.path()).map_err(failed)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > LONGEST {
        true => Err(Error::malformed("report", "it is too long")),
        false => Ok(bytes),
    }
}
