//! `elfup farm report`: a farm at a glance, for people, as JSON, or as a page.

use super::farm::FollowArgs;
use super::say::say;
use super::show::{bytes, json, seconds};
use super::terminal::Terminal;
use clap::Args;
use elfup::farm::{self, LastStep, Load, Report};
use elfup::site::{Rates, Use};
use elfup::{Result, store};
use std::path::PathBuf;

/// Arguments of `farm report`.
#[derive(Args)]
#[command(after_help = "Examples:
  elfup farm report --repo repo --product app
  elfup farm report --repo repo --product app --html report.html")]
pub struct ReportArgs {
    /// Repository: a directory, or s3://BUCKET/PREFIX.
    #[arg(long)]
    repo: PathBuf,
    #[command(flatten)]
    follow: FollowArgs,
    /// Write a page with plots and tables to this file.
    #[cfg(feature = "pages")]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write over a page that is there.
    #[cfg(feature = "pages")]
    #[arg(long, short, requires = "html")]
    force: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// Links that are reckoned with: kilobits a second, and seconds for a request.
const LINKS: [(u64, f64); 3] = [(64, 0.6), (256, 0.6), (10_000, 0.05)];

/// How a site would fare over a link, by the formula with which sites plan.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Fare {
    /// Kilobits a second.
    pub kbit: u64,
    /// Seconds for each request.
    pub rtt: f64,
    /// Seconds by the newest step.
    pub with: f64,
    /// Seconds with every file whole.
    pub whole: f64,
}

/// All that is told.
#[derive(serde::Serialize)]
pub struct Told {
    /// What the repository has.
    #[serde(flatten)]
    pub report: Report,
    /// How sites would fare by the newest step.
    pub links: Vec<Fare>,
}

/// `elfup farm report`.
pub fn run(args: &ReportArgs, watch: &Terminal) -> Result<u8> {
    #[cfg(feature = "pages")]
    if let Some(path) = &args.html {
        super::page::free(path, args.force)?;
    }
    let report = farm::report(&*store::open(&args.repo, watch)?, &args.follow.get()?, watch)?;
    watch.clear();
    let links = report.last.as_ref().map_or(Vec::new(), fares);
    let told = Told { report, links };
    #[cfg(feature = "pages")]
    if let Some(path) = &args.html {
        super::page::write(path, &told)?;
        say!("{}", path.display());
        return if args.json { json(&told) } else { Ok(0) };
    }
    if args.json {
        return json(&told);
    }
    tell(&told);
    Ok(0)
}

fn fares(last: &LastStep) -> Vec<Fare> {
    let fare = |&(kbit, rtt): &(u64, f64)| Fare {
        kbit,
        rtt,
        with: takes(kbit, rtt, &last.with),
        whole: takes(kbit, rtt, &last.whole),
    };
    LINKS.iter().map(fare).collect()
}

/// Seconds on a machine like the farm's nominal one.
fn takes(kbit: u64, rtt: f64, load: &Load) -> f64 {
    let rates = Rates::nominal(kbit as f64 * 125.0, rtt);
    rates.seconds(&Use {
        bytes: load.bytes,
        requests: load.requests,
        apply: load.micros as f64 * 1e-6 + rates.unpack(load.unpacked),
        read: load.read,
        ..Use::default()
    })
}

fn tell(told: &Told) {
    for r in &told.report.releases {
        let (size, stored) = (bytes(r.bytes), bytes(r.stored));
        say!(
            "{}  {}  {} files, {size}, {stored} packed",
            r.release,
            r.published,
            r.files
        );
    }
    let Some(last) = &told.report.last else {
        say!("no step leads from the release before to the newest one yet");
        return;
    };
    let (with, whole) = (bytes(last.with.bytes), bytes(last.whole.bytes));
    say!(
        "\n{} -> {}: {with} by the step, {whole} by whole files",
        last.from,
        last.to
    );
    for fare in &told.links {
        let (with, whole) = (seconds(fare.with), seconds(fare.whole));
        say!(
            "  at {:>6} kbit/s {with:>9} by the step, {whole:>9} by whole files",
            fare.kbit
        );
    }
    say!(
        "\n{:>28}  {:>6} {:>10} {:>10}",
        "kind",
        "files",
        "without",
        "with"
    );
    for kind in &last.kinds {
        let (without, with) = (bytes(kind.without), bytes(kind.with));
        say!("{:>28}  {:>6} {without:>10} {with:>10}", kind.kind, kind.files);
    }
    say!("\nwhat costs most:");
    for file in last.files.iter().take(10) {
        say!("{:>10}  {}: {}", bytes(file.with), file.path, file.why);
    }
}
