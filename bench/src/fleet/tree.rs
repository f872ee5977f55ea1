//! The two releases that are distributed: real packages side by side, and an entry of every kind of our own.

use super::command::{run, words};
use super::race::Releases;
use corpora::{Cache, Manifest, Side};
use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::Path,
};

/// Makes both releases below `folder` of the packages of these names (all, if none is given).
///
/// A release that is there is kept.
pub fn make(cache: &Cache, folder: &Path, names: &[String]) -> Result<Releases, String> {
    let manifest = Manifest::builtin();
    let wheels = manifest.wheels(names).map_err(crate::text)?;
    fs::create_dir_all(folder).map_err(crate::text)?;
    for side in Side::BOTH {
        let place = folder.join(side.name());
        if place.is_dir() {
            continue;
        }
        let work = tempfile::tempdir_in(folder).map_err(crate::text)?;
        let tree = work.path().join("tree");
        let tell = |wheel: &corpora::Wheel| eprintln!("{} {}", wheel.package, wheel.version(side));
        cache
            .unpack_wheels(&wheels, side, &tree, &tell)
            .map_err(crate::text)?;
        own(&tree, side).map_err(crate::text)?;
        capable(&tree);
        level(&tree)?;
        fs::rename(&tree, &place).map_err(crate::text)?;
    }
    Ok(Releases {
        old: folder.join("old"),
        new: folder.join("new"),
    })
}

/// Symbolic links, a group of hard links, a set-user-id file and a sparse one, all different in the two releases.
fn own(tree: &Path, side: Side) -> std::io::Result<()> {
    let at = |path: &str| tree.join("own").join(path);
    for folder in ["bin", "share", "var"] {
        fs::create_dir_all(at(folder))?;
    }
    let script = format!("#!/bin/sh\necho the {} release\n", side.name());
    for (name, mode) in [("elevated", 0o4755), ("capable", 0o755)] {
        fs::write(at("bin").join(name), format!("{script}# {name}\n"))?;
        fs::set_permissions(at("bin").join(name), Permissions::from_mode(mode))?;
    }
    fs::write(at("share/page"), script.repeat(200))?;
    for name in ["share/page-too", "bin/page"] {
        fs::hard_link(at("share/page"), at(name))?;
    }
    symlink("../share/page", at("bin/link"))?;
    symlink(format!("no/such/{}", side.name()), at("dangling"))?;
    let sparse = File::create(at("var/sparse"))?;
    sparse.set_len(64 << 20)?;
    sparse.write_all_at(script.as_bytes(), 32 << 20)
}

/// Gives a file capabilities, where the program that does it is installed.
fn capable(tree: &Path) {
    let file = tree.join("own/bin/capable");
    let mut line = words("setcap cap_net_bind_service=ep");
    line.push(file.display().to_string());
    if let Err(error) = run(&line) {
        eprintln!("no file has capabilities: {error}");
    }
}

/// Sets all times to one value: they are those of the unpacking, and would be changes that no tool should see.
fn level(tree: &Path) -> Result<(), String> {
    let mut line = vec!["find".into(), tree.display().to_string()];
    line.extend(words("-exec touch -h -d @0 {} +"));
    run(&line)
}
