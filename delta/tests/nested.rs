//! Callers with pools of their own: thousands of pairs at once, each of which waits for threads inside.

use elfdelta::{Limits, Options, Patch, Silent};
use rayon::prelude::*;

const TINY: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/elf/tiny-1"),
    include_bytes!("../../fuzz/seeds/elf/tiny-2"),
];

/// Stack of the caller's threads, in bytes: half of what is usual.
const STACK: usize = 1 << 20;
const PAIRS: usize = 5000;

/// Were a waiting call to take up the caller's next pair, the stack would hold thousands of calls and overflow.
#[test]
fn thousands_of_pairs_on_a_callers_pool_need_the_stack_of_one() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .stack_size(STACK)
        .build()
        .unwrap();
    let several = Options::default().threads(2).segments(2);
    let limits = Limits::new().threads(2);
    let first = elfdelta::diff(TINY[0], TINY[1], &several, &Silent).unwrap();
    pool.install(|| {
        (0..PAIRS).into_par_iter().for_each(|n| {
            let delta = elfdelta::diff(TINY[0], TINY[1], &several, &Silent).unwrap();
            assert!(delta.bytes == first.bytes);
            if n % 5 != 0 {
                return;
            }
            let patch = Patch::parse(&delta.bytes).unwrap();
            let mut new = Vec::new();
            patch.applier().limits(limits).apply(&TINY[0], &mut new).unwrap();
            assert!(new == TINY[1]);
        });
    });
}
