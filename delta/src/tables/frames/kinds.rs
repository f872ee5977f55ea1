//! The kinds of CIE, against the old ones.

use super::read::{KINDS, Kind, LONGEST_CIE};
use super::{PERSONALITY_SITE, PointerModels, Unwind};
use crate::code::Symbols;
use crate::predict::{Guess, Site};
use crate::tables::World;
use crate::{Error, error::Result};

impl Unwind {
    /// Codes the kinds of CIE.
    pub(super) fn code_kinds<S: Symbols>(&mut self, s: &mut S, world: &mut World) -> Result<()> {
        let damaged = || Error::damaged("a frame record makes no sense");
        let m = &mut self.m;
        let truth = self.truth.as_ref().map(|t| &t.kinds[..]);
        let count = m.count(s, truth.map_or(0, |t| t.len() as u64));
        if count > KINDS as u64 {
            return Err(damaged());
        }
        self.kind_of_old = vec![None; self.old.kinds.len()];
        for i in 0..count as usize {
            let known = truth.map(|t| &t[i]);
            // One more than the old kind with these bytes; the next free one first.
            let free = |j: &usize| self.kind_of_old[*j].is_none();
            let expected = (0..self.old.kinds.len()).find(free).unwrap_or(0);
            let equal = |j: &usize| free(j) && known.is_some_and(|k| k.body == self.old.kinds[*j].body);
            let from = (0..self.old.kinds.len()).find(equal);
            let away = from.map_or(0, |j| 1 + (j - expected.min(j)) as u64);
            let from = m.kind_before(s, away);
            let mut kind = match from {
                0 => {
                    let len = known.map_or(0, |k| k.body.len() as u64);
                    let len = m.length(s, len);
                    let mut body = Vec::new();
                    for at in 0..len.min(LONGEST_CIE as u64) as usize {
                        let last = body.last().map_or(0, |&b: &u8| u32::from(b));
                        let byte = known.map_or(0, |k| k.body[at]);
                        body.push(m.byte(s, last, byte));
                    }
                    Kind::new(body, world.elf.numbers).ok_or_else(damaged)?
                }
                away => {
                    let index = usize::try_from(away - 1)
                        .ok()
                        .and_then(|a| a.checked_add(expected));
                    let index = index
                        .filter(|&j| j < self.kind_of_old.len())
                        .ok_or_else(damaged)?;
                    self.kind_of_old[index] = Some(i as u8);
                    let kind = Kind::new(self.old.kinds[index].body.clone(), world.elf.numbers);
                    let mut kind = kind.ok_or_else(damaged)?;
                    kind.personality = self.old.kinds[index].personality;
                    kind
                }
            };
            let null = known.is_some_and(|k| k.personality.is_none());
            if kind.field.is_some() && !m.null(s, null) {
                let site = Site {
                    kind: PERSONALITY_SITE,
                    ..Site::default()
                };
                let guess = Guess {
                    old_target: kind.personality,
                    local: None,
                    ..Guess::default()
                };
                let known = known.and_then(|k| k.personality).unwrap_or_default();
                let PointerModels { target, locals } = &mut self.pointers;
                let target = world.targets.code(s, target, &site, guess, locals, known)?;
                kind.personality = Some(target);
            } else {
                kind.personality = None;
            }
            self.kinds.push(kind);
        }
        Ok(())
    }
}
