"""Units of code: those of the old file by its functions, those of the new one by the layout stream (FORMAT.md)."""

from bisect import bisect_right
from dataclasses import dataclass, field

import elf as elf_file
import entries
import frames
import gotable
import machine
from container import Damaged
from elf import EXECINSTR, Addresses, NoElf
from models import M32

SHORTEST_GAP, LONGEST_UNIT = 64, 1 << 20


@dataclass
class Unit:
    """Consecutive bytes of code; `source` is the old unit that it continues, or None."""

    at: int
    size: int
    other_mode: bool = False
    source: int | None = None
    unchanged: bool = False

    @property
    def end(self):
        return self.at + self.size


@dataclass
class CodeSection:
    section: int
    at: int
    len: int
    addr: int
    units: list = field(default_factory=list)  # indices, ascending


class Code:
    """The executable sections of a file, in file order, and their units."""

    def __init__(self, elf, addresses, functions=None):
        self.sections, self.units = [], []
        ranges = [r for r in addresses.ranges if r.offset is not None]
        for r in sorted(ranges, key=lambda r: r.offset):
            if elf.sections[r.section].flags & EXECINSTR:
                section = CodeSection(r.section, r.offset, r.len, r.addr)
                self.sections.append(section)
                if functions is not None:
                    first = len(self.units)
                    self._cut(section, functions)
                    section.units = range(first, len(self.units))

    def _cut(self, section, functions):
        """Rule 8, with functions as (address, size, mode)."""
        begin, end = section.addr, section.addr + section.len
        inside = [f for f in functions if f[0] >= begin]
        cursor, mode = begin, bool(inside) and inside[0][0] < end and inside[0][2]
        for start, size, other_mode in inside:
            if start < cursor or start + size > end:
                continue
            self._gap(section, cursor, start, mode)
            mode = other_mode
            self._unit(section.at + start - begin, size, mode)
            cursor = start + size
        self._gap(section, cursor, end, mode)

    def _gap(self, section, start, stop, mode):
        at, to = (section.at + place - section.addr for place in (start, stop))
        starts_section = at == section.at and at < to
        if starts_section or to - at >= SHORTEST_GAP:
            at = at if starts_section else at + 15 & ~15
            self._unit(at, to - at, mode)

    def _unit(self, at, size, mode):
        while size > LONGEST_UNIT:
            self.units.append(Unit(at, LONGEST_UNIT, mode))
            at, size = at + LONGEST_UNIT, size - LONGEST_UNIT
        self.units.append(Unit(at, size, mode))

    def section_at(self, at):
        return next((s for s in self.sections if 0 <= at - s.at < s.len), None)

    def unit_at(self, at):
        """Index of the unit that holds a file offset, or None."""
        i = bisect_right(self.units, at, key=lambda u: u.at) - 1
        return i if i >= 0 and at < self.units[i].end else None

    def addr(self, at):
        s = self.section_at(at)
        return None if s is None else s.addr + at - s.at

    def pad_after(self, index):
        """Offset and length of the padding behind a unit."""
        start = self.units[index].end
        s = self.section_at(self.units[index].at)
        to = self.units[index + 1].at if index + 1 in s.units else s.at + s.len
        return start, max(to - start, 0)


class OldImage:
    """What both sides read of the old file before the first symbol."""

    def __init__(self, data):
        self.data, self.elf = data, elf_file.read(data)
        self.machine = machine.of(self.elf.machine, self.elf.numbers)
        elf_file.demand(self.machine is not None)
        self.addresses = Addresses(self.elf)
        self.elf.regions(len(data))
        self.code = Code(self.elf, self.addresses, self._functions())

    def _functions(self):
        """Rule 7."""
        if self.elf.is_object:
            return entries.of_object(self)
        index = self.elf.section(b".eh_frame")
        found = []
        if index is not None and self.elf.sections[index].in_file:
            s = self.elf.sections[index]
            found = [(*bounds, False) for bounds in frames.functions(self.elf.numbers, self.data[s.offset : s.end], s.addr)]
        if not found:
            found = self.go_functions()
        if not found and self.machine.modes:
            found = entries.functions(self)
        return found

    def go_functions(self):
        table, text = gotable.section(self.elf), self.elf.section(b".text")
        if table is None or text is None or not self.elf.sections[text].in_file:
            return []
        bounds = gotable.bounds(self.section(table), self.elf.numbers.order, self.elf.sections[text], self.section(text))
        return [(*function, False) for function in bounds]

    def section(self, index):
        """The bytes of a section; none for None or one that is not in the file."""
        s = self.elf.sections[index] if index is not None else None
        return self.data[s.offset : s.end] if s and s.in_file else b""


def open_old(data):
    try:
        return OldImage(data)
    except NoElf:
        raise Damaged("the old file is no ELF file of the kind that is modelled")


class Layout:
    """The units of the new file, section by section."""

    def __init__(self, s, image):
        self.m, self.old = image.kept.grammar("layout/grammar.rs"), image.old
        self.code, old = Code(image.elf, image.addresses), image.old
        for section in self.code.sections:
            paired = image.pairs[section.section]
            old_section = next((s for s in old.code.sections if s.section == paired), None)
            first = len(self.code.units)
            self._section(s, old_section, section)
            section.units = range(first, len(self.code.units))

    def _section(self, s, old_section, section):
        m, old = self.m, self.old.code
        numbers = old_section.units if old_section else range(0)
        usual = self.usual_alignment(old_section) if old_section else 16
        expected, history, wholes, mode = numbers.start, 0, 0, False
        count = m.count(s) + len(numbers)
        if not 0 <= count <= section.len:
            raise Damaged("a section has an impossible number of functions")
        cursor, end = section.at, section.at + section.len
        for _ in range(count):
            h = history & 15
            follows = expected < len(old.units) and m.next(s, h=h, wholes=wholes)
            source = expected if follows else self._source(s, expected, h)
            history = history << 1 | follows
            unit = None if source is None else old.units[source]
            small = min(unit.size // 16, 15) if unit else 0
            unchanged = bool(unit and m.unchanged(s, wholes=wholes, follows=follows, small=small))
            if unit:
                wholes = (wholes << 1 | unchanged) & M32
                size = unit.size if unchanged else unit.size + m.change(s, small=small)
            else:
                size = min(m.size(s), 1 << 40)
            if self.old.machine.modes:
                known = unit is not None
                guess = unit.other_mode if known else mode
                mode = guess == bool(m.mode(s, known=known, expected=guess))
            alignment = self.expected_alignment(source, usual) if unit else usual
            here = section.addr + cursor - section.at
            predicted = -here % alignment
            gap = m.gap(s, alignment=alignment, predicted=predicted, follows=follows)
            start = cursor + predicted + gap
            if start < cursor or not 1 <= size <= LONGEST_UNIT or start + size > end:
                raise Damaged("a function lies outside its section")
            self.code.units.append(Unit(start, size, mode if self.old.machine.modes else False, source, unchanged))
            cursor = start + size
            if unit:
                expected = source + 1

    def _source(self, s, expected, h):
        """The old unit of a new one that is not the expected one, or None."""
        kind = self.m.kind(s, h=h)
        if kind == 0:
            return None
        source = expected + 1 + self.m.skip(s, h=h) if kind == 1 else expected + self.m.jump(s)
        if source == -1:
            return None
        if not 0 <= source < len(self.old.code.units):
            raise Damaged("a function continues one that is not there")
        return source

    def usual_alignment(self, section):
        """The highest of 16, 8, 4, 2 that nine tenths of the section's units keep."""
        starts = [section.addr + self.old.code.units[i].at - section.at for i in section.units]
        most = len(starts) - len(starts) // 10
        for alignment in (16, 8, 4, 2):
            if starts and sum(start % alignment == 0 for start in starts) >= most:
                return alignment
        return 1

    def expected_alignment(self, index, usual):
        """What the new unit is aligned to, going by the old one: at most 64."""
        code = self.old.code
        unit = code.units[index]
        section = code.section_at(unit.at)
        addr = section.addr + unit.at - section.at
        before = unit.at - code.units[index - 1].end if index > section.units.start else 0
        kept = min(addr & -addr, 64) if addr else 64
        return kept if before >= 16 else min(kept, usual)
