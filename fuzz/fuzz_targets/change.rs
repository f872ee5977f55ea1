//! Arbitrary columns as the change of a manifest: refused, or what comes out is told again and comes out the same.
#![no_main]

use elfup::manifest::{Change, Manifest, take};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static FROM: LazyLock<Manifest> = LazyLock::new(|| {
    Manifest::parse(include_bytes!("../seeds/manifest/packages")).expect("the seed is a manifest")
});

const LIMIT: u64 = 1 << 16;

// As in a step file, but plain: each column behind its length, digests last.
fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let mut column = || {
        let len = take(&mut rest).and_then(|len| usize::try_from(len).ok());
        let (column, behind) = rest.split_at(len.unwrap_or(0).min(rest.len()));
        rest = behind;
        column.to_vec()
    };
    let mut change = Change {
        lines: column(),
        ops: column(),
        times: column(),
        sizes: column(),
        again: column(),
        digests: Vec::new(),
    };
    change.digests = rest.to_vec();
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
