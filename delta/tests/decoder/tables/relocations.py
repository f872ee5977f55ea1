"""Relocations, folded into the words that they describe and unfolded again (FORMAT.md, stream 8)."""

from bisect import bisect_left
from dataclasses import dataclass

import tables
from container import Damaged
from declared import Grammar
from elf import ALLOC, RELA, WRITE
from models import M32, M64, hash
from predict import Locals
from targets import Guess, Models, Site

SLOT, ROW_OFFSET, ROW_ADDEND = 32, 33, 34
ZEROS, HELD, OTHERS, UNSORTED = range(4)
REACH = 64  # old rows looked at for one that has a word left


@dataclass
class Row:
    """A row as 64-bit files have it: the symbol stands above 32 bits of type."""

    offset: int = 0
    info: int = 0
    addend: int = 0


def old_rows(old, index):
    """The rows of a section of the old file; none if it is no loaded table of relocations."""
    return rows_of(old, index) if tables.relocation_row(old.elf, old.elf.sections[index]) else []


def rows_of(old, index):
    """The rows of a section of the old file that is a table of relocations."""
    s, numbers, word = old.elf.sections[index], old.elf.numbers, old.elf.numbers.width
    size, rows = tables.any_row(old.elf, s), []
    for at in range(s.offset, s.end, size):
        fields = [numbers.get(old.data[p : p + word]) for p in range(at, at + size, word)]
        offset, info, addend = (*fields, 0)[:3]
        if word == 4:
            info = info >> 8 << 32 | info & 0xFF
        if s.kind != RELA and info == old.machine.relative:
            place = old.addresses.offset(offset) if offset <= M32 else None
            # A word outside the file makes a row that does not fold.
            inside = place is not None and place + word <= len(old.data)
            addend = numbers.get(old.data[place : place + word]) if inside else M64
        rows.append(Row(offset, info, addend))
    return rows


def split(machine, rows):
    """How many rows at the front are relative, small enough to fold, and each of another word."""
    seen = set()
    for i, row in enumerate(rows):
        small = row.offset < M32 and row.addend < M32
        if row.info != machine.relative or not small or row.offset in seen:
            return i
        seen.add(row.offset)
    return len(rows)


def old_slots(old):
    """Folded words of the old file: address to target."""
    found, slots = [], {}
    for index in range(len(old.elf.sections)):
        rows = old_rows(old, index)
        found += [(row.offset, row.addend) for row in rows[: split(old.machine, rows)]]
    for addr, target in sorted(found):
        slots.setdefault(addr, target)
    return slots


class Relocations:
    def __init__(self, world):
        self.world, self.numbers, self.word = world, world.elf.numbers, world.elf.numbers.width
        self.targets = world.kept.lend("relocations", Models)
        self.m = world.kept.grammar("tables/relocations.rs")

    def code(self, s, made):
        world, old = self.world, self.world.old
        chosen = world.choices.sections(tables.RELOCATIONS)
        if not chosen:
            return
        left = self.slots(s, made)
        for index in chosen:
            section = world.elf.sections[index]
            total = section.size // tables.relocation_row(world.elf, section)
            folded = len(left) + self.m.count(s)
            if not 0 <= folded <= min(len(left), total):
                raise Damaged("a table of relocations is too short")
            mine, left = left[:folded], left[folded:]
            paired = world.pairs[index]
            others = [] if paired is None else old_rows(old, paired)
            at = split(old.machine, others)
            order = range(folded)
            if self.how == UNSORTED:
                order = self.order(s, [addr for addr, _ in mine], others[:at])
            rows = [Row(mine[k][0], old.machine.relative, mine[k][1]) for k in order]
            rows += self.rows(s, others[at:], total - folded)
            made.sections[index] = b"".join(self.put(section, row) for row in rows)

    def put(self, section, row):
        info = row.info if self.word == 8 else row.info >> 32 << 8 | row.info & 0xFF
        fields = [row.offset, info, row.addend][: 3 if section.kind == RELA else 2]
        return b"".join(self.numbers.put(f, self.word) for f in fields)

    def slots(self, s, made):
        """Which words of the data sections are folded, and their targets."""
        world, word, old, slots, history = self.world, self.word, old_slots(self.world.old), [], 0
        self.how = self.m.in_place(s)
        covers = world.covers
        ends = [new_at + size for new_at, _, size in covers]
        for section in self.sections():
            addr, size, at = section.addr, section.size, section.offset
            for here in range(addr + -addr % word, addr + size - word + 1, word):
                place = at + here - addr
                cover = bisect_left(ends, place + 1)
                partner, state = None, 0
                if cover < len(covers) and covers[cover][0] <= place:
                    partner = world.old.addresses.addr(covers[cover][1] + place - covers[cover][0])
                if partner is not None:
                    state = 2 if partner in old else 1
                is_slot = self.m.slot(s, state=state, h=history, place=place)
                history = (history << 1 | is_slot) & M32
                if not is_slot:
                    continue
                site = Site(SLOT, hash(history & 0xF, state), here)
                target = world.targets.code(s, self.targets, site, Guess(old.get(partner)), Locals())
                slots.append((here, target))
                if self.how != OTHERS:
                    made.known.append((place, self.numbers.put(0 if self.how == ZEROS else target, word)))
        return slots

    def sections(self):
        """Those whose words may be folded, by address."""
        both = WRITE | ALLOC
        found = [s for s in self.world.elf.sections if s.is_loaded and s.in_file and s.flags & both == both]
        return sorted(found, key=lambda s: (s.addr, s.size, s.offset))

    def order(self, s, words, old):
        """In which order words are rows: each is that of the next old row, or that behind the last one, or another."""
        m, word = Grammar("tables/relocations/order.rs"), {addr: k for k, addr in enumerate(words)}
        of_old, old_of = [word.get(self.world.targets.map.loose(row.offset)) for row in old], {}
        for row, k in enumerate(of_old):
            old_of.setdefault(k, row)
        left, rows, following, behind, h = set(range(len(words))), [], 0, 0, 0
        for _ in words:
            ahead = next((k for k in of_old[following : following + REACH] if k in left), None)
            state = 0 if ahead is None else 1 + (ahead == behind)
            first = ahead is not None and m.next(s, next=state, h=h)
            if first:
                k = ahead
            elif state != 2 and behind in left and m.behind(s, next=state, h=h):
                k = behind
            else:
                k = behind + m.jump(s, next=state)
            if k not in left:
                raise Damaged("a relocation fills a word that is not left")
            left.remove(k)
            rows.append(k)
            following, behind, h = old_of.get(k, following - 1) + 1, k + 1, (h << 1 | first) & M32
        return rows

    def rows(self, s, old, count):
        """Rows that do not fold, each against the next old row or one further on."""
        following = shift = history = 0
        for _ in range(count):
            here = following < len(old) and self.m.follows(s, h=history)
            partner = following if here else None
            if not here and following < len(old):
                skip = self.m.skip(s)
                partner = following + skip if skip else None
                if skip and partner >= len(old):
                    raise Damaged("a relocation continues one that is not there")
            history = history << 1 | here
            was = Row() if partner is None else old[partner]
            following = following if partner is None else partner + 1
            yield self.row(s, None if partner is None else was, here, shift)
            shift = self.shift

    def row(self, s, was, here, shift):
        guess = Guess(None if was is None else was.offset & M32)
        offset = self.world.targets.code(s, self.targets, Site(ROW_OFFSET), guess, Locals())
        was = was or Row()
        info = (was.info >> 32) + shift << 32 & M64 | was.info & M32
        self.shift = shift
        if not self.m.info(s, follows=here, old=was.info):
            kind = self.m.kind(s)
            self.shift = self.m.symbol(s, kind=kind)
            info = (was.info >> 32) + self.shift << 32 & M64 | kind & M32
        kind, addend = info & 0xFFFF, was.addend
        if not self.m.addend(s, follows=here, kind=kind):
            guess = Guess(was.addend if 0 < was.addend <= M32 else None)
            addend = self.world.targets.code(s, self.targets, Site(ROW_ADDEND, kind), guess, Locals())
        return Row(offset, info, addend)
