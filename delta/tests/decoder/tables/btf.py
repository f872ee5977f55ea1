"""`.BTF`: a kernel's types, each against an old one (FORMAT.md, stream 11).

Source: Linux documentation, "BPF Type Format (BTF)"."""

from bisect import bisect_right, insort

import tables
from container import Damaged
from declared import Grammar
from machine.insn import word
from models import M32
from tables import names
from tables.places import Places, unused

HEADER, HEAD = 24, 3
FIRST = bytes.fromhex("9feb0100 18000000 00000000")
NAME, TYPE, VALUE = range(3)
FORESEEN, CHANGED, FRESH, SKIP = range(4)
NOTHING, NEXT, NEAR, FAR = range(4)
# By kind: what the third word means, the words of an element, whether the record says how many there are.
SHAPES = {
    1: (VALUE, [VALUE], False),
    3: (VALUE, [TYPE, TYPE, VALUE], False),
    4: (VALUE, [NAME, TYPE, VALUE], True),
    5: (VALUE, [NAME, TYPE, VALUE], True),
    6: (VALUE, [NAME, VALUE], True),
    7: (VALUE, [], False),
    13: (TYPE, [NAME, TYPE], True),
    14: (TYPE, [VALUE], False),
    15: (VALUE, [TYPE, VALUE, VALUE], True),
    16: (VALUE, [], False),
    17: (TYPE, [VALUE], False),
    19: (VALUE, [NAME, VALUE, VALUE], True),
    **{kind: (TYPE, [], False) for kind in (2, 8, 9, 10, 11, 12, 18)},
}


def kind_of(info):
    return info >> 24 & 31


def elements(info):
    _, columns, counted = SHAPES[kind_of(info)]
    return info & 0xFFFF if counted else int(bool(columns))


def places(record):
    """Each word, what it means, and its site."""
    kind = kind_of(record[1])
    third, columns, _ = SHAPES[kind]
    sites = [(NAME, 4), (VALUE, 5), (third, 3)]
    sites += [(columns[i % len(columns)], i % len(columns)) for i in range(len(record) - HEAD)]
    return [(w, role, kind << 3 | place) for w, (role, place) in zip(record, sites)]


def parts(data):
    """Records and strings of a table, or none."""
    none = [], b""
    if len(data) < HEADER or data[:12] != FIRST:
        return none
    size, at, strings = (word(data, at) for at in (12, 16, 20))
    if at != size or size + strings != len(data) - HEADER or size % 4:
        return none
    words = [word(data, HEADER + at) for at in range(0, size, 4)]
    text = data[HEADER + size :]
    if text and text[-1]:
        return none
    records, at = [], 0
    while at < len(words):
        if at + 1 >= len(words) or kind_of(words[at + 1]) not in SHAPES:
            return none
        end = at + HEAD + elements(words[at + 1]) * len(SHAPES[kind_of(words[at + 1])][1])
        records.append(words[at:end])
        at = end
    return (records, text) if at == len(words) else none


def total(start, away):
    if not 0 <= start + away <= M32:
        raise Damaged("a number of its types is out of range")
    return start + away


class Moves:
    """Old numbers to new ones, as references told."""

    def __init__(self):
        self.told, self.keys = {}, []

    def guess(self, old):
        """Where it goes by the one before it, else by the one behind it."""
        at = bisect_right(self.keys, old)
        if not self.keys:
            return old
        near = self.keys[max(at - 1, 0)]
        return self.told[near] + old - near & M32

    def learn(self, old, new):
        if old not in self.told:
            insort(self.keys, old)
        self.told[old] = new

    def forget(self, first):
        self.keys = [key for key in self.keys if key < first]
        self.told = {key: self.told[key] for key in self.keys}


class Known:
    """What goes from table to table of a group."""

    def __init__(self):
        self.head, self.order, self.fields = (Grammar(f"tables/btf/{file}.rs") for file in ("mod", "order", "fields"))
        self.bases = ((1, 0), (1, 0))
        self.moves = {NAME: Moves(), TYPE: Moves()}

    def base(self, s):
        """Where both tables begin to count types and strings."""
        if self.head.based(s):
            return
        old = [self.head.base(s, i=i) for i in range(2)]
        if max(old) > M32:
            raise Damaged("a number of its types is out of range")
        if old[1] != self.bases[0][1]:
            self.moves = {NAME: Moves(), TYPE: Moves()}
        self.bases = (tuple(old), tuple(total(old[i], self.head.moved(s, i=i)) for i in range(2)))


def code(s, world, made):
    for section in world.choices.sections(tables.BTF):
        made.sections[section] = table(s, world, world.kept.lend("btf", Known), section)


def table(s, world, known, section):
    data, size = world.old_bytes(section), world.elf.sections[section].size
    old, old_strings = parts(data)
    if size > 8 * len(data) + (1 << 24):
        raise Damaged("a table of types is too long")
    known.base(s)
    words = total(sum(map(len, old)), known.head.size(s, i=0))
    count = total(len(old), known.head.size(s, i=1))
    room = size - HEADER - 4 * words
    if room < 0 or 12 * count > 4 * words:
        raise Damaged("its types do not fit their section")
    text = names.table(s, world.kept, old_strings, room)
    source, of_old = order(s, known.order, len(old), count)
    fields, out = Fields(s, known, old, source, of_old, text), []
    for index in range(count):
        out += fields.record(index)
        if len(out) > words:
            raise Damaged("the types end too early")
    if len(out) != words:
        raise Damaged("the types end too early")
    for role, base in zip((TYPE, NAME), known.bases[0]):
        known.moves[role].forget(base)
    head = [4 * words, 4 * words, room]
    return FIRST + b"".join(w.to_bytes(4, "little") for w in head + out) + bytes(text.table)


def order(s, m, old, new):
    """The old type that each new one continues, or None, and the new one of each old one."""
    source, of_old, places, history = [], {}, Places(), 0

    def used(j):
        return j in of_old

    for index in range(new):
        places.expected = expected = min(unused(places.expected, used), old)
        j = expected
        follows = m.follows(s, history=history) and expected < old
        if not follows:
            kind, left = m.kind(s, history=history), places.left(used)
            if kind == 0:
                j = None
            elif kind == 1:
                j = expected + m.skip(s, history=history)
            elif kind == 2:
                j = expected + m.jump(s)
            else:
                which = m.back(s)
                j = left[which] if which < len(left) else old
        history = (history << 2 | (0 if follows else 1 + (j is None))) & M32
        if j is not None:
            if not 0 <= j < old or used(j):
                raise Damaged("a type continues one that is not there")
            places.go(j, used)
            of_old[j] = index
        source.append(j)
    return source, of_old


class Fields:
    """One way through the types."""

    def __init__(self, s, known, old, source, of_old, text):
        self.s, self.known, self.m, self.old, self.source, self.of_old = s, known, known.fields, old, source, of_old
        self.text, self.history, self.fresh, self.far, self.ways = text, 0, 0, [0, 0], [0, 0]
        self.last_kind = 0
        # First types and first strings, of the old table and of the new one.
        (old_type, old_string), (new_type, new_string) = known.bases
        self.base = {NAME: (old_string, new_string), TYPE: (old_type, new_type)}

    def foresee(self, role, old):
        """What a word becomes, and whether that goes by what stands near alone."""
        if role == VALUE or old == 0:
            return old, False
        moves, (first, new_first) = self.known.moves[role], self.base[role]
        if old in moves.told:
            return moves.told[old], False
        if old < first:
            return moves.guess(old), True
        new = self.text.project(old - first) if role == NAME else self.of_old.get(old - first)
        return (0, True) if new is None else (new_first + new & M32, False)

    def learn(self, role, old, new):
        if old and role != VALUE and self.foresee(role, old) != (new, False):
            self.known.moves[role].learn(old, new)
        if role == NAME and new != 0 and new >= self.base[NAME][1]:
            string = self.text.find(self.text.starts, new - self.base[NAME][1])
            self.fresh = self.fresh if string is None else max(self.fresh, string + 1)

    def record(self, index):
        """The words of a new type."""
        source, missed, words = self.source[index], True, []
        old = [] if source is None else self.old[source]
        if old:
            foreseen = [self.foresee(role, w) for w, role, _ in places(old)]
            words, unsure = [w for w, _ in foreseen], min(sum(guess for _, guess in foreseen), 3)
            missed = not self.m.same(self.s, kind=kind_of(old[1]), unsure=unsure, history=self.history)
        self.history = (self.history << 1 | missed) & M32
        if missed:
            words = self.changed(index, old)
        else:
            for (w, role, _), new in zip(places(old), words):
                self.learn(role, w, new)
        self.last_kind = kind_of(words[1])
        return words

    def changed(self, index, old):
        here = self.base[TYPE][1] + index & M32
        info = self.info(old[1] if old else None)
        kind = kind_of(info)
        if kind not in SHAPES:
            raise Damaged("a type is of no kind")
        third, columns, _ = SHAPES[kind]
        site, missed = kind << 3, [0]
        old = old if old and kind_of(old[1]) == kind else []
        first = self.word(NAME, site | 4, here, old[0] if old else None, missed)
        words = [first, info, self.word(third, site | 3, here, old[2] if old else None, missed)]
        rest = Elements(self, old[HEAD:], columns, site, here)
        for _ in range(elements(info)):
            words += rest.code()
        return words

    def info(self, was):
        s, m = self.s, self.m
        if was is not None and m.hit(s, site=kind_of(was) << 3 | 5, role=VALUE, unsure=False, missed=0):
            return was
        kind = m.kind(s, last=self.last_kind)
        count = total((was or 0) & 0xFFFF, m.count(s, kind=kind, continued=was is not None))
        rest = m.rest(s, kind=kind)
        if count > 0xFFFF or rest > 0x7FF:
            raise Damaged("a type is of no kind")
        return kind << 24 | count | (rest & 0xFF) << 16 | rest >> 8 << 29

    def word(self, role, site, here, was, missed):
        foreseen = None
        if was is not None:
            foreseen, unsure = self.foresee(role, was)
            if self.m.hit(self.s, site=site, role=role, unsure=unsure, missed=missed[0]):
                self.learn(role, was, foreseen)
                return foreseen
        missed[0] = min(missed[0] + 1, 3)
        if role == VALUE:
            new = total(foreseen or 0, self.m.value(self.s, site=site, foreseen=foreseen is not None))
        else:
            new = self.reference(role, site, here, foreseen)
        self.learn(role, was, new)
        return new

    def reference(self, role, site, here, foreseen):
        s, m = self.s, self.m
        near, following = here, here - 1 & M32
        if role == NAME:
            near = following = self.base[NAME][1] + self.text.starts[self.fresh] & M32
        way = self.ways[role] = m.way(s, site=site, last=self.ways[role])
        if way == NOTHING:
            return 0
        if way == NEXT:
            return following
        if way == NEAR:
            return total(near, m.near(s, site=site, role=role))
        start = self.far[role] if foreseen is None else foreseen
        self.far[role] = total(start, m.far(s, role=role, foreseen=foreseen is not None))
        return self.far[role]


class Elements:
    """The elements of one type."""

    def __init__(self, fields, old, columns, site, here):
        self.fields, self.columns, self.site, self.here = fields, columns, site, here
        width = max(len(columns), 1)
        self.old = [old[at : at + width] for at in range(0, len(old), width)]
        self.next, self.last, self.shift = 0, 0, [0] * width

    def foresee(self, index):
        """What an old element becomes, and how many words of it go by what stands near alone."""
        words, unsure = [], 0
        for w, role, shift in zip(self.old[index], self.columns, self.shift):
            new, guess = (w + shift & M32, False) if role == VALUE else self.fields.foresee(role, w)
            words.append(new)
            unsure += guess
        return words, unsure

    def code(self):
        fields, index, kind = self.fields, self.next, self.site >> 3
        s, m = fields.s, fields.m
        ended = index >= len(self.old)
        unsure = 0 if ended else self.foresee(index)[1]
        how = m.element(s, kind=kind, last=self.last, unsure=unsure, ended=ended)
        self.last = (self.last << 2 | how) & M32
        foreseen = how == FORESEEN
        if how == SKIP:
            index += 1 + m.skip(s, kind=kind)
            foreseen = m.changed(s, kind=kind) == 0
        old = [None] * len(self.columns)
        if how != FRESH:
            if index >= len(self.old):
                raise Damaged("a part of a type continues one that is not there")
            old, self.next = self.old[index], index + 1
        guess, missed, words = self.foresee(index)[0] if foreseen else [], [0], []
        for column, (role, was) in enumerate(zip(self.columns, old)):
            if foreseen:
                new = guess[column]
                fields.learn(role, was, new)
            else:
                moved = None if was is None else was + (self.shift[column] if role == VALUE else 0) & M32
                new = fields.word(role, self.site | column, self.here, moved, missed)
            if was is not None and role == VALUE:
                self.shift[column] = new - was & M32
            words.append(new)
        return words
