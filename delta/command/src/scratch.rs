//! Scratch space: files without a name in one folder, gone with the process at the latest.

use crate::output::Target;
use elfdelta::{Scratch, ScratchFile};
use std::{
    env, io,
    path::{Path, PathBuf},
};

/// The folder.
pub struct Folder(PathBuf);

impl Folder {
    /// The one asked for, or else that of the output.
    pub fn of(asked: Option<&Path>, output: &Target) -> Folder {
        let folder = match (asked, output) {
            (Some(folder), _) => folder.into(),
            (None, Target::Stdout) => env::temp_dir(),
            (None, Target::File(path)) => match path.parent() {
                Some(folder) if folder != Path::new("") => folder.into(),
                _ => ".".into(),
            },
        };
        Folder(folder)
    }
}

impl Scratch for Folder {
    fn file(&self) -> io::Result<Box<dyn ScratchFile>> {
        let file = tempfile::tempfile_in(&self.0).map_err(|error| {
            let folder = self.0.display();
            io::Error::new(error.kind(), format!("scratch space in {folder}: {error}"))
        })?;
        Ok(Box::new(file))
    }
}
