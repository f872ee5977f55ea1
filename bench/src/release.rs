//! The demo's second half: two signed releases of a small tree, from a farm to a site and back, by the commands
//! that a user would type.

use crate::{built, cases::Case};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

/// Publishes both releases of a tree around the case's file, updates a site from one to the other, rolls back.
pub fn show(case: &Case) -> Result<(), String> {
    let (work, program) = (tempfile::tempdir().map_err(crate::text)?, built::elfup()?);
    let folder = work.path();
    for (release, file) in [("1.0", &case.old), ("1.1", &case.new)] {
        tree(&folder.join(release), release, file).map_err(crate::text)?;
    }
    println!("The same as two signed releases of a tree, from a farm to a site and back:\n");
    let elfup = |line: &str| told(&program, folder, line);
    elfup("keys init keys")?;
    elfup("repo init repo --keys keys")?;
    elfup("publish --repo repo --keys keys --product demo --release 1.0 1.0")?;
    elfup("site --site site init --product demo --source repo --root repo/tuf/1.root.json")?;
    elfup("site --site site update")?;
    elfup("publish --repo repo --keys keys --product demo --release 1.1 1.1")?;
    // The repository is a local folder: the plan is told what a bad link would be like.
    elfup("site --site site plan --explain --bandwidth 32000 --rtt 0.6")?;
    let updated = elfup("site --site site update --bandwidth 32000 --rtt 0.6 --json")?;
    saved(&updated)?;
    same(&folder.join("1.1"), &folder.join("site/current"))?;
    elfup("site --site site rollback")?;
    same(&folder.join("1.0"), &folder.join("site/current"))?;
    println!("After each step the site's tree was compared with the release: equal.\n");
    Ok(())
}

/// A program, a few texts that change with the release, and a link.
pub fn tree(at: &Path, release: &str, program: &Path) -> std::io::Result<()> {
    for folder in ["bin", "share"] {
        fs::create_dir_all(at.join(folder))?;
    }
    fs::copy(program, at.join("bin/program"))?;
    fs::set_permissions(at.join("bin/program"), fs::Permissions::from_mode(0o755))?;
    for (name, text) in [
        ("CHANGELOG.md", include_str!("../../CHANGELOG.md")),
        ("README.md", include_str!("../../README.md")),
        ("LICENSE", include_str!("../../LICENSE-MIT")),
    ] {
        fs::write(at.join("share").join(name), text)?;
    }
    let notes = format!("Release {release}\n\n{}", include_str!("../README.md"));
    fs::write(at.join("share/notes.md"), notes)?;
    symlink("bin/program", at.join("program"))
}

/// Runs one command of the updater, shows it with what it said, and returns that.
fn told(program: &Path, folder: &Path, line: &str) -> Result<String, String> {
    let words = line.split(' ');
    let mut command = Command::new(program);
    command
        .arg("-q")
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null());
    let output = command.output().map_err(crate::text)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("$ elfup {line}");
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("elfup {line}: {}", why.trim()));
    }
    // What is meant for programs is summed up instead.
    if !line.ends_with("--json") {
        println!("{said}");
    }
    Ok(said)
}

/// One sentence of what an update's JSON says.
fn saved(updated: &str) -> Result<(), String> {
    let updated: serde_json::Value = serde_json::from_str(updated).map_err(crate::text)?;
    let number = |path: &str| updated.pointer(path).and_then(serde_json::Value::as_u64);
    let figures = [
        number("/account/bytes"),
        number("/account/requests"),
        number("/whole_bytes"),
    ];
    let [Some(bytes), Some(requests), Some(whole)] = figures else {
        return Err("the update did not say what it took".into());
    };
    let group = crate::table::group;
    println!(
        "{} bytes in {requests} requests beside what the plan had read; the changed files whole would be {} bytes: {} saved.\n",
        group(bytes),
        group(whole),
        group(whole.saturating_sub(bytes)),
    );
    Ok(())
}

fn same(release: &Path, site: &Path) -> Result<(), String> {
    // The slash and the dot, as the site's tree is behind a symbolic link.
    let mut diff = Command::new("diff");
    diff.args(["-r", "--no-dereference"])
        .arg(release)
        .arg(site.join("."));
    let output = diff.output().map_err(|error| format!("diff: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "the site's tree is not the release: {}",
            String::from_utf8_lossy(&output.stdout).trim()
        )),
    }
}
