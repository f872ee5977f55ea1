//! Two versions of a small program, built with the compiler at hand: a pair without a network.

use crate::{Error, Files, Result, client::run, error::at};
use std::{fs, path::Path, process::Command};

const VERSIONS: [(&str, &str); 2] = [
    ("old", include_str!("../samples/tally-1.rs")),
    ("new", include_str!("../samples/tally-2.rs")),
];

/// Builds both versions of the sample program into `folder`, optimised and without debug information.
///
/// Both have the same crate name and are built at the same relative path, so that they differ as two releases
/// do. The bytes depend on the compiler: they are not pinned. Fails with [`Error::MissingProgram`] without
/// `rustc`.
pub fn build(folder: &Path) -> Result<Files> {
    let sources = tempfile::tempdir().map_err(at("the temporary directory"))?;
    fs::create_dir_all(folder).map_err(at(folder))?;
    let folder = folder.canonicalize().map_err(at(folder))?;
    let source = sources.path().join("tally.rs");
    for (name, text) in VERSIONS {
        fs::write(&source, text).map_err(at(&source))?;
        let mut rustc = Command::new("rustc");
        rustc.args([
            "--edition=2021",
            "--crate-name=tally",
            "-O",
            "-C",
            "strip=debuginfo",
            "tally.rs",
            "-o",
        ]);
        rustc.arg(folder.join(name)).current_dir(sources.path());
        run(&mut rustc, "a Rust toolchain")?.map_err(Error::Build)?;
    }
    Ok(Files {
        old: folder.join("old"),
        new: folder.join("new"),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_versions_build_and_differ() {
        let folder = tempfile::tempdir().unwrap();
        let files = super::build(folder.path()).unwrap();
        let (old, new) = (
            std::fs::read(files.old).unwrap(),
            std::fs::read(files.new).unwrap(),
        );
        assert!(old.starts_with(b"\x7fELF") && new.starts_with(b"\x7fELF"));
        assert_ne!(old, new);
    }
}
