//! The `elfdelta` command.
fn main() {}
