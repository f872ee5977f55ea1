//! What a farm keeps: checkpoints, for who was away for many releases.

use crate::world::{World, assert_same, noise, runs, update, write};
use elfup::Quiet;
use elfup::farm::{Keep, publish, stats};
use elfup::site::{Objective, Site, UpdateOptions};
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

/// A site at the first release, which was published long ago, and the newest behind checkpoints; `change` makes each.
fn away(mut change: impl FnMut(&World, u64)) -> (World, Site) {
    let world = World::new();
    let keep = Keep {
        last: 1,
        every: 3,
        named: Vec::new(),
    };
    let away = world.site("away", |c| c.objective = Objective::Bytes);
    for n in 1..=LAST {
        change(&world, n);
        let mut release = world.publishing(&format!("r{n}"), "one");
        release.keep = keep.clone();
        publish(&world.store(), &release, &Quiet).unwrap();
        if n == 1 {
            update(&away).unwrap();
        }
        world.gc(&keep);
    }
    (world, away)
}

#[test]
fn who_was_away_needs_a_step_to_a_checkpoint_and_one_more() {
    // Too large for a frame: two deltas lead on from each other.
    let mut large = noise(7, (4 << 20) + 100_000);
    let (world, away) = away(|world, n| {
        let at = n as usize * 300_000;
        large[at..at + 20].fill(n as u8);
        write(world.path("one/lib/large"), &large);
        write(world.path("one/share/release"), format!("release {n}"));
    });
    let kept: Vec<u64> = channel(&world).releases.iter().map(|r| r.sequence).collect();
    assert_eq!(kept, [3, 6, 7]);
    // The release that the site runs is gone, but not the way from it.
    let all = stats(&world.store(), &World::follow(), &Quiet).unwrap();
    let step = |from: &str, to: &str| all.iter().find(|s| s.from.as_deref() == Some(from) && s.to == to);
    assert!(step("r1", "r3").is_some_and(|s| s.stored > 0));
    assert!(step("r3", "r7").is_some() && step("r6", "r7").is_some() && step("r3", "r6").is_some());
    let planned = away.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    assert_eq!(planned.ways.steps.len(), 2);
    drop(planned);
    let updated = update(&away).unwrap();
    assert_eq!((runs(&away), updated.fetched.deltas), ("r7".to_owned(), 2));
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

/// Pages that change a little in each release: they travel in bundles, which lead on from nothing but what is here.
fn pages(world: &World, release: u64) {
    for page in 0..40u64 {
        let mut text = noise(100 + page, 3000);
        text[..8].copy_from_slice(&(page % 7 * release).to_le_bytes());
        write(world.path(&format!("one/man/page{page}")), &text);
    }
    // One that was there and is here again, so that nobody has to make it.
    let back = if release == 3 { 1 } else { release };
    write(world.path("one/man/back"), noise(500 + back, 3000));
    write(world.path("one/share/release"), format!("release {release}"));
}

#[test]
fn bundles_of_a_checkpoint_lead_on_too() {
    let (world, away) = away(pages);
    let planned = away.prepare(&UpdateOptions::default(), &Quiet).unwrap().unwrap();
    let (plan, between) = (&planned.plan, planned.between.as_ref().unwrap());
    let first = plan.first.as_ref().unwrap();
    assert_eq!((&first.release[..], &between.plan.release[..]), ("r3", "r3"));
    assert!((30..=42).contains(&first.files), "{first:?}");
    let (predicted, whole) = (plan.bytes, plan.whole);
    drop(planned);
    let updated = update(&away).unwrap();
    assert_eq!(runs(&away), "r7");
    assert_same(&world.path("one"), &away.root().join("current"));
    // Each page came as what changed in it, twice.
    let wholes = updated.fetched.blobs;
    assert!(
        wholes <= 2 && updated.fetched.bundled >= 60,
        "{:?}",
        updated.fetched
    );
    assert!(
        updated.account.bytes < whole / 5,
        "{} of {whole}",
        updated.account.bytes
    );
    assert_eq!(updated.predicted_bytes, predicted);
    // What was made on the way is gone.
    let gone = away.gc(false, &Quiet).unwrap();
    assert_eq!(gone.objects, 0, "{gone:?}");
}
