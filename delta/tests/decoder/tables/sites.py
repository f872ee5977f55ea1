"""Call sites of one function: the old ones projected, and what differs told by the function's own calls (stream 10)."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace

import predict
from container import Damaged
from declared import Grammar
from models import M32
from tables.landmarks import CALL

REPLACE, INSERT, SKIP, END = range(4)
ABSENT, REFERENCE, RECENT = range(3)
ONWARD, BACK, LABEL = range(3)
REMEMBERED, WALKED = 256, 64


def nonsense():
    return Damaged("an exception table makes no sense")


@dataclass
class CallSite:
    """A stretch of the function with one way to unwind from it, by offsets from its start; 0 for no landing pad."""

    start: int = 0
    end: int = 0
    pad: int = 0
    action: int = 0


def project(view, old):
    """Where the sites of an old function are, in order, each with whether old code stands behind all of it."""
    if view.unit.unchanged:
        return [(site, True) for site in old]
    starts, guesses = view.locals.starts, []

    def place(offset):
        found = view.line_up(offset & M32)
        if found is None:
            return None
        index = bisect_right(starts, found[0]) - 1
        return None if index < 0 else (index, found[1])

    for site in old:
        first, last = place(site.start), place(site.end - 1)
        if first is None or last is None:
            continue
        pad, held = 0, True
        if site.pad:
            found = place(site.pad)
            pad, held = (starts[found[0]], found[1]) if found else (0, False)
        start = starts[first[0]]
        end = starts[last[0] + 1] if last[0] + 1 < len(starts) else view.unit.size
        if end > start:
            guesses.append((CallSite(start, end, pad, site.action), first[1] and last[1] and held))
    return sorted(guesses, key=lambda guess: guess[0].start)


class Sites:
    """Call sites of one function after the other."""

    def __init__(self):
        self.m, self.history = Grammar("tables/exceptions/sites.rs"), 0

    def code(self, s, view, landmarks, old, limit):
        guesses = project(view, old)
        if guesses:
            state = view.unit.unchanged | all(solid for _, solid in guesses) << 1
            hit = self.m.all(s, state=state, h=self.history, count=len(guesses))
            self.history = self.history << 1 | (not hit)
            if hit:
                if len(guesses) > limit:
                    raise nonsense()
                return [site for site, _ in guesses]
        landmarks.fill()
        for site, solid in guesses:
            if solid and site.pad:
                view.locals.mark(site.pad)
        return Function(s, self.m, view, landmarks, guesses, limit).code()


class Function:
    """The sites of one function that are not all as projected."""

    def __init__(self, s, m, view, landmarks, guesses, limit):
        self.s, self.m, self.view, self.landmarks, self.guesses, self.limit = s, m, view, landmarks, guesses, limit
        # End of the last site, and landing pads, the latest last.
        self.sites, self.end, self.recent = [], 0, []
        self.history = self.kinds = 0

    def code(self):
        s, m, following = self.s, self.m, 0
        while True:
            while following < len(self.guesses) and self.guesses[following][0].end <= self.end:
                following += 1
            guess, solid = self.guesses[following] if following < len(self.guesses) else (None, False)
            rest = bool(self.landmarks.calls(self.landmarks.first(self.end)))
            f = SimpleNamespace(state=int(rest), kinds=self.kinds, h=self.history, first=not self.sites)
            if guess:
                f.state |= solid << 1 | (guess.start >= self.end) << 2 | 8 | (guess.start == self.end) << 4
                again = self.recent[-1:] == [guess.pad]
                same = m.same(s, f=f, absent=guess.pad == 0, again=again, solid=solid)
                self.history = self.history << 1 & M32 | (not same)
                if same:
                    self.take(guess)
                    following += 1
                    continue
            f.h = self.history
            step = m.step(s, f=f)
            if step == END:
                return self.sites
            if step != SKIP:
                self.take(self.fresh(guess, solid, step == REPLACE))
            following += step != INSERT
            if following > len(self.guesses):
                raise nonsense()

    def take(self, site):
        if site.pad:
            self.view.locals.mark(site.pad)
            self.recent = [pad for pad in self.recent if pad != site.pad][-(REMEMBERED - 1) :] + [site.pad]
        self.kinds = (self.kinds << 1 | (site.pad > 0)) & M32
        self.end = site.end
        self.sites.append(site)
        if len(self.sites) > self.limit:
            raise nonsense()

    def fresh(self, guess, solid, replaces):
        """A site that is not as guessed."""
        pad = self.pad(guess, solid, replaces)
        was = guess if replaces else None
        state = (pad > 0) | (was is not None) << 1
        start = self.start(state, was.start if was else None)
        end = self.finish(start, state, was.end if was else None)
        twin = next((site.action & 0xFFF for site in self.sites[: -REMEMBERED - 1 : -1] if site.pad == pad), 0xFFFF)
        action = self.m.action(self.s, twin=twin, was=was.action & 0xFFF if was else 0xFFFF, open=state)
        if action > M32:
            raise nonsense()
        return CallSite(start, end, pad, action)

    def pad(self, guess, solid, replaces):
        s, m, recent = self.s, self.m, self.recent
        expected, state = guess.pad if guess else 0, 0
        if guess:
            state = 1 + (solid | (expected > 0) << 1 | (recent[-1:] == [expected]) << 2) + 8 * replaces
        many = len(recent)
        kind = m.pad_kind(s, state=state, kinds=self.kinds, many=many)
        if kind == ABSENT:
            return 0
        if kind == REFERENCE:
            return expected
        if kind == RECENT:
            k = m.recent(s, many=many)
            if k >= many:
                raise nonsense()
            return recent[many - 1 - k]
        first, last = not recent, max(len(self.landmarks.roles) - 1, 0)
        origin = min(self.landmarks.first(recent[-1] if recent else self.end), last)
        way = m.way(s, first=first, state=state)
        if way in (ONWARD, BACK):
            return self.walk(origin, way == BACK)
        if way == LABEL:
            key = m.label(s, first=first, state=state)
            rank = m.rank(s, key=key, first=first, state=state)
            pad = self.view.locals.resolve(predict.at(origin), key & 3, bool(key & 4), rank)
        else:
            pad = m.raw_pad(s)
        if pad is None or pad > M32:
            raise nonsense()
        return pad

    def walk(self, origin, back):
        """From one instruction that may be a landing pad to the next: what only a jump reaches, what follows a call."""
        landmarks, local = self.landmarks, self.view.locals
        roles, heads = landmarks.roles, landmarks.heads
        places = range(origin - 1, -1, -1) if back else range(origin + 1, len(roles))
        may = (i for i in places if i and roles[i - 1] == CALL or local.is_open(i))
        for passed, i in enumerate(islice(may, WALKED)):
            state = (roles[i - 1] if i else 0) | local.is_open(i) << 6 | back << 7
            pair = [heads[i], heads[i + 1] if i + 1 < len(heads) else 0]
            if self.m.walk(self.s, state=state, passed=passed, heads=pair):
                return landmarks.starts[i]
        raise nonsense()

    def start(self, state, guess):
        """Where a site starts: as guessed, where the last one ended, some instructions before a call, or anywhere."""
        landmarks, end, open_ = self.landmarks, self.end, state
        state |= (guess is not None) << 2 | (guess == end) << 3
        before = guess is not None and guess < end
        form = self.m.start(self.s, state=state, kinds=self.kinds, before=before, first=not self.sites)
        if form == 0:
            if guess is None:
                raise nonsense()
            return guess
        if form == 1:
            return end
        if form == 2:
            call = self.call(landmarks.first(end), open_, self.kinds & 3)
            # One instruction further on at least: where the last one ended has a form of its own.
            return landmarks.starts[self.back(call, landmarks.first(end + 1), open_)]
        start = end + self.m.raw_start(self.s)
        if not 0 <= start <= M32:
            raise nonsense()
        return start

    def finish(self, start, open_, guess):
        """Where a site ends: as guessed, behind a call, some instructions before one, or anywhere."""
        landmarks = self.landmarks
        first, touches = landmarks.first(start), int(self.end == start)
        state = open_ | (guess is not None and guess > start) << 2 | 16
        form = self.m.end(self.s, state=state, touches=touches, open=open_)
        if form == 0:
            if guess is None:
                raise nonsense()
            return guess
        if form == 1:
            return landmarks.starts[self.call(first, open_ | 16, touches) + 1]
        if form == 2:
            call = self.call(first, open_ | 32, touches)
            return landmarks.starts[self.back(call, first + 1, open_ | 32)]
        end = start + self.m.raw_len(self.s)
        if not 0 <= end <= M32:
            raise nonsense()
        return end

    def call(self, first, state, detail):
        """From call to call until the one that is meant."""
        calls, heads = self.landmarks.calls(first), self.landmarks.heads
        for passed, call in enumerate(calls):
            pair = [heads[call], heads[calls[passed + 1]] if passed + 1 < len(calls) else 0]
            if self.m.call(self.s, state=state, passed=passed, detail=detail, heads=pair):
                return call
        raise nonsense()

    def back(self, call, least, state):
        """Back from a call to the instruction that is meant."""
        heads, index = self.landmarks.heads, call
        while index > least:
            three = [heads[index - 1], heads[index], heads[call]]
            if self.m.back(self.s, state=state, steps=min(call - index, 15), heads=three):
                break
            index -= 1
        return index
