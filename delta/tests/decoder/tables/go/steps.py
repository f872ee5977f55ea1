"""A table over code: the old one with its ends and values moved, and what differs."""

from bisect import bisect_right
from dataclasses import dataclass

from container import Damaged
from declared import Grammar
from gotable import i32
from models import M32


@dataclass
class Under:
    """What is known of the code under a table."""

    kind: int  # which of the function's tables it is
    unchanged: bool
    starts: list  # of the instructions, if they are listed
    size: int
    end: int | None  # where another table of the function ended
    quantum: int
    limit: int  # most stretches that it may have
    before: int  # whether the tables before were not as expected


def tidy(steps):
    """Projected stretches with ascending ends, and no value twice in a row."""
    out = []
    for end, value in steps:
        if end <= (out[-1][0] if out else 0):
            continue
        if out and out[-1][1] == value:
            out.pop()
        out.append((end, value))
    return out


class Steps:
    def __init__(self):
        self.m, self.history = Grammar("tables/go/steps.rs"), [0] * 16

    def missed(self, kind):
        """The last table of a kind was not as expected."""
        return self.history[kind] & 1

    def code(self, s, under, old, value):
        """A table; `old` are the old ends moved, or None, and `value(i, now)` what the value of old stretch i should be
        now, learning what it is unless that is None."""
        m, kind, ends = self.m, under.kind, old or []
        if old is not None:
            guess = tidy((end, value(i, None)) for i, end in enumerate(ends))
            h, state = self.history[kind], kind | under.unchanged << 4 | 1 << 5
            exact = m.exact(s, state=state, missed=h, before=under.before, count=len(ends))
            self.history[kind] = (h << 1 | (not exact)) & M32
            if exact:
                return guess
        steps, at, last, following, history, rise = [], 0, -1, 0, 0, 0
        while True:
            while following < len(ends) and ends[following] <= at:
                following += 1
            index = following
            guess = value(index, None) if index < len(ends) else None
            begins = ends[following - 1] == at if following else at == 0
            # Inside an old stretch whose value came already, the next one begins early.
            if guess == last and not begins and index + 1 < len(ends):
                index += 1
                guess = value(index, None)
            hit = False
            if guess is not None:
                place, again = (index == following) | begins << 1, (guess == last) | begins << 1
                hit = bool(m.hit(s, kind=kind, h=history, place=place, again=again))
            if hit:
                now = guess
            else:
                away = 0 if guess is None else min(max(i32(guess - last), -20), 20)
                known = {"guessed": int(guess is not None), "away": away, "last": last, "rise": rise}
                now = i32(last + m.value(s, kind=kind, **known))
            if index < len(ends) and (hit or begins):
                value(index, now)
            rise = i32(now - last)
            end, end_hit = self.end(s, under, at, ends[index] if index < len(ends) else None, hit, history, rise)
            if end < at or end > M32 or end % under.quantum or len(steps) >= under.limit:
                raise Damaged("a table over code makes no sense")
            steps.append((end, now))
            history = (history << 2 | (not hit) << 1 | (not end_hit)) & M32
            at, last = end, now
            likely = int(under.end == end) if under.end is not None else 2 + (bool(ends) and ends[-1] == end)
            if m.last(s, kind=kind, likely=likely, h=history):
                return steps

    def end(self, s, under, at, old_end, hit, history, rise):
        """Where a stretch ends, and whether that is the guess."""
        m, kind = self.m, under.kind
        guess = next((end for end in (old_end, under.end) if end is not None and end > at), None)
        if guess is not None:
            which = (under.end == guess) | (old_end is not None) << 1
            if m.end_hit(s, kind=kind, state=kind | hit << 4, h=history, len=guess - at, which=which):
                return guess, True
        room = 0 if guess is None else 1 + min(guess - at, 30)
        if m.odd(s, kind=kind):
            return at + m.odd_end(s, kind=kind), False
        index = bisect_right(under.starts, at) + m.end(s, kind=kind, room=room, rise=rise)
        if index < len(under.starts):
            return under.starts[index], False
        return (under.size if index == len(under.starts) else 0), False
