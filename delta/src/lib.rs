//! ELF-aware binary deltas: predict the new file from the old one, send what could not be foreseen.
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
#![forbid(unsafe_code)]

pub mod apply;
pub mod code;
pub mod container;
pub mod data;
pub mod diff;
pub mod elf;
mod error;
pub mod file_view;
pub mod image;
pub mod layout;
mod limits;
pub mod machine;
pub mod matching;
pub mod predict;
mod progress;
pub mod recipe;
mod report;
mod source;
pub mod tables;
pub mod text;

pub use container::Patch;
pub use diff::{Delta, diff};
pub use error::Error;
pub use limits::{Limits, Options, Profile};
pub use progress::{Progress, Silent};
pub use report::{Part, Report};
pub use source::ReadAt;
