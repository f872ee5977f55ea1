"""`.BTF`: types and strings continue old ones, and what names them goes where they went (stream 11)."""

import struct
from bisect import bisect_right

import tables
from container import Damaged
from models import M32

HEAD, HEADER = 3, 24
NEXT, ELSEWHERE = 0, 1
FORESEEN, NEAR = 0, 1
PLAIN, NAME, TYPE = range(3)


def shape(info):
    """What the third word of a type is, what those of an item are, and how many items there are."""
    kind, count = info >> 24 & 31, info & 0xFFFF
    if kind in (2, 8, 9, 10, 11, 12, 18):
        return TYPE, (), 0
    fixed = {1: (PLAIN, (PLAIN,), 1), 3: (PLAIN, (TYPE, TYPE, PLAIN), 1), 7: (PLAIN, (), 0), 16: (PLAIN, (), 0)}
    fixed |= {14: (TYPE, (PLAIN,), 1), 17: (TYPE, (PLAIN,), 1)}
    counted = {4: (PLAIN, (NAME, TYPE, PLAIN)), 6: (PLAIN, (NAME, PLAIN)), 13: (TYPE, (NAME, TYPE))}
    counted |= {5: counted[4], 15: (PLAIN, (TYPE, PLAIN, PLAIN)), 19: (PLAIN, (NAME, PLAIN, PLAIN))}
    if kind in fixed:
        return fixed[kind]
    if kind not in counted:
        raise Damaged("a type of BTF of no known kind")
    return *counted[kind], count


class Old:
    """The old section, taken apart; nothing where it is laid out otherwise."""

    def __init__(self, data):
        self.types, self.names, self.at, self.words, self.text = [], [], {}, 0, 0
        try:
            self.parse(data)
        except (Damaged, struct.error):
            self.types, self.names, self.at, self.words, self.text = [], [], {}, 0, 0

    def parse(self, data):
        size = struct.unpack_from("<I", data, 12)[0]
        words, text = data[HEADER : HEADER + size], data[HEADER + size :]
        if data[:HEADER] != header(size, len(text)) or len(words) != size or text[-1:] != b"\0":
            raise Damaged("BTF that is laid out otherwise")
        words = struct.unpack(f"<{size // 4}I", words)
        at = 0
        while at < len(words):
            if at + 1 == len(words):
                raise Damaged("a type of BTF that is cut off")
            _, item, count = shape(words[at + 1])
            size = HEAD + len(item) * count
            self.types.append(words[at : at + size])
            at += size
        if at != len(words):
            raise Damaged("a type of BTF that is cut off")
        begin = 0
        for name in text[:-1].split(b"\0"):
            self.at[begin] = len(self.names)
            self.names.append(name + b"\0")
            begin += len(name) + 1
        self.words, self.text = len(words), len(text)


def header(types, strings):
    return struct.pack("<6I", 0x1EB9F, HEADER, 0, types, types, strings)


class Learned:
    """Where numbers went that no section tells of by itself, and what the last one extends."""

    def __init__(self):
        self.bases, self.known = [0, 0, 1, 1], {NAME: {}, TYPE: {}}


def code(s, world, made):
    """All sections of BTF."""
    for section in world.choices.sections(tables.BTF):
        made.sections[section] = Section(s, world, section).code()


class Section:
    """One section."""

    def __init__(self, s, world, section):
        self.s, self.room = s, world.elf.sections[section].size
        self.m = world.kept.grammar("tables/btf/mod.rs")
        self.learned = world.kept.lend("btf", Learned)
        self.old = Old(world.old_bytes(section))
        self.names, self.types, self.begins, self.unused = {}, {}, [], 0
        self.histories = [0, 0, 0]

    def code(self):
        s, m, old = self.s, self.m, self.old
        was = [len(old.types), len(old.names), old.words, old.text]
        types, names, words, text = (was[i] + m.size(s, i=i) for i in range(4))
        if min(types, names, words, text) < 0 or HEADER + 4 * words + text != self.room or 3 * types > words:
            raise Damaged("the sizes of BTF do not fit")
        self.bases = [self.learned.bases[i] + m.size(s, i=4 + i) & M32 for i in range(4)]
        self.learned.bases = self.bases
        strings = self.strings(names, text)
        sources = [source for source, _ in self.steps(1, types, len(old.types))]
        self.types = {source: number for number, source in enumerate(sources) if source is not None}
        out = [word for number, source in enumerate(sources) for word in self.one(number, source)]
        if len(out) != words:
            raise Damaged("types of BTF that do not fit")
        return header(4 * words, text) + struct.pack(f"<{words}I", *out) + strings

    def steps(self, what, count, most):
        """The old string or type that each new one continues, told one by one."""
        following, last = 0, 0
        for number in range(count):
            step = self.m.step(self.s, what=what, last=last)
            last, source = (last << 2 & 0xFFFF) | step, None
            if step == NEXT:
                source = following
            elif step == ELSEWHERE:
                source = following + self.m.away(self.s, what=what)
            source = None if source is None or source < 0 else source
            if source is not None:
                following = source + 1
            yield (source if source is not None and source < most else None), source is None

    def strings(self, count, size):
        out = bytearray()
        for source, fresh in self.steps(0, count, len(self.old.names)):
            self.begins.append(len(out))
            if source is not None:
                self.names[source] = len(out)
                out += self.old.names[source]
                continue
            a = b = c = 0
            while fresh:
                byte = self.m.text(self.s, a=a, b=b, c=c)
                out.append(byte)
                if not byte or len(out) >= size:
                    break
                a, b, c = byte, a, b
        if len(out) != size:
            raise Damaged("strings of BTF that do not fit")
        return bytes(out)

    def one(self, number, source):
        """The words of one type."""
        before = self.old.types[source] if source is not None else ()

        def word(slot, role, at):
            return self.word((number, kind, slot, role), before[at] if at is not None and before else None)

        going_on = 32 if source is not None else 0
        kind = going_on | (before[1] >> 24 & 31 if before else 0)
        info = word(1, PLAIN, 1)
        third, item, count = shape(info)
        kind = going_on | info >> 24 & 31
        out = [word(0, NAME, 0), info, word(2, third, 2)]
        items = 0
        if before and shape(before[1])[1] == item:
            items = shape(before[1])[2]
        following, last = 0, 0
        for _ in range(count):
            if items:
                last = self.m.item(self.s, kind=kind, last=last)
                following += last
            inside = 0 <= following < items
            for k, role in enumerate(item):
                out.append(word(3 + k, role, HEAD + following * len(item) + k if inside else None))
            following += 1
        return out

    def foreseen(self, role, was):
        if role == PLAIN or not was:
            return was
        text, new_text, first, new_first = self.bases
        if role == NAME:
            number, base = self.names.get(self.old.at.get(was - text)), new_text
        else:
            number, base = self.types.get(was - first), new_first
        if number is not None:
            return number + base & M32
        known = self.learned.known[role]
        order = sorted(known)
        at = bisect_right(order, was)
        return known[order[at - 1]] + was - order[at - 1] & M32 if at else was

    def word(self, place, was):
        number, kind, slot, role = place
        foreseen = 0 if was is None else self.foreseen(role, was)
        near = self.bases[3] + number & M32
        if role == NAME:
            near = self.bases[1] + (self.begins[self.unused] if self.unused < len(self.begins) else 0) & M32
        told = self.m.word(self.s, kind=kind, slot=slot, role=role, h=self.histories[role])
        self.histories[role] = self.histories[role] << 2 & 0xFFFF | told
        if told == FORESEEN:
            value = foreseen
        elif told == NEAR and role == NAME:
            value = near
        else:
            start = near if told == NEAR else foreseen
            value = start + self.m.value(self.s, kind=kind, slot=slot, near=told == NEAR) & M32
        if role == NAME:
            at = bisect_right(self.begins, value - self.bases[1] & M32) - 1
            if at >= 0 and self.begins[at] == value - self.bases[1] & M32:
                self.unused = max(self.unused, at + 1)
        if was and role != PLAIN and value != foreseen:
            self.learned.known[role][was] = value
        return value
