//! Call sites of one function: the old ones projected, and what differs told by the function's own calls.

use crate::code::{Model, Symbols, hash};
use crate::elf::exceptions::Site;
use crate::predict::{Label, UnitView};
use crate::tables::landmarks::Landmarks;
use crate::{Error, error::Result};

const REPLACE: u32 = 0;
const INSERT: u32 = 1;
const SKIP: u32 = 2;
const END: u32 = 3;

/// Most landing pads that are told by how lately they were used.
const REMEMBERED: usize = 256;

/// How many sites ahead the writing side looks for an equal one.
const AHEAD: usize = 8;

/// Models of call sites.
#[derive(Debug)]
pub struct SiteModels {
    all: Model,
    same: Model,
    step: Model,
    pad_kind: Model,
    recent: Model,
    label: Model,
    rank: Model,
    form: Model,
    count: Model,
    back: Model,
    raw: Model,
    action: Model,
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
            label: Model::new(3, 12, 255),
            rank: Model::new(3, 14, 255),
            form: Model::new(4, 14, 255),
            count: Model::new(3, 14, 255),
            back: Model::new(3, 14, 255),
            raw: Model::new(2, 14, 255),
            action: Model::new(3, 14, 255),
            history: 0,
        }
    }
}

/// A projected site, and whether its code lines up with the old code throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess {
    site: Site,
    solid: bool,
}

/// Where the sites of an old function are in the new one, in order of their starts.
pub fn project(view: &UnitView, landmarks: &mut Landmarks, old: &[Site], guesses: &mut Vec<Guess>) {
    guesses.clear();
    if !view.unit.whole {
        landmarks.fill(view.machine(), view.bytes);
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
struct Around {
    sites: Vec<Site>,
    /// End of the last site.
    from: u32,
    /// Instruction of the last new landing pad.
    pad: Option<usize>,
    /// Landing pads, the latest last.
    recent: Vec<u32>,
    history: u32,
    kinds: u32,
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
    landmarks.fill(view.machine(), view.bytes);
    for guess in guesses.iter().filter(|g| g.solid && g.site.pad > 0) {
        view.locals().mark(guess.site.pad);
    }
    let mut around = Around {
        sites: Vec::new(),
        from: 0,
        pad: None,
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
        let rest = landmarks.call_from(landmarks.from(around.from)).is_some();
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
                let reference = guess.filter(|_| step == REPLACE).copied();
                let site = m.fresh(s, view, landmarks, &mut around, reference, truth)?;
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

impl SiteModels {
    fn fresh<S: Symbols>(
        &mut self,
        s: &mut S,
        view: &mut UnitView,
        landmarks: &Landmarks,
        around: &mut Around,
        reference: Option<Guess>,
        truth: Option<Site>,
    ) -> Result<Site> {
        let known = truth.unwrap_or_default();
        let pad = self.pad(s, view, landmarks, around, reference, known.pad)?;
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
        reference: Option<Guess>,
        truth: u32,
    ) -> Result<u32> {
        const ABSENT: u32 = 0;
        const REFERENCE: u32 = 1;
        const RECENT: u32 = 2;
        const FRESH: u32 = 3;
        let guess = reference.map_or(0, |r| r.site.pad);
        let recent = around.recent.iter().rev().position(|&p| p == truth);
        let kind = match (truth, recent) {
            (0, _) => ABSENT,
            (p, _) if p == guess => REFERENCE,
            (_, Some(_)) => RECENT,
            _ => FRESH,
        };
        let state = match reference {
            None => 0,
            Some(r) => 1 + u32::from(r.solid) + u32::from(r.site.pad > 0) * 2,
        };
        let contexts = [
            hash(1, state),
            hash(2, state | (around.kinds & 15) << 4),
            hash(
                3,
                state | (around.recent.len().min(3) as u32) << 4 | (around.kinds & 1) << 8,
            ),
            hash(4, state | (around.kinds & 0xff) << 4),
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
        let first = around.pad.is_none();
        let last = landmarks.roles.len().saturating_sub(1);
        let from = around
            .pad
            .unwrap_or_else(|| landmarks.from(around.from).min(last));
        let label = view.locals().label(from, truth);
        let key = label.map_or(3, |l| l.class) | label.map_or(0, |l| u32::from(l.back) << 2);
        let contexts = [hash(1, u32::from(first)), hash(2, state), 3];
        let key = s.tree(&mut self.label, &contexts, 3, key);
        if key & 3 == 3 {
            let raw = s.number(&mut self.raw, &[1, 2], u64::from(truth));
            return u32::try_from(raw).map_err(|_| Error::DamagedPatch("a landing pad is unknown"));
        }
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
        let pad = view.locals().resolve(from, label);
        let pad = pad.ok_or(Error::DamagedPatch("a landing pad is unknown"))?;
        around.pad = view.locals().index(pad);
        Ok(pad)
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
        let by_call = landmarks.index(truth).filter(|_| truth >= from).and_then(|i| {
            let call = landmarks.call_from(i)?;
            let passed = landmarks.from(from)..i;
            Some((landmarks.calls(passed), call - i))
        });
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
                let (calls, back) = by_call.unwrap_or((0, 0));
                let contexts = [hash(1, open), hash(2, around.kinds & 7), 3];
                let calls = s.number(&mut self.count, &contexts, calls as u64);
                let call = landmarks
                    .call_after(landmarks.from(from), calls)
                    .ok_or_else(damaged)?;
                let contexts = [hash(1, open), hash(2, around.kinds & 7), hash(3, calls as u32)];
                let back = s.number(&mut self.back, &contexts, back as u64);
                let index = (call as u64).checked_sub(back).ok_or_else(damaged)?;
                Ok(landmarks.starts[index as usize])
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
        let behind = place.filter(|&i| landmarks.roles[i - 1] == crate::tables::landmarks::CALL);
        let before = place.and_then(|i| Some((i, landmarks.call_from(i)?)));
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
                let calls = behind.map_or(0, |i| landmarks.calls(first..i - 1));
                let contexts = [hash(4, open), hash(5, touches), 6];
                let calls = s.number(&mut self.count, &contexts, calls as u64);
                let call = landmarks.call_after(first, calls).ok_or_else(damaged)?;
                Ok(landmarks.starts[call + 1])
            }
            2 => {
                let (calls, back) = before.map_or((0, 0), |(i, call)| (landmarks.calls(first..i), call - i));
                let contexts = [hash(7, open), hash(8, touches), 9];
                let calls = s.number(&mut self.count, &contexts, calls as u64);
                let call = landmarks.call_after(first, calls).ok_or_else(damaged)?;
                let contexts = [hash(7, open), hash(8, touches), hash(9, calls.min(3) as u32)];
                let back = s.number(&mut self.back, &contexts, back as u64);
                let index = (call as u64).checked_sub(back).ok_or_else(damaged)?;
                Ok(landmarks.starts[index as usize])
            }
            _ => {
                let len = i64::from(truth) - i64::from(start);
                let len = s.signed(&mut self.raw, &[5, 6], len);
                u32::try_from(i64::from(start).saturating_add(len)).map_err(|_| damaged())
            }
        }
    }
}
