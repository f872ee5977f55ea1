//! The exception table of one function against the one of its old function.

use super::sites::{SiteModels, code_sites, project};
use crate::budget::Keep;
use crate::code::{Symbols, hash, symbols};
use crate::elf::Numbers;
use crate::elf::encoded::{Encoding, OMIT, uleb_len};
use crate::elf::exceptions::{LONGEST, Lsda, ULEB};
use crate::predict::{Guess, Locals, Site, TargetModels, Targets};
use crate::tables::landmarks::Body;
use crate::{Error, error::Result};

/// Kind of the references in type tables, beyond the kinds of fields in code.
const TYPE_SITE: u32 = 40;
/// Most zero bytes before a type table.
const PADDING: i64 = 64;

symbols! {
    /// Models of everything in a table but its call sites. `deepest`: the highest action of a site, at most 63.
    struct FieldModels {
        byte(12, 255) {
            /// Encoding of the types. `was`: the old one, 256 without an old table; `last`: that of the last table.
            types: byte by(was: u32, last: u32) [hash(1, was), hash(hash(2, was), last)];
            /// Encoding of the call sites.
            sites: byte by(was: u32) [hash(3, was), 4];
        }
        same(12, 255) {
            /// Actions and specifications are the old ones. `change`: 1 if `deepest` grew, 2 if it fell; `alike`: the
            /// call sites are the old ones; `old`: number of old actions.
            same: flag by(change: u32, alike: bool, old: usize, deepest: u32)
                [
                    hash(1, change),
                    hash(2, change | u32::from(alike) << 2),
                    hash(3, change | (old.min(15) as u32) << 2 | deepest << 6),
                ];
        }
        count(12, 255) {
            /// Actions. `was`: as many as in the old table, at most 65535.
            count: number by(was: u32, deepest: u32) [hash(1, was), hash(2, deepest), hash(hash(3, was), deepest)];
        }
        filter(14, 255) {
            /// Filter of action `i`. `before`: that of the action before, or 0; `last`: encoding of the types.
            filter: signed by(before: i32, i: usize, deepest: u32, last: u32)
                [
                    hash(1, hash(before as u32, i.min(3) as u32)),
                    hash(2, before as u32),
                    hash(hash(3, hash(before as u32, i.min(3) as u32)), deepest | last << 8),
                ];
        }
        next(12, 255) {
            /// Its next action. `before`: that of the action before, or 0.
            next: signed by(before: i32, filter: i64, i: usize)
                [hash(1, before as u32), hash(hash(2, filter as u32), i.min(3) as u32)];
        }
        specs(12, 255) {
            /// Bytes of specifications. `least`: the lowest filter, or 0.
            specs: number by(least: i32) [hash(1, least as u32), 2];
        }
        spec(12, 255) {
            /// One of them. `before`: the one before, or 0.
            spec: byte by(before: u32) [1, hash(2, before)];
        }
        null(8, 255) {
            /// A type is null. `was`: 1 if the old one with that filter was, 0 if not, 2 without one.
            null: flag by(was: u32, last: u32) [was, hash(was, last)];
        }
        width(10, 255) {
            /// Width of the length of call sites against the least. `kind`: both encodings, that of types lower.
            width: signed by(kind: u32) [1, hash(2, kind)];
            /// Width of the offset of types against the least. `none`: there are no types.
            base_width: signed by(kind: u32, none: bool) [3, hash(4, kind | u32::from(none) << 16)];
        }
        padding(12, 255) {
            /// Padding before the types against what aligns them, `usual`.
            padding: signed by(usual: u32, kind: u32, none: bool)
                [hash(1, usual), hash(hash(2, usual), kind | u32::from(none) << 16)];
        }
    }
}

/// Models of a table, and what was seen of those before.
#[derive(Debug)]
pub struct LsdaModels {
    fields: FieldModels,
    sites: SiteModels,
    target: TargetModels,
    last: u32,
    locals: Locals,
    guesses: Vec<super::sites::ProjectedSite>,
}

impl Default for LsdaModels {
    fn default() -> Self {
        LsdaModels {
            fields: FieldModels::default(),
            sites: SiteModels::default(),
            target: TargetModels::small(),
            last: 0,
            locals: Locals::default(),
            guesses: Vec::new(),
        }
    }
}

impl Keep for LsdaModels {
    fn memory(&self) -> u64 {
        self.fields.memory() + self.sites.memory() + self.target.memory()
    }
}

/// A table that is coded.
pub struct Coded<'t> {
    /// The old table.
    pub old: Option<&'t Lsda>,
    /// The table itself, on the writing side.
    pub truth: Option<&'t Lsda>,
    /// How the file writes numbers.
    pub numbers: Numbers,
    /// Most bytes that it may take.
    pub limit: usize,
}

/// Codes one table.
pub fn code_lsda<S: Symbols>(
    s: &mut S,
    m: &mut LsdaModels,
    targets: &mut Targets,
    body: &mut Body,
    coded: &Coded,
) -> Result<Lsda> {
    let damaged = || Error::damaged("an exception table makes no sense");
    let Coded {
        old, truth, numbers, ..
    } = *coded;
    let limit = coded.limit.min(LONGEST);
    let mut lsda = Lsda::default();
    let was = old.map_or(256, |o| u32::from(o.types_encoding));
    let known = truth.map_or(OMIT, |t| t.types_encoding);
    lsda.types_encoding = m.fields.types(s, was, m.last, known);
    m.last = u32::from(lsda.types_encoding);
    let was = old.map_or(256, |o| u32::from(o.sites_encoding));
    let known = truth.map_or(ULEB, |t| t.sites_encoding);
    lsda.sites_encoding = m.fields.sites(s, was, known);

    let mut guesses = std::mem::take(&mut m.guesses);
    project(body.view, old.map_or(&[], |o| &o.sites), &mut guesses);
    let sites = truth.map(|t| &t.sites[..]);
    lsda.sites = code_sites(s, &mut m.sites, body, &guesses, sites, limit / 4)?;
    m.guesses = guesses;
    m.actions(s, old, truth, &mut lsda, limit)?;

    let encoding = Encoding::of(lsda.types_encoding, numbers);
    let (types, specs) = lsda.needs().ok_or_else(damaged)?;
    let size = encoding.map_or(0, |e| usize::from(e.size));
    if specs != lsda.specs.len() || types.saturating_mul(size) > limit || size == 0 && types > 0 {
        return Err(damaged());
    }
    for i in 0..types {
        // The last type is that of filter 1.
        let filter = types - i;
        let old = old.and_then(|o| o.types.get(o.types.len().checked_sub(filter)?));
        let known = truth.and_then(|t| t.types.get(i).copied().flatten());
        let state = old.map_or(2, |o| u32::from(o.is_none()));
        let is_null = known.is_none();
        if m.fields.null(s, state, m.last, is_null) {
            lsda.types.push(None);
            continue;
        }
        let site = Site {
            kind: TYPE_SITE,
            head: 1,
            addr: body.view.addr,
            ..Site::default()
        };
        let guess = Guess {
            old_target: old.copied().flatten(),
            local: None,
            ..Guess::default()
        };
        let known = known.unwrap_or_default();
        let target = targets.code(s, &mut m.target, &site, guess, &mut m.locals, known)?;
        lsda.types.push(Some(target));
        if s.exhausted() {
            return Err(damaged());
        }
    }
    m.widths(s, truth, &mut lsda, size as u32)?;
    Ok(lsda)
}

impl LsdaModels {
    fn actions<S: Symbols>(
        &mut self,
        s: &mut S,
        old: Option<&Lsda>,
        truth: Option<&Lsda>,
        lsda: &mut Lsda,
        limit: usize,
    ) -> Result<()> {
        let damaged = || Error::damaged("an exception table makes no sense");
        let m = &mut self.fields;
        let deepest = lsda.sites.iter().map(|s| s.action).max().unwrap_or(0);
        if let Some(old) = old {
            let was = old.sites.iter().map(|s| s.action).max().unwrap_or(0);
            let equal = truth.is_some_and(|t| t.actions == old.actions && t.specs == old.specs);
            let change = u32::from(was < deepest) | u32::from(was > deepest) << 1;
            let (alike, count) = (lsda.sites == old.sites, old.actions.len());
            if m.same(s, change, alike, count, m_small(deepest), equal) {
                lsda.actions.clone_from(&old.actions);
                lsda.specs.clone_from(&old.specs);
                return if lsda.actions.len() * 2 > limit {
                    Err(damaged())
                } else {
                    Ok(())
                };
            }
        }
        let was = old.map_or(0, |o| o.actions.len().min(0xffff) as u32);
        let count = truth.map_or(0, |t| t.actions.len());
        let count = m.count(s, was, m_small(deepest), count as u64);
        if count > limit as u64 / 2 {
            return Err(damaged());
        }
        let mut last = (0, 0);
        for i in 0..count as usize {
            let (filter, next) = truth.map_or((0, 0), |t| t.actions[i]);
            let filter = m.filter(s, last.0, i, m_small(deepest), self.last, filter.into());
            let next = m.next(s, last.1, filter, i, next.into());
            last = (
                i32::try_from(filter).map_err(|_| damaged())?,
                i32::try_from(next).map_err(|_| damaged())?,
            );
            lsda.actions.push(last);
            if s.exhausted() {
                return Err(damaged());
            }
        }
        let deepest = lsda.actions.iter().map(|a| a.0).min().unwrap_or(0).min(0);
        let specs = m.specs(s, deepest, truth.map_or(0, |t| t.specs.len() as u64));
        if specs > limit as u64 {
            return Err(damaged());
        }
        for i in 0..specs as usize {
            let known = truth.map_or(0, |t| t.specs[i]);
            let before = lsda.specs.last().map_or(0, |&b| u32::from(b));
            lsda.specs.push(m.spec(s, before, known));
        }
        Ok(())
    }

    /// The widths of the two length fields, and the padding before the types: mostly what aligns them.
    fn widths<S: Symbols>(
        &mut self,
        s: &mut S,
        truth: Option<&Lsda>,
        lsda: &mut Lsda,
        size: u32,
    ) -> Result<()> {
        let damaged = || Error::damaged("an exception table makes no sense");
        let kind = u32::from(lsda.types_encoding) | u32::from(lsda.sites_encoding) << 8;
        let sites_len = lsda.sites_len();
        let least = uleb_len(sites_len);
        let known = truth.map_or(0, |t| i64::from(t.sites_width) - i64::from(least));
        let wider = self.fields.width(s, kind, known);
        let width = |least: u32, wider: i64| {
            let width = i64::from(least).saturating_add(wider);
            u32::try_from(width).ok().filter(|w| (1..=5).contains(w))
        };
        lsda.sites_width = width(least, wider).ok_or_else(damaged)?;
        if lsda.types_encoding == OMIT {
            return Ok(());
        }
        let rest = 1 + lsda.sites_width + sites_len + lsda.actions_len();
        let aligned = |width: u32| (2 + width + rest).next_multiple_of(4) - (2 + width + rest);
        let total = |width: u32| rest + aligned(width) + lsda.types.len() as u32 * size;
        let least = (1..5).find(|&w| uleb_len(total(w)) <= w).unwrap_or(5);
        let known = truth.map_or(0, |t| i64::from(t.base_width) - i64::from(least));
        let none = lsda.types.is_empty();
        let wider = self.fields.base_width(s, kind, none, known);
        let base_width = width(least, wider).ok_or_else(damaged)?;
        let usual = aligned(base_width);
        let known = truth.map_or(0, |t| i64::from(t.padding) - i64::from(usual));
        let padding = self
            .fields
            .padding(s, usual, kind, none, known)
            .saturating_add(i64::from(usual));
        lsda.base_width = base_width;
        lsda.padding = u32::try_from(padding)
            .ok()
            .filter(|&p| i64::from(p) <= PADDING)
            .ok_or_else(damaged)?;
        Ok(())
    }
}

fn m_small(value: u32) -> u32 {
    value.min(63)
}
