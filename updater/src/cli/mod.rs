//! Arguments, exit codes, and what both halves of the command share.

mod access;
mod apart;
#[cfg(feature = "dbus")]
mod bus;
mod config;
mod farm;
mod log;
mod manual;
#[cfg(feature = "pages")]
mod page;
mod report;
mod say;
#[cfg(test)]
#[path = "../../../delta/command/tests/schemas/tree.rs"]
mod schemas;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod share;
mod show;
mod site;
mod stick;
mod terminal;
mod work;

use clap::{FromArgMatches, Parser, Subcommand};
use say::tell;
use std::process::ExitCode;
use terminal::Terminal;

/// Signed releases over bad links: measured choice of deltas, atomic deployment, rollback.
///
/// A farm turns release trees into a repository of static files (keys, repo, publish, farm). A site follows one
/// channel of it over any mirror, directory or stick (site), fetches for every file what is cheapest by its own
/// measurements, and switches with one rename; going back needs no network.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// What a farm's commands are not told otherwise; else the file that the variable ELFUP_FARM names, else farm.toml
    /// here. `elfup farm config` prints one.
    #[arg(long, global = true, value_name = "FILE")]
    farm: Option<std::path::PathBuf>,
    /// Say nothing but results and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Tell on standard error what is done, and every source and option that failed; twice for every request, file and
    /// job, three times for more. The variable ELFUP_LOG does the same: a level (info, debug, trace), or levels of parts,
    /// such as `info,elfup::source=debug`. Credentials and keys are never told.
    #[arg(long, short, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
}

const EXIT_CODES: &str = "Exit codes:
  0  done (check: up to date)          6  not enough room; nothing changed
  1  a local operation failed          7  local data is damaged; site repair
  2  wrong usage, or no such thing     8  health check failed; rolled back
  3  refused: not trusted, malformed,  9  in use by another elfup
     too new, or below the floor      10  check: an update is available
  4  stale: signed metadata expired   11  health command gave no verdict; went back
  5  no source could deliver         130  cancelled; run again to go on
 `farm work`: 0, 75 (the same may succeed later), 1";

#[derive(Subcommand)]
enum Command {
    /// Make and rotate signing keys.
    #[command(subcommand)]
    Keys(farm::Keys),
    /// Make a repository, renew its signatures, copy a part of it to a stick.
    #[command(subcommand)]
    Repo(farm::Repo),
    /// Publish a release tree: blobs, deltas from earlier releases in both directions, signatures.
    Publish(farm::PublishArgs),
    /// Look after a repository.
    #[command(subcommand)]
    Farm(farm::Farm),
    /// Keep one machine's tree up to date.
    Site(site::SiteArgs),
    /// Carry releases to sites that no network reaches, and their reports back.
    #[command(subcommand)]
    Stick(stick::Stick),
    /// Serve a place: fetch once over a bad link what its sites ask for, and send it to all of them
    ///
    /// Sites name it as a source, as `--source http://box:8280`, before the distant one. It checks what it fetches as
    /// they do, goes on where it was stopped, and tells at /status.json what it has done.
    #[cfg(feature = "serve")]
    Serve(serve::ServeArgs),
    /// Print a script by which a shell completes this command, such as
    /// `elfup completions bash > /etc/bash_completion.d/elfup`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write this manual as pages for man, such as `elfup man /usr/local/share/man/man1`.
    Man {
        /// The folder for the pages; made if it is not there.
        folder: std::path::PathBuf,
    },
    /// Decode for another elfup, over the socket that is standard input.
    #[command(hide = true)]
    DecodeApart(apart::Args),
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let args = match config::arguments() {
        Ok(matches) => Args::from_arg_matches(&matches).unwrap_or_else(|e| e.exit()),
        Err(e) => return failed(&e),
    };
    if let Command::DecodeApart(args) = &args.command {
        return apart::child(args);
    }
    let terminal = match Terminal::new(args.quiet, log::start(args.quiet, args.verbose)) {
        Ok(terminal) => std::sync::Arc::new(terminal),
        Err(e) => {
            tell!("elfup: {e}");
            return ExitCode::FAILURE;
        }
    };
    let result = match args.command {
        Command::Keys(c) => farm::keys(c, &terminal),
        Command::Repo(c) => farm::repo(c, &terminal),
        Command::Publish(c) => farm::publish(c, &terminal),
        Command::Farm(c) => farm::farm(c, &terminal),
        Command::Site(c) => site::run(c, &terminal),
        Command::Stick(c) => stick::run(c, &terminal),
        #[cfg(feature = "serve")]
        Command::Serve(c) => serve::run(c, &terminal),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::man(&folder),
        Command::DecodeApart(_) => Ok(0),
    };
    terminal.clear();
    match result.and_then(|code| say::all_said().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(e) => failed(&e),
    }
}

fn failed(e: &elfup::Error) -> ExitCode {
    tell!("elfup: {e}");
    tell!("{}", e.advice());
    ExitCode::from(e.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn what_prints_json_has_a_schema() {
        schemas::has_schemas("elfup", &Args::command(), &["site-report"]);
    }
}
