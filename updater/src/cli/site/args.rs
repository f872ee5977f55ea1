//! What may be asked of a site.

use super::super::access::AccessArgs;
use super::super::farm::FollowArgs;
use clap::{Args, Subcommand, ValueEnum};
use elfup::allowance::Hours;
use elfup::apart::Sandbox;
use elfup::site::daemon::When;
use elfup::site::{Forced, Objective, UpdateOptions};
use std::path::PathBuf;

/// Arguments of `site`.
#[derive(Args)]
pub struct SiteArgs {
    /// The site's directory; the running tree is its `current`.
    #[arg(long, global = true, default_value = "/var/lib/elfup")]
    pub(super) site: PathBuf,
    /// Where patches are applied and files unpacked: in a child process with all that the kernel has (full), with
    /// less (landlock, seccomp, limits), or in this process (none).
    #[arg(long, global = true, value_name = "HOW", default_value = "full")]
    pub(super) sandbox: Sandbox,
    /// URL or directory of a repository, may be given several times. For `init` the mirrors, in order of preference;
    /// else further ones for this run, such as a stick, which are asked before those.
    #[arg(long, global = true, value_name = "URL|DIR")]
    pub(super) source: Vec<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a site that follows one channel.
    Init(Box<Init>),
    /// Look for a newer release (exit code 10 if there is one).
    Check {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what an update would fetch; fetches metadata only.
    Plan {
        #[command(flatten)]
        weigh: Weigh,
        /// Every option of every file, with its predicted cost.
        #[arg(long)]
        explain: bool,
        /// Print everything as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch and rebuild, without switching.
    Fetch {
        #[command(flatten)]
        weigh: Weigh,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Switch to the fetched release; needs no network.
    Activate {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch the newest release and switch to it.
    Update {
        #[command(flatten)]
        weigh: Weigh,
        /// Try a release again that failed its health check here.
        #[arg(long)]
        again: bool,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Go back to the release that ran before; needs no network.
    Rollback {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Go to a release by name, older or newer, at or above the signed floor.
    Downgrade {
        /// Release id.
        release: String,
        /// Go below the floor.
        #[arg(long)]
        below_floor: bool,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// What runs, what is kept, what is waiting.
    Status {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print as JSON what this site says of itself, as it does on a stick: what runs, what failed, room, memory.
    Report {
        /// Print as Prometheus reads it, for a file beside its node exporter.
        #[arg(long)]
        prometheus: bool,
    },
    /// Compare the running tree with its release, byte by byte.
    Verify {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put right what verify found, with whole files.
    Repair {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove deployments and objects that are not kept.
    Gc {
        /// Give up an unfinished fetch too.
        #[arg(long)]
        forget_fetched: bool,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keep a release whatever gc does.
    Pin {
        /// Release id.
        release: String,
        /// Remove the pin.
        #[arg(long)]
        remove: bool,
    },
    /// Stay and update by policy: checks on a jittered schedule and after a resume from sleep.
    Run(Daemon),
    /// Start trust afresh from a root file, after the stored state was lost.
    Recover {
        /// Root metadata from a trusted place.
        #[arg(long)]
        root: PathBuf,
    },
}

#[derive(Args)]
pub(super) struct Daemon {
    /// Minutes between checks.
    #[arg(long, default_value_t = 240)]
    pub(super) every: u64,
    /// Up to so many minutes are added at random.
    #[arg(long, default_value_t = 60)]
    pub(super) jitter: u64,
    /// Which releases are fetched ahead.
    #[arg(long, value_enum, default_value_t = Which::Always)]
    pub(super) fetch: Which,
    /// Which releases are applied.
    #[arg(long, value_enum, default_value_t = Which::Never)]
    pub(super) apply: Which,
    /// Which releases are fetched while NetworkManager takes the link for metered.
    #[cfg(feature = "dbus")]
    #[arg(long, value_enum, default_value_t = Which::Always)]
    pub(super) metered: Which,
    /// One round only.
    #[arg(long)]
    pub(super) once: bool,
    #[cfg(feature = "serve")]
    #[command(flatten)]
    pub(super) share: super::super::share::ShareArgs,
    /// Announce on this bus what was found, and take requests from it.
    #[cfg(feature = "dbus")]
    #[arg(long, value_enum, conflicts_with = "once")]
    pub(super) bus: Option<super::super::bus::Which>,
}

#[derive(Args)]
pub(super) struct Init {
    #[command(flatten)]
    pub(super) follow: FollowArgs,
    /// Root metadata (tuf/1.root.json) from a trusted place.
    #[arg(long)]
    pub(super) root: PathBuf,
    /// What to make small.
    #[arg(long, value_enum, default_value_t = Aim::Time)]
    pub(super) objective: Aim,
    /// Memory for rebuilding one file, MiB.
    #[arg(long, default_value_t = 96)]
    pub(super) memory: u64,
    /// Disk that stays free, MiB.
    #[arg(long, default_value_t = 16)]
    pub(super) reserve: u64,
    /// Way back: how many old deployments are kept whole, or `reverse` for a reverse delta instead.
    #[arg(long, value_name = "N|reverse", value_parser = keep, default_value = "1")]
    pub(super) keep: Keep,
    /// Without root: record what cannot be set instead of failing.
    #[arg(long)]
    pub(super) unprivileged: bool,
    /// Health check after a switch: a command, split at spaces, run with ELFUP_TREE set.
    #[arg(long)]
    pub(super) health: Option<String>,
    /// Seconds until the health check has failed.
    #[arg(long, default_value_t = 60)]
    pub(super) health_timeout: u64,
    /// Absolute path where the running tree must be, on the same filesystem; otherwise it is behind `current`.
    #[arg(long)]
    pub(super) fixed: Option<PathBuf>,
    /// MiB that web servers may send a day (UTC); what is under way then goes on the next day.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(super) budget: Option<u64>,
    /// Hours in which releases are fetched from web servers, UTC, such as 22-6; urgent ones are at any.
    #[arg(long, value_name = "FROM-TO", value_parser = Hours::parse)]
    pub(super) hours: Option<Hours>,
    /// Look for a box near by before each run, by multicast DNS, and ask it first: it is believed no more than others.
    #[arg(long)]
    pub(super) nearby: bool,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// Directory whose files may serve as bases, such as an older installation.
    #[arg(long)]
    pub(super) seed: Vec<PathBuf>,
}

#[derive(Clone, Copy)]
pub(super) enum Keep {
    Whole(usize),
    Reverse,
}

fn keep(text: &str) -> std::result::Result<Keep, String> {
    match text {
        "reverse" => Ok(Keep::Reverse),
        n => n
            .parse()
            .map(Keep::Whole)
            .map_err(|_| "neither a number nor `reverse`".to_owned()),
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Aim {
    /// Seconds until ready.
    Time,
    /// Bytes over the network.
    Bytes,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Which {
    /// None.
    Never,
    /// Those marked as urgent.
    Urgent,
    /// All.
    Always,
}

impl From<Which> for When {
    fn from(which: Which) -> When {
        match which {
            Which::Never => When::Never,
            Which::Urgent => When::Urgent,
            Which::Always => When::Always,
        }
    }
}

impl From<Aim> for Objective {
    fn from(aim: Aim) -> Objective {
        match aim {
            Aim::Time => Objective::Time,
            Aim::Bytes => Objective::Bytes,
        }
    }
}

#[derive(Args)]
pub(super) struct Weigh {
    /// What to make small, instead of what is configured.
    #[arg(long, value_enum)]
    pub(super) objective: Option<Aim>,
    /// Plan with this bandwidth instead of the measured one, bytes per second.
    #[arg(long)]
    pub(super) bandwidth: Option<f64>,
    /// Plan with this round trip instead of the measured one, seconds.
    #[arg(long)]
    pub(super) rtt: Option<f64>,
    /// Plan with an apply time so many times the farm's instead of the measured one.
    #[arg(long)]
    pub(super) speed_factor: Option<f64>,
}

impl Weigh {
    pub(super) fn options(&self) -> UpdateOptions {
        UpdateOptions {
            objective: self.objective.map(Objective::from),
            forced: Forced {
                bandwidth: self.bandwidth,
                rtt: self.rtt,
                speed: self.speed_factor,
            },
            ..UpdateOptions::default()
        }
    }
}
