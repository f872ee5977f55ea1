"""What the rest of the file says of a symbol's address and size (FORMAT.md, "Expected rows")."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace

from models import M32, M64

# Where a guess comes from: the unit that continues the old one, the static projection, the learned map, the bounds of
# the section, the symbol before in the same section, the exception table behind that one.
UNIT, PROJECTED, LEARNED, BOUND, SEQUENCE, EXCEPTION = range(6)
AT_FIRST = [60000, 58000, 57000, 30000, 20000, 62000]


def group(row):
    """Rows that trust the sources alike."""
    return (row.section & 31) << 1 | row.is_function


@dataclass
class Expected:
    """A row that is expected: guesses of its value without repeats, best first; what the sources said."""

    row: object
    values: list = field(default_factory=list)
    sources: list = field(default_factory=lambda: [None] * 6)
    trust: int = 0


class Seen:
    """What was seen of the symbols so far."""

    def __init__(self, sections):
        self.right, self.sections = {}, sections
        # By section: value and size of the last symbol, and the value of the old one that it continued.
        self.last = {}

    def of(self, row):
        return self.right.setdefault(group(row), list(AT_FIRST))

    def learn(self, e, old, row):
        if row.has_address and row.section < self.sections:
            was = old.value if old and old.has_address else self.last.get(row.section, (0, 0, None))[2]
            self.last[row.section] = (row.value, row.size, was)
        if old:
            right = self.of(e.row)
            for k, guess in enumerate(e.sources):
                if guess is not None:
                    # Rounded towards zero.
                    away = (65535 if guess == row.value else 0) - right[k]
                    right[k] += away // 16 if away > 0 else -(-away // 16)

    def after(self, section):
        """Where a new symbol of a section may follow the last one."""
        value, size, _ = self.last.get(section, (0, 0, None))
        return value + size & M64


class Ground:
    """Units of both files by address."""

    def __init__(self, world, exceptions):
        self.world, self.exceptions, self.free = world, sorted(exceptions.values()), []
        places = [(world.code.addr(unit.at), unit) for unit in world.units]
        self.units = sorted((addr, unit.size) for addr, unit in places)
        self.starts = [addr for addr, _ in self.units]
        # The first new unit that continues each old one, and the new section of each old one.
        self.of_old, self.sections = {}, {}
        for addr, unit in places:
            if unit.source is not None:
                self.of_old.setdefault(unit.source, self.units.index((addr, unit.size)))
        for new, old in enumerate(world.pairs):
            if old is not None:
                self.sections[old] = new

    def unit(self, addr):
        """Index of the unit that starts at an address, or None."""
        i = bisect_left(self.starts, addr)
        return i if i < len(self.starts) and self.starts[i] == addr else None

    def old_unit(self, addr):
        old = self.world.old
        at = old.addresses.offset(addr) if addr <= M32 else None
        index = None if at is None else old.code.unit_at(at)
        return index if index is not None and old.code.units[index].at == at else None

    def set_free(self, rows):
        """Finds the units that none of these old rows will name."""
        named = {self.of_old.get(self.old_unit(r.value)) for r in rows if r.is_function and r.has_address}
        self.free = [i for i in range(len(self.units)) if i not in named]

    def exception(self, seen, row):
        """The exception table behind the last symbol of the row's section, if it is where such tables are."""
        sections = self.world.elf.sections
        if row.section >= len(sections) or not row.has_address:
            return None
        section, last = sections[row.section], seen.last.get(row.section, (0, 0, None))[0]
        following = bisect_right(self.exceptions, last)
        if following == len(self.exceptions):
            return None
        addr = self.exceptions[following]
        return addr if 0 <= addr - section.addr < section.size else None

    def expect(self, seen, old, name):
        """What continues an old row whose name is at `name` now."""
        world, row = self.world, replace(old, name=name)
        if old.section and old.section < len(world.old.elf.sections):
            row = replace(row, section=self.sections.get(old.section, 0))
        if not old.has_address or old.value > M32:
            return Expected(row, [old.value])
        e, old_unit = Expected(row), self.old_unit(old.value)
        new_unit, known = self.of_old.get(old_unit), world.targets.learned.get(old.value)
        last = seen.last.get(row.section) if row.section < len(world.elf.sections) else None
        e.sources = [
            None if new_unit is None else self.units[new_unit][0],
            world.targets.map.project(old.value),
            known.target if known else None,
            self.bound(old, row),
            last[0] + old.value - last[2] & M64 if last and last[2] is not None else None,
            self.exception(seen, row),
        ]
        right, first = seen.of(row), None
        for k in sorted(range(6), key=lambda k: -right[k]):
            guess = e.sources[k]
            if guess is None:
                continue
            if first is None:
                first, e.trust = guess, 1 + k + 7 * (right[k] >> 13)
            else:
                e.trust |= (1 if guess == first else 1 << 5) << 8 + k
            if guess not in e.values:
                e.values.append(guess)
        e.values = e.values or [world.targets.map.loose(old.value)]
        e.row = replace(row, value=e.values[0], size=self.size(old, old_unit, e.values[0]))
        return e

    def bound(self, old, row):
        olds, news = self.world.old.elf.sections, self.world.elf.sections
        if old.section >= len(olds) or row.section >= len(news):
            return None
        was, now = olds[old.section], news[row.section]
        if old.value == was.addr:
            return now.addr
        return now.addr + now.size & M64 if old.value == was.addr + was.size else None

    def resize(self, old, value):
        """The size of what continues an old row, if its value is as told."""
        return self.size(old, self.old_unit(old.value), value) if old.has_address else old.size

    def size(self, old, old_unit, value):
        new_unit = self.unit(value)
        if old_unit is None or new_unit is None or not old.is_function:
            return old.size
        was = self.world.old.code.units[old_unit].size
        return self.units[new_unit][1] if was == old.size else old.size
