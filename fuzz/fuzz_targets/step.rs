//! Arbitrary tables as a step between two manifests: refused, or every number points at something.
#![no_main]

use elfup::Digest;
use elfup::manifest::Manifest;
use elfup::step::{self, Release, Table};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

const FROM: &str = include_str!("../seeds/manifest/small");

fn release(to: &[u8]) -> Release {
    Release {
        release: "r".into(),
        sequence: 1,
        urgent: false,
        published: String::new(),
        manifest: Digest::of(to),
        manifest_size: to.len() as u64,
        manifest_stored: to.len() as u64,
        steps: Vec::new(),
    }
}

// What is behind the table's line is the target manifest; none: the same as before.
fuzz_target!(|data: &[u8]| {
    let split = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (table, to) = data.split_at(split);
    let to = if to.len() < 2 { FROM.as_bytes() } else { &to[1..] };
    let release = release(to);
    // As bytes of a file, of which hardly any are a frame.
    let _ = step::read(data, FROM.as_bytes(), &release);
    // As a table that serde takes.
    let Ok(table) = serde_json::from_slice::<Table>(table) else {
        return;
    };
    let Ok(file) = step::write(&table, FROM.as_bytes(), to, &elfup::Quiet) else {
        return;
    };
    if let Ok(step) = step::read(&file, FROM.as_bytes(), &release) {
        assert_eq!(step.table, table);
        assert_eq!(step.offsets.len(), table.pieces.len());
        for delta in &step.table.deltas {
            assert!(delta.at + delta.length <= step.table.pieces[delta.piece].length);
            assert!(step.to.entries[delta.to].content().is_some());
        }
        for base in step.table.bundles.iter().flat_map(|b| &b.bases) {
            assert!(step.base(*base).is_some());
        }
        assert!(step.levels.values().all(|level| *level <= step::LEVELS));
        let other = Release {
            manifest: Digest([0; 32]),
            ..release.clone()
        };
        assert!(step::read(&file, FROM.as_bytes(), &other).is_err());
    }
    // From nothing, to a manifest that was read before.
    let file = step::write(&table, &[], to, &elfup::Quiet).expect("a step is written");
    let known = Manifest::parse(to).ok().map(Arc::new);
    if let Ok(step) = step::read_with(&file, &[], &release, known.as_ref()) {
        assert!(step.table.deltas.is_empty() && step.from.is_none());
    }
});
