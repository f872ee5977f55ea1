//! The build farm: a release tree goes in, signed static files come out.

mod store;

pub use store::{LocalStore, Store};
