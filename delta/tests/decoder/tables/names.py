"""String tables of symbols: each name continues an old one, tokens replaced, or is spelled (FORMAT.md, stream 11)."""

from bisect import bisect_right
from types import SimpleNamespace

from container import Damaged
from models import M32, hash
from tables import tokens
from tables.places import Places, unused

LARGEST, LONGEST, LONGEST_SPELLED = 256 << 20, 1 << 16, 1 << 20
SAME, TOKENS, EDIT, SPELL, SKIP, JUMP, NEXT, BACK = range(8)
SERIES, RECENT, SEED, SLOTS = 4, 128, 5, 18


def starts_of(table):
    """Where each string begins, and the end of the last; every string ends with a zero."""
    return [0] + [i + 1 for i, byte in enumerate(table) if byte == 0]


class Names:
    """A new string table against the old one."""

    def __init__(self, old):
        self.old, self.old_starts = old, starts_of(old)
        self.table, self.starts = bytearray(), [0]
        self.of_old, self.source = {}, []

    @staticmethod
    def find(starts, offset):
        """The string that holds an offset, or None."""
        return bisect_right(starts, offset) - 1 if offset < starts[-1] else None

    def name_of_old(self, index):
        return self.old[self.old_starts[index] : self.old_starts[index + 1] - 1]

    def name_of_new(self, index):
        return bytes(self.table[self.starts[index] : self.starts[index + 1] - 1])

    def name(self, offset):
        return bytes(self.table[offset:]).split(b"\0")[0]

    def project(self, old):
        """The new offset of an old one, through the string that it lies in, counted from its end, or None."""
        index = self.find(self.old_starts, old)
        new = self.of_old.get(index)
        if index is None or new is None:
            return None
        start, end = self.starts[new : new + 2]
        first, behind = self.old_starts[index : index + 2]
        return start if old == first else max(end - (behind - old), start)


def code(s, world, section):
    """The table of one section."""
    return table(s, world.kept, world.old_bytes(section), world.elf.sections[section].size)


def table(s, kept, old, size):
    """A table of so many bytes against an old one."""
    if size > min(LARGEST, 8 * len(old) + (1 << 24)):
        raise Damaged("a string table is too long")
    names = Names(old)
    if kept.grammar("tables/names/mod.rs").whole(s):
        if size != len(old) or not old.endswith(b"\0"):
            raise Damaged("a string table has another length")
        names.table, names.starts = bytearray(old), names.old_starts
        names.of_old = {i: i for i in range(len(names.starts) - 1)}
        names.source = list(range(len(names.starts) - 1))
    else:
        Coder(names, kept).code(s, size)
    return names


class Coder:
    """A table being told."""

    def __init__(self, names, kept):
        self.m, self.names = kept.grammar("tables/names/grammar.rs"), names
        self.speller = Speller(kept.grammar("tables/names/spell.rs"))
        # What old tokens became, the new tokens that were told, and the last name of each series.
        self.map, self.recent, self.series, self.step = tokens.Map(), [], [], 0
        self.places = Places()

    def is_used(self, old):
        return old in self.names.of_old

    def code(self, s, size):
        names, m, history = self.names, self.m, 0
        count = len(names.old_starts) - 1
        while len(names.table) < size:
            i = len(names.starts) - 1
            expected = self.places.expected = min(unused(self.places.expected, self.is_used), count)
            guess, unsure = self.predict(expected)
            follows = m.follows(s, unsure=unsure, history=history, len=len(guess)) and expected < count
            history = (history << 1 | (not follows)) & M32
            source, relation = expected, SAME
            if not follows:
                none = not self.series
                relation = m.kind(s, unsure=unsure, none=none, history=history, step=self.step)
                if relation == NEXT:
                    guess = self.next(s)
                elif relation >= SKIP:
                    source = self.source(s, relation, history)
                    guess, unsure = self.predict(source)
                    relation = m.relation(s, unsure=unsure, kind=relation)
                if relation < SPELL and source >= count:
                    raise Damaged("a name continues one that is not there")
            self.put(s, source, relation, guess)
            if relation != NEXT:
                self.step = 0
            if relation < SPELL:
                self.places.go(source, self.is_used)
                names.of_old[source] = i
                names.source.append(source)
            else:
                names.source.append(None)
            self.enter(i)
        if len(names.table) > size:
            raise Damaged("the names are too long")

    def source(self, s, relation, history):
        """The old name that a new one continues, where it is not the expected one."""
        expected, count = self.places.expected, len(self.names.old_starts) - 1
        if relation == BACK:
            left, which = self.places.left(self.is_used), self.m.back(s, history=history)
            source = left[which] if which < len(left) else count
        elif relation == SKIP:
            source = expected + self.m.skip(s, history=history)
        else:
            source = expected + self.m.jump(s)
        if not 0 <= source < count:
            raise Damaged("a name continues one that is not there")
        return source

    def predict(self, index):
        """The new form of an old name as far as its tokens are known, and how many are not, at most 3."""
        if index >= len(self.names.old_starts) - 1:
            return b"", 0
        old = self.names.name_of_old(index)
        if len(old) > LONGEST:
            return b"", 0
        spans = tokens.find(old)
        new = [self.map.get(old, span) for span in spans]
        unsure = sum(token is None for token in new)
        new = [old[a:b] if token is None else token for token, (a, b) in zip(new, spans)]
        return tokens.replace(old, spans, new), min(unsure, 3)

    def next(self, s):
        """The last name of a series, counted on."""
        which = self.m.which(s, step=self.step)
        last = self.names.name_of_new(self.series[which]) if which < len(self.series) else b""
        span = tokens.number(last)
        if span is None:
            raise Damaged("a name counts on from one without a number")
        step = self.m.count(s, step=self.step, first=last[0])
        number = int(last[slice(*span)]) + 1 + step
        if number < 0:
            raise Damaged("a name counts on from one without a number")
        self.step = 1 + abs(min(max(step, -1), 5))
        return last[: span[0]] + b"%d" % number + last[span[1] :]

    def enter(self, index):
        """Remembers the last name if it may begin a series."""
        name = self.names.name_of_new(index)
        if not tokens.ends_in_number(name):
            return
        like = (k for k, i in enumerate(self.series) if tokens.is_numbered_like(self.names.name_of_new(i), name))
        known = next(like, None)
        if known is None:
            del self.series[SERIES - 1 :]
        else:
            del self.series[known]
        self.series.insert(0, index)

    def put(self, s, source, relation, guess):
        """Appends one name."""
        names = self.names
        if relation in (EDIT, SPELL):
            self.speller.spell(s, guess, names.table)
        else:
            names.table += (self.tokens(s, source) if relation == TOKENS else guess) + b"\0"
        names.starts.append(len(names.table))
        if relation < SPELL:
            old, new = names.name_of_old(source), names.name_of_new(len(names.starts) - 2)
            was, now = tokens.find(old), tokens.find(new)
            if len(was) == len(now):
                for span, other in zip(was, now):
                    self.map.learn(old, span, new, other)

    def tokens(self, s, source):
        """The old name with each of its tokens told."""
        old, new, seen = self.names.name_of_old(source), [], {}
        spans, counted = tokens.find(old), tokens.is_counted(old)
        for i, (a, b) in enumerate(spans):
            token, learned = old[a:b], self.map.get(old, (a, b))
            # The same token twice in a name is the same both times.
            twin = None if counted else seen.get(token)
            expected = twin if twin is not None else token if learned is None else learned
            how = (twin is not None) | (learned is not None) << 1
            if self.m.token(s, how=how, i=i, len=len(token)):
                new.append(expected)
            elif counted:
                moved = int(expected) + self.m.shift(s, dot=tokens.is_behind_dot(old, (a, b)))
                if moved < 0:
                    raise Damaged("a name's number is below zero")
                new.append(b"%d" % moved)
            else:
                new.append(self.token(s, token, new[-1] if new else None))
            seen.setdefault(token, new[-1])
        return tokens.replace(old, spans, new)

    def token(self, s, old, before):
        """A token that is not as expected: that behind the last one, a recent one, or letters."""
        recent, after = self.recent, None
        if before in recent:
            after = len(recent) - recent[::-1].index(before)
        rank = self.m.recent(s, after=after is not None, old=len(old))
        if 0 < rank <= len(recent):
            return recent[((after or 0) + rank - 1) % len(recent)]
        alphabet = all(b in b"0123456789abcdef" for b in old) | all(b in b"0123456789" for b in old) << 1
        size = self.m.length(s, old=len(old))
        if size > tokens.LONGEST:
            raise Damaged("a token is too long")
        told = bytes(self.m.letter(s, alphabet=alphabet) for _ in range(size))
        self.recent = [*recent, told][-RECENT:]
        return told


class Speller:
    """Spells names under a similar name and under where in the table the last bytes were seen."""

    def __init__(self, m):
        self.m, self.trail, self.indexed = m, {}, 0

    @staticmethod
    def seed(table):
        h = 0
        for byte in table[-SEED:]:
            h = (h ^ byte) * 0x9E3779B1 & M32
            h = (h << 11 | h >> 21) & M32
        return (h * 0x85EBCA6B & M32) >> 32 - SLOTS

    def spell(self, s, near, table):
        """Appends one name and its zero; `near` is a name that may be like it."""
        for end in range(max(self.indexed, SEED), len(table)):
            self.trail[self.seed(table[end - SEED : end])] = end
        self.indexed = len(table)
        first, like, seen, like_hits, seen_hits = len(table), 0, None, 0, 0

        def last(k):
            h = 0
            for byte in table[-k:]:
                h = hash(h, byte + 1)
            return h

        while True:
            n = len(table) - first
            if seen is None and n >= SEED:
                seen, seen_hits = self.trail.get(self.seed(table)), 0
            if like is None and n >= 3:
                at = near.find(table[-3:])
                like, like_hits = None if at < 0 else at + 3, 0
            by_like = 256 if like is None else near[like] if like < len(near) else 0
            by_seen = 256 if seen is None else table[seen]
            f = SimpleNamespace(like=by_like, like_hits=like_hits, seen=by_seen, seen_hits=seen_hits, last=last)
            byte = self.m.byte(s, f=f)
            table.append(byte)
            if byte == 0:
                return
            if n >= LONGEST_SPELLED:
                raise Damaged("a symbol's name never ends")
            like, like_hits = (like + 1, like_hits + 1) if by_like == byte and like is not None else (None, 0)
            seen, seen_hits = (seen + 1, seen_hits + 1) if by_seen == byte and seen is not None else (None, 0)
