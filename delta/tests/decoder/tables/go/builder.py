"""A function table put together in the order of Go's linker: what is shared stands where it is used first.

Source: cmd/link/internal/ld/pcln.go."""

from bisect import bisect_right
from dataclasses import dataclass, field

from gotable import GROUPS, INLINE_INDEX, MAGIC, NONE
from models import M32

# The group of places whose offset is all there is to tell: the data stand in another section.
ELSEWHERE = 255


@dataclass
class Function:
    """A function, its contents in place of positions."""

    name: int
    scalars: list
    tables: list = field(default_factory=list)
    data: list = field(default_factory=list)


def put(numbers, *words):
    return b"".join(map(numbers.put, words))


def aligned(out, to):
    out += bytes(-len(out) % to)


class Builder:
    def __init__(self, quantum, numbers):
        self.quantum, self.numbers, self.names, self.name_index = quantum, numbers, bytearray(), {}
        self.tables, self.table_index = bytearray(1), {}
        self.entries, self.records, self.fixups = [], bytearray(), []
        self.groups, self.blob_index = [bytearray() for _ in range(GROUPS)], {}

    def __len__(self):
        data = sum(map(len, self.groups))
        return len(self.names) + len(self.tables) + len(self.records) + 8 * len(self.entries) + data

    def names_like(self, name):
        """Positions of the names that read so. Several symbols may share a name."""
        return self.name_index.get(name, [])

    def add_name(self, name):
        at = len(self.names)
        self.names += name + b"\0"
        self.name_index.setdefault(name, []).append(at)
        return at

    def table(self, steps):
        """Position of a table over code."""
        out, end, value = bytearray(), 0, -1
        for stop, now in steps:
            delta = now - value & M32
            folded = (delta << 1 ^ -(delta >> 31)) & M32
            for number in (folded, (stop - end) // self.quantum):
                while number >= 0x80:
                    out.append(number & 0x7F | 0x80)
                    number >>= 7
                out.append(number)
            end, value = stop, now
        out.append(0)
        content = bytes(out)
        if content not in self.table_index:
            self.table_index[content] = len(self.tables)
            self.tables += content
        return self.table_index[content]

    def blobs(self, content):
        """Where data with this content stand so far."""
        return self.blob_index.get(content, [])

    def add_blob(self, group, content, indexed=True):
        place = (min(group, GROUPS - 1), len(self.groups[min(group, GROUPS - 1)]))
        self.groups[place[0]] += content
        if indexed:
            self.blob_index.setdefault(content, []).append(place)
        return place

    def function(self, entry, f):
        # The linker lays the inline index, third of `pcdata`, behind the others.
        positions = [0] * len(f.tables)
        for index in sorted(range(len(f.tables)), key=lambda i: i == INLINE_INDEX):
            if f.tables[index] is not None:
                positions[index] = self.table(f.tables[index])
        fixed, lists, s = positions[:3], positions[3:], f.scalars
        self.entries.append((entry, len(self.records)))
        self.records += put(self.numbers, entry, f.name, s[0], s[1], *fixed, len(lists), s[2], s[3])
        self.records += bytes([*s[4:7], len(f.data)]) + put(self.numbers, *lists)
        for place in f.data:
            if place is not None:
                self.fixups.append((len(self.records), place))
            self.records += put(self.numbers, NONE)
        aligned(self.records, self.numbers.width)

    def finish(self, frame):
        """The section."""
        starts = [sum(map(len, self.groups[:k])) for k in range(GROUPS)]
        for at, (group, offset) in self.fixups:
            start = starts[group] if group < GROUPS else 0
            self.records[at : at + 4] = self.numbers.put(start + offset)
        numbers, width = self.numbers, self.numbers.width
        out, parts = bytearray(8 + 8 * width), []
        for part in (self.names, put(numbers, *frame.units), frame.file_names, self.tables):
            aligned(out, frame.align)
            parts.append(len(out))
            out += part
        aligned(out, frame.align)
        parts.append(len(out))
        size = 8 * len(self.entries) + 4
        size += -size % width
        for entry, at in self.entries:
            out += put(numbers, entry, at + size)
        out += numbers.put(frame.end)
        out += bytes(parts[-1] + size - len(out)) + self.records
        out[:8] = numbers.put(MAGIC) + bytes([0, 0, self.quantum, width])
        for k, value in enumerate([len(self.entries), frame.files, frame.text, *parts]):
            out[8 + width * k : 8 + width * (k + 1)] = numbers.put(value, width)
        if frame.with_data:
            out += bytes(frame.gap) + b"".join(self.groups) + self.index(frame.end)
        return bytes(out)

    def index(self, end):
        """For each 4096 bytes of code the function at their start, then for each 256 of them how many later."""
        starts, out = [entry for entry, _ in self.entries], bytearray()

        def function(code):
            return max(bisect_right(starts, code) - 1, 0)

        for code in range(0, end, 4096):
            base = function(code)
            out += self.numbers.put(base) + bytes(function(at) - base & 0xFF for at in range(code, min(end, code + 4096), 256))
        return bytes(out)
