//! Engines side by side on real release pairs.
fn main() {}
