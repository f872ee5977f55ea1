//! Places in an old table where the new one may go on: runs of old rows come interleaved.

/// Interrupted runs that are remembered.
pub const KEPT: usize = 8;
/// Used rows that are stepped over.
const STEPS: usize = 64;

/// The next row of the current run, and of those that were left for it.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The next row of the current run.
    pub expected: usize,
    left: Vec<u32>,
}

/// The first row from `at` on that is not used, if it is near.
pub fn unused(at: usize, used: impl Fn(usize) -> bool) -> usize {
    (at..at.saturating_add(STEPS)).find(|&j| !used(j)).unwrap_or(at)
}

impl Places {
    /// The next rows of the interrupted runs, the last one first.
    pub fn left<'p>(&'p self, used: impl Fn(usize) -> bool + 'p) -> impl Iterator<Item = usize> + 'p {
        self.left.iter().rev().map(move |&at| unused(at as usize, &used))
    }

    /// Goes on behind `source`.
    pub fn go(&mut self, source: usize, used: impl Fn(usize) -> bool) {
        if source != self.expected {
            let back = self
                .left
                .iter()
                .position(|&at| unused(at as usize, &used) == source || at as usize == source);
            if let Some(back) = back {
                self.left.remove(back);
            } else if self.left.len() == KEPT {
                self.left.remove(0);
            }
            self.left.push(self.expected as u32);
        }
        self.expected = source + 1;
    }
}
