//! Trust: The Update Framework's roles on Ed25519 keys, client and signer, and the stored high-water marks.
//!
//! Why not the crate `tough`: it is sound, but asynchronous (a runtime and more than 120 crates, with a TLS and
//! crypto stack in C and assembler that is unproven on the 32-bit machines sites run on), it stops when the clock
//! steps back, and its datastore is written in place, so that a torn stored timestamp skips the rollback check.
//! The part of TUF that a site needs is small: five kinds of metadata, signatures with a threshold, versions that
//! only grow. Here it is blocking code on one thread, which the crash suite can kill at every system call, and all
//! that must be remembered is *one* file ([`State`]) with a digest of itself, replaced by one rename: it is whole or it
//! is missing, and when it is missing nothing is trusted until an administrator says so.
//!
//! Deliberate limits: one level of delegation; Ed25519 only; consistent snapshots only.
//!
//! | file | what |
//! |---|---|
//! | `canonical` | canonical JSON, envelopes, thresholds |
//! | `roles` | the five kinds of metadata |
//! | `state` | what a site remembers |
//! | `client` | the workflow of a refresh, in the order of the TUF specification |
//! | `keys`, `ring` | key files, chosen by what the metadata names |
//! | `published` | the repository's own metadata, verified before anything is signed over it |
//! | `signer`, `rotate` | the farm's side: signs, renews, replaces keys |

mod canonical;
mod client;
mod keys;
mod published;
mod ring;
mod roles;
mod rotate;
mod signer;
mod state;

pub use client::{Fetch, Found, advance, refresh, target};
pub use keys::KeyPair;
pub use signer::{Lifetimes, Signer};
pub use state::State;
