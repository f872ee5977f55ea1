//! This project's commands, built where they are missing or old: the bench runs what a user would run.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The updater.
pub fn elfup() -> Result<PathBuf, String> {
    beside("elfup", "elfup")
}

/// The engine's command.
pub fn elfdelta() -> Result<PathBuf, String> {
    beside("elfdelta-cli", "elfdelta")
}

/// Builds a command beside this program, in the same profile, and returns its path.
fn beside(package: &str, command: &str) -> Result<PathBuf, String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--package", package]);
    cargo.args([
        "--profile",
        if cfg!(debug_assertions) { "dev" } else { "release" },
    ]);
    let ours = env::current_exe().map_err(crate::text)?;
    let folder = ours.parent().ok_or("this program is nowhere")?;
    // The folder above the profile's, wherever the configuration or the environment put it.
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
    match status.success() {
        true => Ok(folder.join(command)),
        false => Err(format!("{command} does not build: {status}")),
    }
}
