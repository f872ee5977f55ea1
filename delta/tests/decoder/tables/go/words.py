"""Words of Go's data that hold addresses or offsets (FORMAT.md, stream 12).

Sources: internal/abi/type.go (NameOff, TypeOff, TextOff), runtime/type.go."""

import gotable
import tables
from declared import Grammar
from models import M32
from predict import Locals
from tables.relocations import old_slots
from targets import CodeModels, Guess, Site

POINTER, OFFSET = 48, 49
DATA, TEXT, SPELLED = 1, 2, 3


def types(elf):
    """The section that begins with the types."""
    return b".rodata" if elf.section(b".data.rel.ro.typelink") is None else b".data.rel.ro"


class Words:
    def __init__(self, world):
        self.world, self.m, self.targets = world, Grammar("tables/go/words.rs"), CodeModels()
        self.size, self.pointers = world.elf.numbers.width, not world.choices.sections(tables.RELOCATIONS)
        self.slots = {} if self.pointers else old_slots(world.old)
        # Old and new address, and old size, of the types and of the code.
        self.data, self.text = (self.base(name) for name in (types, lambda _: b".text"))
        self.history = 0

    def base(self, name):
        old, new = self.world.old.elf, self.world.elf
        was, now = old.section(name(old)), new.section(name(new))
        addr, size = (0, 0) if was is None else (old.sections[was].addr, min(old.sections[was].size, M32))
        return addr, 0 if now is None else new.sections[now].addr, size

    def code(self, s, made):
        if gotable.section(self.world.elf) is None:
            return
        for new_at, old_at, size in self.world.covers:
            skip = -new_at % 4
            ranges = [r for r in self.world.addresses.ranges if r.offset is not None]
            r = next((r for r in ranges if 0 <= new_at - r.offset < r.len), None)
            if (new_at - old_at) % 4 or r is None or skip > size:
                continue
            old = self.world.old.data[old_at + skip : old_at + skip + (size - skip & ~3)]
            at = 0
            while at < len(old):
                if self.world.old.addresses.addr(old_at + skip + at) in self.slots:
                    self.point()
                    at += self.size
                else:
                    at += self.word(s, made, old[at : at + 8], new_at + skip + at, r)

    def word(self, s, made, data, here, r):
        """The word at the start of some old bytes; how many were told."""
        m, world, addr, numbers = self.m, self.world, r.addr + here - r.offset, self.world.old.elf.numbers
        old, pointer = numbers.word(data), numbers.get(data[: self.size])
        may = self.pointers and here % self.size == 0 and len(data) >= self.size
        if may and world.old.addresses.range_of(pointer) and m.pointer(s, h=self.history, section=r.section):
            target = self.target(s, Site(POINTER, r.section, addr, same=True), pointer)
            made.known.append((here, world.elf.numbers.put(target, self.size)))
            self.point()
            return self.size
        data, text = self.guess(old, self.data), self.guess(old, self.text)
        looks = 3 if old < 0x100 else 4 if old < 0x10000 else 5
        looks = 1 if old == 0 else 2 if data is None and text is None else looks
        if any(guess not in (None, old) for guess in (data, text)):
            able = (data is not None) | (data not in (None, old)) << 1 | looks << 2
            kind = m.half(s, able=able, h=self.history, section=r.section, here=here)
            looks, now = 8, {DATA: data, TEXT: text}.get(kind)
            if now is not None:
                looks += kind
            elif kind == SPELLED and data is not None:
                target = self.target(s, Site(OFFSET, 0, addr, same=True), self.data[0] + old & M32)
                now, looks = target - self.data[1] & M32, 8 + DATA
            if now is not None:
                made.known.append((here, world.elf.numbers.put(now)))
        self.note(looks, 4)
        return 4

    def point(self):
        self.note(*((0xF, 4) if self.size == 4 else (0xFE, 8)))

    def note(self, what, bits):
        self.history = (self.history << bits | what) & M32

    def target(self, s, site, old):
        return self.world.targets.code(s, self.targets, site, Guess(old), Locals())

    def guess(self, old, base):
        """What a word should be now as an offset from a base, or None."""
        was, now, size = base
        if not 0 < old < size:
            return None
        learned, addr = self.world.targets.learned.get(was + old & M32), was + old & M32
        return (learned.target if learned else self.world.targets.map.loose(addr)) - now & M32
