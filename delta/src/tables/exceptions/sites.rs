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
pub fn project(view: &mut UnitView, old: &[Site], guesses: &mut Vec<Guess>) {
    guesses.clear();
    if view.unit.whole {
        let solid = |site: &Site| Guess {
            site: *site,
            solid: true,
        };
        guesses.extend(old.iter().map(solid));
        return;
    }
    view.locals();
    for site in old {
        let starts = view.starts();
        let place = |offset| {
            let (at, held) = view.line_up(offset)?;
            let index = starts.partition_point(|&s| s <= at).checked_sub(1)?;
            Some((index, held))
        };
        let (Some(first), Some(last)) = (place(site.start), place(site.end.wrapping_sub(1))) else {
            continue;
        };
        let pad = match site.pad {
            0 => Some((0, true)),
            pad => place(pad).map(|(i, held)| (starts[i], held)),
        };
        let (pad, held) = pad.unwrap_or((0, false));
        let behind = starts.get(last.0 + 1).copied();
        let (start, end) = (starts[first.0], behind.unwrap_or(view.bytes.len() as u32));
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
    guesses.sort_by_key(|g| g.site.start);
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
        view.locals().mark(guess.site.pad, None);
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
            locals.mark(site.pad, None);
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
