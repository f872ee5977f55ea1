"""`.ARM.exidx`: for each function how it is unwound, and the personality routines of entries (FORMAT.md, stream 9).

Source: Exception Handling ABI for the Arm Architecture, sections 5 and 6."""

import tables
from container import Damaged
from declared import Grammar
from machine.insn import signed, word
from models import M32
from predict import Locals
from targets import Guess, Models, Site

FUNCTION, ENTRY, PERSONALITY = 43, 44, 45
NOT, INLINE, BY_ENTRY = range(3)
HIGHEST = 1 << 31


def target(value, at):
    """Where a distance of 31 bits at an address leads."""
    return at + signed(value, 31) & M32


def distance(to, at):
    return to - at & ~HIGHEST & M32


def rows(data, addr):
    """Function of each row, how it is unwound, and the word or address that says so."""
    found = []
    for at in range(0, len(data) - 7, 8):
        function, how = word(data, at), word(data, at + 4)
        kind, value = (INLINE, how) if how & HIGHEST else (BY_ENTRY, target(how, addr + at + 4))
        found.append((target(function, addr + at), *((NOT, None) if how == 1 else (kind, value))))
    return found


class Index:
    def __init__(self, world):
        self.world, self.targets, self.m = world, Models(), Grammar("tables/index.rs")

    def code(self, s, made):
        for section in self.world.choices.sections(tables.INDEX):
            made.sections[section] = self.table(s, section, made)

    def table(self, s, section, made):
        world, paired = self.world, self.world.pairs[section]
        header, out, following, history = world.elf.sections[section], b"", 0, 0
        old = rows(world.old_bytes(section), 0 if paired is None else world.old.elf.sections[paired].addr)
        for at in range(header.addr, header.addr + header.size, 8):
            partner = None
            if following < len(old):
                here = self.m.follows(s, h=history)
                history = history << 1 | here
                partner = following if here else self.skipped(s, following, old)
                following = following if partner is None else partner + 1
            was = (None, None, None) if partner is None else old[partner]
            function = self.target(s, FUNCTION, at, was[0])
            how = self.unwound(s, at + 4, was, made)
            out += distance(function, at).to_bytes(4, "little") + how.to_bytes(4, "little")
        return out

    def skipped(self, s, following, old):
        skip = self.m.skip(s)
        if skip and following + skip >= len(old):
            raise Damaged("an unwind row continues one that is not there")
        return following + skip if skip else None

    def target(self, s, kind, addr, old_target):
        return self.world.targets.code(s, self.targets, Site(kind, addr=addr), Guess(old_target), Locals())

    def unwound(self, s, at, was, made):
        """The word that says how a function is unwound."""
        _, old_kind, value = was
        kind = self.m.how(s, state=3 if old_kind is None else old_kind)
        if kind == NOT:
            return 1
        if kind == INLINE:
            return self.instructions(s, value if old_kind == INLINE else None)
        old_entry = value if old_kind == BY_ENTRY else None
        entry = self.target(s, ENTRY, at, old_entry)
        self.personality(s, entry, old_entry, made)
        return distance(entry, at)

    def instructions(self, s, old):
        if old is not None and self.m.same(s):
            return old
        value = 0
        for n in range(4):
            value = value << 8 | self.m.byte(s, n=n, before=value)
        return value | HIGHEST

    def personality(self, s, entry, old_entry, made):
        """Which personality routine an entry in a generic section names."""
        world = self.world
        r = world.addresses.range_of(entry)
        if r is None or entry - r.addr > max(r.len - 4, 0) or r.len < 4 or not world.is_generic(entry):
            return
        old = None
        if old_entry is not None:
            place = world.old.addresses.offset(old_entry)
            value = None if place is None else word(world.old.data, place)
            old = None if value is None or value & HIGHEST else target(value, old_entry)
        if self.m.named(s, state=1 + (old_entry is not None) + (old is not None)):
            routine = self.target(s, PERSONALITY, entry, old)
            made.known.append((world.addresses.offset(entry), distance(routine, entry).to_bytes(4, "little")))
