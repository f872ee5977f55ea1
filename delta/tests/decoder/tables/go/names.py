"""Names of Go's table: the expected one, another one of the old file, or a new one spelled out."""

from bisect import bisect_left

from container import Damaged
from declared import Grammar
from models import hash

NEXT, OLD = 0, 1
LONGEST = 1 << 16


class Names:
    """Over the strings of a part of the old table."""

    def __init__(self, old, part):
        self.table, self.part = old, part
        self.old = old.strings(part) if old else []
        self.m, self.last, self.spelled, self.history = Grammar("tables/go/names.rs"), -1, b"", 0

    def place(self, index):
        return self.old[index] if 0 <= index < len(self.old) else None

    def next(self):
        """Position of the string behind the last one, or None."""
        return self.place(self.last + 1)

    def code(self, s, kind, expected):
        """A name; `expected` is the position of the old one that should be it, or None."""
        if expected is not None:
            hit = self.m.hit(s, kind=kind, h=self.history)
            self.history = self.history << 1 | (not hit)
            if hit:
                i = bisect_left(self.old, expected)
                if i < len(self.old) and self.old[i] == expected:
                    self.last = i
                return self.table.string(self.part, expected)
        way = self.m.way(s, kind=kind, expected=expected is not None)
        if way not in (NEXT, OLD):
            return self.spell(s)
        index = self.last + (1 if way == NEXT else self.m.away(s, kind=kind))
        if self.place(index) is None:
            raise Damaged("a name is not there")
        self.last = index
        return self.table.string(self.part, self.old[index])

    def spell(self, s):
        common = self.m.prefix(s, len=len(self.spelled))
        name = bytearray(self.spelled[:common])

        def tail(n):
            h = n
            for byte in name[-n:]:
                h = hash(h, byte)
            return h

        while byte := self.m.byte(s, tails=[tail(1), tail(2), tail(4)]):
            name.append(byte)
            if len(name) > LONGEST:
                raise Damaged("a name does not end")
        self.spelled = bytes(name)
        return self.spelled
