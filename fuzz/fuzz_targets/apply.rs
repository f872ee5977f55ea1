//! Arbitrary bytes as a patch of a file of each kind: an error or a file, within the limits, and never a panic.
#![no_main]

mod kinds;

use elfdelta::{Limits, Patch};
use libfuzzer_sys::fuzz_target;

// The first byte chooses the old file.
fuzz_target!(|data: &[u8]| {
    let Some((kind, patch)) = data.split_first() else {
        return;
    };
    let limits = Limits::new().memory(64 << 20).output(1 << 20).threads(1);
    let mut new = Vec::new();
    if let Ok(patch) = Patch::parse(patch) {
        if patch
            .applier()
            .limits(limits)
            .apply(&kinds::file(*kind), &mut new)
            .is_ok()
        {
            assert_eq!(new.len() as u64, patch.header().new_len);
        }
        assert!(new.len() as u64 <= limits.output);
    }
});
