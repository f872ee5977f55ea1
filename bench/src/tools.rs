//! The peers' programs: where they are looked for, and how to install them.

use crate::engine::ENGINES;
use corpora::Cache;
use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The version of the Python package that the table's figures are from.
const HDIFFPATCH: &str = "hdiffpatch==2.6.0";

/// Finds the peers' programs.
pub struct Tools {
    venv: PathBuf,
}

impl Tools {
    /// Those of this machine and of the cache directory.
    pub fn new(cache: &Cache) -> Tools {
        Tools {
            venv: cache.root().join("tools/venv"),
        }
    }

    /// Why a program on the search path cannot be used, if it cannot.
    pub fn lacks(&self, program: &str) -> Option<String> {
        lacks(program)
    }

    /// The Python of the environment that HDiffPatch is installed in.
    pub fn hdiffpatch_python(&self) -> PathBuf {
        self.venv.join("bin/python")
    }

    /// Why HDiffPatch cannot be used, if it cannot.
    pub fn lacks_hdiffpatch(&self) -> Option<String> {
        let mut python = Command::new(self.hdiffpatch_python());
        python.args(["-c", "import hdiffpatch"]).stderr(Stdio::null());
        let there = python.status().is_ok_and(|status| status.success());
        (!there).then(|| "its Python package is not in the cache directory".into())
    }

    /// Why Zucchini cannot be used, if it cannot.
    pub fn lacks_zucchini(&self) -> Option<String> {
        if cfg!(not(feature = "zucchini")) {
            return Some("built without the feature zucchini, which needs clang-19".into());
        }
        self.lacks("xz")
    }

    fn install_hdiffpatch(&self) -> Result<(), String> {
        run(Command::new("python3").args(["-m", "venv"]).arg(&self.venv))?;
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            HDIFFPATCH,
        ];
        run(Command::new(self.hdiffpatch_python()).args(pip))
    }
}

/// Why a program on the search path cannot be used, if it cannot.
pub fn lacks(program: &str) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    (!found).then(|| format!("{program} is not installed"))
}

/// Prints which engines run here; installs HDiffPatch first if asked to.
pub fn run_list(tools: &Tools) {
    for engine in ENGINES {
        match engine.lacks(tools) {
            None => println!("{:<16} ready    {}", engine.name, engine.about),
            Some(why) => println!("{:<16} missing  {why}", engine.name),
        }
    }
}

/// `bench tools`.
pub fn run_tools(cache: &Cache, install: bool) -> Result<(), String> {
    let tools = Tools::new(cache);
    if install && tools.lacks_hdiffpatch().is_some() {
        tools.install_hdiffpatch()?;
    }
    run_list(&tools);
    Ok(())
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(crate::text)?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| format!("{command:?}: {status}"))
}
