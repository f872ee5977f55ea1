//! Links that are not used at all hours, nor without end.

use crate::server::{Fault, Server};
use crate::world::{World, runs, update};
use elfup::allowance::Hours;
use elfup::farm::publish;
use elfup::site::Site;
use elfup::{Error, Quiet, clock};
use std::fs;

/// The day and its bytes, as the site noted them.
fn spent(site: &Site) -> (i64, u64) {
    let text = fs::read_to_string(site.root().join("state/spent")).unwrap_or_else(|_| "0 0".into());
    let (day, bytes) = text.trim().split_once(' ').unwrap();
    (day.parse().unwrap(), bytes.parse().unwrap())
}

fn next_day(site: &Site) {
    let (day, bytes) = spent(site);
    fs::write(site.root().join("state/spent"), format!("{} {bytes}\n", day - 1)).unwrap();
}

#[test]
fn a_budget_is_kept_and_the_next_day_goes_on() {
    const BUDGET: u64 = 150_000;
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let server = Server::start(&world.repo(), Fault::None);
    let free = world.site("free", |c| c.sources = vec![server.url.clone()]);
    let once = update(&free).unwrap().account.bytes;
    assert!(once > 2 * BUDGET, "{once}");
    let bound = |c: &mut elfup::site::Config| {
        c.sources = vec![server.url.clone()];
        c.budget = Some(BUDGET);
    };
    let mut site = world.site("bound", bound);
    let (mut total, mut days) = (0, 1);
    loop {
        let done = update(&site);
        site = world.reopen(site);
        let (_, today) = spent(&site);
        total += today;
        // A part under way, and metadata, are let through.
        assert!(today < BUDGET + (96 << 10), "{today}");
        match done {
            Ok(_) => break,
            Err(Error::Network(_) | Error::OutOfOptions { .. }) => assert!(today >= BUDGET, "{today}"),
            Err(e) => panic!("{e}"),
        }
        let again = update(&site).unwrap_err();
        assert_eq!(again.exit_code(), 5, "{again}");
        site = world.reopen(site);
        total += spent(&site).1 - today;
        days += 1;
        assert!(days < 10, "{total} of {once}");
        next_day(&site);
    }
    assert_eq!(runs(&site), "r1");
    assert!(
        days > 1 && total < once + days * (64 << 10),
        "{total} in {days} days, {once} in one"
    );
}

/// What the hours hold back they hold back until they begin, and for nothing that is urgent or near.
#[test]
fn hours_bind_releases_that_can_wait() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let server = Server::start(&world.repo(), Fault::None);
    let hour = clock::now().rem_euclid(86_400) / 3600;
    let other =
        |from: i64, to: i64| Hours::parse(&format!("{}-{}", (hour + from) % 24, (hour + to) % 24)).unwrap();
    let site = world.site("far", |c| {
        c.sources = vec![server.url.clone()];
        c.hours = Some(other(3, 5));
    });
    let late = update(&site).unwrap_err();
    assert_eq!(late.exit_code(), 5);
    let late = late.to_string();
    assert!(
        late.contains(&format!("rests until {}:00 UTC", (hour + 3) % 24)),
        "{late}"
    );
    assert!(site.check(&Quiet).unwrap().available);
    let mut urgent = world.publishing("r2", "two");
    urgent.urgent = true;
    publish(&world.store(), &urgent, &Quiet).unwrap();
    let site = world.reopen(site);
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
    for (name, sources, hours) in [
        (
            "near",
            vec![world.repo().to_str().unwrap().to_owned()],
            other(3, 5),
        ),
        ("now", vec![server.url.clone()], other(23, 2)),
    ] {
        let site = world.site(name, |c| {
            c.sources = sources;
            c.hours = Some(hours);
        });
        update(&site).unwrap();
    }
}
