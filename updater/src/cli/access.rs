//! How mirrors are reached, asked in the same words by every command that reads one.

use clap::Args;
use elfup::source::Access;
use elfup::{Error, Result};
use std::path::PathBuf;

/// How mirrors are reached. Proxies are those of the environment.
#[derive(Args)]
pub struct AccessArgs {
    /// Certificate authorities for https instead of the system's (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Headers for a private repository, `Name: value` a line, below `[https://host]` if there are several hosts.
    #[arg(long, value_name = "FILE")]
    header_file: Option<PathBuf>,
    /// Users and passwords by host, in the format of `.netrc`.
    #[arg(long, value_name = "FILE")]
    netrc: Option<PathBuf>,
}

impl AccessArgs {
    /// The files by absolute path: a site is used from other directories.
    pub fn get(self) -> Result<Access> {
        Ok(Access {
            ca: self.ca.map(absolute).transpose()?,
            header_file: self.header_file.map(absolute).transpose()?,
            netrc: self.netrc.map(absolute).transpose()?,
            ..Access::default()
        })
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|e| Error::io(format!("find {}", path.display()), e))
}
