"""Method image: the stages in their order (FORMAT.md, "Order of decoding an image")."""

import codings
import data
import layout
import tables
import text
from references import UnitCode
from container import EDITS, LITERALS, Damaged
from elf import Addresses, Elf, NoElf
from kept import Kept
from models import M32, M64
from predict import Projection
from tables import btf, names, objects, symbols
from tables.go import functions
from tables.go.words import Words as GoWords
from tables.index import Index
from tables.jumps import Jumps
from tables.orc import Orc
from tables.relocations import Relocations
from tables.unwind import Unwind
from tables.words import Words
from targets import CodeModels, Targets

LONGEST_PART, SHIFTS = 1 << 20, 8
LONGEST_PAD, REMEMBERED = 1 << 20, 256


class Streams:
    """A reader of each stream but edits and literals, of which there is one for each segment."""

    NAMES = "skeleton layout edits literals covers targets jumps pointers unwind exceptions symbols go bytes".split()

    def __init__(self, patch):
        for number, name in enumerate(self.NAMES, 1):
            if number not in (EDITS, LITERALS):
                setattr(self, name, codings.reader(patch.stream(number)))
        count = max(sum(row[0] == EDITS for row in patch.streams), 1)
        both = [[codings.reader(patch.stream(number, k)) for number in (EDITS, LITERALS)] for k in range(count)]
        self.segments = both


class Skeleton:
    """Headers of the new file, word by word against the old ones, and its section names."""

    def __init__(self, s, kept, old, size):
        self.s, self.m, self.kept, self.shifts = s, kept.grammar("pipeline/skeleton.rs"), kept, [0] * SHIFTS
        self.numbers = old.elf.numbers
        head = self.words(7, old.elf.head)
        if old.elf.is_object and self.numbers.get(head[16:18]) == 1:
            section_names = self.names(old.elf.name_bytes, True)
            table = self.rows(64 if head[4:5] == b"\2" else 40, old.elf.table_bytes)
        else:
            table = self.words(8, old.elf.table_bytes)
            section_names = self.names(old.elf.name_bytes, False)
        try:
            self.elf = Elf(head, table, section_names)
            self.check(size)
            self.addresses, self.regions = Addresses(self.elf), self.elf.regions(size)
        except NoElf:
            raise Damaged("its headers do not fit together")

    def check(self, size):
        elf = self.elf
        fits = elf.names < len(elf.sections) and elf.head_len == len(elf.head)
        fits = fits and elf.table[1] == len(elf.table_bytes)
        fits = fits and elf.sections[elf.names].size == len(elf.name_bytes)
        if not fits or any(s.end > size for s in elf.sections if s.in_file):
            raise Damaged("its headers do not fit together")

    def length(self, old):
        size = len(old) + self.m.length(self.s)
        if not 0 <= size <= LONGEST_PART:
            raise Damaged("its headers are too long")
        return size

    def word(self, old, at):
        """A word of the old file, with zeros behind the end."""
        return self.numbers.get(old[at : at + 8].ljust(8, b"\0"))

    def kind(self, first):
        """The type of a section, by the first word of its row: it stands behind the name."""
        return first >> 32 if self.numbers.order == "little" else first & M32

    def words(self, row, old):
        """A part, in rows of so many words."""
        s, m, size, out, history = self.s, self.m, self.length(old), b"", 0
        while len(out) < size:
            at = len(out)
            was, column = self.word(old, at), at // 8 % row
            same = m.same(s, column=column, history=history)
            history = (history << 1 | same) & M32
            if not same:
                was += self.shift(column)
            out += self.numbers.put(was, 8)
        return out[:size]

    def rows(self, row, old):
        """The section headers of an object, in rows of so many bytes."""
        s, m, size, out, history, following = self.s, self.m, self.length(old), b"", 0, 0
        name, end, link = 0, [0] * 3, [0] * 3
        while len(out) < size:
            index = following + m.row(s)
            following, moved, sort = index + 1, [], 0
            for column in range(row // 8):
                at = index * row + 8 * column
                was = self.word(old, at) if index >= 0 else 0
                foreseen = {0: name, 3: end[sort], 5: link[sort]}.get(column, 0)
                steady = m.steady(s, column=column, sort=sort, history=history)
                history = (history << 1 | steady) & M32
                moved.append(foreseen if steady else self.shift(column))
                value = was + moved[-1] & M64
                sort = {4: 1, 9: 1, 17: 2}.get(self.kind(value), 0) if column == 0 else sort
                out += self.numbers.put(value, 8)
            name, end[sort] = moved[0], moved[3] + moved[4] & M64
            link[sort] = moved[5] if len(moved) > 5 else 0
        return out[:size]

    def shift(self, column):
        """One of the last differences, or a new one; it moves to the front."""
        k = self.m.shift(self.s, column=column)
        if k > SHIFTS:
            raise Damaged("a header shift is unknown")
        shift = self.shifts[k - 1] if k else self.m.word(self.s, column=column) & M64
        place = self.shifts.index(shift) if shift in self.shifts else SHIFTS - 1
        del self.shifts[place]
        self.shifts.insert(0, shift)
        return shift

    def names(self, old, in_object):
        size, out = self.length(old), bytearray()
        if self.m.same_names(self.s) and size == len(old):
            return old
        if in_object and self.m.strings(self.s):
            return bytes(names.table(self.s, self.kept, old, size).table)
        while len(out) < size:
            was = old[len(out)] if len(out) < len(old) else 256
            out.append(self.m.byte(self.s, was=was, before=out[-1] if out else 0))
        return bytes(out)


def pair(old, new):
    """For each new section the old one of the same name, first with first, or None."""
    free, pairs = list(range(len(old.sections))), []
    for section in new.sections:
        found = next((i for i in free if old.sections[i].name == section.name), None)
        if found is not None:
            free.remove(found)
        pairs.append(found)
    return pairs


class Made:
    """What the tables made: whole sections, known bytes by new offsets, addresses of exception tables by unit, rows of
    symbol tables with the old ones that they continue."""

    def __init__(self):
        self.sections, self.known, self.exceptions, self.symbols = {}, [], {}, {}

    def settled(self):
        """Known bytes in order; what overlaps an earlier piece is dropped."""
        kept, end = [], 0
        for at, piece in sorted(self.known, key=lambda k: k[0]):
            if at >= end:
                kept.append((at, piece))
                end = at + len(piece)
        return kept


class Image:
    """A new file of `size` bytes; in a group streams and models go on from the image before."""

    def __init__(self, streams, old_data, size, kept=None):
        self.old, self.streams, self.made = layout.open_old(old_data), streams, Made()
        self.kept = kept or Kept()
        old, streams = self.old, self.streams
        if size > M32:
            raise Damaged("a file of 4 GiB or more is not coded so")
        skeleton = Skeleton(streams.skeleton, self.kept, old, size)
        self.elf, self.addresses, self.regions = skeleton.elf, skeleton.addresses, skeleton.regions
        self.pairs = pair(old.elf, self.elf)
        self.choices = tables.Choices(streams.skeleton, self.kept.grammar("tables/choices.rs"), self.elf)
        self.code = layout.Layout(streams.layout, self).code
        self.units = self.code.units
        bodies = self.text()
        self.covers = self.all_covers()
        starts = [self.code.addr(u.at) or 0 for u in self.units]
        self.targets = Targets(old, self.projection(bodies), starts)
        self.references(bodies)
        self.tables()

    def old_bytes(self, section):
        """The old section that a new one is paired with."""
        return self.old.section(self.pairs[section])

    def text(self):
        """The code of each unit, by segments."""
        bodies, parts = [], text.segments(self.units, len(self.streams.segments))
        for units, streams in zip(parts, self.streams.segments):
            coder = text.Text(self.old, *streams, self.kept)
            bodies += [coder.unit(unit) for unit in units]
        return bodies

    def is_data(self, region):
        """A region that goes through covers and bytes."""
        _, _, kind, section = region
        told = {self.elf.names, *self.choices.of, *(s.section for s in self.code.sections)}
        return kind == "gap" or kind == "section" and section not in told

    def is_generic(self, addr):
        """An address in a section that goes through covers and bytes."""
        r = self.addresses.range_of(addr)
        return r is not None and r.offset is not None and self.is_data((0, 0, "section", r.section))

    def hints(self):
        """The old offset expected against the start of each region."""
        end, old = 0, self.old.elf
        for _, size, kind, section in self.regions:
            start, length = end, size if kind == "gap" else 0
            if kind == "head":
                start, length = 0, old.head_len
            elif kind == "table":
                start, length = old.table
            elif kind == "section" and self.pairs[section] is not None:
                was = old.sections[self.pairs[section]]
                start, length = (was.offset, was.size) if was.in_file else (end, 0)
            end = start + length
            yield min(start, len(self.old.data))

    def all_covers(self):
        """Covers of all generic regions: new offset, old offset, length."""
        models, found = self.kept.lend("covers", data.CoverModels), []
        coder = data.Covers(models, len(self.old.data))
        for region, hint in zip(self.regions, self.hints()):
            if self.is_data(region):
                found += coder.region(self.streams.covers, region[0], region[1], hint)
        return found

    def projection(self, bodies):
        """The static projection: units, runs, covers, zero-filled sections, in this order."""
        old, spans = self.old, []
        for unit in self.units:
            addr = None if unit.source is None else old.code.addr(old.code.units[unit.source].at)
            if addr is not None:
                spans.append((addr, self.code.addr(unit.at), 0))
        for run in (run for body in bodies for run in body.runs):
            addr = old.code.addr(run.old_at)
            if addr is not None:
                spans.append((addr, self.code.addr(run.new_at), run.len))
        for new_at, old_at, size in self.covers:
            was, now = old.addresses.addr(old_at), self.addresses.addr(new_at)
            if was is not None and now is not None:
                spans.append((was, now, size))
        for now, was in zip(self.elf.sections, self.pairs):
            was = None if was is None else old.elf.sections[was]
            if was and was.is_loaded and now.is_loaded and not now.in_file:
                spans.append((was.addr, now.addr, was.size))
        return Projection(spans)

    def references(self, bodies):
        """References of the code unit by unit, and the tables that belong to each."""
        go = self.streams.go
        self.unwind, jumps, models = Unwind(self, self.streams), Jumps(self), self.kept.lend("targets", CodeModels)
        self.functions, self.orc, self.fields = functions.begin(go, self), Orc(self), objects.Fields()
        for section in self.code.sections:
            pads, out, before = Pads(self), bytearray(), None
            for number in section.units:
                unit = self.units[number]
                out += pads.fill(section.at + len(out), unit.at, before)
                view = UnitCode(self.old, unit, self.code.addr(unit.at), bodies[number], self.elf.is_object)
                view.references(self.streams.targets, models, self.targets)
                out += view.bytes
                jumps.unit(self.streams.jumps, view, self.made)
                if self.functions:
                    self.functions.unit(go, view)
                self.unwind.unit(view, number)
                self.orc.unit(view)
                if self.choices.sections(tables.OBJECTS):
                    self.fields.unit(view)
                before = unit
            out += pads.fill(section.at + len(out), section.at + section.len, before)
            self.made.sections[section.section] = bytes(out)

    def tables(self):
        """The tables of the whole file."""
        self.unwind.finish(self.made)
        Index(self).code(self.streams.unwind, self.made)
        self.orc.code(self.streams.unwind, self.made)
        if self.functions:
            self.functions.finish(self.streams.go, self.made)
        GoWords(self).code(self.streams.go, self.made)
        Relocations(self).code(self.streams.pointers, self.made)
        Words(self).code(self.streams.pointers, self.made)
        symbols.code(self.streams.symbols, self, self.made)
        objects.code(self.streams.pointers, self, self.made, self.fields)
        btf.code(self.streams.symbols, self, self.made)

    def file(self):
        """All regions in file order."""
        parts, known = [], self.made.settled()
        coder = data.Bytes(self.kept.lend("bytes", data.ByteModels), self.old.data)
        for region in self.regions:
            at, size, kind, section = region
            if kind in ("head", "table"):
                parts.append(self.elf.head if kind == "head" else self.elf.table_bytes)
            elif kind == "section" and section == self.elf.names:
                parts.append(self.elf.name_bytes)
            elif self.is_data(region):
                covers = [c for c in self.covers if at <= c[0] < at + size]
                parts.append(coder.region(self.streams.bytes, at, size, covers, known))
            elif section in self.made.sections:
                parts.append(self.made.sections[section])
            else:
                raise Damaged("its sections do not fit together")
        return b"".join(parts)


class Pads:
    """The padding of one section."""

    def __init__(self, image):
        self.image, self.m, self.seen = image, image.kept.grammar("pipeline/pads.rs"), {}

    def fill(self, start, stop, before):
        """The bytes between two units."""
        size, old, s = stop - start, self.image.old, self.image.streams.layout
        if size == 0:
            return b""
        if size > LONGEST_PAD:
            raise Damaged("padding is too long")
        guess, known = self.seen.get(size, bytes([old.machine.pad]) * size), False
        if before and before.source is not None:
            at, length = old.code.pad_after(before.source)
            known = length == size
            guess = old.data[at : at + size] if known else guess
        if not self.m.hit(s, known=known, len=size):
            out = bytearray()
            for _ in range(size):
                out.append(self.m.byte(s, last=out[-1] if out else 0, len=size))
            guess = bytes(out)
        if size <= REMEMBERED:
            self.seen[size] = guess
        return guess
