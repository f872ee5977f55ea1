//! Padding between units: what stood behind the old unit, or the last padding of that length.

use super::Facts;
use crate::code::{Model, Symbols, hash};
use crate::layout::NewUnit;
use crate::recipe::Recipe;
use crate::{Error, error::Result};
use std::collections::HashMap;

/// Longest padding, in bytes; more than the format ever leaves between units it would make itself.
const LONGEST: u32 = 1 << 20;
/// Longest padding that is remembered by its length.
const REMEMBERED: u32 = 256;

/// A stretch between two units, by file offsets.
#[derive(Clone, Copy)]
pub struct Gap<'u> {
    /// Its first byte.
    pub from: u32,
    /// The byte behind it.
    pub to: u32,
    /// The unit that it stands behind, in the same section.
    pub before: Option<&'u NewUnit>,
}

/// Fills the padding of one section.
pub struct Pads {
    seen: HashMap<u32, Vec<u8>>,
    hit: Model,
    byte: Model,
}

impl Default for Pads {
    fn default() -> Self {
        Pads {
            seen: HashMap::new(),
            hit: Model::new(2, 8, 255),
            byte: Model::new(2, 12, 255),
        }
    }
}

impl Pads {
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
            return Err(Error::DamagedPatch("padding is too long"));
        }
        let mut guess = vec![old.machine.pad(); len as usize];
        let mut source = None;
        if let Some(unit) = gap.before.and_then(|u| u.source.checked_sub(1)) {
            let (at, n) = old.code.pad_after(unit as usize);
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
        let truth = facts.plan.map(|p| &p.bytes[gap.from as usize..gap.to as usize]);
        let hit = truth.is_some_and(|t| t == guess);
        if s.flag(&mut self.hit, &[u32::from(source.is_some()), hash(2, len)], hit) {
            match source {
                Some(at) => recipe.copy(at, &guess, &guess),
                None => recipe.literal(&guess),
            }
        } else {
            let mut last = 0;
            for (i, byte) in guess.iter_mut().enumerate() {
                let known = truth.map_or(0, |t| t[i]);
                *byte = s.byte(&mut self.byte, &[last, hash(last, len)], known);
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
