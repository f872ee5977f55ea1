//! ELF-aware binary deltas: predict the new file from the old one, send what could not be foreseen.
//!
//! Between two releases of a program most code is the same, but addresses moved, and every field that holds one
//! changed. This crate reads ELF files, recomputes those fields from the map of what moved where, and codes
//! what is left. Any other file goes through the same container with generic matching and is never an error.
//!
//! ```
//! let old = b"the quick brown fox jumps over the lazy dog".repeat(50);
//! let mut new = old.clone();
//! new[700] = b'!';
//! let delta = elfdelta::diff(&old, &new, &elfdelta::Options::default(), &elfdelta::Silent)?;
//! let mut rebuilt = Vec::new();
//! elfdelta::apply(&old, &delta.bytes, &mut rebuilt)?;
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
//! Made within a limit on memory, a patch may be larger, and says what was left out:
//!
//! ```
//! use elfdelta::{Options, Silent, Way, diff};
//! # let (old, new) = (b"abc".repeat(99_999), b"abd".repeat(99_999));
//! let needs = Options::default().needs(old.len() as u64, new.len() as u64);
//! let small = diff(&old, &new, &Options::default().memory(needs.least), &Silent)?;
//! assert_eq!((small.way, small.skipped.is_empty()), (Way::Whole, false));
//! let full = diff(&old, &new, &Options::default().memory(needs.all), &Silent)?;
//! assert!(full.skipped.is_empty());
//! # Ok::<(), elfdelta::Error>(())
//! ```
//!
//! # Applying one
//! [`apply()`] does it with the default [`Limits`]. [`Patch::parse`] reads header and directory alone and answers
//! questions without an old file ([`Patch::into_owned`] is one to keep); [`Patch::applier`] takes limits, [`Progress`]
//! and [`Scratch`] space:
//!
//! ```
//! use elfdelta::{Error, Limits, Patch};
//! # let (old, new) = (b"abc".repeat(99), b"abd".repeat(99));
//! # let patch = elfdelta::diff(&old, &new, &Default::default(), &elfdelta::Silent)?.bytes;
//! let patch = Patch::parse(&patch)?;
//! println!("{} bytes of memory for {} bytes", patch.header().memory, patch.header().new_len);
//! let small = patch.applier().limits(Limits::new().memory(0));
//! assert!(matches!(small.check(), Err(Error::OverLimit { .. })));
//! let _kept: Patch<'static> = patch.into_owned();
//! # Ok::<(), elfdelta::Error>(())
//! ```
//!
//! [`Applier::apply`] refuses what is above the limits, checks the old file by size and SHA-256, decodes, and
//! writes the new file forward. The old file is a [`ReadAt`]: a slice, a vector, or on Unix a [`std::fs::File`],
//! read by position. The sink is any [`std::io::Write`]; what was written before an error is not the new file, so
//! write to a temporary name and rename on success, as the command does.
//!
//! # While it runs
//! [`Progress`] hears of each [`Stage`] and of bytes done, and can end the call with [`Error::Cancelled`];
//! [`Silent`] does neither. [`Error`] has one variant for each cause and a number for each kind of it; of damage it
//! says in which stream of the patch it was found, and how far that was read.
//!
//! # Further reading
//! `FORMAT.md` beside this crate is the patch format, stream by stream. `ARCHITECTURE.md` at the root of the
//! repository names the file of each step of the pipeline and the rules that hold throughout.
#![forbid(unsafe_code)]

mod apply;
mod diff;
mod error;
mod limits;
mod progress;
mod report;
mod source;

mod cursor;
mod data;
mod hashing;
mod maps;
mod pipeline;
mod predict;
mod recipe;
mod text;
mod threads;

// For tests, fuzzing and benchmarks of this repository alone: no part of the interface.
#[doc(hidden)]
pub mod budget;
#[doc(hidden)]
pub mod code;
#[doc(hidden)]
pub mod container;
#[doc(hidden)]
pub mod elf;
#[doc(hidden)]
pub mod file_view;
#[doc(hidden)]
pub mod layout;
#[doc(hidden)]
pub mod machine;
#[doc(hidden)]
pub mod matching;
#[doc(hidden)]
pub mod packed;
#[doc(hidden)]
pub mod place;
#[doc(hidden)]
pub mod tables;

pub use apply::{Applier, apply};
pub use container::{FORMAT_ID, Header, Method, Packing, Patch, VERSION};
pub use diff::{Delta, Needs, diff};
pub use error::Error;
pub use limits::{Limits, Options, Profile};
pub use packed::{Scratch, ScratchFile};
pub use progress::{Progress, Silent, Stage};
pub use report::{Part, Report, Way};
pub use source::ReadAt;
