//! Jump targets inside a function, coded as an index among its own instructions.
//!
//! After the text is known, a jump's target is one of the function's instruction starts: most often one that
//! follows an unconditional jump and has no jump to it yet, else one that another jump already goes to.

use crate::machine::{Flow, Insn, Machine};

/// The instruction starts of one unit. Sets of instructions are bits, 64 to a word.
#[derive(Clone, Debug, Default)]
pub struct Locals {
    starts: Vec<u32>,
    /// What each instruction looks like; empty if that is not wanted.
    heads: Vec<u16>,
    leader: Vec<u64>,
    labelled: Vec<u64>,
    /// The first instruction known to jump to each, or [`NOBODY`].
    sources: Vec<u32>,
    /// The one that was jumped to last.
    last: Option<usize>,
}

/// No jump to an instruction is known.
const NOBODY: u32 = u32::MAX;

/// A target as class, direction and rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// 0: a leader without a label, 1: an existing label, 2: any other start, 3: any start at all.
    pub class: u32,
    /// Whether it lies before the place that the label counts from.
    pub back: bool,
    /// Starts of that class between that place and the target.
    pub rank: u32,
}

/// The class of all instructions.
pub const ANY: u32 = 3;

/// The place that a label counts from: instructions below the first number lie back from it, nearest first,
/// those from the second number on lie ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin(usize, usize);

impl Origin {
    /// At an instruction, which counts as the first going back.
    pub fn at(index: usize) -> Origin {
        Origin(index + 1, index + 1)
    }

    /// The first instruction that lies ahead.
    pub fn first_ahead(self) -> usize {
        self.1
    }
}

impl Locals {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.heads.clear();
        self.leader.clear();
        self.labelled.clear();
        self.sources.clear();
        self.last = None;
    }

    /// Whether no instruction is known.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        (self.starts.len() * 10 + (self.leader.len() + self.labelled.len()) * 8) as u64
    }

    /// Adds all instructions of a unit, without labels.
    pub fn fill(&mut self, machine: Machine, bytes: &[u8], shapes: &[Insn]) {
        let mut leader = false;
        let mut start = 0;
        for insn in shapes {
            self.push(start, leader);
            self.heads.push(look(machine, &bytes[start as usize..], insn));
            leader = matches!(insn.flow(), Flow::Jump | Flow::Return | Flow::Trap);
            start += u32::from(insn.len());
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
        self.sources.push(NOBODY);
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

    /// Notes that something jumps to an instruction, and which one it is if it stands in the unit.
    pub fn mark(&mut self, start: u32, source: Option<usize>) {
        if let Some(index) = self.index(start) {
            self.labelled[index / 64] |= 1 << (index % 64);
            if let Some(source) = source {
                self.last = Some(index);
                if self.sources[index] == NOBODY {
                    self.sources[index] = source as u32;
                }
            }
        }
    }

    /// The instruction that was jumped to last.
    pub fn last(&self) -> Option<usize> {
        self.last
    }

    /// The jump that leads to the block of an instruction, going by the nearest label.
    pub fn home(&self, index: usize) -> Option<usize> {
        let label = self.candidates(Origin::at(index), 1, true).next()?;
        Some(self.sources[label])
            .filter(|&s| s != NOBODY)
            .map(|s| s as usize)
    }

    /// The instruction `index` as an origin, without all that a jump of one byte would reach from it (Intel SDM
    /// volume 2, JMP and Jcc): assemblers take the long form only for what lies beyond.
    pub fn beyond_short(&self, index: usize) -> Origin {
        let start = self.starts.get(index).copied().unwrap_or(0);
        let end = self.starts.get(index + 1).copied().unwrap_or(u32::MAX - 127);
        let back = self.starts.partition_point(|&s| s + 126 < start);
        Origin(back, self.starts.partition_point(|&s| s <= end + 127))
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
                2 => !leader & !labelled,
                _ => u64::MAX,
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

    /// What the instruction with an index looks like, and the one before it.
    pub fn looks(&self, index: usize) -> (u16, u16) {
        let head = |i: usize| self.heads.get(i).copied().unwrap_or(0);
        (head(index), index.checked_sub(1).map_or(0, head))
    }

    /// The instructions that a label's class and direction leave, nearest first.
    pub fn candidates(&self, from: Origin, class: u32, back: bool) -> Candidates<'_> {
        let at = if back { from.0 } else { from.1 };
        Candidates {
            locals: self,
            class,
            back,
            at: at.min(self.starts.len()),
        }
    }

    /// Names a target; `None` if it is no instruction start, or none that can be coded from there.
    pub fn label(&self, from: Origin, target: u32) -> Option<Label> {
        let to = self.index(target)?;
        self.label_as(self.class(to), from, to)
    }

    /// Names an instruction as one of a class.
    pub fn label_as(&self, class: u32, from: Origin, to: usize) -> Option<Label> {
        let back = to < from.0;
        if !back && to < from.1 {
            return None;
        }
        let between = if back {
            to + 1..from.0.min(self.starts.len())
        } else {
            from.1..to
        };
        let rank = self.count(class, between);
        Some(Label { class, back, rank })
    }

    /// The target that a label names.
    pub fn resolve(&self, from: Origin, label: Label) -> Option<u32> {
        let mut candidates = self.candidates(from, label.class, label.back);
        candidates.nth(label.rank as usize).map(|i| self.starts[i])
    }
}

/// Walks the members of a class away from a jump.
#[derive(Debug)]
pub struct Candidates<'a> {
    locals: &'a Locals,
    class: u32,
    back: bool,
    /// Next instruction to look at, or the one after it when going back.
    at: usize,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.nth(0)
    }

    /// Passes `n` members, counted a word at a time, and gives the next.
    fn nth(&mut self, n: usize) -> Option<usize> {
        let locals = self.locals;
        let mut left = n;
        while self.back && self.at > 0 {
            let (word, bit) = ((self.at - 1) / 64, (self.at - 1) % 64);
            let mut members = locals.members(self.class, word) & (u64::MAX >> (63 - bit));
            let count = members.count_ones() as usize;
            if left >= count {
                left -= count;
                self.at = word * 64;
                continue;
            }
            for _ in 0..left {
                members ^= 1 << (63 - members.leading_zeros());
            }
            self.at = word * 64 + 63 - members.leading_zeros() as usize;
            return Some(self.at);
        }
        while !self.back && self.at < locals.starts.len() {
            let (word, bit) = (self.at / 64, self.at % 64);
            let mut members = locals.members(self.class, word) & (u64::MAX << bit);
            let count = members.count_ones() as usize;
            if left >= count {
                left -= count;
                self.at = (word + 1) * 64;
                continue;
            }
            for _ in 0..left {
                members &= members - 1;
            }
            let found = word * 64 + members.trailing_zeros() as usize;
            self.at = found + 1;
            return Some(found);
        }
        None
    }
}

/// What an instruction looks like, operands left out. Never 0.
pub fn look(machine: Machine, bytes: &[u8], insn: &Insn) -> u16 {
    let fold = machine.look(insn, bytes);
    (fold ^ fold >> 16) as u16 | 1
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
                    locals.mark(*start, None);
                }
            }
            let from = from.index(starts.len());
            for (index, &target) in starts.iter().enumerate() {
                let label = locals.label(Origin::at(from), target).unwrap();
                prop_assert_eq!(locals.resolve(Origin::at(from), label), Some(target));
                let any = locals.label_as(ANY, Origin::at(from), index).unwrap();
                prop_assert_eq!(locals.resolve(Origin::at(from), any), Some(target));
                let beyond = locals.beyond_short(from);
                match locals.label(beyond, target) {
                    Some(label) => prop_assert_eq!(locals.resolve(beyond, label), Some(target)),
                    None => prop_assert!((beyond.0..beyond.1).contains(&index)),
                }
            }
        }
    }
}
