"""Targets of references: guessed, recent, a label, a unit or an address (FORMAT.md, streams 6 and "Prediction")."""

from bisect import bisect_right
from dataclasses import dataclass

import predict
from container import Damaged
from declared import Grammar
from models import M32
from predict import ANY, Learned

RECENT, LABEL, UNIT, ADDRESS = range(4)
RING, BACK, SCANNED = 32, 4, 8


@dataclass
class Site:
    """Where a reference stands, as far as prediction cares."""

    kind: int  # of the field, or of the table column
    head: int = 0  # hash of the instruction's leading bytes, or of the row's kind
    addr: int = 0
    unit: tuple = (0, 0)  # address range of the unit that it stands in: start and length
    index: int = 0  # of the instruction in the unit
    same: bool = False  # the old bytes come from a repeated run
    long_form: bool = False


@dataclass
class Guess:
    """What the old file says of a reference."""

    old_target: int | None = None
    local: int | None = None  # where a target inside the old unit is in the new one
    inside: bool = False  # the old target is inside the old unit
    old_at: tuple | None = None  # its place in the old file and the end of its unit, if it is inside


def Models(small=True):
    """Models of targets; those of tables are smaller than those of code."""
    return Grammar("predict/targets.rs", small)


def CodeModels():
    return Models(small=False)


class Targets:
    """All targets of a file, one after the other, and what is learned from each."""

    def __init__(self, old, projection, units):
        self.old, self.machine, self.map, self.units = old, old.machine, projection, units
        self.learned, self.ring, self.ring_at = {}, [0] * RING, 0
        self.last_address = self.last_unit = self.history = 0
        self.last_label = (0, 0)

    def code(self, s, m, site, guess, local):
        """One target; `local` are the instructions of the unit."""

        def inside(target):
            return (target - site.unit[0] & M32) < site.unit[1]

        learned = known = self.learned.get(guess.old_target)
        if learned and guess.inside and not inside(learned.target):
            learned = None
        outside = None if guess.inside else guess.old_target
        static = guess.local
        if static is None and outside is not None:
            static = self.map.project(outside)
        loose = None if outside is None else self.map.loose(outside)
        if learned:
            first, of = learned.target, 10 + learned.confidence
            if static is not None:
                of = (2 if static == first else 6) + learned.confidence
        else:
            first, of = (static, 14) if static is not None else (loose, 15)
        of |= guess.inside << 4
        target = None if first is None else self.guessed(s, m, site, of, first, static, learned)
        if target is None:
            near = loose if guess.local is None else guess.local
            target = self.spell(s, m, site, of, near, guess.old_at, local)
        self.learn(guess.old_target, known, target)
        if inside(target):
            local.mark(target - site.unit[0], site.index)
        elif target not in self.ring:
            self.ring[self.ring_at % RING] = target
            self.ring_at += 1
        return target

    def learn(self, old, known, target):
        # 2^32 - 1 is never learned.
        if known:
            known.learn(target)
        elif old is not None and old != M32:
            self.learned[old] = Learned(target)

    def guessed(self, s, m, site, of, first, static, learned):
        """The target if one of two guesses is right, else None."""
        hit = m.hit(s, site=site, of=of, h=self.history)
        self.history = (self.history << 1 | (not hit)) & M32
        if hit:
            return first
        second = None
        if learned and static is not None and static != first:
            second = static
        elif learned and learned.previous != learned.target:
            second = learned.previous
        if second is not None and m.second(s, of=of, site=site):
            return second
        return None

    def spell(self, s, m, site, of, loose, old_at, local):
        near = None
        if loose is not None and (loose - site.unit[0] & M32) < site.unit[1]:
            near = loose - site.unit[0]
        way = m.way(s, site=site, of=of)
        if way == RECENT:
            return self.ring[(self.ring_at - 1 - m.ring(s, site=site)) % RING]
        if way == LABEL:
            return self.label(s, m, site, of, near, old_at, local)
        if way == UNIT:
            before = bisect_right(self.units, site.addr)
            width = min(len(self.units).bit_length(), 24)
            self.last_unit = m.unit(s, before=before, last=self.last_unit, site=site, width=width)
            if self.last_unit >= len(self.units):
                raise Damaged("a reference goes nowhere")
            return self.units[self.last_unit]
        base = self.last_address if loose is None else loose
        target = base + m.address(s, guessed=loose is not None, site=site, of=of)
        if not 0 <= target <= M32:
            raise Damaged("a reference goes nowhere")
        self.last_address = target
        return target

    def label(self, s, m, site, of, near, old_at, local):
        """A target in the unit, as class, direction and rank from an origin."""

        def away(index):
            return abs(index - site.index).bit_length()

        home = local.home(site.index)
        ahead = next(local.candidates(predict.at(site.index), predict.LEADERS, False), None)
        known = {"guessed": near is not None, "open": 15 if ahead is None else away(ahead), "last": self.last_label[0]}
        known["home"] = 0 if home is None else 1 + away(home)
        label = m.label(s, site=site, of=of, KEY_BITS=5, **known)
        group, back, place = label & ANY, bool(label & BACK), label >> 3
        origin = self.origin(local, site, near, place, group)
        if origin is None:
            raise Damaged("a reference goes nowhere")
        if s.modelled:
            start = self.stop(s, m, site, local, origin, label, old_at)
        else:
            start = local.resolve(origin, group, back, m.rank(s))
        if start is None:
            raise Damaged("a reference goes nowhere")
        return site.unit[0] + start

    @staticmethod
    def origin(local, site, near, place, group):
        if place == 0:
            if near is not None:
                return predict.at(local.holder(near))
            if site.long_form and group != ANY:
                return local.beyond_short(site.index)
            return predict.at(site.index)
        index = {1: local.home(site.index), 2: local.last}.get(place)
        return None if index is None else predict.at(index)

    def stop(self, s, m, site, local, origin, label, old_at):
        """Which of the instructions that class and direction leave is meant: its start, or None."""

        def away(index):
            return abs(index - site.index).bit_length()

        candidates = local.candidates(origin, label & ANY, bool(label & BACK))
        (last, last_index), length = self.last_label, len(local.starts).bit_length()
        if m.far(s, key=label, site=site, last=last, length=length, away=away(origin[1])):
            rank = m.rank(s, key=label, site=site)
            index = next((i for n, i in enumerate(candidates) if n == rank + SCANNED), None)
        else:
            wanted, index = self.old_look(old_at), None
            for rank, index in enumerate(candidates):
                looks = local.looks(index)
                alike = 0 if not wanted else 1 if wanted == looks[0] else 2
                known = {"state": label | alike << 5, "rank": rank, "looks": looks, "away": away(index), "last": last}
                near = min(abs(index - last_index), 3)
                if rank + 1 == SCANNED or m.stop(s, site=site, near=near, **known):
                    break
            else:
                index = None
        if index is None:
            return None
        self.last_label = (label, index)
        return local.starts[index]

    def old_look(self, place):
        """What the old instruction at a place looks like; 0 without one."""
        if place is None:
            return 0
        start, end = place
        code = self.old.data[start : min(end, start + 16)]
        return predict.look(self.machine, self.machine.decode(code), code)
