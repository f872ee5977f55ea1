//! The command of a box: a repository fetched once over a bad link, for all sites of a place.

use super::access::AccessArgs;
use super::farm::follow;
use super::say::say;
use super::terminal::Terminal;
use clap::Args;
use elfup::names::Follow;
use elfup::place::{Hours, Place, Settings};
use elfup::{Error, Result, Watch};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `serve`.
#[derive(Args)]
pub struct ServeArgs {
    /// Where the box keeps what it has.
    #[arg(long, default_value = "/var/lib/elfup-box")]
    dir: PathBuf,
    /// Where it fetches: http:// or https:// addresses or directories, in order of preference.
    #[arg(long, required = true)]
    source: Vec<String>,
    /// What its sites follow, as PRODUCT, PRODUCT/CHANNEL or PRODUCT/CHANNEL/ARCH.
    #[arg(long, required = true, value_name = "PRODUCT[/CHANNEL[/ARCH]]", value_parser = follow)]
    follow: Vec<Follow>,
    /// The repository's root from a trusted place, to begin with: the oldest that a site of the place may have.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Address and port at which sites find it.
    #[arg(long, default_value = "0.0.0.0:8280")]
    listen: SocketAddr,
    /// MiB that it may fetch a day (UTC).
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    budget: Option<u64>,
    /// Hours in which it may fetch, UTC, such as 22-6; what is asked for meanwhile is fetched then.
    #[arg(long, value_name = "FROM-TO", value_parser = Hours::parse)]
    hours: Option<Hours>,
    /// MiB that it may hold; what was used least recently goes first.
    #[arg(long, value_name = "MIB", default_value_t = 16 << 10, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    room: u64,
    /// Seconds for which metadata is not asked for again.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    fresh: u64,
    /// Announce the box by multicast DNS, for sites that look for one (`site init --nearby`).
    #[cfg(feature = "mdns")]
    #[arg(long)]
    announce: bool,
    #[command(flatten)]
    access: AccessArgs,
}

/// `elfup serve`.
pub fn run(a: ServeArgs, terminal: &Arc<Terminal>) -> Result<u8> {
    let root = match &a.root {
        Some(path) => {
            let read = std::fs::read(path);
            Some(read.map_err(|e| Error::io(format!("read {}", path.display()), e))?)
        }
        None => None,
    };
    let settings = Settings {
        dir: a.dir,
        sources: a.source,
        access: a.access.get()?,
        follow: a.follow,
        budget: a.budget.map(|n| n << 20),
        hours: a.hours,
        room: a.room << 20,
        fresh: Duration::from_secs(a.fresh),
    };
    #[cfg(feature = "mdns")]
    let follow = a.announce.then(|| settings.follow.clone());
    let place = Arc::new(Place::open(settings, root.as_deref())?);
    let watch: Arc<dyn Watch + Send + Sync> = Arc::clone(terminal) as _;
    #[cfg(feature = "mdns")]
    let mut announcing = None;
    place.serve(a.listen, &watch, |at| {
        #[cfg(feature = "mdns")]
        if let Some(follow) = follow {
            announcing = announced(at, &follow, &*watch);
        }
        say!("serves at http://{at}");
    })?;
    #[cfg(feature = "mdns")]
    drop(announcing);
    let tally = place.tally();
    say!(
        "{} bytes fetched, {} served in {} requests",
        tally.fetched,
        tally.served,
        tally.requests
    );
    Ok(0)
}

/// Says to the place what is served at an address, until it is dropped; without that its sites must be told where.
#[cfg(feature = "mdns")]
pub fn announced(at: SocketAddr, follow: &[Follow], watch: &dyn Watch) -> Option<elfup::nearby::Announced> {
    let announced = elfup::nearby::announce(at.port(), follow);
    announced.map_err(|e| watch.note(&e.to_string())).ok()
}
