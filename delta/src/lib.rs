//! ELF-aware binary deltas: predict the new file from the old one, send what could not be foreseen.
//!
//! Between two releases of a program most code is the same, but addresses moved, and every field that holds one
//! changed. This crate reads ELF files, recomputes those fields from the map of what moved where, and codes
//! what is left. Any other file goes through the same container with generic matching and is never an error.
//!
//! ```
//! use elfdelta::{Limits, Options, Patch, Silent};
//! let old = b"the quick brown fox jumps over the lazy dog".repeat(50);
//! let mut new = old.clone();
//! new[700] = b'!';
//! let delta = elfdelta::diff(&old, &new, &Options::default(), &Silent)?;
//! let patch = Patch::parse(&delta.bytes, &Limits::default())?;
//! let mut rebuilt = Vec::new();
//! patch.apply(&old, &mut rebuilt, &Limits::default(), &Silent)?;
//! assert_eq!(rebuilt, new);
//! # Ok::<(), elfdelta::Error>(())
//! ```
//!
//! # Making a patch
//! [`diff()`] takes both files as bytes, with [`Options`]: the [`Profile`] trades bytes of the patch against
//! time to apply it. It applies the patch once before handing it out as a [`Delta`], whose [`Report`] tells where
//! the bytes went: in one [`Part`] for each stream, and in one for each section of the new file. The same inputs
//! give the same patch.
//!
//! # Applying one
//! [`Patch::parse`] reads header and directory of a patch and refuses what is damaged, too new, or above the
//! caller's [`Limits`]; the parsed [`Patch`] borrows the bytes and answers questions without an old file.
//! [`Patch::apply`] checks the old file by size and SHA-256, decodes, and writes the new file forward. The old
//! file is a [`ReadAt`]: a slice, a vector, or on Unix a [`std::fs::File`], read by position. The sink is any
//! [`std::io::Write`]; what was written before an error is not the new file, so write to a temporary name and
//! rename on success, as the command does.
//!
//! # While it runs
//! [`Progress`] hears of stages and bytes done, and can end the call with [`Error::Cancelled`]; [`Silent`] does
//! neither. [`Error`] has one variant for each cause: the wrong old file, a damaged patch, one that needs a
//! newer version or more than the limits allow, failed input or output.
//!
//! # Further reading
//! `FORMAT.md` beside this crate is the patch format, stream by stream. `ARCHITECTURE.md` at the root of the
//! repository names the file of each step of the pipeline and the rules that hold throughout. The modules are
//! public for tests, fuzzing and benchmarks; only what this page re-exports is meant to be used.
#![forbid(unsafe_code)]

pub mod apply;
pub mod budget;
pub mod code;
pub mod container;
pub mod cursor;
pub mod data;
pub mod diff;
pub mod elf;
mod error;
pub mod file_view;
mod hashing;
pub mod layout;
mod limits;
pub mod machine;
pub mod matching;
pub mod packed;
pub mod pipeline;
pub mod predict;
mod progress;
pub mod recipe;
mod report;
mod source;
pub mod tables;
pub mod text;
mod threads;

pub use container::{FORMAT_ID, Patch};
pub use diff::{Delta, diff};
pub use error::Error;
pub use limits::{Limits, Options, Profile};
pub use packed::{Scratch, ScratchFile};
pub use progress::{Progress, Silent};
pub use report::{Part, Report};
pub use source::ReadAt;
