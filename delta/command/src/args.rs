//! The command line: what may be asked.

use crate::{output::Target, size};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, str::FromStr};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: input or output, out of space, interrupted
  2  usage
  3  the old file is not the one that the patch was made from
  4  the patch is damaged, or needs a newer elfdelta
  5  a limit is too low for the patch, or for making it
  6  the patch packs the new file with a library version that this elfdelta does not have";

/// The end of a help page: examples, then the exit codes.
macro_rules! end {
    ($examples:literal) => {
        format!("Examples:\n{}\n\n{EXIT_CODES}", $examples)
    };
}

/// ELF-aware binary deltas.
#[derive(Parser)]
#[command(name = "elfdelta", version, after_help = end!("\
  elfdelta diff app-1.0 app-1.1 -o app.eldp    make a patch
  elfdelta apply app-1.0 app.eldp -o app-1.1   apply it
  elfdelta inspect app.eldp app-1.0            see where its bytes went"))]
pub struct Cli {
    #[command(subcommand)]
    pub action: Action,
    /// Say nothing but errors: no progress, no summary.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Tell each stage and how long it took on standard error; twice for more. The variable ELFDELTA_LOG does the
    /// same where this is not given: error, warn, info, debug or trace.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Subcommand)]
pub enum Action {
    /// Make a patch that turns OLD into NEW.
    ///
    /// Either of them may be -, standard input. What PATCH holds is kept, unless -f is given.
    #[command(after_help = end!("\
  elfdelta diff app-1.0 app-1.1 -o app.eldp
  elfdelta diff --profile fast -T1 app-1.0 app-1.1 -o app.eldp
  tar -cf - new | elfdelta diff old.tar - -o - | ssh site 'cat > tree.eldp'"))]
    Diff(DiffArgs),
    /// Turn OLD into NEW with a patch.
    ///
    /// NEW is written to a temporary file beside it, verified, and only then moved into place: an existing NEW
    /// is never touched by a run that fails. With `-o -` the bytes go out as they are rebuilt; a non-zero exit
    /// then says not to use what came out. What NEW holds is kept, unless -f is given; it may be OLD itself then.
    #[command(after_help = end!("\
  elfdelta apply app-1.0 app.eldp -o app-1.1
  elfdelta apply -f app app.eldp -o app        replace the old file
  ssh farm cat app.eldp | elfdelta apply app-1.0 - -o app-1.1"))]
    Apply(ApplyArgs),
    /// Show what a patch says of itself: versions, sizes, digests, memory, encoders, bytes per stream and, with
    /// the old file at hand, per section.
    #[command(after_help = end!("\
  elfdelta inspect app.eldp
  elfdelta inspect --json app.eldp app-1.0 | jq .sections"))]
    Inspect(InspectArgs),
    /// Print a script by which a shell completes this command, such as
    /// `elfdelta completions bash > /etc/bash_completion.d/elfdelta`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write this manual as pages for man, such as `elfdelta man /usr/local/share/man/man1`.
    Man(ManArgs),
}

#[derive(Args)]
pub struct DiffArgs {
    /// The file that is to be updated; - is standard input.
    pub old: PathBuf,
    /// The file it is to become; - is standard input.
    pub new: PathBuf,
    /// Where the patch goes; - is standard output.
    #[arg(short, long, value_name = "PATCH")]
    pub output: Target,
    #[command(flatten)]
    pub keep: Keep,
    /// Trade between bytes and time.
    #[arg(long, value_enum, default_value = "default")]
    pub profile: Profile,
    /// Segments that the code is cut into. Apply decodes as many at once as it has cores; each costs bytes and
    /// some 20 MB of apply's memory.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub segments: u8,
    /// Memory that packing the new file again may take in apply; what needs more stays packed, and the patch is larger.
    #[arg(long, value_name = "BYTES", value_parser = size::parse, default_value = "256M")]
    pub apply_memory: u64,
    /// Memory that making the patch may take, both files included, such as 500M. Ways that might take more are left out, and the
    /// patch is larger; where that is too little for any patch, the message says how much would do.
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    pub memory: Option<u64>,
    /// Separate debug files whose symbols help the matcher; applying never needs them.
    #[arg(long, value_name = "OLD.debug,NEW.debug")]
    pub symbols: Option<DebugFiles>,
    /// Worker threads; 0 is one for each core. The patch does not depend on it.
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Report on standard output as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct ApplyArgs {
    /// The file that the patch was made from; it is read by position and never written.
    pub old: PathBuf,
    /// The patch; - is standard input.
    pub patch: PathBuf,
    /// Where the new file goes; - is standard output.
    #[arg(short, long, value_name = "NEW")]
    pub output: Target,
    #[command(flatten)]
    pub keep: Keep,
    /// Working memory that the patch may ask for, such as 64M.
    #[arg(long, value_name = "BYTES", value_parser = size::parse, default_value = "256M")]
    pub max_memory: u64,
    /// Scratch space that the patch may ask for, for what a packed old file holds.
    #[arg(long, value_name = "BYTES", value_parser = size::parse, default_value = "1G")]
    pub max_scratch: u64,
    /// Where scratch space is taken, in files without a name; as a rule the folder of NEW, for standard output the
    /// one for temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub scratch: Option<PathBuf>,
    /// Size that the new file may have, such as 1G.
    #[arg(long, value_name = "BYTES", value_parser = size::parse, default_value = "16G")]
    pub max_output: u64,
    /// Worker threads at most, 0 being one for each core: segments of code are decoded at once.
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Report on standard output as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What happens to files that are there already.
#[derive(Args)]
pub struct Keep {
    /// Write over an output that holds something, and to a terminal.
    #[arg(short, long)]
    pub force: bool,
    /// Keep the inputs: nothing to ask for, as they always are; taken for those who are used to it.
    #[arg(short, long)]
    pub keep: bool,
}

#[derive(Args)]
pub struct InspectArgs {
    /// The patch; - is standard input.
    pub patch: PathBuf,
    /// The file that the patch was made from: with it, bytes are also told per section of the new file.
    pub old: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct ManArgs {
    /// The folder for the pages; made if it is not there.
    pub folder: PathBuf,
}

/// The value of `--symbols`.
#[derive(Clone, Debug)]
pub struct DebugFiles {
    pub old: PathBuf,
    pub new: PathBuf,
}

impl FromStr for DebugFiles {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (old, new) = text
            .split_once(',')
            .ok_or("two files are wanted, with a comma between them")?;
        Ok(DebugFiles {
            old: old.into(),
            new: new.into(),
        })
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Profile {
    /// Quick to make and to apply.
    Fast,
    /// Few bytes at moderate time.
    Default,
    /// No more bytes than the default, at whatever time; the same as the default in this version.
    Max,
}

impl From<Profile> for elfdelta::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Fast => elfdelta::Profile::Fast,
            Profile::Default => elfdelta::Profile::Default,
            Profile::Max => elfdelta::Profile::Max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn what_prints_json_has_a_schema() {
        crate::schemas::has_schemas("elfdelta", &Cli::command(), &[]);
    }
}
