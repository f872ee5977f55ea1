"""Go's function table, function by function along with the units of code; its contents give all positions."""

import gotable
import tables
from container import Damaged
from declared import Grammar
from gotable import DEFER, INLINE_INDEX, LINE, NONE, UNIT, i32
from models import M32
from tables.go import frame
from tables.go.builder import Builder, Function
from tables.go.data import Data
from tables.go.names import Names
from tables.go.steps import Steps, Under

FILES, LINES = 1, 2


class Moves:
    """Old source lines to new ones: edits move all lines below them alike."""

    def __init__(self):
        self.moves = {}  # by file: lines and how far each went

    def project(self, file, line):
        """The new line of an old one: moved like the nearest known line above, failing that below."""
        known = self.moves.get(file, {})
        above, below = [at for at in known if at <= line], [at for at in known if at >= line]
        nearest = max(above) if above else min(below) if below else None
        return i32(line + known.get(nearest, 0))

    def learn(self, file, line, to):
        if self.project(file, line) != to:
            self.moves.setdefault(file, {})[line] = i32(to - line)
        elif file not in self.moves:
            self.moves[file] = {line: 0}


class Subject:
    """A function about to be told: the old function that its code continues, and its code."""

    def __init__(self, functions, view):
        self.view, self.table, self.old, self.starts, self.rows = view, functions.old, None, [], []
        addr = view.source_addr() if view else None
        if addr is not None and self.table:
            index = self.table.function_at(addr - functions.texts[0] & M32)
            self.old = None if index is None else self.table.record(index)
        self.unchanged = bool(view and view.unit.unchanged)
        self.state = (self.old is not None) | self.unchanged << 1
        self.old_unit = self.old.scalars[UNIT] if self.old else 0
        self.size = view.unit.size if view else 0
        files = self.old_steps(FILES) or []
        self.files = [(end, functions.files.identity(self.old_unit, value)) for end, value in files]
        # Files of inlined code, by row of the old inline tree.
        self.inline_files, at = {}, 0
        for end, row in self.old_steps(INLINE_INDEX) or []:
            self.inline_files.setdefault(row, self.identity(at))
            at = end

    def old_steps(self, index):
        """The old table of a kind, unpacked, or None."""
        at = self.old.tables[index] if self.old and index < len(self.old.tables) else 0
        return self.table.steps(at) if at else None

    def identity(self, at):
        """The file of an offset of the old code."""
        found = [file for end, file in self.files if end > at]
        return found[0] if found else self.files[-1][1] if self.files else NONE

    def project(self, at):
        """Where an offset of the old code is in the new one."""
        source = self.view.source if self.view else None
        if source is None:
            return at
        if at >= source.size:
            return min(self.size + at - source.size, M32)
        return self.view.project(at) or 0

    def list_starts(self):
        """They are only needed where the code changed."""
        if not self.starts and self.view and not self.unchanged:
            self.starts = list(self.view.locals.starts)


class Functions(Data):
    def __init__(self, s, world, section):
        elf, old_elf = world.elf, world.old.elf
        self.numbers, self.old_word = elf.numbers, old_elf.numbers.word
        self.section, self.room, self.map = section, elf.sections[section].size, world.targets.map
        self.old = gotable.find(old_elf, world.old.section)
        old_module = gotable.module_data(old_elf, world.old.section)

        def bases(name):
            found = [(e, e.section(name)) for e in (old_elf, elf)]
            return [0 if index is None else e.sections[index].addr for e, index in found]

        self.texts, self.data_bases = bases(b".text"), bases(b".rodata")
        text = elf.section(b".text")
        self.code_len = 0 if text is None else elf.sections[text].size
        self.m, self.steps, self.lines = Grammar("tables/go/models.rs"), Steps(), Moves()
        self.frame, self.files = frame.code(s, self.old, self.texts, self.room, elf.numbers.width)
        self.module = (old_module, self.map.loose(old_module) + self.m.module(s) & M32)
        self.quantum = 1 if self.m.quantum(s) else world.old.machine.smallest
        self.builder = Builder(self.quantum, elf.numbers)
        self.names = Names(self.old, self.old.names if self.old else (0, 0))
        self.entry = self.end = self.last_data = self.last_away = self.missed = 0
        self.last_unit = self.last_line = self.history = 0
        # Old positions to new ones: of data, names, pointer masks, data in another section; first lines of functions.
        self.places, self.name_places, self.masks, self.moved, self.first_lines = {}, {}, {}, {}, {}
        if not self.frame.with_data:
            self.all_names(s)

    def fits(self):
        if len(self.builder) > self.room + 64:
            raise Damaged("Go's function table does not fit its section")

    def all_names(self, s):
        """All names at once, where the inline trees that hold most of them stand in another section."""
        count = (len(self.old.texts(self.old.names)) if self.old else 0) + self.m.names(s)
        for _ in range(max(count, 0)):
            name = self.names.code(s, 3, self.names.next())
            place, at = self.builder.add_name(name), self.names.place(self.names.last)
            if at is not None and self.old.string(self.old.names, at) == name:
                self.name_places.setdefault(at, place)
            self.fits()

    def extras(self, s):
        """Functions that are no unit."""
        for _ in range(self.m.extra(s)):
            self.function(s, self.entry + min(self.m.away(s), M32) & M32, None)

    def unit(self, s, view):
        """What begins at a finished unit."""
        entry = view.addr - self.texts[1] & M32
        if entry >= self.code_len:
            return
        self.extras(s)
        if self.m.is_function(s):
            self.function(s, entry, view)
        self.end = entry + view.unit.size

    def finish(self, s, made):
        self.extras(s)
        end = self.end + self.m.end(s)
        if not 0 <= end <= M32 or len(self.builder) + gotable.index_len(end) > self.room + 64:
            raise Damaged("Go's function table does not fit its section")
        self.frame.end = end
        data = self.builder.finish(self.frame)
        if len(data) != self.room:
            raise Damaged("Go's function table does not fit its section")
        made.sections[self.section] = data

    def function(self, s, entry, view):
        subject = Subject(self, view)
        was = subject.old.name if subject.old else None
        name = self.names.code(s, int(was is not None), self.names.next() if was is None else was)
        f = Function(self.name(s, name, was), self.scalars(s, subject))
        counts = (len(subject.old.tables), len(subject.old.data)) if subject.old else (4, 7)
        count, data = self.m.tables(s, old=counts[0]), self.m.data_(s, old=counts[1])
        if count < 3:
            raise Damaged("a Go function lacks its tables")
        f.tables = [None] * count
        total, limit, missed = None, self.room, 0
        # Files, then data with the inline tree, then the other tables.
        for index in sorted(range(count), key=lambda i: i != FILES):
            if index == 0:
                f.data = [self.data(s, kind, subject) for kind in range(data)]
            steps = self.table(s, subject, index, f.scalars[UNIT], total, limit, missed)
            if steps is not None:
                f.tables[index] = steps
                missed = (missed << 1 | self.steps.missed(min(index, 15))) & M32
                limit = max(limit - len(steps), 0)
                total = steps[-1][0] if total is None and steps else total
        self.builder.function(entry, f)
        self.entry = entry
        self.fits()

    def scalars(self, s, subject):
        guess, m, state = [0] * 7, self.m, subject.state
        if subject.old:
            guess = list(subject.old.scalars)
            if guess[DEFER]:
                guess[DEFER] = subject.project(guess[DEFER])
            guess[UNIT] = self.files.units.get(subject.old_unit, self.last_unit)
            guess[LINE] = self.lines.project(subject.identity(0), i32(guess[LINE])) & M32
        else:
            guess[UNIT], guess[LINE] = self.last_unit, self.last_line
        hit = m.scalars(s, state=state, h=self.history)
        self.history = (self.history << 1 | (not hit)) & M32
        if not hit:
            for column, value in enumerate(guess):
                if not m.scalar(s, column=column, state=state):
                    guess[column] = value + m.scalar_value(s, column=column, state=state) & M32
        guess[4:] = [value & 0xFF for value in guess[4:]]
        self.last_unit, self.last_line = guess[UNIT], guess[LINE]
        if subject.old:
            self.lines.learn(subject.identity(0), i32(subject.old.scalars[LINE]), i32(guess[LINE]))
        return guess

    def table(self, s, subject, index, unit, total, limit, missed):
        """One table over the code of a function, or None."""
        old_at = subject.old.tables[index] if subject.old and index < len(subject.old.tables) else 0
        column = min(index, 15)
        known = {"old": old_at != 0, "state": subject.state, "total": total is not None}
        if not self.m.has_table(s, column=column, **known):
            return None
        was, starts = subject.old_steps(index), [0]
        starts += [end for end, _ in was or []]
        keys = [subject.identity(at) for at in starts]
        subject.list_starts()
        under = Under(column, subject.unchanged, subject.starts, subject.size, total, self.quantum, limit, missed)

        def value(i, now):
            old = was[i][1]
            if index == FILES:
                return self.files.file(subject.old_unit, unit, old)
            if index == LINES:
                if now is not None:
                    self.lines.learn(keys[i], old, now)
                return self.lines.project(keys[i], old)
            if index == INLINE_INDEX and 0 <= old < len(subject.rows):
                return subject.rows[old]
            return old

        ends = None if was is None else [subject.project(end) for end, _ in was]
        return self.steps.code(s, under, ends, value)

    def name(self, s, name, old):
        """Position of a name: that where the old one went, of one that reads alike, or a new one."""
        seen, known = self.builder.names_like(name), self.name_places.get(old)
        known, place = known if known in seen else None, None
        if seen:
            place = known if old is not None else seen[0]
            given = {"known": known is not None, "old": old is not None, "seen": len(seen)}
            if not self.m.name_place(s, guessed=place is not None, **given):
                which = self.m.which_name(s)
                if which > len(seen):
                    raise Damaged("a name is not there")
                place = seen[which - 1] if which else None
        place = self.builder.add_name(name) if place is None else place
        if old is not None:
            self.name_places[old] = place
        return place


def begin(s, world):
    """At the first unit, where the table is modelled; else None."""
    chosen = world.choices.sections(tables.FUNCTIONS)
    return Functions(s, world, chosen[0]) if chosen else None


