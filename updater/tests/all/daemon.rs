//! Rounds of the daemon: as far as its policy goes, and what is urgent first.

use crate::server::{Fault, Server};
use crate::world::{World, noise, runs, write};
use elfup::Quiet;
use elfup::farm::publish;
use elfup::site::Site;
use elfup::site::daemon::{Event, Policy, Unmetered, When, round};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn the_daemon_goes_as_far_as_its_policy() {
    let (world, site) = World::ready();
    let dir = site.root().to_owned();
    drop(site);
    let policy = |fetch, apply| Policy {
        first: &[],
        every: Duration::from_secs(1),
        jitter: Duration::ZERO,
        fetch,
        apply,
        look: Duration::from_secs(3600),
        metered: (&Unmetered, When::Always),
    };
    let go = |fetch, apply| round(&dir, &policy(fetch, apply), &Quiet).unwrap();
    let (release, urgent) = ("r2".to_owned(), false);
    let available = Event::Available {
        release: release.clone(),
        urgent,
    };
    assert_eq!(go(When::Never, When::Never), available);
    assert_eq!(go(When::Urgent, When::Urgent), available);
    assert_eq!(go(When::Always, When::Urgent), Event::Ready { release, urgent });
    assert_eq!(go(When::Always, When::Always), Event::Applied("r2".into()));
    assert_eq!(go(When::Always, When::Always), Event::UpToDate);
    write(world.path("two/share/fix"), "fix");
    let mut urgent = world.publishing("r3", "two");
    urgent.urgent = true;
    publish(&world.store(), &urgent, &Quiet).unwrap();
    // A later release that is not urgent does not hide it.
    write(world.path("two/share/more"), "more");
    world.publish("r4", "two").unwrap();
    assert_eq!(go(When::Never, When::Urgent), Event::Applied("r4".into()));
    assert_eq!(runs(&Site::open(&dir).unwrap()), "r4");
}

/// An urgent release of few paths does not wait until a large one, which is not, has come through.
#[test]
fn an_urgent_release_goes_before_one_that_is_half_fetched() {
    let (world, site) = World::ready();
    let dir = site.root().to_owned();
    drop(site);
    write(world.path("two/share/large"), noise(77, 1 << 20));
    world.publish("large", "two").unwrap();
    let slow = Server::start(&world.repo(), Fault::CutAfter(100_000));
    let config = fs::read_to_string(dir.join("site.json")).unwrap();
    let through = |url: &str| {
        let config = config.replace(&world.repo().display().to_string(), url);
        fs::write(dir.join("site.json"), config).unwrap();
    };
    let policy = |look| Policy {
        first: &[],
        every: Duration::from_secs(1),
        jitter: Duration::ZERO,
        fetch: When::Always,
        apply: When::Always,
        look,
        metered: (&Unmetered, When::Always),
    };
    let go = |look| round(&dir, &policy(look), &Quiet);
    // The link breaks in the middle; and where it does not, the fetch is left after its time.
    through(&slow.url);
    assert!(go(Duration::from_secs(3600)).is_err());
    let half = partial(&dir);
    assert!(half > 50_000, "{half}");
    let fetching = Event::Fetching {
        release: "large".into(),
        urgent: false,
    };
    through(&world.repo().display().to_string());
    assert_eq!(go(Duration::ZERO).unwrap(), fetching);
    assert!(partial(&dir) >= half, "what has come stays");
    // The fix was made for what runs.
    write(world.path("one/share/fix"), "fix");
    let mut fix = world.publishing("fix", "one");
    (fix.urgent, fix.keep.last) = (true, 9);
    publish(&world.store(), &fix, &Quiet).unwrap();
    let good = Server::start(&world.repo(), Fault::None);
    through(&good.url);
    assert_eq!(go(Duration::ZERO).unwrap(), Event::Applied("fix".into()));
    assert!(good.sent.load(Ordering::Relaxed) < 100_000);
}

/// Bytes of pieces and files that have not all come.
fn partial(site: &Path) -> u64 {
    let files = fs::read_dir(site.join("partial")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
