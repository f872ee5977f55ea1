//! Jump targets inside a function, told as an index among its own instructions.
//!
//! After the text is known, a jump's target is one of the function's instruction starts: most often one that
//! follows an unconditional jump and has no jump to it yet, else one that another jump already goes to.

use crate::machine::{Flow, Machine, Scanner};

/// The instruction starts of one unit. Sets of instructions are bits, 64 to a word.
#[derive(Clone, Debug, Default)]
pub struct Locals {
    starts: Vec<u32>,
    leader: Vec<u64>,
    labelled: Vec<u64>,
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

    /// Whether no instruction is known.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.starts.len() * 4 + (self.leader.len() + self.labelled.len()) * 8) as u64
    }

    /// Adds all instructions of a unit, without labels.
    pub fn fill(&mut self, machine: Machine, bytes: &[u8]) {
        let mut scanner = Scanner::new(machine);
        let mut leader = false;
        let mut p = 0;
        while p < bytes.len() {
            let (insn, _) = scanner.look(&bytes[p..], p as u64);
            scanner.pass(&bytes[p..], p as u64);
            self.push(p as u32, leader);
            leader = matches!(insn.flow, Flow::Jump | Flow::Return | Flow::Trap);
            p += usize::from(insn.len);
        }
    }

    /// Adds the next instruction: where it starts and whether control only reaches it by a jump.
    pub fn push(&mut self, start: u32, leader: bool) {
        let bit = self.starts.len() % 64;
        if bit == 0 {
            self.leader.push(0);
            self.labelled.push(0);
        }
        if let Some(word) = self.leader.last_mut() {
            *word |= u64::from(leader) << bit;
        }
        self.starts.push(start);
    }

    /// Where the instructions start.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Index of the instruction that starts at an offset of the unit.
    pub fn index(&self, start: u32) -> Option<usize> {
        self.starts.binary_search(&start).ok()
    }

    /// Index of the instruction that holds an offset of the unit.
    pub fn at(&self, offset: u32) -> usize {
        self.starts.partition_point(|&s| s <= offset).saturating_sub(1)
    }

    /// Notes that something jumps to an instruction.
    pub fn mark(&mut self, start: u32) {
        if let Some(index) = self.index(start) {
            self.labelled[index / 64] |= 1 << (index % 64);
        }
    }

    /// Whether only jumps reach an instruction and none is known to.
    pub fn is_open(&self, index: usize) -> bool {
        index < self.starts.len() && self.members(0, index / 64) >> (index % 64) & 1 == 1
    }

    /// The instructions of a class among the 64 of a word.
    fn members(&self, class: u32, word: usize) -> u64 {
        let (leader, labelled) = (self.leader[word], self.labelled[word]);
        let rest = self.starts.len() - word * 64;
        let valid = if rest >= 64 { u64::MAX } else { (1 << rest) - 1 };
        valid
            & match class {
                0 => leader & !labelled,
                1 => labelled,
                _ => !leader & !labelled,
            }
    }

    fn class(&self, index: usize) -> u32 {
        (0..2)
            .find(|&c| self.members(c, index / 64) >> (index % 64) & 1 == 1)
            .unwrap_or(2)
    }

    /// How many members of a class there are among some instructions.
    fn count(&self, class: u32, range: std::ops::Range<usize>) -> u32 {
        let (mut at, mut count) = (range.start, 0);
        while at < range.end {
            let (word, bit) = (at / 64, at % 64);
            let upto = (range.end - word * 64).min(64);
            let mask = if upto == 64 { u64::MAX } else { (1 << upto) - 1 };
            count += (self.members(class, word) & mask & (u64::MAX << bit)).count_ones();
            at = word * 64 + upto;
        }
        count
    }

    /// Names the target of a jump that stands at instruction `from`; `None` if it is no instruction start.
    pub fn label(&self, from: usize, target: u32) -> Option<Label> {
        let to = self.index(target)?;
        let class = self.class(to);
        let back = to <= from;
        let rank = self.count(
            class,
            if back {
                to + 1..(from + 1).min(self.starts.len())
            } else {
                from + 1..to
            },
        );
        Some(Label { class, back, rank })
    }

    /// The target that a label names.
    pub fn resolve(&self, from: usize, label: Label) -> Option<u32> {
        let mut rank = label.rank;
        let words = self.leader.len();
        let from = from.min(self.starts.len().checked_sub(1)?);
        let order: Box<dyn Iterator<Item = usize>> = match label.back {
            true => Box::new((0..=from / 64).rev()),
            false => Box::new((from + 1) / 64..words),
        };
        for word in order {
            let mut members = self.members(label.class, word);
            if label.back && word == from / 64 {
                members &= u64::MAX >> (63 - from % 64);
            }
            if !label.back && word == (from + 1) / 64 {
                members &= u64::MAX << ((from + 1) % 64);
            }
            let count = members.count_ones();
            if rank >= count {
                rank -= count;
                continue;
            }
            for _ in 0..rank {
                let bit = if label.back {
                    63 - members.leading_zeros()
                } else {
                    members.trailing_zeros()
                };
                members &= !(1 << bit);
            }
            let bit = if label.back {
                63 - members.leading_zeros()
            } else {
                members.trailing_zeros()
            };
            return Some(self.starts[word * 64 + bit as usize]);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn labels_name_every_start(
            kinds in prop::collection::vec((1u32..9, any::<bool>(), any::<bool>()), 1..300),
            from in any::<prop::sample::Index>(),
        ) {
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
