"""Go's function table, read: header, function bounds, records, tables over code, the data of functions.

Formats: runtime/symtab.go, runtime/runtime2.go, cmd/internal/obj/pcln.go and cmd/link/internal/ld/pcln.go of Go 1.20 to
1.26; what of them is read is in FORMAT.md, "Go's function table"."""

from bisect import bisect_left
from dataclasses import dataclass, field

from file_numbers import Numbers
from models import M32, M64

MAGIC, RECORD = 0xFFFFFFF1, 44
MOST_FUNCTIONS, LONGEST_LIST, GROUPS, MOST_STEPS = 1 << 24, 64, 16, 1 << 17
INLINE_TREE, INLINE_INDEX = 3, 5
NONE = M32
# Places in the scalars of a record.
DEFER, UNIT, LINE = 1, 2, 3


def section(elf):
    """Index of the section with the table, or None."""
    found = [i for i in (elf.section(name) for name in (b".gopclntab", b".data.rel.ro.gopclntab")) if i is not None]
    return found[0] if found and elf.sections[found[0]].in_file else None


def long(numbers, data, at):
    """A pointer, or None."""
    return numbers.get(data[at : at + numbers.width]) if 0 <= at <= len(data) - numbers.width else None


def i32(value):
    """A number of 32 bits as a signed one."""
    value &= M32
    return value - (1 << 32) if value >> 31 else value


class Header:
    """All positions count from the header; ValueError where it makes no sense."""

    def __init__(self, data, order):
        if len(data) < 8 or data[4:6] != bytes(2) or data[7] not in (4, 8):
            raise ValueError
        self.numbers = Numbers(data[7] == 8, order)
        if self.numbers.word(data) != MAGIC:
            raise ValueError
        self.quantum, self.pointer = data[6], data[7]
        numbers = [long(self.numbers, data, 8 + self.pointer * k) for k in range(8)]
        if None in numbers:
            raise ValueError
        self.functions, self.files, self.text = numbers[:3]
        parts = [8 + 8 * self.pointer, *numbers[3:], len(data)]
        if parts != sorted(parts) or self.quantum not in (1, 2, 4) or not 0 < self.functions <= MOST_FUNCTIONS:
            raise ValueError
        self.names, self.units, self.file_names, self.tables, self.records = numbers[3:]
        if self.functions * 8 + 4 > len(data) - self.records or self.files > len(data):
            raise ValueError


def bounds(data, order, text, code):
    """Rule 7: functions as (address, size), each without the padding at its end."""
    try:
        head = Header(data, order)
    except ValueError:
        return []
    found, pad = [], b"\xcc" if head.quantum == 1 else b"\0"
    for k in range(head.functions):
        start, end = (head.numbers.word(data, head.records + 8 * (k + i)) for i in (0, 1))
        if start is None or end is None:
            break
        if start <= end <= len(code):
            body = code[start:end]
            used = len(body.rstrip(pad))
            size = min(used + -used % head.quantum, len(body))
            if size:
                found.append((text.addr + start, size))
    kept, end = [], 0
    for start, size in sorted(found):
        if start >= end:
            kept.append((start, size))
            end = start + size
    return kept


@dataclass
class Record:
    """A function: its name, scalars, positions of its tables over code and of its data."""

    name: int
    scalars: list = field(default_factory=list)
    tables: list = field(default_factory=list)
    data: list = field(default_factory=list)


@dataclass
class Blob:
    """A piece of the data of functions; those of one group stand in the order of first use."""

    at: int
    content: bytes
    group: int


def index_len(code):
    """Length of the index over so much code."""
    return -(-code // 4096) * 4 + -(-code // 256)


class GoTable:
    """A table; ValueError where it makes no sense. `start` is where the data of functions begin in it, or None."""

    def __init__(self, data, order, start):
        self.bytes, self.head = data, Header(data, order)
        head, self.word = self.head, self.head.numbers.word
        self.entries = [self.word(data, head.records + 8 * k) for k in range(head.functions + 1)]
        if any(a >= b for a, b in zip(self.entries, self.entries[1:])):
            raise ValueError
        self.start = self.end = len(data)
        if start is not None:
            self.start, self.end = start, len(data) - index_len(self.entries[-1])
        if self.start > self.end:
            raise ValueError
        self.blobs = {}
        self._find_blobs()

    def _find_blobs(self):
        size, used = self.end - self.start, {}
        for k in range(self.head.functions):
            for at in self.record(k).data:
                if at < size:
                    used.setdefault(at, len(used))
        places, group, before = sorted(used.items()), 0, -1
        for (at, time), (end, _) in zip(places, [*places[1:], (size, 0)]):
            group += before > time
            if group >= GROUPS:
                raise ValueError
            before = time
            self.blobs[at] = Blob(at, self.bytes[self.start + at : self.start + end], group)

    def function_at(self, entry):
        """Index of the function that begins there, or None."""
        i = bisect_left(self.entries, entry)
        return i if i < self.head.functions and self.entries[i] == entry else None

    def record(self, index):
        at = self.word(self.bytes, self.head.records + 8 * index + 4) + self.head.records
        fixed = self.bytes[at : at + RECORD]
        if len(fixed) < RECORD:
            raise ValueError
        fields = [self.word(fixed, 4 * i) for i in range(10)]
        tables, data = fields[7], fixed[43]
        if tables > LONGEST_LIST or data > LONGEST_LIST:
            raise ValueError
        lists = [self.word(self.bytes, at + RECORD + 4 * i) for i in range(tables + data)]
        if None in lists:
            raise ValueError
        scalars = [fields[2], fields[3], fields[8], fields[9], *fixed[40:43]]
        return Record(fields[1], scalars, fields[4:7] + lists[:tables], lists[tables:])

    def string(self, part, at):
        """The string at a place of a part of the section."""
        return self.bytes[part[0] + at : part[1]].split(b"\0")[0]

    def strings(self, part):
        """Places of all strings of a part."""
        places, at = [], 0
        while at < part[1] - part[0]:
            places.append(at)
            at += len(self.string(part, at)) + 1
        return places

    def texts(self, part):
        """All strings of a part but the empty ones at its end, which only align the next one."""
        texts = [self.string(part, at) for at in self.strings(part)]
        while texts and not texts[-1]:
            texts.pop()
        return texts

    @property
    def names(self):
        return self.head.names, self.head.units

    @property
    def files(self):
        return self.head.file_names, self.head.tables

    def unit_list(self):
        """The file lists of the compilation units."""
        data = self.bytes[self.head.units : self.head.file_names]
        return [self.word(data, at) for at in range(0, len(data) - 3, 4)]

    def steps(self, at):
        """A table over code: end and value of each stretch, or None."""
        part, at, steps, end, value = self.bytes[: self.head.records], self.head.tables + at, [], 0, -1
        while True:
            delta, at = number(part, at)
            if delta is None:
                return None
            if delta == 0 and steps:
                return steps
            value = i32(value + (delta >> 1 ^ -(delta & 1)))
            size, at = number(part, at)
            if size is None or end + size * self.head.quantum > M32 or len(steps) == MOST_STEPS:
                return None
            end += size * self.head.quantum
            steps.append((end, value))


def number(data, at):
    """A number of at most 32 bits in groups of seven, and the place behind it; None where there is none."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return (value if value <= M32 else None), at
    return None, at


def find(elf, read):
    """The table in a file whose sections `read` gives, or None."""
    index = section(elf)
    if index is None:
        return None
    module, numbers = elf.section(b".go.module"), elf.numbers
    # The address of the data is pointer 40 of the module's record (Go 1.26).
    addr = None if module is None else long(numbers, read(module), 40 * numbers.width)
    start = None if addr is None else addr - elf.sections[index].addr & M64
    if start is not None and start > elf.sections[index].size:
        start = None
    try:
        return GoTable(read(index), numbers.order, start)
    except ValueError:
        return None


def module_data(elf, read):
    """Address of the data of functions, as the module's record tells wherever it stands; 0 if it is not found."""
    index = section(elf)
    if index is None:
        return 0
    start, numbers = elf.sections[index].addr, elf.numbers
    try:
        names = start + Header(read(index), numbers.order).names
    except ValueError:
        return 0
    for name in (b".go.module", b".noptrdata", b".data"):
        found = elf.section(name)
        data = b"" if found is None else read(found)
        for at in range(0, len(data), numbers.width):
            if long(numbers, data, at) == start and long(numbers, data, at + numbers.width) == names:
                addr = long(numbers, data, at + 40 * numbers.width)
                if addr is not None:
                    return addr if addr <= M32 else 0
                break
    return 0
