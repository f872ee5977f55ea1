"""`.gcc_except_table`: the exception tables of the functions, and how they stand in the section (stream 10)."""

from dataclasses import dataclass

from container import Damaged
from encoded import OMIT
from tables import lsda
from tables.order import Order

ALIGNMENT = 4


class OldTables:
    """The old section, and which unit owns which place in it: of several units, the first."""

    def __init__(self, data, addr, pointers):
        self.data, self.addr, owners = data, addr, {}
        for target, unit in sorted(pointers):
            if 0 <= target - addr < len(data):
                owners.setdefault(target - addr, unit)
        self.starts = sorted(owners.items())
        self.places = {start: place for place, (start, _) in enumerate(self.starts)}

    def at(self, addr):
        """The table at an address, by its place in order, or None."""
        return None if addr is None else self.places.get(addr - self.addr)

    def owner(self, addr):
        place = self.at(addr)
        return None if place is None else self.starts[place][1]

    def extent(self, place):
        """Address and bytes, from the start of a table to that of the next."""
        start = self.starts[place][0]
        end = self.starts[place + 1][0] if place + 1 < len(self.starts) else len(self.data)
        return self.addr + start, self.data[start:end]


@dataclass
class Entry:
    """A table of the new file."""

    unit: int
    old: int | None
    old_len: int | None  # if the old table was understood
    data: bytes
    table: lsda.Lsda | None


class Exceptions:
    def __init__(self, world, section, old):
        self.world, self.section, self.old = world, section, old
        self.m, self.entries = world.kept.grammar("tables/exceptions.rs"), []
        self.lsdas = world.kept.lend("lsda", lsda.Coder).turn(world)
        self.len, self.last_way = world.elf.sections[section].size, 0
        # Old bytes that may still be read; tables past them count as absent.
        self.left = 16 * (self.len + len(old.data))

    def unit(self, s, view, landmarks, number, old_addr):
        """The table of a unit."""
        place, was, old_len = self.old.at(old_addr), None, None
        if place is not None:
            addr, data = self.old.extent(place)
            if len(data) <= self.left:
                self.left -= len(data)
                found = lsda.read(data, addr, self.world.old.elf.numbers)
                was, old_len = found if found else (None, None)
        limit, table = self.len - sum(len(e.data) for e in self.entries), None
        if self.m.plain(s):
            table = self.lsdas.code(s, view, landmarks, was, max(limit, 0))
            data = table.emit(self.world.elf.numbers)
            landmarks.sites += [(site.start, site.end) for site in table.sites]
        else:
            data = self.raw(s, limit)
        if len(data) > limit:
            raise Damaged("exception tables are too long")
        self.entries.append(Entry(number, place, old_len, data, table))

    def raw(self, s, limit):
        size = self.m.length(s)
        if size > limit:
            raise Damaged("exception tables are too long")
        out = bytearray()
        for _ in range(size):
            out.append(self.m.byte(s, last=out[-1] if out else 0))
        return bytes(out)

    def finish(self, s, addr, by_frames):
        """The section, and the address of each unit's table; `by_frames` are the units in the order of their FDEs."""
        of_unit = {e.unit: e for e in self.entries}
        entries = [of_unit[unit] for unit in by_frames if unit in of_unit]
        if len(entries) != len(self.entries):
            raise Damaged("an exception table belongs to no frame")
        item_of = {e.old: item for item, e in enumerate(entries) if e.old is not None}
        order = Order([0] * len(entries), [item_of.get(place) for place in range(len(self.old.starts))])
        order.enter(0)
        out, places, before = bytearray(), {}, None
        for _ in entries:
            entry = entries[order.next(s)]
            self.gap(s, out, before, entry)
            before = entry
            at = len(out)
            out += entry.data
            if entry.table:
                entry.table.fill_types(out, addr + at, self.world.elf.numbers)
            places[entry.unit] = addr + at
        self.gap(s, out, before, None)
        if len(out) != self.len:
            raise Damaged("exception tables do not fill their section")
        return bytes(out), places

    def gap(self, s, out, before, following):
        """What stands before the next table: nothing, zeros that align it, what stood behind the old one, bytes."""
        limit, usual, old = self.len - len(out), -len(out) % ALIGNMENT, b""
        if not out:
            old = self.old.data[: self.old.starts[0][0] if self.old.starts else 0]
        elif before and before.old is not None and before.old_len is not None:
            old = self.old.extent(before.old)[1][before.old_len :]
        old = old.lstrip(b"\0")
        table = following and following.table
        typed = 2 if not following else int(not table or table.types_encoding != OMIT)
        way = self.last_way = self.m.way(s, usual=usual, typed=typed, old=bool(old), last=self.last_way)
        if way in (1, 2):
            filler = bytes(usual) + (old if way == 2 else b"")
            if len(filler) > limit:
                raise Damaged("exception tables are too long")
            out += filler
        elif way == 3:
            out += self.raw(s, limit)
