//! What a farm keeps: checkpoints, for who was away for many releases.

use crate::world::{World, noise, runs, update, write};
use elfup::Quiet;
use elfup::farm::{Keep, publish, stats};
use elfup::site::{Objective, UpdateOptions};
use elfup::step::Channel;
use elfup::store::Store;

const LAST: u64 = 7;

/// The newest channel file.
fn channel(world: &World) -> Channel {
    let store = world.store();
    let all = store.list("channels").unwrap();
    assert_eq!(all.len(), 1, "older ones are gone");
    let bytes = store.get(&all[0], 1 << 30).unwrap().unwrap();
    Channel::parse(&bytes, &World::follow()).unwrap()
}

#[test]
fn who_was_away_needs_a_step_to_a_checkpoint_and_one_more() {
    let world = World::new();
    let keep = Keep {
        last: 1,
        every: 3,
        named: Vec::new(),
    };
    let away = world.site("away", |c| c.objective = Objective::Bytes);
    // Too large for a frame: two deltas lead on from each other.
    let mut large = noise(7, (4 << 20) + 100_000);
    for n in 1..=LAST {
        let at = n as usize * 300_000;
        large[at..at + 20].fill(n as u8);
        write(world.path("one/lib/large"), &large);
        write(world.path("one/share/release"), format!("release {n}"));
        let mut release = world.publishing(&format!("r{n}"), "one");
        release.keep = keep.clone();
        publish(&world.store(), &release, &Quiet).unwrap();
        if n == 1 {
            update(&away).unwrap();
        }
        world.gc(&keep);
    }
    let kept: Vec<u64> = channel(&world).releases.iter().map(|r| r.sequence).collect();
    assert_eq!(kept, [3, 6, 7]);
    // The release that the site runs is gone, but not the way from it.
    let all = stats(&world.store(), &World::follow(), &Quiet).unwrap();
    let step = |from: &str, to: &str| all.iter().find(|s| s.from.as_deref() == Some(from) && s.to == to);
    assert!(step("r1", "r3").is_some_and(|s| s.stored > 0));
    assert!(step("r3", "r7").is_some() && step("r6", "r7").is_some() && step("r3", "r6").is_some());
    let planned = away.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    assert_eq!(planned.ways.steps.len(), 2);
    let updated = update(&away).unwrap();
    assert_eq!((runs(&away), updated.fetched.chains), ("r7".to_owned(), 1));
    assert!(updated.account.bytes < 100_000, "{updated:?}");
    let wrong = elfup::farm::verify(
        &world.store(),
        &elfup::farm::Verify {
            sample: 100,
            resume: false,
            threads: 0,
        },
        &Quiet,
    );
    assert!(wrong.unwrap().wrong.is_empty());
}
