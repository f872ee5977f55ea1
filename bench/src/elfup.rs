//! The updater's program, built where it is missing or old: the bench runs what a user would run.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Builds `elfup` beside this program, in the same profile, and returns its path.
pub fn program() -> Result<PathBuf, String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--package", "elfup"]);
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
        true => Ok(folder.join("elfup")),
        false => Err(format!("elfup does not build: {status}")),
    }
}
