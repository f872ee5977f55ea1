//! Where results go: standard output as they come, or a file that appears whole or not at all.

use crate::{exit::Failure, interrupt};
use elfdelta::Error;
use std::{
    convert::Infallible,
    ffi::OsString,
    fs::{self, File, Permissions},
    io::{self, BufWriter, IsTerminal, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    str::FromStr,
};
use tempfile::NamedTempFile;

/// The value of `-o`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `-`.
    Stdout,
    /// A path.
    File(PathBuf),
}

impl FromStr for Target {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "-" => Target::Stdout,
            path => Target::File(path.into()),
        })
    }
}

const BUFFER: usize = 1 << 16;

impl Target {
    /// Writes what `fill` produces.
    ///
    /// For a file: to a temporary file `.NAME.XXXXXX.elfdelta-tmp` in the same folder, synced, then renamed
    /// over the name. On any error or signal the temporary is removed and the name is as it was; only a process
    /// that is killed leaves that one file. `permissions` are those of a file that is not there yet; a file that is
    /// there hands its own on. It is written over with `force` alone, unless it is empty: see [`Target::free`].
    pub fn write(
        &self,
        force: bool,
        permissions: Option<Permissions>,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        match self {
            Target::Stdout => {
                self.free(force)?;
                let stdout = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(Error::Io)?);
                filled(stdout, fill)?;
                Ok(())
            }
            Target::File(path) => replace(path, force, permissions, fill),
        }
    }

    /// Says at once, before any work, where writing would be refused: something is there, and `force` is not given.
    ///
    /// A file of no bytes is nobody's loss: scripts make such names to have them for themselves.
    pub fn free(&self, force: bool) -> Result<(), Failure> {
        match self {
            _ if force => Ok(()),
            Target::Stdout if io::stdout().is_terminal() => Err(Failure::Usage(
                "standard output is a terminal: give a file, or -f to write there all the same",
            )),
            Target::Stdout => Ok(()),
            Target::File(path) => match fs::metadata(path) {
                Ok(there) if there.is_file() && there.len() > 0 => Err(Failure::Taken(path.clone())),
                _ => Ok(()),
            },
        }
    }
}

fn replace(
    path: &Path,
    force: bool,
    permissions: Option<Permissions>,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<(), Failure> {
    let at = |error| Failure::at(path)(error);
    let permissions = match fs::metadata(path) {
        Ok(there) if !there.is_file() => {
            let why = "it is not a regular file; use - for standard output";
            return Err(at(io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        Ok(there) => Some(there.permissions()),
        Err(_) => permissions,
    };
    let Some(name) = path.file_name() else {
        return Err(at(io::ErrorKind::InvalidInput.into()));
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".elfdelta-tmp");
    let temporary = interrupt::made(|| builder.tempfile_in(folder), NamedTempFile::path).map_err(at)?;
    let written = || -> Result<(), Failure> {
        let file = filled(temporary.as_file().try_clone().map_err(at)?, fill)?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions).map_err(at)?;
        }
        file.sync_all().map_err(at)
    }();
    // What came there meanwhile is kept, too.
    let written = written.and_then(|()| Target::File(path.into()).free(force));
    interrupt::given_up(|| match written {
        Ok(()) => temporary
            .persist(path)
            .map(drop)
            .map_err(|failed| at(failed.error)),
        Err(failed) => Err(failed),
    })?;
    // The rename is done; a folder that cannot be opened for syncing is no reason to call the file bad.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Writes a report to standard output.
pub fn say(report: &str) -> Result<(), Failure> {
    let told = |mut out: io::StdoutLock| out.write_all(report.as_bytes()).and_then(|()| out.flush());
    told(io::stdout().lock()).map_err(Failure::at(Path::new("standard output")))
}

/// The same for a report in JSON.
pub fn say_json(report: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(report).expect("a report serialises");
    say(&(text + "\n"))
}

fn filled(file: File, fill: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Result<File, Error> {
    let mut buffered = BufWriter::with_capacity(BUFFER, file);
    fill(&mut buffered)?;
    Ok(buffered.into_inner().map_err(io::IntoInnerError::into_error)?)
}
