"""Symbol tables: each row continues an old one, at the address that the rest of the file gives it (stream 11)."""

from dataclasses import dataclass, replace

import tables
from container import Damaged
from elf import STRTAB
from models import M32, M64, hash
from tables import hashes, names
from tables.ground import Expected, Ground, Seen
from tables.places import Places

FIELDS, INSERT, SKIP, JUMP, BACK = range(5)
NOTHING, FRESH, OLD, AGREES = range(4)
STEPS, LIKE, GUESSES = 64, 256, 6


@dataclass(frozen=True)
class Row:
    name: int = 0
    info: int = 0
    other: int = 0
    section: int = 0
    value: int = 0
    size: int = 0

    @property
    def is_function(self):
        return self.info & 15 in (2, 10)

    @property
    def has_address(self):
        return 0 < self.section < 0xFF00 and self.info & 15 != 6


def width(is_64):
    return 24 if is_64 else 16


def away(row, elf):
    """How far the value of a row is from the address that it means."""
    if not row.has_address:
        return 0
    if elf.is_object:
        return -elf.sections[row.section].addr if row.section < len(elf.sections) else 0
    return elf.base


def read(data, at, elf):
    """The row at a place; addresses are those of the section map."""
    sizes = (4, 1, 1, 2, 8, 8) if elf.is_64 else (4, 4, 4, 1, 1, 2)
    fields = []
    for size in sizes:
        fields.append(elf.numbers.get(data[at : at + size]))
        at += size
    name, info, other, section, value, size = fields if elf.is_64 else [fields[0], *fields[3:], *fields[1:3]]
    row = Row(name, info, other, section, value, size)
    return replace(row, value=value - away(row, elf) & M64)


def put(row, elf):
    value, is_64 = row.value + away(row, elf) & M64, elf.is_64
    kind = [(row.info, 1), (row.other, 1), (row.section, 2)]
    place = [(value, 8 if is_64 else 4), (row.size, 8 if is_64 else 4)]
    fields = [(row.name, 4), *(kind + place if is_64 else place + kind)]
    return b"".join(elf.numbers.put(v, size) for v, size in fields)


def names_of(elf, index):
    """The string table of a symbol table, or None."""
    link = elf.sections[index].link
    fits = link < len(elf.sections) and link != elf.names
    return link if fits and elf.sections[link].kind == STRTAB and elf.sections[link].in_file else None


def code(s, world, made):
    """All string tables, each with the symbol tables that link to it and what hangs on them."""
    elf, ground = world.elf, None
    models = [world.kept.grammar(f"tables/symbols/{file}.rs") for file in ("grammar", "fields")]
    for strings in world.choices.sections(tables.NAMES):
        text = names.code(s, world, strings)
        made.sections[strings] = bytes(text.table)
        for index in world.choices.sections(tables.SYMBOLS):
            if names_of(elf, index) != strings:
                continue
            ground = ground or Ground(world, made.exceptions)
            table = Table(world, models, ground, text, index)
            rows = table.code(s)
            made.symbols[index] = rows, table.source
            made.sections[index] = b"".join(put(row, elf) for row in rows)
            for section in world.choices.sections(tables.VERSIONS):
                if elf.sections[section].link == index:
                    made.sections[section] = versions(s, world, table.source, section)
            for section in world.choices.sections(tables.HASHES):
                if elf.sections[section].link == index:
                    all_names = [text.name(row.name) for row in rows]
                    made.sections[section] = hashes.code(s, world, all_names, section)


def versions(s, world, source, section):
    """`.gnu.version`: the version of each row as that of the row it continues."""
    m, old, out, last = world.kept.grammar("tables/symbols/versions.rs"), world.old_bytes(section), b"", 0
    if world.elf.sections[section].size != 2 * len(source):
        raise Damaged("the versions are not as many as the symbols")
    for j in source:
        guess = None
        if j is not None and 2 * j + 2 <= len(old):
            guess = world.old.elf.numbers.get(old[2 * j : 2 * j + 2])
        if guess is not None and m.same(s, guess=guess):
            last = guess
        else:
            last = m.value(s, last=last, guess=guess) & 0xFFFF
        out += world.elf.numbers.put(last, 2)
    return out


class Table:
    """The rows of one table against the old ones."""

    def __init__(self, world, models, ground, text, index):
        self.world, self.ground, self.text, self.index = world, ground, text, index
        (self.m, self.fm), elf, old = models, world.elf, world.old_bytes(index)
        size = width(elf.is_64)
        if elf.sections[index].size % size:
            raise Damaged("a symbol table ends inside a row")
        self.count = elf.sections[index].size // size
        self.old = [read(old, at, world.old.elf) for at in range(0, len(old) - size + 1, size)]
        # From each old row on, the first whose name is still there; the first row that each old string names.
        n = len(self.old)
        self.alive, self.row_of, self.used = [n] * (n + 1), {}, set()
        for j in reversed(range(n)):
            name = self.old[j].name
            self.alive[j] = j if text.project(name) is not None else self.alive[j + 1]
            string = text.find(text.old_starts, name)
            if string is not None and text.old_starts[string] == name:
                self.row_of[string] = j
        ground.set_free(row for j, row in enumerate(self.old) if self.alive[j] == j)
        self.seen, self.places, self.source = Seen(len(elf.sections)), Places(), []
        # The next string that no old row names, the string behind the last row's, the unit behind the last function's.
        self.fresh, self.string, self.unit = 0, 1, 0
        self.last, self.like = Row(), {}

    def expect(self, j):
        old = self.old[j]
        return self.ground.expect(self.seen, old, self.text.project(old.name) or 0)

    def skipped(self, j):
        return j < len(self.old) and (j in self.used or self.alive[j] != j)

    def expected(self):
        """The next old row that was not continued yet and whose name is still there."""
        n = len(self.old)
        j = self.alive[min(self.places.expected, n)]
        for _ in range(STEPS):
            if j < n and j in self.used:
                j = self.alive[j + 1]
        self.places.expected = j
        return j

    def suggested(self, expected):
        """What follows in the string table: how it relates to the expected row, and its old row."""
        if self.string >= len(self.text.source):
            return NOTHING, None
        j = self.row_of.get(self.text.source[self.string])
        if j is None:
            return FRESH, None
        return (NOTHING if j in self.used else AGREES if j == expected else OLD), j

    def code(self, s):
        rows, history, n = [], 0, len(self.old)
        for _ in range(self.count):
            source = expected = self.expected()
            follow, other = self.suggested(expected)
            e = self.expect(expected) if expected < n else Expected(Row())
            new = e.row
            known = {"trust": e.trust, "follow": follow, "info": new.info, "section": new.section}
            if self.m.follows(s, history=history, **known):
                if expected >= n:
                    raise Damaged("a symbol continues one that is not there")
                history = history << 2 & M32
            else:
                source, by_string = self.other_source(s, expected, follow, other, history)
                history = (history << 2 | 1 + (source is None)) & M32
                if source is None:
                    new = self.insert(s, by_string)
                else:
                    e = self.expect(source) if source != expected else e
                    new = e.row
                    if source == expected or not self.m.moved(s, trust=e.trust, history=history):
                        new = self.fields(s, e, self.old[source])
            self.seen.learn(e, None if source is None else self.old[source], new)
            self.go_on(new)
            rows.append(new)
            self.source.append(source)
            if source is not None:
                self.places.go(source, self.skipped)
                self.used.add(source)
        return rows

    def other_source(self, s, expected, follow, other, history):
        """The old row of one that is not as expected, None for a new row, and whether the string table said so."""
        if follow in (FRESH, OLD) and self.m.by_string(s, follow=follow, history=history):
            return other if follow == OLD else None, True
        kind, source = self.m.kind(s, history=history), expected
        if kind == INSERT:
            return None, False
        if kind == SKIP:
            source = expected + self.m.skip(s, history=history)
        elif kind == BACK:
            left, which = self.places.left(self.skipped), self.m.back(s, history=history)
            source = left[which] if which < len(left) else len(self.old)
        elif kind != FIELDS:
            source = expected + self.m.jump(s)
        if not 0 <= source < len(self.old):
            raise Damaged("a symbol continues one that is not there")
        return source, False

    def go_on(self, row):
        """Moves on behind a row."""
        if row.is_function:
            unit = self.ground.unit(row.value)
            self.unit = self.unit if unit is None else unit + 1
        self.last = row
        string = self.text.find(self.text.starts, row.name)
        self.string = 1 << 64 if string is None else string + 1

    def fields(self, s, e, old):
        """A row that continues an old one but is not as expected."""
        m, new, flags = self.fm, e.row, 0

        def same(field):
            nonlocal flags
            told = m.same(s, field=field, flags=flags, trust=e.trust)
            flags = flags << 1 | (not told)
            return told

        if not same(0):
            guess = m.guess(s, trust=e.trust)
            if guess:
                value = e.values[guess] if guess < len(e.values) else 0
            else:
                value = self.value(s, new, e.row.value)
            new = replace(new, value=value, size=self.ground.resize(old, value))
        if not same(1):
            new = replace(new, size=self.size(s, new))
        if not same(2):
            new = replace(new, name=self.name(s))
        if not same(3):
            new = self.info(s, new)
        if not same(4):
            new = replace(new, section=m.section(s, expected=new.section) & 0xFFFF)
        return new

    def insert(self, s, by_string):
        """A row without an old one: of the kind that names like it had."""
        name = self.text.starts[self.string] if by_string else self.name(s)
        slot = 0
        for byte in self.text.name(name)[:6]:
            slot = hash(slot, byte)
        slot %= LIKE
        like = self.like.get(slot, Row())
        new = replace(like, name=name)
        if not self.fm.like(s, info=like.info, slot=slot):
            new = self.info(s, new)
            section = self.fm.new_section(s, info=new.info, last_section=self.last.section)
            new = replace(new, section=section & 0xFFFF)
        base = self.seen.after(new.section) if new.has_address else 0
        table = self.ground.exception(self.seen, new)
        new = replace(new, value=self.value(s, new, base if table is None else table))
        unit = self.ground.unit(new.value) if new.is_function else None
        if unit is not None:
            new = replace(new, size=self.ground.units[unit][1])
        if not self.fm.like_size(s, info=new.info, section=new.section):
            new = replace(new, size=self.size(s, new))
        self.like[slot] = new
        return new

    def name(self, s):
        """A name: counted from the next string that no old row has."""
        source, starts = self.text.source, self.text.starts
        while self.fresh < len(source) and source[self.fresh] is not None:
            self.fresh += 1
        index = self.fresh + self.fm.string(s)
        if not 0 <= index < len(starts) - 1:
            raise Damaged("a symbol's name is not there")
        if source[index] is None and index >= self.fresh:
            self.fresh = index + 1
        return starts[index] + self.fm.into(s) & M32

    def info(self, s, new):
        info = self.fm.info(s, info=new.info, last_section=self.last.section)
        return replace(new, info=info, other=self.fm.other(s, info=info, other=new.other))

    def value(self, s, new, base):
        """A value: a unit of code counted from the last one, or an address near `base`."""
        m, ground = self.fm, self.ground
        if m.way(s, info=new.info, section=new.section):
            return base + m.value(s, info=new.info, section=new.section) & M64
        is_free = m.is_free(s)
        start = sum(unit < self.unit for unit in ground.free) if is_free else self.unit
        index = start + m.unit(s, is_free=is_free, last_info=self.last.info)
        if is_free:
            index = ground.free[index] if 0 <= index < len(ground.free) else -1
        return ground.units[index][0] if 0 <= index < len(ground.units) else 0

    def size(self, s, new):
        more = self.fm.size(s, info=new.info, section=new.section, last_size=self.last.size)
        return new.size + more & M64
