"""Relocations of an object, which is not linked yet: each row continues an old one (FORMAT.md, stream 8)."""

import tables
from container import Damaged
from elf import EXECINSTR, RELA
from models import M32, M64
from tables import symbols
from tables.relocations import Row, rows_of

SAME, CHANGED, FRESH, SKIP = range(4)
RECENT, BEHIND, SECTION = 15, 4, 3


class Names:
    """Old symbols to new ones, and the section of each symbol that is a section's."""

    def __init__(self, world, index, made):
        old, paired, link = world.old, world.pairs[index], world.elf.sections[index].link
        data, self.old = old.section(named(old.elf, paired)), []
        size = symbols.width(old.elf.is_64)
        for at in range(0, len(data) - size + 1, size):
            self.old.append(section_of(symbols.read(data, at, old.elf)))
        rows, source = made.symbols.get(link, ((), ()))
        self.new, self.of_old = [section_of(row) for row in rows], {}
        for i, j in enumerate(source):
            if j is not None and j < len(self.old):
                self.of_old[j] = i


def named(elf, index):
    """The table of symbols that the rows of a table name, or None."""
    link = None if index is None else elf.sections[index].link
    return link if link is not None and link < len(elf.sections) and elf.sections[link].in_file else None


def section_of(row):
    return row.section if row.info & 15 == SECTION else 0


def inside(elf, sections, info):
    """The loaded section whose symbol a row names, or None."""
    number = sections[info >> 32] if info >> 32 < len(sections) else 0
    s = elf.sections[number] if 0 < number < len(elf.sections) else None
    return s if s and s.is_loaded else None


def code(s, world, made):
    names, m = {}, world.kept.grammar("tables/objects.rs")
    for index in world.choices.sections(tables.OBJECTS):
        link = world.elf.sections[index].link
        if link not in names:
            names[link] = Names(world, index, made)
        made.sections[index] = Table(world, m, names[link], index).code(s)


class Table:
    """The rows of one table."""

    def __init__(self, world, m, names, index):
        self.world, self.m, self.names, self.index = world, m, names, index
        elf, old, paired = world.elf, world.old, world.pairs[index]
        self.old = [] if paired is None or not tables.object_row(old.elf, old.elf.sections[paired]) else rows_of(old, paired)
        self.was, self.now = None if paired is None else self.target(old.elf, paired), self.target(elf, index)
        self.addends = elf.sections[index].kind == RELA
        self.is_code = all(s and s.is_loaded and s.flags & EXECINSTR for s in (self.was, self.now))
        self.next, self.history, self.last, self.step = 0, 0, Row(), 0
        self.recent, self.by_symbol, self.by_kind = [], {}, {}

    @staticmethod
    def target(elf, index):
        """The section that a table is for."""
        info = elf.sections[index].info
        return elf.sections[info] if info < len(elf.sections) else None

    def code(self, s):
        elf, out = self.world.elf, b""
        word = 8 if elf.is_64 else 4
        for _ in range(elf.sections[self.index].size // tables.object_row(elf, elf.sections[self.index])):
            row = self.row(s)
            self.go_on(row)
            info = row.info if elf.is_64 else row.info >> 32 << 8 | row.info & 0xFF
            for field in (row.offset, info, row.addend)[: 3 if self.addends else 2]:
                out += (field & (1 << 8 * word) - 1).to_bytes(word, "little")
        return out

    def foresee(self, index):
        """What becomes of an old row, and how unsure that is."""
        world, names, old = self.world, self.names, self.old[index]
        projection, unsure = world.targets.map, 0
        before = self.old[index - 1].offset if index else 0
        offset = self.last.offset + old.offset - before & M64
        if self.is_code:
            addr = self.was.addr + old.offset & M32
            unsure |= projection.project(addr) is None
            offset = projection.loose(addr) - self.now.addr & M32
        symbol = names.of_old.get(old.info >> 32, old.info >> 32)
        info, addend = symbol << 32 | old.info & M32, old.addend
        was, now = inside(world.old.elf, names.old, old.info), inside(world.elf, names.new, info)
        if self.addends and was and now:
            behind = BEHIND if self.is_code else 0
            into = addend + behind & M64
            if into == was.size:
                addend = now.size - behind & M64
            elif into < was.size:
                addr = was.addr + into & M32
                unsure |= (projection.project(addr) is None) << 1
                away = projection.loose(addr) - now.addr & M32
                addend = (away - (away >> 31 << 32)) - behind & M64
        return Row(offset, info, addend), unsure

    def kind(self, row):
        return (self.is_code | row.info << 1) & M32

    def row(self, s):
        if self.next >= len(self.old):
            return self.new(s)
        at, m = self.next, self.m
        row, unsure = self.foresee(at)
        what = m.row(s, site=self.kind(self.old[at]), unsure=unsure, h=self.history)
        self.history = (self.history << 2 | what) & M32
        if what == FRESH:
            return self.new(s)
        changed = what == CHANGED
        if what == SKIP:
            at += 1 + m.skip(s, site=self.kind(self.old[at]))
            if at >= len(self.old):
                raise Damaged("a relocation continues one that is not there")
            row, unsure = self.foresee(at)
            changed = m.changed(s, unsure=unsure) != 0
        self.next = at + 1
        return self.change(s, self.kind(self.old[at]), row, unsure) if changed else row

    def change(self, s, kind, row, unsure):
        """A row that is not as foreseen."""
        m, missed, known = self.m, 0, {"site": kind, "unsure": unsure}
        offset, info, addend = row.offset, row.info, row.addend
        if not m.hit(s, i=0, missed=missed, **known):
            missed |= 1
            offset = self.offset(s, kind)
        if not m.hit(s, i=1, missed=missed, **known):
            missed |= 2
            info = self.info(s, kind)
        if self.addends and not m.hit(s, i=2, missed=missed, **known):
            within = inside(self.world.elf, self.names.new, info) is not None
            addend = addend + m.addend(s, kind=info & M32, inside=within, foreseen=True) & M64
        return Row(offset, info, addend)

    def new(self, s):
        """A row that continues none."""
        kind = self.kind(self.last)
        offset, info, addend = self.offset(s, kind), self.info(s, kind), 0
        if self.addends:
            within = inside(self.world.elf, self.names.new, info) is not None
            addend = self.by_symbol.get(info >> 32, 0) if within else self.by_kind.get(info & M32, 0)
            addend = addend + self.m.addend(s, kind=info & M32, inside=within, foreseen=False) & M64
        return Row(offset, info, addend)

    def offset(self, s, kind):
        away = self.m.offset(s, site=kind, last=min(self.step, 255))
        return self.last.offset + away & M64

    def info(self, s, kind):
        """Type and symbol."""
        m, before = self.m, self.last.info & M32
        told = before + m.kind(s, site=kind, before=before) & M32
        recent = m.recent(s, site=kind, kind=told)
        if 0 < recent <= len(self.recent):
            return self.recent[recent - 1] << 32 | told
        return ((self.last.info >> 32) + m.symbol(s, site=kind) & M32) << 32 | told

    def go_on(self, row):
        symbol = row.info >> 32
        self.recent = [symbol, *(r for r in self.recent if r != symbol)][:RECENT]
        if inside(self.world.elf, self.names.new, row.info):
            self.by_symbol[symbol] = row.addend
        else:
            self.by_kind[row.info & M32] = row.addend
        self.step, self.last = row.offset - self.last.offset & M64, row
