//! Room on the disk is taken before the first byte, and given back as it is used.

use crate::disk;
use crate::error::Doing;
use crate::{Error, Result};
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file that holds room.
pub struct Reservation {
    file: Option<File>,
    path: PathBuf,
    left: u64,
}

impl Reservation {
    /// Takes `needed` bytes, leaving `reserve` bytes free; changes nothing if that cannot be.
    pub fn take(dir: &Path, needed: u64, reserve: u64) -> Result<Reservation> {
        let free = disk::free(dir)?.saturating_sub(reserve);
        if needed > free {
            return Err(Error::NoSpace { needed, free });
        }
        let path = dir.join("reserve");
        let mut file = None;
        if needed > 0 {
            let _ = std::fs::remove_file(&path);
            let new = disk::create_new(&path, 0o600)?;
            match rustix::fs::fallocate(&new, FallocateFlags::empty(), 0, needed) {
                Ok(()) => file = Some(new),
                // Filesystems without it still had the check above.
                Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOSYS) => disk::remove(&path)?,
                Err(rustix::io::Errno::NOSPC) => {
                    disk::remove(&path)?;
                    return Err(Error::NoSpace { needed, free });
                }
                Err(e) => {
                    let _ = disk::remove(&path);
                    return Err(e).doing("reserve room in", dir);
                }
            }
        }
        Ok(Reservation {
            file,
            path,
            left: needed,
        })
    }

    /// Gives back room that is about to be used.
    pub fn give(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        if let Some(file) = &self.file {
            let _ = file.set_len(self.left);
        }
    }

    /// Removes what a killed run held.
    pub fn drop_leftover(dir: &Path) -> Result<()> {
        disk::remove(&dir.join("reserve"))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
