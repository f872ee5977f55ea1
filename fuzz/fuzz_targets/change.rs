//! Arbitrary columns as the change of a manifest: refused, or what comes out is told again and comes out the same.
#![no_main]

mod columns;

use elfup::manifest::{Change, Manifest};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static FROM: LazyLock<Manifest> = LazyLock::new(|| {
    Manifest::parse(include_bytes!("../seeds/manifest/packages")).expect("the seed is a manifest")
});

const LIMIT: u64 = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let change = columns::change(data);
    let Some(bytes) = change.apply(&FROM, LIMIT) else {
        return;
    };
    assert!(bytes.len() as u64 <= LIMIT);
    let Ok(to) = Manifest::parse(&bytes) else {
        return;
    };
    let again = Change::between(&FROM, &to);
    assert!(again.apply(&FROM, LIMIT).is_some_and(|again| again == bytes));
});
