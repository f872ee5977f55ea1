"""Words of data that hold addresses, in files without relocations for them (FORMAT.md, stream 8)."""

import gotable
import tables
from container import Damaged
from declared import Grammar
from models import M32
from predict import Locals
from targets import CodeModels, Guess, Site

SITE, SPELLED = 50, 4
POINTER, DISTANCE, HALF = FORMS = range(3)
EXECUTABLE, SHARED = 2, 3


class Side:
    """A file, as far as words go by it."""

    def __init__(self, elf, addresses):
        self.elf, self.addresses = elf, addresses

    def size(self, form):
        return 8 if form == POINTER and self.elf.is_64 else 4

    def target(self, form, data, place):
        """Where the word at the start of `data` leads, if it leads into the file."""
        word = self.elf.numbers.get(data[: self.size(form)])
        if len(data) < self.size(form) or word == 0:
            return None
        if form == DISTANCE:
            target = None if place is None else place + word & M32
        elif form == HALF:
            target = (word - (word >> 31 << 32)) % 2**64 - self.elf.base if self.elf.is_64 else None
        else:
            target = word - self.elf.base
        inside = target is not None and 0 <= target <= M32 and self.addresses.range_of(target)
        return target if inside else None

    def word(self, form, target, place):
        if form == DISTANCE:
            return None if place is None else self.elf.numbers.put(target - place)
        size = self.size(form)
        return self.elf.numbers.put(self.elf.base + target, size)


class Words:
    def __init__(self, world):
        self.world, self.m, self.targets = world, Grammar("tables/words/mod.rs"), CodeModels()
        self.old, self.new = Side(world.old.elf, world.old.addresses), Side(world.elf, world.addresses)
        self.history = 0

    def applies(self):
        kind, relocated = self.world.elf.kind, self.world.choices.sections(tables.RELOCATIONS)
        plain = kind == EXECUTABLE or kind == SHARED and not relocated
        return plain and gotable.section(self.world.elf) is None

    def code(self, s, made):
        if not self.applies() or self.m.none(s):
            return
        for new_at, old_at, size in self.world.covers:
            skip = -new_at % 4
            length = size - skip & ~3
            if (new_at - old_at) % 4 == 0 and length > 0:
                self.stretch(s, made, new_at + skip, old_at + skip, length)

    def stretch(self, s, made, new_at, old_at, length):
        """The words of one cover."""
        old, new = self.world.old, self.world.addresses
        places = [old.addresses.addr(old_at), new.addr(new_at)]
        r = None if places[0] is None else old.addresses.range_of(places[0])
        if r and r.len - (places[0] - r.addr) < length:
            places[0] = None
        region = 0xFFFF if places[1] is None else new.range_of(places[1]).section
        data, at = old.data[old_at : old_at + length], 0
        while at < length:
            was = [None if place is None else place + at & M32 for place in places]
            at += self.word(s, made, data[at:], was, new_at + at, region)

    def word(self, s, made, data, places, here, region):
        """One word; how many bytes it has."""
        candidates, moves = {}, {}
        for form in FORMS:
            target = self.old.target(form, data, places[0])
            word = None if target is None else self.new.word(form, self.project(target), places[1])
            if word is not None:
                candidates[form] = target
                if word != data[: len(word)]:
                    moves[form] = word
        able = sum(1 << form for form in moves)
        became = self.m.word(s, able=able, h=self.history, region=region, here=here) if able else 0
        size, form, still = 4, (became & 3) - 1, POINTER in candidates and POINTER not in moves
        if form >= 0:
            if form not in moves:
                raise Damaged("a word of data is moved that can't be")
            word = moves[form]
            if became > SPELLED:
                site = Site(SITE + form, 0, places[1] or 0, same=True)
                target = self.world.targets.code(s, self.targets, site, Guess(candidates[form]), Locals())
                word = self.new.word(form, target, places[1])
            made.known.append((here, word))
            size = len(word)
        elif still:
            size = self.new.size(POINTER)
        looks = 2 if became == 0 and still else int(any(data[:4])) if not able else 8 + became
        self.history = (self.history << 4 | looks) & M32
        if size == 8:
            self.history = (self.history << 4 | 3) & M32
        return size

    def project(self, addr):
        learned = self.world.targets.learned.get(addr)
        return learned.target if learned else self.world.targets.map.loose(addr)
