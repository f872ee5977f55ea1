//! One test binary: whole updates, attacks, faults, bad input, crashes.

mod access;
mod apart;
mod attacks;
mod book;
#[path = "../../../bench/pages/tests/browser/mod.rs"]
mod browser;
#[cfg(feature = "s3")]
mod bucket;
#[cfg(feature = "dbus")]
mod bus;
mod cli;
mod configuration;
mod configured;
mod crash;
mod daemon;
mod farm_file;
mod faults;
mod fixed;
mod health;
#[cfg(any(feature = "dbus", feature = "mdns"))]
mod held;
#[path = "../../../delta/command/tests/schemas/hold.rs"]
mod hold;
mod hostile;
mod keep;
mod leaning;
mod log;
mod memory;
mod mutated;
#[cfg(feature = "mdns")]
mod nearby;
mod operating;
mod place;
mod prove;
mod ration;
mod report;
mod rogue;
mod schemas;
mod server;
#[cfg(feature = "s3")]
mod slurm;
mod sources;
mod stick;
mod stops;
mod thief;
mod tidy;
mod times;
mod torn;
mod units;
mod updates;
mod weed;
mod workers;
mod world;
