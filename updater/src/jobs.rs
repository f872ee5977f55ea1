//! Work on many files at once: how many are in work, their memory and the depth of the stack are bounded by
//! construction, whatever the number of files.
//!
//! Each thread takes one job after the other and none while it waits, so a stack holds one job. What a job declares
//! is free before it begins; one that declares more than all there is runs alone. Jobs begin in the order of their
//! items, and results are handed over in that order.

use crate::{Result, machine};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Stack of a thread, in bytes, whatever the environment says.
const STACK: usize = 2 << 20;
/// Results that may wait for one before them.
const AHEAD: usize = 1024;

/// Threads and memory for work on files.
#[derive(Debug)]
pub struct Jobs {
    threads: usize,
    memory: u64,
    most: AtomicU64,
}

/// What all threads know of the work.
struct Board<R> {
    /// Number of the next item that is taken.
    next: usize,
    /// Number of the result that is handed over next.
    wanted: usize,
    /// Bytes declared by jobs in work and held by results that wait.
    held: u64,
    /// Results that wait, with what they hold.
    done: BTreeMap<usize, (Result<R>, u64)>,
    /// Nothing more is to begin.
    ended: bool,
}

/// Ends the work when its thread ends, also by a panic, so that nobody waits for a result that never comes.
struct Ends<'a, R>(&'a Shared<R>);

struct Shared<R> {
    board: Mutex<Board<R>>,
    changed: Condvar,
}

impl<R> Shared<R> {
    fn board(&self) -> MutexGuard<'_, Board<R>> {
        // Every change of the board is whole before anything that can panic.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn wait<'b>(&self, board: MutexGuard<'b, Board<R>>) -> MutexGuard<'b, Board<R>> {
        self.changed.wait(board).unwrap_or_else(PoisonError::into_inner)
    }
    fn end(&self) {
        self.board().ended = true;
        self.changed.notify_all();
    }
}

impl<R> Drop for Ends<'_, R> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}

impl Jobs {
    /// At most so many threads (0: one for each core) and so many bytes declared by jobs in work (0: three quarters of
    /// the machine's memory).
    pub fn new(threads: usize, memory: u64) -> Jobs {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            n => n,
        };
        let memory = match memory {
            0 => machine::memory() / 4 * 3,
            n => n,
        };
        Jobs {
            threads,
            memory,
            most: AtomicU64::new(0),
        }
    }

    /// How many bytes jobs in work may declare at once.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// The most that jobs in work had declared at once so far, in bytes.
    pub fn declared(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }

    /// `work` of every item, which need next to no memory; their results in order.
    pub fn map<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let mut all = Vec::with_capacity(items.len());
        let keep = |result| {
            all.push(result);
            Ok(())
        };
        self.run(items, |_| 0, |item| Ok((work(item)?, 0)), keep)?;
        Ok(all)
    }

    /// `work` of every item, which needs at most what `need` declares of it in bytes; tells the result and how many
    /// bytes that holds. Results go to `take`, on the caller's thread, in the order of the items.
    ///
    /// Fails with the first error in that order; what is in work then is waited for.
    pub fn run<T: Sync, R: Send>(
        &self,
        items: &[T],
        need: impl Fn(&T) -> u64 + Sync,
        work: impl Fn(&T) -> Result<(R, u64)> + Sync,
        mut take: impl FnMut(R) -> Result<()>,
    ) -> Result<()> {
        let threads = self.threads.min(items.len());
        if threads <= 1 {
            for item in items {
                self.most.fetch_max(need(item), Ordering::Relaxed);
                take(work(item)?.0)?;
            }
            return Ok(());
        }
        let shared = Shared {
            board: Mutex::new(Board {
                next: 0,
                wanted: 0,
                held: 0,
                done: BTreeMap::new(),
                ended: false,
            }),
            changed: Condvar::new(),
        };
        thread::scope(|scope| {
            let worker = || self.worker(&shared, items, &need, &work);
            let mut started = 0;
            for _ in 0..threads {
                let builder = thread::Builder::new().stack_size(STACK);
                started += usize::from(builder.spawn_scoped(scope, worker).is_ok());
            }
            if started == 0 {
                let why = std::io::Error::from(std::io::ErrorKind::OutOfMemory);
                return Err(crate::Error::io("start a thread", why));
            }
            let result = hand_over(&shared, items.len(), &mut take);
            shared.end();
            result
        })
    }

    /// Takes items until there are none.
    fn worker<T: Sync, R: Send>(
        &self,
        shared: &Shared<R>,
        items: &[T],
        need: &(impl Fn(&T) -> u64 + Sync),
        work: &(impl Fn(&T) -> Result<(R, u64)> + Sync),
    ) {
        let _ends = Ends(shared);
        loop {
            let mut board = shared.board();
            let (number, item, needs) = loop {
                let item = match items.get(board.next) {
                    Some(item) if !board.ended => item,
                    _ => return,
                };
                let needs = need(item);
                // One that waits keeps its place: a large job is not put off for ever by small ones. The job whose
                // result is wanted next always gets room, since results before it are handed over without it.
                let fits = board.held == 0 || board.held.saturating_add(needs) <= self.memory;
                if fits && board.next < board.wanted.saturating_add(AHEAD) {
                    break (board.next, item, needs);
                }
                board = shared.wait(board);
            };
            board.next += 1;
            board.held += needs;
            self.most.fetch_max(board.held, Ordering::Relaxed);
            drop(board);
            let result = work(item);
            let (result, holds) = match result {
                Ok((result, holds)) => (Ok(result), holds),
                Err(e) => (Err(e), 0),
            };
            let mut board = shared.board();
            board.held = board.held - needs + holds;
            board.done.insert(number, (result, holds));
            drop(board);
            shared.changed.notify_all();
        }
    }
}

/// Hands results over in order until all are or one is an error.
fn hand_over<R>(shared: &Shared<R>, count: usize, take: &mut impl FnMut(R) -> Result<()>) -> Result<()> {
    let mut board = shared.board();
    for number in 0..count {
        let (result, holds) = loop {
            if let Some(found) = board.done.remove(&number) {
                break found;
            }
            if board.ended {
                // A thread panicked, and the scope will say so.
                return Ok(());
            }
            board = shared.wait(board);
        };
        board.held -= holds;
        board.wanted = number + 1;
        drop(board);
        shared.changed.notify_all();
        take(result?)?;
        board = shared.board();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use std::sync::atomic::AtomicUsize;

    /// What jobs in work need together, and how many they are.
    #[derive(Default)]
    struct Meter {
        now: AtomicU64,
        most: AtomicU64,
        running: AtomicUsize,
        most_running: AtomicUsize,
    }

    impl Meter {
        fn during(&self, need: u64, work: impl FnOnce()) {
            let now = self.now.fetch_add(need, Ordering::SeqCst) + need;
            self.most.fetch_max(now, Ordering::SeqCst);
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_running.fetch_max(running, Ordering::SeqCst);
            work();
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.now.fetch_sub(need, Ordering::SeqCst);
        }
    }

    #[test]
    fn order_threads_and_memory_hold_whatever_the_jobs_need() {
        for threads in [1, 2, 7] {
            let (jobs, meter) = (Jobs::new(threads, 100), Meter::default());
            let items: Vec<u64> = (0..2000).map(|n| n * 37 % 90).collect();
            let mut seen = Vec::new();
            let work = |need: &u64| {
                meter.during(*need, || (0..need % 9).for_each(|_| thread::yield_now()));
                Ok((*need, *need / 10))
            };
            let take = |need| {
                seen.push(need);
                Ok(())
            };
            jobs.run(&items, |n| *n, work, take).unwrap();
            assert_eq!(seen, items);
            assert!(meter.most.into_inner() <= 100 && jobs.declared() <= 100);
            assert!(meter.most_running.into_inner() <= threads);
        }
    }

    #[test]
    fn one_that_needs_more_than_there_is_runs_alone() {
        let (jobs, meter) = (Jobs::new(4, 10), Meter::default());
        let items: Vec<u64> = (0..400).map(|n| if n % 50 == 7 { 1000 } else { 3 }).collect();
        let work = |need: &u64| {
            meter.during(*need, || {
                if *need == 1000 {
                    assert_eq!(meter.running.load(Ordering::SeqCst), 1);
                }
            });
            Ok(((), 0))
        };
        jobs.run(&items, |n| *n, work, |()| Ok(())).unwrap();
        assert_eq!((meter.most.into_inner(), jobs.declared()), (1000, 1000));
    }

    #[test]
    fn results_that_wait_for_a_slow_one_are_few() {
        let (jobs, begun) = (Jobs::new(2, 100), AtomicUsize::new(0));
        let items: Vec<usize> = (0..5 * AHEAD).collect();
        let work = |n: &usize| {
            let before = begun.fetch_add(1, Ordering::SeqCst);
            // The first one ends once all that may run ahead of it have begun, and looks whether more do.
            while *n == 0 && begun.load(Ordering::SeqCst) < AHEAD {
                thread::yield_now();
            }
            if *n == 0 {
                (0..1000).for_each(|_| thread::yield_now());
                assert_eq!(begun.load(Ordering::SeqCst), AHEAD);
            }
            Ok((before, 0))
        };
        jobs.run(&items, |_| 0, work, |_| Ok(())).unwrap();
        assert_eq!(begun.into_inner(), items.len());
    }

    #[test]
    fn the_first_error_in_order_ends_the_work() {
        for threads in [1, 3] {
            let (jobs, begun, mut taken) = (Jobs::new(threads, 100), AtomicUsize::new(0), 0);
            let items: Vec<usize> = (0..100_000).collect();
            let work = |n: &usize| {
                begun.fetch_add(1, Ordering::SeqCst);
                match n {
                    50 | 53 => Err(Error::Usage(n.to_string())),
                    n => Ok((*n, 0)),
                }
            };
            let take = |n| {
                taken += 1;
                assert!(n < 50);
                Ok(())
            };
            let error = jobs.run(&items, |_| 0, work, take).unwrap_err();
            assert_eq!((error.to_string(), taken), ("50".to_owned(), 50));
            assert!(begun.into_inner() <= 50 + AHEAD + threads);
        }
    }

    #[test]
    fn a_panic_in_a_job_reaches_the_caller() {
        let run = || {
            let work = |n: &u32| {
                assert_ne!(*n, 40);
                Ok(((), 0))
            };
            let items: Vec<u32> = (0..100).collect();
            Jobs::new(3, 100).run(&items, |_| 0, work, |()| Ok(()))
        };
        assert!(std::panic::catch_unwind(run).is_err());
    }

    #[test]
    fn thousands_of_pairs_need_the_stack_of_one() {
        const TINY: [&[u8]; 2] = [
            include_bytes!("../../fuzz/seeds/elf/tiny-1"),
            include_bytes!("../../fuzz/seeds/elf/tiny-2"),
        ];
        let options = elfdelta::Options::default().threads(2);
        let work = |_: &usize| {
            let delta = elfdelta::diff(TINY[0], TINY[1], &options, &elfdelta::Silent)?;
            Ok((delta.bytes.len(), 0))
        };
        let items: Vec<usize> = (0..5000).collect();
        let mut lengths = std::collections::BTreeSet::new();
        let take = |length| {
            lengths.insert(length);
            Ok(())
        };
        Jobs::new(4, 1 << 30)
            .run(&items, |_| 1 << 20, work, take)
            .unwrap();
        assert_eq!(lengths.len(), 1);
    }
}
