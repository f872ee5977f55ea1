//! Real release pairs, by package, version and digest, and two sample programs for offline use.
//!
//! [`Manifest::builtin`] is the list, [`Cache::fetch`] brings a pair through an ordinary package client and
//! checks its digests; [`Cache::fetch_debian`] makes trees of what the archive has now; [`samples::build`] makes a pair with nothing but the compiler at hand.
//! The files themselves are never part of the repository.
#![forbid(unsafe_code)]

mod cache;
mod client;
mod debian;
mod error;
mod manifest;
pub mod samples;

pub use cache::{Cache, Files, Step};
pub use client::Client;
pub use debian::{Debian, Release, Update};
pub use error::{Error, Result};
pub use manifest::{Manifest, Pair, Side, Wheel};
