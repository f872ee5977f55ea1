//! Closing a file: its bytes from its inside, forward, by a plan.

use super::codec::Encode;
use super::lzma::Means;
use super::plan::{Op, Plan};
use crate::budget::{Budget, Held};
use crate::{Error, error::Result};

/// Bytes of an encoder's memory that are made ready in a unit of work.
const CLEARED: u64 = 128;

/// Where the closed file goes, piece by piece.
pub type Sink<'s> = dyn FnMut(&[u8]) -> Result<()> + 's;

/// A packed stream on its way.
struct Level<'a> {
    encoder: Box<dyn Encode + 'a>,
    /// Work for a byte of usual text, where the encoder counts as the worst takes it.
    usual: Option<u64>,
    _held: Held<'a>,
}

impl Level<'_> {
    /// Spends the work that a step of the encoder says it took, for so many bytes of text; `before`: what was spent before
    /// the step, which spends by itself in scratch space.
    fn spend(&self, budget: &Budget, before: u64, work: u64, bytes: usize) -> Result<()> {
        budget.go_on(work)?;
        if let Some(usual) = self.usual {
            budget.usually(budget.spent() - before, usual.saturating_mul(bytes as u64));
        }
        Ok(())
    }
}

/// Takes an inside in, piece by piece.
pub struct Closer<'a> {
    ops: std::slice::Iter<'a, Op>,
    /// Bytes of the current copy that are still to come.
    left: u64,
    levels: Vec<Level<'a>>,
    means: Means<'a>,
}

impl<'a> Closer<'a> {
    /// At the start of the inside.
    pub fn new(plan: &'a Plan, means: Means<'a>) -> Closer<'a> {
        Closer {
            ops: plan.ops.iter(),
            left: 0,
            levels: Vec::new(),
            means,
        }
    }

    /// Takes the next bytes of the inside.
    pub fn push(&mut self, mut inside: &[u8], sink: &mut Sink) -> Result<()> {
        while !inside.is_empty() {
            if self.left == 0 && !self.next(sink)? {
                return Err(Error::damaged("more inside than its plan foresees"));
            }
            let n = (inside.len() as u64).min(self.left) as usize;
            self.left -= n as u64;
            self.hand_down(self.levels.len(), &inside[..n], sink)?;
            inside = &inside[n..];
        }
        Ok(())
    }

    /// Ends the inside.
    pub fn finish(&mut self, sink: &mut Sink) -> Result<()> {
        loop {
            // A copy of all that is left ends here.
            if self.left > 0 && self.left < u64::MAX >> 1 {
                return Err(Error::damaged("less inside than its plan foresees"));
            }
            if !self.next(sink)? {
                return Ok(());
            }
        }
    }

    /// Goes on to the next copy; `false` where the plan ends before one.
    fn next(&mut self, sink: &mut Sink) -> Result<bool> {
        while let Some(op) = self.ops.next() {
            match op {
                Op::Copy(len) => {
                    self.left = len.unwrap_or(u64::MAX);
                    return Ok(true);
                }
                Op::Open(codec) => {
                    let mut held = self.means.budget.held();
                    let memory = codec.encoder_memory();
                    held.set(memory)?;
                    // Its tables are cleared, however little it is given then.
                    self.means.budget.go_on(memory / CLEARED)?;
                    self.levels.push(Level {
                        encoder: codec.encoder_within(self.means)?,
                        usual: codec.usual_work(),
                        _held: held,
                    });
                }
                Op::Close => {
                    let Some(mut top) = self.levels.pop() else {
                        continue;
                    };
                    let (mut packed, budget) = (Vec::new(), self.means.budget);
                    let mut before = budget.spent();
                    let mut work = Some(top.encoder.finish(&mut packed)?);
                    while let Some(units) = work {
                        top.spend(budget, before, units, 0)?;
                        self.hand_down(self.levels.len(), &packed, sink)?;
                        packed.clear();
                        before = budget.spent();
                        work = top.encoder.more(&mut packed)?;
                    }
                }
            }
        }
        Ok(false)
    }

    /// Gives bytes to the encoder of a level, and what that makes of them to the level below.
    fn hand_down(&mut self, level: usize, bytes: &[u8], sink: &mut Sink) -> Result<()> {
        let Some(below) = level.checked_sub(1) else {
            return sink(bytes);
        };
        let mut packed = Vec::new();
        let top = &mut self.levels[below];
        let before = self.means.budget.spent();
        let work = top.encoder.push(bytes, &mut packed)?;
        top.spend(self.means.budget, before, work, bytes.len())?;
        if packed.is_empty() {
            return Ok(());
        }
        self.hand_down(below, &packed, sink)
    }
}
