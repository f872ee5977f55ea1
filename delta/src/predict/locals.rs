//! Jump targets inside a function, told as an index among its own instructions.
//!
//! After the text is known, a jump's target is one of the function's instruction starts: most often one that
//! follows an unconditional jump and has no jump to it yet, else one that another jump already goes to.

/// The instruction starts of one unit.
#[derive(Clone, Debug, Default)]
pub struct Locals {
    starts: Vec<u32>,
    leader: Vec<bool>,
    labelled: Vec<bool>,
}

/// A target as class, direction and rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// 0: a leader without a label, 1: an existing label, 2: any other start.
    pub class: u32,
    /// Whether it lies before the jump.
    pub back: bool,
    /// Starts of that class between the jump and the target.
    pub rank: u32,
}

impl Locals {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.leader.clear();
        self.labelled.clear();
    }

    /// Adds the next instruction: where it starts and whether control only reaches it by a jump.
    pub fn push(&mut self, start: u32, leader: bool) {
        self.starts.push(start);
        self.leader.push(leader);
        self.labelled.push(false);
    }

    /// Index of the instruction that starts at an offset of the unit.
    pub fn index(&self, start: u32) -> Option<usize> {
        self.starts.binary_search(&start).ok()
    }

    /// Notes that something jumps to an instruction.
    pub fn mark(&mut self, start: u32) {
        if let Some(index) = self.index(start) {
            self.labelled[index] = true;
        }
    }

    fn class(&self, index: usize) -> u32 {
        match (self.labelled[index], self.leader[index]) {
            (true, _) => 1,
            (false, true) => 0,
            (false, false) => 2,
        }
    }

    /// Names the target of a jump that stands at instruction `from`; `None` if it is no instruction start.
    pub fn label(&self, from: usize, target: u32) -> Option<Label> {
        let to = self.index(target)?;
        let class = self.class(to);
        let back = to <= from;
        let between = if back { to + 1..from + 1 } else { from + 1..to };
        let rank = between.filter(|&i| self.class(i) == class).count() as u32;
        Some(Label { class, back, rank })
    }

    /// The target that a label names.
    pub fn resolve(&self, from: usize, label: Label) -> Option<u32> {
        let matches = |i: &usize| self.class(*i) == label.class;
        let rank = label.rank as usize;
        let index = if label.back {
            (0..(from + 1).min(self.starts.len())).rev().filter(matches).nth(rank)
        } else {
            (from + 1..self.starts.len()).filter(matches).nth(rank)
        };
        index.map(|i| self.starts[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn labels_name_every_start(kinds in prop::collection::vec((1u32..9, any::<bool>(), any::<bool>()), 1..60), from in any::<prop::sample::Index>()) {
            let mut locals = Locals::default();
            let mut at = 0;
            for (len, leader, _) in &kinds {
                locals.push(at, *leader);
                at += len;
            }
            let starts = locals.starts.clone();
            for (start, (_, _, marked)) in starts.iter().zip(&kinds) {
                if *marked {
                    locals.mark(*start);
                }
            }
            let from = from.index(starts.len());
            for &target in &starts {
                let label = locals.label(from, target).unwrap();
                prop_assert_eq!(locals.resolve(from, label), Some(target));
            }
        }
    }
}
