//! Arbitrary bytes as a packed file, and as a patch of one: opened within limits, closed to the same bytes.
#![no_main]

use elfdelta::packed::{Bounds, Closer, Means, look};
use elfdelta::{Limits, Patch, budget::Budget};
use libfuzzer_sys::fuzz_target;

/// What packing again may take, in bytes.
const MEMORY: u64 = 64 << 20;
const OLD: &[u8] = include_bytes!("../seeds/packed/old.gz");

fuzz_target!(|bytes: &[u8]| {
    if let [_, Some(found)] = look(OLD, bytes, &Bounds::of(MEMORY, &|| false)) {
        let budget = Budget::default();
        let means = Means {
            budget: &budget,
            scratch: None,
        };
        let (mut closer, mut made) = (Closer::new(&found.plan, means), Vec::new());
        let sink = &mut |piece: &[u8]| {
            made.extend_from_slice(piece);
            Ok(())
        };
        closer.push(&found.inside, sink).expect("its own plan");
        closer.finish(sink).expect("its own plan");
        assert_eq!(made, bytes);
    }
    look(bytes, OLD, &Bounds::of(MEMORY, &|| false));
    let limits = Limits::new()
        .memory(64 << 20)
        .output(1 << 20)
        .scratch(1 << 20)
        .threads(1);
    let mut new = Vec::new();
    if let Ok(patch) = Patch::parse(bytes) {
        let _ = patch.applier().limits(limits).apply(&OLD, &mut new);
        assert!(new.len() as u64 <= limits.output);
    }
});
