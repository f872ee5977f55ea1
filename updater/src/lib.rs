//! The updater: signed releases, measured choice of deltas, atomic deployment, rollback.
//!
//! A [`farm`] scans a release tree into a [`manifest`], stores files by digest, makes deltas from earlier
//! releases and signs what it publishes ([`trust`]). A [`site`] follows one product over any number of
//! [`source`]s, chooses for every file the cheapest way to get it, rebuilds the tree beside the running one and
//! switches with one rename. `PROTOCOL.md` beside this crate says what is stored where and what is checked when.
#![forbid(unsafe_code)]

pub mod allowance;
pub mod apart;
pub mod clock;
pub mod commented;
mod compress;
pub mod digest;
pub mod disk;
mod error;
pub mod farm;
mod jobs;
pub mod kind;
pub mod limits;
mod machine;
pub mod manifest;
pub mod metrics;
pub mod names;
#[cfg(feature = "mdns")]
pub mod nearby;
#[cfg(feature = "serve")]
pub mod place;
mod random;
pub mod report;
pub mod site;
pub mod source;
mod speed;
pub mod step;
pub mod store;
pub mod trust;
mod watch;

pub use digest::Digest;
pub use error::{Error, Result};
pub use jobs::Jobs;
pub use names::PROTOCOL;
pub use watch::{Quiet, Watch};
