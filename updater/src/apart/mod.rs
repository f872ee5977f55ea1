//! Decoders of hostile bytes, kept apart: patches and zstd frames are decoded in a child process that can do nothing else.
//!
//! | file | what |
//! |---|---|
//! | `child` | the child's side: confine, then serve one job after another |
//! | `confine` | what a process gives up: limits, capabilities, Landlock, seccomp |
//! | `handle` | the parent's side: start, ask, drain, end |
//! | `here` | the same jobs in this process, where there is no child |
//! | `scratch` | the file that a job may fill with what is packed in its base |
//! | `wire` | what goes over the socket between the two |

mod child;
mod confine;
mod handle;
mod here;
mod scratch;
mod wire;

pub use child::serve;
pub use confine::{Confined, confine};

use crate::error::Doing;
use crate::{Result, Watch};
use handle::Child;
use scratch::Lent;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;

/// How far decoders are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// In a child with everything that the kernel has.
    #[default]
    Full,
    /// In a child with Landlock and resource limits.
    Landlock,
    /// In a child with seccomp and resource limits.
    Seccomp,
    /// In a child with resource limits only.
    Limits,
    /// In the process itself.
    None,
}

impl Sandbox {
    const NAMES: [(&'static str, Sandbox); 5] = [
        ("full", Sandbox::Full),
        ("landlock", Sandbox::Landlock),
        ("seccomp", Sandbox::Seccomp),
        ("limits", Sandbox::Limits),
        ("none", Sandbox::None),
    ];

    /// Its name in arguments.
    pub fn name(self) -> &'static str {
        Sandbox::NAMES
            .iter()
            .find(|(_, s)| *s == self)
            .map_or("full", |(name, _)| name)
    }
}

impl FromStr for Sandbox {
    type Err = &'static str;
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let found = Sandbox::NAMES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, s)| *s)
            .ok_or("one of full, landlock, seccomp, limits, none is wanted")
    }
}

/// How to start a child: a program that answers by calling [`serve`].
#[derive(Clone, Debug)]
pub struct Program {
    /// Its path.
    pub path: PathBuf,
    /// Its arguments; the memory limit in bytes is added as the last.
    pub arguments: Vec<OsString>,
}

static PROGRAM: OnceLock<Program> = OnceLock::new();

/// Names the program that decodes for every site that this process opens, once; without it they decode in this process.
pub fn use_program(program: Program) {
    let _ = PROGRAM.set(program);
}

/// The program named, if any.
pub(crate) fn program() -> Option<Program> {
    PROGRAM.get().cloned()
}

/// A patch to be applied, of which nothing is believed.
pub struct Patching<'a> {
    /// The patch.
    pub patch: &'a [u8],
    /// Its base.
    pub base: &'a File,
    /// The most bytes that may come out.
    pub size: u64,
    /// An empty file for what is packed in the base, and the most bytes that it may get; without one, that is memory.
    pub scratch: Option<(File, u64)>,
}

/// The decoders of one run: a child once one was needed, or this process.
pub struct Apart {
    /// The most memory that one job may take, bytes.
    memory: u64,
    program: Option<Program>,
    place: Place,
}

enum Place {
    /// Nothing was asked yet, or the last child was ended.
    Fresh,
    Child(Child),
    Here,
}

impl Apart {
    /// Decoders that may take so much memory for a job, in bytes; without a program, in this process.
    pub fn new(program: Option<Program>, memory: u64) -> Apart {
        Apart {
            memory,
            program,
            place: Place::Fresh,
        }
    }

    /// Applies a patch into `sink`.
    pub fn patch(&mut self, watch: &dyn Watch, patching: &Patching, sink: &mut dyn Write) -> Result<()> {
        let memory = self.memory.saturating_sub(patching.patch.len() as u64);
        match self.child(watch)? {
            Some(child) => child.patch(watch, patching, memory, sink),
            None => {
                let lent = patching.scratch.as_ref();
                let lent = lent.map(|(file, most)| io::Result::Ok(Lent::new(file.try_clone()?, *most)));
                let scratch: Option<Lent> = lent.transpose().doing("open", "scratch space")?;
                let within = here::Within {
                    size: patching.size,
                    memory,
                    scratch: scratch.as_ref(),
                };
                here::patch(watch, patching.patch, patching.base, &within, sink)
            }
        }
    }

    /// Unpacks a zstd frame that lies in a file and must give exactly `size` bytes.
    pub fn unpack_file(
        &mut self,
        watch: &dyn Watch,
        packed: &File,
        size: u64,
        sink: &mut dyn Write,
    ) -> Result<()> {
        match self.child(watch)? {
            Some(child) => child.unpack_file(watch, packed, size, sink),
            None => here::unpack(watch, packed, &[], size, sink),
        }
    }

    /// Unpacks a zstd frame with a prefix; it must give exactly `size` bytes.
    pub fn unpack(
        &mut self,
        watch: &dyn Watch,
        packed: &[u8],
        prefix: &[u8],
        size: u64,
        sink: &mut dyn Write,
    ) -> Result<()> {
        match self.child(watch)? {
            Some(child) => child.unpack(watch, packed, prefix, size, sink),
            None => here::unpack(watch, packed, prefix, size, sink),
        }
    }

    /// Ends the child; the next job gets a new one. Called after every job that failed.
    pub fn renew(&mut self) {
        if matches!(self.place, Place::Child(_)) {
            self.place = Place::Fresh;
        }
    }

    /// Where jobs are done, for people.
    pub fn shown(&mut self, watch: &dyn Watch) -> Result<String> {
        Ok(match self.child(watch)? {
            Some(child) => format!("in a child process ({})", child.confined),
            None => "in elfup's own process".into(),
        })
    }

    /// The child, started if need be; none: the job is done here.
    fn child(&mut self, watch: &dyn Watch) -> Result<Option<&mut Child>> {
        if matches!(self.place, Place::Fresh) {
            self.place = match &self.program {
                None => Place::Here,
                Some(program) => match Child::start(program, self.memory, watch) {
                    Ok(child) => {
                        tracing::debug!(memory = self.memory, confined = child.confined, "a child decodes");
                        Place::Child(child)
                    }
                    Err(crate::Error::Cancelled) => return Err(crate::Error::Cancelled),
                    Err(e) => {
                        watch.note(&format!(
                            "no child process to decode in ({e}); decoding in this one"
                        ));
                        Place::Here
                    }
                },
            };
        }
        Ok(match &mut self.place {
            Place::Child(child) => Some(child),
            _ => None,
        })
    }
}
