//! How a stretch of text is told in the fewest bits: the parse of liblzma's slower mode, price by price.

use super::finder::{Finder, LONGEST};
use super::models::{INFINITE, Models, State, price};
use super::prices::{Prices, again_price, literal_price, repeated_price};
use super::window::same;
use crate::error::Result;

/// Places that are weighed at once.
pub const PLACES: usize = 1 << 12;
/// Distances that are remembered.
pub const REPEATED: usize = 4;
/// In the place of a distance: a literal.
pub const LITERAL: u32 = u32::MAX;

/// What comes next: so many bytes, by a literal, a remembered distance, or one that counts from [`REPEATED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub back: u32,
    pub len: usize,
}

/// What comes between the place before and the last step to a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Between {
    #[default]
    Nothing,
    /// A literal.
    Literal,
    /// A match from a place, and a literal.
    Match { from: usize, back: u32 },
}

/// The cheapest way to a place.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    price: u32,
    /// Where the last step to it begins, and which one it is.
    from: usize,
    back: u32,
    between: Between,
    state: State,
    last: [u32; REPEATED],
}

/// What is known where a parse begins.
enum Begun {
    /// What comes next.
    Chosen(Choice),
    /// Where the places end to which steps lead.
    To(usize),
}

/// The parse, and what it knows.
pub struct Optimum {
    prices: Prices,
    /// Matches since distances were priced, and of those the far ones.
    pub matches: u32,
    pub far: u32,
    places: Vec<Place>,
    /// Of a parse that was made: where it is, and where it ends.
    at: usize,
    end: usize,
}

/// Where a step begins, and what follows from that.
struct Here<'f> {
    bytes: &'f [u8],
    /// Its number among the places, its place in the text, and among the bytes.
    cur: usize,
    position: usize,
    here: usize,
    state: State,
    last: [u32; REPEATED],
    /// Bytes that are left, at most as many as there are places; and good enough ones of them.
    full: usize,
    room: usize,
    /// Prices of getting here and saying that a match follows, and that its distance is remembered.
    matched: u32,
    repeated: u32,
    nice: usize,
}

/// A match that may be told from a place: its length and price, how its distance is told and what it is, and the state
/// behind it.
struct Match {
    len: usize,
    cost: u32,
    back: u32,
    distance: u32,
    state: State,
}

impl Here<'_> {
    fn there(&self, distance: u32) -> usize {
        self.here - distance as usize - 1
    }
    fn state_at(&self, len: usize) -> usize {
        (self.position + len) & 3
    }
}

impl Optimum {
    /// At first, for a dictionary of that size.
    pub fn new(dictionary: u32) -> Optimum {
        Optimum {
            prices: Prices::new(dictionary),
            matches: u32::MAX / 2,
            far: u32::MAX / 2,
            places: vec![Place::default(); PLACES],
            at: 0,
            end: 0,
        }
    }

    /// What is told next at a position, with these models and the last distances.
    pub fn next(
        &mut self,
        models: &Models,
        finder: &mut Finder,
        (state, last): (State, &[u32; REPEATED]),
        position: usize,
    ) -> Result<Choice> {
        if self.at != self.end {
            let place = self.places[self.at];
            let len = place.from - self.at;
            self.at = place.from;
            return Ok(Choice {
                back: place.back,
                len,
            });
        }
        if finder.ahead == 0 {
            if self.matches >= 1 << 7 {
                self.prices.set_distances(models);
                self.matches = 0;
            }
            if self.far >= 1 << 4 {
                self.prices.set_aligned(models);
                self.far = 0;
            }
            finder.find()?;
        }
        let mut end = match self.begin(models, finder, (state, last), position)? {
            Begun::Chosen(choice) => return Ok(choice),
            Begun::To(end) => end,
        };
        let mut cur = 1;
        while cur < end {
            finder.find()?;
            if finder.longest >= finder.nice() {
                break;
            }
            end = self.go_on(models, finder, (end, cur), position + cur);
            cur += 1;
        }
        Ok(self.backward(cur))
    }

    /// Turns the steps that lead to a place around, and gives the first.
    fn backward(&mut self, mut cur: usize) -> Choice {
        self.end = cur;
        let (mut from, mut back) = (self.places[cur].from, self.places[cur].back);
        while cur != 0 {
            let between = self.places[cur].between;
            if between != Between::Nothing {
                let place = &mut self.places[from];
                (place.back, place.between, place.from) = (LITERAL, Between::Nothing, from - 1);
                if let Between::Match { from: first, back } = between {
                    let place = &mut self.places[from - 1];
                    (place.back, place.between, place.from) = (back, Between::Nothing, first);
                }
            }
            let place = &mut self.places[from];
            let (to, step) = (cur, back);
            cur = from;
            (from, back) = (place.from, place.back);
            (place.from, place.back) = (to, step);
        }
        let Place { from, back, .. } = self.places[0];
        self.at = from;
        Choice { back, len: from }
    }

    fn offer(&mut self, at: usize, price: u32, step: (usize, u32), between: Between) {
        let place = &mut self.places[at];
        if price < place.price {
            (place.price, place.from, place.back, place.between) = (price, step.0, step.1, between);
        }
    }

    /// Has places up to `to` there, which nothing led to before.
    fn reach(&mut self, end: &mut usize, to: usize) {
        while *end < to {
            *end += 1;
            self.places[*end].price = INFINITE;
        }
    }

    /// Weighs what may come from here on: what comes next, or where the places end to which steps lead.
    fn begin(
        &mut self,
        models: &Models,
        finder: &mut Finder,
        (state, last): (State, &[u32; REPEATED]),
        position: usize,
    ) -> Result<Begun> {
        let choice = |back, len| Ok(Begun::Chosen(Choice { back, len }));
        let room = LONGEST.min(finder.left() + 1);
        if room < 2 {
            return choice(LITERAL, 1);
        }
        let (here, nice, longest) = (finder.here(), finder.nice(), finder.longest);
        let bytes = &finder.window.bytes[..];
        let repeats = last.map(|distance| repeat(bytes, here, distance, room));
        let mut best = 0;
        (1..REPEATED).for_each(|i| best = if repeats[i] > repeats[best] { i } else { best });
        if repeats[best] >= nice {
            finder.skip(repeats[best] - 1)?;
            return choice(best as u32, repeats[best]);
        }
        if longest >= nice {
            let distance = finder.matches.last().map_or(0, |m| m.distance);
            finder.skip(longest - 1)?;
            return choice(distance + REPEATED as u32, longest);
        }
        let (byte, other) = (bytes[here], bytes[here - last[0] as usize - 1]);
        if longest < 2 && byte != other && repeats[best] < 2 {
            return choice(LITERAL, 1);
        }
        self.places[0].state = state;
        let (s, at) = (state.number(), position & 3);
        let is_match = models.is_match[s][at];
        let literal = literal_price(
            models,
            bytes[here - 1],
            (!state.is_literal()).then_some(other),
            byte,
        );
        self.places[1].price = INFINITE;
        self.offer(
            1,
            price(is_match, false) + literal,
            (0, LITERAL),
            Between::Nothing,
        );
        let match_price = price(is_match, true);
        let repeated = match_price + price(models.is_repeated[s], true);
        if byte == other {
            let short = price(models.is_other[0][s], false) + price(models.is_long[s][at], false);
            self.offer(1, repeated + short, (0, 0), Between::Nothing);
        }
        let end = longest.max(repeats[best]);
        if end < 2 {
            return choice(self.places[1].back, 1);
        }
        self.places[0].last = *last;
        self.reach(&mut 1, end);
        for (number, &len) in repeats.iter().enumerate() {
            let base = repeated + repeated_price(models, number, state, position);
            for len in (2..=len).rev() {
                let sum = base + models.repeated_lengths.price(len, at);
                self.offer(len, sum, (0, number as u32), Between::Nothing);
            }
        }
        let base = match_price + price(models.is_repeated[s], false);
        let mut len = if repeats[0] >= 2 { repeats[0] + 1 } else { 2 };
        for found in &finder.matches {
            while len <= found.len as usize {
                let sum = base + self.prices.distance(found.distance, len) + models.lengths.price(len, at);
                let back = found.distance + REPEATED as u32;
                self.offer(len, sum, (0, back), Between::Nothing);
                len += 1;
            }
        }
        Ok(Begun::To(end))
    }

    /// The state and the last distances at a place.
    fn arrive(&mut self, cur: usize) {
        let place = self.places[cur];
        let mut from = place.from;
        let mut state = match place.between {
            Between::Nothing => self.places[from].state,
            Between::Literal => {
                from -= 1;
                self.places[from].state.literal()
            }
            Between::Match { from: first, back } => {
                from -= 1;
                let state = self.places[first].state;
                let state = if (back as usize) < REPEATED {
                    state.repeated()
                } else {
                    state.matched()
                };
                state.literal()
            }
        };
        let mut last = self.places[from].last;
        if from == cur - 1 {
            state = if place.back == 0 {
                state.short()
            } else {
                state.literal()
            };
        } else {
            let mut back = place.back;
            if let Between::Match {
                from: first,
                back: first_back,
            } = place.between
            {
                (from, back) = (first, first_back);
                state = state.repeated();
            } else if (back as usize) < REPEATED {
                state = state.repeated();
            } else {
                state = state.matched();
            }
            last = self.places[from].last;
            remember(&mut last, back);
        }
        (self.places[cur].state, self.places[cur].last) = (state, last);
    }

    /// Weighs what may be told from a place on; gives where the places end now.
    fn go_on(
        &mut self,
        models: &Models,
        finder: &Finder,
        (mut end, cur): (usize, usize),
        position: usize,
    ) -> usize {
        self.arrive(cur);
        let Place {
            state,
            last,
            price: cost,
            ..
        } = self.places[cur];
        let (bytes, here) = (&finder.window.bytes[..], finder.here());
        let full = (finder.left() + 1).min(PLACES - 1 - cur);
        let (s, at) = (state.number(), position & 3);
        let is_match = models.is_match[s][at];
        let matched = cost + price(is_match, true);
        let place = Here {
            bytes,
            cur,
            position,
            here,
            state,
            last,
            full,
            room: full.min(finder.nice()),
            matched,
            repeated: matched + price(models.is_repeated[s], true),
            nice: finder.nice(),
        };
        let (byte, other) = (bytes[here], bytes[place.there(last[0])]);
        let literal = literal_price(
            models,
            bytes[here - 1],
            (!state.is_literal()).then_some(other),
            byte,
        );
        let literal = cost + price(is_match, false) + literal;
        let mut is_one = literal < self.places[cur + 1].price;
        self.offer(cur + 1, literal, (cur, LITERAL), Between::Nothing);
        let next = self.places[cur + 1];
        if byte == other && !(next.from < cur && next.back == 0) {
            let short = price(models.is_other[0][s], false) + price(models.is_long[s][at], false);
            let short = place.repeated + short;
            if short <= next.price {
                is_one = true;
                let next = &mut self.places[cur + 1];
                (next.price, next.from, next.back, next.between) = (short, cur, 0, Between::Nothing);
            }
        }
        if full < 2 {
            return end;
        }
        if !is_one && byte != other {
            self.literal_and_again(models, &place, literal, &mut end);
        }
        let from = self.repeats(models, &place, &mut end);
        self.matches(models, &place, (finder, from), &mut end);
        end
    }

    /// A literal, and then a match at the last distance.
    fn literal_and_again(&mut self, models: &Models, here: &Here, literal: u32, end: &mut usize) {
        let limit = here.full.min(here.nice + 1);
        let len = same(here.bytes, here.here, here.there(here.last[0]), 1, limit) - 1;
        if len < 2 {
            return;
        }
        let to = here.cur + 1 + len;
        self.reach(end, to);
        let sum = literal + again_price(models, here.state.literal(), here.position + 1, len);
        self.offer(to, sum, (here.cur + 1, 0), Between::Literal);
    }

    /// Matches at remembered distances; gives from which length on others are of use.
    fn repeats(&mut self, models: &Models, here: &Here, end: &mut usize) -> usize {
        let mut from = 2;
        for number in 0..REPEATED {
            let len = repeat(here.bytes, here.here, here.last[number], here.room);
            if len < 2 {
                continue;
            }
            self.reach(end, here.cur + len);
            let base = here.repeated + repeated_price(models, number, here.state, here.position);
            for len in (2..=len).rev() {
                let sum = base + models.repeated_lengths.price(len, here.state_at(0));
                let step = (here.cur, number as u32);
                self.offer(here.cur + len, sum, step, Between::Nothing);
            }
            if number == 0 {
                from = len + 1;
            }
            let sum = base + models.repeated_lengths.price(len, here.state_at(0));
            let of = Match {
                len,
                cost: sum,
                back: number as u32,
                distance: here.last[number],
                state: here.state.repeated(),
            };
            self.and_again(models, here, &of, end);
        }
        from
    }

    /// Matches at other distances, from a length on.
    fn matches(&mut self, models: &Models, here: &Here, (finder, from): (&Finder, usize), end: &mut usize) {
        let longest = finder.longest.min(here.room);
        if longest < from {
            return;
        }
        self.reach(end, here.cur + longest);
        let base = here.matched + price(models.is_repeated[here.state.number()], false);
        let mut len = from;
        for found in &finder.matches {
            let most = (found.len as usize).min(longest);
            let back = found.distance + REPEATED as u32;
            while len <= most {
                let sum = base
                    + self.prices.distance(found.distance, len)
                    + models.lengths.price(len, here.state_at(0));
                self.offer(here.cur + len, sum, (here.cur, back), Between::Nothing);
                if len == most {
                    let of = Match {
                        len,
                        cost: sum,
                        back,
                        distance: found.distance,
                        state: here.state.matched(),
                    };
                    self.and_again(models, here, &of, end);
                }
                len += 1;
            }
            if found.len as usize >= longest {
                break;
            }
        }
    }

    /// A literal behind a match, and then a match at the same distance.
    fn and_again(&mut self, models: &Models, here: &Here, of: &Match, end: &mut usize) {
        let Match {
            len,
            cost,
            back,
            distance,
            state,
        } = *of;
        let limit = here.full.min(len + 1 + here.nice);
        let Some(more) = same_after(here, distance, len + 1, limit) else {
            return;
        };
        let more = more - (len + 1);
        if more < 2 {
            return;
        }
        let (bytes, at) = (&here.bytes[here.here..], here.position + len);
        let other = here.bytes[here.there(distance) + len];
        let literal = price(models.is_match[state.number()][at & 3], false)
            + literal_price(models, bytes[len - 1], Some(other), bytes[len]);
        let to = here.cur + len + 1 + more;
        self.reach(end, to);
        let sum = cost + literal + again_price(models, state.literal(), at + 1, more);
        let between = Between::Match { from: here.cur, back };
        self.offer(to, sum, (here.cur + len + 1, 0), between);
    }
}

/// Bytes that repeat at a distance; none where not the first two do.
fn repeat(bytes: &[u8], here: usize, distance: u32, room: usize) -> usize {
    let there = here - distance as usize - 1;
    match bytes[here..here + 2] == bytes[there..there + 2] {
        true => same(bytes, here, there, 2, room),
        false => 0,
    }
}

/// Bytes that repeat at a distance if the first `known` are taken to; `None` where the limit is before them.
fn same_after(here: &Here, distance: u32, known: usize, limit: usize) -> Option<usize> {
    (known < limit).then(|| same(here.bytes, here.here, here.there(distance), known, limit))
}

/// Has a distance be the last one.
pub fn remember(last: &mut [u32; REPEATED], back: u32) {
    let number = (back as usize).min(REPEATED - 1);
    let distance = match last.get(back as usize) {
        Some(&distance) => distance,
        None => back - REPEATED as u32,
    };
    last.copy_within(..number, 1);
    last[0] = distance;
}
