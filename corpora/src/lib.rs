//! Real release pairs, by package, version and digest.
