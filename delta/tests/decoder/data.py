"""Generic regions: covers, literals and corrections (FORMAT.md, streams 5 and 13; FORMAT-models.md, data/)."""

from types import SimpleNamespace

from container import Damaged
from declared import Grammar, two
from models import M32, ByteModel, hash

PIECE, BLOCK, SHORTEST_RAW = 1 << 16, 512, 128


def CoverModels():
    return Grammar("data/covers.rs")


class Covers:
    """The covers of one region after the other."""

    def __init__(self, m, old_len):
        self.m, self.old_len = m, old_len

    def region(self, s, at, size, hint):
        cursor, end, here, home, is_home = at, at + size, hint, hint, True
        before, last, covers = 0, 0, []
        while cursor < end:
            kind = self.m.kind(s, before=before, last=last)
            if kind == 1:
                break
            gap, old_at, length = 0, here, end - cursor
            if kind:
                gap = self.m.gap(s, kind=kind, last=last)
                source = self.m.source(s, kind=kind, gap=gap, last=last) if kind >= 5 else 0
                old_at = source + {3: here, 4: home, 5: home}.get(kind, here + gap)
                length = self.m.length(s, kind=kind, last=last)
            start = cursor + gap
            if start + length > end or not length or old_at < 0 or old_at + length > self.old_len:
                raise Damaged("a cover reaches past its region")
            covers.append((start, old_at, length))
            before, last = kind | (before & 7) << 3, length.bit_length()
            cursor, here = start + length, old_at + length
            is_home = kind in (4, 5) or length >= 192 or is_home and kind < 4
            home = here if is_home else home
        return covers


class Trail:
    """A place that is followed."""

    def __init__(self, at, run):
        self.at, self.run, self.wrong, self.active = at, run, 0, True

    def go_on(self, right):
        self.at += 1
        if right:
            self.run += 1
            if self.run % 16 == 0:
                self.wrong //= 2
        else:
            self.run = 0
            self.wrong += 1
            self.active = self.active and self.wrong < 8

    def confidence(self):
        run = self.run if self.run < 16 else 16 + (self.run - 16) // 4 if self.run < 32 else 20
        return 1 + run + (21 if self.wrong == 0 else 42 if self.wrong > 3 else 0)


class Echo:
    """Guesses from the literal bytes so far, and from the old bytes beside."""

    RING, LOOK_BACK, GRAM = 1 << 18, 24, 6

    def __init__(self):
        self.old, self.ring, self.index = b"", bytearray(self.RING), {}
        self.written, self.trail, self.at, self.other = 0, None, None, None

    def turn(self, old):
        """Nothing stands beside in another old file."""
        self.old, self.other = old, None

    def beside(self, old_at):
        self.at, self.other = old_at, Trail(0, 0)

    def guesses(self):
        new = beside = (0, 0)
        if self.trail and self.trail.active:
            new = (self.ring[self.trail.at % self.RING], self.trail.confidence())
        if self.other and self.at + self.other.at < len(self.old):
            confidence = 1 + min(self.other.run, 15) + 16 * min(self.other.wrong, 2)
            beside = (self.old[self.at + self.other.at], confidence)
        return new, beside

    def go_on(self, byte, guesses):
        if self.other:
            self.other.go_on(guesses[1][0] == byte)
        if self.trail and self.trail.active:
            self.trail.go_on(guesses[0][0] == byte)
        self.ring[self.written % self.RING] = byte
        self.written += 1
        if self.written < self.GRAM:
            return
        here, key = self.written, 0
        for k in range(self.GRAM):
            key = hash(key, self.ring[(here - 1 - k) % self.RING])
        before = self.index.get(key >> 14, 0)
        self.index[key >> 14] = here
        follows = self.trail and self.trail.active and self.trail.run > 0
        if follows or not before or here - before >= self.RING - self.LOOK_BACK:
            return
        alike = 0
        while alike < min(self.LOOK_BACK, before):
            if self.ring[(before - 1 - alike) % self.RING] != self.ring[(here - 1 - alike) % self.RING]:
                break
            alike += 1
        if alike >= self.GRAM:
            self.trail = Trail(before, alike)


class Literals:
    """Bytes that no cover explains."""

    def __init__(self):
        self.model, self.echo, self.last, self.word = None, Echo(), bytes(16), 0

    def remember(self, byte):
        self.last = bytes([byte]) + self.last[:15]
        letter = byte >= 128 or chr(byte).isalnum()
        self.word = hash(self.word, byte) if letter else 0

    def skip(self, data):
        for byte in data[-16:]:
            self.remember(byte)

    def code(self, s, at):
        self.model = self.model or ByteModel(21)
        new, beside = self.echo.guesses()
        last, phase = self.last, at & 7

        def tail(k):
            return int.from_bytes(last[:k], "little") & M32

        expected = beside[0] | beside[1] >> 2 << 8 if beside[1] else 0xFFFF
        contexts = [
            tail(1),
            tail(3),
            tail(4),
            two(6, self.word, last[0]),
            two(7, last[7] | last[3] << 8, phase & 3),
            two(8, last[7] | last[15] << 8, phase | last[0] << 3),
            two(9, expected, last[0]),
        ]
        runs = [two(1, tail(4), last[4]), two(2, self.word, last[1]), two(3, expected, tail(2))]
        kind = phase | (32 <= last[0] < 128) << 3 | (last[1] == 0) << 4
        byte = s.mixed(self.model, contexts, runs, [new, beside, (0, 0)], kind)
        self.echo.go_on(byte, [new, beside])
        self.remember(byte)
        return byte


class Corrections:
    """What is wrong in a cover."""

    def __init__(self):
        self.m = Grammar("data/corrections.rs")
        self.right, self.changes, self.values = None, {}, {}
        self.history, self.last = 0, 0

    def code(self, s, base, at, known):
        data, open_ = bytearray(base), [True] * len(base)
        for start, right in known:
            data[start : start + len(right)] = right
            open_[start : start + len(right)] = [False] * len(right)
        size = len(data).bit_length()
        if self.m.clean(s, size=size):
            return bytes(data)
        before = 0
        for start in range(0, len(data), BLOCK):
            clean = self.m.block(s, before=before, size=size)
            before = (before << 1 | (not clean)) & M32
            if clean:
                self.history = 0
                continue
            for i in range(start, min(start + BLOCK, len(data))):
                if open_[i]:
                    self.byte(s, base, data, at, i)
                else:
                    self.history = self.history << 1 & (1 << 64) - 1
        return bytes(data)

    def byte(self, s, base, data, at, i):
        def o(k):
            return base[i + k] if 0 <= i + k < len(base) else 0x100

        def n(k):
            return data[i - k] if i >= k else 0x100

        phase, history = at + i & 7, self.history
        following = two(o(1), o(2), o(3))
        own = two(o(0), following, 1)
        change, value = self.changes.get(following >> 20, (0, 0)), self.values.get(own >> 20, (0, 0))
        since = (history & -history).bit_length() - 1 if history else 64
        strides = sum((history >> d - 1 & 1) << i for i, d in enumerate((4, 8, 16, 24, 33)))
        lately = min((history & 0xFFFFFFFF).bit_count(), 15)
        carry = (history & 1) << 1 | (history & 1 and n(1) < o(-1))
        f = SimpleNamespace(o=o, own=own, next=following, history=history, carry=carry, phase=phase, since=since)
        f.lately, f.strides, f.repeats = lately, strides, change[1]
        wrong = self.m.wrong(s, f=f)
        self.history = (history << 1 | wrong) & (1 << 64) - 1
        if not wrong:
            return
        old = data[i]

        def guess(byte, confidence):
            return (0, 0) if byte & 255 == old else (byte & 255, confidence)

        self.right = self.right or ByteModel(20)
        data[i] = s.mixed(
            self.right,
            [
                two(1, o(0), 0),
                two(3, o(0) | o(1) << 9, phase),
                two(4, self.last & 0xFFFF, phase),
                two(6, n(1) | n(2) << 9, phase),
                two(7, n(4) | n(8) << 9, phase),
                two(8, o(0) | o(-1) << 9, n(1)),
                own,
            ],
            [
                two(1, own, o(-1)),
                two(2, n(1) | n(2) << 9 | n(3) << 18, 0),
                two(3, o(0) | o(-1) << 9 | o(-2) << 18, 0),
            ],
            [guess(old + self.last, 1 + phase), guess(old + change[0], change[1]), guess(*value)],
            phase | carry << 3,
        )
        by = data[i] - old & 255
        self.last = (self.last << 8 | by) & M32
        self.learn(self.changes, following >> 20, by)
        self.learn(self.values, own >> 20, data[i])

    @staticmethod
    def learn(table, key, seen):
        before, times = table.get(key, (0, 0))
        table[key] = (seen, min(times + 1, 31)) if before == seen else (seen, 1)


class ByteModels:
    """Models of the byte stream, and what they remember."""

    def __init__(self):
        self.raw, self.was_raw = Grammar("data/bytes.rs"), 0
        self.literals, self.corrections = Literals(), Corrections()


class Bytes:
    """The bytes of one region after the other."""

    def __init__(self, m, old):
        self.m, self.old, self.literals, self.corrections = m, old, m.literals, m.corrections
        self.literals.echo.turn(old)

    def region(self, s, at, size, covers, known=()):
        out, cursor, end = bytearray(), at, at + size
        for new_at, old_at, length in [*covers, (end, None, 0)]:
            while cursor < new_at:
                n = min(new_at - cursor, PIECE)
                out += self.spelled(s, cursor, n, within(known, cursor, n))
                cursor += n
            for done in range(0, length, PIECE):
                n = min(length - done, PIECE)
                base, start = self.old[old_at + done : old_at + done + n], new_at + done
                right = self.corrections.code(s, base, start, within(known, start, n))
                self.literals.skip(right)
                out += right
            if length:
                self.literals.echo.beside(old_at + length)
                cursor = new_at + length
        return bytes(out)

    def spelled(self, s, at, n, known):
        raw = 0
        if n >= SHORTEST_RAW and not known:
            raw = self.m.was_raw = self.m.raw.raw(s, was_raw=self.m.was_raw, size=n.bit_length())
        out, known = bytearray(), list(known)
        while len(out) < n:
            if known and len(out) >= known[0][0]:
                start, data = known.pop(0)
                data = data[len(out) - start :]
                self.literals.skip(data)
                out += data
            else:
                out.append(s.raw() if raw else self.literals.code(s, at + len(out)))
        if raw:
            self.literals.skip(out)
        return out


def within(known, at, n):
    """What is known of `n` bytes from `at`, by distance from there."""
    cut = []
    for start, data in known:
        lo, hi = max(start, at), min(start + len(data), at + n)
        if lo < hi:
            cut.append((lo - at, data[lo - start : hi - start]))
    return cut
