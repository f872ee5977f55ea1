//! Padding between units: what stood behind the old unit, or the last padding of that length.

use super::Facts;
use crate::budget::{Budget, Lent};
use crate::code::{Symbols, hash, symbols};
use crate::layout::NewUnit;
use crate::maps::HashMap;
use crate::place::{Off, Span};
use crate::recipe::Recipe;
use crate::{Error, error::Result};

/// Longest padding, in bytes; more than the format ever leaves between units it would make itself.
const LONGEST: u32 = 1 << 20;
/// Longest padding that is remembered by its length.
const REMEMBERED: u32 = 256;

/// A stretch between two units, by file offsets.
#[derive(Clone, Copy)]
pub struct Gap<'u> {
    /// Its first byte.
    pub from: Off,
    /// The byte behind it.
    pub to: Off,
    /// The unit that it stands behind, in the same section.
    pub before: Option<&'u NewUnit>,
}

symbols! {
    /// Models of padding, afresh in each section. `len`: its length.
    struct PadModels {
        hit(8, 255) {
            /// It is as guessed. `known`: the padding behind the old unit has this length.
            hit: flag by(known: bool, len: u32) [u32::from(known), hash(2, len)];
        }
        byte(12, 255) {
            /// A byte. `last`: the one before in this stretch, or 0.
            byte: byte by(last: u32, len: u32) [last, hash(last, len)];
        }
    }
}

/// Fills the padding of one section.
pub struct Pads<'b> {
    seen: HashMap<u32, Vec<u8>>,
    models: Lent<'b, PadModels>,
}

impl<'b> Pads<'b> {
    /// At the first gap.
    pub fn new(account: &'b Budget) -> Pads<'b> {
        Pads {
            seen: HashMap::default(),
            models: account.lend(),
        }
    }

    /// Codes the bytes of a gap.
    pub fn fill<S: Symbols>(
        &mut self,
        s: &mut S,
        facts: &Facts,
        gap: Gap,
        recipe: &mut Recipe,
    ) -> Result<()> {
        let (old, len) = (facts.old, gap.to - gap.from);
        if len == 0 {
            return Ok(());
        }
        if len > LONGEST {
            return Err(Error::damaged("padding is too long"));
        }
        let mut guess = vec![old.machine.pad(); len as usize];
        let mut source = None;
        if let Some(unit) = gap.before.and_then(|u| u.source) {
            let Span { at, len: n } = old.code.pad_after(unit.index());
            if n == len {
                old.file.read(u64::from(at), &mut guess)?;
                source = Some(at);
            }
        }
        if source.is_none()
            && let Some(seen) = self.seen.get(&len)
        {
            guess.clone_from(seen);
        }
        let truth = facts.plan.map(|p| &p.bytes[gap.from.index()..gap.to.index()]);
        let hit = truth.is_some_and(|t| t == guess);
        if self.models.hit(s, source.is_some(), len, hit) {
            match source {
                Some(at) => recipe.copy(at, &guess, &guess),
                None => recipe.literal(&guess),
            }
        } else {
            let mut last = 0;
            for (i, byte) in guess.iter_mut().enumerate() {
                let known = truth.map_or(0, |t| t[i]);
                *byte = self.models.byte(s, last, len, known);
                last = u32::from(*byte);
            }
            recipe.literal(&guess);
        }
        if len <= REMEMBERED {
            self.seen.insert(len, guess);
        }
        Ok(())
    }
}
