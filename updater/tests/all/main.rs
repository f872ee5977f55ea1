//! One test binary: whole updates, attacks, faults, bad input, crashes.

mod attacks;
mod crash;
mod faults;
mod hostile;
mod server;
mod updates;
mod world;
