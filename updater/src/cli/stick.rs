//! The commands of a stick: what it carries to sites, and what they said on it.

use super::farm::follow;
use super::say::{say, tell};
use super::show::{bytes, json};
use super::terminal::Terminal;
use clap::Subcommand;
use elfup::farm::{self, Ready};
use elfup::names::Follow;
use elfup::report::{self, Report};
use elfup::{Result, store};
use std::path::PathBuf;

/// Commands on sticks.
#[derive(Subcommand)]
pub enum Stick {
    /// Copy what the sites that have reported on a stick need, of any number of channels, and remove what they do not.
    ///
    /// A site takes it by `elfup site update --source DIR`, or by having DIR among its sources, and leaves a report in
    /// DIR/reports. Without reports the stick carries all that an empty site needs. Whole files for repairs are added
    /// as far as there is room.
    #[command(
        after_help = "Example:\n  elfup stick prepare --repo repo --follow demo/stable/i686 --follow demo/stable/armv7l /media/stick"
    )]
    Prepare {
        /// Repository: a directory, or s3://BUCKET/PREFIX.
        #[arg(long)]
        repo: PathBuf,
        /// What it carries, as PRODUCT, PRODUCT/CHANNEL or PRODUCT/CHANNEL/ARCH; may be given several times.
        #[arg(long, required = true, value_name = "PRODUCT[/CHANNEL[/ARCH]]", value_parser = follow)]
        follow: Vec<Follow>,
        /// Also what empty sites need, where all that have reported have a release.
        #[arg(long)]
        new_sites: bool,
        /// Most MiB that the repository on it may take [default: what is free].
        #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
        room: Option<u64>,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
        /// The stick's directory: empty, or made ready before.
        dir: PathBuf,
    },
    /// Show what sites have reported on a stick.
    Status {
        /// Print the reports as JSON.
        #[arg(long)]
        json: bool,
        /// The stick's directory.
        dir: PathBuf,
    },
}

/// `elfup stick`.
pub fn run(command: Stick, watch: &Terminal) -> Result<u8> {
    match command {
        Stick::Prepare {
            repo,
            follow,
            new_sites,
            room,
            json: as_json,
            dir,
        } => {
            let stick = farm::Stick {
                dir: &dir,
                follow: &follow,
                new_sites,
                room: room.map(|n| n << 20),
            };
            let ready = farm::prepare(&*store::open(&repo, watch)?, &stick, watch)?;
            if as_json {
                return json(&ready);
            }
            carried(&ready);
            say!("{} in {}", bytes(ready.bytes), dir.display());
        }
        Stick::Status { json: as_json, dir } => {
            let reports = report::read(&dir, &mut |name, why| tell!("{name} was passed over: {why}"))?;
            if as_json {
                return json(&reports);
            }
            reports.iter().for_each(reported);
            if reports.is_empty() {
                say!("no site has reported");
            }
        }
    }
    Ok(0)
}

fn carried(ready: &Ready) {
    for c in &ready.channels {
        let Follow {
            product,
            channel,
            arch,
        } = &c.follow;
        let whom = match (c.sites.len(), c.new_sites) {
            (0, _) => "empty sites".to_owned(),
            (n, true) => format!("{n} sites that have reported, and empty ones"),
            (n, false) => format!("{n} sites that have reported"),
        };
        say!("{product}/{channel}/{arch}: {}, for {whom}", c.head);
        if c.left_out > 0 {
            say!(
                "  no room for {} of whole files: a site that is damaged is not repaired by it",
                bytes(c.left_out)
            );
        }
        for site in c.sites.iter().filter(|s| s.failures > 0) {
            say!(
                "  {} ({}) had {} failures since its last update",
                site.site,
                site.name,
                site.failures
            );
        }
    }
}

fn reported(r: &Report) {
    let Follow {
        product,
        channel,
        arch,
    } = &r.follow;
    let runs = r.runs.as_ref().map_or("nothing", |runs| &runs.release);
    say!(
        "{} ({}) at {}: {product}/{channel}/{arch}, {runs} runs",
        r.site,
        r.name,
        r.time
    );
    if let Some(last) = &r.last {
        let from = last.from.as_deref().unwrap_or("nothing");
        say!("  {from} -> {} at {}, {}", last.to, last.time, bytes(last.bytes));
    }
    if r.clock_behind > 0 {
        say!("  its clock is {} s behind", r.clock_behind);
    }
    for f in &r.failures {
        say!("  failed at {}: {}", f.time, f.failed);
    }
}
