//! What one run may still use, and whether it is to go on: memory, work, and the caller's progress.
//!
//! Memory is counted by what structures hold in elements of fixed size, so that every machine counts alike: the
//! encoder declares the most that its own check held, and a decoder refuses what needs more than was declared.

mod kept;

pub use kept::{Keep, Lent};

use crate::{Error, Progress, Silent, Stage, error::Result};
use kept::Kept;
use std::cell::Cell;

/// What is wrong with a patch that takes more memory than it declares.
pub const MORE_MEMORY: &str = "it needs more memory than it declares";

/// Units of work between two looks at whether the caller wants to go on.
const SLICE: u64 = 1 << 14;

/// How often in a stage the caller is told how far it is, about.
const WORDS: u64 = 256;

/// The account of one run, on one thread.
pub struct Budget<'p> {
    memory: u64,
    held: Cell<u64>,
    peak: Cell<u64>,
    /// Bytes of scratch space that are allowed, and those that were written.
    space: u64,
    filled: Cell<u64>,
    work: u64,
    /// Work taken out of `work` in slices, and what is left of the last one.
    taken: Cell<u64>,
    slice: Cell<u64>,
    /// Work that was counted as the worst text takes it, and as usual text does, in sixteenths.
    worst: Cell<u64>,
    usual: Cell<u64>,
    over: Cell<bool>,
    refused: Cell<bool>,
    cancelled: Cell<bool>,
    /// Where in the stage the caller is next told, and how far apart.
    next: Cell<u64>,
    step: Cell<u64>,
    kept: Kept,
    progress: &'p dyn Progress,
}

impl<'p> Budget<'p> {
    /// Allows `memory` bytes and `work` units.
    pub fn new(memory: u64, work: u64, progress: &'p dyn Progress) -> Self {
        Budget {
            memory,
            held: Cell::new(0),
            peak: Cell::new(0),
            space: u64::MAX,
            filled: Cell::new(0),
            work,
            taken: Cell::new(0),
            slice: Cell::new(0),
            worst: Cell::new(0),
            usual: Cell::new(0),
            over: Cell::new(false),
            refused: Cell::new(false),
            cancelled: Cell::new(false),
            next: Cell::new(0),
            step: Cell::new(0),
            kept: Kept::default(),
            progress,
        }
    }

    /// Allows so many bytes of scratch space.
    pub fn with_space(self, space: u64) -> Self {
        Budget { space, ..self }
    }

    /// Sets no bounds; the caller is still heard.
    pub fn unlimited(progress: &'p dyn Progress) -> Self {
        Budget::new(u64::MAX, u64::MAX, progress)
    }

    /// Spends work: one unit for a symbol or for a few dozen bytes moved.
    #[inline]
    pub fn spend(&self, units: u64) {
        match self.slice.get().checked_sub(units) {
            Some(rest) => self.slice.set(rest),
            None => self.refill(units),
        }
    }

    #[cold]
    fn refill(&self, units: u64) {
        if self.progress.cancelled() {
            self.cancelled.set(true);
        }
        let given = units.saturating_add(SLICE).min(self.work - self.taken.get());
        self.taken.set(self.taken.get() + given);
        let rest = (self.slice.get() + given).checked_sub(units);
        self.slice.set(rest.unwrap_or(0));
        if rest.is_none() || self.cancelled.get() {
            self.over.set(true);
        }
    }

    /// Work spent so far, in units.
    pub fn spent(&self) -> u64 {
        self.taken.get() - self.slice.get()
    }

    /// Tells that of the work spent so many units were counted as the worst text takes them, which usual text does in
    /// so many sixteenths of a unit.
    pub fn usually(&self, worst: u64, sixteenths: u64) {
        self.worst.set(self.worst.get().saturating_add(worst));
        self.usual.set(self.usual.get().saturating_add(sixteenths));
    }

    /// Units of work that usual text takes.
    pub fn usual(&self) -> u64 {
        self.spent().saturating_sub(self.worst.get()) + self.usual.get() / 16
    }

    /// Whether the work is used up or the caller wants no more; every loop over streams asks.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Spends work and fails where it is used up or the caller wants no more.
    pub fn go_on(&self, units: u64) -> Result<()> {
        self.spend(units);
        self.cause().map_or(Ok(()), Err)
    }

    /// Why the run is over, if it is: whatever error a stage gave, this is what led to it.
    pub fn cause(&self) -> Option<Error> {
        let over = Error::OverLimit {
            what: "units of work",
            needed: self.work.saturating_add(1),
            allowed: self.work,
        };
        match (self.cancelled.get(), self.over.get()) {
            (true, _) => Some(Error::Cancelled),
            (false, true) => Some(over),
            (false, false) => None,
        }
    }

    /// Tells the stage that begins and its length in bytes.
    pub fn stage(&self, stage: Stage, total: u64) {
        self.next.set(0);
        self.step.set(total / WORDS);
        self.progress.stage(stage, total);
    }

    /// Tells how many bytes of the stage are done.
    pub fn at(&self, done: u64) {
        if done >= self.next.get() {
            self.next.set(done + self.step.get());
            self.progress.at(done);
        }
    }

    /// An account of its own, of nothing yet.
    pub fn held(&self) -> Held<'_> {
        Held {
            budget: self,
            bytes: 0,
        }
    }

    /// Fails where `bytes` more for a moment are not allowed.
    pub fn fits(&self, bytes: u64) -> Result<()> {
        let now = self.held.get().saturating_add(bytes);
        if now > self.memory {
            self.refused.set(true);
            return Err(Error::damaged(MORE_MEMORY));
        }
        self.peak.set(self.peak.get().max(now));
        Ok(())
    }

    /// Counts bytes that go to scratch space; fails where more were not declared.
    pub fn fill(&self, bytes: u64) -> Result<()> {
        let filled = self.filled.get().saturating_add(bytes);
        if filled > self.space {
            return Err(Error::damaged("it needs more scratch space than it declares"));
        }
        self.filled.set(filled);
        Ok(())
    }

    /// Bytes of scratch space that were written, in all.
    pub fn filled(&self) -> u64 {
        self.filled.get()
    }

    /// Bytes of memory and units of work that are left.
    pub fn left(&self) -> (u64, u64) {
        (
            self.memory.saturating_sub(self.held.get()),
            self.work - self.spent(),
        )
    }

    /// Whether memory was refused.
    pub fn refused(&self) -> bool {
        self.refused.get()
    }

    /// Who hears of progress.
    pub fn progress(&self) -> &'p dyn Progress {
        self.progress
    }

    /// The most that was held at once, in bytes.
    pub fn peak(&self) -> u64 {
        self.peak.get()
    }
}

impl Default for Budget<'_> {
    fn default() -> Self {
        Budget::unlimited(&Silent)
    }
}

/// Memory that one part of a run holds; given back when dropped.
pub struct Held<'b> {
    budget: &'b Budget<'b>,
    bytes: u64,
}

impl Held<'_> {
    /// Changes how much it is; fails where that is not allowed.
    pub fn set(&mut self, bytes: u64) -> Result<()> {
        let others = self.budget.held.get() - self.bytes;
        self.budget.held.set(others);
        self.bytes = 0;
        self.budget.fits(bytes)?;
        self.budget.held.set(others + bytes);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.held.set(self.budget.held.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_sum_of_what_is_held() {
        let budget = Budget::new(100, u64::MAX, &Silent);
        let (mut a, mut b) = (budget.held(), budget.held());
        a.set(60).unwrap();
        b.set(40).unwrap();
        assert!(budget.fits(1).is_err());
        assert!(b.set(41).is_err());
        a.set(10).unwrap();
        budget.fits(90).unwrap();
        drop(a);
        b.set(100).unwrap();
        assert_eq!(budget.peak(), 100);
    }

    #[test]
    fn work_ends_exactly() {
        let budget = Budget::new(0, 40_000, &Silent);
        (0..40_000).for_each(|_| budget.spend(1));
        assert!(!budget.is_over() && budget.spent() == 40_000);
        budget.spend(1);
        assert!(matches!(budget.go_on(0), Err(Error::OverLimit { .. })));
    }

    struct Stop;
    impl Progress for Stop {
        fn cancelled(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_caller_is_heard_soon() {
        let budget = Budget::unlimited(&Stop);
        let spent = (0..1 << 20).find(|_| {
            budget.spend(1);
            budget.is_over()
        });
        assert!(spent.is_some());
        assert!(matches!(budget.cause(), Some(Error::Cancelled)));
    }
}
