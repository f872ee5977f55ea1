//! Arbitrary bytes as a patch: an error or a file, within the limits, and never a panic.
#![no_main]

use elfdelta::{Limits, Patch, Silent};
use libfuzzer_sys::fuzz_target;

const OLD: &[u8] = include_bytes!("../seeds/elf/tiny-1");

fuzz_target!(|patch: &[u8]| {
    let limits = Limits {
        memory: 64 << 20,
        output: 1 << 20,
        threads: 1,
        ..Limits::default()
    };
    let mut new = Vec::new();
    if let Ok(patch) = Patch::parse(patch, &limits) {
        if patch.apply(&OLD, &mut new, &limits, &Silent).is_ok() {
            assert_eq!(new.len() as u64, patch.header().new_len);
        }
        assert!(new.len() as u64 <= limits.output);
    }
});
