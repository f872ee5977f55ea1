"""What is read of an ELF file: headers, sections, addresses, regions (FORMAT.md, "What is read of an ELF file")."""

from dataclasses import dataclass

from file_numbers import Numbers

SYMTAB, STRTAB, RELA, HASH, NOBITS, REL, DYNSYM = 2, 3, 4, 5, 8, 9, 11
GNU_HASH, VERSYM, EXIDX = 0x6FFFFFF6, 0x6FFFFFFF, 0x70000001
WRITE, ALLOC, EXECINSTR, TLS = 1, 2, 4, 1 << 10
MAX_SECTIONS, MAX_NAMES, MOST = 4096, 1 << 20, 0xFFFFFFFF
BASE_UNIT, OBJECT_END = 1 << 20, 1 << 31


class NoElf(Exception):
    """The file is none that the policy accepts."""


def demand(holds):
    if not holds:
        raise NoElf


class Fields:
    """Numbers of a header, by turns of so many bytes."""

    def __init__(self, numbers, data):
        self.numbers, self.data, self.at = numbers, data, 0

    def take(self, *sizes):
        values = []
        for size in sizes:
            values.append(self.numbers.get(self.data[self.at : self.at + size]))
            self.at += size
        return values


@dataclass
class Section:
    name: bytes
    kind: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int

    @property
    def in_file(self):
        return self.kind not in (0, NOBITS) and self.size > 0

    @property
    def is_loaded(self):
        return bool(self.flags & ALLOC) and self.addr != 0

    @property
    def end(self):
        return self.offset + self.size


class Header:
    """Rule 1: the file header."""

    def __init__(self, first):
        demand(len(first) >= 52 and first[:4] == b"\x7fELF")
        demand(first[4] in (1, 2) and first[5] in (1, 2) and len(first) >= (52, 64)[first[4] - 1])
        self.numbers = Numbers(first[4] == 2, ("little", "big")[first[5] - 1])
        self.is_64, word = self.numbers.is_64, self.numbers.width
        fields = Fields(self.numbers, first[16:])
        self.kind, self.machine = fields.take(2, 2)
        _, _, phoff, shoff, _ = fields.take(4, word, word, word, 4)
        ehsize, phentsize, phnum, shentsize, shnum, self.names = fields.take(2, 2, 2, 2, 2, 2)
        demand((ehsize, shentsize) == ((64, 64) if self.is_64 else (52, 40)))
        demand(0 < shnum <= MAX_SECTIONS and shoff < MOST)
        demand(phnum == 0 or (phentsize == (56 if self.is_64 else 32) and phoff == ehsize))
        self.head_len = ehsize + phnum * phentsize if phnum else ehsize
        self.table, self.count = (shoff, shnum * shentsize), shnum

    def rows(self, table):
        """Section headers: name, type, flags, address, offset, size, link, info."""
        size, word = (64, 8) if self.is_64 else (40, 4)
        demand(len(table) >= self.count * size)
        for i in range(self.count):
            yield Fields(self.numbers, table[i * size : (i + 1) * size]).take(4, 4, word, word, word, word, 4, 4)


class Elf:
    """Headers and section map, put together from head, section header table and section names."""

    def __init__(self, head, table, names):
        header = Header(head)
        self.numbers, self.machine, self.kind = header.numbers, header.machine, header.kind
        self.is_64 = self.numbers.is_64
        self.head_len, self.table, self.names = header.head_len, header.table, header.names
        self.head, self.table_bytes, self.name_bytes = head, table, names
        self.sections = []
        for name, kind, flags, addr, offset, size, link, info in header.rows(table):
            name = names[name:].split(b"\0")[0]
            section = Section(name, kind, flags, addr, offset, size, link, info)
            demand(section.end < 1 << 64 and addr + size < 1 << 64)
            demand(not section.in_file or section.end <= MOST)
            self.sections.append(section)
        if self.is_object:
            self._place()
        self.base = self._base()
        for section in self.sections:
            if section.is_loaded:
                section.addr -= self.base

    @property
    def is_object(self):
        return self.kind == 1

    def _place(self):
        """Rule 5: addresses of an object's sections."""
        end = max((s.end for s in self.sections if s.in_file), default=0)
        if any(s.addr for s in self.sections):
            return
        for s in self.sections:
            if not s.flags & ALLOC or not s.size:
                continue
            if s.in_file:
                s.addr = s.offset
            elif s.size < OBJECT_END and end < OBJECT_END:
                s.addr = end + 63 & ~63
                end = s.addr + s.size

    def _base(self):
        """Rule 5: what is subtracted from addresses."""
        loaded = [s for s in self.sections if s.is_loaded]
        if not any(s.addr + s.size >= MOST for s in loaded):
            return 0
        first = min(s.addr for s in loaded)
        return max(first // BASE_UNIT * BASE_UNIT - BASE_UNIT, 0)

    def section(self, name):
        """Index of the first section with a name, or None."""
        return next((i for i, s in enumerate(self.sections) if s.name == name), None)

    def regions(self, size):
        """Rule 6: the file as regions in order: offset, length, kind, section."""
        parts = [(0, self.head_len, "head", None), (*self.table, "table", None)]
        parts += [(s.offset, s.size, "section", i) for i, s in enumerate(self.sections) if s.in_file]
        parts.sort(key=lambda part: part[:2])
        regions, at = [], 0
        for part in parts:
            demand(part[0] >= at)
            if part[0] > at:
                regions.append((at, part[0] - at, "gap", None))
            regions.append(part)
            at = part[0] + part[1]
        demand(at <= size)
        if at < size:
            regions.append((at, size - at, "gap", None))
        return regions


def read(data):
    """The skeleton of a whole file."""
    demand(64 <= len(data) <= MOST)
    header = Header(data[:64])
    at, size = header.table
    demand(at + size <= len(data) and header.head_len <= len(data))
    table = data[at : at + size]
    rows = list(header.rows(table))
    demand(header.names < len(rows))
    _, kind, _, _, offset, length, *_ = rows[header.names]
    demand(kind == STRTAB and length <= MAX_NAMES and offset < MOST and offset + length <= len(data))
    elf = Elf(data[: header.head_len], table, data[offset : offset + length])
    demand(all(s.end <= len(data) for s in elf.sections if s.in_file))
    return elf


@dataclass
class Range:
    """A loaded section; its offset is None where it is zero-filled."""

    addr: int
    len: int
    offset: int | None
    section: int


class Addresses:
    """Addresses to file offsets and back."""

    def __init__(self, elf):
        self.ranges = []
        for i, s in enumerate(elf.sections):
            if s.is_loaded and s.size and (s.in_file or not s.flags & TLS):
                demand(s.addr + s.size < MOST)
                self.ranges.append(Range(s.addr, s.size, s.offset if s.in_file else None, i))
        self.ranges.sort(key=lambda r: (r.addr, r.len))
        demand(all(a.addr + a.len <= b.addr for a, b in zip(self.ranges, self.ranges[1:])))

    def range_of(self, addr):
        return next((r for r in self.ranges if 0 <= addr - r.addr < r.len), None)

    def addr(self, offset):
        for r in self.ranges:
            if r.offset is not None and 0 <= offset - r.offset < r.len:
                return r.addr + offset - r.offset
        return None

    def offset(self, addr):
        r = self.range_of(addr)
        return None if r is None or r.offset is None else r.offset + addr - r.addr
