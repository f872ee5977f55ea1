//! The engines: their names, whether they run here, and the commands that make and apply a delta.

use crate::{child, measure::Step, peers, tools::Tools};
use std::path::{Path, PathBuf};

/// The paths of one run: inputs, and where results go.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The old file.
    pub old: PathBuf,
    /// The new file.
    pub new: PathBuf,
    /// Scratch folder of this run alone.
    pub work: PathBuf,
    /// What the apply commands write.
    pub out: PathBuf,
}

impl Paths {
    /// A file in the scratch folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

/// The commands that make a delta, and the files any one of which is enough to apply it.
pub struct Plan {
    /// Run in order.
    pub diff: Vec<Step>,
    /// Each is a form of the delta with the commands that apply it; the smallest counts.
    pub forms: Vec<(PathBuf, Vec<Step>)>,
}

/// One engine.
#[derive(Clone, Copy)]
pub struct Engine {
    /// Name on the command line and in tables.
    pub name: &'static str,
    /// What it is, with its settings.
    pub about: &'static str,
    /// How to install it.
    pub install: &'static str,
    /// Whether the row is a yardstick that looks at the new file alone.
    pub whole: bool,
    /// Why it does not run here, if it does not.
    pub missing: fn(&Tools) -> Option<String>,
    /// Its commands.
    pub plan: fn(&Tools, &Paths) -> Plan,
}

impl Engine {
    /// Why it does not run here, and how to get it, if it does not.
    pub fn lacks(&self, tools: &Tools) -> Option<String> {
        (self.missing)(tools).map(|why| format!("{why}; {}", self.install))
    }

    /// Whether it is one of this project's profiles.
    pub fn ours(&self) -> bool {
        self.name.starts_with("elfdelta")
    }
}

const OURS: &str = "part of this workspace";

/// Every engine, ours first.
pub const ENGINES: [Engine; 11] = [
    Engine {
        name: "elfdelta",
        about: "this project, default profile",
        install: OURS,
        whole: false,
        missing: |_| None,
        plan: |_, paths| child::elfdelta(paths, "default"),
    },
    Engine {
        name: "elfdelta-fast",
        about: "this project, fast profile",
        install: OURS,
        whole: false,
        missing: |_| None,
        plan: |_, paths| child::elfdelta(paths, "fast"),
    },
    Engine {
        name: "elfdelta-max",
        about: "this project, max profile",
        install: OURS,
        whole: false,
        missing: |_| None,
        plan: |_, paths| child::elfdelta(paths, "max"),
    },
    Engine {
        name: "zstd-19",
        about: "whole new file, zstd level 19, the linked library",
        install: OURS,
        whole: true,
        missing: |_| None,
        plan: |_, paths| child::linked(paths, "zstd19"),
    },
    Engine {
        name: "xz-9e",
        about: "whole new file, xz -9e",
        install: "apt-get install xz-utils",
        whole: true,
        missing: |tools| tools.lacks("xz"),
        plan: |_, paths| peers::xz_whole(paths),
    },
    Engine {
        name: "bsdiff-crate",
        about: "crate bsdiff, its patch through zstd level 19",
        install: OURS,
        whole: false,
        missing: |_| None,
        plan: |_, paths| child::linked(paths, "bsdiff"),
    },
    Engine {
        name: "bsdiff",
        about: "bsdiff 4, bzip2 inside",
        install: "apt-get install bsdiff",
        whole: false,
        missing: |tools| tools.lacks("bsdiff"),
        plan: |_, paths| peers::bsdiff(paths),
    },
    Engine {
        name: "xdelta3",
        about: "xdelta3 -9 -S lzma -B 1073741824",
        install: "apt-get install xdelta3",
        whole: false,
        missing: |tools| tools.lacks("xdelta3"),
        plan: |_, paths| peers::xdelta3(paths),
    },
    Engine {
        name: "zstd-patch-from",
        about: "zstd --ultra -22 --long=31 --patch-from",
        install: "apt-get install zstd",
        whole: false,
        missing: |tools| tools.lacks("zstd"),
        plan: |_, paths| peers::zstd_patch_from(paths),
    },
    Engine {
        name: "hdiffpatch",
        about: "HDiffPatch through its Python package, LZMA2",
        install: "cargo run --release -p bench -- tools --install",
        whole: false,
        missing: |tools| tools.lacks_hdiffpatch(),
        plan: peers::hdiffpatch,
    },
    Engine {
        name: "zucchini",
        about: "Chromium's Zucchini (crate zucchini), its patch through xz -9e or brotli, the smaller counts; the time \
                to make it includes xz, the time to apply it is Zucchini's alone",
        install: "apt-get install clang-19 xz-utils brotli; then CXX=clang++-19 cargo run --release -p bench --features zucchini",
        whole: false,
        missing: |tools| tools.lacks_zucchini(),
        plan: |tools, paths| peers::zucchini(tools, paths),
    },
];

/// The engines of these names, in the order of [`ENGINES`]; all of them if none is named.
pub fn select(names: &[String]) -> Result<Vec<Engine>, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !ENGINES.iter().any(|e| e.name == **name))
    {
        let known: Vec<_> = ENGINES.iter().map(|engine| engine.name).collect();
        return Err(format!(
            "no engine is called {unknown}; there are {}",
            known.join(", ")
        ));
    }
    let wanted = |engine: &&Engine| names.is_empty() || names.iter().any(|name| name == engine.name);
    Ok(ENGINES.iter().filter(wanted).copied().collect())
}

/// A path as a command-line argument.
pub fn arg(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_unknown_ones_refused() {
        let all = select(&[]).unwrap();
        for (index, engine) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.name != engine.name));
        }
        assert!(select(&["gzip".into()]).is_err());
        assert_eq!(select(&["bsdiff".into()]).unwrap().len(), 1);
    }
}
