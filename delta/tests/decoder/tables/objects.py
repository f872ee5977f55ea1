"""Relocations of an object, which is not linked yet: each row continues an old one (FORMAT.md, stream 8)."""

from bisect import bisect_left, bisect_right

import tables
from container import Damaged
from elf import EXECINSTR, RELA
from machine.insn import open_away
from models import M32, M64
from tables import symbols
from tables.relocations import Row, rows_of

SAME, CHANGED, FRESH, SKIP = range(4)
RECENT, BEHIND, SECTION = 15, 4, 3


class Names:
    """Old symbols to new ones, and the section of each symbol that is a section's."""

    def __init__(self, world, link, made):
        old, pairs = world.old, world.pairs
        paired = pairs[link] if link < len(pairs) else None
        self.old, self.code, was = [], [], []
        if paired is not None and old.elf.sections[paired].in_file:
            data, size = old.section(paired), symbols.width(old.elf.is_64)
            was = [symbols.read(data, at, old.elf) for at in range(0, len(data) - size + 1, size)]
            self.old = [section_of(row) for row in was]
            self.code = code_rows(world, paired)
        rows, source = made.symbols.get(link, ((), ()))
        self.new, self.of_old = [section_of(row) for row in rows], {}
        for i, j in enumerate(source):
            if j is not None and j < len(self.old):
                self.of_old[j] = i
        if rows:
            self.went(world, was, rows)

    def went(self, world, was, rows):
        """Labels that are called by numbers: the symbol at the address that the old one's goes to, if there is one."""
        known = {}
        for i, row in enumerate(rows):
            if is_local(row):
                known.setdefault((row.value, row.info), []).append(i)
        for i, row in enumerate(was):
            addr = world.targets.map.project(row.value) if is_local(row) else None
            there = known.get((addr, row.info), ())
            if there and self.of_old.get(i) not in there:
                self.of_old[i] = there[0]


def target(elf, index):
    """The section that a table is for."""
    info = elf.sections[index].info
    return elf.sections[info] if info < len(elf.sections) else None


def is_code(s):
    return bool(s and s.is_loaded and s.flags & EXECINSTR)


def code_rows(world, symbols):
    """Old rows for code that name symbols of a table: where the field goes, whether no cover says so, run, and row."""
    old, projection, out = world.old, world.targets.map, []
    for index, s in enumerate(old.elf.sections):
        if not tables.object_row(old.elf, s) or s.link != symbols or not is_code(target(old.elf, index)):
            continue
        last, run = 0, 0
        for row in rows_of(old, index):
            addr = target(old.elf, index).addr + row.offset & M32
            run += row.offset < last
            last = row.offset
            out.append((projection.loose(addr), projection.project(addr) is None, run, row))
    return sorted(out, key=lambda known: known[:2])


def is_local(row):
    """Whether a symbol that is no section has an address and is not known everywhere."""
    return row.has_address and row.info & 15 != SECTION and row.info >> 4 == 0 and row.value <= M32


def section_of(row):
    return row.section if row.info & 15 == SECTION else 0


def inside(elf, sections, info):
    """The loaded section whose symbol a row names, or None."""
    number = sections[info >> 32] if info >> 32 < len(sections) else 0
    s = elf.sections[number] if 0 < number < len(elf.sections) else None
    return s if s and s.is_loaded else None


class Fields:
    """The open fields of new code by address, and what the instruction of each is known by."""

    def __init__(self):
        self.all = []

    def unit(self, view):
        machine, p = view.machine, 0
        scanner = machine.scanner()
        for insn in view.shapes:
            code, here = view.window(p), view.addr + p
            field = scanner.field(insn, code, here)
            if field and open_away(machine, field, code, insn.len, here) is not None:
                self.all.append((view.addr + p + field.at & M32, machine.site(code[: insn.len], field)))
            scanner.go_on(insn, code, here)
            p += insn.len

    def within(self, s):
        """Addresses and sites of those in a section."""
        found = sorted((open for open in self.all if s.addr <= open[0] < s.addr + s.size), key=lambda open: open[0])
        return [open[0] for open in found], [open[1] for open in found]


def code(s, world, made, fields):
    names, m = {}, world.kept.grammar("tables/objects.rs")
    for index in world.choices.sections(tables.OBJECTS):
        link = world.elf.sections[index].link
        if link not in names:
            names[link] = Names(world, link, made)
        made.sections[index] = Table(world, m, names[link], fields, index).told(s)


class Table:
    """The rows of one table."""

    def __init__(self, world, m, names, fields, index):
        self.world, self.m, self.names, self.index = world, m, names, index
        elf, old, paired = world.elf, world.old, world.pairs[index]
        self.addends, self.code = elf.sections[index].kind == RELA, target(elf, index)
        if is_code(self.code):
            end = self.code.addr + self.code.size
            went = [known for known in names.code if self.code.addr <= known[0] < end]
            self.old = sorted(went, key=lambda known: known[2])
        else:
            rows = () if paired is None or not tables.object_row(old.elf, old.elf.sections[paired]) else rows_of(old, paired)
            self.old, self.code = [(0, False, 0, row) for row in rows], None
        self.open, self.sites = fields.within(self.code) if self.code else ([], [])
        self.next, self.history, self.last, self.step, self.passed = 0, 0, Row(), 0, 0
        self.recent, self.symbols, self.by_symbol, self.by_kind = [], {}, {}, {}

    def told(self, s):
        elf, out = self.world.elf, b""
        word = 8 if elf.is_64 else 4
        for _ in range(elf.sections[self.index].size // tables.object_row(elf, elf.sections[self.index])):
            row = self.row(s)
            self.go_on(row)
            info = row.info if elf.is_64 else row.info >> 32 << 8 | row.info & 0xFF
            for field in (row.offset, info, row.addend)[: 3 if self.addends else 2]:
                out += elf.numbers.put(field, word)
        return out

    def foresee(self, index):
        """What becomes of an old row, and how unsure that is."""
        world, names, (place, unsure, _, old) = self.world, self.names, self.old[index]
        projection = world.targets.map
        before = self.old[index - 1][3].offset if index else 0
        offset = self.last.offset + old.offset - before & M64
        if self.code:
            offset = place - self.code.addr & M32
        symbol = names.of_old.get(old.info >> 32, old.info >> 32)
        info, addend = symbol << 32 | old.info & M32, old.addend
        was, now = inside(world.old.elf, names.old, old.info), inside(world.elf, names.new, info)
        if self.addends and was and now:
            behind = BEHIND if self.code else 0
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
        return ((self.code is not None) | row.info << 1) & M32

    def sight(self):
        """What of the field of the next old row and the next open one."""
        if not self.code:
            return 0
        if self.passed >= len(self.open):
            return 1
        if self.next >= len(self.old):
            return 5
        open, place = self.open[self.passed], self.old[self.next][0]
        return 2 if open == place else 3 if open < place else 4

    def before(self):
        """Old rows behind the next one, at most 15, whose field stands before the next open one too."""
        open, behind = self.open[self.passed] if self.passed < len(self.open) else 0, 0
        for place, *_ in self.old[self.next + 1 : self.next + 16]:
            if place >= open:
                break
            behind += 1
        return behind

    def row(self, s):
        if self.next >= len(self.old):
            return self.new(s)
        at, m = self.next, self.m
        row, unsure = self.foresee(at)
        what = min(m.row(s, site=self.kind(self.old[at][3]), unsure=unsure, sight=self.sight(), h=self.history), SKIP)
        self.history = (self.history << 2 | what) & M32
        if what == FRESH:
            return self.new(s)
        changed = what == CHANGED
        if what == SKIP:
            at += 1 + m.skip(s, site=self.kind(self.old[at][3]), before=self.before())
            if at >= len(self.old):
                raise Damaged("a relocation continues one that is not there")
            row, unsure = self.foresee(at)
            changed = m.changed(s, unsure=unsure) != 0
        self.next = at + 1
        return self.change(s, self.kind(self.old[at][3]), row, unsure) if changed else row

    def change(self, s, kind, row, unsure):
        """A row that is not as foreseen."""
        m, missed, known = self.m, 0, {"site": kind, "unsure": unsure}
        offset, info, addend = row.offset, row.info, row.addend
        if not m.hit(s, i=0, missed=missed, **known):
            missed |= 1
            offset = self.offset(s, kind)
        if not m.hit(s, i=1, missed=missed, **known):
            missed |= 2
            info = self.info(s, kind, offset)
        if self.addends and not m.hit(s, i=2, missed=missed, **known):
            within = inside(self.world.elf, self.names.new, info) is not None
            addend = addend + m.addend(s, kind=info & M32, inside=within, foreseen=True) & M64
        return Row(offset, info, addend)

    def new(self, s):
        """A row that continues none."""
        kind = self.kind(self.last)
        offset, addend = self.offset(s, kind), 0
        info = self.info(s, kind, offset)
        if self.addends:
            within = inside(self.world.elf, self.names.new, info) is not None
            addend = self.by_symbol.get(info >> 32, 0) if within else self.by_kind.get(info & M32, 0)
            addend = addend + self.m.addend(s, kind=info & M32, inside=within, foreseen=False) & M64
        return Row(offset, info, addend)

    def offset(self, s, kind):
        if self.passed < len(self.open):
            open = self.passed + self.m.open(s, site=kind, sight=self.sight()) - 1
            if self.passed <= open < len(self.open):
                return self.open[open] - self.code.addr & M64
        away = self.m.offset(s, site=kind, last=min(self.step, 255))
        return self.last.offset + away & M64

    def look(self, offset):
        """What the instruction of the open field there is known by; 0 if there is none."""
        addr = self.code.addr + offset & M64 if self.code else 0
        found = bisect_left(self.open, addr)
        return self.sites[found] if found < len(self.open) and self.open[found] == addr else 0

    def info(self, s, kind, offset):
        """Type and symbol of a row whose field is known."""
        m, before, look = self.m, self.last.info & M32, self.look(offset)
        told = before + m.kind(s, site=kind, before=before, look=look) & M32
        recent = m.recent(s, site=kind, kind=told, look=look)
        if 0 < recent <= len(self.recent):
            return self.recent[recent - 1] << 32 | told
        last = self.symbols.get(told, self.last.info >> 32)
        return (last + m.symbol(s, site=kind, kind=told) & M32) << 32 | told

    def go_on(self, row):
        symbol = row.info >> 32
        self.recent = [symbol, *(r for r in self.recent if r != symbol)][:RECENT]
        if inside(self.world.elf, self.names.new, row.info):
            self.by_symbol[symbol] = row.addend
        else:
            self.by_kind[row.info & M32] = row.addend
        self.symbols[row.info & M32] = symbol
        if self.code:
            self.passed = bisect_right(self.open, self.code.addr + row.offset)
        self.step, self.last = row.offset - self.last.offset & M64, row
