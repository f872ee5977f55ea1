//! Trees of a Debian release: the two newest versions that the archive has of each package.
//!
//! The archive keeps only what is current in each suite, so nothing can be pinned: which versions were taken is
//! written beside the trees, and a tree is made anew when the archive has moved on.

use crate::{
    Client, Error, Result, Side,
    client::{output, run},
};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BTreeMap, fmt, process::Command};

/// Packages of a Debian release that make up one tree.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// Short name, unique in the manifest; also its folder in the cache.
    pub name: String,
    /// Packages by name, each in its two newest versions.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Beginning and end of the names of packages that replace each other, such as kernels: the two newest are taken.
    pub series: Option<(String, String)>,
    /// What the tree is there to show.
    pub why: String,
}

/// What one package is replaced by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    old: Release,
    new: Release,
}

/// One package of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
}

impl Update {
    /// One of the two.
    pub fn release(&self, side: Side) -> &Release {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{} {} -> {} {}",
            self.old.package, self.old.version, self.new.package, self.new.version
        )
    }
}

impl Debian {
    /// The updates that the archive has now, as this machine's package lists know it.
    ///
    /// Fails with [`Error::OneVersion`] where it has no two versions of anything.
    pub fn updates(&self) -> Result<Vec<Update>> {
        let names = match &self.series {
            None => self.packages.clone(),
            Some((begin, end)) => {
                let mut query = Command::new("apt-cache");
                let told = output(query.args(["pkgnames", begin]), Client::Apt.install())?;
                told.lines()
                    .filter(|name| name.ends_with(end.as_str()))
                    .map(str::to_owned)
                    .collect()
            }
        };
        let mut query = Command::new("apt-cache");
        query.arg("madison").args(&names).env("LC_ALL", "C");
        let told = match names.is_empty() {
            true => String::new(),
            false => output(&mut query, Client::Apt.install())?,
        };
        let mut updates = Vec::new();
        let known = versions(&told);
        match &self.series {
            Some(_) => updates.extend(newest(known.into_values().flatten().collect())?),
            None => {
                for releases in known.into_values() {
                    updates.extend(newest(releases)?);
                }
            }
        }
        match updates.is_empty() {
            true => Err(Error::OneVersion(self.name.clone())),
            false => Ok(updates),
        }
    }
}

/// Every version by package, of lines such as `curl | 7.88.1-10+deb12u15 | http://... Packages`.
fn versions(madison: &str) -> BTreeMap<String, Vec<Release>> {
    let mut known: BTreeMap<String, Vec<Release>> = BTreeMap::new();
    for line in madison.lines() {
        let mut fields = line.split('|').map(str::trim);
        let (Some(package), Some(version), Some(place)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let release = Release {
            package: package.into(),
            version: version.into(),
        };
        let releases = known.entry(package.into()).or_default();
        if place.ends_with("Packages") && !releases.contains(&release) {
            releases.push(release);
        }
    }
    known
}

/// The newest and the one before it, if there are two.
fn newest(mut releases: Vec<Release>) -> Result<Option<Update>> {
    let Some(new) = take_newest(&mut releases)? else {
        return Ok(None);
    };
    let old = take_newest(&mut releases)?;
    Ok(old.map(|old| Update { old, new }))
}

fn take_newest(releases: &mut Vec<Release>) -> Result<Option<Release>> {
    let mut best = 0;
    for index in 1..releases.len() {
        if compare(&releases[index], &releases[best])? == Ordering::Greater {
            best = index;
        }
    }
    Ok((best < releases.len()).then(|| releases.remove(best)))
}

/// As Debian orders versions.
fn compare(a: &Release, b: &Release) -> Result<Ordering> {
    if a.version == b.version {
        return Ok(a.package.cmp(&b.package));
    }
    let mut dpkg = Command::new("dpkg");
    dpkg.args(["--compare-versions", &a.version, "gt", &b.version]);
    Ok(match run(&mut dpkg, Client::Apt.install())? {
        Ok(()) => Ordering::Greater,
        Err(_) => Ordering::Less,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADISON: &str = "\
 perl-base | 5.36.0-7+deb12u9 | http://an.archive/security suite-security/main amd64 Packages
 perl-base | 5.36.0-7+deb12u10 | http://an.archive/debian suite/main amd64 Packages
 perl-base | 5.36.0-7+deb12u10 | http://an.archive/debian suite-updates/main amd64 Packages
 perl-base | 5.36.0-7+deb12u2 | http://an.archive/debian old/main amd64 Packages
      perl | 5.40.0-1 | http://an.archive/debian suite/main Sources
       tar | 1.34+dfsg-1.2 | http://an.archive/debian suite/main amd64 Packages
";

    fn release(package: &str, version: &str) -> Release {
        Release {
            package: package.into(),
            version: version.into(),
        }
    }

    #[test]
    fn the_two_newest_versions_are_taken_in_the_order_of_versions() {
        if !Client::Apt.available() {
            eprintln!("skipped: no apt on this machine");
            return;
        }
        let known = versions(MADISON);
        assert_eq!(known["perl-base"].len(), 3);
        assert_eq!(known["perl"], []);
        let update = newest(known["perl-base"].clone()).unwrap().unwrap();
        assert_eq!(
            *update.release(Side::New),
            release("perl-base", "5.36.0-7+deb12u10")
        );
        assert_eq!(
            *update.release(Side::Old),
            release("perl-base", "5.36.0-7+deb12u9")
        );
        assert_eq!(newest(known["tar"].clone()).unwrap(), None);
    }

    #[test]
    fn a_series_is_ordered_by_version_not_by_name() {
        if !Client::Apt.available() {
            eprintln!("skipped: no apt on this machine");
            return;
        }
        let kernels = [
            ("a-9-cloud", "6.1.9-1"),
            ("a-10-cloud", "6.1.10-1"),
            ("a-8-cloud", "6.1.8-1"),
        ];
        let kernels = kernels
            .map(|(package, version)| release(package, version))
            .to_vec();
        let update = newest(kernels).unwrap().unwrap();
        assert_eq!(update.to_string(), "a-9-cloud 6.1.9-1 -> a-10-cloud 6.1.10-1");
    }

    #[test]
    fn an_archive_without_two_versions_is_an_error_that_says_so() {
        if !Client::Apt.available() {
            eprintln!("skipped: no apt on this machine");
            return;
        }
        let tree = Debian {
            name: "nothing".into(),
            packages: vec!["no-such-package-anywhere".into()],
            series: None,
            why: String::new(),
        };
        assert!(matches!(tree.updates(), Err(Error::OneVersion(name)) if name == "nothing"));
    }
}
