//! The fields of one call site: its landing pad among what may be one, its bounds by the calls inside it.

use super::sites::{Around, ProjectedSite, REMEMBERED, SiteModels};
use crate::code::Symbols;
use crate::elf::exceptions::Site;
use crate::predict::{Label, Locals, Origin, UnitView};
use crate::tables::landmarks::{CALL, Landmarks};
use crate::{Error, error::Result};

/// How a landing pad is coded: by a walk onward or back, as a label, by its place.
const ONWARD: u32 = 0;
const BACK: u32 = 1;
const LABEL: u32 = 2;
const RAW: u32 = 3;
/// Most instructions that such a walk looks at.
const WALKED: usize = 64;

/// A site whose end is coded.
struct OpenSite {
    /// Where the last one ended.
    from: u32,
    start: u32,
    /// What it has, as the models see it.
    open: u32,
    /// Where it should end.
    guess: Option<u32>,
}

impl SiteModels {
    /// Codes a site that is not as guessed; `near` is the guess next in order, and whether the site replaces it.
    pub fn fresh<S: Symbols>(
        &mut self,
        s: &mut S,
        view: &mut UnitView,
        landmarks: &Landmarks,
        around: &mut Around,
        near: Option<(ProjectedSite, bool)>,
        truth: Option<Site>,
    ) -> Result<Site> {
        let known = truth.unwrap_or_default();
        let pad = self.pad(s, view, landmarks, around, near, known.pad)?;
        let reference = near.filter(|n| n.1).map(|n| n.0);
        let open = u32::from(pad > 0) | u32::from(reference.is_some()) << 1;
        let guess = reference.map(|r| r.site.start);
        let start = self.start(s, landmarks, around, open, guess, known.start)?;
        let span = OpenSite {
            from: around.from,
            start,
            open,
            guess: reference.map(|r| r.site.end),
        };
        let end = self.end(s, landmarks, &span, known.end)?;
        let twin = around.sites.iter().rev().take(REMEMBERED).find(|t| t.pad == pad);
        let twin = twin.map_or(0xffff, |t| t.action & 0xfff);
        let was = reference.map_or(0xffff, |r| r.site.action & 0xfff);
        let action = self.m.action(s, twin, was, open, u64::from(known.action));
        let action =
            u32::try_from(action).map_err(|_| Error::damaged("an exception table makes no sense"))?;
        Ok(Site {
            start,
            end,
            pad,
            action,
        })
    }

    fn pad<S: Symbols>(
        &mut self,
        s: &mut S,
        view: &mut UnitView,
        landmarks: &Landmarks,
        around: &mut Around,
        near: Option<(ProjectedSite, bool)>,
        truth: u32,
    ) -> Result<u32> {
        const ABSENT: u32 = 0;
        const REFERENCE: u32 = 1;
        const RECENT: u32 = 2;
        const FRESH: u32 = 3;
        let guess = near.map_or(0, |(g, _)| g.site.pad);
        let recent = around.recent.iter().rev().position(|&p| p == truth);
        let kind = match (truth, recent) {
            (0, _) => ABSENT,
            (p, _) if p == guess => REFERENCE,
            (_, Some(_)) => RECENT,
            _ => FRESH,
        };
        let again = around.recent.last().is_some_and(|&p| p == guess);
        let state = match near {
            None => 0,
            Some((g, replaced)) => {
                let known = u32::from(g.solid) | u32::from(g.site.pad > 0) << 1 | u32::from(again) << 2;
                1 + known + u32::from(replaced) * 8
            }
        };
        let many = around.recent.len();
        match self.m.pad_kind(s, state, around.kinds, many, kind) {
            ABSENT => return Ok(0),
            REFERENCE => return Ok(guess),
            RECENT => {
                let k = self.m.recent(s, many, recent.unwrap_or(0) as u32);
                let at = many.checked_sub(1 + k as usize);
                let damaged = Error::damaged("a landing pad is unknown");
                return at.map(|i| around.recent[i]).ok_or(damaged);
            }
            _ => {}
        }
        let first = around.recent.last().is_none();
        let last = landmarks.roles.len().saturating_sub(1);
        let from = match around.recent.last() {
            Some(&pad) => landmarks.from(pad).min(last),
            None => landmarks.from(around.from).min(last),
        };
        let damaged = || Error::damaged("a landing pad is unknown");
        let origin = Origin::at(from);
        let (mut way, mut label) = (RAW, None);
        if !S::READS {
            let (index, locals) = (landmarks.index(truth), view.locals());
            let near = |back| index.is_some_and(|i| pads(locals, landmarks, from, back).any(|k| k == i));
            if near(false) {
                way = ONWARD;
            } else if near(true) {
                way = BACK;
            } else {
                label = locals.label(origin, truth);
                way = label.map_or(RAW, |_| LABEL);
            }
        }
        let way = self.m.way(s, first, state, way);
        match way {
            ONWARD | BACK => {
                let found = self.walk_pads(s, view, landmarks, (from, way == BACK), truth);
                Ok(landmarks.starts[found.ok_or_else(damaged)?])
            }
            LABEL => {
                let key = label.map_or(0, |l| l.class | u32::from(l.back) << 2);
                let key = self.m.label(s, first, state, key);
                let rank = u64::from(label.map_or(0, |l| l.rank));
                let rank = self.m.rank(s, key, first, state, rank);
                let label = Label {
                    class: key & 3,
                    back: key & 4 != 0,
                    rank: u32::try_from(rank).unwrap_or(u32::MAX),
                };
                view.locals().resolve(origin, label).ok_or_else(damaged)
            }
            _ => {
                let raw = self.m.raw_pad(s, u64::from(truth));
                u32::try_from(raw).map_err(|_| damaged())
            }
        }
    }

    /// Codes where a site starts: as guessed, where the last one ended, or some instructions before a call.
    fn start<S: Symbols>(
        &mut self,
        s: &mut S,
        landmarks: &Landmarks,
        around: &Around,
        open: u32,
        guess: Option<u32>,
        truth: u32,
    ) -> Result<u32> {
        let damaged = || Error::damaged("an exception table makes no sense");
        let from = around.from;
        // One instruction further on at least: where the last one ended has a form of its own.
        let least = landmarks.from(from.saturating_add(1));
        let by_call = landmarks.index(truth).filter(|&i| truth > from && i >= least);
        let by_call = by_call.and_then(|i| Some((landmarks.calls(i).next()?, i)));
        let form = match by_call {
            _ if guess == Some(truth) => 0,
            _ if truth == from => 1,
            Some(_) => 2,
            None => 3,
        };
        let state = open | u32::from(guess.is_some()) << 2 | u32::from(guess == Some(from)) << 3;
        let (before, first) = (guess.is_some_and(|g| g < from), around.sites.is_empty());
        match self.m.start(s, state, around.kinds, before, first, form) {
            0 => guess.ok_or_else(damaged),
            1 => Ok(from),
            2 => {
                let first = landmarks.from(from);
                let call = self.walk_calls(s, landmarks, first, open, around.kinds & 3, by_call.map(|b| b.0));
                let call = call.ok_or_else(damaged)?;
                let index = self.walk_back(s, landmarks, call, least, open, by_call.map(|b| b.1));
                Ok(landmarks.starts[index])
            }
            _ => {
                let away = i64::from(truth) - i64::from(from);
                let away = self.m.raw_start(s, away);
                u32::try_from(i64::from(from).saturating_add(away)).map_err(|_| damaged())
            }
        }
    }

    /// Codes where a site ends: as guessed, behind a call, or some instructions before one.
    fn end<S: Symbols>(
        &mut self,
        s: &mut S,
        landmarks: &Landmarks,
        span: &OpenSite,
        truth: u32,
    ) -> Result<u32> {
        let damaged = || Error::damaged("an exception table makes no sense");
        let OpenSite {
            from,
            start,
            open,
            guess,
        } = *span;
        let first = landmarks.from(start);
        let place = landmarks.index(truth).filter(|&i| truth > start && i > first);
        let behind = place.filter(|&i| landmarks.roles[i - 1] == CALL);
        let before = place.and_then(|i| Some((landmarks.calls(i).next()?, i)));
        let form = match (behind, before) {
            _ if guess == Some(truth) => 0,
            (Some(_), _) => 1,
            (_, Some(_)) => 2,
            _ => 3,
        };
        let state = open | u32::from(guess.is_some_and(|g| g > start)) << 2 | 16;
        let touches = u32::from(from == start);
        match self.m.end(s, state, touches, open, form) {
            0 => guess.ok_or_else(damaged),
            1 => {
                let call = self.walk_calls(s, landmarks, first, open | 16, touches, behind.map(|i| i - 1));
                Ok(landmarks.starts[call.ok_or_else(damaged)? + 1])
            }
            2 => {
                let call = self.walk_calls(s, landmarks, first, open | 32, touches, before.map(|b| b.0));
                let call = call.ok_or_else(damaged)?;
                let index = self.walk_back(s, landmarks, call, first + 1, open | 32, before.map(|b| b.1));
                Ok(landmarks.starts[index])
            }
            _ => {
                let len = i64::from(truth) - i64::from(start);
                let len = self.m.raw_len(s, len);
                u32::try_from(i64::from(start).saturating_add(len)).map_err(|_| damaged())
            }
        }
    }

    /// Goes from call to call until the one that is meant.
    fn walk_calls<S: Symbols>(
        &mut self,
        s: &mut S,
        landmarks: &Landmarks,
        first: usize,
        state: u32,
        detail: u32,
        truth: Option<usize>,
    ) -> Option<usize> {
        let mut passed = 0u32;
        let mut calls = landmarks.calls(first).peekable();
        while let Some(call) = calls.next() {
            let callee = landmarks.heads[call];
            let next = calls.peek().map_or(0, |&c| landmarks.heads[c]);
            let heads = [callee, next];
            if self.m.call(s, state, passed, detail, heads, Some(call) == truth) {
                return Some(call);
            }
            passed += 1;
            if s.exhausted() {
                break;
            }
        }
        None
    }

    /// Goes back from a call to the instruction that is meant, `least` at the furthest.
    fn walk_back<S: Symbols>(
        &mut self,
        s: &mut S,
        landmarks: &Landmarks,
        call: usize,
        least: usize,
        state: u32,
        truth: Option<usize>,
    ) -> usize {
        let mut index = call;
        while index > least {
            let before = landmarks.heads[index - 1];
            let steps = (call - index).min(15) as u32;
            let heads = [before, landmarks.heads[index], landmarks.heads[call]];
            if self.m.back(s, state, steps, heads, Some(index) == truth) {
                break;
            }
            index -= 1;
        }
        index
    }

    /// Goes from one instruction that may be a landing pad to the next.
    fn walk_pads<S: Symbols>(
        &mut self,
        s: &mut S,
        view: &mut UnitView,
        landmarks: &Landmarks,
        (from, back): (usize, bool),
        truth: u32,
    ) -> Option<usize> {
        let locals = &*view.locals();
        for (passed, index) in pads(locals, landmarks, from, back).enumerate() {
            let head = landmarks.heads[index];
            let next = landmarks.heads.get(index + 1).copied().unwrap_or(0);
            let before = index.checked_sub(1).map_or(0, |i| u32::from(landmarks.roles[i]));
            let open = u32::from(locals.is_open(index));
            let state = before | open << 6 | u32::from(back) << 7;
            let found = landmarks.starts[index] == truth;
            if self.m.walk(s, state, passed, [head, next], found) {
                return Some(index);
            }
            if s.exhausted() {
                break;
            }
        }
        None
    }
}

/// Instructions that may be landing pads, from one on: what only a jump reaches, and what follows a call.
fn pads<'l>(
    locals: &'l Locals,
    landmarks: &'l Landmarks,
    from: usize,
    back: bool,
) -> impl Iterator<Item = usize> + 'l {
    let count = landmarks.roles.len();
    let (steps, at) = if back {
        (from, from)
    } else {
        (count - from.min(count), from)
    };
    let place = move |k: usize| if back { at - k } else { at + k };
    let may = move |&i: &usize| {
        let before = i.checked_sub(1).and_then(|i| landmarks.roles.get(i));
        i < count && (before == Some(&CALL) || locals.is_open(i))
    };
    (1..=steps).map(place).filter(may).take(WALKED)
}
