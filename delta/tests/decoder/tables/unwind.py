"""`.eh_frame` and `.eh_frame_hdr`: kinds of CIE, the FDE of each unit, the records in order (FORMAT.md, stream 9)."""

from dataclasses import dataclass, field

import frames
import tables
from container import Damaged
from declared import Grammar
from encoded import Encoding
from file_numbers import Numbers
from models import M32
from predict import Locals
from tables.exceptions import Exceptions, OldTables
from tables.landmarks import Landmarks
from tables.order import Order
from tables.cfa import Distances
from tables.programs import Programs
from targets import Guess, Models, Site

PERSONALITY_SITE, LSDA_SITE = 41, 42
KINDS, LONGEST_CIE = 250, 1 << 12
FDE, CIE, STRAY, END = range(4)
ABSENT, OWN, SHARED, OTHER = range(4)


def nonsense():
    return Damaged("a frame record makes no sense")


@dataclass
class Kind:
    """A CIE, wherever it stands: its bytes behind length and id, the pointer to the personality zeroed."""

    body: bytes
    field: tuple | None  # encoding and place of that pointer
    lsda: Encoding | None
    factor: int
    personality: int | None = None


def kind_of(body, numbers):
    """The kind of a CIE by its body, or None; the personality stays unknown."""
    record = numbers.put(len(body) + 4) + bytes(4) + body
    cie = frames.cie(numbers, record, 0)
    if cie is None or cie.pointer != frames.PCREL_SDATA4 or not cie.sized:
        return None
    lsda = place = None
    if cie.lsda is not None and (lsda := Encoding.of(cie.lsda, numbers)) is None:
        return None
    if cie.personality:
        encoding, at = Encoding.of(cie.personality[0], numbers), cie.personality[1] - 8
        if encoding is None or at + encoding.size > len(body):
            return None
        place = (encoding, at)
        body = body[:at] + bytes(encoding.size) + body[at + encoding.size :]
    return Kind(bytes(body), place, lsda, cie.code_factor)


@dataclass
class Row:
    """A record of the old section."""

    at: int
    end: int
    kind: int
    is_cie: bool


class OldFrames:
    """The old section taken apart: kinds in order of appearance, rows in order, the row of each unit."""

    def __init__(self, data=b"", addr=0, numbers=Numbers(), code=None):
        self.data, self.addr, self.numbers = data, addr, numbers
        self.kinds, self.rows, self.of_unit = [], [], {}
        cies = {}
        for at, end, of in frames.records(numbers, data):
            if of is None:
                cies[at] = self.kind(at, end, numbers)
                if cies[at] is not None:
                    self.rows.append(Row(at, end, cies[at], True))
                continue
            kind = cies.get(of)
            body = None if kind is None else frames.fde(numbers, data, at, end, addr, self.kinds[kind].lsda)
            if body is None:
                continue
            unit = self.unit_of(code, body)
            if unit is not None:
                self.of_unit.setdefault(unit, len(self.rows))
            self.rows.append(Row(at, end, kind, False))

    def kind(self, at, end, numbers):
        if end - at > LONGEST_CIE:
            return None
        kind = kind_of(self.data[at + 8 : end], numbers)
        if kind is None:
            return None
        if kind.field:
            encoding, place = kind.field
            place += at + 8
            try:
                kind.personality = encoding.read(self.data, place, self.addr + place & M32)
            except ValueError:
                return None
        for number, known in enumerate(self.kinds):
            if (known.body, known.personality) == (kind.body, kind.personality):
                return number
        if len(self.kinds) == KINDS:
            return None
        self.kinds.append(kind)
        return len(self.kinds) - 1

    @staticmethod
    def unit_of(code, body):
        section = next((s for s in code.sections if 0 <= body.start - s.addr < s.len), None)
        if section is None:
            return None
        at = section.at + body.start - section.addr
        index = code.unit_at(at)
        exact = index is not None and (code.units[index].at, code.units[index].size) == (at, body.size)
        return index if exact else None

    def fde(self, row):
        r = self.rows[row]
        return frames.fde(self.numbers, self.data, r.at, r.end, self.addr, self.kinds[r.kind].lsda)


@dataclass
class Entry:
    """The FDE of a unit of the new file."""

    unit: int
    lsda: tuple  # how, and the owner or address
    old: int | None
    program: bytes
    padding: int
    kind: int


@dataclass
class Stray:
    """An FDE that describes no unit."""

    start: int
    size: int
    kind: int
    lsda: int | None
    program: bytes


@dataclass
class Unwind:
    """The unwind tables of a file."""

    world: object
    streams: object
    section: int | None = None
    entries: list = field(default_factory=list)
    kinds: list = field(default_factory=list)

    def __post_init__(self):
        world = self.world
        chosen = [world.choices.sections(t) for t in (tables.FRAMES, tables.EXCEPTIONS, tables.FRAME_INDEX)]
        if not any(chosen):
            return
        if not chosen[0]:
            raise Damaged("it has unwind tables without frames")
        self.section, old = chosen[0][0], world.old
        header = world.elf.sections[self.section]
        self.len, self.addr = header.size, header.addr
        self.old, paired = OldFrames(), world.pairs[self.section]
        if paired is not None:
            self.old = OldFrames(world.old_bytes(self.section), old.elf.sections[paired].addr, old.elf.numbers, old.code)
        self.exceptions = None
        if chosen[1]:
            section = chosen[1][0]
            paired = world.pairs[section]
            addr = 0 if paired is None else old.elf.sections[paired].addr
            pointers = [(self.old.fde(row), unit) for unit, row in self.old.of_unit.items()]
            pointers = [(fde.lsda, unit) for fde, unit in pointers if fde.lsda is not None]
            self.exceptions = Exceptions(world, section, OldTables(world.old_bytes(section), addr, pointers))
        kept = world.kept
        self.m, self.m_target = kept.grammar("tables/frames.rs"), kept.lend("frames", Models)
        self.programs = Programs(kept.grammar("tables/frames/programs.rs"))
        self.last_kind = self.last_padding = self.history = 0
        self.length = 0
        self.code_kinds(self.streams.unwind)

    def code_kinds(self, s):
        """The kinds of CIE, against the old ones."""
        m, old = self.m, self.old.kinds
        self.kind_of_old = {}
        count = m.count(s)
        if count > KINDS:
            raise nonsense()
        for number in range(count):
            expected = next((j for j in range(len(old)) if j not in self.kind_of_old), 0)
            away = m.kind_before(s)
            if away == 0:
                body = bytearray()
                for _ in range(min(m.length(s), LONGEST_CIE)):
                    body.append(m.byte(s, last=body[-1] if body else 0))
                kind = kind_of(bytes(body), self.world.elf.numbers)
            else:
                index = expected + away - 1
                if index >= len(old):
                    raise nonsense()
                self.kind_of_old[index] = number
                kind = kind_of(old[index].body, self.world.elf.numbers)
            if kind is None:
                raise nonsense()
            if kind.field and not m.null(s):
                was = old[index].personality if away else None
                kind.personality = self.target(s, Site(PERSONALITY_SITE), was)
            self.kinds.append(kind)

    def target(self, s, site, old_target):
        return self.world.targets.code(s, self.m_target, site, Guess(old_target), Locals())

    def unit(self, view, number):
        """The FDE of a unit, and its exception table."""
        if self.section is None:
            return
        s, m, unit = self.streams.unwind, self.m, view.unit
        old_row = self.old.of_unit.get(unit.source)
        old = None if old_row is None else self.old.fde(old_row)
        state = (old is not None) | (unit.source is not None) << 1
        present = m.present(s, state=state, h=self.history)
        self.history = self.history << 1 | present
        if not present:
            return
        kind = self.kind(s, old_row)
        landmarks, lsda = Landmarks(view), (ABSENT, None)
        if kind.lsda:
            lsda = self.lsda(s, view, number, old)
        if lsda[0] == OWN:
            if self.exceptions is None:
                raise nonsense()
            self.exceptions.unit(self.streams.exceptions, view, landmarks, number, old.lsda if old else None)
        program = self.old.data[slice(*old.program)] if old else None
        made, old_len = self.programs.code(s, view, landmarks, Distances(kind.factor, self.world.elf.numbers), program)
        self.length += len(made)
        if self.length > self.len:
            raise Damaged("frames are too long")
        total = 17 + (kind.lsda.size if kind.lsda else 0) + len(made)
        old_padding = None if old_len is None else len(program) - old_len
        padding = self.padding(s, total, len(made), old_len, old_padding)
        self.entries.append(Entry(number, lsda, old_row, made, padding, self.last_kind))

    def kind(self, s, old_row):
        """The kind of the unit's CIE."""
        expected = None if old_row is None else self.kind_of_old.get(self.old.rows[old_row].kind)
        first = self.last_kind if expected is None else expected
        state = (expected is not None) | (first == self.last_kind) << 1
        if self.m.kind(s, state=state, first=first, last=self.last_kind):
            self.last_kind = first
        else:
            self.last_kind = self.m.other_kind(s, first=first, last=self.last_kind)
        if self.last_kind >= len(self.kinds):
            raise nonsense()
        return self.kinds[self.last_kind]

    def lsda(self, s, view, number, old):
        """Which exception table the unit has."""
        state = 0
        if old and old.has_lsda:
            owner = self.exceptions.old.owner(old.lsda) if self.exceptions and old.lsda is not None else None
            state = 1 if old.lsda is None else 4 if owner is None else 2 if owner == view.unit.source else 3
        modelled = self.exceptions is not None
        how = self.m.lsda(s, state=state, unchanged=view.unit.unchanged, modelled=modelled)
        if how == SHARED:
            owner = number - self.m.shared(s)
            if owner < 0:
                raise nonsense()
            return how, owner
        if how == OTHER:
            return how, self.target(s, Site(LSDA_SITE, addr=view.addr), old.lsda if old else None)
        return how, None

    def padding(self, s, total, size, old_len, old_padding):
        """The number of `nop`s behind a record that takes `total` bytes without them, its program `size`."""
        if old_len == size:
            guess = old_padding
        elif old_len is not None:
            whole = (total + old_len - min(size, total + old_len) + old_padding) % 8 == 0
            guess = -total % (8 if whole else 4)
        else:
            guess = -total % (4 if self.last_padding & 1 else 8)
        same, padding = (old_len == size) | (old_len is not None) << 1, guess
        if not self.m.padded(s, same=same, last=self.last_padding, total=total):
            padding = self.m.padding(s, total=total, guess=guess)
        if padding + total > self.len:
            raise Damaged("frames are too long")
        self.last_padding = ((total + padding) % 8 != 0) | (padding >= 8) << 1
        return padding

    def finish(self, made):
        """Puts the sections together."""
        if self.section is None:
            return
        rows, places = self.rows(self.streams.unwind), {}
        if self.exceptions:
            order = [row.unit for row in rows if isinstance(row, Entry) and row.lsda[0] == OWN]
            section = self.exceptions.section
            addr = self.world.elf.sections[section].addr
            made.sections[section], places = self.exceptions.finish(self.streams.exceptions, addr, order)
        data = self.assemble(self.streams.unwind, rows, places)
        made.exceptions = places
        made.sections[self.section] = data
        for section in self.world.choices.sections(tables.FRAME_INDEX)[:1]:
            header = self.world.elf.sections[section]
            made.sections[section] = search_table(self.world.elf.numbers, data, self.addr, header.addr, header.size)

    def rows(self, s):
        """The records in their order."""
        m, rows, history, last_start = Grammar("tables/frames/rows.rs"), [], 0, self.addr
        item_of = {e.old: item for item, e in enumerate(self.entries) if e.old is not None}
        order = Order([e.kind for e in self.entries], [item_of.get(row) for row in range(len(self.old.rows))])
        left, size = len(self.entries), 0
        while True:
            place = order.cursor
            old = self.old.rows[place] if place < len(self.old.rows) else None
            state = 2 if old is None else int(old.is_cie)
            state |= (order.neighbour() is not None) << 2 | (left == 0) << 3
            kind = m.row(s, state=state, history=history)
            history = (history << 2 | kind) & M32
            if kind == END:
                self.m_rows = m
                return rows
            if kind == FDE:
                rows.append(self.entries[order.next(s)])
                left = max(left - 1, 0)
            elif kind == CIE:
                number = self.row_cie(s, m, old)
                if old and old.is_cie:
                    order.step_over(place)
                order.enter(number)
                size += len(self.kinds[number].body)
                rows.append(self.kinds[number])
            else:
                stray = self.stray(s, m, last_start)
                last_start = stray.start
                size += len(stray.program)
                rows.append(stray)
            size += 8
            if size > self.len:
                raise Damaged("frame records are out of order")

    def row_cie(self, s, m, old):
        expected = self.kind_of_old.get(old.kind) if old and old.is_cie else None
        if expected is not None and m.follows(s):
            number = expected
        else:
            number = m.cie(s, first=255 if expected is None else expected)
        if number >= len(self.kinds):
            raise Damaged("frame records are out of order")
        return number

    def stray(self, s, m, last_start):
        number = m.stray_kind(s)
        if number >= len(self.kinds):
            raise nonsense()
        start, size, lsda = last_start + m.start(s), m.size(s), None
        if self.kinds[number].lsda:
            addr = m.lsda(s)
            lsda = addr - 1 if addr else None
        if not 0 <= start <= M32 or size > M32 or (lsda or 0) > M32:
            raise nonsense()
        return Stray(start, size, number, lsda, self.programs.raw(s))

    def assemble(self, s, rows, places):
        """The bytes of the section; `places` are the addresses of exception tables by units."""
        out, latest = bytearray(), {}
        for row in rows:
            at = len(out)
            if isinstance(row, Kind):
                latest[id(row)] = at
                out += self.world.elf.numbers.put(len(row.body) + 4) + bytes(4) + row.body
                if row.field:
                    encoding, place = row.field
                    place += at + 8
                    encoding.write(out, place, self.addr + place, row.personality)
            else:
                kind = self.kinds[row.kind]
                if id(kind) not in latest:
                    raise Damaged("frame records are out of order")
                self.put(out, row, kind, latest[id(kind)], places)
            if len(out) > self.len:
                raise Damaged("frame records are out of order")
        if self.m_rows.zeros(s):
            return bytes(out.ljust(self.len, b"\0"))
        while len(out) < self.len:
            out.append(self.m_rows.byte(s))
        return bytes(out)

    def put(self, out, row, kind, cie, places):
        at, padding = len(out), 0
        if isinstance(row, Stray):
            start, size, target = row.start, row.size, row.lsda
        else:
            unit = self.world.units[row.unit]
            start, size, padding = self.world.code.addr(unit.at), unit.size, row.padding
            how, owner = row.lsda
            owner = row.unit if how == OWN else owner
            if how in (OWN, SHARED) and owner not in places:
                raise Damaged("frame records are out of order")
            target = places[owner] if how in (OWN, SHARED) else owner
        field = kind.lsda.size if kind.lsda else 0
        words = [13 + field + len(row.program) + padding, at + 4 - cie, start - self.addr - at - 8, size]
        for word in words:
            out += self.world.elf.numbers.put(word)
        out.append(field)
        if kind.lsda:
            place = len(out)
            out += bytes(field)
            kind.lsda.write(out, place, self.addr + place, target)
        out += row.program + bytes(padding)


def search_table(numbers, data, frames_addr, addr, size):
    """`.eh_frame_hdr`: the sorted search table of a finished `.eh_frame`."""
    rows = [(start - addr & M32, frames_addr + at - addr & M32) for at, start, _ in frames.fdes(numbers, data, frames_addr)]
    rows.sort(key=lambda row: row[0] - (row[0] >> 31 << 32))
    out = bytearray([1, 0x1B, 0x03, 0x3B])
    for word in [frames_addr - addr - 4, len(rows), *(word for row in rows for word in row)]:
        out += numbers.put(word)
    return bytes(out[:size].ljust(size, b"\0"))
