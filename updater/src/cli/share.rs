//! A site that shares: what it fetches comes through a box of its own, from which other sites of the place take it.

use super::say::say;
use elfup::place::{Place, Settings};
use elfup::site::Site;
use elfup::{Error, Result, Watch};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How old metadata may be before it is asked for again.
const FRESH: Duration = Duration::from_secs(300);

/// How a site shares.
#[derive(clap::Args)]
pub struct ShareArgs {
    /// Share what is fetched with other sites of the place, which have http://THIS-MACHINE:PORT among their sources.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "once")]
    share: Option<SocketAddr>,
    /// MiB that are held for others; what was used least recently goes first.
    #[arg(
        long,
        value_name = "MIB",
        requires = "share",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u64).range(1..=1 << 30)
    )]
    share_room: u64,
    /// Announce by multicast DNS that it shares, for sites that look for a box (`site init --nearby`).
    #[cfg(feature = "mdns")]
    #[arg(long, requires = "share")]
    announce: bool,
}

/// Whoever watches the site, and the end of its own work.
struct Until {
    watch: Arc<dyn Watch + Send + Sync>,
    ended: AtomicBool,
}

impl Watch for Until {
    fn note(&self, line: &str) {
        self.watch.note(line);
    }
    fn cancelled(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.watch.cancelled()
    }
}

/// Where the machine itself reaches what listens there.
fn from_here(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

/// What the box of a site does, in the site's directory: the same sources, the same bounds; and its root, the one that
/// the site trusts.
fn settings(dir: &Path, args: &ShareArgs) -> Result<(Settings, String)> {
    let site = Site::open(dir)?;
    let config = site.config();
    let settings = Settings {
        dir: dir.join("share"),
        sources: config.sources.clone(),
        access: config.access(),
        follow: vec![config.follow.clone()],
        budget: config.budget,
        hours: config.hours,
        room: args.share_room << 20,
        fresh: FRESH,
    };
    Ok((settings, site.trust()?.root))
}

/// Does a site's work with the sources that come before those configured: its own box, if it shares.
pub fn sharing(
    dir: &Path,
    args: &ShareArgs,
    watch: &Arc<dyn Watch + Send + Sync>,
    work: impl FnOnce(&[String]) -> Result<()>,
) -> Result<()> {
    let Some(listen) = args.share else {
        return work(&[]);
    };
    let (settings, root) = settings(dir, args)?;
    #[cfg(feature = "mdns")]
    let follow = settings.follow.clone();
    let place = Arc::new(Place::open(settings, Some(root.as_bytes()))?);
    let until = Arc::new(Until {
        watch: Arc::clone(watch),
        ended: AtomicBool::new(false),
    });
    let (ready, listens) = mpsc::channel();
    std::thread::scope(|scope| {
        let watched: Arc<dyn Watch + Send + Sync> = Arc::clone(&until) as _;
        let server = scope.spawn(|| {
            let (place, watched) = (place, watched);
            place.serve(listen, &watched, |at| {
                // Who waits for it is gone only where all ends.
                let _ = ready.send(at);
            })
        });
        let worked = listens.recv().ok().map(|at| {
            say!("shares at http://{at}");
            #[cfg(feature = "mdns")]
            let _announced = args
                .announce
                .then(|| super::serve::announced(at, &follow, &**watch));
            work(&[format!("http://{}", from_here(at))])
        });
        until.ended.store(true, Ordering::Relaxed);
        let served = server.join();
        let served =
            served.unwrap_or_else(|_| Err(Error::Network("what is shared can be served no more".into())));
        worked.unwrap_or(Ok(())).and(served)
    })
}
