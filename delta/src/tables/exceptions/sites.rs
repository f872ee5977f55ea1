//! Call sites of one function: the old ones projected, and what differs told by the function's own calls.

use crate::code::{Model, Symbols, hash};
use crate::elf::exceptions::Site;
use crate::predict::UnitView;
use crate::tables::landmarks::Landmarks;
use crate::{Error, error::Result};

const REPLACE: u32 = 0;
const INSERT: u32 = 1;
const SKIP: u32 = 2;
const END: u32 = 3;

/// Most landing pads that are told by how lately they were used.
pub const REMEMBERED: usize = 256;

/// How many sites ahead the writing side looks for an equal one.
const AHEAD: usize = 8;

/// Models of call sites.
#[derive(Debug)]
pub struct SiteModels {
    all: Model,
    same: Model,
    step: Model,
    pub pad_kind: Model,
    pub recent: Model,
    pub way: Model,
    pub label: Model,
    pub rank: Model,
    pub form: Model,
    pub call: Model,
    pub back: Model,
    pub walk: Model,
    pub raw: Model,
    pub action: Model,
    history: u32,
}

impl Default for SiteModels {
    fn default() -> Self {
        SiteModels {
            all: Model::new(3, 12, 255),
            same: Model::new(4, 14, 255),
            step: Model::new(3, 12, 255),
            pad_kind: Model::new(4, 14, 255),
            recent: Model::new(2, 12, 255),
            way: Model::new(3, 12, 255),
            label: Model::new(2, 12, 255),
            rank: Model::new(3, 14, 255),
            form: Model::new(4, 14, 255),
            call: Model::new(4, 16, 255),
            back: Model::new(4, 16, 255),
            walk: Model::new(4, 16, 255),
            raw: Model::new(2, 14, 255),
            action: Model::new(3, 14, 255),
            history: 0,
        }
    }
}

/// A projected site, and whether its code lines up with the old code throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Where it is expected.
    pub site: Site,
    /// Whether old code stands behind all of it.
    pub solid: bool,
}

/// Where the sites of an old function are in the new one, in order of their starts.
pub fn project(view: &UnitView, landmarks: &mut Landmarks, old: &[Site], guesses: &mut Vec<Guess>) {
    guesses.clear();
    if !view.unit.whole {
        landmarks.fill(view);
    }
    for site in old {
        if view.unit.whole {
            guesses.push(Guess {
                site: *site,
                solid: true,
            });
            continue;
        }
        let place = |offset| {
            let (at, held) = view.line_up(offset)?;
            let index = landmarks.starts.partition_point(|&s| s <= at).checked_sub(1)?;
            Some((index, held))
        };
        let (Some(first), Some(last)) = (place(site.start), place(site.end.wrapping_sub(1))) else {
            continue;
        };
        let pad = match site.pad {
            0 => Some((0, true)),
            pad => place(pad).map(|(i, held)| (landmarks.starts[i], held)),
        };
        let (pad, held) = pad.unwrap_or((0, false));
        let (start, end) = (
            landmarks.starts[first.0],
            landmarks.starts.get(last.0 + 1).copied().unwrap_or(0),
        );
        if end > start {
            guesses.push(Guess {
                site: Site {
                    start,
                    end,
                    pad,
                    action: site.action,
                },
                solid: first.1 && last.1 && held,
            });
        }
    }
    if !view.unit.whole {
        guesses.sort_by_key(|g| g.site.start);
    }
}

/// The sites coded so far, and what is known around the next one.
pub struct Around {
    pub sites: Vec<Site>,
    /// End of the last site.
    pub from: u32,
    /// Landing pads, the latest last.
    pub recent: Vec<u32>,
    history: u32,
    pub kinds: u32,
}

/// Codes the sites of one function, at most `limit`.
pub fn code_sites<S: Symbols>(
    s: &mut S,
    m: &mut SiteModels,
    view: &mut UnitView,
    landmarks: &mut Landmarks,
    guesses: &[Guess],
    truth: Option<&[Site]>,
    limit: usize,
) -> Result<Vec<Site>> {
    let damaged = || Error::DamagedPatch("an exception table makes no sense");
    let whole = u32::from(view.unit.whole);
    if !guesses.is_empty() {
        let solid = u32::from(guesses.iter().all(|g| g.solid));
        let h = m.history;
        let hit = truth
            .is_some_and(|t| t.len() == guesses.len() && t.iter().zip(guesses).all(|(t, g)| *t == g.site));
        let contexts = [
            hash(1, whole | solid << 1 | (h & 7) << 2),
            hash(2, whole | solid << 1 | (guesses.len().min(31) as u32) << 2),
            hash(3, whole | solid << 1 | (h & 0xff) << 2),
        ];
        let hit = s.flag(&mut m.all, &contexts, hit);
        m.history = h << 1 | u32::from(!hit);
        if hit {
            if guesses.len() > limit {
                return Err(damaged());
            }
            return Ok(guesses.iter().map(|g| g.site).collect());
        }
    }
    landmarks.fill(view);
    for guess in guesses.iter().filter(|g| g.solid && g.site.pad > 0) {
        view.locals().mark(guess.site.pad);
    }
    let mut around = Around {
        sites: Vec::new(),
        from: 0,
        recent: Vec::new(),
        history: 0,
        kinds: 0,
    };
    let mut next = 0;
    loop {
        while guesses.get(next).is_some_and(|g| g.site.end <= around.from) {
            next += 1;
        }
        let guess = guesses.get(next);
        let known = truth.map(|t| step_to(&guesses[next..], &t[around.sites.len()..]));
        let rest = landmarks.calls(landmarks.from(around.from)).next().is_some();
        let mut state = u32::from(rest);
        if let Some(guess) = guess {
            let ordered = guess.site.start >= around.from;
            state |= u32::from(guess.solid) << 1 | u32::from(ordered) << 2 | 8;
            state |= u32::from(guess.site.start == around.from) << 4;
            let again = around.recent.last() == Some(&guess.site.pad);
            let h = around.history;
            let contexts = [
                hash(1, state | (h & 7) << 8),
                hash(
                    2,
                    state | u32::from(guess.site.pad == 0) << 8 | u32::from(again) << 9,
                ),
                hash(3, h & 0xff | u32::from(guess.solid) << 8),
                hash(
                    4,
                    state | u32::from(around.sites.is_empty()) << 8 | (around.kinds & 0xff) << 9,
                ),
            ];
            let same = s.flag(&mut m.same, &contexts, known == Some(None));
            around.history = h << 1 | u32::from(!same);
            if same {
                around.take(view, guess.site);
                next += 1;
                if around.sites.len() > limit {
                    return Err(damaged());
                }
                continue;
            }
        }
        let contexts = [
            hash(1, state),
            hash(2, state | (around.history & 7) << 8),
            hash(
                3,
                state | u32::from(around.sites.is_empty()) << 8 | (around.kinds & 0xff) << 9,
            ),
        ];
        let step = s.tree(&mut m.step, &contexts, 2, known.flatten().unwrap_or(0));
        match step {
            END => return Ok(around.sites),
            SKIP => next += 1,
            _ => {
                let truth = truth.and_then(|t| t.get(around.sites.len()).copied());
                let near = guess.map(|g| (*g, step == REPLACE));
                let site = m.fresh(s, view, landmarks, &mut around, near, truth)?;
                around.take(view, site);
                next += usize::from(step == REPLACE);
            }
        }
        if next > guesses.len() || around.sites.len() > limit || s.exhausted() {
            return Err(damaged());
        }
    }
}

/// What the writing side does next: `Some(None)` is to take the guess as it is.
fn step_to(guesses: &[Guess], news: &[Site]) -> Option<u32> {
    let Some(new) = news.first() else {
        return Some(END);
    };
    let Some(guess) = guesses.first() else {
        return Some(INSERT);
    };
    if guess.site == *new {
        return None;
    }
    if guesses.iter().take(AHEAD).any(|g| g.site == *new) || guess.site.end <= new.start {
        return Some(SKIP);
    }
    let later = news.iter().take(AHEAD).any(|n| *n == guess.site);
    Some(if later || new.end <= guess.site.start {
        INSERT
    } else {
        REPLACE
    })
}

impl Around {
    fn take(&mut self, view: &mut UnitView, site: Site) {
        if site.pad > 0 {
            let locals = view.locals();
            locals.mark(site.pad);
            self.recent.retain(|&p| p != site.pad);
            if self.recent.len() == REMEMBERED {
                self.recent.remove(0);
            }
            self.recent.push(site.pad);
        }
        self.kinds = self.kinds << 1 | u32::from(site.pad > 0);
        self.from = site.end;
        self.sites.push(site);
    }
}
<<<<<<< HEAD

impl SiteModels {
    fn fresh<S: Symbols>(
        &mut self,
        s: &mut S,
        view: &mut UnitView,
        landmarks: &Landmarks,
        around: &mut Around,
        near: Option<(Guess, bool)>,
        truth: Option<Site>,
    ) -> Result<Site> {
        let known = truth.unwrap_or_default();
        let pad = self.pad(s, view, landmarks, around, near, known.pad)?;
        let reference = near.filter(|n| n.1).map(|n| n.0);
        let open = u32::from(pad > 0) | u32::from(reference.is_some()) << 1;
        let start = self.start(
            s,
            landmarks,
            around,
            open,
            reference.map(|r| r.site.start),
            known.start,
        )?;
        let end = self.end(
            s,
            landmarks,
            (around.from, start),
            open,
            reference.map(|r| r.site.end),
            known.end,
        )?;
        let twin = around.sites.iter().rev().take(REMEMBERED).find(|t| t.pad == pad);
        let twin = twin.map_or(0xffff, |t| t.action & 0xfff);
        let was = reference.map_or(0xffff, |r| r.site.action & 0xfff);
        let contexts = [hash(1, twin), hash(hash(2, was), open), hash(hash(3, twin), was)];
        let action = s.number(&mut self.action, &contexts, u64::from(known.action));
        let action =
            u32::try_from(action).map_err(|_| Error::DamagedPatch("an exception table makes no sense"))?;
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
        near: Option<(Guess, bool)>,
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
        let contexts = [
            hash(1, state),
            hash(2, state | (around.kinds & 15) << 8),
            hash(
                3,
                state | (around.recent.len().min(3) as u32) << 4 | (around.kinds & 1) << 8,
            ),
            hash(4, state | (around.kinds & 0xff) << 8),
        ];
        match s.tree(&mut self.pad_kind, &contexts, 2, kind) {
            ABSENT => return Ok(0),
            REFERENCE => return Ok(guess),
            RECENT => {
                let many = around.recent.len().min(15) as u32;
                let k = s.tree(
                    &mut self.recent,
                    &[1, hash(2, many)],
                    8,
                    recent.unwrap_or(0) as u32,
                );
                let at = around.recent.len().checked_sub(1 + k as usize);
                let damaged = Error::DamagedPatch("a landing pad is unknown");
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
        let damaged = || Error::DamagedPatch("a landing pad is unknown");
        let index = landmarks.index(truth);
        let locals = view.locals();
        let near = |back| index.filter(|&i| pads(locals, landmarks, from, back).any(|k| k == i));
        let label = locals.label(from, truth);
        let way = match (near(false), near(true), label) {
            (Some(_), ..) => ONWARD,
            (_, Some(_), _) => BACK,
            (_, _, Some(_)) => LABEL,
            _ => RAW,
        };
        let contexts = [hash(1, u32::from(first)), hash(2, state), 3];
        let way = s.tree(&mut self.way, &contexts, 2, way);
        match way {
            ONWARD | BACK => {
                let found = self.walk_pads(s, view, landmarks, (from, way == BACK), truth);
                Ok(landmarks.starts[found.ok_or_else(damaged)?])
            }
            LABEL => {
                let key = label.map_or(0, |l| l.class | u32::from(l.back) << 2);
                let key = s.tree(
                    &mut self.label,
                    &[hash(1, u32::from(first)), hash(2, state)],
                    3,
                    key,
                );
                let contexts = [
                    hash(1, key),
                    hash(2, key | u32::from(first) << 3),
                    hash(3, key | state << 3),
                ];
                let rank = s.number(&mut self.rank, &contexts, u64::from(label.map_or(0, |l| l.rank)));
                let label = Label {
                    class: key & 3,
                    back: key & 4 != 0,
                    rank: u32::try_from(rank).unwrap_or(u32::MAX),
                };
                view.locals().resolve(from, label).ok_or_else(damaged)
            }
            _ => {
                let raw = s.number(&mut self.raw, &[1, 2], u64::from(truth));
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
        let damaged = || Error::DamagedPatch("an exception table makes no sense");
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
        let contexts = [
            hash(1, state),
            hash(2, state | (around.kinds & 3) << 4),
            hash(3, state | u32::from(guess.is_some_and(|g| g < from)) << 4),
            hash(
                4,
                state | u32::from(around.sites.is_empty()) << 4 | (around.kinds & 15) << 5,
            ),
        ];
        match s.tree(&mut self.form, &contexts, 2, form) {
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
                let away = s.signed(&mut self.raw, &[3, 4], away);
                u32::try_from(i64::from(from).saturating_add(away)).map_err(|_| damaged())
            }
        }
    }

    /// Codes where a site ends: as guessed, behind a call, or some instructions before one.
    fn end<S: Symbols>(
        &mut self,
        s: &mut S,
        landmarks: &Landmarks,
        (from, start): (u32, u32),
        open: u32,
        guess: Option<u32>,
        truth: u32,
    ) -> Result<u32> {
        let damaged = || Error::DamagedPatch("an exception table makes no sense");
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
        let contexts = [
            hash(1, state),
            hash(2, state | touches << 5),
            hash(5, 0),
            hash(6, open),
        ];
        match s.tree(&mut self.form, &contexts, 2, form) {
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
                let len = s.signed(&mut self.raw, &[5, 6], len);
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
            let contexts = [
                hash(1, state | passed.min(7) << 8 | detail << 12),
                hash(hash(2, state), callee),
                hash(hash(3, state), next),
                hash(hash(4, state | passed.min(1) << 8), callee.wrapping_add(next)),
            ];
            if s.flag(&mut self.call, &contexts, Some(call) == truth) {
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
            let contexts = [
                hash(1, state | steps << 8),
                hash(hash(2, state), before),
                hash(hash(3, before), landmarks.heads[index]),
                hash(hash(4, steps), landmarks.heads[call]),
            ];
            if s.flag(&mut self.back, &contexts, Some(index) == truth) {
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
        let candidates: Vec<usize> = pads(view.locals(), landmarks, from, back).collect();
        for (passed, index) in candidates.into_iter().enumerate() {
            let head = landmarks.heads[index];
            let next = landmarks.heads.get(index + 1).copied().unwrap_or(0);
            let before = index.checked_sub(1).map_or(0, |i| u32::from(landmarks.roles[i]));
            let open = u32::from(view.locals().is_open(index));
            let state = before | open << 6 | u32::from(back) << 7;
            let contexts = [
                hash(hash(1, head), state),
                hash(hash(2, head), next),
                hash(3, state | (passed.min(15) as u32) << 8),
                hash(hash(4, head), state | (passed.min(3) as u32) << 8),
            ];
            if s.flag(&mut self.walk, &contexts, landmarks.starts[index] == truth) {
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
=======
>>>>>>> unwind
