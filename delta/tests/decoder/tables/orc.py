"""Lists of places in a kernel's code, and what `.orc_unwind` says of each (FORMAT.md, stream 9)."""

from bisect import bisect_right

import tables
from container import Damaged
from machine.insn import word
from models import M32
from tables.landmarks import Landmarks

SAME, CHANGED, FRESH, JUMP = range(4)
DISTANCE, ENTRY = 4, 6
START, UNKNOWN, OLD = 31, 30, 0
AHEAD = 64


def entries_of(elf, index):
    """The section that says what is at the places of a list, or None."""
    s, entries = elf.sections[index], elf.section(tables.ORC_ENTRIES)
    if s.name != tables.ORC_PLACES or entries is None:
        return None
    fits = elf.sections[entries].in_file and elf.sections[entries].size == s.size // DISTANCE * ENTRY
    return entries if fits else None


def entry(data, i):
    parts = (data[i * ENTRY + at : i * ENTRY + at + 2] for at in (0, 2, 4))
    return tuple(int.from_bytes(part, "little") if len(part) == 2 else 0 for part in parts)


class Orc:
    """All lists of a file; `events` are ends of instructions of a role in units that changed."""

    def __init__(self, world):
        self.world, self.events = world, []
        self.lists, self.chosen = world.choices.sections(tables.PLACES), world.choices.sections(tables.ORC)

    def unit(self, view):
        if view.unit.unchanged or not self.lists and not self.chosen:
            return
        landmarks = Landmarks(view)
        landmarks.fill()
        self.events.append((view.addr, START))
        self.events += [(view.addr + landmarks.starts[k + 1] & M32, role) for k, role in landmarks.events(0)]

    def code(self, s, made):
        world, said = self.world, {}
        self.events.sort()
        for index in self.lists:
            entries = entries_of(world.elf, index)
            said[index] = entries if entries in self.chosen else None
        self.m = world.kept.grammar("tables/orc.rs")
        if any(entries not in said.values() for entries in self.chosen):
            raise Damaged("what is said of places is without them")
        for index, entries in said.items():
            places, told = List(self, index, entries).code(s)
            made.sections[index] = places
            if entries is not None:
                made.sections[entries] = told


class List:
    def __init__(self, orc, index, entries):
        world, self.events = orc.world, orc.events
        self.section, self.has_entries = world.elf.sections[index], entries is not None
        self.m, paired = orc.m, world.pairs[index]
        data, said = world.old_bytes(index), world.old_bytes(entries) if entries is not None else b""
        addr, self.old = 0 if paired is None else world.old.elf.sections[paired].addr, []
        for i in range(len(data) // DISTANCE):
            was = addr + DISTANCE * i + word(data, DISTANCE * i) & M32
            now = world.targets.map.project(was)
            if now is not None:
                self.old.append((was, now, entry(said, i)))
        self.list = int(not self.has_entries)
        self.next, self.history, self.follows = 0, 0, False
        self.addr, self.last, self.shift, self.event = 0, (0, 0, 0), (0, 0, 0), 0

    def code(self, s):
        places, said = bytearray(), bytearray()
        for at in range(0, self.section.size // DISTANCE * DISTANCE, DISTANCE):
            self.row(s)
            places += (self.addr - self.section.addr - at & M32).to_bytes(4, "little")
            for half in self.last if self.has_entries else ():
                said += half.to_bytes(2, "little")
        return bytes(places), bytes(said)

    def row(self, s):
        if self.next >= len(self.old):
            return self.fresh(s)
        steady = False
        if self.next and self.follows:
            before, expected = self.old[self.next - 1 : self.next + 1]
            steady = (expected[0] - before[0] - expected[1] + before[1]) & M32 == 0
        what = self.m.row(s, list=self.list, steady=steady, h=self.history)
        self.history = (self.history << 2 | what) & M32
        if what == FRESH:
            return self.fresh(s)
        changed = what == CHANGED
        if what == JUMP:
            self.next += self.m.jump(s, list=self.list)
            if not 0 <= self.next < len(self.old):
                raise Damaged("a place continues one that is not there")
            changed = self.m.changed(s, list=self.list)
        _, addr, told = self.old[self.next]
        self.next += 1
        self.follows = True
        if changed and self.has_entries:
            told = self.entry(s, OLD, told)
        else:
            self.shift = (0, 0, 0)
        self.go_on(addr, told)

    def fresh(self, s):
        """A place that continues none."""
        self.follows, role = False, UNKNOWN
        ahead = self.events[self.event : self.event + AHEAD]
        if ahead and self.m.there(s, list=self.list, h=self.history):
            for n, (addr, role) in enumerate(ahead):
                if self.m.here(s, role=role, n=min(n, 15), h=self.history, before=self.last[0]):
                    break
        else:
            addr = self.addr + self.m.away(s, list=self.list) & M32
        told = (0, 0, 0)
        if self.has_entries:
            self.shift = (0, 0, 0)
            told = self.entry(s, role, self.last)
            self.shift = (0, 0, 0)
        self.go_on(addr, told)

    def entry(self, s, role, start):
        told, shift = [], []
        for i, was in enumerate(start):
            away = self.m.part(s, i=i, role=role, last=self.shift[i], was=was) & 0xFFFF
            told.append(was + away & 0xFFFF)
            shift.append(away)
        self.shift = tuple(shift)
        return tuple(told)

    def go_on(self, addr, told):
        self.addr, self.last = addr, told
        self.event = bisect_right(self.events, addr, key=lambda event: event[0])
