//! Call sites of one function: the old ones projected, and what differs coded by the function's own calls.

use crate::code::{Symbols, hash, symbols};
use crate::elf::exceptions::Site;
use crate::predict::UnitView;
use crate::tables::landmarks::Body;
use crate::{Error, error::Result};

const REPLACE: u32 = 0;
const INSERT: u32 = 1;
const SKIP: u32 = 2;
const END: u32 = 3;

/// Most landing pads that are coded by how lately they were used.
pub const REMEMBERED: usize = 256;

/// How many sites ahead the writing side looks for an equal one.
const AHEAD: usize = 8;

symbols! {
    /// Models of call sites. `kinds`: for each site of the function so far whether it has a landing pad, the last one
    /// lowest. `open`: 1 if the site has one, plus 2 if it replaces the guess; while ends are coded plus 16 where the
    /// end is behind the call, plus 32 where it is before it.
    pub struct CallSiteModels {
        all(12, 255) {
            /// All sites are as projected. `state`: 1 if the unit is unchanged, plus 2 if all guesses are solid; `h`: for
            /// each function so far whether they were not, the last one lowest; `count`: guesses.
            all: flag by(state: u32, h: u32, count: usize)
                [
                    hash(1, state | (h & 7) << 2),
                    hash(2, state | (count.min(31) as u32) << 2),
                    hash(3, state | (h & 0xff) << 2),
                ];
        }
        same(14, 255) {
            /// The next site is the next guess. `state`: 1 if a call is left, plus 2 if the guess is solid, plus 4 if
            /// it begins behind the last site's end, plus 8, plus 16 if it begins there.
            same: flag by(f: &Foresight, absent: bool, again: bool, solid: bool)
                [
                    hash(1, f.state | (f.h & 7) << 8),
                    hash(2, f.state | u32::from(absent) << 8 | u32::from(again) << 9),
                    hash(3, f.h & 0xff | u32::from(solid) << 8),
                    hash(4, f.state | u32::from(f.first) << 8 | (f.kinds & 0xff) << 9),
                ];
        }
        step(12, 255) {
            /// 0 replaces the guess, 1 inserts a site, 2 skips the guess, 3 ends. Without a guess `state` says only
            /// whether a call is left.
            step: tree(2) by(f: &Foresight)
                [
                    hash(1, f.state),
                    hash(2, f.state | (f.h & 7) << 8),
                    hash(3, f.state | u32::from(f.first) << 8 | (f.kinds & 0xff) << 9),
                ];
        }
        pad_kind(14, 255) {
            /// The landing pad: 0 none, 1 that of the guess, 2 a recent one, 3 another. `state`: 0 without a guess,
            /// else 1, plus 1 if it is solid, plus 2 if it has a pad, plus 4 if that is the last one used, plus 8 if
            /// it is replaced. `many`: recent ones.
            pad_kind: tree(2) by(state: u32, kinds: u32, many: usize)
                [
                    hash(1, state),
                    hash(2, state | (kinds & 15) << 8),
                    hash(3, state | (many.min(3) as u32) << 4 | (kinds & 1) << 8),
                    hash(4, state | (kinds & 0xff) << 8),
                ];
        }
        recent(12, 255) {
            /// Which recent one, the latest first.
            recent: tree(8) by(many: usize) [1, hash(2, many.min(15) as u32)];
        }
        way(12, 255) {
            /// How another is coded: 0 by a walk onward, 1 by a walk back, 2 as a label, 3 by its place. `first`: there
            /// is no recent one.
            way: tree(2) by(first: bool, state: u32) [hash(1, u32::from(first)), hash(2, state), 3];
        }
        label(12, 255) {
            /// Class of the label, plus 4 if it is back.
            label: tree(3) by(first: bool, state: u32) [hash(1, u32::from(first)), hash(2, state)];
        }
        rank(14, 255) {
            /// Its rank.
            rank: number by(key: u32, first: bool, state: u32)
                [hash(1, key), hash(2, key | u32::from(first) << 3), hash(3, key | state << 3)];
        }
        form(14, 255) {
            /// The start: 0 as guessed, 1 where the last site ended, 2 by a call, 3 by its place. `state`: `open`, plus
            /// 4 with a guess, plus 8 if that is where the last site ended; `before`: the guess is before that.
            start: tree(2) by(state: u32, kinds: u32, before: bool, first: bool)
                [
                    hash(1, state),
                    hash(2, state | (kinds & 3) << 4),
                    hash(3, state | u32::from(before) << 4),
                    hash(4, state | u32::from(first) << 4 | (kinds & 15) << 5),
                ];
            /// The end: 0 as guessed, 1 behind a call, 2 before one, 3 by its length. `state`: `open`, plus 4 if the
            /// guess is behind the start, plus 16; `touches`: the site begins where the last one ended.
            end: tree(2) by(state: u32, touches: u32, open: u32)
                [hash(1, state), hash(2, state | touches << 5), hash(5, 0), hash(6, open)];
        }
        call(16, 255) {
            /// It is this call. `passed`: calls before it; `detail`: the last two of `kinds` for starts, `touches` for
            /// ends; `heads`: of this call and of the next one, or 0.
            call: flag by(state: u32, passed: u32, detail: u32, heads: [u32; 2])
                [
                    hash(1, state | passed.min(7) << 8 | detail << 12),
                    hash(hash(2, state), heads[0]),
                    hash(hash(3, state), heads[1]),
                    hash(hash(4, state | passed.min(1) << 8), heads[0].wrapping_add(heads[1])),
                ];
        }
        back(16, 255) {
            /// It is this instruction, so many `steps` (at most 15) before the call. `heads`: of
            /// the instruction before, of this one, of the call.
            back: flag by(state: u32, steps: u32, heads: [u32; 3])
                [
                    hash(1, state | steps << 8),
                    hash(hash(2, state), heads[0]),
                    hash(hash(3, heads[0]), heads[1]),
                    hash(hash(4, steps), heads[2]),
                ];
        }
        walk(16, 255) {
            /// It is this instruction. `state`: the role of the one before, or 0, plus 64 if it is a leader without a
            /// label, plus 128 on the way back; `passed`: those before it; `heads`: its own and the next one's.
            walk: flag by(state: u32, passed: usize, heads: [u32; 2])
                [
                    hash(hash(1, heads[0]), state),
                    hash(hash(2, heads[0]), heads[1]),
                    hash(3, state | (passed.min(15) as u32) << 8),
                    hash(hash(4, heads[0]), state | (passed.min(3) as u32) << 8),
                ];
        }
        raw(14, 255) {
            /// The place of a landing pad.
            raw_pad: number by() [1, 2];
            /// A start against the last end.
            raw_start: signed by() [3, 4];
            /// The length of a site.
            raw_len: signed by() [5, 6];
        }
        action(14, 255) {
            /// The action. `twin`: that of the last site with this pad, `was`: that of the guess that is replaced,
            /// both modulo 4096, or 65535.
            action: number by(twin: u32, was: u32, open: u32)
                [hash(1, twin), hash(hash(2, was), open), hash(hash(3, twin), was)];
        }
    }
}

// symbols: What the next site goes by:
/// Before the next site of a function.
pub struct Foresight {
    /// See the symbols.
    state: u32,
    kinds: u32,
    /// For each guess so far whether it was not taken, the last one lowest.
    h: u32,
    /// No site was coded yet.
    first: bool,
}
// end

/// Models of call sites, and for each function so far whether its sites were not all as projected.
#[derive(Debug, Default)]
pub struct SiteModels {
    /// The models.
    pub m: CallSiteModels,
    history: u32,
}

impl SiteModels {
    /// Bytes of memory that the models hold.
    pub fn memory(&self) -> u64 {
        self.m.memory()
    }
}

/// A projected site, and whether its code lines up with the old code throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectedSite {
    /// Where it is expected.
    pub site: Site,
    /// Whether old code stands behind all of it.
    pub solid: bool,
}

/// Where the sites of an old function are in the new one, in order of their starts.
pub fn project(view: &mut UnitView, old: &[Site], guesses: &mut Vec<ProjectedSite>) {
    guesses.clear();
    if view.unit.unchanged {
        let solid = |site: &Site| ProjectedSite {
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
            guesses.push(ProjectedSite {
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
    body: &mut Body,
    guesses: &[ProjectedSite],
    truth: Option<&[Site]>,
    limit: usize,
) -> Result<Vec<Site>> {
    let Body { view, landmarks } = body;
    let damaged = || Error::damaged("an exception table makes no sense");
    let unchanged = u32::from(view.unit.unchanged);
    if !guesses.is_empty() {
        let solid = u32::from(guesses.iter().all(|g| g.solid));
        let h = m.history;
        let hit = truth
            .is_some_and(|t| t.len() == guesses.len() && t.iter().zip(guesses).all(|(t, g)| *t == g.site));
        let hit = m.m.all(s, unchanged | solid << 1, h, guesses.len(), hit);
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
        let mut foresight = Foresight {
            state: u32::from(rest),
            kinds: around.kinds,
            h: around.history,
            first: around.sites.is_empty(),
        };
        if let Some(guess) = guess {
            let ordered = guess.site.start >= around.from;
            foresight.state |= u32::from(guess.solid) << 1 | u32::from(ordered) << 2 | 8;
            foresight.state |= u32::from(guess.site.start == around.from) << 4;
            let again = around.recent.last() == Some(&guess.site.pad);
            let absent = guess.site.pad == 0;
            let known = known == Some(None);
            let same = m.m.same(s, &foresight, absent, again, guess.solid, known);
            around.history = around.history << 1 | u32::from(!same);
            if same {
                around.take(view, guess.site);
                next += 1;
                if around.sites.len() > limit {
                    return Err(damaged());
                }
                continue;
            }
        }
        foresight.h = around.history;
        let step = m.m.step(s, &foresight, known.flatten().unwrap_or(0));
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
fn step_to(guesses: &[ProjectedSite], news: &[Site]) -> Option<u32> {
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
