//! Several items at once, each call on threads of its own.
//!
//! A caller that waits only waits: on a shared pool it would take up other work meanwhile, on top of its own stack,
//! and a caller with thousands of files would have thousands of them on one stack.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Stack of a thread, in bytes, whatever the environment says.
const STACK: usize = 2 << 20;

/// How many threads are meant: 0 is one for each core.
pub fn count(threads: usize) -> usize {
    match threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        n => n,
    }
}

/// `work` of every number below `count`, in order, on at most `threads` threads (0: one for each core), of which
/// the caller's is one.
///
/// Which thread takes which number is left to chance; where the system gives no more threads, fewer do it.
pub fn each<R: Send>(threads: usize, count: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let helpers = self::count(threads).min(count).saturating_sub(1);
    if helpers == 0 {
        return (0..count).map(work).collect();
    }
    let (next, made) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
    let take = || {
        let mut mine = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            mine.push((index, work(index)));
        }
        // A thread that panicked ends the scope with its panic, so a list that it held is never read.
        made.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .append(&mut mine);
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            let builder = thread::Builder::new().stack_size(STACK);
            if builder.spawn_scoped(scope, take).is_err() {
                break;
            }
        }
        take();
    });
    let mut made = made
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    made.sort_unstable_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn results_stand_in_order_at_any_number_of_threads() {
        let expected: Vec<usize> = (0..1000).map(|n| n * n).collect();
        for threads in [0, 1, 2, 7, 5000] {
            assert_eq!(each(threads, 1000, |n| n * n), expected);
        }
        assert!(each(4, 0, |n| n).is_empty());
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let run = || each(3, 100, |n| assert_ne!(n, 50));
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
