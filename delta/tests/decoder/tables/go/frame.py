"""What stands beside Go's functions: files, and the file lists of compilation units."""

from bisect import bisect_left
from dataclasses import dataclass, field

import gotable
from container import Damaged
from declared import Grammar
from gotable import NONE, RECORD
from models import M32
from tables.go.names import Names

SKIP, INSERT, REPLACE = range(3)


def nonsense():
    return Damaged("Go's file lists make no sense")


@dataclass
class Frame:
    """`gap` is the distance from the last record to the data, `with_data` whether data and index are in the section."""

    files: int = 0
    text: int = 0
    units: list = field(default_factory=list)
    file_names: bytearray = field(default_factory=bytearray)
    end: int = 0
    align: int = 8
    gap: int = 0
    with_data: bool = False


def old_frame(table):
    """That of the old table, as far as it is asked: gap and address of the code."""
    frame = Frame()
    if table is None:
        return frame
    records = 0
    for k in range(table.head.functions):
        r = table.record(k)
        size = RECORD + 4 * (len(r.tables) - 3 + len(r.data))
        records += size + -size % table.head.numbers.width
    size = table.head.functions * 8 + 4
    gap = table.start - (table.head.records + size + -size % table.head.numbers.width + records)
    if table.start < len(table.bytes):
        if gap < 0:
            return frame
        frame.gap = gap
    frame.text = table.head.text
    return frame


class FileMap:
    """Old positions of files to new ones: of entries of the old file lists those that continue them."""

    def __init__(self, old):
        self.old, self.units = old, {}

    def file(self, old_unit, unit, number):
        """The new number of a file in its list, given those of the list."""
        entry = self.units.get(old_unit + number & M32)
        return number if entry is None else gotable.i32(entry - unit)

    def identity(self, old_unit, number):
        """Position of the old name of a file, which tells files apart."""
        entry = old_unit + number & M32
        return self.old[entry] if entry < len(self.old) else NONE


def code(s, old, texts, room, pointer):
    """The frame of a table in a section of `room` bytes, the end of the code left out, and the map of files."""
    m, was, frame = Grammar("tables/go/frame.rs"), old_frame(old), Frame()
    frame.with_data = bool(m.with_data(s))
    frame.align = pointer if m.align(s) else 32
    frame.gap = was.gap + m.gap(s)
    expected = texts[1] if was.text == texts[0] else was.text
    frame.text = expected if m.text(s) else m.address(s)
    count = (len(old.texts(old.files)) if old else 0) + m.names(s)
    frame.files = count + m.files(s)
    part = old.files if old else (0, 0)
    names, places, order = Names(old, part), {}, []
    for _ in range(max(count, 0)):
        name = names.code(s, 0, names.next())
        places.setdefault(name, len(frame.file_names))
        order.append(len(frame.file_names))
        frame.file_names += name + b"\0"
        if len(frame.file_names) > room:
            raise nonsense()
    if not 0 <= frame.gap <= min(M32, room) or not 0 <= frame.files <= M32:
        raise Damaged("Go's tables are too far apart, or its files are too many")
    files = FileMap(old.unit_list() if old else [])
    expected = [NONE if at == NONE else places.get(old.string(part, at)) for at in files.old]
    lists(s, m, frame, files, expected, order, room)
    return frame, files


def lists(s, m, frame, files, expected, order, room):
    """The file lists, against what the old entries are now."""
    count = len(expected) + m.entries(s)
    if not 0 <= count <= room // 4:
        raise nonsense()
    cursor = history = last = 0
    while len(frame.units) < count:
        before = history
        if m.hit(s, h=before):
            entry = expected[cursor] if cursor < len(expected) else None
            if entry is None:
                raise nonsense()
            files.units[cursor] = len(frame.units)
            frame.units.append(entry)
            i = bisect_left(order, entry)
            last = i if i < len(order) and order[i] == entry else last
            cursor, history = cursor + 1, history << 1 & M32
            continue
        history = (history << 1 | 1) & M32
        way = m.way(s, h=before)
        if way == SKIP:
            cursor += m.skip(s)
            continue
        away = m.value(s)
        if away:
            last += away - 1 >> 1 ^ -(away - 1 & 1)
            if not 0 <= last < len(order):
                raise nonsense()
        frame.units.append(order[last] if away else NONE)
        cursor += way == REPLACE
