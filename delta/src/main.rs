//! The `elfdelta` command: make a patch, apply it, look into it.
#![deny(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
