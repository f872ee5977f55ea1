//! The choice is right for the link and the machine.

use super::*;
use crate::manifest::{Entry, Header, Kind, Manifest};
use crate::names::Follow;
use crate::step::{DeltaRow, Piece, Table};

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

fn manifest(release: &str, sequence: u64, content: Content) -> Manifest {
    let entry = |path: &[u8], kind| Entry {
        path: path.to_vec(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        xattrs: Default::default(),
        time: None,
    };
    Manifest {
        header: Header {
            protocol: 1,
            follow: Follow::new("p", "c", "a").unwrap(),
            release: release.into(),
            sequence,
            urgent: false,
            features: Vec::new(),
            config: Vec::new(),
            mtime: None,
            entries: 2,
        },
        entries: vec![entry(b"", Kind::Dir), entry(b"prog", Kind::File(content))],
    }
}

/// One program of 4 MB, 1 MB as a blob; 50 kB as a delta that takes 2 s, 120 kB as one that takes 0.1 s.
fn ways() -> Ways {
    let content = |n, stored| Content {
        digest: digest(n),
        size: 4_000_000,
        stored,
        holes: Vec::new(),
    };
    let from = manifest("r1", 1, content(1, 1_000_000));
    let to = std::sync::Arc::new(manifest("r2", 2, content(2, 1_000_000)));
    let row = |piece, length, profile, micros| DeltaRow {
        from: 1,
        to: 1,
        piece,
        at: 0,
        length,
        profile,
        micros,
        memory: 30 << 20,
        scratch: 0,
        encoders: Vec::new(),
    };
    let pieces = vec![
        Piece {
            length: 50_000,
            digest: digest(8),
        },
        Piece {
            length: 120_000,
            digest: digest(9),
        },
    ];
    let table = Table {
        protocol: 1,
        pack: Some(digest(7)),
        nominal_micros: 1000,
        pieces,
        deltas: vec![
            row(0, 50_000, Profile::Default, 2_000_000),
            row(1, 120_000, Profile::Fast, 100_000),
        ],
        bundles: Vec::new(),
    };
    let step = Step {
        from: Some(from),
        to: to.clone(),
        to_digest: digest(6),
        table,
        offsets: vec![0, 50_000],
        levels: Default::default(),
    };
    Ways {
        target: to,
        digest: digest(6),
        steps: vec![std::sync::Arc::new(step)],
    }
}

fn choose(
    bandwidth: f64,
    rtt: f64,
    speed: f64,
    objective: Objective,
    memory: u64,
    base: bool,
) -> (Way, Plan) {
    let ways = ways();
    let mut index = Index::default();
    if base {
        index.insert(digest(1));
    }
    let rates = Rates {
        bandwidth,
        rtt,
        disk: 80e6,
        speed,
        objective,
    };
    let mut planner = Planner {
        ways: &ways,
        index: &index,
        rates,
        memory,
        deltas: Rows::default(),
        bundles: Rows::default(),
        held: &|_| 0,
        made: &HashSet::new(),
    };
    planner.collect();
    let content = ways.target.entries[1].content().unwrap();
    let item = Item {
        path: "prog".into(),
        entry: 1,
        digest: content.digest,
        size: content.size,
        options: planner.options(content),
    };
    let mut plan = planner.total(std::slice::from_ref(&item), |_| 0, false);
    plan.items = vec![item];
    (plan.items[0].options[0].way.clone(), plan)
}

const KBIT64: f64 = 8_000.0;
const MBIT100: f64 = 12_500_000.0;
const SMALL: Way = Way::Delta(StepRow { step: 0, row: 0 });
const FAST: Way = Way::Delta(StepRow { step: 0, row: 1 });
const ENOUGH: u64 = 96 << 20;

#[test]
fn a_slow_link_takes_the_smallest_delta() {
    let (way, plan) = choose(KBIT64, 0.6, 1.0, Objective::Time, ENOUGH, true);
    assert_eq!(way, SMALL);
    assert_eq!((plan.bytes, plan.requests), (50_000, 1));
    assert_eq!(plan.items[0].options.len(), 3);
}

#[test]
fn a_fast_link_and_a_slow_machine_take_the_whole_file() {
    let (way, plan) = choose(MBIT100, 0.02, 20.0, Objective::Time, ENOUGH, true);
    assert_eq!(way, Way::Blob);
    assert_eq!(plan.bytes, 1_000_000);
}

#[test]
fn a_slow_machine_on_a_middling_link_takes_the_fast_delta() {
    assert_eq!(choose(64_000.0, 0.3, 5.0, Objective::Time, ENOUGH, true).0, FAST);
}

#[test]
fn fewest_bytes_whatever_the_time() {
    assert_eq!(
        choose(MBIT100, 0.02, 20.0, Objective::Bytes, ENOUGH, true).0,
        SMALL
    );
}

#[test]
fn too_little_memory_or_no_base_means_the_whole_file() {
    let (way, plan) = choose(KBIT64, 0.6, 1.0, Objective::Time, 20 << 20, true);
    assert_eq!(way, Way::Blob);
    assert!(
        plan.items[0].options[1]
            .infeasible
            .as_ref()
            .is_some_and(|w| w.contains("memory"))
    );
    assert_eq!(
        choose(KBIT64, 0.6, 1.0, Objective::Time, ENOUGH, false).0,
        Way::Blob
    );
}
